//! A script: rules that say which request gets which reply, and how often.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Deserialize;
use serde_json::Value;

use crate::answer::Finish;
use crate::directives::Directives;
use crate::usage::ScriptedUsage;

#[derive(Debug, Default)]
pub struct Script {
    rules: Vec<Rule>,
    /// As it was written.
    text: String,
}

#[derive(Debug)]
pub struct Rule {
    model: Option<String>,
    contains: Option<String>,
    key: Option<String>,
    /// How often the rule may still apply.
    left: AtomicU64,
    pub says: Option<Says>,
    pub finish: Option<Finish>,
    pub usage: Option<ScriptedUsage>,
    pub logprobs: bool,
    /// As written: they are read over the model name's and under the header's.
    pub directives: String,
}

#[derive(Debug)]
pub enum Says {
    Text(String),
    /// Name and arguments of each call.
    Calls(Vec<(String, String)>),
    /// Blocks in their order.
    Content(Vec<ScriptedBlock>),
}

#[derive(Clone, Debug)]
pub enum ScriptedBlock {
    Text(String),
    Refusal(String),
    Thinking { text: String, signature: Option<String>, redacted: bool },
    Call { name: String, arguments: String, id: Option<String> },
}

/// What a rule looks at in a request.
pub struct Asked<'a> {
    pub model: &'a str,
    pub text: &'a str,
    pub key: Option<&'a str>,
}

/// A script that cannot be played.
#[derive(Debug, PartialEq)]
pub struct BadScript(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    #[serde(default)]
    when: When,
    reply: Reply,
    times: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    model: Option<String>,
    contains: Option<String>,
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    text: Option<String>,
    tool_calls: Option<Vec<WrittenCall>>,
    content: Option<Vec<WrittenBlock>>,
    finish: Option<Finish>,
    usage: Option<ScriptedUsage>,
    logprobs: Option<bool>,
    directives: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCall {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// Which key is there says what kind of block it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBlock {
    text: Option<String>,
    refusal: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    redacted: Option<bool>,
    tool: Option<String>,
    arguments: Option<Value>,
    id: Option<String>,
}

impl Script {
    pub fn parse(text: &str) -> Result<Self, BadScript> {
        let written: Vec<WrittenRule> =
            serde_json::from_str(text).map_err(|error| BadScript(error.to_string()))?;
        let rule = |(index, rule)| {
            check(rule).map_err(|problem| BadScript(format!("rule {}: {problem}", index + 1)))
        };
        let rules = written.into_iter().enumerate().map(rule).collect::<Result<_, _>>()?;
        Ok(Self { rules, text: text.to_owned() })
    }

    /// What was parsed; an empty list for no script at all.
    pub fn text(&self) -> &str {
        if self.text.is_empty() { "[]" } else { &self.text }
    }

    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// The first rule for this request that is not used up, used once more. A rule that says something is for
    /// chat alone; one with nothing but directives is for every request.
    pub fn play(&self, asked: &Asked<'_>, chat: bool) -> Option<&Rule> {
        self.rules.iter().find(|rule| (chat || !rule.speaks()) && rule.matches(asked) && rule.take())
    }

    /// The models that rules name, each once.
    pub fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = self.rules.iter().filter_map(|rule| rule.model.as_deref()).collect();
        models.sort_unstable();
        models.dedup();
        models
    }
}

impl Rule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        self.model.as_deref().is_none_or(|wanted| wanted == asked.model)
            && self.contains.as_deref().is_none_or(|wanted| asked.text.contains(wanted))
            && self.key.as_deref().is_none_or(|wanted| asked.key == Some(wanted))
    }

    /// It decides what is said, or how that is summed up.
    fn speaks(&self) -> bool {
        self.says.is_some() || self.finish.is_some() || self.usage.is_some() || self.logprobs
    }

    fn take(&self) -> bool {
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

fn check(written: WrittenRule) -> Result<Rule, String> {
    let WrittenRule { when, reply, times } = written;
    let says = match (reply.text, reply.tool_calls, reply.content) {
        (Some(text), None, None) => Some(Says::Text(text)),
        (None, Some(calls), None) if calls.is_empty() => {
            return Err("tool_calls has no call in it".to_owned());
        }
        (None, Some(calls), None) => Some(Says::Calls(calls.into_iter().map(WrittenCall::written).collect())),
        (None, None, Some(blocks)) => {
            Some(Says::Content(blocks.into_iter().map(WrittenBlock::check).collect::<Result<_, _>>()?))
        }
        (None, None, None) => None,
        _ => return Err("a reply has one of text, tool_calls and content, not both".to_owned()),
    };
    let rule = Rule {
        model: when.model,
        contains: when.contains,
        key: when.key,
        left: AtomicU64::new(times.unwrap_or(u64::MAX)),
        says,
        finish: reply.finish,
        usage: reply.usage,
        logprobs: reply.logprobs.unwrap_or(false),
        directives: reply.directives.unwrap_or_default(),
    };
    if !rule.speaks() && rule.directives.is_empty() {
        return Err("the reply needs text, tool_calls, content or directives".to_owned());
    }
    Directives::parse(&rule.directives).map_err(|error| error.to_string())?;
    if times == Some(0) {
        return Err(
            "times is 0, so the rule would never apply; leave it out for a rule that always does".to_owned()
        );
    }
    Ok(rule)
}

impl WrittenBlock {
    fn check(self) -> Result<ScriptedBlock, String> {
        let Self { text, refusal, thinking, signature, redacted, tool, arguments, id } = self;
        let of_thinking = signature.is_some() || redacted.is_some();
        let of_calls = arguments.is_some() || id.is_some();
        match (text, refusal, thinking, tool) {
            (Some(text), None, None, None) if !of_thinking && !of_calls => Ok(ScriptedBlock::Text(text)),
            (None, Some(text), None, None) if !of_thinking && !of_calls => Ok(ScriptedBlock::Refusal(text)),
            (None, None, Some(text), None) if !of_calls => {
                Ok(ScriptedBlock::Thinking { text, signature, redacted: redacted.unwrap_or(false) })
            }
            (None, None, None, Some(name)) if !of_thinking => {
                let arguments = arguments.unwrap_or_default();
                let (name, arguments) = WrittenCall { name, arguments }.written();
                Ok(ScriptedBlock::Call { name, arguments, id })
            }
            _ => Err("a block of content is one of {text}, {refusal}, {thinking, signature, redacted} and \
                {tool, arguments, id}"
                .to_owned()),
        }
    }
}

impl WrittenCall {
    /// Arguments that are a string are sent as they are, so that a script can send what is not JSON.
    fn written(self) -> (String, String) {
        let arguments = match self.arguments {
            Value::Null => "{}".to_owned(),
            Value::String(text) => text,
            value => value.to_string(),
        };
        (self.name, arguments)
    }
}

impl fmt::Display for BadScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The script cannot be played: {}.", self.0.trim_end_matches('.'))
    }
}

impl std::error::Error for BadScript {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_is_not_used_up_applies() {
        let script = Script::parse(
            r#"[{"when": {"model": "a", "contains": "x"}, "reply": {"directives": "status=503"}, "times": 2},
                {"when": {"model": "b", "key": "one"}, "reply": {"directives": "status=429"}},
                {"when": {"model": "a"}, "reply": {"text": "fine"}},
                {"reply": {"directives": "first=1ms"}}]"#,
        )
        .expect("valid");
        let asked = |asked: Asked<'_>, chat| script.play(&asked, chat).map(|rule| rule.directives.as_str());
        let played = |model, text, chat| asked(Asked { model, text, key: Some("two") }, chat);
        assert_eq!(played("a", "an x", true), Some("status=503"));
        assert_eq!(played("a", "an x", true), Some("status=503"));
        assert_eq!(played("a", "an x", true), Some(""));
        assert_eq!(played("a", "an x", false), Some("first=1ms"));
        assert_eq!(played("b", "", true), Some("first=1ms"));
        assert_eq!(asked(Asked { model: "b", text: "", key: Some("one") }, true), Some("status=429"));
        assert_eq!(asked(Asked { model: "b", text: "", key: None }, true), Some("first=1ms"));
        assert_eq!(script.models(), ["a", "b"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("{}", "expected a sequence"),
            ("[", "line 1 column 1"),
            (r#"[{"wen": {}}]"#, "`wen`"),
            (r#"[{"when": {"modle": "a"}}]"#, "`modle`"),
            ("[{}]", "`reply`"),
            (r#"[{"reply": {}}]"#, "rule 1: the reply needs"),
            (r#"[{"reply": {"text": "a", "tool_calls": []}}]"#, "not both"),
            (r#"[{"reply": {"tool_calls": []}}]"#, "no call"),
            (r#"[{"reply": {"content": [{"text": "a", "tool": "b"}]}}]"#, "a block of content is one of"),
            (
                r#"[{"reply": {"content": [{"text": "a", "redacted": true}]}}]"#,
                "a block of content is one of",
            ),
            (r#"[{"reply": {"content": [], "finish": "done"}}]"#, "`done`"),
            (r#"[{"reply": {"usage": {"input": -1}}}]"#, "-1"),
            (r#"[{"reply": {"text": "a"}}, {"reply": {"text": "a"}, "times": 0}]"#, "rule 2: times is 0"),
            (r#"[{"reply": {"directives": "sttaus=1"}}]"#, "rule 1: The directive \"sttaus=1\""),
        ] {
            let message = Script::parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
