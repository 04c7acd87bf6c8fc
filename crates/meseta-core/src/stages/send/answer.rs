//! A whole answer, read as its dialect demands and put into the client's. Part of `send`: what cannot be read is a failure
//! of the target, and nothing has gone to the client yet.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::response;
use meseta_wire::dialect::{self, Dialect};
use meseta_wire::embeddings::{self, EmbeddingsAnswer};
use meseta_wire::json::Json;
use meseta_wire::scan;
use meseta_wire::shape::Malformed;
use meseta_wire::usage::Usage;

use crate::error::{Code, Error};
use crate::snapshot::Operation;
use crate::stages::translate::{self, Embedding, Reading, Translation};
use crate::trip::Trip;

/// The answer's bytes for the client; the head loses what only the provider's bytes had.
pub(crate) fn read(
    trip: &mut Trip,
    reading: &mut Reading,
    head: &mut response::Parts,
    body: Bytes,
) -> Result<Bytes, Error> {
    if let Reading::Same { dialect, .. } = reading {
        trip.answer.usage = check(*dialect, head, &body)?;
        return Ok(body);
    }
    let answer = if head.status.is_success() {
        let text = std::str::from_utf8(&body).map_err(|error| invalid(head, &error))?;
        let json = Json::parse(text).map_err(|error| invalid(head, &error))?;
        match reading {
            Reading::Conversation(translation) => conversation(trip, translation, &json),
            Reading::Count(dialect) => count(*dialect, &json),
            Reading::Embeddings(embedding) => vectors(trip, embedding, &body),
            Reading::Same { .. } => Ok(Vec::new()),
        }
        .map_err(|error| invalid(head, &error))?
    } else {
        let dialect = match reading {
            Reading::Conversation(translation) => translation.target,
            Reading::Count(dialect) | Reading::Same { dialect, .. } => *dialect,
            Reading::Embeddings(embedding) => embedding.losses.target(),
        };
        let mut failure = dialect::decode_error(dialect, head.status.as_u16(), &body);
        if failure.message.is_empty() {
            failure.message = format!("The provider answered {}.", head.status).into();
        }
        trip.answer.translated = Some(dialect);
        dialect::encode_error(trip.dialect, &failure, &trip.id.text())
    };
    clean(&mut head.headers);
    Ok(answer.into())
}

/// Of the provider's headers, only what holds for the client's answer too.
fn clean(headers: &mut HeaderMap) {
    let kept: Vec<(HeaderName, HeaderValue)> =
        headers.get_all(RETRY_AFTER).iter().map(|value| (RETRY_AFTER, value.clone())).collect();
    headers.clear();
    headers.extend(kept);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

fn conversation(
    trip: &mut Trip,
    translation: &mut Translation,
    json: &Json<'_>,
) -> Result<Vec<u8>, Malformed> {
    let answer = dialect::decode_answer(translation.target, json)?;
    trip.answer.usage = answer.usage;
    let body = dialect::encode_answer(trip.dialect, &answer, &translation.context, &mut translation.losses);
    translate::note(trip, &translation.losses);
    Ok(body)
}

fn count(dialect: Dialect, json: &Json<'_>) -> Result<Vec<u8>, Malformed> {
    let tokens =
        dialect::decode_count(dialect, json).ok_or_else(|| Malformed::here("holds no number of tokens"))?;
    Ok(format!(r#"{{"input_tokens":{tokens}}}"#).into_bytes())
}

fn vectors(trip: &mut Trip, embedding: &mut Embedding, body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let answer: EmbeddingsAnswer = match embedding.operation {
        Operation::InvokeModel => {
            embeddings::bedrock::decode_answer(body, embedding.inputs, &embedding.model)?
        }
        _ => embeddings::gemini::decode_answer(body, embedding.inputs)?,
    };
    trip.answer.usage = answer.input_tokens.map(|input| Usage { input, ..Usage::default() });
    let document =
        embeddings::encode_answer(&answer, &embedding.model, embedding.base64, &mut embedding.losses);
    translate::note(trip, &embedding.losses);
    Ok(document)
}

/// A whole answer that says 200 must be the JSON that the API promises; an error must be one that the client can read.
fn check(dialect: Dialect, head: &response::Parts, body: &Bytes) -> Result<Option<Usage>, Error> {
    scan::answer(dialect, body).map_or_else(|error| Err(unreadable(head, body, &error)), Ok)
}

fn unreadable(head: &response::Parts, body: &Bytes, error: &dyn std::fmt::Display) -> Error {
    if head.status.is_success() {
        return invalid(head, error);
    }
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

fn invalid(head: &response::Parts, error: &dyn std::fmt::Display) -> Error {
    Error::new(
        Code::UpstreamInvalidAnswer,
        format!("the provider answered {} but its body is not a JSON object ({error}).", head.status),
    )
}
