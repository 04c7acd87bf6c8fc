//! What the simulator says: the words or the calls, before anybody thinks of bytes.

use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::arguments;
use crate::directives::{Directives, Reflect};
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::request::ChatRequest;
use crate::script::Says;
use crate::tokens;

#[derive(Clone, Debug)]
pub struct Answer {
    pub speech: Speech,
    pub finish: &'static str,
    pub tokens: u64,
}

#[derive(Clone, Debug)]
pub enum Speech {
    Text(String),
    Calls(Vec<Call>),
    /// So many bytes of `FILLER`, made as they are sent.
    Filler(u64),
}

#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

/// What a huge text consists of: a word and a blank, which is one token.
pub const FILLER: &str = "sim ";

/// A chat request with everything that decides its answer.
pub struct Question<'a> {
    pub name: &'a str,
    pub request: &'a ChatRequest<'a>,
    pub directives: &'a Directives,
    pub says: Option<&'a Says>,
    pub head: &'a Parts,
    pub body: &'a [u8],
    pub fingerprint: Fingerprint,
}

impl Question<'_> {
    pub fn answer(&self) -> Result<Answer, Failure> {
        if let Some(bytes) = self.directives.body {
            let tokens = bytes.div_ceil(FILLER.len() as u64);
            return Ok(Answer { speech: Speech::Filler(bytes), finish: "stop", tokens });
        }
        if let Some(reflect) = self.directives.reflect {
            return Ok(said(self.reflection(reflect), "stop"));
        }
        if let Some(says) = self.says {
            return Ok(match says {
                Says::Text(text) => self.shaped(text),
                Says::Calls(calls) => self.called(calls.clone()),
            });
        }
        if let Some(names) = self.tools()? {
            // An agent's second turn: the result is in, so the model speaks instead of calling again.
            return match self.request.last().filter(|last| last.role == "tool") {
                Some(result) => Ok(self.shaped(&format!("The tool answered: {}", result.content.0))),
                None => Ok(self.called(names.into_iter().map(|name| self.with_arguments(name)).collect())),
            };
        }
        if self.name == "echo" {
            return Ok(self.shaped(self.request.question()));
        }
        Ok(self.shaped(&canned(self.name)))
    }

    /// The names of the tools to call, by directive or else by the request's own `tool_choice`.
    fn tools(&self) -> Result<Option<Vec<String>>, Failure> {
        let first_offered = |field: &'static str| match self.offered().into_iter().next() {
            Some(tool) => Ok(Some(vec![tool.name])),
            None => {
                Err(Failure::request(Some(field), "A tool is to be called, but the request offers none."))
            }
        };
        if let Some(names) = &self.directives.tools {
            if names.len() == 1 && names[0] == "auto" {
                return first_offered("tools");
            }
            let most = if self.request.parallel_tool_calls == Some(false) { 1 } else { names.len() };
            return Ok(Some(names[..most].to_vec()));
        }
        let Some(choice) = self.request.tool_choice else { return Ok(None) };
        match serde_json::from_str::<Choice>(choice.get()) {
            Ok(Choice::Word(word)) if word == "required" => first_offered("tool_choice"),
            Ok(Choice::Tool { function }) => Ok(Some(vec![function.name])),
            _ => Ok(None),
        }
    }

    fn offered(&self) -> Vec<Function> {
        let tools = self.request.tools.iter().flatten();
        let function = |raw: &&serde_json::value::RawValue| serde_json::from_str::<Tool>(raw.get()).ok();
        tools.filter_map(function).map(|tool| tool.function).collect()
    }

    fn with_arguments(&self, name: String) -> (String, String) {
        let question = self.request.question();
        let from_question = question.trim_start().starts_with('{')
            && serde_json::from_str::<serde::de::IgnoredAny>(question).is_ok();
        let arguments = if from_question {
            question.to_owned()
        } else {
            let offered = self.offered().into_iter().find(|tool| tool.name == name);
            offered
                .map_or_else(|| "{}".to_owned(), |tool| arguments::from_schema(&tool.parameters).to_string())
        };
        (name, arguments)
    }

    fn called(&self, calls: Vec<(String, String)>) -> Answer {
        let mut total = 0;
        let call = |(index, (name, arguments)): (u64, (String, String))| {
            total += tokens::count(&name) + tokens::count(&arguments);
            Call { id: format!("call_{:016x}", self.fingerprint.draw(index)), name, arguments }
        };
        let calls = (0..).zip(calls).map(call).collect();
        Answer { speech: Speech::Calls(calls), finish: "tool_calls", tokens: total }
    }

    /// A text, brought to the length and to the end that were asked for.
    fn shaped(&self, text: &str) -> Answer {
        let mut text = match self.directives.tokens {
            Some(wanted) if text.trim().is_empty() => tokens::stretch(&canned(self.name), wanted),
            Some(wanted) => tokens::stretch(text, wanted),
            None => text.to_owned(),
        };
        let stops = self.request.stops().iter().filter(|stop| !stop.is_empty());
        if let Some(end) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
            text.truncate(end);
        }
        let mut finish = "stop";
        if let Some(limit) = self.request.limit() {
            let end = tokens::cut(&text, limit).0.len();
            if end < text.len() {
                finish = "length";
                text.truncate(end);
            }
        }
        said(text, finish)
    }

    /// Secrets and all: this is how tests see what was sent.
    fn reflection(&self, reflect: Reflect) -> String {
        match reflect {
            Reflect::Body => String::from_utf8_lossy(self.body).into_owned(),
            Reflect::Headers => {
                let headers: Vec<[String; 2]> = self
                    .head
                    .headers
                    .iter()
                    .map(|(name, value)| {
                        [name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()]
                    })
                    .collect();
                json!({
                    "method": self.head.method.as_str(),
                    "target": self.head.uri.to_string(),
                    "version": format!("{:?}", self.head.version),
                    "headers": headers,
                })
                .to_string()
            }
        }
    }
}

fn said(text: String, finish: &'static str) -> Answer {
    let tokens = tokens::count(&text);
    Answer { speech: Speech::Text(text), finish, tokens }
}

fn canned(name: &str) -> String {
    format!("A meseta is a high plain. This is the simulated model {name}, and it always says the same.")
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Word(String),
    Tool { function: Function },
}

#[derive(Deserialize)]
struct Tool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Value,
}
