//! The only place where an error becomes bytes, and where our own headers are written.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Response, StatusCode};
use meseta_wire::openai::ErrorBody;

use crate::error::{Blame, Code, Error, Retry};
use crate::stages::relay::Body;
use crate::trip::Trip;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-meseta-request-id");
/// Who answered.
pub(crate) const MODEL: HeaderName = HeaderName::from_static("x-meseta-model");
/// Which name of the configuration led there.
pub(crate) const ROUTE: HeaderName = HeaderName::from_static("x-meseta-route");
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("x-meseta-attempts");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The headers that every answer of a listener carries.
pub(crate) fn sign(headers: &mut HeaderMap, trip: &Trip) {
    if let Ok(id) = HeaderValue::from_str(trip.id.text().as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    if !trip.attempts.is_empty() {
        headers.insert(ATTEMPTS, HeaderValue::from(trip.attempts.len()));
    }
    if let Some(route) = trip.ask.model.as_deref().and_then(|model| HeaderValue::from_str(model).ok())
        && !trip.attempts.is_empty()
    {
        headers.insert(ROUTE, route);
    }
}

pub(crate) fn failure(mut trip: Trip, error: &Error) -> Response<Body> {
    let status = error.status();
    trip.end(status.as_u16(), Some(error.code));
    let body = document(error, &trip).to_json();
    trip.answer.bytes = body.len() as u64;
    let mut response = Response::new(Body::whole(Bytes::new(), None));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    sign(headers, &trip);
    if let Some(allow) = error.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if error.code.retry() == Retry::Same && status.is_server_error() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    // What is left of a body that we did not read must not be taken for the next request.
    if matches!(error.code, Code::RequestTimeout | Code::RequestInvalidBody | Code::ClientDisconnected) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    *response.body_mut() = Body::whole(body, Some(trip));
    response
}

/// The same for a stream that has begun: one event.
pub(crate) fn event(error: &Error, trip: &Trip) -> Bytes {
    document(error, trip).to_event().into()
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

struct Document<'a> {
    error: &'a Error,
    id: String,
}

fn document<'a>(error: &'a Error, trip: &Trip) -> Document<'a> {
    Document { error, id: trip.id.text() }
}

impl Document<'_> {
    fn body(&self) -> ErrorBody<'_> {
        ErrorBody {
            message: &self.error.message,
            // OpenAI's own words where it has them: clients sort by them.
            r#type: match (self.error.code, self.error.code.blame()) {
                (Code::AuthMissing | Code::AuthInvalid, _) => "authentication_error",
                (Code::ModelNotFound | Code::RouteNotFound, _) => "not_found_error",
                (_, Blame::Client) => "invalid_request_error",
                (_, Blame::Upstream) => "upstream_error",
                (_, Blame::Plane) => "server_error",
            },
            param: self.error.param.as_deref(),
            code: self.error.code.as_str(),
            request_id: &self.id,
        }
    }

    fn to_json(&self) -> Vec<u8> {
        self.body().to_json()
    }

    fn to_event(&self) -> Vec<u8> {
        self.body().to_event()
    }
}
