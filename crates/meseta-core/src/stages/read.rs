//! The request's body, bounded in size and time, and the few fields of it that are acted on.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use meseta_wire::envelope::{self, Envelope, Refusal};
use meseta_wire::estimate;
use tokio::time::{Instant, timeout_at};

use crate::decompress::{self, Undecodable};
use crate::endpoint::Call;
use crate::error::{Code, Error};
use crate::select::PreferenceDocument;
use crate::snapshot::Listener;
use crate::stages::Stage;
use crate::stages::identify::Caller;
use crate::trip::Trip;

/// One request, read. It lives as long as somebody may still have to be asked.
pub(crate) struct Ask {
    pub caller: Caller,
    pub call: Call,
    pub headers: HeaderMap,
    /// What an agent is told besides, in headers.
    pub told: HeaderMap,
    pub body: Bytes,
    pub envelope: Envelope,
    /// Routing preferences of the request's own.
    pub preferences: Option<Vec<PreferenceDocument>>,
}

impl Ask {
    /// Puts another body in the place of what came.
    pub fn replace(&mut self, body: Vec<u8>) -> Result<(), Refusal> {
        self.envelope = envelope::read(&body, self.call.required())?;
        self.body = body.into();
        Ok(())
    }
}

/// How much of a refused request's body is still taken in, so that a client that writes before it reads gets to see the
/// answer instead of a broken connection, and may use the connection again.
const DISCARD_BYTES: u64 = 128 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);

pub(crate) async fn read(
    trip: &mut Trip,
    listener: &Listener,
    caller: Caller,
    call: Call,
    headers: &mut HeaderMap,
    body: &mut Incoming,
) -> Result<Ask, Error> {
    trip.enter(Stage::Read);
    let codings = decompress::codings(headers).map_err(|error| undecodable(&error, listener))?;
    let deadline = Instant::now() + Duration::from_millis(listener.timeouts.body_ms);
    let limit = listener.limits.body_bytes;
    let body = match timeout_at(deadline, collect(body, limit)).await {
        Ok(read) => read?,
        Err(_) => {
            return Err(Error::new(
                Code::RequestTimeout,
                format!("The request body did not arrive within {} ms.", listener.timeouts.body_ms),
            ));
        }
    };
    trip.ask.bytes = body.len() as u64;
    // Bounded by the same limit: what a small body unpacks to must not be what a large one may not be.
    let body = decompress::whole(&codings, body, limit).map_err(|error| undecodable(&error, listener))?;
    let envelope = envelope::read(&body, call.required()).map_err(|refusal| match refusal {
        Refusal::Syntax(message) => {
            Error::new(Code::RequestInvalidJson, format!("The request is not usable: {message}."))
        }
        Refusal::Field { path, ref message } => {
            Error::new(Code::RequestInvalidField, format!("`{path}` {message}.")).with_param(path)
        }
    })?;
    trip.ask.model.clone_from(&envelope.model);
    trip.ask.stream = envelope.stream;
    trip.ask.tokens = estimate::tokens(&body);
    Ok(Ask {
        caller,
        call,
        headers: std::mem::take(headers),
        told: HeaderMap::new(),
        body,
        envelope,
        preferences: None,
    })
}

async fn collect(body: &mut Incoming, limit: u64) -> Result<Bytes, Error> {
    let announced = body.size_hint().lower();
    if announced > limit {
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if (first.len() + joined.len() + data.len()) as u64 > limit {
            return Err(too_large(limit));
        }
        // Most bodies arrive in one piece, and that piece is used as it is.
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                let room = usize::try_from(announced).unwrap_or(usize::MAX).max(first.len() * 2);
                joined.reserve(room.min(first.len() + 1024 * 1024));
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

fn broken(error: &hyper::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| matches!(io.kind(), InvalidData | InvalidInput))
        {
            return Error::new(
                Code::RequestInvalidBody,
                format!("The request body's chunks are malformed: {inner}."),
            );
        }
        source = inner.source();
    }
    // The client is most likely gone and will never read this; the record will have it.
    Error::new(Code::ClientDisconnected, format!("The request body broke off: {error}."))
}

/// Takes in what is left of the body of a request that was refused. Bounded, and not for a client that asks before it
/// sends (Expect: 100-continue) or that has shown that it is too slow.
pub(crate) async fn discard(headers: &HeaderMap, body: &mut Incoming, error: &Error) {
    if body.is_end_stream() || headers.contains_key(EXPECT) || error.code == Code::RequestTimeout {
        return;
    }
    let mut taken = 0;
    let taking = async {
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, |data| data.len() as u64);
            if taken > DISCARD_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME, taking).await;
}

fn undecodable(error: &Undecodable, listener: &Listener) -> Error {
    match error {
        Undecodable::TooLarge(_) => too_large(listener.limits.body_bytes),
        error => Error::new(Code::RequestEncodingUnsupported, format!("The request body: {error}."))
            .with_param("content-encoding"),
    }
}

fn too_large(limit: u64) -> Error {
    Error::new(
        Code::RequestTooLarge,
        format!("The request body is larger than the {limit} bytes that this listener takes."),
    )
}
