//! The body of an answer that is kept on its way to the client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::histories::{Appended, Tap, Unkept};

type Keeping = Pin<Box<dyn Future<Output = (Option<Bytes>, Result<Appended, Unkept>)> + Send>>;
type Report = Box<dyn FnOnce(Result<Appended, Unkept>) + Send>;

/// Passes a body on through a [`Tap`]. Not one byte is changed; the last ones wait until the turn is kept.
pub struct KeptBody<B: Body> {
    inner: B,
    /// The inner body has said its last; it is not asked again.
    over: bool,
    stage: Stage<B::Error>,
    /// Told once what came of the turn, unless the body breaks off or the client leaves.
    report: Option<Report>,
}

enum Stage<E> {
    Passing(Tap),
    /// With the trailers, if they have come.
    Keeping(Keeping, Option<Frame<Bytes>>),
    /// What the tap held back has gone; this is left to say before whatever the inner body still says.
    Kept(Option<Frame<Bytes>>),
    Broken(Option<E>),
}

impl<B: Body<Data = Bytes> + Unpin> KeptBody<B> {
    pub fn new(
        inner: B,
        tap: Tap,
        report: impl FnOnce(Result<Appended, Unkept>) + Send + 'static,
    ) -> KeptBody<B> {
        KeptBody { inner, over: false, stage: Stage::Passing(tap), report: Some(Box::new(report)) }
    }

    /// Nothing more need be waited for: the rest of the turn is kept now.
    fn keep(&mut self, trailers: Option<Frame<Bytes>>) {
        if let Stage::Passing(tap) = std::mem::replace(&mut self.stage, Stage::Kept(None)) {
            self.stage = Stage::Keeping(Box::pin(tap.finish()), trailers);
        }
    }

    fn give_up(&mut self, error: B::Error) -> Option<Bytes> {
        match std::mem::replace(&mut self.stage, Stage::Broken(Some(error))) {
            Stage::Passing(tap) => tap.give_up(),
            _ => None,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for KeptBody<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                // The connection may stay open for long behind the last word.
                Stage::Passing(tap) if tap.is_complete() => this.keep(None),
                Stage::Passing(tap) => match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(piece) => {
                            if let Some(piece) = tap.feed(piece) {
                                return Poll::Ready(Some(Ok(Frame::data(piece))));
                            }
                        }
                        // Trailers are the last that a body says.
                        Err(trailers) => this.keep(Some(trailers)),
                    },
                    Some(Err(error)) => {
                        if let Some(held) = this.give_up(error) {
                            return Poll::Ready(Some(Ok(Frame::data(held))));
                        }
                    }
                    None => {
                        this.over = true;
                        this.keep(None);
                    }
                },
                Stage::Keeping(keeping, trailers) => {
                    let (held, kept) = ready!(keeping.as_mut().poll(context));
                    let trailers = trailers.take();
                    this.stage = Stage::Kept(trailers);
                    if let Some(report) = this.report.take() {
                        report(kept);
                    }
                    if let Some(held) = held {
                        return Poll::Ready(Some(Ok(Frame::data(held))));
                    }
                }
                Stage::Kept(trailers) => match trailers.take() {
                    Some(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    None if this.over || this.inner.is_end_stream() => return Poll::Ready(None),
                    None => {
                        let polled = ready!(Pin::new(&mut this.inner).poll_frame(context));
                        this.over = !matches!(polled, Some(Ok(_)));
                        return Poll::Ready(polled);
                    }
                },
                Stage::Broken(error) => return Poll::Ready(error.take().map(Err)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Kept(None)) && (self.over || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stage {
            // The same bytes; before the first of them this is what the client is told of their number.
            Stage::Passing(tap) if tap.holds_nothing() => self.inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}
