//! The bytes of a chat completion, whole and in chunks, field for field as `OpenAI` orders them.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::{Answer, Block, Call, Finish};
use crate::dialect::{CREATED, Dialect, logprobs, push, write_json};
use crate::directives::ErrorKind;
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::stream::{Events, Piece};
use crate::telling::{Beat, Said, Telling, Voice};
use crate::usage::Usage;

/// An answer with what its envelope says.
pub struct Completion<'a> {
    pub fingerprint: Fingerprint,
    pub model: &'a str,
    pub choices: u64,
    pub answer: Answer,
    pub usage: Option<Usage>,
}

impl Completion<'_> {
    pub fn whole(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut out = Vec::with_capacity(768);
        self.begin(&mut out, "chat.completion");
        for index in 0..self.choices {
            let comma = if index == 0 { "" } else { "," };
            push(&mut out, &format!(r#"{comma}{{"index":{index},"message":{{"role":"assistant","content":"#));
            self.content(&mut out, &mut pieces);
            let thoughts = thoughts(&self.answer);
            if !thoughts.is_empty() {
                push(&mut out, r#","reasoning_content":"#);
                write_json(&mut out, &thoughts);
            }
            let calls: Vec<_> = self.answer.calls().map(call).collect();
            if !calls.is_empty() {
                push(&mut out, r#","tool_calls":"#);
                write_json(&mut out, &calls);
            }
            push(&mut out, r#","refusal":"#);
            write_json(&mut out, &refusal(&self.answer));
            push(&mut out, r#"},"logprobs":"#);
            write_json(&mut out, &self.logprobs());
            push(&mut out, r#","finish_reason":""#);
            push(&mut out, finish(&self.answer));
            push(&mut out, r#""}"#);
        }
        out.push(b']');
        if let Some(usage) = self.usage {
            push(&mut out, r#","usage":"#);
            write_usage(usage, &mut out);
        }
        out.push(b'}');
        pieces.push(Piece::Ready(Bytes::from(out)));
        pieces
    }

    /// All texts as one, or null where none is.
    fn content(&self, out: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
        let mut texts = String::new();
        for block in &self.answer.blocks {
            match block {
                Block::Text(text) => texts.push_str(text),
                Block::Filler(bytes) => {
                    out.push(b'"');
                    pieces.push(Piece::Ready(Bytes::from(std::mem::take(out))));
                    pieces.push(Piece::Filler(*bytes));
                    out.push(b'"');
                    return;
                }
                _ => {}
            }
        }
        write_json(out, &has_text(&self.answer).then_some(texts));
    }

    fn logprobs(&self) -> Option<Value> {
        let texts = self.answer.blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(logprobs(text)),
            _ => None,
        });
        let entries: Vec<Value> = texts.flatten().collect();
        self.answer.logprobs.then(|| json!({"content": entries, "refusal": null}))
    }

    /// The events of a streamed answer. With `report_usage`, every chunk has a usage and the last one's counts.
    pub fn chunks(self, report_usage: bool) -> Box<dyn Events> {
        let mut head = b"data: ".to_vec();
        self.begin(&mut head, "chat.completion.chunk");
        let reported = self.usage.filter(|_| report_usage);
        let tail = if reported.is_some() { "],\"usage\":null}\n\n" } else { "]}\n\n" };
        let last = reported.map(|usage| {
            let mut out = head.clone();
            push(&mut out, r#"],"usage":"#);
            write_usage(usage, &mut out);
            push(&mut out, "}\n\n");
            out
        });
        Box::new(Telling::new(Chunks { head, tail, last, choices: self.choices, call: 0 }, self.answer))
    }

    fn begin(&self, out: &mut Vec<u8>, object: &str) {
        let id = self.fingerprint.hex();
        push(out, &format!(r#"{{"id":"chatcmpl-{id}","object":"{object}","created":{CREATED},"model":"#));
        write_json(out, self.model);
        push(out, r#","system_fingerprint":"fp_meseta_sim","choices":["#);
    }
}

fn call(call: &Call) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    json!({"id": call.id.written("call_"), "type": "function", "function": function})
}

fn thoughts(answer: &Answer) -> String {
    answer.thoughts().filter(|thinking| !thinking.redacted).map(|thinking| thinking.text.as_str()).collect()
}

fn refusal(answer: &Answer) -> Option<String> {
    let mut refusals = answer.blocks.iter().filter_map(|block| match block {
        Block::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    let first = refusals.next()?.to_owned();
    Some(refusals.fold(first, |all, next| all + next))
}

fn has_text(answer: &Answer) -> bool {
    answer.blocks.iter().any(|block| matches!(block, Block::Text(_) | Block::Filler(_)))
}

fn finish(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Stop | Finish::StopSequence | Finish::Refusal => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

fn write_usage(usage: Usage, out: &mut Vec<u8>) {
    let Usage { input, cached, cache_write, output, reasoning } = usage;
    let total = input + output;
    let written =
        if cache_write > 0 { format!(r#","cache_write_tokens":{cache_write}"#) } else { String::new() };
    push(
        out,
        &format!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached}{written}}},"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}"#
        ),
    );
}

/// All choices say the same, in step: each step of the answer is sent once per choice.
struct Chunks {
    /// What is the same in every chunk.
    head: Vec<u8>,
    tail: &'static str,
    /// The chunk with the usage, if one was asked for.
    last: Option<Vec<u8>>,
    choices: u64,
    /// How many calls have been closed.
    call: usize,
}

impl Chunks {
    fn each(&self, delta: &[u8], logprobs: Option<&Value>, finish: Option<&str>, out: &mut Said) {
        let tokens = out.due();
        for index in 0..self.choices {
            let mut chunk = Vec::with_capacity(self.head.len() + delta.len() + 96);
            chunk.extend_from_slice(&self.head);
            push(&mut chunk, &format!(r#"{{"index":{index},"delta":"#));
            chunk.extend_from_slice(delta);
            push(&mut chunk, r#","logprobs":"#);
            write_json(&mut chunk, &logprobs);
            push(&mut chunk, r#","finish_reason":"#);
            write_json(&mut chunk, &finish);
            chunk.push(b'}');
            push(&mut chunk, self.tail);
            out.counted(chunk, tokens);
        }
    }

    fn part(&self, block: &Block, text: &str, answer: &Answer, out: &mut Said) {
        let mut delta = Vec::with_capacity(64);
        let mut probable = None;
        match block {
            Block::Text(_) | Block::Filler(_) => {
                push(&mut delta, r#"{"content":"#);
                write_json(&mut delta, text);
                let probable_text = answer.logprobs && matches!(block, Block::Text(_));
                probable = probable_text.then(|| json!({"content": logprobs(text), "refusal": null}));
            }
            Block::Thinking(_) => {
                push(&mut delta, r#"{"reasoning_content":"#);
                write_json(&mut delta, text);
            }
            Block::Refusal(_) => {
                push(&mut delta, r#"{"refusal":"#);
                write_json(&mut delta, text);
            }
            Block::Call(_) => {
                push(&mut delta, r#"{"tool_calls":"#);
                write_json(&mut delta, &json!([{"index": self.call, "function": {"arguments": text}}]));
            }
        }
        delta.push(b'}');
        self.each(&delta, probable.as_ref(), None, out);
    }
}

impl Voice for Chunks {
    fn tell(&mut self, beat: Beat, answer: &Answer, out: &mut Said) {
        match beat {
            Beat::Begin => {
                let silent =
                    !has_text(answer) && (answer.calls().next().is_some() || refusal(answer).is_some());
                let content = if silent { "null" } else { r#""""# };
                let delta = format!(r#"{{"role":"assistant","content":{content},"refusal":null}}"#);
                self.each(delta.as_bytes(), None, None, out);
            }
            Beat::Open(block) => {
                if let Some(Block::Call(call)) = answer.blocks.get(block) {
                    let id = call.id.written("call_");
                    let function = json!({"name": call.name, "arguments": ""});
                    let part =
                        json!([{"index": self.call, "id": id, "type": "function", "function": function}]);
                    let mut delta = br#"{"tool_calls":"#.to_vec();
                    write_json(&mut delta, &part);
                    delta.push(b'}');
                    self.each(&delta, None, None, out);
                }
            }
            Beat::Part { block, .. } | Beat::Filler { block, .. } => {
                let text = beat.text(answer);
                if let Some(block) = answer.blocks.get(block) {
                    self.part(block, &text, answer, out);
                }
            }
            Beat::Close(block) => {
                if let Some(Block::Call(_)) = answer.blocks.get(block) {
                    self.call += 1;
                }
            }
            Beat::End => {
                self.each(b"{}", None, Some(finish(answer)), out);
                if let Some(usage) = self.last.take() {
                    out.event(usage);
                }
                out.event(b"data: [DONE]\n\n".to_vec());
            }
        }
    }

    fn fail(&mut self, _: ErrorKind, failure: &Failure) -> Bytes {
        Bytes::from([b"data: ", &Dialect::OpenAi.body(failure, "")[..], b"\n\n"].concat())
    }
}
