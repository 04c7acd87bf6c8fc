//! The few fields of a request that a data plane acts on, found in one pass over the JSON text.
//!
//! The pass checks the whole document (syntax, UTF-8 escapes, nesting up to 128 levels), remembers where
//! the acted-on values stand, and keeps nothing else. A key that appears twice is refused when it is one we act
//! on: two readers that pick different ones would be a way around every check that follows.

use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::Key;

mod glance;
mod tools;

use glance::{Count, Filled, Format, Kind, Look, Output};
use tools::Tools;

/// What a client asked for, as far as routing needs to know.
#[allow(clippy::struct_excessive_bools)] // They are independent of each other, and none is a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The decoded model name; `None` when the key is absent or null.
    pub model: Option<String>,
    pub stream: bool,
    /// What the client itself said about usage in the stream.
    pub include_usage: bool,
    /// Responses: whether the answer may be kept. The API's default is that it is.
    pub store: Option<bool>,
    /// Responses: the answer that this request continues.
    pub previous_response_id: Option<String>,
    /// The provider itself does something that a second sending would do again: it runs tools with effects outside, or
    /// it keeps what is said in a conversation of its own. Doubtful cases count; a server's tool that a Messages request
    /// adds in the midst of its messages is not seen.
    pub acts: bool,
    /// The most tokens that the answer may have, if the client set a limit.
    pub max_output_tokens: Option<u64>,
    /// The answer's text is to be JSON.
    pub structured: bool,
    /// How many answers are wanted; at least 1.
    pub candidates: u64,
    /// It brings routing preferences of its own, a field that is for the plane and not for a provider.
    pub preferences: bool,
    pub spans: Spans,
}

/// Where the acted-on values stand in the document, as byte ranges of the JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// Just behind the opening brace: where a missing key may be inserted.
    pub opening: usize,
    pub model: Option<Range<usize>>,
    pub stream_options: Option<Range<usize>>,
    pub include_usage: Option<Range<usize>>,
    /// Whether `stream_options` holds any key, so that an insertion knows if a comma is due.
    pub stream_options_empty: bool,
}

/// Why a document was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not JSON: what is wrong and where (line and column, counted from 1).
    Syntax(String),
    /// JSON, but a field that we act on is not what the API says. `path` is a JSON path such as `stream`.
    Field { path: &'static str, message: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Syntax(message) => formatter.write_str(message),
            Refusal::Field { path, message } => write!(formatter, "`{path}` {message}"),
        }
    }
}

/// Reads a request body. `required` names the field without which the call makes no sense (`messages` for chat,
/// `input` for embeddings) and the JSON types that it may have.
pub fn read(body: &[u8], required: Required) -> Result<Envelope, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Refusal::Syntax(format!("the body is not valid UTF-8 (at byte {})", error.valid_up_to()))
    })?;
    let fields: Fields<'_> = serde_json::from_str(text)
        .map_err(|error| Refusal::Syntax(format!("the body is not a JSON object: {error}")))?;
    if let Some(path) = fields.duplicate {
        return Err(Refusal::Field { path, message: "appears twice".to_owned() });
    }
    match fields.required(required) {
        None | Some(Kind::Null) if required == Required::MaybeInput => {}
        None | Some(Kind::Null) => {
            return Err(Refusal::Field { path: required.name(), message: "is missing".to_owned() });
        }
        Some(kind) if !required.allows(kind) => {
            return Err(Refusal::Field {
                path: required.name(),
                message: format!("must be {}, not {}", required.expectation(), kind.article()),
            });
        }
        Some(_) => {}
    }
    fields.into_envelope(text)
}

/// The field that a call cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    Messages,
    /// Of embeddings.
    Input,
    /// Of Responses, where a stored answer or prompt may stand in for it.
    MaybeInput,
}

impl Required {
    fn name(self) -> &'static str {
        match self {
            Required::Messages => "messages",
            Required::Input | Required::MaybeInput => "input",
        }
    }

    fn allows(self, kind: Kind) -> bool {
        match self {
            Required::Messages => kind == Kind::Array,
            Required::Input | Required::MaybeInput => matches!(kind, Kind::Array | Kind::String),
        }
    }

    fn expectation(self) -> &'static str {
        match self {
            Required::Messages => "an array",
            Required::Input | Required::MaybeInput => "a string or an array",
        }
    }
}

#[derive(Default)]
struct Fields<'a> {
    model: Option<&'a RawValue>,
    stream: Option<&'a RawValue>,
    stream_options: Option<&'a RawValue>,
    store: Option<&'a RawValue>,
    previous_response_id: Option<&'a RawValue>,
    messages: Option<Kind>,
    input: Option<Kind>,
    acts: bool,
    max_output_tokens: Option<u64>,
    structured: bool,
    candidates: Option<u64>,
    preferences: bool,
    duplicate: Option<&'static str>,
}

impl<'a> Fields<'a> {
    fn required(&self, required: Required) -> Option<Kind> {
        match required {
            Required::Messages => self.messages,
            Required::Input | Required::MaybeInput => self.input,
        }
    }

    /// Keys of which a word is taken. One that stands there twice is not refused: what is taken is safe whichever of
    /// the two the provider reads.
    fn glance<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "tools" => self.acts |= map.next_value::<Look<Tools>>()?.0.act,
            // The provider keeps the conversation; or what it does stands in a prompt that is stored there.
            "background" | "conversation" | "mcp_servers" | "prompt" | "thread" => {
                self.acts |= map.next_value::<Look<Filled>>()?.0.0;
            }
            "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                let count = map.next_value::<Look<Count>>()?.0.0;
                self.max_output_tokens = self.max_output_tokens.max(count);
            }
            "n" => self.candidates = self.candidates.max(map.next_value::<Look<Count>>()?.0.0),
            "response_format" => self.structured |= map.next_value::<Look<Format>>()?.0.json,
            "output_format" => self.structured |= map.next_value::<Look<Filled>>()?.0.0,
            "text" | "output_config" => self.structured |= map.next_value::<Look<Output>>()?.0.json,
            "routing_preferences" => {
                self.preferences = true;
                map.next_value::<Kind>()?;
            }
            _ => {
                map.next_value::<Kind>()?;
            }
        }
        Ok(())
    }

    fn into_envelope(self, text: &'a str) -> Result<Envelope, Refusal> {
        let mut envelope = Envelope {
            acts: self.acts,
            max_output_tokens: self.max_output_tokens,
            structured: self.structured,
            candidates: self.candidates.unwrap_or(1).max(1),
            preferences: self.preferences,
            ..Envelope::default()
        };
        // serde_json accepted an object, so an opening brace is the first thing behind white space.
        envelope.spans.opening = text.find('{').map_or(0, |at| at + 1);
        if let Some(raw) = self.model {
            envelope.spans.model = Some(span(text, raw.get()));
            envelope.model = decode::<Option<String>>("model", raw, "must be a string")?;
        }
        if let Some(raw) = self.stream {
            envelope.stream =
                decode::<Option<bool>>("stream", raw, "must be true or false")?.unwrap_or(false);
        }
        if let Some(raw) = self.store {
            envelope.store = decode::<Option<bool>>("store", raw, "must be true or false")?;
        }
        if let Some(raw) = self.previous_response_id {
            envelope.previous_response_id =
                decode::<Option<String>>("previous_response_id", raw, "must be a string")?;
        }
        if let Some(raw) = self.stream_options {
            envelope.spans.stream_options = Some(span(text, raw.get()));
            serde_json::from_str::<Kind>(raw.get()).map_err(|error| Refusal::Syntax(error.to_string()))?;
            let options = decode::<Option<Options<'_>>>("stream_options", raw, "must be an object")?;
            if let Some(options) = options {
                envelope.spans.stream_options_empty = options.empty;
                if let Some(raw) = options.include_usage {
                    envelope.spans.include_usage = Some(span(text, raw.get()));
                    envelope.include_usage =
                        decode::<Option<bool>>("stream_options.include_usage", raw, "must be true or false")?
                            .unwrap_or(false);
                }
            } else {
                envelope.spans.stream_options_empty = true;
            }
        }
        Ok(envelope)
    }
}

fn decode<'a, T: Deserialize<'a>>(
    path: &'static str,
    raw: &'a RawValue,
    expectation: &str,
) -> Result<T, Refusal> {
    serde_json::from_str(raw.get()).map_err(|_| Refusal::Field { path, message: expectation.to_owned() })
}

/// The byte range of `part`, which must be a slice of `text`.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                // Keys are compared decoded: "mod\u0065l" is `model` to every JSON reader behind us.
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    let seen = match key.0.as_ref() {
                        "model" => fields.model.replace(map.next_value()?).map(|_| "model"),
                        "stream" => fields.stream.replace(map.next_value()?).map(|_| "stream"),
                        "stream_options" => {
                            fields.stream_options.replace(map.next_value()?).map(|_| "stream_options")
                        }
                        "store" => fields.store.replace(map.next_value()?).map(|_| "store"),
                        "previous_response_id" => fields
                            .previous_response_id
                            .replace(map.next_value()?)
                            .map(|_| "previous_response_id"),
                        "messages" => fields.messages.replace(map.next_value()?).map(|_| "messages"),
                        "input" => fields.input.replace(map.next_value()?).map(|_| "input"),
                        key => {
                            fields.glance(key, &mut map)?;
                            None
                        }
                    };
                    fields.duplicate = fields.duplicate.or(seen);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[derive(Default)]
struct Options<'a> {
    include_usage: Option<&'a RawValue>,
    empty: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Options<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OptionsVisitor;
        impl<'de> Visitor<'de> for OptionsVisitor {
            type Value = Options<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut options = Options { empty: true, ..Options::default() };
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    options.empty = false;
                    if key.0 == "include_usage" {
                        if options.include_usage.replace(map.next_value()?).is_some() {
                            return Err(de::Error::duplicate_field("include_usage"));
                        }
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(options)
            }
        }
        deserializer.deserialize_map(OptionsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(body: &str) -> Result<Envelope, Refusal> {
        read(body.as_bytes(), Required::Messages)
    }

    fn field(body: &str) -> (&'static str, String) {
        match chat(body) {
            Err(Refusal::Field { path, message }) => (path, message),
            other => panic!("expected a field refusal, got {other:?}"),
        }
    }

    #[test]
    fn finds_what_it_acts_on_and_where() {
        let body = r#" {"x":1,"model" : "a/b","messages":[],"stream":true,"stream_options":{"include_usage":false}}"#;
        let envelope = chat(body).unwrap();
        assert_eq!(envelope.model.as_deref(), Some("a/b"));
        assert!(envelope.stream);
        assert!(!envelope.include_usage);
        assert_eq!(&body[envelope.spans.model.unwrap()], "\"a/b\"");
        assert_eq!(&body[envelope.spans.include_usage.unwrap()], "false");
        assert_eq!(&body[..envelope.spans.opening], " {");
    }

    #[test]
    fn null_is_absent() {
        let envelope = chat(r#"{"model":null,"messages":[1],"stream":null,"stream_options":null}"#).unwrap();
        assert_eq!(envelope.model, None);
        assert!(!envelope.stream);
        assert!(envelope.spans.stream_options_empty);
    }

    #[test]
    fn refuses_wrong_types_by_path() {
        assert_eq!(field(r#"{"model":1,"messages":[]}"#).0, "model");
        assert_eq!(field(r#"{"model":"a","messages":{}}"#).1, "must be an array, not an object");
        assert_eq!(field(r#"{"model":"a"}"#).1, "is missing");
        assert_eq!(field(r#"{"messages":[],"stream":"yes"}"#).0, "stream");
        assert_eq!(
            field(r#"{"messages":[],"stream_options":{"include_usage":1}}"#).0,
            "stream_options.include_usage"
        );
        assert_eq!(field(r#"{"messages":[],"stream_options":[]}"#).0, "stream_options");
    }

    #[test]
    fn refuses_a_second_model_even_when_escaped() {
        assert_eq!(
            field(r#"{"model":"a","messages":[],"mod\u0065l":"b"}"#),
            ("model", "appears twice".into())
        );
    }

    #[test]
    fn refuses_deep_nesting_without_overflowing() {
        let deep = format!(r#"{{"messages":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(chat(&deep), Err(Refusal::Syntax(message)) if message.contains("recursion limit")));
        let deep = format!(r#"{{"messages":[],"x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(chat(&deep), Err(Refusal::Syntax(_))));
        let deep = format!(
            r#"{{"messages":[],"stream_options":{{"x":{}1{}}}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(matches!(chat(&deep), Err(Refusal::Syntax(_))));
    }

    #[test]
    fn refuses_what_is_not_an_object() {
        for body in
            ["", "null", "[]", "{", "{\"messages\":[]} x", "\u{feff}{}", "{\"messages\":[\"\\ud800\"]}"]
        {
            assert!(matches!(chat(body), Err(Refusal::Syntax(_))), "{body}");
        }
        assert!(matches!(read(b"{\"messages\":\xff}", Required::Messages), Err(Refusal::Syntax(_))));
    }

    fn responses(body: &str) -> Envelope {
        read(body.as_bytes(), Required::MaybeInput).unwrap()
    }

    #[test]
    fn tells_requests_that_act_from_those_that_only_read() {
        let acts = |tools: &str| responses(&format!(r#"{{"input":"x","tools":{tools}}}"#)).acts;
        for tools in [
            r#"[{"type":"mcp","server_label":"mail","server_url":"https://x"}]"#,
            r#"[{"type":"function","name":"f"},{"type":"code_interpreter","container":{"type":"auto"}}]"#,
            r#"[{"type":"shell","environment":{"type":"container_auto"}}]"#,
            r#"[{"type":"shell"}]"#,
            r#"[{"type":"code_execution_20250825","name":"code_execution"}]"#,
            r#"[{"type":"mcp_toolset","mcp_server_name":"x"}]"#,
            r#"[{"type":"something_new"}]"#,
            r#"[{"t\u0079pe":"mcp"}]"#,
            r#"[{"type":"mcp","type":"function"}]"#,
        ] {
            assert!(acts(tools), "{tools}");
        }
        for tools in [
            "null",
            "[]",
            "{}",
            "[null,1]",
            r#"[{"type":"function","function":{"name":"f","parameters":{"type":"mcp","properties":{"type":{"type":"x"}}}}}]"#,
            r#"[{"name":"f","input_schema":{"type":"object"}}]"#,
            r#"[{"type":"custom","name":"f"},{"type":"namespace","tools":[]}]"#,
            r#"[{"type":"web_search_preview"},{"type":"file_search"},{"type":"web_fetch_20250910"}]"#,
            r#"[{"type":"image_generation"},{"type":"openrouter:web_search"}]"#,
            r#"[{"type":"bash_20250124"},{"type":"text_editor_20250728"},{"type":"computer_20250124"}]"#,
            r#"[{"type":"shell","environment":{"type":"local"}}]"#,
        ] {
            assert!(!acts(tools), "{tools}");
        }
        for (field, expected) in [
            (r#""background":true"#, true),
            (r#""background":false"#, false),
            (r#""conversation":"conv_1""#, true),
            (r#""conversation":{"id":"conv_1"}"#, true),
            (r#""conversation":null"#, false),
            (r#""prompt":{"id":"pmpt_1"}"#, true),
            (r#""mcp_servers":[{"type":"url"}]"#, true),
            (r#""mcp_servers":[]"#, false),
            (r#""background":true,"background":false"#, true),
            (r#""web_search_options":{}"#, false),
        ] {
            assert_eq!(responses(&format!(r#"{{"input":"x",{field}}}"#)).acts, expected, "{field}");
        }
    }

    #[test]
    fn sees_preferences_of_the_requests_own_and_nowhere_else() {
        for (body, there) in [
            (r#"{"messages":[],"routing_preferences":[]}"#, true),
            (r#"{"messages":[],"routing\u005fpreferences":null}"#, true),
            (r#"{"messages":["routing_preferences"],"x":{"routing_preferences":1}}"#, false),
        ] {
            assert_eq!(chat(body).unwrap().preferences, there, "{body}");
        }
    }

    #[test]
    fn takes_limits_and_formats() {
        let envelope = chat(r#"{"messages":[],"max_tokens":5,"max_completion_tokens":7,"n":3}"#).unwrap();
        assert_eq!((envelope.max_output_tokens, envelope.candidates), (Some(7), 3));
        let envelope = chat(r#"{"messages":[],"max_tokens":"5","n":-1}"#).unwrap();
        assert_eq!((envelope.max_output_tokens, envelope.candidates), (None, 1));
        assert_eq!(responses(r#"{"max_output_tokens":9,"n":0}"#).candidates, 1);
        for (field, structured) in [
            (r#""response_format":{"type":"json_schema","json_schema":{"schema":{"type":"text"}}}"#, true),
            (r#""response_format":{"type":"json_object"}"#, true),
            (r#""response_format":{"type":"text"}"#, false),
            (r#""response_format":null"#, false),
            (r#""text":{"format":{"type":"json_schema"}}"#, true),
            (r#""text":{"verbosity":"low"}"#, false),
            (r#""output_config":{"format":{"type":"json_schema"}}"#, true),
            (r#""output_config":{"effort":"low"}"#, false),
            (r#""output_format":{"type":"json_schema"}"#, true),
        ] {
            assert_eq!(responses(&format!("{{{field}}}")).structured, structured, "{field}");
        }
    }

    #[test]
    fn what_is_only_glanced_at_is_bounded_in_depth_too() {
        for key in ["tools", "text", "response_format", "background", "n"] {
            let deep =
                format!(r#"{{"messages":[],"{key}":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
            assert!(matches!(chat(&deep), Err(Refusal::Syntax(_))), "{key}");
        }
    }

    #[test]
    fn embeddings_take_a_string_or_an_array() {
        assert!(read(br#"{"input":"a"}"#, Required::Input).is_ok());
        assert!(read(br#"{"input":[1]}"#, Required::Input).is_ok());
        assert!(read(br#"{"input":1}"#, Required::Input).is_err());
    }
}
