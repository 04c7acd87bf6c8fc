//! Amazon Bedrock: Converse whole and as an event stream, embeddings, and what is refused.

mod client;

use client::{End, Reply, everything, play, send_json, start};
use meseta_sim::Simulator;
use serde_json::{Value, json};

fn ask(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}]})
}

fn tools() -> Value {
    let schema = json!({"json": {"type": "object", "properties": {"city": {"type": "string"}}}});
    json!({"tools": [{"toolSpec": {"name": "weather", "inputSchema": schema}}]})
}

fn post(simulator: &Simulator, asked: &str, request: &Value) -> Reply {
    send_json(simulator, "POST", &format!("/model/{asked}"), "", request)
}

/// Headers and payload of each message, read by the lengths that they say.
fn frames(mut bytes: &[u8]) -> Vec<(Vec<(String, String)>, Value)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes")) as usize;
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, rest) = bytes.split_at(number(&bytes[..4]));
        bytes = rest;
        assert_eq!(number(&frame[8..12]), checksum(&frame[..8]));
        let end = frame.len() - 4;
        assert_eq!(number(&frame[end..]), checksum(&frame[..end]));
        let (mut headers, payload) = frame[12..end].split_at(number(&frame[4..8]));
        let mut named = Vec::new();
        while let Some((length, rest)) = headers.split_first() {
            let (name, rest) = rest.split_at(usize::from(*length));
            assert_eq!(rest[0], 7, "a string");
            let length = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
            let (value, rest) = rest[3..].split_at(length);
            headers = rest;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            named.push((text(name), text(value)));
        }
        frames.push((named, serde_json::from_slice(payload).expect("JSON")));
    }
    frames
}

/// The sum of the standard, bit by bit: slow, and nothing of the simulator's own.
fn checksum(bytes: &[u8]) -> usize {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
        }
    }
    !sum as usize
}

#[test]
fn a_whole_answer_has_every_field() {
    let simulator = start();
    let reply = post(&simulator, "echo%3Bcached%3D1%3Bcache_write%3D1/converse", &ask("a b c"));
    assert!(reply.head.contains("x-amzn-requestid: "));
    assert_eq!(
        reply.json(),
        json!({
            "output": {"message": {"role": "assistant", "content": [{"text": "a b c"}]}},
            "stopReason": "end_turn",
            "usage": {
                "inputTokens": 1, "outputTokens": 3, "totalTokens": 6,
                "cacheReadInputTokens": 1, "cacheWriteInputTokens": 1
            },
            "metrics": {"latencyMs": 1}
        })
    );
    let mut request = ask("a b c");
    request["inferenceConfig"] = json!({"maxTokens": 1});
    assert_eq!(post(&simulator, "echo/converse", &request).json()["stopReason"], "max_tokens");
    request["inferenceConfig"] = json!({"stopSequences": [" b"]});
    assert_eq!(post(&simulator, "echo/converse", &request).json()["stopReason"], "stop_sequence");
}

#[test]
fn a_stream_is_framed_and_tells_every_block() {
    let simulator = play(&everything());
    let mut request = ask("x");
    request["toolConfig"] = tools();
    let whole = post(&simulator, "vendor.model-v1:0/converse", &request).json();
    let reply = post(&simulator, "vendor.model-v1:0/converse-stream", &request);
    assert!(reply.head.contains("application/vnd.amazon.eventstream"));
    let mut blocks = vec![json!({}); 5];
    let mut names = Vec::new();
    for (headers, mut payload) in frames(&reply.body) {
        let header = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        assert_eq!(header(":message-type").as_deref(), Some("event"));
        assert_eq!(header(":content-type").as_deref(), Some("application/json"));
        let name = header(":event-type").expect("a name");
        let index = payload["contentBlockIndex"].as_u64().unwrap_or_default();
        let block = &mut blocks[usize::try_from(index).expect("small")];
        let mut join = |path: &str, part: &Value| {
            let before = block.get(path).and_then(Value::as_str).unwrap_or_default();
            block[path] = json!(before.to_owned() + part.as_str().unwrap_or_default());
        };
        match name.as_str() {
            "contentBlockStart" => join("name", &payload["start"]["toolUse"]["name"]),
            "contentBlockDelta" => {
                let delta = payload["delta"].take();
                join("text", &delta["text"]);
                join("input", &delta["toolUse"]["input"]);
                join("thought", &delta["reasoningContent"]["text"]);
                join("signature", &delta["reasoningContent"]["signature"]);
                join("sealed", &delta["reasoningContent"]["redactedContent"]);
            }
            "metadata" => assert_eq!(payload["usage"], whole["usage"]),
            "messageStop" => assert_eq!(payload["stopReason"], "tool_use"),
            _ => {}
        }
        names.push(name);
    }
    assert_eq!(names[0], "messageStart");
    assert_eq!(names[names.len() - 3..], ["contentBlockStop", "messageStop", "metadata"]);
    let content = &whole["output"]["message"]["content"];
    assert_eq!(blocks[0]["thought"], content[0]["reasoningContent"]["reasoningText"]["text"]);
    assert_eq!(blocks[0]["signature"], content[0]["reasoningContent"]["reasoningText"]["signature"]);
    assert_eq!(blocks[1]["sealed"], content[1]["reasoningContent"]["redactedContent"]);
    assert_eq!(blocks[2]["text"], content[2]["text"]);
    assert_eq!((&blocks[3]["name"], &blocks[3]["input"]), (&json!("weather"), &json!("{\"city\":\"Oslo\"}")));
    assert_eq!(
        content[3]["toolUse"],
        json!({"toolUseId": "one", "name": "weather", "input": {"city": "Oslo"}})
    );
    assert_eq!(content[4]["toolUse"]["input"], json!({"INVALID_JSON": "{"}));
}

#[test]
fn a_stream_breaks_off_with_an_exception() {
    let simulator = start();
    for (kind, name) in [("sse", "internalServerException"), ("failed", "modelStreamErrorException")] {
        let model = format!("echo;error={kind}@1;message=Oh");
        let reply = post(&simulator, &format!("{model}/converse-stream"), &ask("a b"));
        let frames = frames(&reply.body);
        let (headers, payload) = frames.last().expect("an exception");
        assert!(headers.contains(&(":message-type".to_owned(), "exception".to_owned())));
        assert!(headers.contains(&(":exception-type".to_owned(), name.to_owned())));
        assert_eq!(payload["message"], "Oh");
    }
    let cut = post(&simulator, "echo;cut=frame@1/converse-stream", &ask("a b"));
    assert_eq!(cut.end, End::Fin);
}

#[test]
fn errors_are_named_in_a_header() {
    let simulator = start();
    for (status, name) in [
        (400, "validationexception"),
        (403, "accessdeniedexception"),
        (429, "throttlingexception"),
        (503, "serviceunavailableexception"),
    ] {
        let reply = post(&simulator, &format!("m;status={status};message=Oh/converse"), &ask("a"));
        assert_eq!((reply.status, reply.json()), (status, json!({"message": "Oh"})));
        assert!(reply.head.contains(&format!("x-amzn-errortype: {name}")), "{}", reply.head);
    }
    assert_eq!(post(&simulator, "m;auth=required/converse", &ask("a")).status, 403);
    let signed = "authorization: AWS4-HMAC-SHA256 x\r\n";
    assert_eq!(
        send_json(&simulator, "POST", "/model/m;auth=required/converse", signed, &ask("a")).status,
        200
    );
}

#[test]
fn texts_are_embedded_and_tokens_counted() {
    let simulator = start();
    let titan = post(
        &simulator,
        "amazon.titan-embed-text-v2:0/invoke",
        &json!({"inputText": "a b", "dimensions": 256}),
    )
    .json();
    assert_eq!(
        (titan["embedding"].as_array().map(Vec::len), &titan["inputTextTokenCount"]),
        (Some(256), &json!(2))
    );
    let cohere = json!({"texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"]});
    let cohere = post(&simulator, "cohere.embed-multilingual-v3/invoke", &cohere);
    assert!(cohere.head.contains("x-amzn-bedrock-input-token-count: 2"), "{}", cohere.head);
    let cohere = cohere.json();
    assert_eq!(cohere["embeddings"]["float"].as_array().map(Vec::len), Some(2));
    assert_eq!(post(&simulator, "other/invoke", &json!({})).status, 400);
    let asked = json!({"input": {"converse": ask("a b c")}});
    assert_eq!(post(&simulator, "m/count-tokens", &asked).json(), json!({"inputTokens": 3}));
}

#[test]
fn what_bedrock_refuses_is_refused() {
    let simulator = start();
    let with = |key: &str, value: Value| {
        let mut request = ask("a");
        request[key] = value;
        request
    };
    let turns = |messages: Value| {
        let mut request = with("messages", messages);
        request["toolConfig"] = tools();
        request
    };
    let block = |block: Value| with("messages", json!([{"role": "user", "content": [block]}]));
    let user = json!({"role": "user", "content": [{"text": "a"}]});
    let call = json!({"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "weather", "input": {}}}]});
    let result =
        json!({"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "1"}]}}]});
    for (request, expected) in [
        (with("nonsense", json!(1)), "nonsense: Extra inputs are not permitted"),
        (with("messages", Value::Null), "Value null at 'messages'"),
        (with("messages", json!([{"role": "system", "content": [{"text": "a"}]}])), "messages.0.role"),
        (with("messages", json!([call])), "must start with a user message"),
        (with("messages", json!([user, user])), "must alternate"),
        (with("messages", json!([{"role": "user", "content": []}])), "messages.0 is empty"),
        (with("messages", json!([{"role": "user", "content": "a"}])), "an array was expected"),
        (block(json!({"text": " "})), "messages.0.content.0 is blank"),
        (block(json!({"type": "text", "text": "a"})), "messages.0.content.0.type: Extra inputs"),
        (block(json!({"text": "a", "cachePoint": {"type": "default"}})), "exactly one of"),
        (with("inferenceConfig", json!({"temperature": 2})), "inferenceConfig.temperature"),
        (with("inferenceConfig", json!({"max_tokens": 2})), "inferenceConfig.max_tokens: Extra inputs"),
        (with("toolConfig", json!({"tools": []})), "toolConfig.tools"),
        (with("messages", json!([user, call, result])), "toolConfig field must be defined"),
        (turns(json!([user, call])), "Expected toolResult blocks"),
        (turns(json!([user, call, user])), "Expected toolResult blocks at messages.2.content"),
        (turns(json!([result])), "exceeds the number of toolUse blocks"),
    ] {
        let reply = post(&simulator, "echo/converse", &request);
        let message = reply.json()["message"].as_str().expect("a message").to_owned();
        assert_eq!(reply.status, 400, "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(reply.head.contains("x-amzn-errortype: validationexception"));
    }
    assert_eq!(post(&simulator, "echo/converse", &turns(json!([user, call, result]))).status, 200);
}
