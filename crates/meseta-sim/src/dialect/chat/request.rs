//! The part of a chat request that the simulator acts on. Fields it does not know are nobody's mistake.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialect::parse;
use crate::failure::Failure;
use crate::prompt::{Ask, Begun, Choice, Tool};
use crate::tokens;

#[derive(Deserialize)]
pub struct ChatRequest<'a> {
    pub model: Option<String>,
    #[serde(borrow)]
    pub messages: Option<Vec<Message<'a>>>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub n: Option<u64>,
    pub max_tokens: Option<u64>,
    pub max_completion_tokens: Option<u64>,
    pub stop: Option<Stop>,
    #[serde(borrow)]
    pub tools: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub tool_choice: Option<&'a RawValue>,
    pub parallel_tool_calls: Option<bool>,
    logprobs: Option<bool>,
}

#[derive(Deserialize)]
pub struct StreamOptions {
    pub include_usage: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum Stop {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
pub struct Message<'a> {
    #[serde(default)]
    pub role: Cow<'a, str>,
    #[serde(borrow, default)]
    pub content: Content<'a>,
    #[serde(borrow)]
    pub tool_calls: Option<&'a RawValue>,
}

/// A message's text. Parts of text are joined by line breaks; other parts have none.
#[derive(Default)]
pub struct Content<'a>(pub Cow<'a, str>);

impl<'a> ChatRequest<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let request: Self = parse(body)?;
        if request.messages().is_empty() {
            return Err(Failure::request(Some("messages"), "The field messages is missing or empty."));
        }
        if !(1..=128).contains(&request.choices()) {
            return Err(Failure::request(Some("n"), "The field n must be from 1 to 128."));
        }
        if request.limit() == Some(0) {
            return Err(Failure::request(Some("max_tokens"), "The limit of tokens must be at least 1."));
        }
        if request.stream_options.is_some() && !request.streamed() {
            let message = "The field stream_options is only allowed when stream is true.";
            return Err(Failure::request(Some("stream_options"), message));
        }
        Ok(request)
    }

    pub fn messages(&self) -> &[Message<'a>] {
        self.messages.as_deref().unwrap_or_default()
    }

    fn last_message(&self) -> Option<&Message<'a>> {
        self.messages().last()
    }

    pub fn streamed(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    pub fn choices(&self) -> u64 {
        self.n.unwrap_or(1)
    }
}

impl Ask for ChatRequest<'_> {
    fn question(&self) -> &str {
        let last = self.messages().iter().rev().find(|message| message.role == "user");
        last.map_or("", |message| &message.content.0)
    }

    fn last(&self) -> &str {
        self.last_message().map_or("", |message| &message.content.0)
    }

    fn result(&self) -> Option<&str> {
        self.last_message().filter(|last| last.role == "tool").map(|last| &*last.content.0)
    }

    fn tools(&self) -> Vec<Tool> {
        let tools = self.tools.iter().flatten();
        let function = |raw: &&RawValue| serde_json::from_str::<OfferedTool>(raw.get()).ok();
        let tool =
            |tool: OfferedTool| Tool { name: tool.function.name, parameters: tool.function.parameters };
        tools.filter_map(function).map(tool).collect()
    }

    fn choice(&self) -> Choice {
        let written = self.tool_choice.and_then(|choice| serde_json::from_str(choice.get()).ok());
        match written {
            Some(WrittenChoice::Word(word)) if word == "required" => Choice::Required,
            Some(WrittenChoice::Tool { function }) => Choice::Named(function.name),
            _ => Choice::Free,
        }
    }

    fn parallel(&self) -> bool {
        self.parallel_tool_calls != Some(false)
    }

    fn stops(&self) -> &[String] {
        match &self.stop {
            None => &[],
            Some(Stop::One(stop)) => std::slice::from_ref(stop),
            Some(Stop::Several(stops)) => stops,
        }
    }

    fn limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// Tokens of all texts, of all tool calls and of all tools, the latter two as written.
    fn prompt_tokens(&self) -> u64 {
        let of_message = |message: &Message| {
            tokens::count(&message.content.0)
                + message.tool_calls.map_or(0, |calls| tokens::count(calls.get()))
        };
        let tools = self.tools.iter().flatten().map(|tool| tokens::count(tool.get()));
        self.messages().iter().map(of_message).sum::<u64>() + tools.sum::<u64>()
    }

    fn logprobs(&self) -> bool {
        self.logprobs == Some(true)
    }

    fn begun(&self) -> Option<Begun<'_>> {
        let messages = self.messages();
        let last = self.last_message()?.role == "assistant";
        let at = if last { messages.len().checked_sub(1)? } else { messages.len().checked_sub(2)? };
        let (before, message) = (messages.get(..at)?, messages.get(at)?);
        let follows = last || self.last_message()?.role == "user";
        let asked = before.iter().rev().find(|message| message.role == "user");
        (message.role == "assistant" && follows).then(|| Begun {
            asked: asked.map_or("", |message| &message.content.0),
            text: &message.content.0,
            last,
        })
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenChoice {
    Word(String),
    Tool { function: Function },
}

#[derive(Deserialize)]
struct OfferedTool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Value,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor).map(Content)
    }
}

/// Written out because a derived untagged enum would copy every prompt twice.
struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a list of parts, or null")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut joined = String::new();
        let mut any = false;
        while let Some(Part(text)) = parts.next_element()? {
            let Some(text) = text else { continue };
            if any {
                joined.push('\n');
            }
            any = true;
            joined.push_str(&text);
        }
        Ok(Cow::Owned(joined))
    }
}

struct Part(Option<String>);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PartVisitor;
        impl<'de> Visitor<'de> for PartVisitor {
            type Value = Part;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part of a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
                let mut text = None;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == "text" {
                        text = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Part(text))
            }
        }
        deserializer.deserialize_map(PartVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_a_string_parts_or_null() {
        let body = br#"{"model":"m","messages":[{"role":"system","content":null},{"role":"user","content":[
            {"type":"text","text":"one \u00e9"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"two"}]}]}"#;
        let request = ChatRequest::parse(body).expect("valid");
        assert_eq!(request.question(), "one é\ntwo");
        assert_eq!(request.prompt_tokens(), 3);
    }

    #[test]
    fn mistakes_are_told_apart() {
        for (body, expected) in [
            (&b"{"[..], "not valid JSON"),
            (b"", "not valid JSON"),
            (b"\xff", "not valid JSON"),
            (b"[]", "not what it must be"),
            (br#"{"messages":5}"#, "not what it must be"),
            (br#"{"messages":[{"role":"user","content":5}]}"#, "a string, a list of parts, or null"),
            (br#"{"messages":[]}"#, "missing or empty"),
            (br#"{"messages":[{}],"n":0}"#, "from 1 to 128"),
            (br#"{"messages":[{}],"max_tokens":0}"#, "at least 1"),
            (br#"{"messages":[{}],"stream_options":{}}"#, "only allowed when"),
        ] {
            let failure = ChatRequest::parse(body).err().expect("a mistake");
            assert_eq!(failure.status, 400);
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let body = format!(r#"{{"messages":[{{"content":{}"#, "[".repeat(100_000));
        assert!(ChatRequest::parse(body.as_bytes()).is_err());
    }
}
