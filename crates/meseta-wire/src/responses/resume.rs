//! The writer of a stream that the provider itself began.
//!
//! The last event repeats the whole answer and everything is named by its place, so the events that the client has seen
//! are read once more, as they are: what has ended is kept byte for byte, what is open is taken over.

use super::encoder::StreamEncoder;
use super::frame::{Deltas, Kind, arguments_done, part_done};
use super::output::{Content, Item, Response, Status, summary_part};
use crate::dialect::Context;
use crate::json::Json;
use crate::object;

/// What the client has seen.
pub struct Resume {
    context: Context,
    response: Option<Response>,
    sequence: u64,
    items: Vec<Seen>,
    ended: bool,
}

/// An item of the answer.
enum Seen {
    /// As it was told at its end.
    Done(Item),
    Message {
        id: String,
        parts: Vec<Part>,
    },
    Reasoning {
        id: String,
        summary: Vec<Part>,
    },
    Call {
        item: Item,
        told: bool,
    },
    /// Of a tool of the provider's own, which has not ended.
    Other,
}

/// A part of a message or of a summary.
struct Part {
    content: Content,
    /// Its text was told as a whole.
    told: bool,
    done: bool,
}

impl Resume {
    pub fn new(context: Context) -> Resume {
        Resume { context, response: None, sequence: 0, items: Vec::new(), ended: false }
    }

    /// Reads an event's data. Returns false if it is not where it must be, so that nothing can be put behind it.
    pub fn event(&mut self, data: &[u8]) -> bool {
        let json = std::str::from_utf8(data).ok().and_then(|text| Json::parse(text).ok());
        json.is_some_and(|event| self.read(&event).is_some())
    }

    fn read(&mut self, event: &Json<'_>) -> Option<()> {
        let number = |key: &str| match event.get(key) {
            Some(Json::Number(number)) => number.as_u64(),
            _ => None,
        };
        let place = |key: &str| number(key).and_then(|number| usize::try_from(number).ok());
        self.sequence = number("sequence_number").unwrap_or(self.sequence).checked_add(1)?;
        let kind = event.get("type").and_then(Json::as_str)?;
        if self.response.is_none() {
            self.response = Some(Response::seen(event.get("response")?)?);
        }
        let delta = event.get("delta").and_then(Json::as_str).unwrap_or_default();
        match kind {
            "response.completed" | "response.incomplete" | "response.failed" | "error" => self.ended = true,
            "response.output_item.added" => {
                if place("output_index")? != self.items.len() {
                    return None;
                }
                self.items.push(Seen::begun(event.get("item")?)?);
            }
            "response.output_item.done" => {
                let item = event.get("item")?;
                let id = item.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
                let whole = Item::Whole { id, json: item.to_text() };
                *self.items.get_mut(place("output_index")?)? = Seen::Done(whole);
            }
            "response.content_part.added" => {
                let content = match event.get("part")?.get("type")?.as_str()? {
                    "output_text" => Content::text(),
                    "refusal" => Content::Refusal(String::new()),
                    _ => return None,
                };
                let parts = self.parts(place("output_index")?)?;
                if place("content_index")? != parts.len() {
                    return None;
                }
                parts.push(Part::new(content));
            }
            "response.reasoning_summary_part.added" => {
                let parts = self.parts(place("output_index")?)?;
                if place("summary_index")? != parts.len() {
                    return None;
                }
                parts.push(Part::new(Content::text()));
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                self.part(place("output_index")?, place("content_index")?)?.content.push(delta);
            }
            "response.reasoning_summary_text.delta" => {
                self.part(place("output_index")?, place("summary_index")?)?.content.push(delta);
            }
            "response.output_text.done" | "response.refusal.done" => {
                self.part(place("output_index")?, place("content_index")?)?.told = true;
            }
            "response.reasoning_summary_text.done" => {
                self.part(place("output_index")?, place("summary_index")?)?.told = true;
            }
            "response.content_part.done" => {
                self.part(place("output_index")?, place("content_index")?)?.done = true;
            }
            "response.reasoning_summary_part.done" => {
                self.part(place("output_index")?, place("summary_index")?)?.done = true;
            }
            "response.output_text.annotation.added" => {
                let annotation = event.get("annotation")?.clone().into_owned();
                let part = self.part(place("output_index")?, place("content_index")?)?;
                if let Content::Text { annotations, .. } = &mut part.content {
                    annotations.push(annotation);
                }
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                if let (Item::Call { arguments, .. }, _) = self.call(place("output_index")?)? {
                    arguments.push_str(delta);
                }
            }
            "response.function_call_arguments.done" | "response.custom_tool_call_input.done" => {
                let (item, told) = self.call(place("output_index")?)?;
                *told = true;
                let whole = event.get("arguments").or(event.get("input")).and_then(Json::as_str);
                if let (Item::Call { arguments, .. }, Some(whole)) = (item, whole) {
                    whole.clone_into(arguments);
                }
            }
            _ => {}
        }
        Some(())
    }

    fn parts(&mut self, item: usize) -> Option<&mut Vec<Part>> {
        match self.items.get_mut(item)? {
            Seen::Message { parts, .. } | Seen::Reasoning { summary: parts, .. } => Some(parts),
            Seen::Done(_) | Seen::Call { .. } | Seen::Other => None,
        }
    }

    fn part(&mut self, item: usize, part: usize) -> Option<&mut Part> {
        self.parts(item)?.get_mut(part)
    }

    fn call(&mut self, item: usize) -> Option<(&mut Item, &mut bool)> {
        match self.items.get_mut(item)? {
            Seen::Call { item, told } => Some((item, told)),
            _ => None,
        }
    }

    /// The encoder that goes on. What is open is ended first, but for the last message, and for its last text if that is
    /// the block `text`, as the events number it.
    /// `None` if that is not known of everything that is open.
    pub fn finish(self, text: Option<u32>, out: &mut Vec<u8>) -> Option<StreamEncoder> {
        let mut encoder = StreamEncoder::resumed(self.context, self.response, self.sequence, self.ended);
        let last = self.items.len().saturating_sub(1);
        for (slot, seen) in self.items.into_iter().enumerate() {
            match seen {
                Seen::Done(item) => encoder.take_slot(item, Status::Completed),
                Seen::Message { id, parts } => {
                    let mut item = Item::Message { id, parts: Vec::new() };
                    let mut open = None;
                    let count = parts.len();
                    for (content, part) in parts.into_iter().enumerate() {
                        let kind = match part.content {
                            Content::Text { .. } => Kind::Text,
                            Content::Refusal(_) => Kind::Refusal,
                        };
                        let place = Deltas::new(slot, content, kind, &item);
                        let goes_on = slot == last && content + 1 == count && !part.told && !part.done;
                        if goes_on && kind == Kind::Text && text.is_some() {
                            open = text;
                        } else if !part.done {
                            part_done(encoder.writer(), item.id(), &place, &part.content, part.told, out);
                        }
                        if let Item::Message { parts, .. } = &mut item {
                            parts.push(part.content);
                        }
                    }
                    encoder.take_slot(item, Status::InProgress);
                    match open {
                        Some(index) => encoder.take_open(index, slot, count.saturating_sub(1)),
                        None if slot != last => encoder.item_done(slot, Status::Completed, out),
                        None => {}
                    }
                }
                Seen::Reasoning { id, summary } => {
                    let item = reasoning_done(&mut encoder, id, slot, &summary, out);
                    encoder.take_slot(item, Status::InProgress);
                    encoder.item_done(slot, Status::Completed, out);
                }
                Seen::Call { item, told } => {
                    if !told {
                        arguments_done(encoder.writer(), slot, &item, out);
                    }
                    encoder.take_slot(item, Status::InProgress);
                    encoder.item_done(slot, Status::Completed, out);
                }
                Seen::Other => return None,
            }
        }
        Some(encoder)
    }
}

/// The encoder of the end of a stream that nobody goes on with. Of what the client has seen it knows the data of the first
/// event, which names the answer, and of the last one, which has the number before its own.
pub fn last_words(context: Context, first: &[u8], last: &[u8]) -> StreamEncoder {
    fn read(data: &[u8]) -> Option<Json<'_>> {
        Json::parse(std::str::from_utf8(data).ok()?).ok()
    }
    let response = read(first).and_then(|event| Response::seen(event.get("response")?));
    let number = read(last).and_then(|event| match event.get("sequence_number") {
        Some(Json::Number(number)) => number.as_u64(),
        _ => None,
    });
    let sequence = number.map_or(0, |number| number.saturating_add(1));
    StreamEncoder::resumed(context, response, sequence, false)
}

impl Seen {
    fn begun(item: &Json<'_>) -> Option<Seen> {
        let text = |key: &str| item.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let id = text("id");
        Some(match item.get("type")?.as_str()? {
            "message" => Seen::Message { id, parts: Vec::new() },
            "reasoning" => Seen::Reasoning { id, summary: Vec::new() },
            kind @ ("function_call" | "custom_tool_call") => {
                let custom = kind == "custom_tool_call";
                let arguments = text(if custom { "input" } else { "arguments" });
                let item = Item::Call { id, call_id: text("call_id"), name: text("name"), arguments, custom };
                Seen::Call { item, told: false }
            }
            _ => Seen::Other,
        })
    }
}

impl Part {
    fn new(content: Content) -> Part {
        Part { content, told: false, done: false }
    }
}

/// Ends a summary, of which a provider may have told several parts, and tells the item as a whole.
fn reasoning_done(
    encoder: &mut StreamEncoder,
    id: String,
    slot: usize,
    summary: &[Part],
    out: &mut Vec<u8>,
) -> Item {
    let mut parts = Vec::with_capacity(summary.len());
    for (index, part) in summary.iter().enumerate() {
        let text = part.content.words();
        let place = |key: &'static str, value: Json<'static>| {
            object! { "item_id" => id.clone(), "output_index" => slot, "summary_index" => index, key => value }
        };
        if !part.told && !part.done {
            let body = place("text", Json::from(text.to_owned()));
            encoder.writer().json(out, "response.reasoning_summary_text.done", &body);
        }
        if !part.done {
            let body = place("part", summary_part(text).into_owned());
            encoder.writer().json(out, "response.reasoning_summary_part.done", &body);
        }
        parts.push(summary_part(text));
    }
    let json = object! { "id" => id.as_str(), "type" => "reasoning", "summary" => parts }.to_text();
    Item::Whole { id, json }
}
