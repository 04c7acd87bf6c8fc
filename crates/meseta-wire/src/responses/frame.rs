//! Events of a client's stream, as bytes.

use std::io::Write;

use super::output::{Content, Item, summary_part};
use crate::json::Json;
use crate::object;

/// Numbers the events.
#[derive(Default)]
pub(super) struct Writer {
    sequence: u64,
}

impl Writer {
    pub fn at(sequence: u64) -> Writer {
        Writer { sequence }
    }

    /// One event: its type, its number, then the fields of `body`, an object's JSON text.
    pub fn event(&mut self, out: &mut Vec<u8>, kind: &str, body: &[u8]) {
        // Writing to memory cannot fail.
        let _ =
            write!(out, "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{}", self.sequence);
        self.sequence += 1;
        match body.strip_prefix(b"{") {
            None | Some(b"}") => out.push(b'}'),
            Some(fields) => {
                out.push(b',');
                out.extend_from_slice(fields);
            }
        }
        out.extend_from_slice(b"\n\n");
    }

    pub fn json(&mut self, out: &mut Vec<u8>, kind: &str, body: &Json<'_>) {
        self.event(out, kind, &body.to_vec());
    }

    pub fn response(&mut self, out: &mut Vec<u8>, kind: &str, response: &[u8]) {
        let body = [b"{\"response\":", response, b"}"].concat();
        self.event(out, kind, &body);
    }

    pub fn delta(&mut self, out: &mut Vec<u8>, deltas: &Deltas, text: &str) {
        out.extend_from_slice(&deltas.head);
        let _ = write!(out, "{}", self.sequence);
        self.sequence += 1;
        out.extend_from_slice(&deltas.middle);
        let _ = serde_json::to_writer(&mut *out, text);
        out.extend_from_slice(deltas.tail);
    }
}

/// A block's place in the answer, and what its deltas are made of: a delta's event up to its sequence number, from
/// there to its text, and its end. A delta only puts a number and a text between them.
pub(super) struct Deltas {
    pub slot: usize,
    /// Which part of a message.
    pub content: usize,
    head: Vec<u8>,
    middle: Vec<u8>,
    tail: &'static [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Refusal,
    Thought,
    Arguments,
}

impl Deltas {
    pub fn new(slot: usize, content: usize, kind: Kind, item: &Item) -> Deltas {
        let (name, within, tail): (_, _, &'static [u8]) = match (kind, item) {
            (Kind::Text, _) => {
                ("response.output_text.delta", Some("content_index"), b",\"logprobs\":[]}\n\n")
            }
            (Kind::Refusal, _) => ("response.refusal.delta", Some("content_index"), b"}\n\n"),
            (Kind::Thought, _) => ("response.reasoning_summary_text.delta", Some("summary_index"), b"}\n\n"),
            (Kind::Arguments, Item::Call { custom: true, .. }) => {
                ("response.custom_tool_call_input.delta", None, b"}\n\n")
            }
            (Kind::Arguments, _) => ("response.function_call_arguments.delta", None, b"}\n\n"),
        };
        let head = format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":").into_bytes();
        let id = Json::from(item.id()).to_text();
        let mut middle = format!(",\"item_id\":{id},\"output_index\":{slot}");
        if let Some(within) = within {
            middle.push_str(&format!(",\"{within}\":{content}"));
        }
        middle.push_str(",\"delta\":");
        Deltas { slot, content, head, middle: middle.into_bytes(), tail }
    }
}

pub(super) fn summary_begin(writer: &mut Writer, id: &str, slot: usize, out: &mut Vec<u8>) {
    let body = object! {
        "item_id" => id,
        "output_index" => slot,
        "summary_index" => 0_u64,
        "part" => summary_part(""),
    };
    writer.json(out, "response.reasoning_summary_part.added", &body);
}

pub(super) fn summary_done(writer: &mut Writer, id: &str, slot: usize, text: &str, out: &mut Vec<u8>) {
    let body = object! {
        "item_id" => id,
        "output_index" => slot,
        "summary_index" => 0_u64,
        "text" => text,
    };
    writer.json(out, "response.reasoning_summary_text.done", &body);
    let body = object! {
        "item_id" => id,
        "output_index" => slot,
        "summary_index" => 0_u64,
        "part" => summary_part(text),
    };
    writer.json(out, "response.reasoning_summary_part.done", &body);
}

pub(super) fn arguments_done(writer: &mut Writer, slot: usize, item: &Item, out: &mut Vec<u8>) {
    let Item::Call { id, arguments, custom, .. } = item else { return };
    let (kind, key) = if *custom {
        ("response.custom_tool_call_input.done", "input")
    } else {
        ("response.function_call_arguments.done", "arguments")
    };
    let body = object! { "item_id" => id, "output_index" => slot, key => arguments };
    writer.json(out, kind, &body);
}

/// `told`: the text as a whole has been said before.
pub(super) fn part_done(
    writer: &mut Writer,
    id: &str,
    place: &Deltas,
    content: &Content,
    told: bool,
    out: &mut Vec<u8>,
) {
    match content {
        _ if told => {}
        Content::Text { text, logprobs, .. } => {
            let body = object! {
                "item_id" => id,
                "output_index" => place.slot,
                "content_index" => place.content,
                "text" => text,
                "logprobs" => logprobs.clone(),
            };
            writer.json(out, "response.output_text.done", &body);
        }
        Content::Refusal(refusal) => {
            let body = object! {
                "item_id" => id,
                "output_index" => place.slot,
                "content_index" => place.content,
                "refusal" => refusal,
            };
            writer.json(out, "response.refusal.done", &body);
        }
    }
    let body = object! {
        "item_id" => id,
        "output_index" => place.slot,
        "content_index" => place.content,
        "part" => content.to_json(),
    };
    writer.json(out, "response.content_part.done", &body);
}
