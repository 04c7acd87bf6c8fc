//! Any body is read or refused, and what is read can be edited into a document that says what was wanted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meseta_wire::edit::{self, Edits};
use meseta_wire::envelope::{self, Required};
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    for required in [Required::Messages, Required::Input] {
        let Ok(envelope) = envelope::read(body, required) else { continue };
        for (model, ask_usage) in [(Some("a\"/é"), true), (Some("b"), false), (None, true)] {
            let edits = Edits { model, ask_usage };
            let edited = edit::apply(body, &envelope, &edits).unwrap_or_else(|| body.to_vec());
            let again = envelope::read(&edited, required).expect("an edited request is a request");
            assert_eq!(again.model.as_deref(), model.or(envelope.model.as_deref()));
            assert_eq!(again.include_usage, envelope.include_usage || ask_usage);
            assert_eq!(again.stream, envelope.stream);
            let mut before: Value = serde_json::from_slice(body).expect("JSON");
            let mut after: Value = serde_json::from_slice(&edited).expect("JSON");
            for document in [&mut before, &mut after] {
                let fields = document.as_object_mut().expect("an object");
                fields.remove("model");
                fields.remove("stream_options");
            }
            assert_eq!(before, after);
        }
    }
});
