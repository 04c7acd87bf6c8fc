//! An answer on its way to the client.

use bytes::Bytes;
use meseta_wire::dialect::Dialect;
use meseta_wire::history::Broken;

use super::*;

pub(super) const CHAT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"It \"}}]}\n\n\
data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"rains.\"}}]}\n\n\
data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
data: [DONE]\n\n";

const MESSAGES: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"role\":\"assistant\",\"content\":[],\"model\":\"x\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n\
event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"It rains.\"}}\n\n\
event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

pub(super) const WHOLE: &str = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"It rains."}}]}"#;

const FAILED: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"It \"}}]}\n\n\
data: {\"error\":{\"message\":\"gone\"}}\n\n";

pub(super) fn tap(histories: &Histories, name: &str, dialect: Dialect, streamed: bool) -> Tap {
    let turn = Turn {
        caller: alice(),
        session: name.to_owned(),
        seen: Version::default(),
        new: vec![user("Weather?")],
        agent: Some("weather".to_owned()),
    };
    Tap::new(histories.clone(), turn, dialect, streamed)
}

/// Feeds an answer in pieces; what was let through, and the tap.
fn feed(mut tap: Tap, answer: &str, size: usize) -> (Vec<u8>, Tap) {
    let mut passed = Vec::new();
    for piece in answer.as_bytes().chunks(size) {
        passed.extend(tap.feed(Bytes::copy_from_slice(piece)).into_iter().flatten());
    }
    (passed, tap)
}

#[tokio::test]
async fn the_last_bytes_wait_until_the_turn_is_kept_and_all_arrive() {
    let folder = Folder::new();
    let histories = folder.histories();
    for (number, (dialect, streamed, answer)) in [
        (Dialect::OpenaiChat, true, CHAT),
        (Dialect::AnthropicMessages, true, MESSAGES),
        (Dialect::OpenaiChat, false, WHOLE),
    ]
    .into_iter()
    .enumerate()
    {
        for size in (1..40).chain([answer.len()]) {
            let name = format!("{number}-{size}");
            let (mut passed, tap) = feed(tap(&histories, &name, dialect, streamed), answer, size);
            assert!(passed.len() < answer.len(), "{name}");
            // The client cannot have the last word yet.
            let last = if streamed { "[DONE]\n\n" } else { "}" };
            assert!(!passed.ends_with(last.as_bytes()) || !streamed);
            assert_eq!(tap.is_complete(), streamed);
            assert_eq!(read(&histories, &name).await, Vec::<String>::new());
            let (held, kept) = tap.finish().await;
            assert!(matches!(kept, Ok(Appended::Done { behind: 0, .. })), "{kept:?}");
            passed.extend(held.into_iter().flatten());
            assert_eq!(passed, answer.as_bytes(), "{name}");
            assert_eq!(read(&histories, &name).await, ["Weather?", "It rains."], "{name}");
            let session = histories.read(alice(), &name).await.unwrap();
            assert_eq!(session.messages[1].message.name.as_deref(), Some("weather"));
        }
    }
}

#[tokio::test]
async fn a_broken_answer_arrives_and_is_not_kept() {
    let folder = Folder::new();
    let histories = folder.histories();
    let cut = &CHAT[..CHAT.len() / 2];
    for (streamed, answer, why) in [
        (true, cut, Broken::CutOff),
        (true, FAILED, Broken::Failed),
        (false, &WHOLE[..50], Broken::Failed),
        (false, r#"{"error":{"message":"no"}}"#, Broken::Failed),
    ] {
        let (mut passed, tap) = feed(tap(&histories, "a", Dialect::OpenaiChat, streamed), answer, 10);
        let (held, kept) = tap.finish().await;
        assert_eq!(kept, Err(Unkept::Answer(why)), "{answer}");
        passed.extend(held.into_iter().flatten());
        assert_eq!(passed, answer.as_bytes());
        // Nor is what the client said.
        assert_eq!(read(&histories, "a").await, Vec::<String>::new());
    }
    let (mut passed, tap) = feed(tap(&histories, "a", Dialect::OpenaiChat, false), WHOLE, 10);
    passed.extend(tap.give_up().into_iter().flatten());
    assert_eq!(passed, WHOLE.as_bytes());
    assert_eq!(read(&histories, "a").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_is_too_long_passes_and_is_not_kept() {
    let folder = Folder::new();
    let settings = HistoriesDocument { max_message_bytes: 200, ..folder.settings() };
    let histories = Histories::open(&settings).unwrap();
    let long = CHAT.replace("rains.", &"rains ".repeat(100));
    let document = WHOLE.replace("rains.", &"rains ".repeat(100));
    for (streamed, answer) in [(true, long.as_str()), (false, document.as_str())] {
        let (mut passed, tap) = feed(tap(&histories, "a", Dialect::OpenaiChat, streamed), answer, 100);
        let (held, kept) = tap.finish().await;
        passed.extend(held.into_iter().flatten());
        assert_eq!((passed.as_slice(), kept), (answer.as_bytes(), Err(Unkept::Answer(Broken::TooLong))));
    }
}

#[tokio::test]
async fn what_comes_behind_the_last_word_is_not_held_for_ever() {
    let folder = Folder::new();
    let histories = folder.histories();
    let (mut passed, mut tap) = feed(tap(&histories, "a", Dialect::OpenaiChat, true), CHAT, 1_000);
    let mut held = 0;
    for _ in 0..100 {
        let piece = Bytes::from(vec![b'\n'; 4_000]);
        held += piece.len();
        if let Some(piece) = tap.feed(piece) {
            passed.extend(piece);
            held = 0;
        }
        assert!(held < 80_000, "{held}");
    }
    let (rest, kept) = tap.finish().await;
    passed.extend(rest.into_iter().flatten());
    assert_eq!(passed.len(), CHAT.len() + 400_000);
    assert!(passed.starts_with(CHAT.as_bytes()) && kept.is_ok());
}

#[tokio::test]
async fn a_store_that_is_closed_keeps_nothing_back() {
    let folder = Folder::new();
    let histories = folder.histories();
    let (mut passed, tap) = feed(tap(&histories, "a", Dialect::OpenaiChat, true), CHAT, 100);
    histories.close();
    let (held, kept) = tap.finish().await;
    passed.extend(held.into_iter().flatten());
    assert_eq!(kept, Err(Unkept::Store(HistoryError::File(FileError::Closed))));
    assert_eq!(passed, CHAT.as_bytes());
}
