//! The binary frames of AWS: what botocore reads, and what must hold for any bytes.

use meseta_wire::eventstream::{self, Frame, FrameError, Frames};
use proptest::collection::vec;
use proptest::prelude::*;

/// Made from the format's description with Python's `struct` and `binascii.crc32`, and read back with botocore's
/// `EventStreamBuffer`, which found the headers and the payload that the test expects.
const EVENT: &str = "000000760000005296d5fade0b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e\
    74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c\
    65223a22617373697374616e74227d6fa8c599";

/// A header of each of the ten types, and no payload; made in the same way.
const ALL_TYPES: &str = "0000007000000060d1425efe017400016601016202ff017303fffe016904fffffffd016c05ffffffffffff\
    fffc01790600036162630178070004746578740164080000018bcfe56800017509000102030405060708090a0b0c0d0e0f0b3a6576656e\
    742d7479706507000165aabe883d";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Headers, owned, and payload.
type Owned = (Vec<(String, String)>, Vec<u8>);

fn owned(frame: &Frame<'_>) -> Owned {
    let headers = frame.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    (headers.collect(), frame.payload.to_vec())
}

fn read(pieces: &[&[u8]]) -> (Vec<Owned>, Result<(), FrameError>) {
    let mut frames = Frames::default();
    let mut found = Vec::new();
    for piece in pieces {
        frames.push(piece);
        loop {
            match frames.next() {
                Ok(Some(frame)) => found.push(owned(&frame)),
                Ok(None) => break,
                Err(error) => return (found, Err(error)),
            }
        }
    }
    (found, Ok(()))
}

#[test]
fn frames_are_what_botocore_reads() {
    let (event, all) = (bytes(EVENT), bytes(ALL_TYPES));
    let (found, end) = read(&[&event, &all]);
    assert_eq!(end, Ok(()));
    let headers = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let written =
        [(":event-type", "messageStart"), (":content-type", "application/json"), (":message-type", "event")];
    assert_eq!(
        found,
        [
            (headers(&written), br#"{"role":"assistant"}"#.to_vec()),
            (headers(&[("x", "text"), (":event-type", "e")]), Vec::new()),
        ]
    );
    assert_eq!(eventstream::encode(&written, br#"{"role":"assistant"}"#), event);
}

#[test]
fn exceptions_and_errors_have_names_that_end_alike() {
    let named = |headers: &[(&str, &str)]| {
        let mut frames = Frames::default();
        frames.push(&eventstream::encode(headers, b"{}"));
        let frame = frames.next().unwrap().unwrap();
        let (name, data) = frame.event();
        (name.into_owned(), String::from_utf8(data.to_vec()).unwrap())
    };
    let expect = |name: &str, data: &str| (name.to_owned(), data.to_owned());
    assert_eq!(
        named(&[(":message-type", "exception"), (":exception-type", "throttlingException")]),
        expect("throttlingException", "{}")
    );
    assert_eq!(
        named(&[(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "Oh.")]),
        expect("InternalFailureException", "Oh.")
    );
    assert_eq!(named(&[(":event-type", "metadata")]), expect("metadata", "{}"));
    assert_eq!(named(&[]), expect("", "{}"));
}

#[test]
fn lengths_are_bounded_before_anything_is_waited_for() {
    let prelude = |total: usize, headers: usize| {
        let mut bytes = u32::try_from(total).unwrap().to_be_bytes().to_vec();
        bytes.extend(u32::try_from(headers).unwrap().to_be_bytes());
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_be_bytes());
        bytes
    };
    for (total, headers) in [
        (eventstream::MAX_FRAME + 1, 0),
        (eventstream::MAX_FRAME, eventstream::MAX_HEADERS + 1),
        (15, 0),
        (0, 0),
        (20, 5),
    ] {
        assert_eq!(read(&[&prelude(total, headers)]).1, Err(FrameError::Length), "{total} {headers}");
    }
    assert_eq!(read(&[&prelude(eventstream::MAX_FRAME, eventstream::MAX_HEADERS)]).1, Ok(()));
}

#[test]
fn a_reader_that_failed_stays_failed() {
    let event = bytes(EVENT);
    let mut frames = Frames::default();
    let mut broken = event.clone();
    *broken.last_mut().unwrap() ^= 1;
    frames.push(&broken);
    assert_eq!(frames.next(), Err(FrameError::Checksum));
    frames.push(&event);
    assert_eq!(frames.next(), Err(FrameError::Checksum));
}

#[test]
fn a_cut_off_stream_shows() {
    let event = bytes(EVENT);
    let mut frames = Frames::default();
    frames.push(&event);
    assert!(frames.is_partial());
    assert!(frames.next().unwrap().is_some());
    assert!(!frames.is_partial());
    frames.push(&event[..5]);
    assert_eq!(frames.next(), Ok(None));
    assert!(frames.is_partial());
}

fn frame() -> impl Strategy<Value = Owned> {
    (vec(("[:a-z-]{1,20}", "\\PC{0,20}"), 0..4), vec(any::<u8>(), 0..64))
}

fn encoded(frames: &[Owned]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|(headers, payload)| {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            eventstream::encode(&headers, payload)
        })
        .collect()
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(frames in vec(frame(), 0..5), cuts in vec(any::<prop::sample::Index>(), 0..8)) {
        let stream = encoded(&frames);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(&pieces), (frames, Ok(())));
    }

    #[test]
    fn a_changed_byte_is_found(frames in vec(frame(), 1..4), at in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let mut stream = encoded(&frames);
        let at = at.index(stream.len());
        stream[at] ^= change;
        let (found, end) = read(&[&stream]);
        // What stands before the damage is read; the damaged frame never is.
        prop_assert!(end.is_err());
        prop_assert!(found.len() < frames.len() && frames.starts_with(&found));
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..256)) {
        let _: (Vec<Owned>, Result<(), FrameError>) = read(&[&bytes]);
    }

    #[test]
    fn any_headers_are_survived(headers in vec(any::<u8>(), 0..64)) {
        // The checksums are right, so that the headers are read.
        let mut bytes = u32::try_from(16 + headers.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend(&headers);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        let (found, end) = read(&[&bytes]);
        prop_assert!(end == Err(FrameError::Headers) || end == Ok(()) && found.len() == 1);
    }
}
