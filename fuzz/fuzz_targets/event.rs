//! Any bytes may stand in an event or be a whole answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meseta_wire::openai;

fuzz_target!(|data: &[u8]| {
    let _ = openai::read_event(data);
    let _ = openai::read_answer(data);
});
