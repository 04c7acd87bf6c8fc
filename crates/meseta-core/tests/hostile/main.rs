//! Clients that mean harm or know no better. Each gets a clear answer or a closed connection, and nobody else notices.

mod bodies;
mod connections;
mod frames;
mod heads;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value as Json, json};
use support::House;
use support::http1::Client;

const CHAT: &str = "/v1/chat/completions";

/// A house whose clients have this long for a head and a body.
fn hasty(milliseconds: u64) -> House {
    House::with(|document| {
        document["listeners"][0]["timeouts"] = json!({"head_ms": milliseconds, "body_ms": milliseconds});
    })
}

/// Sends a body to the chat endpoint on a connection that must stay good, and gives the code of the refusal.
fn refusal(client: &mut Client, body: impl AsRef<[u8]>) -> (u16, String, Json) {
    client.post(CHAT, "", body);
    let reply = client.reply();
    (reply.status, reply.code(), reply.json()["error"].clone())
}
