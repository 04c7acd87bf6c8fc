//! The only place where an error becomes bytes, and where our own headers are written.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Response, StatusCode};
use meseta_wire::conversation::{Event, Failure, FailureKind};
use meseta_wire::dialect::{self, Context, Dialect, StreamEncoder};
use meseta_wire::responses;

use crate::error::{Blame, Code, Error, Retry};
use crate::histories::{KeptBody, Tap};
use crate::retry_advice::{SHOULD_RETRY, retry_harms};
use crate::stages::Stage;
use crate::stages::identify::SESSION;
use crate::stages::relay::{Body, Inner, Seam};
use crate::stages::send::content_type_is;
use crate::stages::translate::seconds;
use crate::trip::{Ended, Trip};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-meseta-request-id");
/// Who answered.
pub(crate) const MODEL: HeaderName = HeaderName::from_static("x-meseta-model");
/// Which name of the configuration led there.
pub(crate) const ROUTE: HeaderName = HeaderName::from_static("x-meseta-route");
/// The agents that the answer is of; of an error, those that were asked.
pub(crate) const AGENTS: HeaderName = HeaderName::from_static("x-meseta-agents");
/// The agents that were asked and have no part in the answer.
pub(crate) const MISSING: HeaderName = HeaderName::from_static("x-meseta-agents-missing");
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("x-meseta-attempts");
/// What a translation left out or changed, by the names of the client's fields.
pub(crate) const DROPPED: HeaderName = HeaderName::from_static("x-meseta-dropped");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The headers that every answer of a listener carries.
pub(crate) fn sign(headers: &mut HeaderMap, trip: &Trip) {
    if let Some(dropped) = trip.answer.dropped.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(DROPPED, dropped);
    }
    // The rest is said of the client's own request alone.
    if trip.is_hop() {
        return;
    }
    // Where the SDKs of the two look for it.
    let own = match trip.dialect {
        Dialect::AnthropicMessages => HeaderName::from_static("request-id"),
        _ => HeaderName::from_static("x-request-id"),
    };
    if let Ok(id) = HeaderValue::from_maybe_shared(Bytes::from(trip.id.text())) {
        headers.entry(own).or_insert_with(|| id.clone());
        headers.insert(REQUEST_ID, id);
    }
    if !trip.attempts.is_empty() {
        headers.insert(ATTEMPTS, HeaderValue::from(trip.attempts.len()));
    }
    let route = trip.ask.route.as_deref().or(trip.ask.model.as_deref());
    if let Some(route) = route.and_then(|route| HeaderValue::from_str(route).ok())
        && !trip.attempts.is_empty()
    {
        headers.insert(ROUTE, route);
    }
}

pub(crate) fn failure(mut trip: Trip, error: &Error) -> Response<Body> {
    let status = error.status();
    trip.end(status.as_u16(), Some(error.code));
    let body = dialect::encode_error(trip.dialect, &described(error), &trip.id.text());
    trip.answer.bytes = body.len() as u64;
    let mut response = Response::new(Body::whole(Bytes::new(), None));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    sign(headers, &trip);
    if let Some(allow) = error.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if retry_harms(error, trip.acted) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(seconds) = retry_after(error) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    // What is left of a body that we did not read must not be taken for the next request.
    if matches!(error.code, Code::RequestTimeout | Code::RequestInvalidBody | Code::ClientDisconnected) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    *response.body_mut() = Body::whole(body, Some(trip));
    response
}

/// The answer to a request that was made for this one, on its way to the client of this one.
pub(crate) fn inner(mut trip: Trip, response: Response<Body>, ended: Ended) -> Response<Body> {
    trip.enter(Stage::Relay);
    let (mut head, body) = response.into_parts();
    // The name by which an agent knows the request is not the client's.
    for name in [HeaderName::from_static("request-id"), HeaderName::from_static("x-request-id")] {
        head.headers.remove(name);
    }
    sign(&mut head.headers, &trip);
    for (name, agents) in [(AGENTS, &trip.ask.agents), (MISSING, &trip.ask.missing)] {
        if let (false, Ok(agents)) = (agents.is_empty(), HeaderValue::from_str(&agents.join(","))) {
            head.headers.insert(name, agents);
        }
    }
    let status = head.status.as_u16();
    let kept = trip.kept.take().filter(|_| head.status.is_success());
    let shared = trip.worker.shared.clone();
    let dialect = trip.dialect;
    let body = Body::Inner(Box::new(Inner::new(trip, body, ended, status)));
    let (Some(turn), Some(histories)) = (kept, &shared.histories) else {
        return Response::from_parts(head, body);
    };
    if let Ok(session) = HeaderValue::from_str(&turn.session) {
        // The name under which the conversation is kept.
        head.headers.insert(SESSION, session);
    }
    let streamed = content_type_is(&head.headers, b"text/event-stream");
    let tap = Tap::new(histories.clone(), *turn, dialect, streamed);
    let body = KeptBody::new(body, tap, {
        let shared = shared.clone();
        move |outcome| {
            if outcome.is_err() {
                shared.counters.unkept.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    Response::from_parts(head, Body::Kept(Box::new(body)))
}

/// Rounded up: a client that came back too early would only be refused again.
pub(crate) fn whole_seconds(after: Duration) -> u64 {
    u64::try_from(after.as_millis().div_ceil(1_000).max(1)).unwrap_or(u64::MAX)
}

fn retry_after(error: &Error) -> Option<u64> {
    let known = error.retry_after.map(whole_seconds);
    let usual = error.code.retry() == Retry::Same && error.status().is_server_error();
    known.or(usual.then_some(1))
}

/// The same for a stream that has begun and passes as it is. What the client has seen of it is in `seam`, where that
/// matters.
pub(crate) fn event(error: &Error, trip: &Trip, seam: Option<&Seam>) -> Bytes {
    let context = Context {
        id: trip.id.hex(),
        request_id: trip.id.text(),
        model: trip.ask.model.clone().unwrap_or_default(),
        created: seconds(),
        ..Context::default()
    };
    let mut encoder = match seam.and_then(Seam::data) {
        Some((first, last)) => {
            StreamEncoder::Responses(Box::new(responses::last_words(context, &first, &last)))
        }
        None => StreamEncoder::new(trip.dialect, context),
    };
    let mut event = Vec::with_capacity(512);
    encoder.event(&Event::Failed(described(error)), &mut event);
    event.into()
}

/// An answer of our own, such as the list of models.
pub(crate) fn json(mut trip: Trip, status: StatusCode, document: Vec<u8>) -> Response<Body> {
    trip.end(status.as_u16(), None);
    trip.answer.bytes = document.len() as u64;
    let mut response = Response::new(Body::whole(Bytes::new(), None));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    sign(headers, &trip);
    *response.body_mut() = Body::whole(document, Some(trip));
    response
}

/// A failure in the words that all dialects share.
pub(crate) fn described(error: &Error) -> Failure<'_> {
    Failure {
        message: error.message.as_ref().into(),
        kind: match (error.code, error.code.blame()) {
            (Code::AuthMissing | Code::AuthInvalid, _) => FailureKind::Authentication,
            (
                Code::ModelNotFound
                | Code::RouteNotFound
                | Code::ResponseNotFound
                | Code::AgentNotFound
                | Code::SessionNotFound,
                _,
            ) => FailureKind::NotFound,
            (Code::RequestTooLarge, _) => FailureKind::TooLarge,
            (Code::RequestOriginRefused, _) => FailureKind::Permission,
            (Code::UpstreamLimited | Code::LimitConcurrency, _) => FailureKind::RateLimit,
            (Code::PlaneOverloaded | Code::PlaneShed | Code::UpstreamBusy | Code::AgentUnavailable, _) => {
                FailureKind::Overloaded
            }
            (
                Code::RequestDeadline
                | Code::AgentLate
                | Code::UpstreamConnectTimeout
                | Code::UpstreamFirstTokenTimeout
                | Code::UpstreamIdleTimeout
                | Code::UpstreamTotalTimeout,
                _,
            ) => FailureKind::Timeout,
            (_, Blame::Client) => FailureKind::InvalidRequest,
            (_, Blame::Upstream | Blame::Plane) => FailureKind::Server,
        },
        code: Some(error.code.as_str().into()),
        param: error.param.as_deref().map(Into::into),
    }
}
