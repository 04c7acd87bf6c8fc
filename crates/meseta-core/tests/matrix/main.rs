//! Plays tests/conversations/*.txt: every client API against every provider dialect, whole and streamed, through a plane
//! in this process to the simulated provider. What a case says and what is compared is described there.

mod case;
mod check;
mod events;
mod expected;
mod golden;
mod heard;
mod play;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::case::Case;

/// Cases wait for sockets most of the time.
const THREADS: usize = 4;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/conversations")
}

/// `MESETA_MATRIX=NAME` plays the cases whose name holds that.
#[test]
fn every_conversation_plays() {
    let folder = folder();
    let only = std::env::var("MESETA_MATRIX").unwrap_or_default();
    let cases: Vec<Case> = texts(&folder)
        .iter()
        .filter(|path| path.file_stem().is_some_and(|name| name.to_string_lossy().contains(&only)))
        .map(|path| Case::read(path))
        .collect();
    assert!(cases.len() >= 40 || !only.is_empty(), "only {} conversations", cases.len());
    let update = std::env::var_os("MESETA_UPDATE").is_some();
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = one(case, &folder, update);
                    problems.lock().expect("no poison").extend(found);
                }
            });
        }
    });
    let mut problems = problems.into_inner().expect("no poison");
    problems.sort();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn texts(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths
}

/// The golden file of a case that is gone would be published all the same.
#[test]
fn every_golden_file_has_its_case() {
    let folder = folder();
    let names = |folder: &Path| -> Vec<_> {
        texts(folder).iter().filter_map(|path| Some(path.file_name()?.to_owned())).collect()
    };
    assert_eq!(names(&folder.join("golden")), names(&folder));
}

fn one(case: &Case, folder: &Path, update: bool) -> Vec<String> {
    let result = std::panic::catch_unwind(|| {
        let played = play::play(case);
        let mut problems = check::check(case, &played);
        let path = folder.join("golden").join(format!("{}.txt", case.name));
        let text = golden::write(case, &played);
        if update {
            std::fs::write(&path, text).expect("a golden file is written");
        } else {
            problems.extend(golden::compare(&std::fs::read_to_string(&path).unwrap_or_default(), &text));
        }
        problems
    });
    let problems = result.unwrap_or_else(|_| vec!["the runner broke off (see above)".to_owned()]);
    problems.into_iter().map(|problem| format!("{}: {problem}", case.name)).collect()
}
