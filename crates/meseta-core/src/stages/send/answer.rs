//! A whole answer, read as its dialect demands and put into the client's. Part of `send`: what cannot be read is a failure
//! of the target, and nothing has gone to the client yet.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{StatusCode, response};
use memchr::memmem::Finder;
use meseta_wire::dialect::{self, Dialect};
use meseta_wire::embeddings::{self, EmbeddingsAnswer};
use meseta_wire::json::Json;
use meseta_wire::scan;
use meseta_wire::shape::Malformed;
use meseta_wire::usage::Usage;

use crate::error::{Code, Error};
use crate::snapshot::Operation;
use crate::stages::send::{Client, Notes};
use crate::stages::translate::{Embedding, Reading, Translation};

/// The answer's bytes for the client; the head loses what only the provider's bytes had.
pub(super) fn read(
    client: Client,
    notes: &mut Notes,
    reading: &mut Reading,
    head: &mut response::Parts,
    body: Bytes,
    agent: bool,
) -> Result<Bytes, Error> {
    if body.is_empty() {
        return Err(Error::new(
            Code::UpstreamInvalidAnswer,
            format!("the provider answered {} and nothing else.", head.status),
        ));
    }
    if let Reading::Same { dialect, .. } = reading {
        notes.usage = scan::answer(*dialect, &body).map_err(|error| invalid(head, &error))?;
        // Agents are programs of many hands, and what is no answer would pass for one.
        if agent {
            scan::check_answer(*dialect, &body).map_err(|error| no_answer(head, *dialect, &error))?;
        }
        return Ok(body);
    }
    let text = std::str::from_utf8(&body).map_err(|error| invalid(head, &error))?;
    let json = Json::parse(text).map_err(|error| invalid(head, &error))?;
    let dialect = dialect_of(reading);
    let answer = match reading {
        Reading::Conversation(translation) => conversation(client, notes, translation, &json),
        Reading::Count(dialect) => count(*dialect, &json),
        Reading::Embeddings(embedding) => vectors(notes, embedding, &body),
        Reading::Same { .. } => Ok(Vec::new()),
    }
    .map_err(|error| no_answer(head, dialect, &error))?;
    clean(&mut head.headers);
    Ok(answer.into())
}

/// Where a provider's answer is; beside one of these, an `error` is a part of it.
const ANSWERS: [&str; 8] =
    ["choices", "output", "content", "candidates", "data", "embedding", "embeddings", "input_tokens"];

/// Made once: every whole answer is searched.
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));

/// The status that an error with a good one should have: routers that had begun before their provider failed say 200 and
/// put the error into the body.
pub(super) fn disguised(body: &[u8]) -> Option<StatusCode> {
    // Few answers have the word, so that few are parsed once more.
    ERROR.find(body)?;
    let json = Json::parse(std::str::from_utf8(body).ok()?).ok()?;
    let error = json.get("error").filter(|error| matches!(error, Json::Object(_) | Json::String(_)))?;
    if ANSWERS.iter().any(|key| json.get(key).is_some_and(|value| !matches!(value, Json::Null))) {
        return None;
    }
    let code = error.get("code").and_then(|code| match code {
        Json::Number(number) => number.to_string().parse().ok(),
        _ => None,
    });
    let said = code.filter(|code| (400..600).contains(code)).and_then(|code| StatusCode::from_u16(code).ok());
    Some(said.unwrap_or(StatusCode::BAD_GATEWAY))
}

/// A refusal, so that the client can read it; a body that it could not read is an error of the target.
pub(super) fn refusal(
    client: Client,
    notes: &mut Notes,
    reading: &Reading,
    head: &mut response::Parts,
    body: Bytes,
) -> Result<Bytes, Error> {
    if matches!(reading, Reading::Same { .. }) {
        return if scan::is_json(&body) { Ok(body) } else { Err(unreadable(head, &body)) };
    }
    let dialect = dialect_of(reading);
    let mut failure = dialect::decode_error(dialect, head.status.as_u16(), &body);
    if failure.message.is_empty() {
        failure.message = format!("The answer was {}.", head.status).into();
    }
    notes.translated = Some(dialect);
    let answer = dialect::encode_error(client.dialect, &failure, &client.id.text());
    clean(&mut head.headers);
    Ok(answer.into())
}

/// What the provider speaks.
pub(super) fn dialect_of(reading: &Reading) -> Dialect {
    match reading {
        Reading::Conversation(translation) => translation.target,
        Reading::Count(dialect) | Reading::Same { dialect, .. } => *dialect,
        Reading::Embeddings(embedding) => embedding.losses.target(),
    }
}

/// Of the provider's headers, only what holds for the client's answer too.
pub(super) fn clean(headers: &mut HeaderMap) {
    let kept: Vec<(HeaderName, HeaderValue)> =
        headers.get_all(RETRY_AFTER).iter().map(|value| (RETRY_AFTER, value.clone())).collect();
    headers.clear();
    headers.extend(kept);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

fn conversation(
    client: Client,
    notes: &mut Notes,
    translation: &mut Translation,
    json: &Json<'_>,
) -> Result<Vec<u8>, Malformed> {
    let answer = dialect::decode_answer(translation.target, json)?;
    notes.usage = answer.usage;
    let body = dialect::encode_answer(client.dialect, &answer, &translation.context, &mut translation.losses);
    notes.of(&translation.losses);
    Ok(body)
}

fn count(dialect: Dialect, json: &Json<'_>) -> Result<Vec<u8>, Malformed> {
    let tokens =
        dialect::decode_count(dialect, json).ok_or_else(|| Malformed::here("holds no number of tokens"))?;
    Ok(format!(r#"{{"input_tokens":{tokens}}}"#).into_bytes())
}

fn vectors(notes: &mut Notes, embedding: &mut Embedding, body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let answer: EmbeddingsAnswer = match embedding.operation {
        Operation::InvokeModel => {
            embeddings::bedrock::decode_answer(body, embedding.inputs, &embedding.model)?
        }
        _ => embeddings::gemini::decode_answer(body, embedding.inputs)?,
    };
    notes.usage = answer.input_tokens.map(|input| Usage { input, ..Usage::default() });
    let document =
        embeddings::encode_answer(&answer, &embedding.model, embedding.base64, &mut embedding.losses);
    notes.of(&embedding.losses);
    Ok(document)
}

fn unreadable(head: &response::Parts, body: &Bytes) -> Error {
    let excerpt: String = String::from_utf8_lossy(&body[..body.len().min(512)])
        .chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect();
    Error::new(
        Code::UpstreamRejected,
        format!("the provider answered {} without a JSON body: {excerpt}", head.status),
    )
    .with_status(head.status)
}

/// JSON, and no answer.
pub(super) fn no_answer(head: &response::Parts, dialect: Dialect, error: &Malformed) -> Error {
    Error::new(
        Code::UpstreamInvalidAnswer,
        format!(
            "the provider answered {} with what is no answer of {}: {error}",
            head.status,
            dialect.title()
        ),
    )
}

pub(super) fn invalid(head: &response::Parts, error: &dyn std::fmt::Display) -> Error {
    Error::new(
        Code::UpstreamInvalidAnswer,
        format!("the provider answered {} but its body is not a JSON object ({error}).", head.status),
    )
}
