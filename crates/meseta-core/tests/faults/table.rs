//! docs/reference/faults.md, from the cases.

use std::fmt::Write;
use std::path::PathBuf;

use crate::case::{CLIENTS, Case, Expected, Seen};

pub fn compare(cases: &[Case]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/faults.md");
    let text = page(cases);
    if std::env::var_os("MESETA_UPDATE").is_some() {
        std::fs::write(&path, text).expect("the page is written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/reference/faults.md is out of date: run this test with MESETA_UPDATE=1");
}

fn page(cases: &[Case]) -> String {
    let cells: usize = cases.iter().map(cells).sum();
    let mut out = format!(
        "<!-- Written by crates/meseta-core/tests/faults; MESETA_UPDATE=1 writes it anew. -->\n\
         # What clients see when a provider fails\n\n\
         A pool has a faulty target, which is asked first, and most often a healthy one beside it. Each line is a fault that\n\
         the [simulated provider](../guides/simulated-provider.md) plays; a test plays it to clients of chat completions, Responses\n\
         and Messages, {cells} cells in all. An answer is the whole answer and no word twice, whoever gave its parts; the number\n\
         is how many targets were asked; \"resumed\" means that the faulty one began it and the healthy one went on, unseen by\n\
         the client. No answer is paid for twice. An error is in the client's own dialect; in a stream that\n\
         has begun, it is the last event (\"error\": whichever of the two). Where the healthy target is asked, it speaks another dialect than the faulty one.\n\n\
         | Fault | Whole | Whole, nothing healthy | Streamed | Streamed, nothing healthy |\n|---|---|---|---|---|\n"
    );
    for case in cases {
        let row = [
            told(case.whole.as_ref().map(|expected| expected.beside)),
            told(alone(case.whole.as_ref())),
            told(case.streamed.as_ref().map(|expected| expected.beside)),
            told(alone(case.streamed.as_ref())),
        ];
        let _ = writeln!(out, "| {} | {} |", case.name, row.join(" | "));
    }
    out
}

fn alone(expected: Option<&Expected>) -> Option<Seen> {
    expected.and_then(|expected| expected.alone)
}

fn cells(case: &Case) -> usize {
    let sides = |expected: &Expected| 1 + usize::from(expected.alone.is_some());
    [&case.whole, &case.streamed].into_iter().flatten().map(sides).sum::<usize>() * CLIENTS.len()
}

fn told(seen: Option<Seen>) -> String {
    match seen {
        None => String::new(),
        Some(Seen::Answer { attempts: Some(attempts) }) => format!("answer, {attempts}"),
        Some(Seen::Answer { attempts: None }) => "answer".to_owned(),
        Some(Seen::Resumed) => "answer, resumed".to_owned(),
        Some(Seen::Error(0, _)) => "the provider's error".to_owned(),
        Some(Seen::Error(status, words)) => named(&format!("{status}"), words),
        Some(Seen::Failed(words)) => named("error", words),
        Some(Seen::Broken(words)) => named("error event", words),
    }
}

/// With the code, where the words are one.
fn named(what: &str, words: &str) -> String {
    match words.strip_prefix("upstream.") {
        Some(code) if !code.is_empty() => format!("{what} `{words}`"),
        _ => what.to_owned(),
    }
}
