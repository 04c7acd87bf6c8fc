//! What must hold of every cell whatever the golden files say, so that nothing wrong can be blessed.

use meseta_wire::dialect::Dialect;
use meseta_wire::feature::{Fate, Feature};
use serde_json::Value as Json;

use crate::case::{Case, What};
use crate::events;
use crate::expected;
use crate::heard::{self, Heard};
use crate::play::{self, Cell};

pub fn check(case: &Case, cells: &[Cell]) -> Vec<String> {
    let mut problems = Vec::new();
    for cell in cells {
        let found = if cell.panicked {
            vec!["the plane panicked".to_owned()]
        } else if case.passes(cell.client, cell.provider) {
            passed(case, cell)
        } else {
            translated(case, cell)
        };
        problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", cell.name())));
    }
    for pair in cells.chunks(2) {
        if let [whole, streamed] = pair
            && let (Some(whole), Some(streamed)) = (answer(whole), answer(streamed))
            && streamed.failed.is_none()
            && expected::comparable(case, pair[0].provider, &whole)
                != expected::comparable(case, pair[0].provider, &streamed)
        {
            let name = pair[0].name();
            problems.push(format!("{name} and streamed differ:\n  {whole:?}\n  {streamed:?}"));
        }
    }
    problems
}

/// The answer of a cell that has one.
fn answer(cell: &Cell) -> Option<Heard> {
    if cell.reply.status != 200 {
        return None;
    }
    if cell.stream {
        let events = events::read(cell.client, &cell.reply.body).ok()?;
        return Some(heard::streamed(cell.client, &events));
    }
    Some(heard::whole(cell.client, &serde_json::from_slice(&cell.reply.body).ok()?))
}

/// The same dialect on both sides: nothing but the model's name differs, and the answer is the provider's own bytes.
fn passed(case: &Case, cell: &Cell) -> Vec<String> {
    let Ok(body) = case.request(cell.client) else { return Vec::new() };
    let expected = play::request(body, cell.client, case.model(cell.provider), cell.stream);
    let Some(upstream) = &cell.upstream else { return vec![format!("did not pass: {}", cell.reply.text())] };
    let mut problems = Vec::new();
    if upstream.body != expected {
        problems.push(format!("the provider got {}", upstream.body));
    }
    let direct = cell.direct.as_ref().expect("a pair of one dialect was played directly");
    if (direct.status, &direct.body) != (cell.reply.status, &cell.reply.body) {
        problems.push(format!("the answer is not the provider's: {}", cell.reply.text()));
    }
    if cell.reply.header("x-meseta-dropped").is_some() {
        problems.push("something was noted as dropped".to_owned());
    }
    if cell.reply.status != status(case, cell) {
        problems.push(format!("the provider refused it: {}", cell.reply.text()));
    }
    problems
}

/// Whether the script breaks a stream off. It has no stream to break off in a whole answer, which fails.
fn breaks(case: &Case) -> bool {
    case.reply["directives"].as_str().is_some_and(|text| text.contains("error="))
}

/// The status that the provider answers with.
fn status(case: &Case, cell: &Cell) -> u16 {
    let directives = case.reply["directives"].as_str().unwrap_or_default();
    match directives.split(';').find_map(|directive| directive.strip_prefix("status=")) {
        Some(status) => status.parse().expect("a status"),
        None if breaks(case) && !cell.stream => 500,
        None => 200,
    }
}

fn message(case: &Case) -> &str {
    let directives = case.reply["directives"].as_str().unwrap_or_default();
    directives.split(';').find_map(|directive| directive.strip_prefix("message=")).unwrap_or_default()
}

/// A refusal of ours, if the table or the case says that there is one: the code, and the path that it names.
fn refusal(case: &Case, cell: &Cell) -> Option<(&'static str, String)> {
    case.lines(cell.client, cell.provider).find_map(|line| match &line.what {
        What::Feature(feature) if feature.fate_between(cell.client, cell.provider) == Fate::Refused => {
            Some(("request.unsupported", path(*feature, cell.client).to_owned()))
        }
        What::Malformed(path) => Some(("request.invalid_field", path.clone())),
        _ => None,
    })
}

/// Where the client wrote it, or what it is.
fn path(feature: Feature, client: Dialect) -> &'static str {
    match feature.path(client) {
        "" => feature.as_str(),
        path => path,
    }
}

fn translated(case: &Case, cell: &Cell) -> Vec<String> {
    let reply = &cell.reply;
    if let Some((code, path)) = refusal(case, cell) {
        return refused(cell, code, &path);
    }
    if cell.upstream.is_none() {
        return vec![format!("did not reach the provider: {} {}", reply.status, reply.text())];
    }
    let expected = status(case, cell);
    if reply.status != expected {
        return vec![format!("{} instead of {expected}: {}", reply.status, reply.text())];
    }
    if expected != 200 {
        return failed(cell, message(case));
    }
    let mut problems = losses(case, cell);
    if cell.stream
        && let Err(problem) = events::read(cell.client, &reply.body)
    {
        problems.push(problem);
        return problems;
    }
    let Some(heard) = answer(cell) else {
        problems.push(format!("the answer cannot be read: {}", reply.text()));
        return problems;
    };
    if breaks(case) {
        if !heard.failed.as_deref().is_some_and(|text| text.contains(message(case))) {
            problems.push(format!("the stream does not say that it failed: {}", reply.text()));
        }
        return problems;
    }
    problems.extend(expected::differences(&case.reply, cell.client, cell.provider, &heard));
    let asked =
        case.lines(cell.client, cell.provider).any(|line| line.what == What::Feature(Feature::Logprobs));
    let has = Feature::Logprobs.fate(cell.provider) == Fate::Carried;
    if (heard.logprobs > 0) != (asked && has) {
        problems.push(format!("{} tokens have a log probability", heard.logprobs));
    }
    problems
}

fn refused(cell: &Cell, code: &str, path: &str) -> Vec<String> {
    let text = cell.reply.text();
    if cell.upstream.is_some() {
        return vec![format!("reached the provider instead of {code} at {path}")];
    }
    let error: Json = serde_json::from_str(&text).unwrap_or_default();
    let error = &error["error"];
    let says = |word: &str| error["message"].as_str().is_some_and(|text| text.contains(word));
    // Anthropic's errors have no place for a code and a parameter; the message names the field.
    let named = match cell.client {
        Dialect::AnthropicMessages => error["type"] == "invalid_request_error" && says(path),
        _ => error["code"] == code && error["param"] == path && says(path),
    };
    if cell.reply.status == 400 && named {
        return Vec::new();
    }
    vec![format!("{} instead of {code} at {path}: {text}", cell.reply.status)]
}

/// The provider's error, in the client's shape.
fn failed(cell: &Cell, message: &str) -> Vec<String> {
    let error: Json = serde_json::from_slice(&cell.reply.body).unwrap_or_default();
    let shaped = match cell.client {
        Dialect::AnthropicMessages => {
            error["type"] == "error" && error["error"]["type"].is_string() && error["request_id"].is_string()
        }
        _ => ["message", "type", "param", "code"].iter().all(|key| error["error"].get(key).is_some()),
    };
    let says = error["error"]["message"].as_str().is_some_and(|text| text.contains(message));
    if shaped && says { Vec::new() } else { vec![format!("an error that does not say why: {error}")] }
}

/// What the table calls dropped or changed is noted, and nothing else is.
fn losses(case: &Case, cell: &Cell) -> Vec<String> {
    let dropped = cell.dropped();
    let mut problems = Vec::new();
    let mut known = Vec::new();
    for line in case.lines(cell.client, cell.provider) {
        let (path, must) = match &line.what {
            What::Feature(feature) => {
                let lossy =
                    matches!(feature.fate_between(cell.client, cell.provider), Fate::Changed | Fate::Dropped);
                (path(*feature, cell.client), lossy)
            }
            What::Unknown(path) => (path.as_str(), true),
            What::Answer(word) => (word.as_str(), false),
            What::Malformed(_) | What::Translated => continue,
        };
        known.push(path);
        if must && !line.may && !dropped.contains(&path) {
            problems.push(format!("{path} is not noted as dropped, only {dropped:?}"));
        }
    }
    for path in dropped.iter().filter(|path| !known.contains(path)) {
        problems.push(format!("{path} is noted as dropped, and the case does not say so"));
    }
    problems
}
