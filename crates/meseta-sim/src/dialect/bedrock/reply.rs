//! The bytes of a Converse answer, whole and as messages of an event stream.

use bytes::Bytes;
use serde_json::{Value, json};

use super::frame::message;
use crate::answer::{Answer, Block, Finish};
use crate::dialect::{Saying, error::exception};
use crate::directives::ErrorKind;
use crate::failure::Failure;
use crate::stream::{Events, Piece};
use crate::telling::{Beat, Said, Telling, Voice};
use crate::usage::Usage;

/// Bedrock pads its events, so that their lengths do not tell the tokens.
const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

pub fn whole(saying: &Saying<'_>) -> Vec<Piece> {
    let block = |block: &Block| match block {
        Block::Text(_) | Block::Filler(_) | Block::Refusal(_) => json!({"text": saying.text(block)}),
        Block::Thinking(thinking) if thinking.redacted => {
            json!({"reasoningContent": {"redactedContent": thinking.sealed()}})
        }
        Block::Thinking(thinking) => {
            let text = json!({"text": thinking.text, "signature": thinking.signature});
            json!({"reasoningContent": {"reasoningText": text}})
        }
        Block::Call(call) => {
            let id = call.id.written("tooluse_");
            json!({"toolUse": {"toolUseId": id, "name": call.name, "input": call.object()}})
        }
    };
    let content: Vec<Value> = saying.answer.blocks.iter().map(block).collect();
    let mut answer = json!({
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": reason(&saying.answer),
        "metrics": {"latencyMs": 1},
    });
    if let Some(total) = saying.usage {
        answer["usage"] = usage(total);
    }
    saying.pieces(&answer)
}

pub fn events(saying: Saying<'_>) -> Box<dyn Events> {
    Box::new(Telling::new(Speaker { usage: saying.usage, number: 0 }, saying.answer))
}

/// Input is what was neither read from the cache nor written to it; the total has all of it.
fn usage(usage: Usage) -> Value {
    json!({
        "inputTokens": usage.fresh(),
        "outputTokens": usage.output,
        "totalTokens": usage.input + usage.output,
        "cacheReadInputTokens": usage.cached,
        "cacheWriteInputTokens": usage.cache_write,
    })
}

fn reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::StopSequence => "stop_sequence",
        Finish::ContentFilter | Finish::Refusal => "content_filtered",
    }
}

struct Speaker {
    usage: Option<Usage>,
    number: usize,
}

impl Speaker {
    fn event(&mut self, name: &str, mut payload: Value) -> Vec<u8> {
        self.number += 1;
        payload["p"] = json!(PADDING.get(..2 + self.number * 7 % 60));
        let headers =
            [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
        message(&headers, payload.to_string().as_bytes())
    }

    fn delta(&mut self, index: usize, delta: &Value) -> Vec<u8> {
        self.event("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}))
    }
}

impl Voice for Speaker {
    fn tell(&mut self, beat: Beat, answer: &Answer, out: &mut Said) {
        match beat {
            Beat::Begin => out.event(self.event("messageStart", json!({"role": "assistant"}))),
            Beat::Open(index) => match answer.blocks.get(index) {
                Some(Block::Call(call)) => {
                    let start =
                        json!({"toolUse": {"toolUseId": call.id.written("tooluse_"), "name": call.name}});
                    let data = json!({"contentBlockIndex": index, "start": start});
                    out.event(self.event("contentBlockStart", data));
                }
                Some(Block::Thinking(thinking)) if thinking.redacted => {
                    let delta = json!({"reasoningContent": {"redactedContent": thinking.sealed()}});
                    out.event(self.delta(index, &delta));
                }
                _ => {}
            },
            Beat::Part { block: index, .. } | Beat::Filler { block: index, .. } => {
                let text = beat.text(answer);
                let delta = match answer.blocks.get(index) {
                    Some(Block::Thinking(_)) => json!({"reasoningContent": {"text": text}}),
                    Some(Block::Call(_)) => json!({"toolUse": {"input": text}}),
                    _ => json!({"text": text}),
                };
                out.event(self.delta(index, &delta));
            }
            Beat::Close(index) => {
                if let Some(Block::Thinking(thinking)) = answer.blocks.get(index)
                    && !thinking.redacted
                {
                    let delta = json!({"reasoningContent": {"signature": thinking.signature}});
                    out.event(self.delta(index, &delta));
                }
                out.event(self.event("contentBlockStop", json!({"contentBlockIndex": index})));
            }
            Beat::End => {
                out.event(self.event("messageStop", json!({"stopReason": reason(answer)})));
                let mut metadata = json!({"metrics": {"latencyMs": 1}});
                if let Some(total) = self.usage {
                    metadata["usage"] = usage(total);
                }
                out.event(self.event("metadata", metadata));
            }
        }
    }

    fn fail(&mut self, kind: ErrorKind, failure: &Failure) -> Bytes {
        let mut payload = json!({"message": failure.message});
        let name = match kind {
            ErrorKind::Plain => exception(failure.status).to_owned(),
            ErrorKind::Failed => {
                payload["originalStatusCode"] = json!(failure.status.as_u16());
                payload["originalMessage"] = json!(failure.message);
                "ModelStreamErrorException".to_owned()
            }
        };
        // In a stream, the names of exceptions begin with a small letter.
        let name: String =
            name.chars().take(1).map(|c| c.to_ascii_lowercase()).chain(name.chars().skip(1)).collect();
        let headers = [
            (":exception-type", name.as_str()),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ];
        Bytes::from(message(&headers, payload.to_string().as_bytes()))
    }
}
