//! The answer on its way back, in the client's dialect: whole, or piece by piece as it comes.

pub(crate) mod framing;
mod inner;
mod resume;
mod scan;
mod stream;
mod translator;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ALT_SVC, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::error::Code;
use crate::handle::Journey;
use crate::histories::KeptBody;
use crate::orchestrate::Overheard;
use crate::pool::Member;
use crate::respond;
use crate::stages::Stage;
use crate::stages::relay::stream::{Relayed, Stream};
use crate::stages::send::{Answer, AnswerBody, Notes};
use crate::stages::translate::Reading;
use crate::trip::Trip;

pub(crate) use inner::Inner;
pub(crate) use scan::Seam;

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// What the server sends as a response body.
pub(crate) enum Body {
    Whole {
        bytes: Option<Bytes>,
        trip: Option<Box<Trip>>,
    },
    Stream(Box<Stream>),
    /// Of a request that was made for another one.
    Inner(Box<Inner>),
    /// The same, of a conversation that is kept.
    Kept(Box<KeptBody<Body>>),
    /// Of an agent that others have answered before.
    Overheard(Box<Overheard>),
}

impl Body {
    /// A body that is complete. Without a trip there is nothing to record.
    pub fn whole(bytes: impl Into<Bytes>, trip: Option<Trip>) -> Body {
        Body::Whole { bytes: Some(bytes.into()), trip: trip.map(Box::new) }
    }
}

/// `journey` is there when another target may take the stream up.
pub(crate) fn relay(mut trip: Trip, answer: Answer, journey: Option<Box<Journey>>) -> Response<Body> {
    trip.enter(Stage::Relay);
    trip.answer.translated = answer.notes.translated;
    trip.answer.dropped = answer.notes.dropped;
    let mut head = answer.head;
    head.version = http::Version::default();
    head.extensions.clear();
    clean(&mut head.headers);
    if let AnswerBody::Begun(_, onward) = &answer.body
        && let Reading::Conversation(translation) = &onward.reading
    {
        let mut notes = Notes::default();
        notes.of(&translation.losses);
        trip.answer.translated = notes.translated;
        trip.answer.dropped = notes.dropped;
        head.headers.clear();
        head.headers.insert(CONTENT_TYPE, EVENTS);
        head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    respond::sign(&mut head.headers, &trip);
    let Member { target, model, .. } = &answer.choice.member;
    let name = match target.model {
        None if !target.is_agent() => format!("{}/{model}", target.provider),
        _ => target.name.to_string(),
    };
    if let Ok(name) = HeaderValue::from_str(&name) {
        head.headers.insert(respond::MODEL, name);
    }
    let body = match answer.body {
        AnswerBody::Whole(bytes) => {
            let rejected = (!head.status.is_success()).then_some(Code::UpstreamRejected);
            trip.answer.bytes = bytes.len() as u64;
            trip.end(head.status.as_u16(), rejected);
            Body::whole(bytes, Some(trip))
        }
        AnswerBody::Begun(begun, onward) => {
            if begun.events {
                head.headers.remove(CONTENT_LENGTH);
            }
            let call = Relayed { choice: answer.choice, track: answer.track, ticket: answer.ticket };
            Body::Stream(Box::new(Stream::begin(trip, call, *begun, *onward, head.status.as_u16(), journey)))
        }
    };
    Response::from_parts(head, body)
}

/// Headers of the provider's connection and of its own web site mean nothing to our client, or harm.
static DROPPED: [HeaderName; 16] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    SET_COOKIE,
    ALT_SVC,
    STRICT_TRANSPORT_SECURITY,
    // Only we say these.
    respond::REQUEST_ID,
    respond::MODEL,
    respond::ROUTE,
    respond::AGENTS,
    respond::MISSING,
    respond::ATTEMPTS,
    respond::DROPPED,
];

fn clean(headers: &mut HeaderMap) {
    // Most answers have one of them or two.
    while let Some(name) = headers.keys().find(|name| DROPPED.contains(name)).cloned() {
        headers.remove(name);
    }
}

/// A body that can end neither well nor with an event: hyper closes the connection on it.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the provider's answer broke off")
    }
}

impl std::error::Error for Broken {}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Body::Whole { bytes, trip } => {
                let taken = bytes.take();
                if let Some(mut trip) = trip.take() {
                    let now = trip.now();
                    trip.answer.first_byte = Some(now);
                }
                Poll::Ready(taken.map(|bytes| Ok(Frame::data(bytes))))
            }
            Body::Stream(stream) => stream.poll(context),
            Body::Inner(inner) => inner.poll(context),
            Body::Kept(kept) => Pin::new(&mut **kept).poll_frame(context),
            Body::Overheard(overheard) => overheard.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole { bytes, .. } => bytes.is_none(),
            Body::Stream(_) => false,
            Body::Inner(inner) => inner.is_over(),
            Body::Kept(kept) => kept.is_end_stream(),
            Body::Overheard(overheard) => overheard.inner().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Body::Stream(_) => SizeHint::default(),
            Body::Inner(inner) => inner.size_hint(),
            Body::Kept(kept) => kept.size_hint(),
            Body::Overheard(overheard) => overheard.inner().size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_providers_connection_and_nothing_in_our_name_gets_through() {
        let mut headers = HeaderMap::new();
        for (number, name) in DROPPED.iter().enumerate() {
            headers.append(name, HeaderValue::from(number));
            headers.append(name, HeaderValue::from(number));
        }
        headers.insert(CONTENT_TYPE, EVENTS);
        clean(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.get(CONTENT_TYPE), Some(&EVENTS));
    }
}
