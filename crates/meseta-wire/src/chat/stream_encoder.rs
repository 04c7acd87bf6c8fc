//! Writing a stream of chunks.

use super::answer::{annotation_json, finish_reason};
use super::error::encode_error;
use super::extras;
use crate::conversation::{Block, Delta, Event, Finish, Thought};
use crate::dialect::Context;
use crate::json::{Fields, Json};
use crate::object;
use crate::signature::Signature;
use crate::usage::Usage;

/// Writes chunks. What every chunk has in common is made once.
pub struct StreamEncoder {
    request_id: String,
    include_usage: bool,
    /// `data: {"id":…,"choices":[` of every chunk.
    head: Vec<u8>,
    /// What the head says.
    id: String,
    model: String,
    created: u64,
    /// What follows the choices of every chunk but the last.
    tail: &'static [u8],
    open: Vec<(u32, Open)>,
    /// How many thoughts, calls and citations have begun: each is an entry of a list that the client puts together.
    thoughts: usize,
    calls: usize,
    citations: u64,
    /// Characters of text so far, which citations count in.
    characters: u64,
    /// The thought that spoke last.
    speaker: Option<usize>,
    refused: bool,
    over: bool,
    losses: Vec<&'static str>,
}

#[derive(Clone, Copy)]
enum Open {
    Text { base: u64 },
    Refusal,
    Thought { entry: usize },
    Call { entry: usize, custom: bool, silent: bool },
}

impl StreamEncoder {
    pub fn new(context: Context) -> StreamEncoder {
        let id = format!("chatcmpl-{}", context.id);
        let head = shared(&id, context.created, &context.model);
        let tail: &[u8] = if context.include_usage { b"],\"usage\":null}\n\n" } else { b"]}\n\n" };
        StreamEncoder {
            request_id: context.request_id,
            include_usage: context.include_usage,
            head,
            id,
            model: context.model,
            created: context.created,
            tail,
            open: Vec::new(),
            thoughts: 0,
            calls: 0,
            citations: 0,
            characters: 0,
            speaker: None,
            refused: false,
            over: false,
            losses: Vec::new(),
        }
    }

    /// Gives every chunk the name of an answer that somebody else has begun; what is `None` was not named.
    pub(crate) fn speak_as(&mut self, id: Option<&str>, model: Option<&str>, created: Option<u64>) {
        if let Some(id) = id {
            id.clone_into(&mut self.id);
        }
        if let Some(model) = model {
            model.clone_into(&mut self.model);
        }
        self.created = created.unwrap_or(self.created);
        self.head = shared(&self.id, self.created, &self.model);
    }

    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Begin { .. } => {
                self.chunk(out, b"{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
            }
            Event::BlockBegin { index, block } => self.block_begin(*index, block, out),
            Event::Delta { index, delta } => self.delta(*index, delta, out),
            Event::BlockEnd { index } => {
                if let Some(at) = self.open.iter().position(|(open, _)| open == index) {
                    let (_, ended) = self.open.swap_remove(at);
                    self.block_end(ended, out);
                }
            }
            Event::Finish { finish, usage } => self.finish(finish, usage.as_ref(), out),
            // A comment keeps connections open that would be cut when idle, and clients pass over it.
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Failed(failure) => {
                out.extend_from_slice(b"data: ");
                out.extend(encode_error(failure, &self.request_id));
                out.extend_from_slice(b"\n\n");
                self.over = true;
            }
        }
    }

    pub fn end(&mut self, out: &mut Vec<u8>) {
        if !self.over {
            out.extend_from_slice(b"data: [DONE]\n\n");
            self.over = true;
        }
    }

    pub fn losses(&self) -> &[&'static str] {
        &self.losses
    }

    fn lose(&mut self, what: &'static str) {
        if !self.losses.contains(&what) {
            self.losses.push(what);
        }
    }

    /// The chunk's beginning, up to the value of `delta`.
    fn chunk_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":");
    }

    fn chunk_tail(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":null}");
        out.extend_from_slice(self.tail);
    }

    fn chunk(&self, out: &mut Vec<u8>, delta: &[u8]) {
        self.chunk_head(out);
        out.extend_from_slice(delta);
        self.chunk_tail(out);
    }

    /// A chunk whose delta is one text between what stands before and behind it: the way of nearly every chunk.
    fn text_chunk(&self, out: &mut Vec<u8>, before: &[u8], text: &str, behind: &[u8]) {
        self.chunk_head(out);
        out.extend_from_slice(before);
        write_text(out, text);
        out.extend_from_slice(behind);
        self.chunk_tail(out);
    }

    fn json_chunk(&self, out: &mut Vec<u8>, delta: &Json<'_>) {
        self.chunk(out, &delta.to_vec());
    }

    fn block_begin(&mut self, index: u32, block: &Block<'_>, out: &mut Vec<u8>) {
        let opened = match block {
            Block::Text => Open::Text { base: self.characters },
            Block::Refusal => Open::Refusal,
            Block::Thought { id } => {
                let entry = self.next_thought();
                if let Some(id) = id {
                    let detail = object! {
                        "type" => "reasoning.text", "id" => id, "text" => "", "index" => entry,
                    };
                    self.json_chunk(out, &object! { "reasoning_details" => vec![detail] });
                }
                Open::Thought { entry }
            }
            Block::RedactedThought(signature) => {
                let entry = self.next_thought();
                let thought =
                    Thought { signature: Some(signature.clone()), redacted: true, ..Thought::default() };
                let details = vec![extras::detail(&thought, entry)];
                self.json_chunk(out, &object! { "reasoning_details" => details });
                return;
            }
            Block::ToolCall { id, name, custom, signature } => {
                let entry = self.calls;
                self.calls += 1;
                let (kind, text) = if *custom { ("custom", "input") } else { ("function", "arguments") };
                let mut call = Fields::new();
                call.put("index", entry).put("id", id).put("type", kind);
                call.put(kind, object! { "name" => name, text => "" });
                call.put_some("extra_content", signature.as_ref().map(extras::call_extra));
                self.json_chunk(out, &object! { "tool_calls" => vec![call] });
                Open::Call { entry, custom: *custom, silent: true }
            }
        };
        self.open.push((index, opened));
    }

    fn next_thought(&mut self) -> usize {
        self.thoughts += 1;
        self.thoughts - 1
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().rposition(|(open, _)| *open == index) else { return };
        let Some((_, open)) = self.open.get(at).copied() else { return };
        match (delta, open) {
            (Delta::Text(text), Open::Text { .. }) => {
                let length = text.chars().count() as u64;
                self.characters = self.characters.saturating_add(length);
                self.text_chunk(out, b"{\"content\":", text, b"}");
            }
            (Delta::Refusal(text), Open::Refusal) => {
                self.refused = true;
                self.text_chunk(out, b"{\"refusal\":", text, b"}");
            }
            (Delta::Thought(text), Open::Thought { entry }) => self.thought(entry, text, out),
            (Delta::Signature(signature), Open::Thought { entry }) => {
                self.signature(entry, signature, out);
            }
            (Delta::Signature(signature), Open::Call { entry, .. }) => {
                let call = object! { "index" => entry, "extra_content" => extras::call_extra(signature) };
                self.json_chunk(out, &object! { "tool_calls" => vec![call] });
            }
            (Delta::Arguments(text), Open::Call { entry, custom, .. }) => {
                self.arguments(entry, custom, text, out);
                if let Some((_, Open::Call { silent, .. })) = self.open.get_mut(at) {
                    *silent = false;
                }
            }
            (Delta::Citation(citation), Open::Text { base }) => {
                match annotation_json(citation, base, self.characters, self.citations) {
                    Some(annotation) => {
                        self.citations += 1;
                        self.json_chunk(out, &object! { "annotations" => vec![annotation] });
                    }
                    None => self.lose("citations"),
                }
            }
            (Delta::Logprobs(tokens), Open::Text { .. }) => {
                self.chunk_head(out);
                out.extend_from_slice(b"{\"content\":\"\"},\"logprobs\":");
                out.extend(extras::logprobs_json(tokens).to_vec());
                out.extend_from_slice(b",\"finish_reason\":null}");
                out.extend_from_slice(self.tail);
            }
            _ => {}
        }
    }

    /// The text twice: plain for those who show it, as a detail for those who send it back with its signature.
    fn thought(&mut self, entry: usize, text: &str, out: &mut Vec<u8>) {
        self.chunk_head(out);
        out.extend_from_slice(b"{\"reasoning_content\":");
        if self.speaker.is_some_and(|speaker| speaker != entry) {
            // The plain text does not tell where another thought begins.
            write_text(out, &format!("\n\n{text}"));
        } else {
            write_text(out, text);
        }
        self.speaker = Some(entry);
        out.extend_from_slice(b",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":");
        write_text(out, text);
        out.extend_from_slice(b",\"index\":");
        out.extend_from_slice(entry.to_string().as_bytes());
        out.extend_from_slice(b"}]}");
        self.chunk_tail(out);
    }

    fn signature(&self, entry: usize, signature: &Signature<'_>, out: &mut Vec<u8>) {
        let thought = Thought { signature: Some(signature.clone()), ..Thought::default() };
        self.json_chunk(out, &object! { "reasoning_details" => vec![extras::detail(&thought, entry)] });
    }

    fn arguments(&self, entry: usize, custom: bool, text: &str, out: &mut Vec<u8>) {
        self.chunk_head(out);
        out.extend_from_slice(b"{\"tool_calls\":[{\"index\":");
        out.extend_from_slice(entry.to_string().as_bytes());
        let inner: &[u8] = if custom { b",\"custom\":{\"input\":" } else { b",\"function\":{\"arguments\":" };
        out.extend_from_slice(inner);
        write_text(out, text);
        out.extend_from_slice(b"}}]}");
        self.chunk_tail(out);
    }

    fn block_end(&mut self, ended: Open, out: &mut Vec<u8>) {
        // Arguments are JSON, and nothing is no JSON.
        if let Open::Call { entry, custom: false, silent: true } = ended {
            self.arguments(entry, false, "{}", out);
        }
    }

    fn finish(&mut self, finish: &Finish<'_>, usage: Option<&Usage>, out: &mut Vec<u8>) {
        for (_, ended) in std::mem::take(&mut self.open) {
            self.block_end(ended, out);
        }
        let (reason, lost) = finish_reason(finish, self.refused);
        if let Some(lost) = lost {
            self.lose(lost);
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"");
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"\"}");
        out.extend_from_slice(self.tail);
        if let Some(usage) = usage.filter(|_| self.include_usage) {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            out.extend(extras::usage_json(usage).to_vec());
            out.extend_from_slice(b"}\n\n");
        }
    }
}

/// What all chunks of an answer begin with.
fn shared(id: &str, created: u64, model: &str) -> Vec<u8> {
    let fields = object! {
        "id" => id, "object" => "chat.completion.chunk", "created" => created, "model" => model,
    };
    let mut head = b"data: ".to_vec();
    head.extend(fields.to_vec());
    // The brace that closes what is not complete yet.
    head.pop();
    head.extend_from_slice(b",\"choices\":[");
    head
}

/// A JSON string. Writing into memory cannot fail.
fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).unwrap_or_default();
}
