//! Writes `ConverseStream`'s events, as binary frames.

use serde::Serialize;

use super::citation;
use super::error;
use super::reasoning;
use super::stop;
use super::usage::Written;
use crate::conversation::{Block, Delta, Event, Failure, Finish};
use crate::dialect::Context;
use crate::eventstream::{self, Template};
use crate::json::Json;
use crate::signature::Family;
use crate::usage::Usage;

/// Blocks keep the numbers that their events have.
#[derive(Debug)]
pub struct StreamEncoder {
    delta: Template,
    open: Vec<Open>,
    begun: bool,
    over: bool,
    losses: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    index: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Of a text or a thought nothing was written yet: only calls have an event for their beginning, so a client would
    /// not know the block at its end.
    Silent,
    Begun,
    Call,
    /// A call whose free text becomes the one text of an object.
    CustomCall,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Numbered<T> {
    content_block_index: u32,
    delta: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Change<'a> {
    Text(&'a str),
    ToolUse { input: &'a str },
    ReasoningContent(Reasoning<'a>),
    Citation(Json<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Reasoning<'a> {
    Text(&'a str),
    Signature(&'a str),
    RedactedContent(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    usage: Written,
    metrics: Metrics,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    /// Clients demand the number, and only Bedrock knows it.
    latency_ms: u64,
}

fn template(name: &str) -> Template {
    Template::new(&[(":event-type", name), (":content-type", "application/json"), (":message-type", "event")])
}

fn frame(template: &Template, value: &impl Serialize, out: &mut Vec<u8>) {
    template.write(out, |out| {
        // Writing to memory cannot fail, and nothing here has keys that are not strings.
        let _: Result<(), serde_json::Error> = serde_json::to_writer(out, value);
    });
}

impl StreamEncoder {
    pub fn new(_context: Context) -> StreamEncoder {
        StreamEncoder {
            delta: template("contentBlockDelta"),
            open: Vec::new(),
            begun: false,
            over: false,
            losses: Vec::new(),
        }
    }

    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Delta { index, delta } => self.delta(*index, delta, out),
            Event::Begin { .. } => self.begin(out),
            Event::BlockBegin { index, block } => self.block_begin(*index, block, out),
            Event::BlockEnd { index } => {
                if let Some(position) = self.open.iter().rposition(|open| open.index == *index) {
                    let open = self.open.remove(position);
                    self.close(open, out);
                }
            }
            Event::Finish { finish, usage } => self.finish(finish, *usage, out),
            Event::Ping => {}
            Event::Failed(failure) => self.failed(failure, out),
        }
    }

    /// Converse's last words are those of `Finish`.
    #[allow(clippy::unused_self, clippy::ptr_arg)] // The signature is every dialect's.
    pub fn end(&mut self, _out: &mut Vec<u8>) {}

    pub fn losses(&self) -> &[&'static str] {
        &self.losses
    }

    fn lose(&mut self, what: &'static str) {
        if !self.losses.contains(&what) {
            self.losses.push(what);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.begun {
            self.begun = true;
            frame(&template("messageStart"), &crate::object! { "role" => "assistant" }, out);
        }
    }

    fn write(&self, index: u32, change: Change<'_>, out: &mut Vec<u8>) {
        frame(&self.delta, &Numbered { content_block_index: index, delta: change }, out);
    }

    fn block_begin(&mut self, index: u32, block: &Block<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        if self.open.iter().any(|open| open.index == index) {
            return;
        }
        let kind = match block {
            Block::Text | Block::Refusal | Block::Thought { .. } => Kind::Silent,
            Block::RedactedThought(signature) => {
                let written = signature.write(Family::Anthropic);
                let data = reasoning::redacted_content(&written);
                self.write(index, Change::ReasoningContent(Reasoning::RedactedContent(&data)), out);
                Kind::Begun
            }
            Block::ToolCall { id, name, custom, signature } => {
                if signature.is_some() {
                    self.lose("signatures");
                }
                let start = crate::object! {
                    "contentBlockIndex" => u64::from(index),
                    "start" => crate::object! {
                        "toolUse" => crate::object! { "toolUseId" => id, "name" => name }
                    },
                };
                frame(&template("contentBlockStart"), &start, out);
                if *custom {
                    self.write(index, Change::ToolUse { input: "{\"input\":\"" }, out);
                    Kind::CustomCall
                } else {
                    Kind::Call
                }
            }
        };
        self.open.push(Open { index, kind });
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.open.iter_mut().rev().find(|open| open.index == index) else { return };
        let is_call = matches!(open.kind, Kind::Call | Kind::CustomCall);
        let (signature, escaped);
        let change = match delta {
            Delta::Arguments(text) if open.kind == Kind::CustomCall => {
                let quoted = Json::String(text.as_ref().into()).to_text();
                escaped = quoted;
                Change::ToolUse { input: escaped.get(1..escaped.len().saturating_sub(1)).unwrap_or_default() }
            }
            Delta::Arguments(text) if is_call => Change::ToolUse { input: text },
            Delta::Signature(_) if is_call => return self.lose("signatures"),
            Delta::Logprobs(_) => return self.lose("logprobs"),
            // A call has nothing but arguments, and nothing else has them.
            Delta::Arguments(_) => return,
            _ if is_call => return,
            Delta::Text(text) | Delta::Refusal(text) => Change::Text(text),
            Delta::Thought(text) => Change::ReasoningContent(Reasoning::Text(text)),
            Delta::Citation(citation) => Change::Citation(citation::encode(citation)),
            Delta::Signature(given) => {
                signature = given.write(Family::Anthropic);
                Change::ReasoningContent(Reasoning::Signature(&signature))
            }
        };
        if open.kind == Kind::Silent {
            open.kind = Kind::Begun;
        }
        self.write(index, change, out);
    }

    fn close(&self, open: Open, out: &mut Vec<u8>) {
        match open.kind {
            Kind::Silent => self.write(open.index, Change::Text(""), out),
            Kind::CustomCall => self.write(open.index, Change::ToolUse { input: "\"}" }, out),
            Kind::Begun | Kind::Call => {}
        }
        let stop = crate::object! { "contentBlockIndex" => u64::from(open.index) };
        frame(&template("contentBlockStop"), &stop, out);
    }

    fn finish(&mut self, finish: &Finish<'_>, usage: Option<Usage>, out: &mut Vec<u8>) {
        self.begin(out);
        for open in std::mem::take(&mut self.open) {
            self.close(open, out);
        }
        let mut stop = crate::json::Fields::new();
        stop.put("stopReason", stop::encode(finish));
        if let Some(sequence) = stop::sequence(finish) {
            stop.put("additionalModelResponseFields", crate::object! { "stop_sequence" => sequence });
        }
        frame(&template("messageStop"), &Json::from(stop), out);
        // Counts that nobody knows are not written: a zero would be taken for one.
        if let Some(usage) = usage {
            let metadata = Metadata { usage: usage.into(), metrics: Metrics { latency_ms: 0 } };
            frame(&template("metadata"), &metadata, out);
        }
        self.over = true;
    }

    fn failed(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.over = true;
        let body = crate::object! { "message" => &failure.message }.to_vec();
        out.extend(eventstream::encode(
            &[
                (":exception-type", error::stream_exception(failure.kind)),
                (":content-type", "application/json"),
                (":message-type", "exception"),
            ],
            &body,
        ));
    }
}
