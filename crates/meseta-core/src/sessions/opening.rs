//! The opening of a conversation: what is sent again, unchanged, with every turn. It is what a provider's cache holds,
//! and it tells one conversation from another where the client gives them no names.

use meseta_wire::dialect::Dialect;
use meseta_wire::json::Json;
use ring::digest::{Context, SHA256};

use crate::sessions::key::{Session, Tenant, finish, front};

/// Bytes that are hashed of the instructions and the names of tools, and of the user's first words, where each text takes
/// [`EACH`] more: a hostile request makes no endless work. The text that reaches the cap still counts by its length; what
/// stands behind it does not count.
const INSTRUCTION_BYTES: usize = 64 * 1024;
const USER_BYTES: usize = 16 * 1024;
const EACH: usize = 16;

/// What the opening of a request says of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// Of the instructions and the names of the tools: when it changes, no cache of the session is warm.
    pub prefix: u64,
    /// `None` where there are no first words of a user, or where they are not in this request (`previous_response_id`).
    pub session: Option<Session>,
}

/// Reads the opening of a request in a client's dialect. Never fails: what is not as the API says is not there.
pub(crate) fn opening(tenant: Tenant<'_>, dialect: Dialect, body: &Json<'_>) -> Opening {
    let scope = tenant.scope();
    let mut hash = Hash::new(INSTRUCTION_BYTES);
    hash.text("opening", "");
    hash.context.update(scope.bytes());
    let turns = match dialect {
        Dialect::AnthropicMessages => {
            hash.content("system", body.get("system"));
            "messages"
        }
        Dialect::OpenaiResponses => {
            hash.content("system", body.get("instructions"));
            "input"
        }
        _ => "messages",
    };
    let mut first = None;
    match body.get(turns) {
        Some(words @ Json::String(_)) => first = Some(words),
        Some(Json::Array(items)) => {
            let instructs = |item: &&Json<'_>| matches!(role(item), Some("system" | "developer"));
            // Only those that lead: one that is put in later leaves what is cached as it is.
            for item in items.iter().take_while(instructs) {
                hash.content("system", item.get("content"));
            }
            first = items.iter().find(|item| role(item) == Some("user")).and_then(|item| item.get("content"));
        }
        _ => {}
    }
    for tool in body.get("tools").and_then(Json::as_array).unwrap_or_default() {
        if let Some(name) = tool_name(tool) {
            hash.text("tool", name);
        }
    }
    let prefix = u64::from_be_bytes(front(&finish(hash.context.clone())));
    let begun_elsewhere = body.get("previous_response_id").is_some_and(|id| !id.is_null());
    hash.left = USER_BYTES;
    let words = hash.content("user", first);
    let session = (words && !begun_elsewhere).then(|| Session::implicit(scope, &finish(hash.context)));
    Opening { prefix, session }
}

fn role<'j>(item: &'j Json<'_>) -> Option<&'j str> {
    item.get("role").and_then(Json::as_str)
}

/// A tool's name, wherever a dialect puts it; one that is built into a model has a type alone.
fn tool_name<'j>(tool: &'j Json<'_>) -> Option<&'j str> {
    let named = |tool: &'j Json<'_>| tool.get("name").and_then(Json::as_str);
    named(tool)
        .or_else(|| tool.get("function").and_then(named))
        .or_else(|| tool.get("custom").and_then(named))
        .or_else(|| tool.get("type").and_then(Json::as_str))
}

struct Hash {
    context: Context,
    left: usize,
}

impl Hash {
    fn new(left: usize) -> Hash {
        Hash { context: Context::new(&SHA256), left }
    }

    fn text(&mut self, kind: &str, text: &str) {
        if self.left == 0 {
            return;
        }
        let hashed = text.as_bytes().get(..self.left).unwrap_or(text.as_bytes());
        self.context.update(&(kind.len() as u64).to_be_bytes());
        self.context.update(kind.as_bytes());
        self.context.update(&(text.len() as u64).to_be_bytes());
        self.context.update(hashed);
        self.left = self.left.saturating_sub(text.len() + EACH);
    }

    /// The texts of a message, which is one text or an array of parts. Says whether there are any.
    fn content(&mut self, kind: &str, content: Option<&Json<'_>>) -> bool {
        let before = self.left;
        match content {
            Some(Json::String(text)) if !text.is_empty() => self.text(kind, text),
            Some(Json::Array(parts)) => {
                for part in parts {
                    if let Some(text) =
                        part.get("text").and_then(Json::as_str).filter(|text| !text.is_empty())
                    {
                        self.text(kind, text);
                    }
                }
            }
            _ => {}
        }
        self.left < before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(dialect: Dialect, text: &str) -> Opening {
        opening(Tenant::Key("acme"), dialect, &Json::parse(text).unwrap())
    }

    #[test]
    fn a_later_turn_is_of_the_same_session_in_every_dialect() {
        for (dialect, first, later, other_words, other_instructions) in [
            (
                Dialect::OpenaiChat,
                r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}],
                    "tools":[{"type":"function","function":{"name":"weather"}}]}"#,
                r#"{"temperature":1,"messages":[{"role":"developer","content":[{"type":"text","text":"Be brief."}]},
                    {"role":"user","content":[{"type":"text","text":"Hello"}]},{"role":"assistant","content":"Hi"},
                    {"role":"system","content":"The user is tired."},{"role":"user","content":"And now?"}],
                    "tools":[{"type":"function","function":{"name":"weather","description":"new words"}}]}"#,
                r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hullo"}],
                    "tools":[{"type":"function","function":{"name":"weather"}}]}"#,
                r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}],
                    "tools":[{"type":"function","function":{"name":"time"}}]}"#,
            ),
            (
                Dialect::AnthropicMessages,
                r#"{"system":"Be brief.","messages":[{"role":"user","content":"Hello"}],"tools":[{"name":"weather"}]}"#,
                r#"{"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],
                    "messages":[{"role":"user","content":[{"type":"text","text":"Hello"}]},
                    {"role":"assistant","content":"Hi"},{"role":"user","content":"And now?"}],
                    "tools":[{"name":"weather"}]}"#,
                r#"{"system":"Be brief.","messages":[{"role":"user","content":"Hullo"}],"tools":[{"name":"weather"}]}"#,
                r#"{"system":"Be long.","messages":[{"role":"user","content":"Hello"}],"tools":[{"name":"weather"}]}"#,
            ),
            (
                Dialect::OpenaiResponses,
                r#"{"instructions":"Be brief.","input":"Hello","tools":[{"type":"function","name":"weather"}]}"#,
                r#"{"instructions":"Be brief.","input":[{"role":"user","content":[{"type":"input_text","text":"Hello"}]},
                    {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]},
                    {"role":"user","content":"And now?"}],"tools":[{"type":"function","name":"weather"}]}"#,
                r#"{"instructions":"Be brief.","input":"Hullo","tools":[{"type":"function","name":"weather"}]}"#,
                r#"{"instructions":"Be brief.","input":"Hello","tools":[{"type":"web_search"}]}"#,
            ),
        ] {
            let first = read(dialect, first);
            assert!(first.session.is_some_and(|session| !session.explicit), "{dialect:?}");
            assert_eq!(first, read(dialect, later), "{dialect:?}");
            let other_words = read(dialect, other_words);
            assert_eq!(first.prefix, other_words.prefix, "{dialect:?}");
            assert_ne!(first.session, other_words.session, "{dialect:?}");
            let other_instructions = read(dialect, other_instructions);
            assert_ne!(first.prefix, other_instructions.prefix, "{dialect:?}");
            assert_ne!(first.session, other_instructions.session, "{dialect:?}");
        }
    }

    #[test]
    fn the_same_words_of_two_tenants_are_two_sessions() {
        let json = Json::parse(r#"{"messages":[{"role":"user","content":"Hello"}]}"#).unwrap();
        let of = |tenant| opening(tenant, Dialect::OpenaiChat, &json);
        assert_ne!(of(Tenant::Key("a")).session, of(Tenant::Key("b")).session);
        assert_ne!(of(Tenant::Key("a")).session, of(Tenant::Header(b"a")).session);
    }

    #[test]
    fn without_first_words_there_is_a_prefix_but_no_session() {
        for text in [
            r#"{"messages":[]}"#,
            r#"{"messages":[{"role":"user","content":""}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#,
            "{}",
            "[]",
        ] {
            assert_eq!(read(Dialect::OpenaiChat, text).session, None, "{text}");
        }
        let continued = r#"{"previous_response_id":"resp_1","input":"Go on"}"#;
        assert_eq!(read(Dialect::OpenaiResponses, continued).session, None);
        let begun = r#"{"previous_response_id":null,"input":"Go on"}"#;
        assert!(read(Dialect::OpenaiResponses, begun).session.is_some());
    }

    #[test]
    fn text_beyond_the_cap_counts_by_its_length() {
        let of = |tail: &str| {
            let system = "x".repeat(INSTRUCTION_BYTES) + tail;
            let text = format!(r#"{{"system":"{system}","messages":[{{"role":"user","content":"Hello"}}]}}"#);
            read(Dialect::AnthropicMessages, &text)
        };
        assert_eq!(of("a"), of("b"));
        assert_ne!(of("a").prefix, of("aa").prefix);
    }

    proptest! {
        #[test]
        fn any_document_is_read_without_a_panic(text in r#"[\[\]{}":,a-z0-9 ]{0,64}"#) {
            if let Ok(json) = Json::parse(&text) {
                for dialect in Dialect::ALL {
                    prop_assert_eq!(
                        opening(Tenant::Nobody, dialect, &json),
                        opening(Tenant::Nobody, dialect, &json)
                    );
                }
            }
        }

        #[test]
        fn different_instructions_have_different_prefixes(a in ".{0,40}", b in ".{0,40}") {
            let of = |system: &str| opening(
                Tenant::Nobody,
                Dialect::AnthropicMessages,
                &meseta_wire::object! { "system" => system, "messages" => Vec::<&str>::new() },
            );
            prop_assert_eq!(of(&a).prefix == of(&b).prefix, a == b);
        }
    }
}
