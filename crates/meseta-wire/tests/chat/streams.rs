//! Streams, read and written.

use meseta_wire::chat::{StreamDecoder, StreamEncoder};
use meseta_wire::conversation::{Block, Citation, Delta, Event, Failure, Finish};
use meseta_wire::dialect::Context;
use meseta_wire::usage::Usage;

use super::context;

/// What a stream says, one line an event, and what `end` returned.
fn heard(events: &[&str]) -> (Vec<String>, bool) {
    let mut decoder = StreamDecoder::default();
    let mut lines = Vec::new();
    for data in events {
        decoder.event(data.as_bytes(), &mut |event| lines.push(line(&event)));
    }
    let ended = decoder.end(&mut |event| lines.push(line(&event)));
    (lines, ended)
}

fn line(event: &Event<'_>) -> String {
    match event {
        Event::Begin { id, model, created, usage } => {
            assert_eq!(*usage, None);
            format!("begin {id:?} {model:?} {created:?}")
        }
        Event::BlockBegin { index, block } => match block {
            Block::Text => format!("{index} text"),
            Block::Refusal => format!("{index} refusal"),
            Block::Thought { .. } => format!("{index} thought"),
            Block::RedactedThought(signature) => format!("{index} redacted {}", signature.value),
            Block::ToolCall { id, name, custom, signature } => {
                let signature = signature.as_ref().map_or("-", |signature| signature.value.as_ref());
                format!("{index} call {id} {name} {custom} {signature}")
            }
        },
        Event::Delta { index, delta } => match delta {
            Delta::Text(text) => format!("{index} +{text}"),
            Delta::Refusal(text) => format!("{index} +refusal {text}"),
            Delta::Thought(text) => format!("{index} +thought {text}"),
            Delta::Signature(signature) => {
                format!("{index} +signature {:?} {}", signature.family, signature.value)
            }
            Delta::Arguments(text) => format!("{index} +arguments {text}"),
            Delta::Citation(citation) => format!("{index} +citation {}", citation.url.as_deref().unwrap()),
            Delta::Logprobs(tokens) => format!("{index} +logprobs {}", tokens.len()),
        },
        Event::BlockEnd { index } => format!("{index} end"),
        Event::Finish { finish, usage } => {
            format!("finish {finish:?} {:?}", usage.map(|usage| (usage.input, usage.output)))
        }
        Event::Ping => "ping".to_owned(),
        Event::Failed(failure) => format!("failed {:?} {}", failure.kind, failure.message),
    }
}

pub const STREAM: &[&str] = &[
    r#"{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1730000000,"model":"gpt-5","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","text":"deep","index":1},{"type":"reasoning.text","signature":"meseta.anthropic.sig","index":1},{"type":"reasoning.encrypted","data":"blob","index":2}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"content":"Hel\"lo"},"logprobs":{"content":[{"token":"Hel","logprob":-0.5,"bytes":[72],"top_logprobs":[]}]},"finish_reason":null}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"annotations":[{"type":"url_citation","url_citation":{"url":"https://a.example","start_index":0,"end_index":3}}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":1,"delta":{"content":"another choice"}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":""},"extra_content":{"google":{"thought_signature":"gs"}}}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"custom","custom":{"name":"g","input":"l"}}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}},{"index":1,"custom":{"input":"s"}},{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null}"#,
    r#"{"id":"chatcmpl-7","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#,
    "[DONE]",
];

#[test]
fn reads_a_stream() {
    let (lines, ended) = heard(STREAM);
    assert!(ended);
    assert_eq!(
        lines,
        [
            r#"begin Some("chatcmpl-7") Some("gpt-5") Some(1730000000)"#,
            "0 thought",
            "0 +thought hm",
            "0 end",
            "1 thought",
            "1 +thought deep",
            "1 +signature Anthropic sig",
            "1 end",
            "2 redacted blob",
            "2 end",
            "3 text",
            "3 +Hel\"lo",
            "3 +logprobs 1",
            "3 +citation https://a.example",
            "3 end",
            "4 call call_a f false gs",
            "5 call call_b g true -",
            "5 +arguments l",
            "4 +arguments {\"a\"",
            "5 +arguments s",
            "4 +arguments :1}",
            "4 end",
            "5 end",
            "finish ToolCalls Some((9, 4))",
        ]
    );
}

#[test]
fn reads_the_streams_of_other_servers() {
    // Azure begins with an event that has no choices; usage stands beside the reason; no `[DONE]`.
    let (lines, ended) = heard(&[
        r#"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#,
        r#"{"id":"x","choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"id":"x","choices":[{"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
    ]);
    assert_eq!(
        lines,
        [r#"begin Some("x") None None"#, "0 text", "0 +a", "0 end", "finish Stop Some((1, 1))"]
    );
    assert!(ended);

    // The reason, and the end of the connection.
    let (lines, ended) = heard(&[r#"{"choices":[{"delta":{"refusal":"no"},"finish_reason":"stop"}]}"#]);
    assert_eq!(lines, ["begin None None None", "0 refusal", "0 +refusal no", "0 end", "finish Refusal None"]);
    assert!(ended);

    // Every call has the number 0, or none; whole calls say `stop`; the name comes late.
    let (lines, _) = heard(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":0,"id":"b","function":{"name":"f","arguments":{"k":1}}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"arguments":"{\"q"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"name":"g","arguments":"\":1}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"never named"}]}}]}"#,
        r#"{"choices":[{"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(
        lines[1..],
        [
            "0 call a f false -",
            "0 +arguments {}",
            "0 end",
            "1 call b f false -",
            "1 +arguments {\"k\":1}",
            "1 end",
            "2 call c g false -",
            "2 +arguments {\"q\":1}",
            "2 end",
            "finish ToolCalls None",
        ]
    );

    // The older way to call.
    let (lines, _) = heard(&[
        r#"{"choices":[{"delta":{"function_call":{"name":"f","arguments":""}}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"arguments":"{}"}},"finish_reason":"function_call"}]}"#,
        "[DONE]",
    ]);
    assert!(lines[1].starts_with("0 call call_") && lines[1].ends_with(" f false -"), "{lines:?}");
    assert_eq!(lines[2..], ["0 +arguments {}", "0 end", "finish ToolCalls None"]);
}

/// Clients who see one block after the other need not wait for the end of the stream.
#[test]
fn a_call_that_is_whole_ends_when_something_else_begins() {
    let piece = |index: u32, function: &str| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{index},"id":"call_{index}","function":{function}}}]}}}}]}}"#
        )
    };
    let events = [
        piece(0, r#"{"name":"f","arguments":"{\"a\":"}"#),
        piece(1, r#"{"name":"g","arguments":""}"#),
        // The pieces of two calls alternate, and neither ends before it is whole.
        piece(0, r#"{"arguments":"\"}\""}"#),
        piece(1, r#"{"arguments":"{}"}"#),
        piece(2, r#"{"name":"h","arguments":"{}"}"#),
        piece(0, r#"{"arguments":"}"}"#),
        // Nothing more can belong to a call that has ended.
        piece(1, r#"{"arguments":"{}"}"#),
        r#"{"choices":[{"delta":{"content":"Now."}}]}"#.to_owned(),
        r#"{"choices":[{"finish_reason":"stop"}]}"#.to_owned(),
        "[DONE]".to_owned(),
    ];
    let (lines, ended) = heard(&events.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(ended);
    assert_eq!(
        lines[1..],
        [
            "0 call call_0 f false -",
            "0 +arguments {\"a\":",
            "1 call call_1 g false -",
            "0 +arguments \"}\"",
            "1 +arguments {}",
            "1 end",
            "2 call call_2 h false -",
            "2 +arguments {}",
            "0 +arguments }",
            "0 end",
            "2 end",
            "3 text",
            "3 +Now.",
            "3 end",
            "finish ToolCalls None",
        ]
    );
}

#[test]
fn a_stream_that_is_cut_off_or_fails_says_so() {
    let begun = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    assert!(!heard(&[begun]).1);
    assert!(!heard(&[]).1);
    for (event, line) in [
        (r#"{"error":{"message":"Busy","code":503}}"#, "failed Overloaded Busy"),
        (
            r#"{"error":{"message":"Slow","type":"rate_limit_error"},"choices":[{"delta":{},"finish_reason":"error"}]}"#,
            "failed RateLimit Slow",
        ),
        (r#"{"error":"x"}"#, "failed Server x"),
        (r#"{"error":{}}"#, "failed Server The provider failed in the middle of its answer."),
        (
            r#"{"choices":[{"finish_reason":"error"}]}"#,
            "failed Server The provider failed in the middle of its answer.",
        ),
        ("<html>", "failed Server The provider sent an event that is not a chunk of an answer."),
        (r#"{"choices":5}"#, "failed Server The provider sent an event that is not a chunk of an answer."),
    ] {
        let (lines, _) = heard(&[begun, event, begun, "[DONE]"]);
        assert_eq!(lines[3..], [line], "{event}");
        let mut decoder = StreamDecoder::default();
        assert!(!decoder.event(event.as_bytes(), &mut |_| {}));
    }
    assert_eq!(heard(&["[DONE]"]).0, ["failed Server The provider's stream ended before it began."]);
}

fn written(events: &[Event<'_>], context: Context) -> (String, Vec<&'static str>) {
    let mut encoder = StreamEncoder::new(context);
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    encoder.end(&mut out);
    (String::from_utf8(out).unwrap(), encoder.losses().to_vec())
}

fn begin() -> Event<'static> {
    Event::Begin { id: Some("other".into()), model: Some("other".into()), created: Some(1), usage: None }
}

#[test]
fn writes_chunks_byte_for_byte() {
    let events = [
        begin(),
        Event::BlockBegin { index: 0, block: Block::Text },
        Event::Ping,
        Event::Delta { index: 0, delta: Delta::Text("a\n\"b\"".into()) },
        Event::BlockEnd { index: 0 },
        Event::Finish {
            finish: Finish::Stop,
            usage: Some(Usage { input: 2, output: 1, ..Usage::default() }),
        },
    ];
    let head = r#"data: {"id":"chatcmpl-req1","object":"chat.completion.chunk","created":1700000000,"model":"smart","choices":["#;
    let (stream, losses) = written(&events, context());
    let expected = [
        format!(
            r#"{head}{{"index":0,"delta":{{"role":"assistant","content":"","refusal":null}},"logprobs":null,"finish_reason":null}}],"usage":null}}"#
        ),
        ": ping".to_owned(),
        format!(
            r#"{head}{{"index":0,"delta":{{"content":"a\n\"b\""}},"logprobs":null,"finish_reason":null}}],"usage":null}}"#
        ),
        format!(r#"{head}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}],"usage":null}}"#),
        format!(
            r#"{head}],"usage":{{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}}}"#
        ),
        "data: [DONE]".to_owned(),
    ];
    assert_eq!(stream, expected.map(|event| event + "\n\n").concat());
    assert!(losses.is_empty());

    let (stream, _) = written(&events, Context { include_usage: false, ..context() });
    assert!(!stream.contains("usage"));
}

#[test]
fn a_failure_is_the_last_word() {
    let failure = Failure { message: "m".into(), ..Failure::default() };
    let text = Event::Delta { index: 0, delta: Delta::Text("late".into()) };
    let (stream, _) = written(&[begin(), Event::Failed(failure), text], context());
    assert!(stream.ends_with(
        "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\",\"param\":null,\"code\":null,\"request_id\":\"req1\"}}\n\n"
    ));
}

/// Reads events as a client does, puts them through the decoder again, and compares what was said.
fn through(events: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut decoder = StreamDecoder::default();
    let mut encoder = StreamEncoder::new(context());
    let mut stream = Vec::new();
    for data in events {
        decoder.event(data.as_bytes(), &mut |event| encoder.event(&event, &mut stream));
    }
    decoder.end(&mut |event| encoder.event(&event, &mut stream));
    encoder.end(&mut stream);
    let stream = String::from_utf8(stream).unwrap();
    let again: Vec<&str> = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    (heard(events).0, heard(&again).0)
}

#[test]
fn a_stream_says_the_same_when_written_and_read_again() {
    let (first, second) = through(STREAM);
    assert_eq!(first[1..], second[1..]);
    assert_eq!(second[0], r#"begin Some("chatcmpl-req1") Some("smart") Some(1700000000)"#);
}

#[test]
fn calls_without_arguments_get_an_empty_object() {
    let block = |custom| Block::ToolCall { id: "c".into(), name: "f".into(), custom, signature: None };
    let finish = Event::Finish { finish: Finish::ToolCalls, usage: None };
    let events = [
        begin(),
        Event::BlockBegin { index: 0, block: block(false) },
        Event::BlockEnd { index: 0 },
        Event::BlockBegin { index: 1, block: block(true) },
        Event::BlockBegin { index: 2, block: block(false) },
        finish,
    ];
    let (stream, _) = written(&events, context());
    assert_eq!(stream.matches(r#""function":{"arguments":"{}"}"#).count(), 2);
    assert!(stream.contains(r#"[{"index":2,"function":{"arguments":"{}"}}]"#));
}

#[test]
fn what_a_stream_cannot_say_is_noted() {
    let events = [
        begin(),
        Event::BlockBegin { index: 0, block: Block::Text },
        Event::Delta { index: 0, delta: Delta::Text("añ".into()) },
        Event::Delta { index: 0, delta: Delta::Citation(Citation::default()) },
        Event::Delta {
            index: 0,
            delta: Delta::Citation(Citation { url: Some("https://a.example".into()), ..Citation::default() }),
        },
        Event::Delta { index: 7, delta: Delta::Text("of no block".into()) },
        Event::Finish { finish: Finish::Pause, usage: None },
    ];
    let (stream, losses) = written(&events, context());
    assert!(stream.contains(r#""annotations":[{"type":"url_citation","url_citation":{"end_index":2,"start_index":0,"title":"","url":"https://a.example"},"index":0}]"#));
    assert!(!stream.contains("of no block"));
    assert_eq!(losses, ["citations", "pause"]);
}
