//! The golden files: what the provider got and what the client got, in a form that people can review. The format is
//! described in tests/conversations/README.md, and `tests/python/test_matrix_documents.py` reads it.

use std::collections::HashMap;

use meseta_wire::dialect::Dialect;
use serde_json::{Map, Value as Json};

use crate::case::{CLIENTS, Case};
use crate::events;
use crate::play::Cell;
use crate::support::dialects::short;

/// Stands for the request's id, which differs in every run.
const ID: &str = "00000000000000ff";
/// Stands for the name by which the client asked for the model.
const MODEL: &str = "some/model";
/// Stands for the time of the answer.
const NOW: u64 = 1_700_000_000;
/// Values that fit into one line stay on it.
const WIDTH: usize = 110;

pub fn write(case: &Case, cells: &[Cell]) -> String {
    let mut file = File::default();
    for client in CLIENTS {
        if let Err(reason) = case.request(client) {
            file.text += &format!("=== {}\ncannot be said: {reason}\n", short(client));
        }
    }
    for pair in cells.chunks(2) {
        let [whole, streamed] = pair else { continue };
        let name = format!("{} > {}", short(whole.client), short(whole.provider));
        file.text += &format!("=== {name}\n");
        if case.passes(whole.client, whole.provider) {
            file.text += &format!("exact {} {}\n", whole.reply.status, streamed.reply.status);
            continue;
        }
        let asked = whole.upstream.as_ref().map(|seen| asked(&seen.body));
        if let (Some(seen), Some(body)) = (&whole.upstream, &asked) {
            file.block(&name, "upstream", &format!("POST {}", seen.path), &pretty(body, 0));
        }
        if let Some(seen) = &streamed.upstream {
            let streamed = self::asked(&seen.body);
            if asked.as_ref() != Some(&streamed) {
                file.block(&name, "upstream-streamed", &format!("POST {}", seen.path), &pretty(&streamed, 0));
            }
        }
        file.answer(&name, whole);
        file.answer(&name, streamed);
    }
    file.text
}

/// Says where the text differs from the file.
pub fn compare(file: &str, text: &str) -> Option<String> {
    if file == text {
        return None;
    }
    let (mut section, mut number) = ("", 0);
    let mut lines = file.lines();
    for line in text.lines() {
        number += 1;
        if line.starts_with("=== ") {
            section = line;
        }
        let expected = lines.next().unwrap_or("(the end of the file)");
        if line != expected {
            return Some(format!(
                "line {number}, {section}: is\n  {line}\nand the golden file says\n  {expected}"
            ));
        }
    }
    Some(format!("the golden file has more than {number} lines"))
}

#[derive(Default)]
struct File {
    text: String,
    /// Where a block stood first.
    known: HashMap<String, String>,
    /// The first whole answer in each client's dialect, and where it stands.
    first: HashMap<Dialect, (String, Map<String, Json>)>,
    /// The whole answer of this pair.
    whole: Map<String, Json>,
}

impl File {
    /// A block, or where it stands already.
    fn block(&mut self, pair: &str, name: &str, head: &str, content: &str) {
        let place = format!("{pair} {name}");
        if let Some(first) = self.known.get(content) {
            self.text += &format!("{name} {head} as {first}\n");
        } else {
            self.text += &format!("{name} {head}\n{content}\n");
            self.known.insert(content.to_owned(), place);
        }
    }

    fn answer(&mut self, pair: &str, cell: &Cell) {
        let reply = &cell.reply;
        let mut head = reply.status.to_string();
        if let Some(dropped) = reply.header("x-meseta-dropped") {
            head += &format!(" dropped: {dropped};");
        }
        let id = reply.header("x-meseta-request-id").unwrap_or_default().trim_start_matches("req_");
        let text = reply.text().replace(&cell.model, MODEL);
        let text = if id.is_empty() { text } else { text.replace(id, ID) };
        let name = if cell.stream { "streamed" } else { "whole" };
        if cell.stream && reply.status == 200 {
            let content = match events::read(cell.client, text.as_bytes()) {
                Ok(events) => compact(cell.client, &events, &self.whole),
                Err(problem) => format!("{problem}\n{text}"),
            };
            self.block(pair, name, &head, &content);
            return;
        }
        let json = serde_json::from_str(&text).map_or_else(|_| Json::String(text), timeless);
        let mut content = pretty(&json, 0);
        if let (Json::Object(object), 200) = (&json, reply.status) {
            if let Some((first, base)) = self.first.get(&cell.client)
                && let Some(changed) = changes(base, object)
                && !self.known.contains_key(&content)
            {
                head += &format!(" like {first}");
                content = pretty(&Json::Object(changed), 0);
            } else {
                self.first.entry(cell.client).or_insert_with(|| (format!("{pair} {name}"), object.clone()));
            }
            self.whole.clone_from(object);
        } else {
            self.whole.clear();
        }
        self.block(pair, name, &head, &content);
    }
}

/// What must be written over one object to make another; `None` when something must be taken away.
fn changes(before: &Map<String, Json>, after: &Map<String, Json>) -> Option<Map<String, Json>> {
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    before
        .keys()
        .all(|key| after.contains_key(key))
        .then(|| changed.map(|(k, v)| (k.clone(), v.clone())).collect())
}

/// What the provider got, without what only says whether to stream.
fn asked(text: &str) -> Json {
    let mut json = serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()));
    if let Json::Object(object) = &mut json {
        object.remove("stream");
        object.remove("stream_options");
    }
    json
}

/// With the time of the answer replaced.
fn timeless(mut json: Json) -> Json {
    let object =
        if json.get("response").is_some_and(Json::is_object) { &mut json["response"] } else { &mut json };
    for key in ["created", "created_at", "completed_at"] {
        if object.get(key).is_some_and(Json::is_u64) {
            object[key] = NOW.into();
        }
    }
    json
}

/// JSON with sorted keys, on one line where it fits.
fn pretty(json: &Json, indent: usize) -> String {
    let line = json.to_string();
    let (open, close, items): (_, _, Vec<String>) = match json {
        _ if line.chars().count() + indent <= WIDTH => return line,
        Json::Object(object) => {
            let item = |(key, value): (&String, &Json)| {
                format!("{}: {}", Json::from(key.as_str()), pretty(value, indent + 2))
            };
            ('{', '}', object.iter().map(item).collect())
        }
        Json::Array(array) => ('[', ']', array.iter().map(|item| pretty(item, indent + 2)).collect()),
        _ => return line,
    };
    let margin = " ".repeat(indent);
    let items: Vec<String> = items.iter().map(|item| format!("{margin}  {item}")).collect();
    format!("{open}\n{}\n{margin}{close}", items.join(",\n"))
}

/// A stream with one event a line, and without what repeats itself: what all events have in common stands once, a
/// response object says only what differs from the one before (the first one: from the whole answer), and an event that
/// differs from the one before in one text is that text.
fn compact(client: Dialect, events: &[events::Data], whole: &Map<String, Json>) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut objects: Vec<Json> = events.iter().flatten().cloned().map(timeless).collect();
    let each = if client == Dialect::OpenaiChat { common(&objects) } else { Map::new() };
    if !each.is_empty() {
        lines.push(format!("each {}", Json::Object(each.clone())));
    }
    let mut response = whole.clone();
    let mut before: Option<Json> = None;
    let mut run: Option<(String, Vec<String>)> = None;
    for object in &mut objects {
        if let Some(object) = object.as_object_mut() {
            object.retain(|key, value| key != "sequence_number" && each.get(key) != Some(value));
            if let Some(Json::Object(now)) = object.get_mut("response") {
                let full = now.clone();
                if let Some(changed) = changes(&response, &full) {
                    *now = changed;
                } else {
                    object.insert("anew".to_owned(), true.into());
                }
                response = full;
            }
        }
        let varied = before.as_ref().and_then(|before| varied(before, object));
        match (&mut run, varied) {
            (Some((path, texts)), Some((other, text))) if *path == other => texts.push(text),
            (run, varied) => {
                flush(run, &mut lines);
                match varied {
                    Some((path, text)) => *run = Some((path, vec![text])),
                    None => lines.push(object.to_string()),
                }
            }
        }
        before = Some(object.clone());
    }
    flush(&mut run, &mut lines);
    if events.last() == Some(&None) {
        lines.push("[DONE]".to_owned());
    }
    lines.join("\n")
}

fn flush(run: &mut Option<(String, Vec<String>)>, lines: &mut Vec<String>) {
    if let Some((path, texts)) = run.take() {
        lines.push(format!("~ {path} {}", Json::from(texts)));
    }
}

/// The fields that every event has with the same value.
fn common(events: &[Json]) -> Map<String, Json> {
    let Some(Json::Object(first)) = events.first() else { return Map::new() };
    let mut common = first.clone();
    for event in events {
        common.retain(|key, value| event.get(key) == Some(value));
    }
    common
}

/// The one text in which two documents differ, and where it is.
fn varied(before: &Json, after: &Json) -> Option<(String, String)> {
    let mut found = Vec::new();
    differences(before, after, String::new(), &mut found);
    match <[_; 1]>::try_from(found) {
        Ok([(path, Some(text))]) => Some((path, text)),
        _ => None,
    }
}

fn differences(before: &Json, after: &Json, path: String, found: &mut Vec<(String, Option<String>)>) {
    let below =
        |key: &dyn std::fmt::Display| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match (before, after) {
        _ if before == after => {}
        (Json::Object(left), Json::Object(right)) if left.keys().eq(right.keys()) => {
            for (key, value) in left {
                differences(value, &right[key], below(key), found);
            }
        }
        (Json::Array(left), Json::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(left, right, below(&index), found);
            }
        }
        (Json::String(_), Json::String(text)) => found.push((path, Some(text.clone()))),
        _ => found.push((path, None)),
    }
}
