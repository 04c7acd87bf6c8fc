//! The events of a streamed response, numbered from the first to the last.

use bytes::Bytes;
use serde_json::{Value, json};

use super::object::{Item, Response, items, part, summary};
use crate::answer::{Answer, Block, Finish};
use crate::dialect::{Saying, logprobs, named_event};
use crate::directives::ErrorKind;
use crate::failure::Failure;
use crate::stream::Events;
use crate::telling::{Beat, Said, Telling, Voice, filler_text};

pub fn events(saying: Saying<'_>, response: Response) -> Box<dyn Events> {
    let items = items(&saying.answer);
    Box::new(Telling::new(Speaker { response, items, number: 0 }, saying.answer))
}

struct Speaker {
    response: Response,
    items: Vec<Item>,
    /// The next event's.
    number: u64,
}

/// Where a block is in the output.
struct Place {
    item: String,
    output: usize,
    content: usize,
    opens: bool,
    closes: bool,
}

impl Speaker {
    fn event(&mut self, name: &str, mut data: Value) -> Vec<u8> {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.number);
        self.number += 1;
        named_event(name, &data)
    }

    fn place(&self, block: usize, answer: &Answer) -> Option<(Place, &Item)> {
        let holds = |item: &Item| (item.first..=item.last).contains(&block);
        let output = self.items.iter().position(holds)?;
        let item = self.items.get(output)?;
        let place = Place {
            item: self.response.item_id(item, answer),
            output,
            content: block - item.first,
            opens: block == item.first,
            closes: block == item.last,
        };
        Some((place, item))
    }

    fn open(&mut self, index: usize, answer: &Answer, out: &mut Said) -> Option<()> {
        let (place, item) = self.place(index, answer)?;
        let block = answer.blocks.get(index)?;
        let begun = self.response.item(item, answer, "in_progress", &|_| String::new());
        if place.opens {
            out.event(
                self.event(
                    "response.output_item.added",
                    json!({"output_index": place.output, "item": begun}),
                ),
            );
        }
        let Place { item, output, content, .. } = place;
        match block {
            Block::Call(_) => {}
            Block::Thinking(thinking) => {
                if !thinking.redacted && !thinking.text.is_empty() {
                    let data = json!({"item_id": item, "output_index": output, "summary_index": 0, "part": summary("")});
                    out.event(self.event("response.reasoning_summary_part.added", data));
                }
            }
            _ => {
                let part = part(block, "", false);
                let data =
                    json!({"item_id": item, "output_index": output, "content_index": content, "part": part});
                out.event(self.event("response.content_part.added", data));
            }
        }
        Some(())
    }

    fn delta(&mut self, index: usize, text: &str, answer: &Answer, out: &mut Said) -> Option<()> {
        let (place, _) = self.place(index, answer)?;
        let mut data = json!({"item_id": place.item, "output_index": place.output, "delta": text});
        let name = match answer.blocks.get(index)? {
            Block::Call(_) => "response.function_call_arguments.delta",
            Block::Thinking(_) => {
                data["summary_index"] = json!(0);
                "response.reasoning_summary_text.delta"
            }
            Block::Refusal(_) => {
                data["content_index"] = json!(place.content);
                "response.refusal.delta"
            }
            Block::Text(_) | Block::Filler(_) => {
                data["content_index"] = json!(place.content);
                data["logprobs"] = Value::Array(if answer.logprobs { logprobs(text) } else { Vec::new() });
                "response.output_text.delta"
            }
        };
        out.event(self.event(name, data));
        Some(())
    }

    fn close(&mut self, index: usize, answer: &Answer, out: &mut Said) -> Option<()> {
        let (place, item) = self.place(index, answer)?;
        let block = answer.blocks.get(index)?;
        let said = text(block);
        let cut = answer.finish == Finish::Length && place.output + 1 == self.items.len();
        let status = if cut { "incomplete" } else { "completed" };
        let done = place.closes.then(|| self.response.item(item, answer, status, &text));
        let Place { item, output, content, .. } = place;
        let mut say = |name: &str, data: Value| {
            let mut data = data;
            data["output_index"] = json!(output);
            out.event(self.event(name, data));
        };
        match block {
            Block::Call(call) => {
                let data = json!({"item_id": item, "name": call.name, "arguments": said});
                say("response.function_call_arguments.done", data);
            }
            Block::Thinking(_) => {
                if !said.is_empty() {
                    let data = json!({"item_id": item, "summary_index": 0, "text": said});
                    say("response.reasoning_summary_text.done", data);
                    let data = json!({"item_id": item, "summary_index": 0, "part": summary(&said)});
                    say("response.reasoning_summary_part.done", data);
                }
            }
            Block::Refusal(_) => {
                let data = json!({"item_id": item, "content_index": content, "refusal": said});
                say("response.refusal.done", data);
                let data =
                    json!({"item_id": item, "content_index": content, "part": part(block, &said, false)});
                say("response.content_part.done", data);
            }
            Block::Text(_) | Block::Filler(_) => {
                let entries = if answer.logprobs { logprobs(&said) } else { Vec::new() };
                let data =
                    json!({"item_id": item, "content_index": content, "text": said, "logprobs": entries});
                say("response.output_text.done", data);
                let part = part(block, &said, answer.logprobs);
                say(
                    "response.content_part.done",
                    json!({"item_id": item, "content_index": content, "part": part}),
                );
            }
        }
        if let Some(done) = done {
            say("response.output_item.done", json!({"item": done}));
        }
        Some(())
    }
}

fn text(block: &Block) -> String {
    if let Block::Filler(bytes) = block { filler_text(*bytes) } else { block.told().to_owned() }
}

impl Voice for Speaker {
    fn tell(&mut self, beat: Beat, answer: &Answer, out: &mut Said) {
        match beat {
            Beat::Begin => {
                let begun = self.response.begun();
                out.event(self.event("response.created", json!({"response": begun})));
                out.event(self.event("response.in_progress", json!({"response": begun})));
            }
            // The engine names no block that the answer does not have.
            Beat::Open(block) => _ = self.open(block, answer, out),
            Beat::Part { block, .. } | Beat::Filler { block, .. } => {
                _ = self.delta(block, &beat.text(answer), answer, out);
            }
            Beat::Close(block) => _ = self.close(block, answer, out),
            Beat::End => {
                let finished = self.response.finished(answer, &text);
                let name = if finished["status"] == "completed" {
                    "response.completed"
                } else {
                    "response.incomplete"
                };
                out.event(self.event(name, json!({"response": finished})));
            }
        }
    }

    fn fail(&mut self, kind: ErrorKind, failure: &Failure) -> Bytes {
        Bytes::from(match kind {
            ErrorKind::Plain => {
                let code = failure.code.unwrap_or("server_error");
                let data =
                    json!({"code": code, "message": failure.message, "param": failure.param.as_deref()});
                self.event("error", data)
            }
            ErrorKind::Failed => {
                let failed = self.response.failed(&failure.message);
                self.event("response.failed", json!({"response": failed}))
            }
        })
    }
}
