//! The bytes of a content response, whole and streamed: as events, or as the elements of one array.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::{Answer, Block, Finish};
use crate::dialect::{LOGPROB, Saying, error::gemini_error};
use crate::directives::ErrorKind;
use crate::failure::Failure;
use crate::stream::{Event, Events, Piece};
use crate::telling::{Beat, Said, Telling, Voice};
use crate::tokens;
use crate::usage::Usage;

pub fn whole(saying: &Saying<'_>, ids: bool) -> Vec<Piece> {
    let speaker = Speaker::new(saying, ids, true);
    let blocks = saying.answer.blocks.iter().enumerate();
    let parts: Vec<Value> = blocks
        .filter_map(|(index, block)| speaker.part(index, block, &saying.text(block), &saying.answer))
        .collect();
    let mut candidate = candidate(&parts);
    candidate["finishReason"] = json!(reason(&saying.answer));
    if saying.answer.logprobs {
        let texts = saying.answer.blocks.iter().filter(|block| matches!(block, Block::Text(_)));
        let all: Vec<Value> = texts.flat_map(|block| chosen(block.told())).collect();
        candidate["logprobsResult"] = logprobs(&all);
        candidate["avgLogprobs"] = json!(LOGPROB);
    }
    saying.pieces(&speaker.response(&candidate, saying.usage.map(usage)))
}

pub fn events(saying: Saying<'_>, ids: bool, sse: bool) -> Box<dyn Events> {
    let speaker = Speaker::new(&saying, ids, sse);
    Box::new(Telling::new(speaker, saying.answer))
}

struct Speaker {
    model: String,
    id: String,
    signature: String,
    usage: Option<Usage>,
    ids: bool,
    sse: bool,
    begun: bool,
}

impl Speaker {
    fn new(saying: &Saying<'_>, ids: bool, sse: bool) -> Self {
        let thought = saying.answer.thoughts().next().map(|thinking| thinking.signature.clone());
        let hex = saying.fingerprint.hex();
        Self {
            model: saying.model.to_owned(),
            signature: thought.unwrap_or_else(|| crate::base64::encoded(hex.as_bytes())),
            id: hex,
            usage: saying.usage,
            ids,
            sse,
            begun: false,
        }
    }

    fn response(&self, candidate: &Value, usage: Option<Value>) -> Value {
        let mut response =
            json!({"candidates": [candidate], "modelVersion": self.model, "responseId": self.id});
        if let Some(usage) = usage {
            response["usageMetadata"] = usage;
        }
        response
    }

    /// Thoughts that only the provider may read are not sent at all.
    fn part(&self, index: usize, block: &Block, text: &str, answer: &Answer) -> Option<Value> {
        match block {
            Block::Text(_) | Block::Filler(_) | Block::Refusal(_) => Some(json!({"text": text})),
            Block::Thinking(thinking) if thinking.redacted => None,
            Block::Thinking(_) => Some(json!({"text": text, "thought": true})),
            Block::Call(call) => {
                let mut function = json!({"name": call.name, "args": call.object()});
                if self.ids {
                    function["id"] = json!(call.id.written("call_"));
                }
                let mut part = json!({"functionCall": function});
                let first = answer.blocks.iter().position(|block| matches!(block, Block::Call(_)));
                if first == Some(index) {
                    part["thoughtSignature"] = json!(self.signature);
                }
                Some(part)
            }
        }
    }

    fn say(&mut self, response: &Value) -> Vec<u8> {
        let before = match (self.sse, std::mem::replace(&mut self.begun, true)) {
            (true, _) => "data: ",
            (false, false) => "[",
            (false, true) => ",\r\n",
        };
        let after = if self.sse { "\r\n\r\n" } else { "" };
        format!("{before}{response}{after}").into_bytes()
    }

    /// Until the end, only the prompt is known.
    fn so_far(&self) -> Option<Value> {
        self.usage.map(|usage| json!({"promptTokenCount": usage.input, "totalTokenCount": usage.input}))
    }
}

fn candidate(parts: &[Value]) -> Value {
    json!({"content": {"parts": parts, "role": "model"}, "index": 0})
}

/// Candidates are counted without thoughts.
fn usage(usage: Usage) -> Value {
    let mut counts = json!({
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    });
    if usage.cached > 0 {
        counts["cachedContentTokenCount"] = json!(usage.cached);
    }
    if usage.reasoning > 0 {
        counts["thoughtsTokenCount"] = json!(usage.reasoning);
    }
    counts
}

fn reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Stop | Finish::ToolCalls | Finish::StopSequence => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter | Finish::Refusal => "SAFETY",
    }
}

fn chosen(text: &str) -> Vec<Value> {
    tokens::all(text).map(|token| json!({"token": token, "logProbability": LOGPROB})).collect()
}

fn logprobs(chosen: &[Value]) -> Value {
    let top: Vec<Value> = chosen.iter().map(|entry| json!({"candidates": [entry]})).collect();
    json!({"chosenCandidates": chosen, "topCandidates": top})
}

/// The answer to a prompt that is not allowed: no candidate, and why there is none.
pub fn blocked(saying: &Saying<'_>) -> Vec<u8> {
    let mut response = json!({
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "modelVersion": saying.model,
        "responseId": saying.fingerprint.hex(),
    });
    if let Some(Usage { input, .. }) = saying.usage {
        response["usageMetadata"] = json!({"promptTokenCount": input, "totalTokenCount": input});
    }
    response.to_string().into_bytes()
}

/// The same as the only event of a stream.
pub struct Blocked(Option<Bytes>);

impl Blocked {
    pub fn new(saying: &Saying<'_>, sse: bool) -> Self {
        let (before, after): (&[u8], &[u8]) = if sse { (b"data: ", b"\r\n\r\n") } else { (b"[", b"]") };
        Self(Some(Bytes::from([before, &blocked(saying), after].concat())))
    }
}

impl Iterator for Blocked {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        Some(Event { bytes: self.0.take()?, tokens: 0 })
    }
}

impl Events for Blocked {
    fn speaks(&mut self) -> bool {
        false
    }

    fn fail(&mut self, _: ErrorKind, failure: &Failure) -> Bytes {
        Bytes::from(format!("data: {}\r\n\r\n", gemini_error(failure)))
    }
}

impl Voice for Speaker {
    fn tell(&mut self, beat: Beat, answer: &Answer, out: &mut Said) {
        match beat {
            Beat::Begin | Beat::Open(_) => {}
            Beat::Part { block: index, .. } | Beat::Filler { block: index, .. } => {
                let Some(block) = answer.blocks.get(index) else { return };
                // A call is sent in one piece, at its end.
                if matches!(block, Block::Call(_)) {
                    return;
                }
                let text = beat.text(answer);
                let mut candidate = candidate(self.part(index, block, &text, answer).as_slice());
                if answer.logprobs && matches!(block, Block::Text(_)) {
                    candidate["logprobsResult"] = logprobs(&chosen(&text));
                }
                let response = self.response(&candidate, self.so_far());
                out.event(self.say(&response));
            }
            Beat::Close(index) => {
                if let Some(block @ Block::Call(_)) = answer.blocks.get(index) {
                    let part = self.part(index, block, "", answer);
                    let response = self.response(&candidate(part.as_slice()), self.so_far());
                    out.event(self.say(&response));
                }
            }
            Beat::End => {
                let mut candidate = candidate(&[json!({"text": ""})]);
                candidate["finishReason"] = json!(reason(answer));
                let response = self.response(&candidate, self.usage.map(usage));
                let mut last = self.say(&response);
                if !self.sse {
                    last.push(b']');
                }
                out.event(last);
            }
        }
    }

    fn fail(&mut self, _: ErrorKind, failure: &Failure) -> Bytes {
        let mut bytes = self.say(&gemini_error(failure));
        if !self.sse {
            bytes.push(b']');
        }
        Bytes::from(bytes)
    }
}
