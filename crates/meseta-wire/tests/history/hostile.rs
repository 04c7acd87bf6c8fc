//! What must hold whatever stands in the file, in the request and in the answer.

use meseta_wire::dialect::Dialect;
use meseta_wire::history::{AnswerReader, Bounds, join, view};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::any::kept;

/// Requests that are nearly right, with anything in the places that matter.
fn request() -> impl Strategy<Value = Value> {
    let text =
        prop::sample::select(vec![json!("hi"), json!(""), json!(null), json!(5), json!([]), json!({})]);
    let part = (
        prop::sample::select(vec![
            "text", "input_text", "image_url", "tool_use", "tool_result", "thinking", "image", "none",
        ]),
        text.clone(),
    )
        .prop_map(|(kind, value)| {
            json!({"type": kind, "text": value, "id": value, "tool_use_id": value, "content": value, "name": "n",
                   "input": {}, "image_url": {"url": value}, "source": {"type": "url", "url": value}})
        });
    let content = prop_oneof![2 => Just(json!("hi")), 1 => text, 2 => vec(part, 0..3).prop_map(Value::from)];
    let role = prop::sample::select(vec!["user", "assistant", "system", "developer", "tool", "king"]);
    let item = (role, content, prop::option::of(prop::sample::select(vec!["message", "function_call_output", "reasoning"])))
        .prop_map(|(role, content, kind)| {
            json!({"role": role, "content": content, "type": kind, "tool_call_id": "1", "call_id": "1", "output": "o"})
        });
    vec(item, 0..5).prop_map(|items| {
        json!({"model": "m", "messages": items, "input": items, "contents": [{"role": "user", "parts": [{"text": "hi"}]}]})
    })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(Dialect::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_sent_can_be_read(
        dialect in dialect(),
        body in request(),
        stored in vec(kept(), 0..6),
        count in 0..6_usize,
        tokens in 0..300_u64,
    ) {
        let body = body.to_string();
        let bounds = Bounds { messages: count, tokens };
        if let Ok(joined) = join(dialect, body.as_bytes(), &stored, bounds)
            && let Some(sent) = joined.body
        {
            let sent: Value = serde_json::from_slice(&sent).unwrap();
            prop_assert_eq!(&sent["model"], "m");
        }
        // Whatever is kept, a sensible request of a client's is answered.
        let key = if dialect == Dialect::OpenaiResponses { "input" } else { "messages" };
        let sensible = match dialect {
            Dialect::GeminiGenerateContent => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
            Dialect::BedrockConverse => json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
            _ => json!({"model": "m", key: [{"role": "user", "content": "hi"}]}),
        };
        let sensible = sensible.to_string();
        let joined = join(dialect, sensible.as_bytes(), &stored, bounds);
        prop_assert!(joined.is_ok(), "{joined:?}");
        let joined = joined.unwrap();
        prop_assert_eq!(joined.new.len(), 1);
        let sent = joined.body.unwrap_or(sensible.into_bytes());
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        prop_assert!(sent.to_string().contains("\"hi\""), "{sent}");
    }

    #[test]
    fn any_conversation_has_a_view(stored in vec(kept(), 0..12), count in 0..6_usize, tokens in 0..300_u64) {
        let messages: Vec<_> = stored.into_iter().map(|kept| kept.message).collect();
        let messages: Vec<_> = messages.iter().collect();
        let shown = view(&messages, Bounds { messages: count, tokens }).shown;
        let places: Vec<_> = shown.iter().filter_map(|shown| shown.place).collect();
        prop_assert!(places.iter().all(|place| *place < messages.len()));
        prop_assert!(places.windows(2).all(|two| two[0] <= two[1]));
    }

    #[test]
    fn any_bytes_are_read_as_an_answer_without_harm(
        dialect in dialect(),
        streamed in any::<bool>(),
        pieces in vec(
            prop_oneof![
                prop::sample::select(vec![
                    "data: ", "event: message_stop\n", "{\"type\":\"message_stop\"}", "\n\n", "[DONE]", "\r\n", "\r",
                    "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", "{\"type\":\"response.completed\"}", "{", "}",
                    "{\"type\":\"content_block_delta\",\"index\":7,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}",
                ])
                .prop_map(|text| text.as_bytes().to_vec()),
                vec(any::<u8>(), 0..6),
            ],
            0..20,
        ),
        limit in 0..200_usize,
    ) {
        let mut reader = AnswerReader::new(dialect, streamed, limit);
        for piece in &pieces {
            reader.feed(piece);
        }
        if let Ok(message) = reader.finish() {
            let said: usize = message.parts.len();
            prop_assert!(said <= limit);
        }
    }
}
