//! The body of an answer as it comes, unpacked.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::response;

use crate::decompress::{self, Decoder, Undecodable};
use crate::error::{Code, Error};
use crate::upstream::Lease;

pub(crate) struct Source {
    lease: Lease,
    unpacking: Option<Box<Unpacking>>,
}

struct Unpacking {
    decoder: Decoder,
    out: BytesMut,
}

/// What one packet may unpack to.
const UNPACKED_BYTES: u64 = 64 * 1024 * 1024;

impl Source {
    pub(super) fn new(lease: Lease, head: &response::Parts) -> Result<Source, Error> {
        let codings = decompress::codings(&head.headers).map_err(|error| packed_wrongly(&error))?;
        let unpacking = (!codings.is_empty())
            .then(|| Box::new(Unpacking { decoder: Decoder::new(&codings), out: BytesMut::new() }));
        Ok(Source { lease, unpacking })
    }

    /// The next piece of the body, perhaps empty; `None` at its end.
    pub fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let data = ready!(self.lease.poll_data(context));
        let Some(unpacking) = &mut self.unpacking else { return Poll::Ready(data) };
        Poll::Ready(match data {
            Some(Ok(data)) => Some(
                unpacking
                    .decoder
                    .push(&data, &mut unpacking.out, UNPACKED_BYTES)
                    .map(|()| unpacking.out.split().freeze())
                    .map_err(|error| packed_wrongly(&error)),
            ),
            Some(Err(error)) => Some(Err(error)),
            None => match unpacking.decoder.finish() {
                Ok(()) => None,
                Err(error) => Some(Err(packed_wrongly(&error))),
            },
        })
    }

    /// The body has been read to its end, so that no poll is needed to learn of it.
    pub(super) fn ended(&self) -> bool {
        self.unpacking.is_none() && self.lease.ended()
    }

    /// Whether the answer came packed: its headers speak of the packed bytes.
    pub(super) fn is_unpacking(&self) -> bool {
        self.unpacking.is_some()
    }

    pub fn finish(self) {
        self.lease.finish();
    }
}

fn packed_wrongly(error: &Undecodable) -> Error {
    Error::new(Code::UpstreamInvalidAnswer, format!("the provider's answer: {error}."))
}
