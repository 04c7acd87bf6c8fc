//! `application/vnd.amazon.eventstream`: the binary frames in which AWS streams.
//!
//! A frame is its length, the length of its headers and a checksum of both (four bytes each, big endian), then the
//! headers, the payload, and a checksum of everything before it.

use std::borrow::Cow;
use std::fmt;

/// A frame may not be longer; AWS's own limit.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;
/// The headers of a frame may not be longer; AWS's own limit.
pub const MAX_HEADERS: usize = 128 * 1024;

const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// The number that stands before a header's value when it is a string.
const STRING: u8 = 7;

/// Reads frames from a stream that arrives in pieces of any size.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
    /// How much of the buffer has been read.
    read: usize,
    failed: Option<FrameError>,
}

/// One frame. Only headers whose value is a string are kept: events have no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub headers: Vec<(&'a str, &'a str)>,
    pub payload: &'a [u8],
}

/// The stream is not what it should be. There is no way to find the next frame, so the reader stays failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    Length,
    PreludeChecksum,
    Checksum,
    Headers,
}

impl fmt::Display for FrameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            FrameError::Length => "a frame of the event stream has an impossible length",
            FrameError::PreludeChecksum => {
                "the beginning of a frame of the event stream was damaged on the way"
            }
            FrameError::Checksum => "a frame of the event stream was damaged on the way",
            FrameError::Headers => "the headers of a frame of the event stream cannot be read",
        })
    }
}

impl std::error::Error for FrameError {}

impl Frames {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        // Moving the rest to the front is cheap: it is at most a part of one frame.
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or `None` until more bytes are pushed.
    #[allow(clippy::should_implement_trait)] // An iterator cannot lend what it holds.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match parse(self.buffer.get(self.read..).unwrap_or_default()) {
            Ok(None) => Ok(None),
            Ok(Some((frame, length))) => {
                self.read += length;
                Ok(Some(frame))
            }
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Whether a part of a frame is left over; at the end of a stream that means that it was cut off.
    pub fn is_partial(&self) -> bool {
        self.read < self.buffer.len()
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((prelude, rest)) = bytes.split_at_checked(PRELUDE) else { return Ok(None) };
    let total = number(prelude);
    let headers = number(prelude.get(4..).unwrap_or_default());
    let body = prelude.get(..8).unwrap_or_default();
    if crc32fast::hash(body) as usize != number(prelude.get(8..).unwrap_or_default()) {
        return Err(FrameError::PreludeChecksum);
    }
    if total > MAX_FRAME || headers > MAX_HEADERS || total < PRELUDE + CHECKSUM + headers {
        return Err(FrameError::Length);
    }
    let Some(frame) = bytes.get(..total) else { return Ok(None) };
    let (checked, checksum) = frame.split_at(total - CHECKSUM);
    if crc32fast::hash(checked) as usize != number(checksum) {
        return Err(FrameError::Checksum);
    }
    let inside = rest.get(..total - PRELUDE - CHECKSUM).unwrap_or_default();
    let (headers, payload) = inside.split_at(headers);
    Ok(Some((Frame { headers: strings(headers)?, payload }, total)))
}

/// The first four bytes as a big-endian number.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn strings(bytes: &[u8]) -> Result<Vec<(&str, &str)>, FrameError> {
    let mut rest = Reader(bytes);
    let mut headers = Vec::with_capacity(3);
    while !rest.0.is_empty() {
        let length = rest.byte()?;
        let name = rest.text(usize::from(length))?;
        let value = match rest.byte()? {
            // True and false are their own values.
            0 | 1 => None,
            2 => rest.skip(1)?,
            3 => rest.skip(2)?,
            4 => rest.skip(4)?,
            // A long, or a time in milliseconds.
            5 | 8 => rest.skip(8)?,
            6 => {
                let length = rest.length()?;
                rest.skip(length)?
            }
            STRING => {
                let length = rest.length()?;
                Some(rest.text(length)?)
            }
            // A UUID.
            9 => rest.skip(16)?,
            _ => return Err(FrameError::Headers),
        };
        headers.extend(value.map(|value| (name, value)));
    }
    Ok(headers)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(FrameError::Headers)?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, length: usize) -> Result<Option<&'a str>, FrameError> {
        self.take(length).map(|_| None)
    }

    fn byte(&mut self) -> Result<u8, FrameError> {
        self.take(1)?.first().copied().ok_or(FrameError::Headers)
    }

    fn length(&mut self) -> Result<usize, FrameError> {
        Ok(usize::from(self.byte()?) << 8 | usize::from(self.byte()?))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, FrameError> {
        std::str::from_utf8(self.take(length)?).map_err(|_| FrameError::Headers)
    }
}

impl<'a> Frame<'a> {
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Its name and data as a stream decoder takes them. An exception's name is its type; an error that is not one of
    /// the API's own exceptions has its code for a name, made to end like theirs, and its message for data.
    pub fn event(&self) -> (Cow<'a, str>, &'a [u8]) {
        match self.header(":message-type") {
            Some("exception") => {
                (Cow::Borrowed(self.header(":exception-type").unwrap_or("Exception")), self.payload)
            }
            Some("error") => {
                let code = self.header(":error-code").unwrap_or_default();
                let name = if code.ends_with("Exception") {
                    Cow::Borrowed(code)
                } else {
                    Cow::Owned(format!("{code}Exception"))
                };
                (name, self.header(":error-message").map_or(self.payload, str::as_bytes))
            }
            _ => (Cow::Borrowed(self.header(":event-type").unwrap_or_default()), self.payload),
        }
    }
}

/// A frame whose headers are strings. Headers that the format has no room for are left out.
pub fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + payload.len());
    Template::new(headers).write(&mut out, |out| out.extend_from_slice(payload));
    out
}

/// Headers that many frames share, laid out once.
#[derive(Debug)]
pub(crate) struct Template {
    headers: Vec<u8>,
}

impl Template {
    pub(crate) fn new(headers: &[(&str, &str)]) -> Template {
        let mut bytes = Vec::with_capacity(96);
        for (name, value) in headers {
            let (Ok(name_length), Ok(value_length)) = (u8::try_from(name.len()), u16::try_from(value.len()))
            else {
                continue;
            };
            if bytes.len() + name.len() + value.len() + 4 > MAX_HEADERS {
                continue;
            }
            bytes.push(name_length);
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(STRING);
            bytes.extend_from_slice(&value_length.to_be_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        Template { headers: bytes }
    }

    /// Appends a frame whose payload `payload` appends.
    pub(crate) fn write(&self, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&[0; PRELUDE]);
        out.extend_from_slice(&self.headers);
        payload(out);
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
        let (total, headers) = (length(out.len() - start + CHECKSUM), length(self.headers.len()));
        if let Some(prelude) = out.get_mut(start..start + PRELUDE) {
            let (lengths, checksum) = prelude.split_at_mut(8);
            lengths.copy_from_slice(&[total, headers].concat());
            checksum.copy_from_slice(&crc32fast::hash(lengths).to_be_bytes());
        }
        let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_be_bytes());
    }
}
