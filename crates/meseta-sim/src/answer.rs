//! What the simulator says: words, thoughts and calls, before anybody thinks of a dialect or of bytes.

use http::request::Parts;
use serde_json::{Value, json};

use crate::arguments;
use crate::base64;
use crate::directives::{Directives, GoOn, Reflect};
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::prompt::{Ask, Begun, Choice};
use crate::script::{Rule, Says, ScriptedBlock};
use crate::tokens;
use crate::usage::ScriptedUsage;

/// An answer is a list of blocks in the order in which they are said.
#[derive(Clone, Debug)]
pub struct Answer {
    pub blocks: Vec<Block>,
    pub finish: Finish,
    /// The stop sequence that was met.
    pub stop: Option<String>,
    /// Tokens of all blocks but thinking, and those of thinking.
    pub tokens: u64,
    pub thinking: u64,
    pub usage: Option<ScriptedUsage>,
    pub logprobs: bool,
}

#[derive(Clone, Debug)]
pub enum Block {
    Text(String),
    /// So many bytes of `FILLER`, made as they are sent.
    Filler(u64),
    Thinking(Thinking),
    Call(Call),
    Refusal(String),
}

#[derive(Clone, Debug)]
pub struct Thinking {
    pub text: String,
    /// Base64, as every provider's is.
    pub signature: String,
    /// The text is only known to the provider; clients get it sealed.
    pub redacted: bool,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub id: Id,
    pub name: String,
    pub arguments: String,
}

/// A call's identifier: one given by a script, or a number that each dialect writes in its own way.
#[derive(Clone, Debug)]
pub enum Id {
    Given(String),
    Drawn(u64),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    StopSequence,
    Refusal,
}

/// What a huge text consists of: a word and a blank, which is one token.
pub const FILLER: &str = "sim ";

const THOUGHT: &str = "Let me look at this from one side and then from the other before I answer.";

/// A request with everything that decides its answer.
pub struct Question<'a> {
    pub name: &'a str,
    pub ask: &'a dyn Ask,
    pub directives: &'a Directives,
    pub rule: Option<&'a Rule>,
    pub head: &'a Parts,
    pub body: &'a [u8],
    pub fingerprint: Fingerprint,
}

impl Thinking {
    /// What a client gets of thoughts that it may not read.
    pub fn sealed(&self) -> String {
        base64::encoded(self.text.as_bytes())
    }
}

impl Id {
    pub fn written(&self, prefix: &str) -> String {
        match self {
            Self::Given(id) => id.clone(),
            Self::Drawn(number) => format!("{prefix}{number:016x}"),
        }
    }
}

impl Call {
    /// The arguments as the object that most dialects want. What is no object is shown in one, as it is.
    pub fn object(&self) -> Value {
        match serde_json::from_str(&self.arguments) {
            Ok(Value::Object(object)) => Value::Object(object),
            _ => json!({"INVALID_JSON": self.arguments}),
        }
    }
}

impl Answer {
    fn of(blocks: Vec<Block>, finish: Finish) -> Self {
        let tokens = blocks.iter().map(Block::tokens).sum();
        Self { blocks, finish, stop: None, tokens, thinking: 0, usage: None, logprobs: false }
    }

    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.blocks.iter().filter_map(|block| if let Block::Call(call) = block { Some(call) } else { None })
    }

    pub fn thoughts(&self) -> impl Iterator<Item = &Thinking> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Thinking(thinking) => Some(thinking),
            _ => None,
        })
    }

    /// Some providers send no block for an empty text.
    pub fn drop_empty_texts(&mut self) {
        self.blocks
            .retain(|block| !matches!(block, Block::Text(text) | Block::Refusal(text) if text.is_empty()));
    }
}

impl Block {
    fn tokens(&self) -> u64 {
        match self {
            Self::Text(text) | Self::Refusal(text) => tokens::count(text),
            Self::Filler(bytes) => bytes.div_ceil(FILLER.len() as u64),
            Self::Thinking(_) => 0,
            Self::Call(call) => tokens::count(&call.name) + tokens::count(&call.arguments),
        }
    }
}

impl Question<'_> {
    pub fn answer(&self) -> Result<Answer, Failure> {
        if self.directives.go_on == Some(GoOn::Refuse) && self.ask.begun().is_some_and(|begun| begun.last) {
            let message = "This model does not support assistant message prefill. The conversation must end with a \
                           user message.";
            return Err(Failure::request(Some("messages"), message));
        }
        let mut answer = self.said()?;
        if let Some(wanted) = self.directives.think {
            let text = tokens::stretch(THOUGHT, wanted);
            let thinking = Thinking { text, signature: self.signature(0), redacted: false };
            answer.blocks.insert(0, Block::Thinking(thinking));
        }
        answer.thinking = answer.thoughts().map(|thinking| tokens::count(&thinking.text)).sum();
        answer.logprobs = self.ask.logprobs();
        if let Some(rule) = self.rule {
            answer.finish = rule.finish.unwrap_or(answer.finish);
            answer.usage = rule.usage;
            answer.logprobs |= rule.logprobs;
        }
        if answer.finish == Finish::StopSequence && answer.stop.is_none() {
            answer.stop = self.ask.stops().first().cloned();
        }
        Ok(answer)
    }

    fn said(&self) -> Result<Answer, Failure> {
        if let Some(bytes) = self.directives.body {
            return Ok(Answer::of(vec![Block::Filler(bytes)], Finish::Stop));
        }
        if let Some(reflect) = self.directives.reflect {
            return Ok(Answer::of(vec![Block::Text(self.reflection(reflect))], Finish::Stop));
        }
        if let Some(says) = self.rule.and_then(|rule| rule.says.as_ref()) {
            return Ok(match says {
                Says::Text(text) => self.shaped(text),
                Says::Calls(calls) => self.called(calls.clone()),
                Says::Content(blocks) => self.scripted(blocks),
            });
        }
        if let Some(names) = self.tools()? {
            // An agent's second turn: the result is in, so the model speaks instead of calling again.
            return match self.ask.result() {
                Some(result) => Ok(self.shaped(&format!("The tool answered: {result}"))),
                None => Ok(self.called(names.into_iter().map(|name| self.with_arguments(name)).collect())),
            };
        }
        if self.name == "echo" {
            let question = self.begun().map_or(self.ask.question(), |begun| begun.asked);
            return Ok(self.shaped(question));
        }
        Ok(self.shaped(&canned(self.name)))
    }

    /// The names of the tools to call, by directive or else by the request's own choice.
    fn tools(&self) -> Result<Option<Vec<String>>, Failure> {
        let first_offered = |field: &'static str| match self.ask.tools().into_iter().next() {
            Some(tool) => Ok(Some(vec![tool.name])),
            None => {
                Err(Failure::request(Some(field), "A tool is to be called, but the request offers none."))
            }
        };
        if let Some(names) = &self.directives.tools {
            if names.len() == 1 && names[0] == "auto" {
                return first_offered("tools");
            }
            let most = if self.ask.parallel() { names.len() } else { 1 };
            return Ok(Some(names[..most].to_vec()));
        }
        match self.ask.choice() {
            Choice::Free => Ok(None),
            Choice::Required => first_offered("tool_choice"),
            Choice::Named(name) => Ok(Some(vec![name])),
        }
    }

    fn with_arguments(&self, name: String) -> (String, String) {
        let question = self.ask.question();
        let from_question = question.trim_start().starts_with('{')
            && serde_json::from_str::<serde::de::IgnoredAny>(question).is_ok();
        let arguments = if from_question {
            question.to_owned()
        } else {
            let offered = self.ask.tools().into_iter().find(|tool| tool.name == name);
            offered
                .map_or_else(|| "{}".to_owned(), |tool| arguments::from_schema(&tool.parameters).to_string())
        };
        (name, arguments)
    }

    fn called(&self, calls: Vec<(String, String)>) -> Answer {
        let call = |(index, (name, arguments))| {
            Block::Call(Call { id: Id::Drawn(self.fingerprint.draw(index)), name, arguments })
        };
        Answer::of((0..).zip(calls).map(call).collect(), Finish::ToolCalls)
    }

    /// Blocks are said as they are written: no limit and no stop shortens them.
    fn scripted(&self, blocks: &[ScriptedBlock]) -> Answer {
        let block = |(index, block): (u64, &ScriptedBlock)| match block.clone() {
            ScriptedBlock::Text(text) => Block::Text(text),
            ScriptedBlock::Refusal(text) => Block::Refusal(text),
            ScriptedBlock::Thinking { text, signature, redacted } => {
                let signature = signature.unwrap_or_else(|| self.signature(index));
                Block::Thinking(Thinking { text, signature, redacted })
            }
            ScriptedBlock::Call { name, arguments, id } => {
                let id = id.map_or_else(|| Id::Drawn(self.fingerprint.draw(index)), Id::Given);
                Block::Call(Call { id, name, arguments })
            }
        };
        let blocks: Vec<Block> = (0..).zip(blocks).map(block).collect();
        let finish = if blocks.iter().any(|block| matches!(block, Block::Call(_))) {
            Finish::ToolCalls
        } else if blocks.iter().any(|block| matches!(block, Block::Refusal(_))) {
            Finish::Refusal
        } else {
            Finish::Stop
        };
        Answer::of(blocks, finish)
    }

    fn signature(&self, index: u64) -> String {
        base64::encoded(format!("signature {:016x}", self.fingerprint.draw(index)).as_bytes())
    }

    /// The beginning of this answer, if it is to be gone on with.
    fn begun(&self) -> Option<Begun<'_>> {
        self.directives.go_on.and_then(|_| self.ask.begun())
    }

    /// A text, brought to the length and to the end that were asked for.
    fn shaped(&self, text: &str) -> Answer {
        let mut text = match self.directives.tokens {
            Some(wanted) if text.trim().is_empty() => tokens::stretch(&canned(self.name), wanted),
            Some(wanted) => tokens::stretch(text, wanted),
            None => text.to_owned(),
        };
        if let Some((mode, begun)) = self.directives.go_on.zip(self.begun())
            && let Some(rest) = text.strip_prefix(begun.text)
        {
            text = gone_on(mode, begun.text, rest, self.name);
        }
        let (mut finish, mut met) = (Finish::Stop, None);
        let stops = self.ask.stops().iter().filter(|stop| !stop.is_empty());
        if let Some((end, stop)) = stops.filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min() {
            text.truncate(end);
            (finish, met) = (Finish::StopSequence, Some(stop.clone()));
        }
        if let Some(limit) = self.ask.limit() {
            let end = tokens::cut(&text, limit).0.len();
            if end < text.len() {
                (finish, met) = (Finish::Length, None);
                text.truncate(end);
            }
        }
        Answer { stop: met, ..Answer::of(vec![Block::Text(text)], finish) }
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

/// How many tokens an overlap says once more.
const OVERLAP: u64 = 4;

/// What a model says to the beginning of an answer, of which `rest` is missing.
fn gone_on(mode: GoOn, begun: &str, rest: &str, name: &str) -> String {
    match mode {
        GoOn::Rest | GoOn::Refuse => rest.to_owned(),
        GoOn::Overlap => {
            let before = tokens::cut(begun, tokens::count(begun).saturating_sub(OVERLAP)).0;
            let end = begun.get(before.len()..).unwrap_or_default();
            format!("{end}{rest}")
        }
        GoOn::Restart => format!("{begun}{rest}"),
        GoOn::Fresh => format!("Something else: {}", canned(name)),
    }
}

fn canned(name: &str) -> String {
    format!("A meseta is a high plain. This is the simulated model {name}, and it always says the same.")
}
