//! A script: rules that say which request gets which reply, and how often.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Deserialize;
use serde_json::Value;

use crate::directives::Directives;

#[derive(Debug, Default)]
pub struct Script {
    rules: Vec<Rule>,
}

#[derive(Debug)]
pub struct Rule {
    model: Option<String>,
    contains: Option<String>,
    /// How often the rule may still apply.
    left: AtomicU64,
    pub says: Option<Says>,
    /// As written: they are read over the model name's and under the header's.
    pub directives: String,
}

#[derive(Debug)]
pub enum Says {
    Text(String),
    /// Name and arguments of each call.
    Calls(Vec<(String, String)>),
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    text: Option<String>,
    tool_calls: Option<Vec<WrittenCall>>,
    directives: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCall {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl Script {
    pub fn parse(text: &str) -> Result<Self, BadScript> {
        let written: Vec<WrittenRule> =
            serde_json::from_str(text).map_err(|error| BadScript(error.to_string()))?;
        let rule = |(index, rule)| {
            check(rule).map_err(|problem| BadScript(format!("rule {}: {problem}", index + 1)))
        };
        Ok(Self { rules: written.into_iter().enumerate().map(rule).collect::<Result<_, _>>()? })
    }

    /// The first rule for this request that is not used up, used once more. A rule that says something is for
    /// chat alone; one with nothing but directives is for every request.
    pub fn play(&self, model: &str, text: &str, chat: bool) -> Option<&Rule> {
        self.rules
            .iter()
            .find(|rule| (chat || rule.says.is_none()) && rule.matches(model, text) && rule.take())
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
    fn matches(&self, model: &str, text: &str) -> bool {
        self.model.as_deref().is_none_or(|wanted| wanted == model)
            && self.contains.as_deref().is_none_or(|wanted| text.contains(wanted))
    }

    fn take(&self) -> bool {
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

fn check(written: WrittenRule) -> Result<Rule, String> {
    let WrittenRule { when, reply, times } = written;
    let says = match (reply.text, reply.tool_calls) {
        (Some(_), Some(_)) => return Err("a reply has text or tool_calls, not both".to_owned()),
        (Some(text), None) => Some(Says::Text(text)),
        (None, Some(calls)) if calls.is_empty() => return Err("tool_calls has no call in it".to_owned()),
        (None, Some(calls)) => Some(Says::Calls(calls.into_iter().map(WrittenCall::written).collect())),
        (None, None) => None,
    };
    let directives = reply.directives.unwrap_or_default();
    if says.is_none() && directives.is_empty() {
        return Err("the reply needs text, tool_calls or directives".to_owned());
    }
    Directives::parse(&directives).map_err(|error| error.to_string())?;
    if times == Some(0) {
        return Err(
            "times is 0, so the rule would never apply; leave it out for a rule that always does".to_owned()
        );
    }
    let left = AtomicU64::new(times.unwrap_or(u64::MAX));
    Ok(Rule { model: when.model, contains: when.contains, left, says, directives })
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
                {"when": {"model": "a"}, "reply": {"text": "fine"}},
                {"reply": {"directives": "first=1ms"}}]"#,
        )
        .expect("valid");
        let played = |model, text, chat| script.play(model, text, chat).map(|rule| rule.directives.as_str());
        assert_eq!(played("a", "an x", true), Some("status=503"));
        assert_eq!(played("a", "an x", true), Some("status=503"));
        assert_eq!(played("a", "an x", true), Some(""));
        assert_eq!(played("a", "an x", false), Some("first=1ms"));
        assert_eq!(played("b", "", true), Some("first=1ms"));
        assert_eq!(script.models(), ["a"]);
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
            (r#"[{"reply": {"text": "a"}}, {"reply": {"text": "a"}, "times": 0}]"#, "rule 2: times is 0"),
            (r#"[{"reply": {"directives": "sttaus=1"}}]"#, "rule 1: The directive \"sttaus=1\""),
        ] {
            let message = Script::parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
