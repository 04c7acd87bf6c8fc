//! The events of a stream do not depend on where the network cut it. The first byte is the size of the packets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meseta_wire::dialect::Dialect;
use meseta_wire::scan::{Scanner, Seen};
use meseta_wire::sse;

fn events(stream: &[u8], packet: usize) -> (Vec<(Vec<u8>, Seen)>, Vec<u8>) {
    let mut held = Vec::new();
    let mut events = Vec::new();
    let mut scanner = Scanner::new(Dialect::OpenaiChat);
    for piece in stream.chunks(packet.max(1)) {
        held.extend_from_slice(piece);
        while let Some(end) = sse::event_end(&held) {
            let event: Vec<u8> = held.drain(..end).collect();
            let seen = scanner.event(&sse::event_data(&event));
            events.push((event, seen));
        }
    }
    (events, held)
}

fuzz_target!(|input: &[u8]| {
    let Some((packet, stream)) = input.split_first() else { return };
    assert_eq!(events(stream, usize::from(*packet)), events(stream, stream.len()));
});
