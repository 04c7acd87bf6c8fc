//! The bytes of a chat completion, whole and in chunks, field for field as `OpenAI` orders them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, FILLER, Speech};
use crate::fingerprint::Fingerprint;
use crate::stream::{Event, Piece};
use crate::tokens;

/// The time at which every answer was made, so that answers differ in nothing but what they say.
pub const CREATED: u64 = 1_735_689_600;

/// Text of a huge answer in one event.
const FILLER_PER_EVENT: u64 = 16 << 10;

/// An answer with what its envelope says.
pub struct Completion<'a> {
    pub fingerprint: Fingerprint,
    pub model: &'a str,
    pub choices: u64,
    pub answer: Answer,
    pub usage: Option<Usage>,
}

#[derive(Clone, Copy)]
pub struct Usage {
    pub prompt: u64,
    pub cached: u64,
    /// Tokens of all choices together, and those of reasoning.
    pub completion: u64,
    pub reasoning: u64,
}

impl Completion<'_> {
    pub fn whole(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut out = Vec::with_capacity(768);
        self.begin(&mut out, "chat.completion");
        for index in 0..self.choices {
            let comma = if index == 0 { "" } else { "," };
            push(&mut out, &format!(r#"{comma}{{"index":{index},"message":{{"role":"assistant","content":"#));
            match &self.answer.speech {
                Speech::Text(text) => write_json(&mut out, text),
                Speech::Filler(bytes) => {
                    out.push(b'"');
                    pieces.push(Piece::Ready(Bytes::from(std::mem::take(&mut out))));
                    pieces.push(Piece::Filler(*bytes));
                    out.push(b'"');
                }
                Speech::Calls(calls) => {
                    push(&mut out, r#"null,"tool_calls":"#);
                    let calls: Vec<_> = calls
                        .iter()
                        .map(|call| {
                            let function = json!({"name": call.name, "arguments": call.arguments});
                            json!({"id": call.id, "type": "function", "function": function})
                        })
                        .collect();
                    write_json(&mut out, &calls);
                }
            }
            push(&mut out, r#","refusal":null},"logprobs":null,"finish_reason":""#);
            push(&mut out, self.answer.finish);
            push(&mut out, r#""}"#);
        }
        out.push(b']');
        if let Some(usage) = self.usage {
            push(&mut out, r#","usage":"#);
            usage.write(&mut out);
        }
        out.push(b'}');
        pieces.push(Piece::Ready(Bytes::from(out)));
        pieces
    }

    /// The events of a streamed answer. With `report_usage`, every chunk has a usage and the last one's counts.
    pub fn chunks(self, report_usage: bool) -> impl Iterator<Item = Event> + Send + 'static {
        let mut head = b"data: ".to_vec();
        self.begin(&mut head, "chat.completion.chunk");
        let reported = self.usage.filter(|_| report_usage);
        let tail = if reported.is_some() { "],\"usage\":null}\n\n" } else { "]}\n\n" };
        let last = reported.map(|usage| {
            let mut out = head.clone();
            push(&mut out, r#"],"usage":"#);
            usage.write(&mut out);
            push(&mut out, "}\n\n");
            Event { bytes: Bytes::from(out), tokens: 0 }
        });
        let done = Event { bytes: Bytes::from_static(b"data: [DONE]\n\n"), tokens: 0 };
        let frame = Frame { head, tail };
        let chunks =
            Chunks { frame, choices: self.choices, answer: self.answer, turn: 0, at: Place::default() };
        chunks.chain(last).chain(std::iter::once(done))
    }

    fn begin(&self, out: &mut Vec<u8>, object: &str) {
        let id = self.fingerprint.hex();
        push(out, &format!(r#"{{"id":"chatcmpl-{id}","object":"{object}","created":{CREATED},"model":"#));
        write_json(out, self.model);
        push(out, r#","system_fingerprint":"fp_meseta_sim","choices":["#);
    }
}

impl Usage {
    fn write(self, out: &mut Vec<u8>) {
        let Self { prompt, cached, completion, reasoning } = self;
        let total = prompt + completion;
        push(
            out,
            &format!(
                r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached}}},"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}"#
            ),
        );
    }
}

/// What is the same in every chunk of a stream.
struct Frame {
    head: Vec<u8>,
    tail: &'static str,
}

impl Frame {
    fn event(&self, index: u64, delta: &[u8], finish: Option<&str>, tokens: u64) -> Event {
        let mut out = Vec::with_capacity(self.head.len() + delta.len() + 96);
        out.extend_from_slice(&self.head);
        push(&mut out, &format!(r#"{{"index":{index},"delta":"#));
        out.extend_from_slice(delta);
        push(&mut out, r#","logprobs":null,"finish_reason":"#);
        write_json(&mut out, &finish);
        out.push(b'}');
        push(&mut out, self.tail);
        Event { bytes: Bytes::from(out), tokens }
    }
}

/// All choices say the same, in step: each step of the answer is sent once per choice.
struct Chunks {
    frame: Frame,
    choices: u64,
    answer: Answer,
    /// The choice whose turn it is to make the current step.
    turn: u64,
    at: Place,
}

/// How far the answer has been told.
#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Role,
    /// Byte `byte` of the text, of the filler, or of the arguments of call `call`; `begun` if the call's name is out.
    Inside {
        call: usize,
        begun: bool,
        byte: usize,
    },
    Over,
}

impl Iterator for Chunks {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if matches!(self.at, Place::Over) {
            return None;
        }
        let (event, after) = self.step();
        self.turn += 1;
        if self.turn == self.choices {
            self.turn = 0;
            self.at = after;
        }
        Some(event)
    }
}

impl Chunks {
    /// The event of the choice whose turn it is, and the place behind this step.
    fn step(&self) -> (Event, Place) {
        let Place::Inside { call, begun, byte } = self.at else {
            let content = if matches!(self.answer.speech, Speech::Calls(_)) { "null" } else { r#""""# };
            let delta = format!(r#"{{"role":"assistant","content":{content},"refusal":null}}"#);
            let inside = Place::Inside { call: 0, begun: false, byte: 0 };
            return (self.frame.event(self.turn, delta.as_bytes(), None, 0), inside);
        };
        let mut delta = Vec::with_capacity(64);
        let (tokens, after) = match &self.answer.speech {
            Speech::Text(text) if byte < text.len() => {
                let token = &text[byte..][..tokens::first(&text[byte..])];
                push(&mut delta, r#"{"content":"#);
                write_json(&mut delta, token);
                (1, Place::Inside { call, begun, byte: byte + token.len() })
            }
            Speech::Filler(bytes) if (byte as u64) < *bytes => {
                let length = (*bytes - byte as u64).min(FILLER_PER_EVENT);
                push(&mut delta, r#"{"content":""#);
                crate::stream::filler(length).for_each(|part| delta.extend_from_slice(&part));
                delta.push(b'"');
                let length_in_memory = usize::try_from(length).unwrap_or(usize::MAX);
                (
                    length.div_ceil(FILLER.len() as u64),
                    Place::Inside { call, begun, byte: byte + length_in_memory },
                )
            }
            Speech::Calls(calls) if call < calls.len() => {
                let now = &calls[call];
                let rest = &now.arguments[byte..];
                if begun {
                    let token = &rest[..tokens::first(rest)];
                    let part = json!([{"index": call, "function": {"arguments": token}}]);
                    push(&mut delta, r#"{"tool_calls":"#);
                    write_json(&mut delta, &part);
                    (1, following(call, byte + token.len(), now.arguments.len()))
                } else {
                    let function = json!({"name": now.name, "arguments": ""});
                    let part =
                        json!([{"index": call, "id": now.id, "type": "function", "function": function}]);
                    push(&mut delta, r#"{"tool_calls":"#);
                    write_json(&mut delta, &part);
                    (tokens::count(&now.name), following(call, 0, now.arguments.len()))
                }
            }
            _ => return (self.frame.event(self.turn, b"{}", Some(self.answer.finish), 0), Place::Over),
        };
        delta.push(b'}');
        (self.frame.event(self.turn, &delta, None, tokens), after)
    }
}

/// The place behind a part of a call: more of its arguments, or the next call.
fn following(call: usize, byte: usize, length: usize) -> Place {
    if byte < length {
        Place::Inside { call, begun: true, byte }
    } else {
        Place::Inside { call: call + 1, begun: false, byte: 0 }
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Only strings and values come here, and a vector takes every byte: nothing in it can fail.
fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(out, value);
}
