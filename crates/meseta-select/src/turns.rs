//! A conversation as a chooser sees it: who said what, and a few facts of the request around it.

use std::borrow::Cow;

use meseta_wire::dialect::Dialect;
use meseta_wire::json::Json;

use crate::cut::middle;

/// The latest messages with words in them that are kept: what was said before them decides no choice.
pub const KEPT: usize = 16;
/// Bytes that are kept of one message, of its beginning and its end.
pub const MESSAGE_BYTES: usize = 256 * 1024;

/// What agents' front ends put into a user's message on their own account. Nobody said it.
const INJECTED: [(&str, &str); 2] = [
    ("<system-reminder>", "</system-reminder>"),
    ("<user-prompt-submit-hook>", "</user-prompt-submit-hook>"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    User,
    Assistant,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One message with words in it. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'j> {
    pub role: Role,
    pub text: Cow<'j, str>,
}

impl Message<'_> {
    /// The text without what a front end has put into it; empty where that was all.
    pub fn said(&self) -> Cow<'_, str> {
        spoken(&self.text)
    }

    /// A user's own words.
    fn asks(&self) -> bool {
        self.role == Role::User && !self.said().trim().is_empty()
    }
}

/// What a request says, read for choosing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns<'j> {
    /// The last [`KEPT`], in the order in which they were said. Instructions and tools' output are not among them.
    pub messages: Vec<Message<'j>>,
    /// What the user has said last, where so much was answered since that it is not among the messages.
    pub question: Option<Message<'j>>,
    /// The last message is a person's: new words, or an image or a file. False where an agent goes on by itself, with the
    /// output of a tool or with nothing but what its front end has put in.
    pub user_turn: bool,
    /// The ids of the calls whose results the conversation ends with.
    pub results: Vec<&'j str>,
    /// The request offers tools.
    pub tools: bool,
    /// There is an image anywhere in the conversation, whoever brought it: only some models can look at it.
    pub images: bool,
}

impl<'j> Turns<'j> {
    /// Reads a request in a client's dialect. Never fails: what is not as the API says is not there.
    pub fn read(dialect: Dialect, body: &'j Json<'_>) -> Turns<'j> {
        let mut turns = Turns { tools: offers_tools(body), ..Turns::default() };
        let items = match dialect {
            Dialect::OpenaiResponses => body.get("input"),
            _ => body.get("messages"),
        };
        match items {
            Some(Json::String(text)) => {
                turns.user_turn = !spoken(text).trim().is_empty();
                turns.push(Role::User, Cow::Borrowed(text));
            }
            Some(Json::Array(items)) => {
                turns.user_turn = items.last().is_some_and(is_user_turn);
                turns.images = items.iter().any(has_image);
                turns.results = items.iter().rev().map_while(results).flatten().collect();
                for item in items.iter().rev() {
                    let Some(role) = role(item) else { continue };
                    turns.push(role, text(item.get("content")));
                    if turns.messages.len() == KEPT {
                        break;
                    }
                }
                turns.messages.reverse();
                if !turns.messages.iter().any(Message::asks) {
                    let of_user = items.iter().rev().filter(|item| role(item) == Some(Role::User));
                    let mut said = of_user.filter_map(|item| message(Role::User, text(item.get("content"))));
                    turns.question = said.find(Message::asks);
                }
            }
            _ => {}
        }
        turns
    }

    /// All that is known of the conversation, in its order.
    pub fn all(&self) -> impl Iterator<Item = &Message<'j>> {
        self.question.iter().chain(&self.messages)
    }

    /// What the user has said last, and what both have said before it, the latest first.
    pub fn current(&self) -> (Cow<'_, str>, impl Iterator<Item = &Message<'j>>) {
        let at = self.messages.iter().rposition(Message::asks);
        let current = at.and_then(|at| self.messages.get(at)).or(self.question.as_ref());
        let current = current.map(Message::said).unwrap_or_default();
        let before = self.messages.get(..at.unwrap_or_default()).unwrap_or_default();
        (current, before.iter().rev())
    }

    fn push(&mut self, role: Role, text: Cow<'j, str>) {
        self.messages.extend(message(role, text));
    }
}

/// `None` of no words at all.
fn message(role: Role, text: Cow<'_, str>) -> Option<Message<'_>> {
    if text.is_empty() {
        return None;
    }
    let text = match middle(&text, MESSAGE_BYTES) {
        Cow::Owned(shorter) => Cow::Owned(shorter),
        Cow::Borrowed(_) => text,
    };
    Some(Message { role, text })
}

fn offers_tools(body: &Json<'_>) -> bool {
    // `functions` is what chat had before it had tools, and still takes.
    ["tools", "functions"]
        .iter()
        .any(|key| body.get(key).and_then(Json::as_array).is_some_and(|tools| !tools.is_empty()))
}

fn role(item: &Json<'_>) -> Option<Role> {
    match item.get("role").and_then(Json::as_str) {
        Some("user") => Some(Role::User),
        Some("assistant") => Some(Role::Assistant),
        _ => None,
    }
}

fn kind<'j>(part: &'j Json<'_>) -> &'j str {
    part.get("type").and_then(Json::as_str).unwrap_or_default()
}

/// The words of a message, which is one text or an array of parts, a line each. A part that is neither the user's words
/// nor the answer's (thoughts, refusals, tools' output) adds none.
fn text<'j>(content: Option<&'j Json<'_>>) -> Cow<'j, str> {
    let parts = match content {
        Some(Json::String(text)) => return Cow::Borrowed(text),
        Some(Json::Array(parts)) => parts,
        _ => return Cow::Borrowed(""),
    };
    let mut texts = parts
        .iter()
        .filter(|part| matches!(kind(part), "text" | "input_text" | "output_text"))
        .filter_map(|part| part.get("text").and_then(Json::as_str));
    let Some(first) = texts.next() else { return Cow::Borrowed("") };
    let mut joined = Cow::Borrowed(first);
    for more in texts {
        let joined = joined.to_mut();
        joined.push('\n');
        joined.push_str(more);
    }
    joined
}

/// Whether a person has said something with this, the last item of a conversation.
fn is_user_turn(item: &Json<'_>) -> bool {
    if role(item) != Some(Role::User) {
        return false;
    }
    let content = item.get("content");
    // A screenshot or a file without a word is a turn too; the output of a tool is none.
    let brings = |part: &Json<'_>| {
        matches!(
            kind(part),
            "image" | "image_url" | "input_image" | "document" | "file" | "input_file" | "input_audio"
        )
    };
    let parts = content.and_then(Json::as_array).unwrap_or_default();
    parts.iter().any(brings) || !spoken(&text(content)).trim().is_empty()
}

/// The ids of the calls whose results an item brings; `None` where it brings none.
fn results<'j>(item: &'j Json<'_>) -> Option<Vec<&'j str>> {
    let id = |of: &'j Json<'_>, key: &str| of.get(key).and_then(Json::as_str);
    if item.get("role").and_then(Json::as_str) == Some("tool") {
        return Some(id(item, "tool_call_id").into_iter().collect());
    }
    if matches!(kind(item), "function_call_output" | "custom_tool_call_output") {
        return Some(id(item, "call_id").into_iter().collect());
    }
    let parts = item.get("content").and_then(Json::as_array)?;
    let results = parts.iter().filter(|part| kind(part) == "tool_result");
    let ids: Vec<&str> = results.filter_map(|part| id(part, "tool_use_id")).collect();
    (!ids.is_empty()).then_some(ids)
}

/// Whether an item has an image in its content, or in the output of a tool.
fn has_image(item: &Json<'_>) -> bool {
    let is_image =
        |part: &Json<'_>| matches!(kind(part), "image" | "image_url" | "input_image" | "computer_screenshot");
    let among = |place: Option<&Json<'_>>| match place {
        Some(Json::Array(parts)) => parts.iter().any(|part| {
            is_image(part)
                || part
                    .get("content")
                    .and_then(Json::as_array)
                    .is_some_and(|parts| parts.iter().any(is_image))
        }),
        Some(part) => is_image(part),
        None => false,
    };
    among(item.get("content")) || among(item.get("output"))
}

/// A text without the envelopes of [`INJECTED`]. One that does not end takes all the rest: it was cut off.
fn spoken(text: &str) -> Cow<'_, str> {
    let mut left = Cow::Borrowed(text);
    for (open, close) in INJECTED {
        if !left.contains(open) {
            continue;
        }
        let mut kept = String::with_capacity(left.len());
        let mut rest = &*left;
        while let Some((before, behind)) = rest.split_once(open) {
            kept.push_str(before);
            rest = behind.split_once(close).map_or("", |(_, rest)| rest);
        }
        kept.push_str(rest);
        left = Cow::Owned(kept);
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with<T>(dialect: Dialect, text: &str, look: impl FnOnce(&Turns<'_>) -> T) -> T {
        let json = Json::parse(text).unwrap();
        look(&Turns::read(dialect, &json))
    }

    fn lines(turns: &Turns<'_>) -> Vec<String> {
        turns.messages.iter().map(|message| format!("{}: {}", message.role.as_str(), message.text)).collect()
    }

    #[test]
    fn the_same_conversation_is_read_alike_in_every_dialect() {
        for (dialect, text) in [
            (
                Dialect::OpenaiChat,
                r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Weather in Oslo?"},
                    {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function",
                    "function":{"name":"weather","arguments":"{}"}}]},
                    {"role":"tool","tool_call_id":"1","content":"rain"},
                    {"role":"assistant","content":[{"type":"text","text":"Rain."},{"type":"refusal","refusal":"no"}]},
                    {"role":"user","content":[{"type":"text","text":"And"},{"type":"text","text":"tomorrow?"}]}],
                    "tools":[{"type":"function","function":{"name":"weather"}}]}"#,
            ),
            (
                Dialect::AnthropicMessages,
                r#"{"system":"Be brief.","messages":[{"role":"user","content":"Weather in Oslo?"},
                    {"role":"assistant","content":[{"type":"thinking","thinking":"Hm","signature":"x"},
                    {"type":"tool_use","id":"1","name":"weather","input":{}}]},
                    {"role":"user","content":[{"type":"tool_result","tool_use_id":"1",
                    "content":[{"type":"text","text":"rain"}]}]},
                    {"role":"assistant","content":[{"type":"text","text":"Rain."}]},
                    {"role":"user","content":[{"type":"text","text":"And"},{"type":"text","text":"tomorrow?"}]}],
                    "tools":[{"name":"weather"}]}"#,
            ),
            (
                Dialect::OpenaiResponses,
                r#"{"instructions":"Be brief.","input":[{"role":"user","content":"Weather in Oslo?"},
                    {"type":"reasoning","summary":[{"type":"summary_text","text":"Hm"}]},
                    {"type":"function_call","call_id":"1","name":"weather","arguments":"{}"},
                    {"type":"function_call_output","call_id":"1","output":"rain"},
                    {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Rain."}]},
                    {"type":"message","role":"user","content":[{"type":"input_text","text":"And"},
                    {"type":"input_text","text":"tomorrow?"}]}],
                    "tools":[{"type":"function","name":"weather"}]}"#,
            ),
        ] {
            with(dialect, text, |turns| {
                assert_eq!(
                    lines(turns),
                    ["user: Weather in Oslo?", "assistant: Rain.", "user: And\ntomorrow?"],
                    "{dialect:?}"
                );
                assert!(turns.user_turn && turns.tools && !turns.images, "{dialect:?}");
                let (current, before) = turns.current();
                assert_eq!(current, "And\ntomorrow?");
                let before: Vec<_> = before.map(Message::said).collect();
                assert_eq!(before, ["Rain.", "Weather in Oslo?"]);
            });
        }
    }

    #[test]
    fn an_input_of_one_text_is_the_users() {
        with(Dialect::OpenaiResponses, r#"{"input":"Hello"}"#, |turns| {
            assert_eq!(lines(turns), ["user: Hello"]);
            assert!(turns.user_turn && !turns.tools);
        });
    }

    #[test]
    fn a_turn_is_a_users_only_if_somebody_has_said_something() {
        let reminder = "<system-reminder>\\nYour list is empty.\\n</system-reminder>";
        for (dialect, last, genuine) in [
            (Dialect::OpenaiChat, r#"{"role":"user","content":"Hello"}"#.to_owned(), true),
            (Dialect::OpenaiChat, r#"{"role":"user","content":" \n"}"#.to_owned(), false),
            (Dialect::OpenaiChat, r#"{"role":"user","content":null}"#.to_owned(), false),
            (Dialect::OpenaiChat, r#"{"role":"assistant","content":"Hello"}"#.to_owned(), false),
            (Dialect::OpenaiChat, r#"{"role":"tool","tool_call_id":"1","content":"42"}"#.to_owned(), false),
            (Dialect::OpenaiChat, format!(r#"{{"role":"user","content":"{reminder}"}}"#), false),
            (Dialect::OpenaiChat, format!(r#"{{"role":"user","content":"{reminder} Go on"}}"#), true),
            (
                Dialect::OpenaiChat,
                format!(r#"{{"role":"user","content":"{reminder}<user-prompt-submit-hook>cut off"}}"#),
                false,
            ),
            (
                Dialect::OpenaiChat,
                r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}"#.to_owned(),
                true,
            ),
            (
                Dialect::AnthropicMessages,
                r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"42"}]}"#
                    .to_owned(),
                false,
            ),
            (
                Dialect::AnthropicMessages,
                r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"42"},
                    {"type":"text","text":"Go on"}]}"#
                    .to_owned(),
                true,
            ),
            (
                Dialect::OpenaiResponses,
                r#"{"type":"function_call_output","call_id":"1","output":"42"}"#.to_owned(),
                false,
            ),
            (
                Dialect::OpenaiResponses,
                r#"{"role":"user","content":[{"type":"input_image","image_url":"data:,"}]}"#.to_owned(),
                true,
            ),
        ] {
            let key = if dialect == Dialect::OpenaiResponses { "input" } else { "messages" };
            let body = format!(r#"{{"{key}":[{{"role":"user","content":"First"}},{last}]}}"#);
            with(dialect, &body, |turns| assert_eq!(turns.user_turn, genuine, "{body}"));
        }
    }

    #[test]
    fn images_are_seen_wherever_they_are() {
        for (dialect, item) in [
            (
                Dialect::OpenaiChat,
                r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}"#,
            ),
            (Dialect::AnthropicMessages, r#"{"role":"user","content":[{"type":"image","source":{}}]}"#),
            (
                Dialect::AnthropicMessages,
                r#"{"role":"user","content":[{"type":"tool_result","content":[{"type":"image","source":{}}]}]}"#,
            ),
            (
                Dialect::OpenaiResponses,
                r#"{"role":"user","content":[{"type":"input_image","image_url":"u"}]}"#,
            ),
            (
                Dialect::OpenaiResponses,
                r#"{"type":"function_call_output","output":[{"type":"input_image","image_url":"u"}]}"#,
            ),
            (
                Dialect::OpenaiResponses,
                r#"{"type":"computer_call_output","output":{"type":"computer_screenshot","image_url":"u"}}"#,
            ),
        ] {
            let key = if dialect == Dialect::OpenaiResponses { "input" } else { "messages" };
            // Far before what is kept.
            let later = r#",{"role":"user","content":"more"}"#.repeat(40);
            let body = format!(r#"{{"{key}":[{item}{later}]}}"#);
            with(dialect, &body, |turns| assert!(turns.images, "{item}"));
        }
    }

    #[test]
    fn the_latest_messages_are_kept_and_long_ones_are_cut() {
        let many: Vec<String> =
            (0..40).map(|at| format!(r#"{{"role":"user","content":"turn {at}"}}"#)).collect();
        with(Dialect::OpenaiChat, &format!(r#"{{"messages":[{}]}}"#, many.join(",")), |turns| {
            assert_eq!(turns.messages.len(), KEPT);
            assert_eq!(turns.messages[0].text, "turn 24");
            assert_eq!(turns.messages[KEPT - 1].text, "turn 39");
        });
        let long = format!("begin{}end", "é".repeat(MESSAGE_BYTES));
        with(
            Dialect::OpenaiChat,
            &format!(r#"{{"messages":[{{"role":"user","content":"{long}"}}]}}"#),
            |turns| {
                let text = &turns.messages[0].text;
                assert!(text.len() <= MESSAGE_BYTES && text.starts_with("begin") && text.ends_with("end"));
            },
        );
    }

    #[test]
    fn what_the_user_wants_is_kept_however_much_was_answered_since() {
        let answer = |at| format!(r#",{{"role":"assistant","content":"answer {at}"}}"#);
        let answers = (0..40).map(answer).collect::<Vec<_>>().concat();
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"Hello"}},{{"role":"user","content":"Bring me to Oslo"}}{answers}]}}"#
        );
        with(Dialect::OpenaiChat, &body, |turns| {
            assert_eq!((turns.messages.len(), &*turns.current().0), (KEPT, "Bring me to Oslo"));
            assert_eq!(turns.current().1.count(), 0);
            assert_eq!((&*turns.messages[0].text, turns.all().count()), ("answer 24", KEPT + 1));
            assert_eq!(turns.all().next().unwrap().text, "Bring me to Oslo");
        });
    }

    #[test]
    fn the_current_turn_is_what_a_person_said_last() {
        let body = r#"{"messages":[{"role":"user","content":"Write tests"},{"role":"assistant","content":"Reading."},
            {"role":"user","content":"<system-reminder>x</system-reminder>"},{"role":"assistant","content":"Still."}]}"#;
        with(Dialect::AnthropicMessages, body, |turns| {
            let (current, mut before) = turns.current();
            assert_eq!(current, "Write tests");
            assert!(before.next().is_none());
        });
        with(Dialect::OpenaiChat, "{}", |turns| assert_eq!(turns.current().0, ""));
    }

    proptest! {
        #[test]
        fn any_document_is_read_without_a_panic(
            text in r#"(\{"(messages|input)":)?[\[\]{}":,a-z0-9 ]{0,64}"#,
        ) {
            if let Ok(json) = Json::parse(&text) {
                for dialect in Dialect::ALL {
                    let turns = Turns::read(dialect, &json);
                    prop_assert!(turns.messages.len() <= KEPT);
                    prop_assert!(turns.messages.iter().all(|message| !message.text.is_empty()));
                }
            }
        }

        #[test]
        fn what_is_spoken_has_no_envelope_left(
            parts in prop::collection::vec(
                prop_oneof!["<system-reminder>", "</system-reminder>", "<user-prompt-submit-hook>", "[a-z é]{0,8}"],
                0..12,
            ),
        ) {
            let text = parts.concat();
            let said = spoken(&text);
            prop_assert!(said.len() <= text.len());
            prop_assert!(!said.contains("<user-prompt-submit-hook>"));
        }
    }

    #[test]
    fn knows_what_was_asked_and_whose_results_are_there() {
        let chat = r#"{"messages":[{"role":"user","content":"Rain? <system-reminder>x</system-reminder>"},
            {"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","tool_call_id":"a","content":"1"},
            {"role":"tool","tool_call_id":"b","content":"2"}]}"#;
        let messages = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Rain? "}]},{"role":"assistant","content":[]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"b"},{"type":"tool_result","tool_use_id":"a"}]}]}"#;
        let responses = r#"{"input":[{"role":"user","content":"Rain? "},{"type":"function_call","call_id":"a"},
            {"type":"function_call_output","call_id":"a"},{"type":"custom_tool_call_output","call_id":"b"}]}"#;
        for (dialect, text) in [
            (Dialect::OpenaiChat, chat),
            (Dialect::AnthropicMessages, messages),
            (Dialect::OpenaiResponses, responses),
        ] {
            let json = Json::parse(text).unwrap();
            let turns = Turns::read(dialect, &json);
            assert_eq!((turns.current().0.trim(), turns.user_turn), ("Rain?", false));
            let mut results = turns.results.clone();
            results.sort_unstable();
            assert_eq!(results, ["a", "b"]);
        }
        let asked = Json::parse(
            r#"{"messages":[{"role":"tool","tool_call_id":"a"},{"role":"user","content":"And now?"}]}"#,
        )
        .unwrap();
        let turns = Turns::read(Dialect::OpenaiChat, &asked);
        assert_eq!((&*turns.current().0, turns.results.len()), ("And now?", 0));
    }
}
