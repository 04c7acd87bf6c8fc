//! The time limits of a call: what it means that each of them is over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

use crate::error::{Code, Error};
use crate::snapshot::Timeouts;

pub(super) fn late(timeouts: Timeouts, total: Instant) -> Error {
    if Instant::now() >= total {
        return expired(timeouts);
    }
    if timeouts.by_client.first_token {
        return late_for_client();
    }
    Error::new(
        Code::UpstreamFirstTokenTimeout,
        format!("no byte of an answer within {} ms.", timeouts.first_token.as_millis()),
    )
}

pub(super) fn silent(timeouts: Timeouts, total: Instant) -> Error {
    if Instant::now() >= total {
        return expired(timeouts);
    }
    if timeouts.by_client.idle {
        return late_for_client();
    }
    Error::new(
        Code::UpstreamIdleTimeout,
        format!("silent for {} ms in the middle of its answer.", timeouts.idle.as_millis()),
    )
}

fn expired(timeouts: Timeouts) -> Error {
    if timeouts.by_client.total {
        return late_for_client();
    }
    Error::new(
        Code::UpstreamTotalTimeout,
        format!("the answer was not complete after {} ms.", timeouts.total.as_millis()),
    )
}

/// Watches a stream under way. Re-armed only when it goes off, so that a piece costs no timer.
pub(crate) struct Watch {
    timer: Pin<Box<Sleep>>,
    timeouts: Timeouts,
    last: Instant,
    total: Instant,
}

impl Watch {
    pub fn start(timeouts: Timeouts, total: Instant) -> Watch {
        let last = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until((last + timeouts.idle).min(total)));
        Watch { timer, timeouts, last, total }
    }

    pub fn touch(&mut self) {
        self.last = Instant::now();
    }

    /// When the stream last said something.
    pub fn touched(&self) -> Instant {
        self.last
    }

    /// What it means that somebody else ended the call.
    pub fn expired(&self) -> Error {
        expired(self.timeouts)
    }

    /// Ready with an error once the stream has been silent, or under way, for too long.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let due = (self.last + self.timeouts.idle).min(self.total);
            if Instant::now() >= due {
                return Poll::Ready(silent(self.timeouts, self.total));
            }
            self.timer.as_mut().reset(due);
        }
    }
}

pub(crate) fn late_for_client() -> Error {
    Error::new(Code::RequestDeadline, "The time that the client gave this request is over.")
}
