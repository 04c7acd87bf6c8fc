//! The body of an answer as far as it is read before anything of it goes on.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use http::response;
use tokio::time::{Instant, timeout_at};

use crate::error::{Code, Error};
use crate::snapshot::Timeouts;
use crate::stages::send::clock::{late, silent};
use crate::stages::send::opening::{Opened, Opening};
use crate::stages::send::source::Source;
use crate::stages::send::{Failed, WHOLE_BYTES};
use crate::upstream::announced;

pub(super) enum Held {
    All(Bytes),
    /// Its first piece; the lease has the rest.
    Begun(Bytes),
}

pub(super) async fn collect(
    head: &response::Parts,
    source: &mut Source,
    timeouts: &Timeouts,
    (first_token, total): (Instant, Instant),
    limit: usize,
) -> Result<Held, Error> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut deadline = first_token;
    if head.status.is_success()
        && announced(&head.headers).is_some_and(|length| length > limit.max(WHOLE_BYTES) as u64)
    {
        return Ok(Held::Begun(first));
    }
    loop {
        let data = match timeout_at(deadline, poll_fn(|context| source.poll_data(context))).await {
            Ok(Some(data)) => data?,
            Ok(None) => break,
            Err(_) if first.is_empty() => return Err(late(*timeouts, total)),
            Err(_) => return Err(silent(*timeouts, total)),
        };
        if data.is_empty() {
            continue;
        }
        if first.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
        if first.len().max(joined.len()) > limit {
            let first = if joined.is_empty() { first } else { joined.freeze() };
            return Ok(Held::Begun(first));
        }
        if source.ended() {
            break;
        }
        deadline = (Instant::now() + timeouts.idle).min(total);
    }
    if limit == 0 {
        return Err(Error::new(Code::UpstreamCut, "the stream ended before its first event."));
    }
    Ok(Held::All(if joined.is_empty() { first } else { joined.freeze() }))
}

/// Reads on until the stream says something that cannot be taken back, or that it cannot answer.
pub(super) async fn hold(
    mut opening: Opening,
    first: Bytes,
    source: &mut Source,
    timeouts: &Timeouts,
    (first_token, total): (Instant, Instant),
    taken: &mut u64,
) -> Result<Bytes, Failed> {
    let mut held = BytesMut::new();
    let mut data = first;
    let mut heard = Instant::now();
    // The pause in a provider's preamble must not become one of ours for long: clients that see nothing at all give up.
    let until = (heard + HOLD_TIME).min(first_token);
    loop {
        *taken += data.len() as u64;
        let opened = opening.read(&data);
        if held.is_empty() && !matches!(opened, Opened::Not) {
            return opened.result(data);
        }
        held.extend_from_slice(&data);
        if !matches!(opened, Opened::Not) || held.len() > HOLD_BYTES {
            return opened.result(held.freeze());
        }
        let silence = heard + timeouts.idle;
        data = match timeout_at(until.min(silence), poll_fn(|context| source.poll_data(context))).await {
            Ok(Some(data)) => data?,
            Ok(None) => {
                return Err(Error::new(Code::UpstreamCut, "the stream ended before its first token.").into());
            }
            Err(_) if Instant::now() >= first_token => return Err(late(*timeouts, total).into()),
            Err(_) if Instant::now() >= silence => return Err(silent(*timeouts, total).into()),
            Err(_) => return Ok(held.freeze()),
        };
        heard = Instant::now();
    }
}

/// How long, and how much of, a stream without a token of the answer is kept back.
const HOLD_TIME: std::time::Duration = std::time::Duration::from_secs(5);
const HOLD_BYTES: usize = 64 * 1024;
