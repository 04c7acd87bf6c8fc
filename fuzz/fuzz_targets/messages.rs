#![no_main]

use libfuzzer_sys::fuzz_target;
use meseta_wire::dialect::Dialect;

fuzz_target!(|data: &[u8]| meseta_fuzz::dialect(Dialect::AnthropicMessages, data));
