//! Server-sent events, cut out of a byte stream wherever the network cut it.
//!
//! Format: WHATWG HTML, section 9.2 "Server-sent events". Lines end in LF, CR LF or CR; a blank line ends an event.

use memchr::memchr2;

/// The end of the first complete event in `bytes` (behind its blank line), or `None` if it is not complete yet.
/// A CR as the very last byte is not taken as a line end: an LF may follow in the next packet.
pub fn event_end(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    while let Some(found) = memchr2(b'\n', b'\r', &bytes[line..]) {
        let at = line + found;
        let next = match (bytes[at], bytes.get(at + 1)) {
            (b'\r', None) => return None,
            (b'\r', Some(b'\n')) => at + 2,
            _ => at + 1,
        };
        if found == 0 {
            return Some(next);
        }
        line = next;
    }
    None
}

/// The data of an event: its `data` lines joined by LF. Borrowed where there is one line, as nearly always.
pub fn event_data(event: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let mut data: std::borrow::Cow<'_, [u8]> = std::borrow::Cow::Borrowed(&[]);
    let mut seen = false;
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let Some(value) = line.strip_prefix(b"data") else { continue };
        let value = match value {
            [] => value,
            [b':', b' ', rest @ ..] | [b':', rest @ ..] => rest,
            _ => continue,
        };
        if seen {
            let joined = data.to_mut();
            joined.push(b'\n');
            joined.extend_from_slice(value);
        } else {
            data = std::borrow::Cow::Borrowed(value);
            seen = true;
        }
    }
    data
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
