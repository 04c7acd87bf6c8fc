//! What was acknowledged survives a process that is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const CHILD: &str = "MESETA_TEST_CHILD_SESSIONS";
const SESSIONS: usize = 3;

/// No test of its own: what the next one starts in a process of its own, and kills.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let settings = HistoriesDocument { path, ..Folder::new().settings() };
    let histories = Histories::open(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut output = std::io::stdout();
    for number in 0.. {
        let name = (number % SESSIONS).to_string();
        runtime.block_on(add(&histories, &name, &[user(&format!("ask {number}")), model("answer")]));
        writeln!(output, "kept {number}").unwrap();
        output.flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_loses_no_turn_that_was_acknowledged() {
    let folder = Folder::new();
    for round in 0..3 {
        let before = length(&folder).await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "histories::tests::kills::child_that_appends_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD, folder.settings().path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged =
            output.by_ref().map(Result::unwrap).filter(|line| line.contains("kept ")).take(100);
        assert_eq!(acknowledged.count(), 100, "round {round}");
        // SIGKILL: nothing in the child runs any more.
        child.kill().unwrap();
        // What it acknowledged while it was being killed counts too; a line that was cut may be one.
        let late = output.map_while(Result::ok).filter(|line| line.starts_with("kept ")).count();
        child.wait().unwrap();
        let after = length(&folder).await;
        assert!(
            after >= before + 2 * (100 + late.saturating_sub(1)),
            "round {round}: {before} {late} {after}"
        );
        // Every turn is whole, and each stands behind the one before it.
        let histories = folder.histories();
        for session in 0..SESSIONS {
            let words = read(&histories, &session.to_string()).await;
            let asked = words.iter().step_by(2).map(|ask| ask.strip_prefix("ask ").unwrap());
            let asked: Vec<usize> = asked.map(|number| number.parse().unwrap()).collect();
            assert!(words.iter().skip(1).step_by(2).all(|answer| answer == "answer"));
            assert!(asked.iter().all(|number| number % SESSIONS == session));
            // Each child counts from the beginning.
            let rounds = asked.windows(2).filter(|two| two[1] != two[0] + SESSIONS).count();
            assert!(words.len().is_multiple_of(2) && rounds <= round, "{asked:?}");
        }
    }
}

/// The number of messages in all sessions.
async fn length(folder: &Folder) -> usize {
    let histories = folder.histories();
    let mut length = 0;
    for session in 0..SESSIONS {
        length += read(&histories, &session.to_string()).await.len();
    }
    length
}
