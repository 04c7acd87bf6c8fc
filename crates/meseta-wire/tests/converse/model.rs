//! What depends on the model.

use crate::*;

#[test]
fn choices_of_tools() {
    let with = |choice: Option<ToolChoice<'static>>, called: bool, parallel: Option<bool>, model: &str| {
        let mut messages = vec![user("Hi")];
        if called {
            messages.push(message(Role::Assistant, vec![call("c1", "{}")]));
            messages.push(message(Role::Tool, vec![result("c1", vec![text("Rain")])]));
        }
        let tools = vec![weather(), Tool::Custom { name: "shell".into(), description: None, format: None }];
        let request = Request {
            messages,
            tools,
            tool_choice: choice,
            parallel_tool_calls: parallel,
            ..Request::default()
        };
        let body = encode(&request, model).0;
        let names: Vec<String> = body["toolConfig"]["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|tool| tool["toolSpec"]["name"].as_str().unwrap().to_owned())
            .collect();
        (
            names.join(" "),
            body["toolConfig"]["toolChoice"].clone(),
            body["additionalModelRequestFields"]["tool_choice"].clone(),
        )
    };
    let both = "weather shell".to_owned();
    assert_eq!(with(None, false, None, NOVA), (both.clone(), Value::Null, Value::Null));
    assert_eq!(with(Some(ToolChoice::Auto), false, None, NOVA), (both.clone(), Value::Null, Value::Null));
    assert_eq!(
        with(Some(ToolChoice::Required), false, None, NOVA),
        (both.clone(), json!({"any": {}}), Value::Null)
    );
    assert_eq!(
        with(Some(ToolChoice::Named("shell".into())), false, None, NOVA),
        (both.clone(), json!({"tool": {"name": "shell"}}), Value::Null)
    );
    assert_eq!(with(Some(ToolChoice::None), false, None, CLAUDE), (String::new(), Value::Null, Value::Null));
    assert_eq!(
        with(Some(ToolChoice::None), true, None, CLAUDE),
        (both.clone(), Value::Null, json!({"type": "none"}))
    );
    assert_eq!(with(Some(ToolChoice::None), true, None, NOVA), (both.clone(), Value::Null, Value::Null));
    let allowed = ToolChoice::Allowed { names: vec!["weather".into()], required: true };
    assert_eq!(with(Some(allowed), false, None, NOVA), ("weather".into(), json!({"any": {}}), Value::Null));
    assert_eq!(
        with(Some(ToolChoice::Named("shell".into())), false, Some(false), CLAUDE),
        (both, Value::Null, json!({"type": "tool", "name": "shell", "disable_parallel_tool_use": true}))
    );
}

#[test]
fn a_conversation_with_calls_is_never_sent_without_tools() {
    let request = Request {
        messages: vec![
            user("Hi"),
            message(Role::Assistant, vec![call("c1", "{}"), call("c2", "{}")]),
            message(Role::Tool, vec![result("c1", vec![text("Rain")]), result("c2", vec![text("Sun")])]),
        ],
        ..Request::default()
    };
    let (body, _) = encode(&request, CLAUDE);
    let tools = body["toolConfig"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0]["toolSpec"]["name"], "weather");
    assert_eq!(body["additionalModelRequestFields"], json!({"tool_choice": {"type": "none"}}));
}

fn thinking<'a>(thinking: Thinking) -> Request<'a> {
    Request { messages: vec![user("Hi")], thinking: Some(thinking), ..Request::default() }
}

fn effort(effort: Effort) -> Thinking {
    Thinking { effort: Some(effort), ..Thinking::default() }
}

#[test]
fn every_family_is_told_to_think_in_its_own_words() {
    let told = |asked: Thinking, model: &str| {
        let body = encode(&thinking(asked), model).0;
        (body["additionalModelRequestFields"].clone(), body["outputConfig"]["effort"].clone())
    };
    let high = effort(Effort::High);
    let off = Thinking { enabled: Some(false), ..Thinking::default() };
    assert_eq!(
        told(high, CLAUDE),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 24_576}}), Value::Null)
    );
    assert_eq!(
        told(high, "anthropic.claude-opus-4-6-v1"),
        (json!({"thinking": {"type": "adaptive"}}), json!("high"))
    );
    assert_eq!(told(effort(Effort::Highest), "anthropic.claude-opus-4-6-v1").1, "max");
    assert_eq!(told(effort(Effort::Highest), "anthropic.claude-opus-4-7").1, "xhigh");
    let shown = Thinking { shown: Some(true), ..high };
    assert_eq!(
        told(shown, "anthropic.claude-opus-4-7").0,
        json!({"thinking": {"type": "adaptive", "display": "summarized"}})
    );
    assert_eq!(
        told(high, "us.amazon.nova-2-lite-v1:0"),
        (json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}), Value::Null)
    );
    assert_eq!(told(high, "openai.gpt-oss-120b-1:0").0, json!({"reasoning_effort": "high"}));
    assert_eq!(told(off, "openai.gpt-oss-120b-1:0").0, json!({"reasoning_effort": "low"}));
    for model in [NOVA, "meta.llama3-1-8b-instruct-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"] {
        assert_eq!(told(high, model), (Value::Null, Value::Null));
        assert_eq!(encode(&thinking(high), model).1, ["reasoning_effort"]);
        assert_eq!(encode(&thinking(off), model).1, [""; 0]);
    }
    assert_eq!(told(off, CLAUDE), (Value::Null, Value::Null));
    assert_eq!(told(off, "anthropic.claude-opus-5").0, json!({"thinking": {"type": "disabled"}}));
}

#[test]
fn a_budget_of_thinking_fits_the_rest_of_the_request() {
    let mut request = thinking(effort(Effort::Medium));
    request.sampling.temperature = serde_json::Number::from_f64(0.2);
    request.sampling.top_k = Some(40.into());
    request.max_tokens = Some(4_000);
    let (body, lost) = encode(&request, CLAUDE);
    assert_eq!(
        body["additionalModelRequestFields"],
        json!({"thinking": {"type": "enabled", "budget_tokens": 2_000}})
    );
    assert_eq!(body["inferenceConfig"], json!({"maxTokens": 4_000}));
    assert_eq!(lost, ["reasoning_effort", "temperature", "top_k"]);
    // There is no room to think in, a call is forced, or the turn began without a thought.
    let small = Request { max_tokens: Some(1_000), ..request.clone() };
    let forced =
        Request { tool_choice: Some(ToolChoice::Required), tools: vec![weather()], ..request.clone() };
    let mut going_on = request.clone();
    going_on.messages.push(message(Role::Assistant, vec![call("c1", "{}")]));
    going_on.messages.push(message(Role::Tool, vec![result("c1", vec![text("Rain")])]));
    for request in [&small, &forced, &going_on] {
        let body = encode(request, CLAUDE).0;
        assert_eq!(body["additionalModelRequestFields"].get("thinking"), None);
        assert_eq!(body["inferenceConfig"]["temperature"], 0.2);
    }
    let thought = Thought {
        text: "Hm.".into(),
        signature: Some(Signature::new(Family::Anthropic, "sig")),
        ..Thought::default()
    };
    going_on.messages[1].parts.insert(0, Part::Thought(thought));
    assert_eq!(encode(&going_on, CLAUDE).0["additionalModelRequestFields"]["thinking"]["type"], "enabled");
}

#[test]
fn thoughts_go_back_only_to_who_signed_them() {
    let thought = |signature: Option<Signature<'static>>, redacted| {
        Part::Thought(Thought { id: None, text: "Hm.".into(), signature, redacted })
    };
    let request = |part| Request {
        messages: vec![user("Hi"), message(Role::Assistant, vec![part, text("Yes")]), user("So?")],
        ..Request::default()
    };
    let own = request(thought(Some(Signature::new(Family::Anthropic, "sig")), false));
    assert_eq!(
        encode(&own, CLAUDE).0["messages"][1]["content"][0],
        json!({"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig"}}})
    );
    let redacted = request(thought(Some(Signature::new(Family::Anthropic, "Emw")), true));
    assert_eq!(
        encode(&redacted, CLAUDE).0["messages"][1]["content"][0],
        json!({"reasoningContent": {"redactedContent": "RW13"}})
    );
    let foreign = request(thought(Some(Signature::new(Family::Gemini, "g")), false));
    let unsigned = request(thought(None, false));
    for (request, model) in [(&foreign, CLAUDE), (&unsigned, CLAUDE), (&own, NOVA)] {
        let (body, lost) = encode(request, model);
        assert_eq!(body["messages"][1]["content"], json!([{"text": "Yes"}]));
        assert_eq!(lost, ["messages[].reasoning_content"]);
    }
}

#[test]
fn settings_are_what_the_model_takes() {
    let mut request = Request { messages: vec![user("Hi")], ..Request::default() };
    request.sampling.temperature = serde_json::Number::from_f64(1.5);
    request.sampling.top_p = serde_json::Number::from_f64(0.9);
    request.sampling.top_k = Some(20.into());
    request.sampling.seed = Some(1.into());
    request.stop = vec!["END".into(), "\n".into()];
    request.metadata = vec![("team".into(), "a b".into()), ("bad!".into(), "x".into())];
    request.service_tier = Some("priority".into());
    let (body, lost) = encode(&request, NOVA);
    assert_eq!(
        body["inferenceConfig"],
        json!({"temperature": 1, "topP": 0.9, "stopSequences": ["END", "\n"]})
    );
    assert_eq!(body["additionalModelRequestFields"], json!({"inferenceConfig": {"topK": 20}}));
    assert_eq!(body["requestMetadata"], json!({"team": "a b"}));
    assert_eq!(body["serviceTier"], json!({"type": "priority"}));
    assert_eq!(lost, ["temperature", "metadata", "seed"]);
    let (body, lost) = encode(&request, CLAUDE);
    assert_eq!(body["inferenceConfig"], json!({"temperature": 1, "stopSequences": ["END"]}));
    assert_eq!(body["additionalModelRequestFields"], json!({"top_k": 20}));
    assert_eq!(lost, ["temperature", "top_p", "stop", "metadata", "seed"]);
    let (body, _) = encode(&request, "anthropic.claude-opus-4-7");
    assert_eq!(body["inferenceConfig"], json!({"stopSequences": ["END"]}));
    assert_eq!(body.get("additionalModelRequestFields"), None);
}

#[test]
fn answers_are_held_to_schemas_where_the_model_can_be() {
    let schema = Format::Schema {
        name: Some("answer".into()),
        description: None,
        schema: Cow::Owned(Json::parse(r#"{"type":"object","required":["b","a"]}"#).unwrap()),
        strict: Some(true),
    };
    let request = Request { messages: vec![user("Hi")], format: Some(schema), ..Request::default() };
    let (body, lost) = encode(&request, CLAUDE);
    assert_eq!(
        body["outputConfig"]["textFormat"],
        json!({"type": "json_schema", "structure": {"jsonSchema": {
            "schema": r#"{"type":"object","required":["b","a"]}"#, "name": "answer",
        }}})
    );
    assert_eq!((body.get("system"), lost.len()), (None, 0));
    let (body, lost) = encode(&request, NOVA);
    assert_eq!(body.get("outputConfig"), None);
    assert!(
        body["system"][0]["text"].as_str().unwrap().ends_with(r#"{"type":"object","required":["b","a"]}"#)
    );
    assert_eq!(lost, ["response_format"]);
    let any = Request { format: Some(Format::Json), ..request };
    let (body, lost) = encode(&any, CLAUDE);
    assert!(body["system"][0]["text"].as_str().unwrap().contains("JSON object"));
    assert_eq!(lost, ["response_format"]);
}
