//! The response object and the items of its output.

use serde_json::{Value, json};

use super::request::repeated;
use crate::answer::{Answer, Block, Finish};
use crate::dialect::{CREATED, Saying, logprobs};
use crate::stream::Piece;
use crate::usage::Usage;

/// What is the same in every form of one response.
pub struct Response {
    /// The fields that repeat the request's.
    repeated: Value,
    pub id: String,
    /// The request's number, from which items get their identifiers.
    hex: String,
    model: String,
    sealed_reasoning: bool,
    usage: Option<Usage>,
}

/// An item of the output: one thought, one call, or the texts that stand together.
pub struct Item {
    pub first: usize,
    pub last: usize,
}

impl Response {
    pub fn new(saying: &Saying<'_>, request: &Value, sealed_reasoning: bool) -> Self {
        let hex = saying.fingerprint.hex();
        Self {
            repeated: repeated(request),
            id: format!("resp_{hex}"),
            hex,
            model: saying.model.to_owned(),
            sealed_reasoning,
            usage: saying.usage,
        }
    }

    fn object(&self, status: &str, output: Vec<Value>) -> Value {
        let mut object = self.repeated.clone();
        object["id"] = json!(self.id);
        object["object"] = json!("response");
        object["created_at"] = json!(CREATED);
        object["model"] = json!(self.model);
        object["status"] = json!(status);
        object["output"] = Value::Array(output);
        object["error"] = Value::Null;
        object["incomplete_details"] = Value::Null;
        object["usage"] = Value::Null;
        object
    }

    /// The object before anything is said.
    pub fn begun(&self) -> Value {
        self.object("in_progress", Vec::new())
    }

    /// The object once all is said. `text` gives the text of a block.
    pub fn finished(&self, answer: &Answer, text: &dyn Fn(&Block) -> String) -> Value {
        let items = items(answer);
        let last = items.len().saturating_sub(1);
        let output = items.iter().enumerate().map(|(index, item)| {
            let cut = answer.finish == Finish::Length && index == last;
            self.item(item, answer, if cut { "incomplete" } else { "completed" }, text)
        });
        let output = output.collect();
        let reason = match answer.finish {
            Finish::Length => Some("max_output_tokens"),
            Finish::ContentFilter => Some("content_filter"),
            _ => None,
        };
        let mut object = self.object(if reason.is_some() { "incomplete" } else { "completed" }, output);
        object["incomplete_details"] = reason.map_or(Value::Null, |reason| json!({"reason": reason}));
        object["completed_at"] = if reason.is_some() { Value::Null } else { json!(CREATED) };
        match self.usage {
            Some(usage) => object["usage"] = counts(usage),
            // Told to report none, it has not even the key.
            None => drop(object.as_object_mut().and_then(|object| object.remove("usage"))),
        }
        object
    }

    /// The object of a response that failed on its way.
    pub fn failed(&self, message: &str) -> Value {
        let mut object = self.object("failed", Vec::new());
        object["error"] = json!({"code": "server_error", "message": message});
        object
    }

    pub fn item_id(&self, item: &Item, answer: &Answer) -> String {
        let prefix = match answer.blocks.get(item.first) {
            Some(Block::Thinking(_)) => "rs",
            Some(Block::Call(_)) => "fc",
            _ => "msg",
        };
        format!("{prefix}_{}{:04x}", self.hex, item.first)
    }

    /// An item at its end, or as far as `status` and `text` say.
    pub fn item(&self, item: &Item, answer: &Answer, status: &str, text: &dyn Fn(&Block) -> String) -> Value {
        let id = self.item_id(item, answer);
        match answer.blocks.get(item.first) {
            Some(block @ Block::Thinking(thinking)) => {
                let said = text(block);
                let summary = if said.is_empty() { json!([]) } else { json!([summary(&said)]) };
                let mut item = json!({"id": id, "type": "reasoning", "summary": summary});
                if thinking.redacted {
                    item["encrypted_content"] = json!(thinking.sealed());
                } else if self.sealed_reasoning {
                    item["encrypted_content"] = json!(thinking.signature);
                }
                item
            }
            Some(block @ Block::Call(call)) => json!({
                "id": id,
                "type": "function_call",
                "call_id": call.id.written("call_"),
                "name": call.name,
                "arguments": text(block),
                "status": status,
            }),
            _ => {
                let blocks = answer.blocks.get(item.first..=item.last).unwrap_or_default();
                let content: Vec<Value> =
                    blocks.iter().map(|block| part(block, &text(block), answer.logprobs)).collect();
                let content = if status == "in_progress" { Vec::new() } else { content };
                json!({"id": id, "type": "message", "role": "assistant", "status": status, "content": content})
            }
        }
    }
}

pub fn whole(saying: &Saying<'_>, response: &Response) -> Vec<Piece> {
    saying.pieces(&response.finished(&saying.answer, &|block| saying.text(block)))
}

/// Texts and refusals that stand together are one message; everything else is an item of its own.
pub fn items(answer: &Answer) -> Vec<Item> {
    let in_message = |block: &Block| matches!(block, Block::Text(_) | Block::Filler(_) | Block::Refusal(_));
    let mut items: Vec<Item> = Vec::new();
    for (index, block) in answer.blocks.iter().enumerate() {
        let joins = index > 0 && in_message(block) && answer.blocks.get(index - 1).is_some_and(in_message);
        match items.last_mut().filter(|_| joins) {
            Some(item) => item.last = index,
            None => items.push(Item { first: index, last: index }),
        }
    }
    items
}

pub fn summary(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

/// A part of a message.
pub fn part(block: &Block, text: &str, with_logprobs: bool) -> Value {
    if let Block::Refusal(_) = block {
        return json!({"type": "refusal", "refusal": text});
    }
    let entries = if with_logprobs && matches!(block, Block::Text(_)) { logprobs(text) } else { Vec::new() };
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": entries})
}

fn counts(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    })
}
