//! Every fault that the simulated provider can play, whole and streamed, in each API that clients speak: once with a
//! healthy target beside the faulty one, and once alone. What must come of each is in `case.rs`;
//! docs/reference/faults.md is the same table for readers (`MESETA_UPDATE=1` writes it).

mod case;
#[path = "../matrix/events.rs"]
mod events;
#[path = "../matrix/heard.rs"]
#[allow(dead_code, reason = "what the matrix of conversations hears and this one does not ask for")]
mod heard;
mod play;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::case::{CASES, CLIENTS, Case};
use crate::play::Cell;

/// Cells wait for sockets and for time-outs.
const THREADS: usize = 8;

fn cells() -> Vec<Cell> {
    let only = std::env::var("MESETA_FAULT").unwrap_or_default();
    let mut cells = Vec::new();
    for case in CASES.iter().filter(|case| case.name.contains(&only)) {
        for client in CLIENTS {
            for stream in case.streams() {
                for alone in [false, true] {
                    if case.expected(*stream, alone).is_some() {
                        cells.push(Cell { case, client, stream: *stream, alone });
                    }
                }
            }
        }
    }
    cells
}

/// `MESETA_FAULT=NAME` plays the faults whose name holds that.
#[test]
fn every_fault_ends_as_it_must() {
    let cells = cells();
    assert!(cells.len() >= 60 || std::env::var_os("MESETA_FAULT").is_some(), "only {} cells", cells.len());
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = std::panic::catch_unwind(|| cell.play())
                        .unwrap_or_else(|_| vec!["the runner broke off (see above)".to_owned()]);
                    let found = found.into_iter().map(|problem| format!("{}: {problem}", cell.name()));
                    problems.lock().expect("no poison").extend(found);
                }
            });
        }
    });
    let mut problems = problems.into_inner().expect("no poison");
    problems.sort();
    assert!(problems.is_empty(), "{} of {} cells:\n{}", problems.len(), cells.len(), problems.join("\n"));
}

/// The page says what the test above compares with.
#[test]
fn the_page_is_the_table() {
    table::compare(CASES);
}

#[test]
fn no_two_cases_have_one_name() {
    let mut names: Vec<&str> = CASES.iter().map(|case: &Case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CASES.len());
}
