//! The conversation as it goes from agent to agent: the client's own JSON with what agents said put into it. What nobody
//! acts on stays as the client wrote it.

use std::borrow::Cow;

use bytes::Bytes;
use meseta_wire::dialect::Dialect;
use meseta_wire::json::Json;

#[derive(Clone)]
pub(crate) struct Thread {
    dialect: Dialect,
    text: Text,
}

/// Most conversations go to one agent and are never changed.
#[derive(Clone)]
enum Text {
    AsSent(Bytes),
    Changed(Fields),
}

type Fields = Vec<(Cow<'static, str>, Json<'static>)>;

impl Thread {
    pub fn of(dialect: Dialect, body: Bytes) -> Thread {
        Thread { dialect, text: Text::AsSent(body) }
    }

    pub fn body(&self) -> Bytes {
        match &self.text {
            Text::AsSent(body) => body.clone(),
            Text::Changed(fields) => Json::Object(fields.clone()).to_vec().into(),
        }
    }

    fn fields(&mut self) -> &mut Fields {
        if let Text::AsSent(body) = &self.text {
            // It was read as an object before, with its text checked.
            let text = std::str::from_utf8(body).unwrap_or_default();
            let fields = match Json::parse(text).map(Json::into_owned) {
                Ok(Json::Object(fields)) => fields,
                _ => Vec::new(),
            };
            self.text = Text::Changed(fields);
        }
        match &mut self.text {
            Text::Changed(fields) => fields,
            Text::AsSent(_) => unreachable!("it was changed just before"),
        }
    }

    /// An agent has answered: those after it see that before the user's last words, under the agent's name where the
    /// dialect has names.
    pub fn answered(&mut self, agent: &str, text: &str) {
        let message = match self.dialect {
            Dialect::OpenaiChat => object([
                ("role", "assistant".into()),
                ("name", name(agent).into()),
                ("content", text.to_owned().into()),
            ]),
            _ => object([("role", "assistant".into()), ("content", format!("{agent}: {text}").into())]),
        };
        let messages = self.messages();
        let at = messages.iter().rposition(is_user).unwrap_or(messages.len());
        messages.insert(at, message);
    }

    /// The same behind everything, for whoever judges what is still to be done.
    pub fn follows(&mut self, agent: &str, text: &str) {
        let content = format!("{agent}: {text}");
        self.messages().push(object([("role", "assistant".into()), ("content", content.into())]));
    }

    /// The user goes on.
    pub fn asks(&mut self, text: String) {
        self.messages().push(object([("role", "user".into()), ("content", text.into())]));
    }

    pub fn set(&mut self, key: &'static str, value: Json<'static>) {
        self.remove(key);
        self.fields().push((Cow::Borrowed(key), value));
    }

    pub fn remove(&mut self, key: &str) {
        self.fields().retain(|(name, _)| name != key);
    }

    /// The list of messages, made of a single text where the dialect allows one.
    fn messages(&mut self) -> &mut Vec<Json<'static>> {
        let key = if self.dialect == Dialect::OpenaiResponses { "input" } else { "messages" };
        let fields = self.fields();
        let at = fields.iter().rposition(|(name, _)| name == key).unwrap_or_else(|| {
            fields.push((Cow::Borrowed(key), Json::Array(Vec::new())));
            fields.len() - 1
        });
        let value = &mut fields[at].1;
        if !matches!(value, Json::Array(_)) {
            let whole = std::mem::replace(value, Json::Null);
            let items = match whole {
                text @ Json::String(_) => vec![object([("role", "user".into()), ("content", text)])],
                _ => Vec::new(),
            };
            *value = Json::Array(items);
        }
        match value {
            Json::Array(items) => items,
            _ => unreachable!("it was made a list just before"),
        }
    }
}

fn object<const N: usize>(fields: [(&'static str, Json<'static>); N]) -> Json<'static> {
    Json::Object(fields.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
}

/// OpenAI's names are letters, digits, `_` and `-`, 64 at most.
fn name(agent: &str) -> String {
    let plain =
        |character: char| if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' };
    agent.chars().take(64).map(plain).collect()
}

/// The user's own words. Results of tools, which some dialects send in the user's name, are not.
fn is_user(message: &Json<'_>) -> bool {
    let user = message.get("role").and_then(Json::as_str) == Some("user");
    let of_tools = message.get("content").and_then(Json::as_array).is_some_and(|parts| {
        let result = |part: &Json<'_>| part.get("type").and_then(Json::as_str) == Some("tool_result");
        !parts.is_empty() && parts.iter().all(result)
    });
    user && !of_tools
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(dialect: Dialect, body: &str) -> Thread {
        Thread::of(dialect, Bytes::copy_from_slice(body.as_bytes()))
    }

    fn text(thread: &Thread) -> String {
        String::from_utf8(thread.body().to_vec()).unwrap()
    }

    #[test]
    fn puts_an_answer_before_the_last_words_of_the_user() {
        let body = r#"{"model":"m","x":[1.5],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}"#;
        let mut chat = thread(Dialect::OpenaiChat, body);
        chat.answered("weather eu", "It rains.");
        assert_eq!(
            text(&chat),
            r#"{"model":"m","x":[1.5],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","name":"weather_eu","content":"It rains."},{"role":"user","content":"c"}]}"#
        );
        let mut messages = thread(Dialect::AnthropicMessages, body);
        messages.answered("weather", "It rains.");
        assert!(text(&messages).contains(
            r#"{"role":"assistant","content":"weather: It rains."},{"role":"user","content":"c"}"#
        ));
    }

    #[test]
    fn a_text_is_a_list_of_one() {
        let mut responses = thread(Dialect::OpenaiResponses, r#"{"input":"hello"}"#);
        responses.answered("weather", "Dry.");
        assert_eq!(
            text(&responses),
            r#"{"input":[{"role":"assistant","content":"weather: Dry."},{"role":"user","content":"hello"}]}"#
        );
    }

    #[test]
    fn results_of_tools_are_not_the_users_words() {
        let body = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]}"#;
        let mut messages = thread(Dialect::AnthropicMessages, body);
        messages.answered("x", "y");
        assert!(text(&messages).starts_with(
            r#"{"messages":[{"role":"assistant","content":"x: y"},{"role":"user","content":"a"}"#
        ));
    }
}
