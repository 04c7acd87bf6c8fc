//! Any bytes may stand in an event or be a whole answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meseta_wire::dialect::Dialect;
use meseta_wire::scan::{self, Scanner};

fuzz_target!(|data: &[u8]| {
    for dialect in [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
        let _ = Scanner::new(dialect).event(data);
        let _ = scan::answer(dialect, data);
    }
    let _ = scan::completed_response(data);
});
