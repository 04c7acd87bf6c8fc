//! The operator's own rules, which go before any chooser.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// The header in which a client says what a request is for: words with commas between them.
pub const TAGS_HEADER: &str = "x-meseta-tags";

/// What a compiled expression may take, so that a document of a few lines cannot take all memory.
const EXPRESSION_BYTES: usize = 1024 * 1024;

/// A rule, as the resolved document says it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    pub name: String,
    /// Higher ones are asked first; equal ones in the order of the document.
    pub priority: i64,
    /// What to choose, best or first to be asked first.
    pub r#use: Vec<String>,
    pub when: ConditionSettings,
}

/// Every condition that is given must hold. A rule without any always holds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionSettings {
    /// Expressions by headers' names: a value of each header must match.
    pub headers: BTreeMap<String, String>,
    /// The request carries every one of them.
    pub tags: Vec<String>,
    /// The request counts for one of them.
    pub tenants: Vec<String>,
    /// An expression that the current turn must match.
    pub text: Option<String>,
    pub min_tokens: Option<u64>,
    pub max_tokens: Option<u64>,
    pub tools: Option<bool>,
    pub images: Option<bool>,
}

/// Whether the header of a name has a value that is as asked.
pub type HeaderLookup<'a> = dyn Fn(&str, &dyn Fn(&str) -> bool) -> bool + 'a;

/// What rules may ask of a request.
pub struct Facts<'a> {
    pub header: &'a HeaderLookup<'a>,
    pub tenant: Option<&'a str>,
    /// What the user says in this turn.
    pub text: &'a str,
    /// Estimated, of the whole request.
    pub tokens: u64,
    pub tools: bool,
    pub images: bool,
}

/// A compiled rule.
#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    pub r#use: Vec<Arc<str>>,
    headers: Vec<(String, Regex)>,
    tags: Vec<String>,
    tenants: Vec<String>,
    text: Option<Regex>,
    tokens: (u64, u64),
    tools: Option<bool>,
    images: Option<bool>,
}

/// Compiled rules, in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

/// Why a rule was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleError {
    pub rule: String,
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the rule {}: {}", self.rule, self.message)
    }
}

impl std::error::Error for RuleError {}

impl Rules {
    /// `known` says whether a rule may use a name.
    pub fn compile(settings: &[RuleSettings], known: impl Fn(&str) -> bool) -> Result<Rules, RuleError> {
        let mut rules = Vec::with_capacity(settings.len());
        for rule in settings {
            let compiled = Rule::compile(rule, &known)
                .map_err(|message| RuleError { rule: rule.name.clone(), message })?;
            rules.push((rule.priority, compiled));
        }
        // Stable, so equal ones stay in the order of the document.
        rules.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        Ok(Rules(rules.into_iter().map(|(_, rule)| rule).collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first rule that holds.
    pub fn find(&self, facts: &Facts<'_>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.holds(facts))
    }
}

impl Rule {
    fn compile(settings: &RuleSettings, known: impl Fn(&str) -> bool) -> Result<Rule, String> {
        let when = &settings.when;
        if settings.r#use.is_empty() {
            return Err("`use` names nothing; name what the rule chooses".to_owned());
        }
        if let Some(unknown) = settings.r#use.iter().find(|name| !known(name)) {
            return Err(format!("`use` names {unknown}, which is not there"));
        }
        let tokens = (when.min_tokens.unwrap_or(0), when.max_tokens.unwrap_or(u64::MAX));
        if tokens.0 > tokens.1 {
            return Err(format!(
                "`min_tokens` {} is above `max_tokens` {}, so it would never hold",
                tokens.0, tokens.1
            ));
        }
        let header = |(name, expression): (&String, &String)| {
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(format!("`headers` has {name:?}, which is no header's name"));
            }
            let place = format!("headers.{name}");
            Ok((name.to_ascii_lowercase(), expression_of(&place, expression)?))
        };
        Ok(Rule {
            name: settings.name.as_str().into(),
            r#use: settings.r#use.iter().map(|name| name.as_str().into()).collect(),
            headers: when.headers.iter().map(header).collect::<Result<_, String>>()?,
            tags: when.tags.iter().map(|tag| tag.trim().to_owned()).collect(),
            tenants: when.tenants.clone(),
            text: when.text.as_deref().map(|text| expression_of("text", text)).transpose()?,
            tokens,
            tools: when.tools,
            images: when.images,
        })
    }

    /// The cheap questions come first.
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let (least, most) = self.tokens;
        let tagged = |tag: &String| {
            (facts.header)(TAGS_HEADER, &|value| value.split(',').any(|one| one.trim() == tag))
        };
        (least..=most).contains(&facts.tokens)
            && self.tools.is_none_or(|tools| tools == facts.tools)
            && self.images.is_none_or(|images| images == facts.images)
            && (self.tenants.is_empty()
                || facts.tenant.is_some_and(|tenant| self.tenants.iter().any(|known| known == tenant)))
            && self.tags.iter().all(tagged)
            && self
                .headers
                .iter()
                .all(|(name, expression)| (facts.header)(name, &|value| expression.is_match(value)))
            && self.text.as_ref().is_none_or(|expression| expression.is_match(facts.text))
    }
}

fn expression_of(place: &str, expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .size_limit(EXPRESSION_BYTES)
        .dfa_size_limit(EXPRESSION_BYTES)
        .build()
        .map_err(|error| format!("`{place}` is no usable expression: {error}"))
}

/// Of a header's name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(text: &str) -> Result<Rules, RuleError> {
        let settings: Vec<RuleSettings> = serde_json::from_str(text).unwrap();
        Rules::compile(&settings, |name| name != "gone")
    }

    fn rule(name: &str, priority: i64, when: &str) -> String {
        let mut given: serde_json::Value = serde_json::from_str(
            r#"{"headers":{},"tags":[],"tenants":[],"text":null,"min_tokens":null,"max_tokens":null,
                "tools":null,"images":null}"#,
        )
        .unwrap();
        let when: serde_json::Value = serde_json::from_str(when).unwrap();
        for (key, value) in when.as_object().unwrap() {
            given[key] = value.clone();
        }
        format!(r#"{{"name":"{name}","priority":{priority},"use":["to-{name}"],"when":{given}}}"#)
    }

    /// The name of the rule that holds for a request with these headers.
    fn found(rules: &Rules, headers: &[(&str, &str)], change: impl FnOnce(&mut Facts<'_>)) -> Option<String> {
        let header = |name: &str, asked: &dyn Fn(&str) -> bool| {
            headers.iter().any(|(known, value)| *known == name && asked(value))
        };
        let mut facts = Facts {
            header: &header,
            tenant: Some("acme"),
            text: "Weather in Oslo?",
            tokens: 100,
            tools: false,
            images: false,
        };
        change(&mut facts);
        rules.find(&facts).map(|rule| rule.name.to_string())
    }

    #[test]
    fn each_condition_holds_for_what_it_says() {
        type Request<'a> = (&'a [(&'a str, &'a str)], fn(&mut Facts<'_>));
        let as_it_is: fn(&mut Facts<'_>) = |_| {};
        let cases: &[(&str, Request<'_>, Request<'_>)] = &[
            ("{}", (&[], as_it_is), (&[], as_it_is)),
            (
                r#"{"headers":{"X-Plan":"^gold$"}}"#,
                (&[("x-plan", "free"), ("x-plan", "gold")], as_it_is),
                (&[("x-plan", "golden")], as_it_is),
            ),
            (
                r#"{"tags":["batch","nightly"]}"#,
                (&[("x-meseta-tags", "nightly , x"), ("x-meseta-tags", "batch")], as_it_is),
                (&[("x-meseta-tags", "batch")], as_it_is),
            ),
            (r#"{"tenants":["zeta","acme"]}"#, (&[], as_it_is), (&[], |facts| facts.tenant = None)),
            (r#"{"text":"(?i)\\bOSLO\\b"}"#, (&[], as_it_is), (&[], |facts| facts.text = "Bergen")),
            (r#"{"min_tokens":100}"#, (&[], as_it_is), (&[], |facts| facts.tokens = 99)),
            (r#"{"max_tokens":100}"#, (&[], as_it_is), (&[], |facts| facts.tokens = 101)),
            (r#"{"tools":false}"#, (&[], as_it_is), (&[], |facts| facts.tools = true)),
            (r#"{"images":true}"#, (&[], |facts| facts.images = true), (&[], as_it_is)),
        ];
        for (when, holds, fails) in cases {
            let rules = rules(&format!("[{}]", rule("one", 0, when))).unwrap();
            assert_eq!(found(&rules, holds.0, holds.1).as_deref(), Some("one"), "{when}");
            let expected = (*when == "{}").then_some("one");
            assert_eq!(found(&rules, fails.0, fails.1).as_deref(), expected, "{when}");
        }
    }

    #[test]
    fn every_condition_must_hold() {
        let rules = rules(&format!("[{}]", rule("one", 0, r#"{"text":"Oslo","tools":true}"#))).unwrap();
        assert_eq!(found(&rules, &[], |_| {}), None);
        assert_eq!(found(&rules, &[], |facts| facts.tools = true).as_deref(), Some("one"));
    }

    #[test]
    fn priority_goes_before_the_order_of_the_document() {
        let text =
            [rule("a", 0, "{}"), rule("b", 7, r#"{"tools":true}"#), rule("c", 3, "{}"), rule("d", 3, "{}")];
        let rules = rules(&format!("[{}]", text.join(","))).unwrap();
        assert_eq!(found(&rules, &[], |_| {}).as_deref(), Some("c"));
        assert_eq!(found(&rules, &[], |facts| facts.tools = true).as_deref(), Some("b"));
    }

    #[test]
    fn a_rule_that_cannot_be_is_named() {
        let wide = format!(r#"{{"text":"{}"}}"#, "(\\\\w{1000}){1000}");
        for (when, what) in [
            (r#"{"text":"("}"#, "`text` is no usable expression"),
            (r#"{"headers":{"x-plan":"["}}"#, "`headers.x-plan` is no usable expression"),
            (r#"{"headers":{"x plan":"a"}}"#, "no header's name"),
            (r#"{"min_tokens":2,"max_tokens":1}"#, "never hold"),
            (&*wide, "size limit"),
        ] {
            let error = rules(&format!("[{}]", rule("mine", 0, when))).unwrap_err();
            assert_eq!(error.rule, "mine", "{when}");
            assert!(error.to_string().contains(what), "{when} {error}");
        }
        for (used, what) in [(r#"["gone"]"#, "names gone"), ("[]", "names nothing")] {
            let text = rule("mine", 0, "{}").replace(r#"["to-mine"]"#, used);
            let error = rules(&format!("[{text}]")).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_settings_are_written_as_they_are_read() {
        let text = rule("one", 3, r#"{"headers":{"x-plan":"^gold$"},"tags":["a"],"tools":true}"#);
        let settings: RuleSettings = serde_json::from_str(&text).unwrap();
        let written: serde_json::Value = serde_json::to_value(&settings).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(&text).unwrap());
        assert!(serde_json::from_str::<RuleSettings>(&text.replace("\"tags\"", "\"tag\"")).is_err());
        assert!(serde_json::from_str::<RuleSettings>(&text.replace("\"use\"", "\"uses\"")).is_err());
    }

    proptest! {
        #[test]
        fn any_expression_compiles_or_is_refused(expression in ".{0,40}", text in ".{0,40}") {
            let mut settings: RuleSettings = serde_json::from_str(&rule("one", 0, "{}")).unwrap();
            settings.when.text = Some(expression);
            if let Ok(rules) = Rules::compile(&[settings], |_| true) {
                let none = |_: &str, _: &dyn Fn(&str) -> bool| false;
                let facts = Facts {
                    header: &none, tenant: None, text: &text, tokens: 0, tools: false, images: false,
                };
                let _ = rules.find(&facts);
            }
        }
    }
}
