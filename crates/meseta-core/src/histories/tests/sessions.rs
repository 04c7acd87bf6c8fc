//! What a session is: whose, how long, in which order.

use serde_json::{Value, json};

use super::*;
use crate::histories::shelf::{Limits, Shelf};
use crate::kept_file::Contents;

#[tokio::test]
async fn a_session_comes_back_as_it_was_and_only_to_its_caller() {
    let folder = Folder::new();
    let histories = folder.histories();
    let first = add(&histories, "ü/1", &[user("a"), model("b")]).await;
    add(&histories, "ü/1", &[user("c"), model("d")]).await;
    assert_eq!(read(&histories, "ü/1").await, ["a", "b", "c", "d"]);
    assert_eq!(read(&histories, "ü/2").await, Vec::<String>::new());
    let text = String::from_utf8(vec![1; 32]).unwrap();
    for other in [Caller::Key([2; 32]), Caller::Listener(text.as_str().into()), Caller::Listener("".into())] {
        let theirs = histories.read(other.clone(), "ü/1").await.unwrap();
        assert_eq!((theirs.version, theirs.messages.len()), (Version::default(), 0));
        assert_eq!(histories.show(other.clone(), "ü/1").await, Ok(None));
        assert_eq!(histories.delete(other.clone(), "ü/1").await, Ok(false));
        // Nor does it help to know how far it is.
        assert_eq!(histories.append(other, "ü/1", first, &[user("x")]).await, Ok(Appended::Gone));
    }
    drop(histories);
    assert_eq!(read(&folder.histories(), "ü/1").await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn of_two_turns_at_once_the_second_to_end_stands_behind_the_first() {
    let folder = Folder::new();
    let histories = folder.histories();
    for (name, before) in [("new", 0), ("old", 2)] {
        if before > 0 {
            add(&histories, name, &[user("a"), model("b")]).await;
        }
        let seen = histories.read(alice(), name).await.unwrap().version;
        let append = async |ask: &str, answer: &str| {
            histories.append(alice(), name, seen, &[user(ask), model(answer)]).await.unwrap()
        };
        let Appended::Done { behind: 0, .. } = append("c", "d").await else { panic!() };
        let Appended::Done { version, behind: 2 } = append("e", "f").await else { panic!() };
        let session = histories.read(alice(), name).await.unwrap();
        assert_eq!(session.version, version);
        assert_eq!(words(&session.messages)[before..], ["c", "d", "e", "f"]);
    }
}

#[tokio::test]
async fn what_is_deleted_is_gone_from_the_disk_and_stays_gone() {
    let folder = Folder::new();
    let histories = folder.histories();
    let secret = "nobody may ever read this again ".repeat(1000);
    let seen = add(&histories, "a", &[user(&secret), model("b")]).await;
    add(&histories, "other", &[user("harmless")]).await;
    assert!(folder.holds("nobody may ever"));
    assert_eq!(histories.delete(alice(), "a").await, Ok(true));
    assert!(!folder.holds("nobody may ever") && folder.holds("harmless"));
    assert_eq!(histories.delete(alice(), "a").await, Ok(false));
    assert_eq!(histories.show(alice(), "a").await, Ok(None));
    // A turn that was running meanwhile brings nothing back, not even where there is a session of that name again.
    let late = [user("late"), model("late")];
    assert_eq!(histories.append(alice(), "a", seen, &late).await, Ok(Appended::Gone));
    add(&histories, "a", &[user("anew"), model("b")]).await;
    assert_eq!(histories.append(alice(), "a", seen, &late).await, Ok(Appended::Gone));
    assert_eq!(read(&histories, "a").await, ["anew", "b"]);
}

#[tokio::test]
async fn a_session_leaves_when_nobody_has_used_it_for_its_time() {
    let folder = Folder::new();
    let settings = folder.settings();
    let histories = folder.histories();
    for name in ["stale", "read", "shown", "fresh"] {
        add(&histories, name, &[user(&format!("words of {name}")), model("b")]).await;
    }
    drop(histories);
    let age = |hours: i64, names: &str| {
        let shelf = Shelf::open(&settings).unwrap();
        let sql = format!("UPDATE sessions SET used = used - {hours} * 3600 WHERE name IN ({names})");
        shelf.connection.execute(&sql, []).unwrap();
    };
    age(13, "'stale', 'read', 'shown'");
    let histories = folder.histories();
    assert_eq!(read(&histories, "read").await, ["words of read", "b"]);
    // People who look at a session do not use it.
    assert!(histories.show(alice(), "shown").await.unwrap().is_some());
    drop(histories);
    age(13, "'stale', 'read', 'shown'");
    let histories = folder.histories();
    assert_eq!(read(&histories, "read").await, ["words of read", "b"]);
    for name in ["stale", "shown"] {
        assert_eq!(read(&histories, name).await, Vec::<String>::new());
        assert_eq!(histories.delete(alice(), name).await, Ok(false));
        assert!(!folder.holds(&format!("words of {name}")));
        // Its name is free for another one.
        add(&histories, name, &[user("new")]).await;
        assert_eq!(read(&histories, name).await, ["new"]);
    }
    assert!(folder.holds("words of fresh"));
}

#[tokio::test]
async fn one_that_is_too_old_and_not_tidied_yet_is_none() {
    let folder = Folder::new();
    let histories = folder.histories();
    add(&histories, "a", &[user("old")]).await;
    let other = rusqlite::Connection::open(folder.settings().path).unwrap();
    other.execute("UPDATE sessions SET used = 1", []).unwrap();
    assert_eq!(read(&histories, "a").await, Vec::<String>::new());
    add(&histories, "a", &[user("new")]).await;
    assert_eq!(read(&histories, "a").await, ["new"]);
}

#[tokio::test]
async fn the_sessions_that_were_used_the_longest_ago_make_room() {
    let folder = Folder::new();
    let settings = HistoriesDocument { max_bytes: 400_000, ..folder.settings() };
    let mut shelf = Shelf::open(&settings).unwrap();
    let long = |name: &str| {
        let message = format!("{name} {}", "x".repeat(20_000));
        [crate::histories::shelf::Line { instructions: false, message }]
    };
    for number in 0..50 {
        let name = number.to_string();
        shelf.append(&alice(), &name, Version::default(), &long(&name)).unwrap();
        shelf.connection.execute("UPDATE sessions SET used = used - 1 WHERE name != ?1", [&name]).unwrap();
    }
    let limits = Limits { messages: 10, bytes: 1_000_000 };
    let there: Vec<bool> = (0..50)
        .map(|number| shelf.read(&alice(), &number.to_string(), limits, false).unwrap().is_some())
        .collect();
    let gone = there.iter().position(|there| *there).unwrap();
    assert!((30..40).contains(&gone) && there[gone..].iter().all(|there| *there), "{there:?}");
    // A session that alone is too large is refused, whole, and costs the others nothing but their place.
    let before = shelf.read(&alice(), "49", limits, false).unwrap().unwrap();
    let lines: Vec<_> = (0..30).flat_map(|_| long("49")).collect();
    let refused = shelf.append(&alice(), "49", before.version, &lines);
    assert!(matches!(refused, Err(HistoryError::TooLarge { limit: 400_000, .. })), "{refused:?}");
    assert!(shelf.read(&alice(), "49", limits, false).unwrap().unwrap() == before);
    assert!(shelf.read(&alice(), "48", limits, false).unwrap().is_some());
}

#[tokio::test]
async fn a_message_that_is_too_large_loses_its_media_and_then_is_refused() {
    let folder = Folder::new();
    let settings = HistoriesDocument { max_message_bytes: 1_000, ..folder.settings() };
    let histories = Histories::open(&settings).unwrap();
    let image = |bytes: usize| {
        let source = meseta_wire::conversation::Source::Base64 {
            media_type: "image/png".into(),
            data: "A".repeat(bytes).into(),
        };
        Part::Image(meseta_wire::conversation::Image { source, detail: None, cache: None })
    };
    let mut shown = user("Look at this.");
    shown.message.parts.extend([image(600), image(100), image(600)]);
    add(&histories, "a", &[shown]).await;
    let kept = read(&histories, "a").await.concat();
    assert!(kept.starts_with("Look at this.[image/png of 600 bytes"), "{kept}");
    assert!(kept.contains(&"A".repeat(100)) && !kept.contains(&"A".repeat(101)), "{kept}");
    let seen = histories.read(alice(), "a").await.unwrap().version;
    let refused = histories.append(alice(), "a", seen, &[user("small"), user(&"x".repeat(1_000))]).await;
    assert!(matches!(refused, Err(HistoryError::TooLarge { limit: 1_000, .. })), "{refused:?}");
    // All or nothing.
    assert_eq!(histories.read(alice(), "a").await.unwrap().version, seen);
}

#[test]
fn a_long_session_is_read_from_its_end_with_the_instructions_that_hold() {
    let folder = Folder::new();
    let mut shelf = Shelf::open(&folder.settings()).unwrap();
    let line = |instructions: bool, message: String| crate::histories::shelf::Line { instructions, message };
    let mut lines = vec![line(true, "old".to_owned()), line(false, "0".to_owned())];
    lines.extend([line(true, "new 1".to_owned()), line(true, "new 2".to_owned())]);
    lines.extend((1..=20).map(|number| line(false, number.to_string())));
    shelf.append(&alice(), "a", Version::default(), &lines).unwrap();
    let mut read = |messages: usize, bytes: u64| {
        let thread = shelf.read(&alice(), "a", Limits { messages, bytes }, false).unwrap().unwrap();
        (thread.messages, thread.whole)
    };
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(read(2, 1_000), (strings(&["new 1", "new 2", "19", "20"]), false));
    assert_eq!(read(100, 5), (strings(&["new 1", "new 2", "19", "20"]), false));
    assert_eq!(read(0, 0), (strings(&["new 1", "new 2"]), false));
    let (all, whole) = read(24, 1_000);
    assert_eq!((all.len(), whole), (24, true));
    assert_eq!(read(23, 1_000).0.len(), 23);
}

#[tokio::test]
async fn people_see_what_is_kept_as_json() {
    let folder = Folder::new();
    let histories = folder.histories();
    add(&histories, "a \"1\"", &[user("Hello"), model("Hi.")]).await;
    let shown = histories.show(alice(), "a \"1\"").await.unwrap().unwrap();
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["id"], "a \"1\"");
    assert_eq!((&shown["object"], &shown["complete"]), (&json!("session"), &json!(true)));
    let said =
        |role: &str, words: &str| json!({"v": 1, "role": role, "parts": [{"type": "text", "text": words}]});
    assert_eq!(shown["messages"], json!([said("user", "Hello"), said("assistant", "Hi.")]));
    assert!(shown["created"].as_u64() > Some(0) && shown["used"] == shown["created"]);
    // And nobody else sees it, in no log either.
    let session = histories.read(alice(), "a \"1\"").await.unwrap();
    assert!(!format!("{session:?}").contains("Hello"));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_passed_over() {
    let folder = Folder::new();
    let histories = folder.histories();
    add(&histories, "a", &[user("a"), model("b"), user("c")]).await;
    let other = rusqlite::Connection::open(folder.settings().path).unwrap();
    let sql = "UPDATE messages SET message = ?1 WHERE position = 2";
    for damage in ["", "{", r#"{"v":9}"#, r#"{"v":1,"role":"x"}"#] {
        other.execute(sql, [damage]).unwrap();
        let session = histories.read(alice(), "a").await.unwrap();
        assert_eq!((words(&session.messages), session.unreadable), (vec!["a".into(), "c".into()], 1));
        assert!(histories.show(alice(), "a").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    let folder = Folder::new();
    let path = folder.settings().path;
    drop(folder.histories());
    let damage = "this is no database, but it is long enough to be looked at".repeat(100);
    std::fs::write(&path, &damage).unwrap();
    let histories = folder.histories();
    assert_eq!(std::fs::read(format!("{path}.corrupt")).unwrap(), damage.as_bytes());
    add(&histories, "a", &[user("a")]).await;
    assert_eq!(read(&histories, "a").await, ["a"]);
}

#[tokio::test]
async fn a_name_that_no_session_may_have_is_refused() {
    let folder = Folder::new();
    let histories = folder.histories();
    for name in [String::new(), "a\nb".to_owned(), "x".repeat(257)] {
        assert_eq!(histories.read(alice(), &name).await.unwrap_err(), HistoryError::Name);
        let appended = histories.append(alice(), &name, Version::default(), &[user("a")]).await;
        assert_eq!(appended, Err(HistoryError::Name));
        assert_eq!(histories.show(alice(), &name).await, Err(HistoryError::Name));
        assert_eq!(histories.delete(alice(), &name).await, Ok(false));
    }
    assert!(is_session_name(&"x".repeat(256)));
}

#[test]
fn a_document_says_all_and_nothing_else() {
    let whole = json!({"path": "a/sessions.db", "keep_hours": 168, "max_bytes": 1, "max_message_bytes": 2});
    let read = |value: &Value| serde_json::from_value::<HistoriesDocument>(value.clone());
    assert_eq!(serde_json::to_value(read(&whole).unwrap()).unwrap(), whole);
    for key in ["path", "keep_hours", "max_bytes", "max_message_bytes"] {
        let mut part = whole.clone();
        part.as_object_mut().unwrap().remove(key);
        assert!(read(&part).unwrap_err().to_string().contains(key));
    }
    let mut more = whole;
    more["other"] = json!(1);
    assert!(read(&more).is_err());
}
