//! The resolved documents of tests/configs, which Python writes, are what the plane reads: accepted, and the same when
//! written again.

use meseta_core::snapshot::{Document, Snapshot};
use serde_json::Value;

#[test]
fn every_resolved_document_is_accepted_and_round_trips() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/configs");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("tests/configs is there") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("ok-") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable case");
        let rule = format!("\n{}\n", "-".repeat(20));
        // Below the first rule the document, below a second one, if it is there, warnings.
        let document = text.split(&rule).nth(1).unwrap_or_else(|| panic!("{name} has no rule line"));
        let expected: Value =
            serde_json::from_str(document).unwrap_or_else(|error| panic!("{name}: {error}"));
        let parsed = Document::parse(document).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_value(&parsed).expect("a document serialises"), expected, "{name}");
        if let Err(error) = Snapshot::parse(document) {
            panic!("{name}: {error}");
        }
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} cases in {folder}");
}
