//! The form in which messages are kept.

use std::borrow::Cow;

use meseta_wire::conversation::{Image, Message, Part, Role, Source, ToolResult};
use meseta_wire::history::{Inline, Kept, read, write};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::any::{kept, said, text};

const ALL: Inline = Inline(usize::MAX);

fn image(data: &str) -> Part<'static> {
    let data = Cow::Owned(data.to_owned());
    let source = Source::Base64 { media_type: Cow::Borrowed("image/png"), data };
    Part::Image(Image { source, detail: None, cache: None })
}

/// Whoever changes this has files of people's that say it the old way.
#[test]
fn the_form_is_what_it_was_in_version_one() {
    let message = Message {
        role: Role::Assistant,
        name: Some("weather".into()),
        parts: vec![text("It rains."), crate::any::call("call_1")],
    };
    let written = write(&Kept { instructions: false, message }, ALL);
    assert_eq!(
        written,
        r#"{"v":1,"role":"assistant","name":"weather","parts":[{"type":"text","text":"It rains."},{"type":"call","id":"call_1","name":"look","arguments":"{\"at\":\"it\"}"}]}"#
    );
    let written = write(&Kept { instructions: true, message: said(Role::System, "Be brief.") }, ALL);
    assert_eq!(
        written,
        r#"{"v":1,"role":"system","instructions":true,"parts":[{"type":"text","text":"Be brief."}]}"#
    );
}

#[test]
fn media_that_are_too_large_leave_a_note() {
    let result = Part::ToolResult(ToolResult {
        id: "1".into(),
        name: None,
        parts: vec![image(&"A".repeat(200))],
        error: false,
        custom: false,
        cache: None,
    });
    for part in [image(&"A".repeat(200)), result] {
        let message = Message { role: Role::User, name: None, parts: vec![part.clone(), image("AAAA")] };
        let kept = Kept { instructions: false, message };
        let small = write(&kept, Inline(100));
        assert!(!small.contains("AAAAA") && small.contains(r#""data":"AAAA""#), "{small}");
        assert!(small.contains("[image/png of 200 bytes in base64"), "{small}");
        assert_eq!(read(&write(&kept, Inline(200))), Ok(kept));
    }
}

#[test]
fn what_another_version_wrote_is_refused_with_its_number() {
    let complaint = |text: &str| read(text).unwrap_err().to_string();
    assert_eq!(complaint(r#"{"v":2,"role":"user","parts":[]}"#), "`v` is 2, and this Meseta reads 1.");
    assert_eq!(complaint(r#"{"role":"user"}"#), "`v` is missing.");
    assert!(complaint(r#"{"v":1,"role":"king","parts":[]}"#).starts_with("`role`"));
    assert!(complaint(r#"{"v":1,"role":"user","parts":[{"type":"smell"}]}"#).starts_with("`parts[0].type`"));
    let deep = json!({"v": 1, "role": "tool", "parts": [
        {"type": "result", "id": "", "parts": [{"type": "result", "id": "", "parts": []}]}]});
    assert!(complaint(&deep.to_string()).contains("too deep"));
    assert!(complaint(&"[".repeat(100_000)).contains("not JSON"));
}

fn mutate(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mutate(item, at, with)),
        Value::Object(fields) => fields.values_mut().for_each(|item| mutate(item, at, with)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn nothing_is_lost(kept in kept()) {
        prop_assert_eq!(read(&write(&kept, ALL)), Ok(kept));
    }

    #[test]
    fn any_bound_gives_what_can_be_read(kept in kept(), bound in 0..20_usize) {
        let read = read(&write(&kept, Inline(bound)));
        prop_assert_eq!(read.unwrap().message.parts.len(), kept.message.parts.len());
    }

    #[test]
    fn a_damaged_message_is_an_error_or_a_message(
        kept in kept(),
        at in 0..40_usize,
        with in prop::sample::select(vec![json!(null), json!(5), json!(-1.5), json!("x"), json!([]), json!({}), json!(true)]),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = write(&kept, ALL);
        let mut value: Value = serde_json::from_str(&text).unwrap();
        mutate(&mut value, &mut { at }, &with);
        if let Ok(kept) = read(&value.to_string()) {
            prop_assert_eq!(read(&write(&kept, ALL)), Ok(kept));
        }
        let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        prop_assert!(read(&text[..*cut.get(&places)]).is_err());
    }

    #[test]
    fn any_text_is_read_without_harm(text in any::<String>()) {
        prop_assert!(read(&text).is_err());
    }
}
