//! The bytes of a message, whole and as events.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::{Answer, Block, Finish};
use crate::dialect::{Saying, error::anthropic_error, named_event};
use crate::directives::ErrorKind;
use crate::failure::Failure;
use crate::stream::{Events, Piece};
use crate::telling::{Beat, Said, Telling, Voice};
use crate::usage::Usage;

pub fn whole(saying: &Saying<'_>) -> Vec<Piece> {
    let content: Vec<Value> =
        saying.answer.blocks.iter().map(|block| finished(block, &saying.text(block))).collect();
    let mut message = envelope(saying, &content);
    message["stop_reason"] = json!(reason(&saying.answer));
    message["stop_sequence"] = json!(saying.answer.stop);
    if let Some(total) = saying.usage {
        message["usage"] = usage(total, total.output);
    }
    saying.pieces(&message)
}

pub fn events(saying: Saying<'_>) -> Box<dyn Events> {
    let mut message = envelope(&saying, &[]);
    if let Some(total) = saying.usage {
        message["usage"] = usage(total, total.output.min(1));
    }
    let voice = Speaker { message, usage: saying.usage, request: saying.fingerprint.hex() };
    Box::new(Telling::new(voice, saying.answer))
}

fn envelope(saying: &Saying<'_>, content: &[Value]) -> Value {
    json!({
        "id": format!("msg_{}", saying.fingerprint.hex()),
        "type": "message",
        "role": "assistant",
        "model": saying.model,
        "content": content,
        "stop_reason": null,
        "stop_sequence": null,
    })
}

/// Input is what was neither read from the cache nor written to it.
fn usage(usage: Usage, output: u64) -> Value {
    let mut counts = json!({
        "input_tokens": usage.fresh(),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": output,
        "service_tier": "standard",
    });
    if usage.cache_write > 0 {
        counts["cache_creation"] =
            json!({"ephemeral_5m_input_tokens": usage.cache_write, "ephemeral_1h_input_tokens": 0});
    }
    if usage.reasoning > 0 && output == usage.output {
        counts["output_tokens_details"] = json!({"thinking_tokens": usage.reasoning});
    }
    counts
}

fn reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::StopSequence => "stop_sequence",
        Finish::ContentFilter | Finish::Refusal => "refusal",
    }
}

fn finished(block: &Block, text: &str) -> Value {
    match block {
        Block::Text(_) | Block::Filler(_) | Block::Refusal(_) => json!({"type": "text", "text": text}),
        Block::Thinking(thinking) if thinking.redacted => {
            json!({"type": "redacted_thinking", "data": thinking.sealed()})
        }
        Block::Thinking(thinking) => {
            json!({"type": "thinking", "thinking": text, "signature": thinking.signature})
        }
        Block::Call(call) => {
            let id = call.id.written("toolu_");
            json!({"type": "tool_use", "id": id, "name": call.name, "input": call.object()})
        }
    }
}

struct Speaker {
    /// The message as it begins.
    message: Value,
    usage: Option<Usage>,
    request: String,
}

/// A block as it begins: what comes in parts is empty.
fn begun(block: &Block) -> Value {
    match block {
        Block::Thinking(thinking) if !thinking.redacted => {
            json!({"type": "thinking", "thinking": "", "signature": ""})
        }
        Block::Call(call) => {
            let id = call.id.written("toolu_");
            json!({"type": "tool_use", "id": id, "name": call.name, "input": {}})
        }
        _ => finished(block, ""),
    }
}

impl Voice for Speaker {
    fn tell(&mut self, beat: Beat, answer: &Answer, out: &mut Said) {
        let mut say = |name: &str, mut data: Value| {
            data["type"] = json!(name);
            out.event(named_event(name, &data));
        };
        match beat {
            Beat::Begin => {
                say("message_start", json!({"message": self.message}));
                say("ping", json!({}));
            }
            Beat::Open(index) => {
                let block = answer.blocks.get(index).map(begun);
                say("content_block_start", json!({"index": index, "content_block": block}));
            }
            Beat::Part { block: index, .. } | Beat::Filler { block: index, .. } => {
                let text = beat.text(answer);
                let delta = match answer.blocks.get(index) {
                    Some(Block::Thinking(_)) => json!({"type": "thinking_delta", "thinking": text}),
                    Some(Block::Call(_)) => json!({"type": "input_json_delta", "partial_json": text}),
                    _ => json!({"type": "text_delta", "text": text}),
                };
                say("content_block_delta", json!({"index": index, "delta": delta}));
            }
            Beat::Close(index) => {
                if let Some(Block::Thinking(thinking)) = answer.blocks.get(index)
                    && !thinking.redacted
                {
                    let delta = json!({"type": "signature_delta", "signature": thinking.signature});
                    say("content_block_delta", json!({"index": index, "delta": delta}));
                }
                say("content_block_stop", json!({"index": index}));
            }
            Beat::End => {
                let delta = json!({"stop_reason": reason(answer), "stop_sequence": answer.stop});
                let mut end = json!({"delta": delta});
                if let Some(total) = self.usage {
                    let mut counts = usage(total, total.output);
                    if let Some(counts) = counts.as_object_mut() {
                        // These are said once, at the message's start.
                        counts.remove("service_tier");
                        counts.remove("cache_creation");
                    }
                    end["usage"] = counts;
                }
                say("message_delta", end);
                say("message_stop", json!({}));
            }
        }
    }

    fn fail(&mut self, _: ErrorKind, failure: &Failure) -> Bytes {
        Bytes::from(named_event("error", &anthropic_error(failure, &self.request)))
    }
}
