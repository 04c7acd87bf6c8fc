//! The message that an answer is, in every dialect that clients speak.

use meseta_wire::conversation::{
    Answer, Block, Delta, Event, Failure, Finish, Message, Part, Role, Text, Thought, ToolCall,
};
use meseta_wire::dialect::{Context, Dialect, StreamEncoder, encode_answer};
use meseta_wire::feature::Losses;
use meseta_wire::history::{AnswerReader, Broken, Inline, Kept, answer, write};
use meseta_wire::signature::{Family, Signature};

const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];
const ROOM: usize = 1 << 20;

fn parts() -> Vec<Part<'static>> {
    vec![
        Part::Text(Text { text: "It rains in Oslo: 雨.\n".into(), ..Text::default() }),
        Part::ToolCall(ToolCall {
            id: "call_1".into(),
            name: "forecast".into(),
            arguments: r#"{"city":"Oslo","days":2}"#.into(),
            custom: false,
            signature: None,
            cache: None,
        }),
    ]
}

fn context() -> Context {
    Context { id: "1".to_owned(), model: "sim/echo".to_owned(), created: 1, ..Context::default() }
}

fn whole(dialect: Dialect, parts: Vec<Part<'_>>) -> Vec<u8> {
    let answer = Answer { parts, finish: Finish::ToolCalls, ..Answer::default() };
    encode_answer(dialect, &answer, &context(), &mut Losses::new(dialect, dialect))
}

fn begin() -> Event<'static> {
    Event::Begin { id: None, model: None, created: None, usage: None }
}

fn stream(dialect: Dialect, events: &[Event<'_>], ends: bool) -> Vec<u8> {
    let mut encoder = StreamEncoder::new(dialect, context());
    let mut bytes = Vec::new();
    for event in events {
        encoder.event(event, &mut bytes);
    }
    if ends {
        encoder.end(&mut bytes);
    }
    bytes
}

fn streamed(dialect: Dialect) -> Vec<u8> {
    let text = |text: &'static str| Event::Delta { index: 0, delta: Delta::Text(text.into()) };
    let arguments = |text: &'static str| Event::Delta { index: 1, delta: Delta::Arguments(text.into()) };
    let block =
        Block::ToolCall { id: "call_1".into(), name: "forecast".into(), custom: false, signature: None };
    let events = [
        begin(),
        Event::BlockBegin { index: 0, block: Block::Text },
        text("It rains"),
        text(" in Oslo: 雨."),
        text("\n"),
        Event::BlockEnd { index: 0 },
        Event::BlockBegin { index: 1, block },
        arguments(r#"{"city":"#),
        Event::Ping,
        arguments(r#""Oslo","days":2}"#),
        Event::BlockEnd { index: 1 },
        Event::Finish { finish: Finish::ToolCalls, usage: None },
    ];
    stream(dialect, &events, true)
}

fn expected() -> Message<'static> {
    Message { role: Role::Assistant, name: None, parts: parts() }
}

#[test]
fn an_answer_is_read_whole_or_streamed_however_it_is_cut() {
    for dialect in CLIENTS {
        let document = whole(dialect, parts());
        assert_eq!(answer(dialect, false, &document, ROOM), Ok(expected()), "{dialect:?}");
        let stream = streamed(dialect);
        for size in (1..80).chain([stream.len()]) {
            let mut reader = AnswerReader::new(dialect, true, ROOM);
            for piece in stream.chunks(size) {
                assert!(!reader.is_closed());
                reader.feed(piece);
            }
            assert!(reader.is_closed(), "{dialect:?} {size}");
            assert_eq!(reader.finish(), Ok(expected()), "{dialect:?} {size}");
        }
    }
}

#[test]
fn an_answer_that_broke_off_is_none() {
    for dialect in CLIENTS {
        let stream = streamed(dialect);
        let mut whole = 0;
        for end in 0..stream.len() {
            let mut reader = AnswerReader::new(dialect, true, ROOM);
            reader.feed(&stream[..end]);
            // Only where nothing but the end of the last word is missing has all been said.
            if let Ok(message) = reader.finish() {
                assert_eq!(message, expected(), "{dialect:?} {end}");
                whole += 1;
                assert!(end > stream.len() / 2, "{dialect:?} {end}");
            }
        }
        assert!(whole < 40, "{dialect:?} {whole}");
        let document = self::whole(dialect, parts());
        for end in 0..document.len() {
            assert_eq!(
                answer(dialect, false, &document[..end], ROOM),
                Err(Broken::Failed),
                "{dialect:?} {end}"
            );
        }
    }
}

#[test]
fn an_answer_that_failed_is_none() {
    for dialect in CLIENTS {
        let failure = Failure { message: "overloaded".into(), ..Failure::default() };
        let events = [begin(), Event::BlockBegin { index: 0, block: Block::Text }, Event::Failed(failure)];
        let bytes = stream(dialect, &events, false);
        assert_eq!(answer(dialect, true, &bytes, ROOM), Err(Broken::Failed), "{dialect:?}");
        for error in
            [&br#"{"error":{"message":"no","type":"server_error"}}"#[..], b"<html>", b"", b"\xff", b"[]"]
        {
            assert_eq!(answer(dialect, false, error, ROOM), Err(Broken::Failed), "{dialect:?}");
        }
        assert_eq!(answer(dialect, true, b"", ROOM), Err(Broken::CutOff), "{dialect:?}");
    }
}

#[test]
fn what_a_reader_holds_is_bounded() {
    for dialect in CLIENTS {
        let kept = write(&Kept { instructions: false, message: expected() }, Inline(0)).len();
        for (streamed, bytes) in [(false, whole(dialect, parts())), (true, streamed(dialect))] {
            assert_eq!(answer(dialect, streamed, &bytes, kept - 1), Err(Broken::TooLong));
            assert!(answer(dialect, streamed, &bytes, kept).is_ok());
        }
        let text = Event::Delta { index: 0, delta: Delta::Text("word ".into()) };
        let mut events = vec![begin(), Event::BlockBegin { index: 0, block: Block::Text }];
        events.resize(1_000, text);
        let bytes = stream(dialect, &events, false);
        assert_eq!(answer(dialect, true, &bytes, 4_000), Err(Broken::TooLong), "{dialect:?}");
        assert_eq!(answer(dialect, true, &bytes, 10_000), Err(Broken::CutOff), "{dialect:?}");
        // A document, or an event, without an end.
        for streamed in [false, true] {
            let mut reader = AnswerReader::new(dialect, streamed, 4_000);
            for _ in 0..5 {
                reader.feed(&vec![b'x'; 1 << 20]);
            }
            assert_eq!(reader.finish(), Err(Broken::TooLong));
        }
        // Empty blocks are not free.
        let blocks: Vec<u8> = (0..1_000)
            .flat_map(|index| {
                format!("data: {{\"type\":\"content_block_start\",\"index\":{index},\"content_block\":{{\"type\":\"tool_use\",\"id\":\"\",\"name\":\"n\",\"input\":{{}}}}}}\n\n").into_bytes()
            })
            .collect();
        assert!(answer(dialect, true, &blocks, 4_000).is_err());
    }
}

#[test]
fn thoughts_keep_their_signatures() {
    let thought = Part::Thought(Thought {
        id: None,
        text: "Hm.".into(),
        signature: Some(Signature::new(Family::Anthropic, "signed")),
        redacted: false,
    });
    let dialect = Dialect::AnthropicMessages;
    let document = whole(dialect, vec![thought.clone(), crate::any::text("Yes.")]);
    let events = [
        begin(),
        Event::BlockBegin { index: 0, block: Block::Thought { id: None } },
        Event::Delta { index: 0, delta: Delta::Thought("Hm.".into()) },
        Event::Delta { index: 0, delta: Delta::Signature(Signature::new(Family::Anthropic, "signed")) },
        Event::BlockEnd { index: 0 },
        Event::BlockBegin { index: 1, block: Block::Text },
        Event::Delta { index: 1, delta: Delta::Text("Yes.".into()) },
        Event::BlockEnd { index: 1 },
        Event::Finish { finish: Finish::Stop, usage: None },
    ];
    let bytes = stream(dialect, &events, true);
    let said = vec![thought, crate::any::text("Yes.")];
    assert_eq!(answer(dialect, false, &document, ROOM).unwrap().parts, said);
    assert_eq!(answer(dialect, true, &bytes, ROOM).unwrap().parts, said);
}
