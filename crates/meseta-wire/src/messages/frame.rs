//! Events of a stream as bytes.

use serde::Serialize;

use super::answer::{Message, Stop};
use super::usage::Report;
use crate::json::Json;
use crate::object;
use crate::usage::Usage;

const PIECE: &[u8] = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":";
const PIECE_END: &[u8] = b"}}\n\n";
pub(super) const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";

pub(super) const MESSAGE_STOP: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[derive(Serialize)]
struct MessageStart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: Message<'a>,
}

#[derive(Serialize)]
struct MessageDelta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    delta: Stop<'a>,
    usage: Report,
}

fn write(out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // Writing into memory cannot fail, and nothing that is written has keys that are no strings.
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}

pub(super) fn message_start(message: Message<'_>, out: &mut Vec<u8>) {
    write(out, "message_start", &MessageStart { kind: "message_start", message });
}

pub(super) fn message_delta(stop: Stop<'_>, usage: Option<Usage>, out: &mut Vec<u8>) {
    let usage = Report::from(usage.unwrap_or_default());
    write(out, "message_delta", &MessageDelta { kind: "message_delta", delta: stop, usage });
}

pub(super) fn block_start(index: u32, block: Json<'_>, out: &mut Vec<u8>) {
    let data =
        object! { "type" => "content_block_start", "index" => u64::from(index), "content_block" => block };
    write(out, "content_block_start", &data);
}

pub(super) fn block_stop(index: u32, out: &mut Vec<u8>) {
    let data = object! { "type" => "content_block_stop", "index" => u64::from(index) };
    write(out, "content_block_stop", &data);
}

pub(super) fn citation(index: u32, citation: Json<'_>, out: &mut Vec<u8>) {
    let delta = object! { "type" => "citations_delta", "citation" => citation };
    let data = object! { "type" => "content_block_delta", "index" => u64::from(index), "delta" => delta };
    write(out, "content_block_delta", &data);
}

/// All that stands before the text of a block's piece.
pub(super) fn head(index: u32, kind: &str, key: &str) -> Vec<u8> {
    let mut head = PIECE.to_vec();
    head.extend_from_slice(format!("{index},\"delta\":{{\"type\":\"{kind}\",\"{key}\":").as_bytes());
    head
}

/// One piece of a block. Nearly all of a stream is these.
pub(super) fn piece(head: &[u8], text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(head);
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
    out.extend_from_slice(PIECE_END);
}
