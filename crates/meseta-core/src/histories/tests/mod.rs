mod bodies;
mod kills;
mod model;
mod sessions;
mod taps;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use meseta_wire::conversation::{Message, Part, Role, Text};
use meseta_wire::history::Kept;

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Folder(std::env::temp_dir().join(format!("meseta-sessions-{}-{number}", std::process::id())))
    }

    fn settings(&self) -> HistoriesDocument {
        HistoriesDocument {
            path: self.0.join("sessions.db").to_str().unwrap().to_owned(),
            keep_hours: 24,
            max_bytes: 64 * 1024 * 1024,
            max_message_bytes: 1024 * 1024,
        }
    }

    fn histories(&self) -> Histories {
        Histories::open(&self.settings()).unwrap()
    }

    /// Whether some byte of some file says it.
    fn holds(&self, text: &str) -> bool {
        let files = std::fs::read_dir(&self.0).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .any(|bytes| memchr::memmem::find(&bytes, text.as_bytes()).is_some())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn alice() -> Caller {
    Caller::Key([1; 32])
}

fn said(role: Role, words: &str) -> Kept<'static> {
    let text = Text { text: words.to_owned().into(), ..Text::default() };
    Kept { instructions: false, message: Message { role, name: None, parts: vec![Part::Text(text)] } }
}

fn user(words: &str) -> Kept<'static> {
    said(Role::User, words)
}

fn model(words: &str) -> Kept<'static> {
    said(Role::Assistant, words)
}

fn words(messages: &[Kept<'_>]) -> Vec<String> {
    let words = |part: &Part<'_>| match part {
        Part::Text(text) => text.text.to_string(),
        other => format!("{other:?}"),
    };
    messages.iter().map(|kept| kept.message.parts.iter().map(words).collect()).collect()
}

async fn read(histories: &Histories, name: &str) -> Vec<String> {
    words(&histories.read(alice(), name).await.unwrap().messages)
}

/// Appends behind whatever is there.
async fn add(histories: &Histories, name: &str, messages: &[Kept<'_>]) -> Version {
    let seen = histories.read(alice(), name).await.unwrap().version;
    match histories.append(alice(), name, seen, messages).await.unwrap() {
        Appended::Done { version, behind: 0 } => version,
        other => panic!("{other:?}"),
    }
}
