//! A whole answer told as a stream, and a stream gathered to a whole answer.

use meseta_wire::conversation::{Answer, Citation, Finish, Part, Text, Thought, TokenLogprob, ToolCall};
use meseta_wire::dialect::{self, Context, Dialect, StreamDecoder, StreamEncoder};
use meseta_wire::feature::Losses;
use meseta_wire::form::{Gathered, tell};
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::sse;
use meseta_wire::usage::Usage;
use proptest::prelude::*;

const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];
const PLENTY: usize = 1 << 20;

fn said(text: &str) -> Part<'static> {
    Part::Text(Text { text: text.to_owned().into(), ..Text::default() })
}

fn calls(id: &str, arguments: &str) -> Part<'static> {
    Part::ToolCall(ToolCall {
        id: id.to_owned().into(),
        name: "look".into(),
        arguments: arguments.to_owned().into(),
        custom: false,
        signature: None,
        cache: None,
    })
}

fn answer(parts: Vec<Part<'static>>, finish: Finish<'static>) -> Answer<'static> {
    let usage = Usage { input: 7, cached: 2, cache_write: 0, output: 5, reasoning: 1 };
    Answer {
        id: Some("a".into()),
        model: Some("m".into()),
        created: Some(1),
        parts,
        finish,
        usage: Some(usage),
        ..Answer::default()
    }
}

fn gathered(answer: &Answer<'_>, limit: usize) -> Gathered {
    let mut gathered = Gathered::new(limit);
    let mut losses = Losses::new(Dialect::OpenaiChat, Dialect::OpenaiChat);
    tell(answer, &mut losses, &mut |event| gathered.take(event.clone()));
    gathered
}

#[test]
fn what_is_told_is_gathered_again() {
    let signature = Signature::new(Family::Anthropic, "sig");
    let citation = Citation {
        url: Some("https://a.example/".into()),
        start: Some(0),
        end: Some(2),
        ..Citation::default()
    };
    let token = TokenLogprob { token: "It".into(), logprob: -0.5, top: vec![("It".into(), -0.5)] };
    let thought = Thought { text: "Hm.".into(), signature: Some(signature.clone()), ..Thought::default() };
    let hidden = Thought { signature: Some(signature), redacted: true, ..Thought::default() };
    let cited = Text { text: "It rains.".into(), citations: vec![citation], cache: None };
    let parts = vec![
        Part::Thought(thought),
        Part::Thought(hidden),
        Part::Text(cited),
        said(&"é".repeat(10_000)),
        Part::Refusal("No.".into()),
        calls("1", r#"{"at":"it"}"#),
        calls("2", "{}"),
    ];
    let mut whole = answer(parts, Finish::ToolCalls);
    whole.logprobs = vec![token];
    assert_eq!(gathered(&whole, PLENTY).into_answer(), whole);
    let empty = answer(Vec::new(), Finish::Length);
    assert_eq!(gathered(&empty, PLENTY).into_answer(), empty);
}

#[test]
fn what_is_held_is_bounded() {
    let whole = answer(vec![said(&"a".repeat(1_000)), said("b")], Finish::Stop);
    assert!(gathered(&whole, 1_000).is_too_long());
    assert!(!gathered(&whole, 1_100).is_too_long());
    let empty = answer(vec![said(""); 1_000], Finish::Stop);
    assert!(gathered(&empty, 1_000).is_too_long());
}

/// The answer in the client's words, as a stream.
fn stream(dialect: Dialect, answer: &Answer<'_>) -> Vec<u8> {
    let context = Context { include_usage: true, model: "m".to_owned(), created: 1, ..Context::default() };
    let mut encoder = StreamEncoder::new(dialect, context);
    let mut losses = Losses::new(dialect, dialect);
    let mut out = Vec::new();
    tell(answer, &mut losses, &mut |event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    assert!(losses.is_empty() && encoder.losses().is_empty(), "{dialect:?}");
    out
}

fn read(dialect: Dialect, mut stream: &[u8]) -> Answer<'static> {
    let mut decoder = StreamDecoder::new(dialect);
    let mut gathered = Gathered::new(PLENTY);
    while let Some(end) = sse::Cursor::default().event_end(stream) {
        let data = sse::event_data(&stream[..end]);
        decoder.event("", &data, &mut |event| gathered.take(event));
        stream = &stream[end..];
    }
    assert!(decoder.end(&mut |event| gathered.take(event)), "{dialect:?}");
    gathered.into_answer()
}

fn part() -> impl Strategy<Value = Part<'static>> {
    prop_oneof![
        "[a-zé \n\"]{1,20}".prop_map(|text| said(&text)),
        prop::sample::select(vec!["{}", r#"{"at":"it"}"#, r#"{"n":[1,2.5,null]}"#])
            .prop_map(|json| calls("c", json)),
    ]
}

proptest! {
    /// Both forms of an answer say the same to the client, in every dialect.
    #[test]
    fn a_client_reads_the_same_in_both_forms(
        parts in prop::collection::vec(part(), 0..6),
        length in any::<bool>(),
        dialect in prop::sample::select(CLIENTS.to_vec()),
    ) {
        let finish = if length { Finish::Length } else { Finish::Stop };
        let mut told = answer(parts, finish);
        for (number, part) in told.parts.iter_mut().enumerate() {
            if let Part::ToolCall(call) = part {
                call.id = format!("call_{number}").into();
            }
        }
        let context = Context { model: "m".to_owned(), created: 1, ..Context::default() };
        let whole = dialect::encode_answer(dialect, &told, &context, &mut Losses::new(dialect, dialect));
        let whole = String::from_utf8(whole).unwrap();
        let json = Json::parse(&whole).unwrap();
        let whole = dialect::decode_answer(dialect, &json).unwrap();
        let streamed = read(dialect, &stream(dialect, &whole));
        let words = |answer: &Answer<'_>| {
            let mut words = String::new();
            let mut calls = Vec::new();
            for part in &answer.parts {
                match part {
                    Part::Text(text) => words.push_str(&text.text),
                    Part::ToolCall(call) => {
                        let arguments: serde_json::Value = serde_json::from_str(&call.arguments).unwrap();
                        calls.push((call.id.to_string(), call.name.to_string(), arguments));
                    }
                    other => panic!("{other:?}"),
                }
            }
            (words, calls)
        };
        prop_assert_eq!(words(&streamed), words(&whole));
        prop_assert_eq!(words(&streamed), words(&told));
        prop_assert_eq!(&streamed.finish, &whole.finish);
        prop_assert_eq!(streamed.usage, whole.usage);
        prop_assert_eq!(streamed.usage.map(|usage| (usage.input, usage.output)), Some((7, 5)));
        prop_assert_eq!(&streamed.model, &whole.model);
    }
}
