//! A reply on its way out: as late and as badly as it was told to be.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::delivery::Delivery;
use crate::dialect::{Dialect, exception, retry_info};
use crate::directives::{Directives, Dropped, ErrorKind, Garbage};
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::link::{Ending, Link};
use crate::stats::Flight;
use crate::stream::{Event, Events, Piece, streamed, whole};

pub const SERVER_SENT: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// What will be sent, before anything goes wrong.
pub struct Reply {
    pub dialect: Dialect,
    pub request: Fingerprint,
    pub directives: Directives,
    pub content: Content,
    /// Tokens that Bedrock reports in a header, because the model's own answer does not.
    pub counted: Option<u64>,
}

pub enum Content {
    /// All of it, and the tokens it took to make.
    Whole(StatusCode, Vec<Piece>, u64),
    /// A stream, and the type of its content.
    Events(Box<dyn Events>, &'static str),
}

impl Content {
    fn status(&self) -> StatusCode {
        match self {
            Self::Whole(status, ..) => *status,
            Self::Events(..) => StatusCode::OK,
        }
    }
}

impl Dialect {
    /// What a stream is sent as.
    pub fn stream_type(self) -> &'static str {
        match self {
            Self::OpenAi => SERVER_SENT,
            Self::Anthropic | Self::Gemini => "text/event-stream",
            Self::Bedrock => EVENT_STREAM,
        }
    }

    /// The headers that every response of the provider has.
    fn sign(self, response: &mut Response<Delivery>, request: Fingerprint) {
        let (name, value) = match self {
            Self::OpenAi | Self::Gemini => return,
            Self::Anthropic => ("request-id", format!("req_{}", request.hex())),
            Self::Bedrock => ("x-amzn-requestid", request.uuid()),
        };
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        if self == Self::Bedrock && !response.status().is_success() {
            let kind = HeaderValue::from_static(exception(response.status()));
            response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), kind);
        }
    }
}

impl Reply {
    /// An answer, whole or streamed, with what the directives spoil of it.
    pub fn said(
        dialect: Dialect,
        request: Fingerprint,
        directives: Directives,
        streamed: bool,
        say: impl FnOnce() -> Content,
    ) -> Self {
        let content = match directives.garbage {
            Some(Garbage::Json) => Content::Whole(StatusCode::OK, vec![Piece::Ready(broken_json())], 0),
            Some(Garbage::Events) => Content::Events(Box::new(BrokenEvents(0)), dialect.stream_type()),
            _ if !streamed && directives.error.is_some() => refusal(dialect, request, &directives),
            _ => say(),
        };
        Self { dialect, request, directives, content, counted: None }
    }

    /// One JSON document that is no conversation.
    pub fn plain(
        dialect: Dialect,
        request: Fingerprint,
        directives: Directives,
        json: impl FnOnce() -> Vec<u8>,
    ) -> Self {
        let body = if directives.garbage.is_some() { broken_json() } else { Bytes::from(json()) };
        let content = Content::Whole(StatusCode::OK, vec![Piece::Ready(body)], 0);
        Self { dialect, request, directives, content, counted: None }
    }
}

/// The response to a request that is not answered.
pub fn refuse(
    dialect: Dialect,
    request: Fingerprint,
    failure: &Failure,
    flight: Flight,
) -> Response<Delivery> {
    let body = dialect.body(failure, &request.hex());
    if let Some(course) = flight.course() {
        course.answers(failure.status.as_u16());
    }
    let mut response = respond(failure.status, Delivery::once(body, 0, flight));
    dialect.sign(&mut response, request);
    response
}

/// Sends a reply, as late and as badly as it was told to.
pub async fn perform(reply: Reply, mut flight: Flight, link: Arc<Link>) -> Response<Delivery> {
    let Reply { dialect, request, directives, mut content, counted } = reply;
    // With an error in a stream, a refusal is what that error says.
    if directives.status.is_some() || (directives.refuse.is_some() && directives.error.is_none()) {
        content = refusal(dialect, request, &directives);
    } else if directives.garbage.is_some() {
        flight.spoil();
    }
    let delay = directives.first.unwrap_or_default() + time_to_say(&content, &directives);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let ending = match (directives.drop, directives.garbage) {
        (Some(Dropped::Fin), _) => Some(Ending::Fin),
        (Some(Dropped::Reset), _) => Some(Ending::Reset),
        (None, Some(Garbage::Http)) => Some(Ending::NotHttp),
        (None, _) => None,
    };
    if let Some(ending) = ending {
        flight.spoil();
        flight.finish();
        link.end(ending);
        return pending().await;
    }
    if let Some(course) = flight.course() {
        course.answers(content.status().as_u16());
    }
    let mut response = match content {
        Content::Whole(status, pieces, tokens) => {
            let mut response = respond(status, deliver_whole(pieces, tokens, &directives, flight, link));
            if let Some(seconds) = directives.retry_after.filter(|_| !status.is_success()) {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Content::Events(events, content_type) => {
            let steps = streamed(events, &directives, failure(dialect, &directives));
            let mut response = Response::new(Delivery::steps(steps, None, 0, flight, link));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            if content_type != EVENT_STREAM {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            }
            response
        }
    };
    dialect.sign(&mut response, request);
    dialect.write_limits(&directives.limits, response.headers_mut());
    if let Some(tokens) = counted.filter(|_| response.status().is_success()) {
        let name = HeaderName::from_static("x-amzn-bedrock-input-token-count");
        response.headers_mut().insert(name, HeaderValue::from(tokens));
    }
    response
}

/// Nobody sees a whole answer before its last token is made.
fn time_to_say(content: &Content, directives: &Directives) -> Duration {
    let Content::Whole(StatusCode::OK, _, tokens) = content else { return Duration::ZERO };
    let gaps = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
    directives.pace.unwrap_or_default().saturating_mul(gaps)
}

fn deliver_whole(
    mut pieces: Vec<Piece>,
    tokens: u64,
    directives: &Directives,
    flight: Flight,
    link: Arc<Link>,
) -> Delivery {
    let undisturbed =
        directives.head_then.is_none() && directives.cut.is_none() && directives.stall.is_none();
    match (pieces.pop(), pieces.is_empty() && undisturbed) {
        (Some(Piece::Ready(bytes)), true) => Delivery::once(bytes, tokens, flight),
        (last, _) => {
            pieces.extend(last);
            let length = pieces.iter().map(Piece::length).sum();
            Delivery::steps(whole(pieces, directives), Some(length), tokens, flight, link)
        }
    }
}

fn refusal(dialect: Dialect, request: Fingerprint, directives: &Directives) -> Content {
    let failure = failure(dialect, directives);
    Content::Whole(failure.status, vec![Piece::Ready(dialect.body(&failure, &request.hex()))], 0)
}

/// The error that the directives order; without a status, it is the provider's fault.
fn failure(dialect: Dialect, directives: &Directives) -> Failure {
    let message = directives.message.as_deref();
    let mut failure = match directives.refuse {
        Some(cause) => dialect.refusal(cause),
        None => Failure::ordered(directives.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), message),
    };
    failure.status = directives.status.unwrap_or(failure.status);
    if let Some(message) = message {
        message.clone_into(&mut failure.message);
    }
    failure.details.extend(directives.retry_after.map(retry_info));
    failure
}

fn broken_json() -> Bytes {
    Bytes::from_static(
        br#"{"id":"chatcmpl-broken","object":"chat.completion","choices":[{"index":0,"message":{"role":"#,
    )
}

const BROKEN: [&str; 4] = [
    "data: this is not JSON\n\n",
    "data: {\"choices\":[{\"index\":\n\n",
    "not even a field\n\n",
    "data: [DONE]\n\n",
];

/// A stream of which nothing makes sense, and the place in it.
struct BrokenEvents(usize);

impl Iterator for BrokenEvents {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let event = BROKEN.get(self.0)?;
        self.0 += 1;
        Some(Event { bytes: Bytes::from_static(event.as_bytes()), tokens: 1 })
    }
}

impl Events for BrokenEvents {
    fn speaks(&mut self) -> bool {
        self.0 < BROKEN.len()
    }

    fn fail(&mut self, _: ErrorKind, _: &Failure) -> Bytes {
        Bytes::from_static(b"data: {\"error\":\n\n")
    }
}

pub fn respond(status: StatusCode, body: Delivery) -> Response<Delivery> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Counters;
    use http_body_util::BodyExt;
    use std::pin::pin;
    use tokio::time::Instant;

    fn json_reply(directives: &str, tokens: u64) -> Reply {
        let pieces = vec![Piece::Ready(Bytes::from_static(b"{}"))];
        let directives = Directives::parse(directives).expect("valid");
        reply(directives, Content::Whole(StatusCode::OK, pieces, tokens))
    }

    fn reply(directives: Directives, content: Content) -> Reply {
        Reply { dialect: Dialect::OpenAi, request: Fingerprint::of(b""), directives, content, counted: None }
    }

    struct Three(std::array::IntoIter<u64, 5>);

    impl Iterator for Three {
        type Item = Event;

        fn next(&mut self) -> Option<Event> {
            let tokens = self.0.next()?;
            Some(Event { bytes: Bytes::from_static(b"x"), tokens })
        }
    }

    impl Events for Three {
        fn speaks(&mut self) -> bool {
            self.0.as_slice().first().is_some_and(|tokens| *tokens > 0)
        }

        fn fail(&mut self, _: ErrorKind, failure: &Failure) -> Bytes {
            Bytes::from(failure.message.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_waits_for_first_and_for_every_token() {
        for (directives, tokens, expected) in
            [("", 9, 0), ("first=500ms", 9, 500), ("pace=20ms", 3, 40), ("first=1s;pace=1ms", 1, 1000)]
        {
            let counters = Arc::new(Counters::default());
            let begun = Instant::now();
            let reply = json_reply(directives, tokens);
            let response = perform(reply, counters.request(false), Arc::default()).await;
            assert_eq!(begun.elapsed(), Duration::from_millis(expected), "{directives}");
            assert_eq!(response.into_body().collect().await.expect("infallible").to_bytes(), "{}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_keeps_its_pace() {
        let counters = Arc::new(Counters::default());
        let content = Content::Events(Box::new(Three([0, 1, 1, 1, 0].into_iter())), SERVER_SENT);
        let directives = Directives::parse("first=1s;head_then=300ms;pace=20ms").expect("valid");
        let begun = Instant::now();
        let response = perform(reply(directives, content), counters.request(true), Arc::default()).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let mut body = pin!(response.into_body());
        let mut arrived = Vec::new();
        while body.frame().await.is_some() {
            arrived.push(begun.elapsed().as_millis());
        }
        assert_eq!(arrived, [1300, 1300, 1320, 1340, 1340]);
        assert_eq!(counters.read().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_ends_after_ten_minutes() {
        let counters = Arc::new(Counters::default());
        let content = Content::Events(Box::new(BrokenEvents(0)), SERVER_SENT);
        let directives = Directives::parse("stall=1").expect("valid");
        let mut response = perform(reply(directives, content), counters.request(false), Arc::default()).await;
        assert!(response.body_mut().frame().await.is_some());
        let begun = Instant::now();
        assert!(tokio::time::timeout(Duration::from_secs(599), response.body_mut().frame()).await.is_err());
        assert_eq!(counters.read().in_flight, 1);
        assert!(tokio::time::timeout(Duration::from_secs(2), response.body_mut().frame()).await.is_err());
        assert_eq!((counters.read().in_flight, counters.read().aborted), (0, 0), "{:?}", begun.elapsed());
    }
}
