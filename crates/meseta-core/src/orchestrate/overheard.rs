//! The last agent's answer on its way to the client, read for the tools that it calls.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as _, Frame};
use meseta_wire::history::AnswerReader;

use crate::orchestrate::reply::calls;
use crate::stages::relay::{Body, Broken};

type Tell = Box<dyn FnOnce(&[String])>;

/// Changes nothing and holds nothing back. A client hears the last of an answer only after it was read.
pub(crate) struct Overheard {
    body: Body,
    reading: Option<(AnswerReader, Tell)>,
}

impl Overheard {
    /// `tell` hears the ids of the calls, if the answer is whole and there are any.
    pub fn new(body: Body, reader: AnswerReader, tell: impl FnOnce(&[String]) + 'static) -> Overheard {
        Overheard { body, reading: Some((reader, Box::new(tell))) }
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some((reader, _)), Some(Ok(frame))) = (&mut self.reading, &polled)
            && let Some(data) = frame.data_ref()
        {
            reader.feed(data);
        }
        let closed = self.reading.as_ref().is_some_and(|(reader, _)| reader.is_closed());
        if (closed || !matches!(polled, Some(Ok(_))) || self.body.is_end_stream())
            && let Some((reader, tell)) = self.reading.take()
            && let Ok(answer) = reader.finish()
        {
            let calls = calls(&answer);
            if !calls.is_empty() {
                tell(&calls);
            }
        }
        Poll::Ready(polled)
    }

    /// The body that passes.
    pub fn inner(&self) -> &Body {
        &self.body
    }
}
