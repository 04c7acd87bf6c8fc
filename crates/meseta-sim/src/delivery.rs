//! The body of a response: it takes the steps of an answer's course, one after the other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::link::Link;
use crate::stats::Flight;
use crate::stream::Step;

pub struct Delivery {
    course: Course,
    /// Bytes to come, when they are known.
    left: Option<u64>,
    /// Tokens that the client has with the last byte.
    tokens: u64,
    /// Made at the first wait and used for all.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// The connection's end was ordered; nothing comes any more.
    over: bool,
    flight: Option<Flight>,
    link: Option<Arc<Link>>,
}

enum Course {
    /// Most answers: everything at once.
    Once(Option<Bytes>),
    Steps(Box<dyn Iterator<Item = Step> + Send>),
}

impl Delivery {
    /// A body that is not part of any request counted.
    pub fn uncounted(bytes: Bytes) -> Self {
        let left = Some(bytes.len() as u64);
        Self {
            course: Course::Once(Some(bytes)),
            left,
            tokens: 0,
            timer: None,
            waiting: false,
            over: false,
            flight: None,
            link: None,
        }
    }

    pub fn once(bytes: Bytes, tokens: u64, flight: Flight) -> Self {
        Self { flight: Some(flight), tokens, ..Self::uncounted(bytes) }
    }

    /// A body of several steps; `length` promises its bytes to the client, whatever the steps then do, and `tokens`
    /// are those that no step has.
    pub fn steps(
        steps: impl Iterator<Item = Step> + Send + 'static,
        length: Option<u64>,
        tokens: u64,
        flight: Flight,
        link: Arc<Link>,
    ) -> Self {
        let course = Course::Steps(Box::new(steps));
        Self { course, left: length, link: Some(link), ..Self::once(Bytes::new(), tokens, flight) }
    }

    fn says(&self, tokens: u64) {
        if let Some(course) = self.flight.as_ref().and_then(Flight::course) {
            course.says(tokens);
        }
    }

    fn spoil(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.spoil();
        }
    }

    fn finish(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.finish();
        }
    }

    /// Waits count from when the last one was due, so that a paced stream does not fall behind its pace.
    fn wait(&mut self, time: std::time::Duration) {
        let now = Instant::now();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(now)));
        let due = timer.deadline() + time;
        timer.as_mut().reset(if due < now { now } else { due });
        self.waiting = true;
    }
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if let Some(timer) = this.timer.as_mut().filter(|_| this.waiting) {
                ready!(timer.as_mut().poll(context));
                this.waiting = false;
            }
            if this.over {
                // The connection is about to be dropped, and this with it.
                return Poll::Pending;
            }
            let step = match &mut this.course {
                Course::Once(bytes) => bytes.take().map(|bytes| Step::Send(bytes, 0)),
                Course::Steps(steps) => steps.next(),
            };
            match step {
                None => {
                    this.finish();
                    return Poll::Ready(None);
                }
                // An empty frame would be the last chunk of HTTP/1.1.
                Some(Step::Send(bytes, _)) if bytes.is_empty() => {}
                Some(Step::Send(bytes, tokens)) => {
                    this.says(tokens);
                    if let Some(left) = &mut this.left {
                        *left = left.saturating_sub(bytes.len() as u64);
                    }
                    if this.left == Some(0) {
                        this.says(this.tokens);
                        this.finish();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Wait(time)) => this.wait(time),
                Some(Step::Fail) => this.spoil(),
                Some(Step::End(ending)) => {
                    this.spoil();
                    this.finish();
                    this.over = true;
                    if let Some(link) = &this.link {
                        link.end(ending);
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
