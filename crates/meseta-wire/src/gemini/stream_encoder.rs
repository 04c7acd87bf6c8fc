//! Writes a stream as `streamGenerateContent?alt=sse` does: one `GenerateContentResponse` for each piece.

use serde::Serialize;

use super::answer::{arguments_object, call_part, logprobs_result};
use super::grounding::{self, Widths};
use super::{error, finish, signature, usage};
use crate::conversation::{Block, Citation, Delta, Event, Failure, FailureKind, Finish};
use crate::dialect::Context;
use crate::json::{Fields, Json};
use crate::object;
use crate::signature::Signature;

/// A call is sent whole, so its arguments are held until they are complete; no more than this of all open calls.
const MOST_HELD: usize = 4 << 20;

/// What stands before the string of a text and of a thought.
const TEXT: &[u8] = br#"data: {"candidates":[{"content":{"parts":[{"text":"#;
const THOUGHT: &[u8] = br#"data: {"candidates":[{"content":{"parts":[{"thought":true,"text":"#;

pub struct StreamEncoder {
    /// What stands behind the string of a text.
    behind: Vec<u8>,
    model: String,
    id: String,
    open: Vec<Open>,
    held: usize,
    /// Texts that citations belong to, by their number in the answer.
    texts: Vec<CitedText>,
    /// Parts of the answer that have begun; pieces of one text are one part.
    parts: usize,
    ended: bool,
    losses: Vec<&'static str>,
}

struct Open {
    index: u32,
    kind: Kind,
}

enum Kind {
    Text,
    Thought,
    Call(Box<Call>),
}

struct Call {
    id: String,
    name: String,
    custom: bool,
    signature: Option<Signature<'static>>,
    arguments: String,
}

struct CitedText {
    index: u32,
    part: usize,
    widths: Widths,
    citations: Vec<Citation<'static>>,
}

impl StreamEncoder {
    pub fn new(context: Context) -> StreamEncoder {
        let mut behind = br#"}],"role":"model"},"index":0}],"modelVersion":"#.to_vec();
        write_json(&context.model, &mut behind);
        behind.extend_from_slice(br#","responseId":"#);
        write_json(&context.id, &mut behind);
        behind.extend_from_slice(b"}\r\n\r\n");
        StreamEncoder {
            behind,
            model: context.model,
            id: context.id,
            open: Vec::new(),
            held: 0,
            texts: Vec::new(),
            parts: 0,
            ended: false,
            losses: Vec::new(),
        }
    }

    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Begin { .. } | Event::Ping => {}
            Event::BlockBegin { index, block } => self.begin(*index, block, out),
            Event::Delta { index, delta } => self.delta(*index, delta, out),
            Event::BlockEnd { index } => self.close(*index, out),
            Event::Finish { finish, usage } => {
                while let Some(index) = self.open.first().map(|open| open.index) {
                    self.close(index, out);
                }
                if !self.ended {
                    self.finish(finish, usage.as_ref(), out);
                }
            }
            Event::Failed(failure) => self.fail(failure, out),
        }
    }

    /// There is no last word: `Finish` has said everything.
    pub fn end(&mut self, _out: &mut Vec<u8>) {
        self.ended = true;
    }

    pub fn losses(&self) -> &[&'static str] {
        &self.losses
    }

    fn begin(&mut self, index: u32, block: &Block<'_>, out: &mut Vec<u8>) {
        if self.open.iter().any(|open| open.index == index) {
            return;
        }
        let kind = match block {
            Block::Text | Block::Refusal => {
                self.texts.push(CitedText {
                    index,
                    part: self.parts,
                    widths: Widths::default(),
                    citations: Vec::new(),
                });
                Kind::Text
            }
            Block::Thought { .. } => Kind::Thought,
            Block::RedactedThought(signed) => {
                self.parts += 1;
                self.part(object! { "text" => "", "thoughtSignature" => signature::write(signed) }, out);
                return;
            }
            Block::ToolCall { id, name, custom, signature } => {
                if *custom {
                    self.lose("custom-tool-call");
                }
                Kind::Call(Box::new(Call {
                    id: id.as_ref().to_owned(),
                    name: name.as_ref().to_owned(),
                    custom: *custom,
                    signature: signature.clone().map(Signature::into_owned),
                    arguments: String::new(),
                }))
            }
        };
        self.parts += 1;
        self.open.push(Open { index, kind });
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.open.iter_mut().find(|open| open.index == index) else { return };
        match (&mut open.kind, delta) {
            (Kind::Text, Delta::Text(text) | Delta::Refusal(text)) => {
                out.extend_from_slice(TEXT);
                write_json(text, out);
                out.extend_from_slice(&self.behind);
                if let Some(cited) = self.texts.iter_mut().rfind(|cited| cited.index == index) {
                    cited.widths.push(text);
                }
            }
            (Kind::Thought, Delta::Thought(text)) => {
                out.extend_from_slice(THOUGHT);
                write_json(text, out);
                out.extend_from_slice(&self.behind);
            }
            (Kind::Thought, Delta::Signature(signed)) => {
                let signed = signature::write(signed);
                self.part(object! { "text" => "", "thought" => true, "thoughtSignature" => signed }, out);
            }
            (Kind::Call(call), Delta::Arguments(text)) => {
                self.held = self.held.saturating_add(text.len());
                if self.held > MOST_HELD {
                    self.fail(&too_long(), out);
                } else {
                    call.arguments.push_str(text);
                }
            }
            (Kind::Call(call), Delta::Signature(signed)) => {
                call.signature = Some(signed.clone().into_owned());
            }
            (Kind::Text, Delta::Citation(citation)) => {
                let held: usize = self.texts.iter().map(|cited| cited.citations.len()).sum();
                if let Some(cited) = self.texts.iter_mut().rfind(|cited| cited.index == index)
                    && held < grounding::MOST_CITATIONS
                {
                    // What was cited has no place in this dialect.
                    cited.citations.push(Citation { cited: None, ..citation.clone() }.into_owned());
                }
            }
            (Kind::Text, Delta::Logprobs(tokens)) => {
                let mut candidate = Fields::new();
                candidate
                    .put("content", object! { "parts" => Json::Array(Vec::new()), "role" => "model" })
                    .put("index", 0_u64)
                    .put_some("logprobsResult", logprobs_result(tokens));
                self.document(candidate.into(), None, out);
            }
            _ => {}
        }
    }

    fn close(&mut self, index: u32, out: &mut Vec<u8>) {
        let Some(place) = self.open.iter().position(|open| open.index == index) else { return };
        let Kind::Call(call) = self.open.remove(place).kind else {
            // Only texts that are cited are remembered.
            self.texts.retain(|cited| cited.index != index || !cited.citations.is_empty());
            return;
        };
        self.held = self.held.saturating_sub(call.arguments.len());
        let arguments = if call.custom {
            object! { "input" => &call.arguments }
        } else {
            arguments_object(&call.arguments).0
        };
        self.part(call_part(&call.id, &call.name, arguments, call.signature.as_ref()), out);
    }

    fn finish(&mut self, finish: &Finish<'_>, counts: Option<&crate::usage::Usage>, out: &mut Vec<u8>) {
        self.ended = true;
        let citations: Vec<_> = self
            .texts
            .iter()
            .flat_map(|cited| cited.citations.iter().map(|citation| (cited.part, &cited.widths, citation)))
            .collect();
        let mut candidate = Fields::new();
        candidate
            .put("content", object! { "parts" => vec![object! { "text" => "" }], "role" => "model" })
            .put("finishReason", finish::write(finish))
            .put("index", 0_u64)
            .put_some("groundingMetadata", grounding::write(&citations));
        self.document(candidate.into(), counts, out);
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.ended = true;
        out.extend_from_slice(b"data: ");
        write_json(&error::document(failure), out);
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn part(&self, part: Json<'_>, out: &mut Vec<u8>) {
        let content = object! { "parts" => Json::Array(vec![part]), "role" => "model" };
        self.document(object! { "content" => content, "index" => 0_u64 }, None, out);
    }

    fn document(&self, candidate: Json<'_>, counts: Option<&crate::usage::Usage>, out: &mut Vec<u8>) {
        let mut document = Fields::new();
        document
            .put("candidates", Json::Array(vec![candidate]))
            .put_some("usageMetadata", counts.map(usage::write))
            .put("modelVersion", &self.model)
            .put("responseId", &self.id);
        out.extend_from_slice(b"data: ");
        write_json(&Json::from(document), out);
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn lose(&mut self, what: &'static str) {
        if !self.losses.contains(&what) {
            self.losses.push(what);
        }
    }
}

/// Nothing in what is written can fail to serialise, and a vector takes everything.
fn write_json(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

fn too_long() -> Failure<'static> {
    Failure {
        message: "The arguments of a call are longer than 4 MiB, which cannot be sent on.".into(),
        kind: FailureKind::Server,
        code: None,
        param: None,
    }
}
