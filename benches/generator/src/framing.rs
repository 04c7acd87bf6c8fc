//! Where a message body of HTTP/1.1 ends: by length or by chunks.

use httparse::Header;

/// What is left to come of one body.
#[derive(Debug, PartialEq)]
pub enum Body {
    Length(u64),
    Chunked(Chunk),
}

/// The place inside the chunked coding at which the next byte falls.
#[derive(Debug, PartialEq)]
pub enum Chunk {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataEnd,
    /// After the last chunk; `blank` while the present trailer line is still empty.
    Trailer {
        blank: bool,
    },
}

/// How a head says that its body ends; `None` when it does not say.
pub fn of(headers: &[Header]) -> Result<Option<Body>, &'static str> {
    let mut length = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err("transfer-encoding other than chunked");
            }
            return Ok(Some(Body::Chunked(Chunk::Size { value: 0, digits: 0 })));
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| "content-length is not a number")?;
            length = Some(Body::Length(text.trim().parse().map_err(|_| "content-length is not a number")?));
        }
    }
    Ok(length)
}

/// True when a head asks for the connection to be closed after its message.
pub fn closes(headers: &[Header]) -> bool {
    headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close")
    })
}

impl Body {
    /// Takes what belongs to this body from the front of `input`, hands the payload on, and answers
    /// how many bytes were taken and whether the body is complete.
    pub fn take(
        &mut self,
        input: &[u8],
        mut payload: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), &'static str> {
        match self {
            Self::Length(left) => {
                let here = shorter(*left, input.len());
                if here > 0 {
                    payload(&input[..here]);
                }
                *left -= here as u64;
                Ok((here, *left == 0))
            }
            Self::Chunked(place) => {
                let mut at = 0;
                while at < input.len() {
                    if let Chunk::Data { left } = place {
                        let here = shorter(*left, input.len() - at);
                        payload(&input[at..at + here]);
                        at += here;
                        *left -= here as u64;
                        if *left == 0 {
                            *place = Chunk::DataEnd;
                        }
                        continue;
                    }
                    let (next, complete) = place.step(input[at])?;
                    at += 1;
                    if complete {
                        return Ok((at, true));
                    }
                    *place = next;
                }
                Ok((at, false))
            }
        }
    }
}

impl Chunk {
    /// One byte of the coding itself. Carriage returns are only looked at where they could end a line.
    fn step(&self, byte: u8) -> Result<(Self, bool), &'static str> {
        Ok(match (self, byte) {
            (&Self::Size { value, digits: 1.. } | &Self::Extension { value }, b'\n') => {
                (if value == 0 { Self::Trailer { blank: true } } else { Self::Data { left: value } }, false)
            }
            (&Self::Size { value, digits: 1.. }, b'\r' | b';' | b' ') | (&Self::Extension { value }, _) => {
                (Self::Extension { value }, false)
            }
            (&Self::Size { value, digits: digits @ ..16 }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or("chunk size is not hexadecimal")?;
                (Self::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }, false)
            }
            (Self::DataEnd, b'\r') => (Self::DataEnd, false),
            (Self::DataEnd, b'\n') => (Self::Size { value: 0, digits: 0 }, false),
            (Self::Trailer { blank }, b'\n') => (Self::Trailer { blank: true }, *blank),
            (Self::Trailer { blank }, b'\r') => (Self::Trailer { blank: *blank }, false),
            (Self::Trailer { .. }, _) => (Self::Trailer { blank: false }, false),
            _ => return Err("chunked coding is broken"),
        })
    }
}

fn shorter(left: u64, here: usize) -> usize {
    usize::try_from(left).map_or(here, |left| left.min(here))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked() -> Body {
        Body::Chunked(Chunk::Size { value: 0, digits: 0 })
    }

    /// Feeds `input` in pieces of `size` bytes: payload, bytes taken, complete.
    fn decode(mut body: Body, input: &[u8], size: usize) -> Result<(Vec<u8>, usize, bool), &'static str> {
        let (mut payload, mut taken) = (Vec::new(), 0);
        for piece in input.chunks(size) {
            let (here, complete) = body.take(piece, |bytes| payload.extend_from_slice(bytes))?;
            taken += here;
            if complete {
                return Ok((payload, taken, true));
            }
        }
        Ok((payload, taken, false))
    }

    #[test]
    fn chunks_cut_anywhere_give_the_same_payload() {
        let coded = b"5\r\nhello\r\nB;name=value\r\n over there\r\n0\r\nx-trailer: 1\r\n\r\nNEXT";
        for size in 1..=coded.len() {
            let (payload, taken, complete) = decode(chunked(), coded, size).unwrap();
            assert_eq!(payload, b"hello over there");
            assert_eq!((taken, complete), (coded.len() - 4, true), "pieces of {size}");
        }
    }

    #[test]
    fn a_cut_body_is_not_complete() {
        assert!(!decode(chunked(), b"5\r\nhello\r\n0\r\n", 3).unwrap().2);
        assert!(!decode(Body::Length(6), b"hello", 2).unwrap().2);
        assert!(decode(Body::Length(5), b"hello", 2).unwrap().2);
    }

    #[test]
    fn broken_codings_are_refused() {
        for coded in [&b"\r\n"[..], b"x\r\n", b"5\r\nhelloX", b"11112222333344445\r\n"] {
            assert!(decode(chunked(), coded, 1).is_err(), "{coded:?}");
        }
    }

    #[test]
    fn an_empty_body_ends_at_once() {
        assert_eq!(Body::Length(0).take(b"GET", |_| panic!("no payload")), Ok((0, true)));
    }
}
