//! Server-sent events, cut out of a byte stream wherever the network cut it.
//!
//! Format: WHATWG HTML, section 9.2 "Server-sent events". Lines end in LF, CR LF or CR; a blank line ends an event.

use std::borrow::Cow;

use memchr::memchr2;

/// How far a piece of a stream has been looked at, so that a long event that comes in many packets is looked at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// Where the current line begins.
    line: usize,
    /// No line ends before here.
    seen: usize,
}

impl Cursor {
    /// The end of the first complete event in `bytes` (behind its blank line), or `None` if it is not complete yet: ask
    /// again with the same cursor when more bytes have been put behind these. A CR as the very last byte is not taken
    /// as a line end: an LF may follow in the next packet.
    pub fn event_end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(found) = memchr2(b'\n', b'\r', &bytes[self.seen..]) {
            let at = self.seen + found;
            self.seen = at;
            let next = match (bytes[at], bytes.get(at + 1)) {
                (b'\r', None) => return None,
                (b'\r', Some(b'\n')) => at + 2,
                _ => at + 1,
            };
            if at == self.line {
                return Some(next);
            }
            self.line = next;
            self.seen = next;
        }
        self.seen = bytes.len();
        None
    }
}

/// The end of the first complete event in `bytes`, looked at from its start.
pub fn event_end(bytes: &[u8]) -> Option<usize> {
    Cursor::default().event_end(bytes)
}

/// The data of an event: its `data` lines joined by LF. Borrowed where there is one line, as nearly always.
pub fn event_data(event: &[u8]) -> Cow<'_, [u8]> {
    // A stream may begin with a byte order mark.
    let mut rest = event.strip_prefix(b"\xef\xbb\xbf").unwrap_or(event);
    let mut data: Option<Cow<'_, [u8]>> = None;
    while !rest.is_empty() {
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let Some([b':', b' ', value @ ..] | [b':', value @ ..] | value @ []) = line.strip_prefix(b"data")
        else {
            continue;
        };
        match &mut data {
            None => data = Some(Cow::Borrowed(value)),
            Some(data) => {
                let joined = data.to_mut();
                joined.push(b'\n');
                joined.extend_from_slice(value);
            }
        }
    }
    data.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_blank_line_in_every_line_ending() {
        assert_eq!(event_end(b"data: a\n\ndata: b\n\n"), Some(9));
        assert_eq!(event_end(b"data: a\r\n\r\nx"), Some(11));
        assert_eq!(event_end(b"data: a\r\rx"), Some(9));
        assert_eq!(event_end(b"data: a\n\r\nx"), Some(10));
        assert_eq!(event_end(b"\ndata"), Some(1));
        assert_eq!(event_end(b"data: a\n"), None);
        assert_eq!(event_end(b"data: a\r\n\r"), None);
        assert_eq!(event_end(b""), None);
    }

    #[test]
    fn reads_data_with_or_without_the_space() {
        assert_eq!(&*event_data(b"data: a\n\n"), b"a");
        assert_eq!(&*event_data(b"data:a\r\n\r\n"), b"a");
        assert_eq!(&*event_data(b"event: x\nid: 1\ndata: a\ndata:  b\n\n"), b"a\n b");
        assert_eq!(&*event_data(b": keep-alive\n\n"), b"");
        assert_eq!(&*event_data(b"data\n\n"), b"");
        assert_eq!(&*event_data(b"database: a\n\n"), b"");
        assert_eq!(&*event_data(b"\xef\xbb\xbfdata: a\n\n"), b"a");
    }

    #[test]
    fn every_cut_gives_the_same_events() {
        let stream = b"data: a\n\n: c\n\nevent: x\r\ndata: b\r\n\r\ndata: [DONE]\n\n";
        let whole = split_all(stream, stream.len());
        assert_eq!(whole.len(), 4);
        for size in 1..stream.len() {
            assert_eq!(split_all(stream, size), whole, "packets of {size} bytes");
        }
    }

    #[test]
    fn a_cursor_finds_the_same_end_however_the_bytes_come() {
        let event = b"data: a\r\ndata: b\rdata: c\n\r\nnext";
        let end = event_end(event);
        assert_eq!(end, Some(event.len() - 4));
        let mut cursor = Cursor::default();
        let found = (0..=event.len()).find_map(|length| cursor.event_end(&event[..length]));
        assert_eq!(found, end);
    }

    fn split_all(stream: &[u8], packet: usize) -> Vec<Vec<u8>> {
        let mut held = Vec::new();
        let mut events = Vec::new();
        for piece in stream.chunks(packet) {
            held.extend_from_slice(piece);
            while let Some(end) = event_end(&held) {
                events.push(held.drain(..end).collect());
            }
        }
        events
    }
}
