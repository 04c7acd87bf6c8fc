//! Frames do not depend on where the network cut them. The first byte is the size of the packets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meseta_wire::eventstream::Frames;

/// Name and payload of each frame, and whether the stream broke.
fn read(bytes: &[u8], packet: usize) -> (Vec<(String, Vec<u8>)>, bool) {
    let mut frames = Frames::default();
    let mut found = Vec::new();
    for piece in bytes.chunks(packet.max(1)) {
        frames.push(piece);
        loop {
            match frames.next() {
                Ok(Some(frame)) => found.push((frame.event().0.into_owned(), frame.payload.to_vec())),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first() else { return };
    assert_eq!(read(bytes, usize::from(*size)), read(bytes, bytes.len()));
});
