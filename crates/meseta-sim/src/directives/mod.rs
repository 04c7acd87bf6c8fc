//! What a request may ask of the simulator beside its answer: `key=value`, separated by `;`, behind the model's
//! name or in the header `x-sim`.

mod value;

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use self::value::{duration, limits, names, number, one_of, place, size, status};

/// Every directive: its key, its form and what it does. The manual's table and the error message are this one.
pub const DIRECTIVES: &[(&str, &str, &str)] = &[
    ("tokens", "tokens=N", "length of the answer, at most 1000000 tokens"),
    ("pace", "pace=DURATION", "time between two tokens"),
    ("first", "first=DURATION", "time before the head of the response"),
    ("head_then", "head_then=DURATION", "time between the head and the first byte of the body"),
    ("preamble_then", "preamble_then=DURATION", "time between what begins a stream and its first token"),
    ("status", "status=CODE", "answer with this error, 400 to 599"),
    (
        "refuse",
        "refuse=context|policy|quota|key|overloaded",
        "answer with the provider's own error of that cause",
    ),
    ("retry-after", "retry-after=SECONDS", "header of that name, with status or refuse"),
    ("message", "message=TEXT", "message of the error, with status, refuse or error"),
    (
        "limit",
        "limit=KIND:LEFT/RESET[,…]",
        "what is left of requests or tokens, and the time until it is renewed, in the provider's headers",
    ),
    ("drop", "drop=fin|rst", "end the connection before the head of the response"),
    ("stall", "stall=N", "send nothing after N tokens, but keep the connection"),
    (
        "cut",
        "cut=fin@N|rst@N|frame@N",
        "end the connection after N tokens; `preamble` and `last` are places too",
    ),
    ("error", "error=sse@N|failed@N", "an error event after N tokens, then the end"),
    (
        "continue",
        "continue=rest|overlap|restart|fresh|refuse",
        "how to go on with an answer that the conversation has the beginning of",
    ),
    ("garbage", "garbage=json|http|sse", "answer with what is not JSON, not HTTP, or no event"),
    ("usage", "usage=none", "leave out every usage"),
    ("cached", "cached=N", "tokens of the prompt reported as cached"),
    ("cache_write", "cache_write=N", "tokens of the prompt reported as written to the cache"),
    ("think", "think=N", "N tokens of thinking before the answer"),
    ("reasoning", "reasoning=N", "tokens of reasoning reported beside those of the answer"),
    ("body", "body=BYTES", "a text of that many bytes (k, m, g for KiB, MiB, GiB), at most 1g"),
    ("tool", "tool=auto|NAME[,NAME]", "answer with calls of these tools"),
    ("ids", "ids=on", "give Gemini's function calls an id"),
    ("auth", "auth=required", "refuse a request without a key"),
    ("reflect", "reflect=headers|body", "answer with what was received"),
];

const MOST_TOKENS: u64 = 1_000_000;
const REFUSALS: &[(&str, Refusal)] = &[
    ("context", Refusal::Context),
    ("policy", Refusal::Policy),
    ("quota", Refusal::Quota),
    ("key", Refusal::Key),
    ("overloaded", Refusal::Overloaded),
];
const CONTINUATIONS: &[(&str, GoOn)] = &[
    ("rest", GoOn::Rest),
    ("overlap", GoOn::Overlap),
    ("restart", GoOn::Restart),
    ("fresh", GoOn::Fresh),
    ("refuse", GoOn::Refuse),
];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    pub(crate) tokens: Option<u64>,
    pub(crate) pace: Option<Duration>,
    pub(crate) first: Option<Duration>,
    pub(crate) head_then: Option<Duration>,
    pub(crate) preamble_then: Option<Duration>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) refuse: Option<Refusal>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) message: Option<String>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) drop: Option<Dropped>,
    pub(crate) stall: Option<Place>,
    pub(crate) cut: Option<(Cut, Place)>,
    pub(crate) error: Option<(ErrorKind, Place)>,
    pub(crate) go_on: Option<GoOn>,
    pub(crate) garbage: Option<Garbage>,
    pub(crate) no_usage: bool,
    pub(crate) cached: Option<u64>,
    pub(crate) cache_write: Option<u64>,
    pub(crate) think: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    pub(crate) body: Option<u64>,
    pub(crate) tools: Option<Vec<String>>,
    pub(crate) ids: bool,
    pub(crate) auth: bool,
    pub(crate) reflect: Option<Reflect>,
}

/// Where in a stream something happens. A whole answer has bytes for tokens and for events, and no preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Right behind the head, before any byte of the body.
    Head,
    /// Behind what comes before the first token: a role, an envelope, an empty block.
    Preamble,
    /// After so many tokens, at least one.
    Tokens(u64),
    /// Before the last event.
    Last,
}

/// Why a provider refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The prompt is too long for the model.
    Context,
    /// The prompt is not allowed.
    Policy,
    /// Nothing is left of what was paid for.
    Quota,
    /// The key is wrong.
    Key,
    /// The provider has too much to do.
    Overloaded,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    Requests,
    Tokens,
}

/// What a provider says is left until its window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) of: Limited,
    pub(crate) left: u64,
    pub(crate) reset: Duration,
}

/// How a connection ends that no head was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Fin,
    Reset,
}

/// How a model goes on with an answer that the conversation has the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// With what is missing.
    Rest,
    /// With the last words once more, and then with what is missing.
    Overlap,
    /// From the start.
    Restart,
    /// With something else.
    Fresh,
    /// Not at all, where the beginning is the last message.
    Refuse,
}

/// How a connection ends before its answer does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// A clean close of TCP.
    Fin,
    /// A reset of TCP.
    Reset,
    /// Half an event, then a clean close.
    Frame,
}

/// Where a dialect has two ways of breaking off a stream, which one it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ErrorKind {
    /// The error alone.
    Plain,
    /// The answer's own end, which says that it failed.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Garbage {
    Json,
    Http,
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reflect {
    Headers,
    Body,
}

/// A directive that says nothing the simulator knows.
#[derive(Debug, PartialEq)]
pub struct BadDirective {
    directive: String,
    problem: String,
}

impl Directives {
    pub fn parse(text: &str) -> Result<Self, BadDirective> {
        let mut directives = Self::default();
        directives.read(text)?;
        Ok(directives)
    }

    /// Reads directives over those already here; a key read later wins over one read before.
    pub(crate) fn read(&mut self, text: &str) -> Result<(), BadDirective> {
        for directive in text.split(';').map(str::trim).filter(|directive| !directive.is_empty()) {
            let bad = |problem: String| BadDirective { directive: shown(directive), problem };
            let (key, value) = directive.split_once('=').ok_or_else(|| bad("it has no value".to_owned()))?;
            let (key, value) = (key.trim(), value.trim());
            let known = DIRECTIVES.iter().find(|(name, ..)| same_key(name, key));
            let (name, ..) = known.ok_or_else(|| bad("there is no such directive".to_owned()))?;
            self.set(name, value).map_err(bad)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "tokens" => self.tokens = Some(number(value, 0, MOST_TOKENS)?),
            "pace" => self.pace = Some(duration(value)?),
            "first" => self.first = Some(duration(value)?),
            "head_then" => self.head_then = Some(duration(value)?),
            "preamble_then" => self.preamble_then = Some(duration(value)?),
            "status" => self.status = Some(status(value)?),
            "refuse" => self.refuse = Some(one_of(value, REFUSALS)?),
            "retry-after" => self.retry_after = Some(number(value, 0, u64::from(u32::MAX))?),
            "message" => self.message = Some(value.to_owned()),
            "limit" => self.limits = limits(value)?,
            "drop" => self.drop = Some(one_of(value, &[("fin", Dropped::Fin), ("rst", Dropped::Reset)])?),
            "continue" => self.go_on = Some(one_of(value, CONTINUATIONS)?),
            "stall" => self.stall = Some(place(value)?),
            "cut" => {
                let kinds = [("fin", Cut::Fin), ("rst", Cut::Reset), ("frame", Cut::Frame)];
                let (name, after) = value::placed(value)?;
                self.cut = Some((one_of(name, &kinds)?, after));
            }
            "error" => {
                let (name, after) = value::placed(value)?;
                // It would be numbered as the event behind the one that it stands for.
                if after == Place::Last {
                    return Err("an error has no place `last`".to_owned());
                }
                let kinds = [("sse", ErrorKind::Plain), ("failed", ErrorKind::Failed)];
                self.error = Some((one_of(name, &kinds)?, after));
            }
            "garbage" => {
                let kinds = [("json", Garbage::Json), ("http", Garbage::Http), ("sse", Garbage::Events)];
                self.garbage = Some(one_of(value, &kinds)?);
            }
            "usage" => self.no_usage = one_of(value, &[("none", true)])?,
            "cached" => self.cached = Some(number(value, 0, MOST_TOKENS)?),
            "cache_write" => self.cache_write = Some(number(value, 0, MOST_TOKENS)?),
            "think" => self.think = Some(number(value, 0, MOST_TOKENS)?),
            "ids" => self.ids = one_of(value, &[("on", true)])?,
            "auth" => self.auth = one_of(value, &[("required", true)])?,
            "reasoning" => self.reasoning = Some(number(value, 0, MOST_TOKENS)?),
            "body" => self.body = Some(size(value)?),
            "tool" => self.tools = Some(names(value)?),
            "reflect" => {
                self.reflect =
                    Some(one_of(value, &[("headers", Reflect::Headers), ("body", Reflect::Body)])?);
            }
            _ => return Err("there is no such directive".to_owned()),
        }
        Ok(())
    }
}

/// `retry-after` and `retry_after` are one key: nobody should have to remember which.
fn same_key(name: &str, key: &str) -> bool {
    let fold = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    name.len() == key.len() && name.bytes().map(fold).eq(key.bytes().map(fold))
}

/// A directive as the error shows it: enough to find it by, however long it was.
fn shown(directive: &str) -> String {
    directive.chars().take(80).collect()
}

impl fmt::Display for BadDirective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The directive {:?} cannot be followed: {}. The directives are: ",
            self.directive, self.problem
        )?;
        for (index, (_, form, _)) in DIRECTIVES.iter().enumerate() {
            write!(f, "{}{form}", if index == 0 { "" } else { "; " })?;
        }
        f.write_str(".")
    }
}

impl std::error::Error for BadDirective {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_directive_is_read() {
        let text = "tokens=5;pace=20ms;first=1.5s;head_then=2m;preamble_then=3ms;status=503;\
            refuse=quota;limit=requests:3/1.5s, tokens:0/2m;drop=rst;continue=overlap;retry-after=2;message=busy now;stall=3;\
            cut=rst@4;error=sse@preamble;garbage=sse;usage=none;cached=7;cache_write=6;\
            think=9;ids=on;auth=required;reasoning=8;body=64k;tool=a,b;reflect=body";
        let expected = Directives {
            tokens: Some(5),
            pace: Some(Duration::from_millis(20)),
            first: Some(Duration::from_millis(1500)),
            head_then: Some(Duration::from_secs(120)),
            preamble_then: Some(Duration::from_millis(3)),
            status: Some(StatusCode::SERVICE_UNAVAILABLE),
            refuse: Some(Refusal::Quota),
            retry_after: Some(2),
            message: Some("busy now".to_owned()),
            limits: vec![
                Limit { of: Limited::Requests, left: 3, reset: Duration::from_millis(1500) },
                Limit { of: Limited::Tokens, left: 0, reset: Duration::from_secs(120) },
            ],
            drop: Some(Dropped::Reset),
            stall: Some(Place::Tokens(3)),
            cut: Some((Cut::Reset, Place::Tokens(4))),
            error: Some((ErrorKind::Plain, Place::Preamble)),
            go_on: Some(GoOn::Overlap),
            garbage: Some(Garbage::Events),
            no_usage: true,
            cached: Some(7),
            cache_write: Some(6),
            think: Some(9),
            reasoning: Some(8),
            body: Some(64 << 10),
            tools: Some(vec!["a".to_owned(), "b".to_owned()]),
            ids: true,
            auth: true,
            reflect: Some(Reflect::Body),
        };
        assert_eq!(Directives::parse(text), Ok(expected));
        for (key, ..) in DIRECTIVES {
            assert!(text.contains(&format!("{key}=")), "{key} is not in this test");
        }
    }

    #[test]
    fn a_later_key_wins_and_spelling_is_lenient() {
        let directives =
            Directives::parse(" Retry_After = 1 ;; head-then=5ms; retry-after=9;").expect("valid");
        assert_eq!(directives.retry_after, Some(9));
        assert_eq!(directives.head_then, Some(Duration::from_millis(5)));
    }

    #[test]
    fn what_is_wrong_is_named_and_what_is_right_is_listed() {
        for wrong in [
            "tokens",
            "tokens=",
            "tokens=+1",
            "tokens=-1",
            "tokens=1000001",
            "pace=20",
            "pace=ms",
            "pace=1.2.3s",
            "pace=11m",
            "pace=NaNs",
            "status=200",
            "status=600",
            "cut=fin@",
            "cut=fin@x",
            "cut=bad@1",
            "cut=",
            "error=json@1",
            "stall=half",
            "refuse=me",
            "drop=it",
            "continue=on",
            "limit=",
            "limit=requests:1",
            "limit=calls:1/1s",
            "limit=tokens:x/1s",
            "limit=tokens:1/1",
            "garbage=xml",
            "usage=some",
            "body=2g",
            "body=1gg",
            "body=k",
            "tool=",
            "tool=a,",
            "reflect=all",
            "=",
            "=1",
            "pcae=1ms",
        ] {
            let message = Directives::parse(wrong).expect_err(wrong).to_string();
            assert!(message.contains(&format!("{wrong:?}")), "{message}");
            for (_, form, _) in DIRECTIVES {
                assert!(message.contains(form), "{message}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = Directives::parse(&text);
        }

        #[test]
        fn no_value_makes_a_directive_panic(at in 0..DIRECTIVES.len(), value in "[0-9a-z@.,+-]{0,24}|\\PC{0,12}") {
            let _ = Directives::parse(&format!("{}={value}", DIRECTIVES[at].0));
        }
    }
}
