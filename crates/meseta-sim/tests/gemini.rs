//! Google's Gemini: shapes, both kinds of streams, embeddings, and what is refused.

mod client;

use client::{Reply, everything, play, send_json, start};
use meseta_sim::Simulator;
use serde_json::{Value, json};

fn ask(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn generate(simulator: &Simulator, asked: &str, request: &Value) -> Reply {
    send_json(simulator, "POST", &format!("/v1beta/models/{asked}"), "", request)
}

#[test]
fn a_whole_answer_counts_thoughts_by_themselves() {
    let simulator = start();
    let reply = generate(&simulator, "echo;think=2;cached=1:generateContent", &ask("a b c"));
    let answer = reply.json();
    let parts = json!([{"text": "Let me", "thought": true}, {"text": "a b c"}]);
    assert_eq!(answer["candidates"][0]["content"], json!({"role": "model", "parts": parts}));
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
    assert_eq!(answer["modelVersion"], "echo");
    let usage = &answer["usageMetadata"];
    assert_eq!((&usage["promptTokenCount"], &usage["cachedContentTokenCount"]), (&json!(3), &json!(1)));
    assert_eq!((&usage["candidatesTokenCount"], &usage["thoughtsTokenCount"]), (&json!(3), &json!(2)));
    assert_eq!(usage["totalTokenCount"], 8);
    let vertex = "/v1/projects/p/locations/l/publishers/google/models/echo%3Btokens%3D2:generateContent";
    let answer = send_json(&simulator, "POST", vertex, "", &ask("a b c")).json();
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], "a b");
}

#[test]
fn a_stream_is_events_or_one_array() {
    let simulator = play(&everything());
    let whole = generate(&simulator, "m:generateContent", &ask("x")).json();
    let events = generate(&simulator, "m:streamGenerateContent?alt=sse", &ask("x"));
    assert!(events.head.contains("text/event-stream"));
    let events = events.data();
    let array = generate(&simulator, "m:streamGenerateContent", &ask("x"));
    assert!(array.head.contains("application/json"));
    assert_eq!(array.json().as_array().map(Vec::len), Some(events.len()));
    for chunks in [&events, array.json().as_array().expect("an array")] {
        let parts: Vec<&Value> = chunks
            .iter()
            .flat_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array().expect("parts"))
            .collect();
        let text = |thought: bool| -> String {
            let own = parts.iter().filter(|part| (part["thought"] == true) == thought);
            own.filter_map(|part| part["text"].as_str()).collect()
        };
        assert_eq!((text(true).as_str(), text(false).as_str()), ("Hm, well.", "I look."));
        let calls: Vec<&Value> =
            parts.iter().filter(|part| part.get("functionCall").is_some()).copied().collect();
        assert_eq!(calls[0]["thoughtSignature"], "c2ln");
        assert!(calls[1].get("thoughtSignature").is_none());
        assert_eq!(calls[0]["functionCall"], json!({"name": "weather", "args": {"city": "Oslo"}}));
        assert_eq!(
            json!(calls),
            json!(whole["candidates"][0]["content"]["parts"].as_array().expect("parts")[2..])
        );
        let last = chunks.last().expect("an end");
        assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    }
    assert_eq!(whole["usageMetadata"]["candidatesTokenCount"], 18);
    let named = generate(&simulator, "m;ids=on:generateContent", &ask("x")).json();
    assert_eq!(named["candidates"][0]["content"]["parts"][2]["functionCall"]["id"], "one");
}

#[test]
fn a_stream_breaks_off_with_googles_error() {
    let simulator = start();
    let model = "echo;error=sse@1;message=Oh:streamGenerateContent";
    let expected = json!({"error": {"code": 500, "message": "Oh", "status": "INTERNAL"}});
    let events = generate(&simulator, &format!("{model}?alt=sse"), &ask("a b")).data();
    assert_eq!((events.len(), events.last()), (2, Some(&expected)));
    let array = generate(&simulator, model, &ask("a b")).json();
    assert_eq!(array[1], expected);
}

#[test]
fn functions_are_called_and_their_responses_are_answered() {
    let simulator = start();
    let parameters =
        json!({"type": "OBJECT", "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER"}}});
    let mut request = ask("?");
    request["tools"] = json!([{"function_declarations": [{"name": "weather", "parameters": parameters}]}]);
    request["toolConfig"] =
        json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}});
    let call =
        generate(&simulator, "echo:generateContent", &request).json()["candidates"][0]["content"].clone();
    assert_eq!(
        call["parts"][0]["functionCall"],
        json!({"name": "weather", "args": {"city": "text", "days": 1}})
    );
    let result = json!({"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"a": 1, "b": 2}}}]});
    let contents = request["contents"].as_array_mut().expect("contents");
    contents.extend([call, result]);
    let answer = generate(&simulator, "echo:generateContent", &request).json();
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], r#"The tool answered: {"a":1,"b":2}"#);
}

#[test]
fn tokens_are_counted_and_texts_embedded() {
    let simulator = start();
    assert_eq!(generate(&simulator, "m:countTokens", &ask("a b c")).json()["totalTokens"], 3);
    let inner = json!({"generateContentRequest": {"model": "models/m", "contents": ask("a b")["contents"]}});
    assert_eq!(generate(&simulator, "m:countTokens", &inner).json()["totalTokens"], 2);
    let one = json!({"model": "models/m", "content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4});
    let single = generate(&simulator, "m:embedContent", &one).json();
    assert_eq!(single["embedding"]["values"].as_array().map(Vec::len), Some(4));
    let batch = generate(&simulator, "m:batchEmbedContents", &json!({"requests": [one, one]})).json();
    assert_eq!(batch["embeddings"], json!([single["embedding"], single["embedding"]]));
}

#[test]
fn what_google_refuses_is_refused() {
    let simulator = start();
    let with = |key: &str, value: Value| {
        let mut request = ask("a");
        request[key] = value;
        request
    };
    let part = |part: Value| with("contents", json!([{"role": "user", "parts": [part]}]));
    let call = json!({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]});
    let user = json!({"role": "user", "parts": [{"text": "a"}]});
    let function = |function: Value| with("tools", json!([{"functionDeclarations": [function]}]));
    for (request, expected) in [
        (with("nonsense", json!(1)), "Unknown name \"nonsense\": Cannot find field"),
        (with("messages", json!([])), "Unknown name \"messages\""),
        (with("contents", json!([])), "contents is not specified"),
        (with("contents", Value::Null), "contents is not specified"),
        (with("contents", json!([{"role": "user", "parts": []}])), "contents.parts must not be empty"),
        (
            with("contents", json!([{"role": "assistant", "parts": [{"text": "a"}]}])),
            "valid role: user, model",
        ),
        (part(json!({"text": "a", "type": "text"})), "Unknown name \"type\" at 'contents[0].parts[0]'"),
        (part(json!({})), "must have one initialized field"),
        (part(json!({"text": "a", "inlineData": {"mimeType": "a/b", "data": ""}})), "one initialized field"),
        (part(json!({"functionResponse": {"name": "f", "response": "text"}})), "function_response.response"),
        (with("contents", json!([user, call, user])), "number of function response parts"),
        (with("contents", json!([user, call])), "followed by its function responses"),
        (
            with("generationConfig", json!({"max_tokens": 5})),
            "Unknown name \"max_tokens\" at 'generationConfig'",
        ),
        (with("generationConfig", json!({"candidateCount": 2})), "Only one candidate"),
        (
            function(json!({"name": "f", "parameters": {"type": "OBJECT", "$schema": "x"}})),
            "Unknown name \"$schema\"",
        ),
        (function(json!({"description": "f"})), "name is not specified"),
    ] {
        let reply = generate(&simulator, "echo:generateContent", &request);
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["code"], &error["status"]),
            (400, &json!(400), &json!("INVALID_ARGUMENT"))
        );
        let text = error["message"].as_str().expect("text").replace("functionResponse", "function_response");
        assert!(text.contains(expected), "{text}");
    }
    let missing = generate(&simulator, "unknown:generateContent", &ask("a"));
    assert_eq!((missing.status, &missing.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
}
