//! Where one event of a stream ends and the next one begins, in the form that the provider's dialect has.

use bytes::{Buf, BytesMut};
use meseta_wire::dialect::Dialect;
use meseta_wire::eventstream::Frames;
use meseta_wire::sse;

/// The longest event that is taken. It must be held whole, so that it can be read.
const EVENT_BYTES: usize = 16 * 1024 * 1024;

pub(crate) enum Framing {
    /// Server-sent events.
    Events { held: BytesMut, cursor: sse::Cursor },
    /// The frames of `application/vnd.amazon.eventstream`.
    Frames(Frames),
}

impl Framing {
    pub fn of(dialect: Dialect) -> Framing {
        match dialect {
            Dialect::BedrockConverse => Framing::Frames(Frames::default()),
            _ => Framing::Events { held: BytesMut::new(), cursor: sse::Cursor::default() },
        }
    }

    /// Takes a packet and hands out every event that is now whole, by name (of a frame) and data (empty for a comment),
    /// until `each` says that it has had enough: then this is `false`. An error says in what way the stream is broken.
    pub fn read(&mut self, data: &[u8], each: &mut dyn FnMut(&str, &[u8]) -> bool) -> Result<bool, String> {
        match self {
            Framing::Events { held, cursor } => {
                held.extend_from_slice(data);
                while let Some(end) = cursor.event_end(held) {
                    let more = each("", &sse::event_data(&held[..end]));
                    held.advance(end);
                    *cursor = sse::Cursor::default();
                    if !more {
                        return Ok(false);
                    }
                }
                if held.len() > EVENT_BYTES {
                    return Err("the provider sent an event that is too long to be read".to_owned());
                }
                Ok(true)
            }
            Framing::Frames(frames) => {
                frames.push(data);
                loop {
                    match frames.next() {
                        Ok(Some(frame)) => {
                            let (name, data) = frame.event();
                            if !each(&name, data) {
                                return Ok(false);
                            }
                        }
                        Ok(None) => return Ok(true),
                        Err(error) => {
                            return Err(format!("the provider's event stream is broken: {error}"));
                        }
                    }
                }
            }
        }
    }

    /// The stream is over: the last event may lack its blank line.
    pub fn finish(&mut self, each: &mut dyn FnMut(&str, &[u8]) -> bool) {
        if let Framing::Events { held, .. } = self {
            let last = held.split();
            if !last.is_empty() {
                each("", &sse::event_data(&last));
            }
        }
    }
}
