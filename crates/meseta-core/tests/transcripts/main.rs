//! Plays tests/transcripts/*.txt against a plane in this process. The format is described there.

mod play;
mod script;

use std::path::PathBuf;

#[test]
fn every_transcript_plays() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("tests/transcripts is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "only {} transcripts in {}", paths.len(), folder.display());
    let base = std::fs::read_to_string(folder.join("base.json")).expect("base.json");
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a readable transcript");
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let played = std::panic::catch_unwind(|| play::play(&script::parse(&text), &base, &name));
        if played.is_err() {
            failures.push(name);
        }
    }
    assert!(failures.is_empty(), "transcripts that failed (see above): {failures:?}");
}
