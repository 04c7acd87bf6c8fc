//! Streams.

use crate::*;

pub type Step = (&'static str, Value);

pub fn stream() -> Vec<Step> {
    let delta = |index: u64, delta: Value| {
        ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta, "p": "abc"}))
    };
    let stop = |index: u64| ("contentBlockStop", json!({"contentBlockIndex": index}));
    vec![
        ("messageStart", json!({"role": "assistant"})),
        delta(0, json!({"reasoningContent": {"text": "Hm"}})),
        delta(0, json!({"reasoningContent": {"text": "."}})),
        delta(0, json!({"reasoningContent": {"signature": "sig"}})),
        stop(0),
        delta(1, json!({"reasoningContent": {"redactedContent": "RW13"}})),
        stop(1),
        delta(2, json!({"text": "It \"rains\""})),
        delta(2, json!({"citation": {"title": "Report", "sourceContent": [{"text": "Rain."}]}})),
        stop(2),
        (
            "contentBlockStart",
            json!({"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "t1", "name": "weather"}}}),
        ),
        delta(3, json!({"toolUse": {"input": "{\"city\":"}})),
        delta(3, json!({"toolUse": {"input": " \"Oslo\"}"}})),
        stop(3),
        ("messageStop", json!({"stopReason": "tool_use"})),
        (
            "metadata",
            json!({
                "usage": {"inputTokens": 10, "outputTokens": 20, "totalTokens": 34, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 0},
                "metrics": {"latencyMs": 700},
            }),
        ),
    ]
}

pub fn own(event: &Event<'_>) -> String {
    format!("{event:?}")
}

/// What a decoder says of some steps, and whether it thinks that the stream was whole.
pub fn run(steps: &[Step]) -> (Vec<String>, bool) {
    let mut decoder = StreamDecoder::default();
    let mut events = Vec::new();
    for (name, data) in steps {
        if !decoder.event(name, data.to_string().as_bytes(), &mut |event| events.push(own(&event))) {
            break;
        }
    }
    let whole = decoder.end(&mut |event| events.push(own(&event)));
    (events, whole)
}

#[test]
fn a_stream_is_read() {
    let (events, whole) = run(&stream());
    assert!(whole);
    let expected = [
        Event::Begin { id: None, model: None, created: None, usage: None },
        Event::BlockBegin { index: 0, block: Block::Thought { id: None } },
        Event::Delta { index: 0, delta: Delta::Thought("Hm".into()) },
        Event::Delta { index: 0, delta: Delta::Thought(".".into()) },
        Event::Delta { index: 0, delta: Delta::Signature(Signature::new(Family::Anthropic, "sig")) },
        Event::BlockEnd { index: 0 },
        Event::BlockBegin {
            index: 1,
            block: Block::RedactedThought(Signature::new(Family::Anthropic, "Emw")),
        },
        Event::BlockEnd { index: 1 },
        Event::BlockBegin { index: 2, block: Block::Text },
        Event::Delta { index: 2, delta: Delta::Text("It \"rains\"".into()) },
        Event::Delta {
            index: 2,
            delta: Delta::Citation(Citation {
                title: Some("Report".into()),
                cited: Some("Rain.".into()),
                ..Citation::default()
            }),
        },
        Event::BlockEnd { index: 2 },
        Event::BlockBegin {
            index: 3,
            block: Block::ToolCall {
                id: "t1".into(),
                name: "weather".into(),
                custom: false,
                signature: None,
            },
        },
        Event::Delta { index: 3, delta: Delta::Arguments("{\"city\":".into()) },
        Event::Delta { index: 3, delta: Delta::Arguments(" \"Oslo\"}".into()) },
        Event::BlockEnd { index: 3 },
        Event::Finish {
            finish: Finish::ToolCalls,
            usage: Some(Usage { input: 14, cached: 4, cache_write: 0, output: 20, reasoning: 0 }),
        },
    ];
    assert_eq!(events, expected.iter().map(own).collect::<Vec<_>>());
}

#[test]
fn a_stream_without_counts_ends_well_and_a_cut_one_does_not() {
    let steps = stream();
    let (events, whole) = run(&steps[..15]);
    assert!(whole);
    assert_eq!(events.last().unwrap(), &own(&Event::Finish { finish: Finish::ToolCalls, usage: None }));
    for end in 0..14 {
        let (events, whole) = run(&steps[..end]);
        assert!(!whole);
        assert!(!events.iter().any(|event| event.starts_with("Finish")));
    }
}

#[test]
fn odd_counts_do_not_spoil_an_answer() {
    let mut steps = stream();
    for (usage, expected) in [
        (json!("many"), None),
        (
            json!({"inputTokens": -1, "outputTokens": 1e13, "cacheReadInputTokens": 5}),
            Some(Usage { input: 5, cached: 5, ..Usage::default() }),
        ),
        (json!(null), None),
    ] {
        steps[15].1["usage"] = usage;
        let (events, whole) = run(&steps);
        assert!(whole);
        assert_eq!(
            events.last().unwrap(),
            &own(&Event::Finish { finish: Finish::ToolCalls, usage: expected })
        );
    }
}

#[test]
fn blocks_are_closed_and_empty_calls_get_an_object() {
    let (events, whole) = run(&[
        (
            "contentBlockStart",
            json!({"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}),
        ),
        (
            "contentBlockStart",
            json!({"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "s", "name": "g", "type": "server_tool_use"}}}),
        ),
        ("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 2, "delta": {"text": "Hi"}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 9, "delta": {"toolUse": {"input": "{}"}}})),
        ("messageStop", json!({"stopReason": "end_turn"})),
    ]);
    assert!(whole);
    let block = Block::ToolCall { id: "t".into(), name: "f".into(), custom: false, signature: None };
    let expected = [
        Event::Begin { id: None, model: None, created: None, usage: None },
        Event::BlockBegin { index: 0, block },
        Event::BlockBegin { index: 1, block: Block::Text },
        Event::Delta { index: 1, delta: Delta::Text("Hi".into()) },
        Event::Delta { index: 0, delta: Delta::Arguments("{}".into()) },
        Event::BlockEnd { index: 0 },
        Event::BlockEnd { index: 1 },
        Event::Finish { finish: Finish::Stop, usage: None },
    ];
    assert_eq!(events, expected.iter().map(own).collect::<Vec<_>>());
}

#[test]
fn exceptions_and_garbage_end_a_stream() {
    let fail = |name: &str, data: &[u8]| {
        let mut decoder = StreamDecoder::default();
        let mut kind = None;
        let goes_on = decoder.event(name, data, &mut |event| {
            if let Event::Failed(failure) = event {
                kind = Some((failure.kind, failure.message.into_owned()));
            }
        });
        assert!(!goes_on);
        assert!(!decoder.event("messageStart", b"{}", &mut |_| panic!("after the end")));
        assert!(!decoder.end(&mut |_| panic!("after the end")));
        kind.unwrap()
    };
    for (name, kind) in [
        ("throttlingException", FailureKind::RateLimit),
        ("serviceUnavailableException", FailureKind::Overloaded),
        ("validationException", FailureKind::InvalidRequest),
        ("internalServerException", FailureKind::Server),
        ("modelStreamErrorException", FailureKind::Server),
        ("somethingNewException", FailureKind::Server),
    ] {
        assert_eq!(fail(name, br#"{"message":"Oh."}"#), (kind, "Oh.".into()));
    }
    assert!(fail("throttlingException", b"").1.contains("throttlingException"));
    assert_eq!(
        fail("InternalFailureException", b"Plain words."),
        (FailureKind::Server, "Plain words.".into())
    );
    for data in [&b"{"[..], b"", b"[]", b"{\"contentBlockIndex\":-1,\"delta\":{}}", b"\xff"] {
        assert_eq!(fail("contentBlockDelta", data).0, FailureKind::Server);
    }
}

#[test]
fn a_stream_cannot_open_blocks_without_end() {
    let steps: Vec<Step> = (0..2_000)
        .map(|index| ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": {"text": "x"}})))
        .collect();
    let (events, whole) = run(&steps);
    assert!(!whole);
    assert!(events.last().unwrap().starts_with("Failed"));
}

/// Decodes steps, writes what was decoded, and reads the frames back.
pub fn through(steps: &[Step]) -> Vec<(String, Value)> {
    let mut decoder = StreamDecoder::default();
    let mut encoder = StreamEncoder::new(Context::default());
    let mut out = Vec::new();
    for (name, data) in steps {
        decoder.event(name, data.to_string().as_bytes(), &mut |event| encoder.event(&event, &mut out));
    }
    decoder.end(&mut |event| encoder.event(&event, &mut out));
    encoder.end(&mut out);
    frames(&out)
}

pub fn frames(bytes: &[u8]) -> Vec<(String, Value)> {
    let mut frames = Frames::default();
    frames.push(bytes);
    let mut found = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        let (name, data) = frame.event();
        found.push((name.into_owned(), serde_json::from_slice(data).unwrap()));
    }
    assert!(!frames.is_partial());
    found
}

#[test]
fn a_stream_is_written_as_bedrock_writes_it() {
    let mut expected: Vec<(String, Value)> =
        stream().into_iter().map(|(name, data)| (name.to_owned(), data)).collect();
    for (_, data) in &mut expected {
        data.as_object_mut().unwrap().remove("p");
    }
    expected.last_mut().unwrap().1["metrics"]["latencyMs"] = json!(0);
    assert_eq!(through(&stream()), expected);
}

#[test]
fn what_another_dialect_says_is_written_so_that_it_can_be_read() {
    let mut encoder = StreamEncoder::new(Context::default());
    let mut out = Vec::new();
    let call = |custom| Block::ToolCall { id: "t".into(), name: "f".into(), custom, signature: None };
    for event in [
        Event::Ping,
        Event::Delta { index: 7, delta: Delta::Text("nowhere".into()) },
        Event::BlockBegin { index: 0, block: Block::Text },
        Event::BlockEnd { index: 0 },
        Event::BlockBegin { index: 1, block: call(true) },
        Event::BlockBegin { index: 2, block: call(false) },
        Event::Delta { index: 2, delta: Delta::Arguments("{}".into()) },
        Event::Delta { index: 1, delta: Delta::Arguments("say \"hi\"\n".into()) },
        Event::Delta { index: 2, delta: Delta::Signature(Signature::new(Family::Gemini, "g")) },
        Event::Delta { index: 1, delta: Delta::Text("lost".into()) },
        Event::Finish { finish: Finish::StopSequence(Some("END".into())), usage: None },
        Event::Finish { finish: Finish::Stop, usage: None },
    ] {
        encoder.event(&event, &mut out);
    }
    assert_eq!(encoder.losses(), ["signatures"]);
    let found = frames(&out);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "contentBlockStop").count(), 3);
    assert_eq!(names[..3], ["messageStart", "contentBlockDelta", "contentBlockStop"]);
    let input: String = found
        .iter()
        .filter(|(_, data)| data["contentBlockIndex"] == 1)
        .filter_map(|(_, data)| data["delta"]["toolUse"]["input"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&input).unwrap(), json!({"input": "say \"hi\"\n"}));
    assert_eq!(
        found.last().unwrap(),
        &(
            "messageStop".to_owned(),
            json!({"stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": "END"}})
        )
    );
}

#[test]
fn a_failure_is_written_as_an_exception() {
    let mut encoder = StreamEncoder::new(Context::default());
    let mut out = Vec::new();
    let failure =
        Failure { message: "Slow down.".into(), kind: FailureKind::RateLimit, ..Failure::default() };
    encoder.event(&Event::Failed(failure), &mut out);
    encoder.event(&Event::Finish { finish: Finish::Stop, usage: None }, &mut out);
    assert_eq!(frames(&out), [("throttlingException".to_owned(), json!({"message": "Slow down."}))]);
}
