//! A stream of server-sent events, as the clients' SDKs read it.

use meseta_wire::dialect::Dialect;
use serde_json::Value as Json;

/// One event's data; `None` is chat's `[DONE]`.
pub type Data = Option<Json>;

/// Reads a stream, and says what is wrong with its form.
pub fn read(client: Dialect, body: &[u8]) -> Result<Vec<Data>, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let mut events = Vec::new();
    for block in text.replace("\r\n", "\n").split("\n\n") {
        let (mut name, mut data) = (None, None);
        for line in block.lines().filter(|line| !line.starts_with(':')) {
            match line.split_once(": ") {
                Some(("event", value)) => name = Some(value),
                Some(("data", value)) if data.is_none() => data = Some(value),
                _ => return Err(format!("a line that is no field of an event: {line:?}")),
            }
        }
        let Some(data) = data else { continue };
        if data == "[DONE]" {
            events.push(None);
            continue;
        }
        let json: Json = serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))?;
        let named = client != Dialect::OpenaiChat;
        if named && (name.is_none() || name != json["type"].as_str()) {
            return Err(format!("the event {name:?} has data of the type {}", json["type"]));
        }
        if !named && name.is_some() {
            return Err(format!("chat completions have no named events, but here is {name:?}"));
        }
        events.push(Some(json));
    }
    if !text.ends_with("\n\n") {
        return Err("the last event has no end".to_owned());
    }
    check_order(client, &events)?;
    Ok(events)
}

/// The order that each API promises.
fn check_order(client: Dialect, events: &[Data]) -> Result<(), String> {
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event.as_ref().map_or("[DONE]", |event| event["type"].as_str().unwrap_or("")))
        .collect();
    let last = kinds.last().copied().unwrap_or_default();
    match client {
        Dialect::OpenaiChat => {
            let failed = events.iter().flatten().any(|event| event.get("error").is_some());
            if !failed && (last != "[DONE]" || kinds.iter().filter(|kind| **kind == "[DONE]").count() != 1) {
                return Err(format!("[DONE] is not the last word: {kinds:?}"));
            }
        }
        Dialect::OpenaiResponses => {
            for (number, event) in events.iter().flatten().enumerate() {
                if event["sequence_number"] != number {
                    return Err(format!("sequence number {number} is missing: {event}"));
                }
            }
            let ends = ["response.completed", "response.incomplete", "response.failed", "error"];
            if kinds.get(..2) != Some(&["response.created", "response.in_progress"]) || !ends.contains(&last)
            {
                return Err(format!("the response does not begin or end as it must: {kinds:?}"));
            }
        }
        _ => {
            if kinds.first() != Some(&"message_start") || !["message_stop", "error"].contains(&last) {
                return Err(format!("the message does not begin or end as it must: {kinds:?}"));
            }
            check_blocks(events)?;
        }
    }
    Ok(())
}

/// Anthropic's blocks: numbered from 0, one open at a time, each of them closed.
fn check_blocks(events: &[Data]) -> Result<(), String> {
    let (mut next, mut open) = (0, None);
    for event in events.iter().flatten() {
        let index = event["index"].as_u64();
        let fits = match event["type"].as_str().unwrap_or_default() {
            "content_block_start" => {
                let fits = open.is_none() && index == Some(next);
                open = index;
                next += 1;
                fits
            }
            "content_block_delta" => open.is_some() && index == open,
            "content_block_stop" => open.take() == index,
            "message_delta" | "message_stop" => open.is_none(),
            _ => true,
        };
        if !fits {
            return Err(format!("a block that is not where it must be: {event}"));
        }
    }
    Ok(())
}
