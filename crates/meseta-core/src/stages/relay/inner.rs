//! The answer to a request that was made for another one, on its way to the client of that other one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};

use crate::error::Code;
use crate::stages::relay::{Body, Broken};
use crate::trip::{Ended, Trip};

pub(crate) struct Inner {
    body: Body,
    /// Of the client's request; taken, and so recorded, when all is told.
    trip: Option<Trip>,
    /// How the inner request ended.
    ended: Ended,
    status: u16,
}

impl Inner {
    pub fn new(trip: Trip, body: Body, ended: Ended, status: u16) -> Inner {
        Inner { body, trip: Some(trip), ended, status }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some(trip), Some(Ok(frame))) = (&mut self.trip, &polled)
            && let Some(data) = frame.data_ref()
        {
            let now = trip.now();
            trip.answer.first_byte.get_or_insert(now);
            trip.answer.bytes += data.len() as u64;
        }
        let over = !matches!(polled, Some(Ok(_))) || self.body.is_end_stream();
        if over && let Some(mut trip) = self.trip.take() {
            let code = match (&polled, self.ended.get()) {
                (Some(Err(_)), None) => Some(Code::UpstreamCut),
                (_, outcome) => outcome.and_then(|outcome| outcome.code),
            };
            trip.end(self.status, code);
        }
        Poll::Ready(polled)
    }

    pub(super) fn is_over(&self) -> bool {
        self.trip.is_none() && self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
