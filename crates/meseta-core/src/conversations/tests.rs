use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::shelf::Shelf;
use super::*;
use crate::kept_file::{Contents, FileError};

const LIMITS: ChainLimits = ChainLimits { entries: 100, bytes: 1024 * 1024 };

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Folder(std::env::temp_dir().join(format!("meseta-answers-{}-{number}", std::process::id())))
    }

    fn settings(&self) -> StoreSettings {
        StoreSettings {
            path: self.0.join("answers.db").to_str().unwrap().to_owned(),
            keep_hours: 24,
            max_bytes: 64 * 1024 * 1024,
            max_response_bytes: 16 * 1024 * 1024,
        }
    }

    fn store(&self) -> Store {
        Store::open(&self.settings()).unwrap()
    }

    /// Every byte of every file.
    fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.0).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    fn holds(&self, text: &str) -> bool {
        self.bytes().windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn alice() -> Caller {
    Caller::Key([1; 32])
}

fn entry(id: &str, previous: Option<&str>) -> Entry {
    Entry {
        id: id.to_owned(),
        previous: previous.map(str::to_owned),
        target: "openai/gpt-5".to_owned(),
        input: format!(r#"[{{"role":"user","content":"to {id}"}}]"#),
        answer: format!(r#"{{"id":"{id}","object":"response"}}"#),
        created: now(),
    }
}

fn ids(chain: &[Entry]) -> Vec<&str> {
    chain.iter().map(|entry| &*entry.id).collect()
}

fn missing<T>(id: &str) -> Result<T, StoreError> {
    Err(StoreError::NotFound { id: id.to_owned() })
}

#[tokio::test]
async fn an_answer_comes_back_as_it_was_and_only_to_its_caller() {
    let folder = Folder::new();
    let store = folder.store();
    let kept = entry("resp_ü", Some("resp_0"));
    store.put(alice(), kept.clone()).await.unwrap();
    assert_eq!(store.get(alice(), "resp_ü").await, Ok(Some(kept.clone())));
    assert_eq!(store.get(alice(), "resp_0").await, Ok(None));
    let text = String::from_utf8(vec![1; 32]).unwrap();
    for other in [Caller::Key([2; 32]), Caller::Listener(text.as_str().into()), Caller::Listener("".into())] {
        assert_eq!(store.get(other.clone(), "resp_ü").await, Ok(None));
        assert_eq!(store.delete(other.clone(), "resp_ü").await, Ok(false));
        assert_eq!(store.chain(other.clone(), "resp_ü", LIMITS).await, missing("resp_ü"));
        let theirs = Entry { answer: "{}".to_owned(), ..kept.clone() };
        store.put(other.clone(), theirs.clone()).await.unwrap();
        assert_eq!(store.get(other, "resp_ü").await, Ok(Some(theirs)));
    }
    assert_eq!(store.get(alice(), "resp_ü").await, Ok(Some(kept)));
    assert_eq!(store.delete(alice(), "resp_ü").await, Ok(true));
    assert_eq!(store.delete(alice(), "resp_ü").await, Ok(false));
    assert_eq!(store.get(alice(), "resp_ü").await, Ok(None));
}

#[tokio::test]
async fn a_conversation_comes_oldest_first_and_whole_or_not_at_all() {
    let folder = Folder::new();
    let store = folder.store();
    for (id, previous) in
        [("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("c")), ("x", Some("b"))]
    {
        store.put(alice(), entry(id, previous)).await.unwrap();
    }
    let chain = async |id: &str| store.chain(alice(), id, LIMITS).await;
    assert_eq!(ids(&chain("d").await.unwrap()), ["a", "b", "c", "d"]);
    assert_eq!(ids(&chain("x").await.unwrap()), ["a", "b", "x"]);
    assert_eq!(ids(&chain("a").await.unwrap()), ["a"]);
    assert_eq!(chain("y").await, missing("y"));
    assert_eq!(store.delete(alice(), "b").await, Ok(true));
    assert_eq!(chain("d").await, missing("b"));
    assert_eq!(ids(&chain("a").await.unwrap()), ["a"]);
    store.put(alice(), entry("b", Some("d"))).await.unwrap();
    assert_eq!(chain("d").await, Err(StoreError::Cycle { id: "d".to_owned() }));
}

#[tokio::test]
async fn a_conversation_is_bounded_in_answers_and_bytes() {
    let folder = Folder::new();
    let store = folder.store();
    let mut bytes = 0;
    for number in 0..10_u32 {
        let previous = number.checked_sub(1).map(|previous| previous.to_string());
        let one = entry(&number.to_string(), previous.as_deref());
        bytes += one.bytes();
        store.put(alice(), one).await.unwrap();
    }
    let exact = ChainLimits { entries: 10, bytes };
    assert_eq!(store.chain(alice(), "9", exact).await.unwrap().len(), 10);
    for limits in [ChainLimits { entries: 9, ..exact }, ChainLimits { bytes: bytes - 1, ..exact }] {
        assert_eq!(store.chain(alice(), "9", limits).await, Err(StoreError::ChainTooLong(limits)));
    }
}

#[tokio::test]
async fn what_is_too_old_is_not_found_and_leaves_the_file() {
    let folder = Folder::new();
    let settings = StoreSettings { keep_hours: 2, ..folder.settings() };
    let store = Store::open(&settings).unwrap();
    let aged = |id, seconds| Entry { created: now() - seconds, ..entry(id, None) };
    store.put(alice(), aged("fresh", 7000)).await.unwrap();
    store.put(alice(), aged("stale", 7200)).await.unwrap();
    store.put(alice(), Entry { created: u64::MAX, ..entry("future", None) }).await.unwrap();
    store.put(alice(), Entry { previous: Some("stale".to_owned()), ..entry("next", None) }).await.unwrap();
    assert!(store.get(alice(), "fresh").await.unwrap().is_some());
    assert_eq!(store.get(alice(), "stale").await, Ok(None));
    assert_eq!(store.chain(alice(), "next", LIMITS).await, missing("stale"));
    drop(store);
    assert!(folder.holds("to stale"));
    let store = Store::open(&settings).unwrap();
    assert!(!folder.holds("to stale") && folder.holds("to fresh"));
    drop(store);
    // A clock of a provider that runs ahead keeps nothing longer.
    let store = Store::open(&StoreSettings { keep_hours: 0, ..settings }).unwrap();
    assert_eq!(store.get(alice(), "future").await, Ok(None));
    drop(store);
    assert!(!folder.holds("to future"));
}

#[tokio::test]
async fn what_is_deleted_is_gone_from_the_disk() {
    let folder = Folder::new();
    let store = folder.store();
    let secret = "nobody may ever read this again ".repeat(1000);
    let long = Entry { input: secret.clone(), ..entry("a", None) };
    store.put(alice(), long.clone()).await.unwrap();
    store.put(alice(), entry("b", None)).await.unwrap();
    assert!(folder.holds("nobody may ever"));
    assert_eq!(store.delete(alice(), "a").await, Ok(true));
    assert!(!folder.holds("nobody may ever") && folder.holds("to b"));
    // So is what was replaced, with the next tidying.
    store.put(alice(), long).await.unwrap();
    store.put(alice(), entry("a", None)).await.unwrap();
    drop(store);
    drop(folder.store());
    assert!(!folder.holds("nobody may ever") && folder.holds("to a"));
}

#[tokio::test]
async fn the_oldest_make_room() {
    let folder = Folder::new();
    let settings = StoreSettings { max_bytes: 400_000, ..folder.settings() };
    let store = Store::open(&settings).unwrap();
    for number in 0..50_u64 {
        let created = now() - 1000 + number;
        let long = Entry { input: "x".repeat(20_000), created, ..entry(&number.to_string(), None) };
        store.put(alice(), long).await.unwrap();
    }
    let mut there = Vec::new();
    for number in 0..50 {
        there.push(store.get(alice(), &number.to_string()).await.unwrap().is_some());
    }
    let gone = there.iter().position(|there| *there).unwrap();
    assert!((30..40).contains(&gone) && there[gone..].iter().all(|there| *there), "{there:?}");
    drop(store);
    // The newest is written before the oldest goes.
    assert!(std::fs::metadata(&settings.path).unwrap().len() <= 425_000);
    // A smaller limit counts from the next start on.
    drop(Store::open(&StoreSettings { max_bytes: 150_000, ..settings.clone() }).unwrap());
    assert!(std::fs::metadata(&settings.path).unwrap().len() <= 150_000);
}

#[tokio::test]
async fn one_that_is_too_large_is_refused_and_costs_nobody_anything() {
    let folder = Folder::new();
    let settings = StoreSettings { max_bytes: 100_000, max_response_bytes: 200_000, ..folder.settings() };
    let store = Store::open(&settings).unwrap();
    store.put(alice(), entry("small", None)).await.unwrap();
    let large = |length| Entry { input: "x".repeat(length), ..entry("large", None) };
    for (length, limit) in [(200_000, 200_000), (150_000, 100_000)] {
        let entry = large(length);
        let bytes = entry.bytes();
        assert_eq!(store.put(alice(), entry).await, Err(StoreError::TooLarge { bytes, limit }));
    }
    assert_eq!(store.get(alice(), "large").await, Ok(None));
    assert!(store.get(alice(), "small").await.unwrap().is_some());
}

#[test]
fn a_full_disk_fails_the_put_and_nothing_else() {
    let folder = Folder::new();
    let mut shelf = Shelf::open(&folder.settings()).unwrap();
    shelf.put(&alice(), &entry("before", None)).unwrap();
    shelf.connection.pragma_update(None, "max_page_count", 12).unwrap();
    let large = Entry { input: "x".repeat(200_000), ..entry("large", Some("before")) };
    let Err(StoreError::File(FileError::Failed(why))) = shelf.put(&alice(), &large) else {
        panic!("it had no room")
    };
    assert!(why.contains("full"), "{why}");
    assert_eq!(shelf.get(&alice(), "large"), Ok(None));
    shelf.put(&alice(), &entry("after", Some("before"))).unwrap();
    assert_eq!(ids(&shelf.chain(&alice(), "after", LIMITS).unwrap()), ["before", "after"]);
    assert_eq!(shelf.delete(&alice(), "before"), Ok(true));
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_at_the_start() {
    let folder = Folder::new();
    let path = folder.settings().path;
    drop(folder.store());
    for damage in ["this is no database, but it is long enough to be looked at".repeat(100), "x".repeat(5000)]
    {
        std::fs::write(&path, &damage).unwrap();
        let store = folder.store();
        assert_eq!(std::fs::read(format!("{path}.corrupt")).unwrap(), damage.as_bytes());
        store.put(alice(), entry("a", None)).await.unwrap();
        assert!(store.get(alice(), "a").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_later_is_set_aside_too() {
    let folder = Folder::new();
    let path = folder.settings().path;
    let store = folder.store();
    // More than the cache of the connection holds, and more than the WAL keeps to itself.
    let long = Entry { input: "x".repeat(8 * 1024 * 1024), ..entry("long", None) };
    store.put(alice(), long.clone()).await.unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length > 8 * 1024 * 1024);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    {
        use std::io::{Seek, Write};
        let mut file = file;
        file.seek(std::io::SeekFrom::Start(length / 2 / 4096 * 4096)).unwrap();
        file.write_all(&vec![0xff; 65_536]).unwrap();
    }
    assert_eq!(store.get(alice(), "long").await, Ok(None));
    assert!(std::fs::metadata(format!("{path}.corrupt")).unwrap().len() >= length);
    store.put(alice(), long.clone()).await.unwrap();
    assert_eq!(store.get(alice(), "long").await, Ok(Some(long)));
}

#[test]
fn what_was_set_aside_leaves_when_its_time_is_over() {
    let folder = Folder::new();
    let settings = folder.settings();
    drop(folder.store());
    let aside = format!("{}.corrupt", settings.path);
    for (hours, stays) in [(25, false), (23, true)] {
        std::fs::write(&aside, "old words").unwrap();
        let written = SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
        std::fs::OpenOptions::new().write(true).open(&aside).unwrap().set_modified(written).unwrap();
        drop(folder.store());
        assert_eq!(std::fs::exists(&aside).unwrap(), stays, "{hours}");
    }
}

#[test]
fn a_file_of_a_newer_version_or_no_file_at_all_is_refused_and_left_alone() {
    let folder = Folder::new();
    let settings = folder.settings();
    let shelf = Shelf::open(&settings).unwrap();
    shelf.connection.pragma_update(None, "user_version", 7).unwrap();
    drop(shelf);
    let refused = |settings: &StoreSettings| match Store::open(settings) {
        Err(StoreError::File(FileError::Failed(why))) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    };
    let why = refused(&settings);
    assert!(why.contains("version 7") && why.contains(&settings.path), "{why}");
    let folder_itself = StoreSettings { path: folder.0.to_str().unwrap().to_owned(), ..settings.clone() };
    assert!(refused(&folder_itself).contains(&folder_itself.path));
    assert!(!std::fs::exists(format!("{}.corrupt", settings.path)).unwrap());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.settings().path, "").unwrap();
    std::fs::set_permissions(folder.settings().path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = folder.store();
    store.put(alice(), entry("a", None)).await.unwrap();
    let files: Vec<PathBuf> =
        std::fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    drop(store);
    let inner = Folder(folder.0.join("made"));
    drop(inner.store());
    assert_eq!(mode(&inner.0), 0o700);
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_then_refuses() {
    let folder = Folder::new();
    let store = folder.store();
    let mut waiting = Vec::new();
    for number in 0..200 {
        let mut put = Box::pin(store.put(alice(), entry(&number.to_string(), None)));
        // Polled once, it is in the queue; then whoever asked is gone.
        let _ = std::future::poll_fn(|context| std::task::Poll::Ready(put.as_mut().poll(context))).await;
        waiting.push(put);
        // Tokio lets no task take a hundred turns at once.
        tokio::task::yield_now().await;
    }
    drop(waiting);
    store.close();
    assert_eq!(store.put(alice(), entry("late", None)).await, Err(FileError::Closed.into()));
    assert_eq!(store.get(alice(), "0").await, Err(FileError::Closed.into()));
    let store = folder.store();
    for number in 0..200 {
        assert!(store.get(alice(), &number.to_string()).await.unwrap().is_some());
    }
}

#[test]
fn many_threads_at_once_and_all_is_there_afterwards() {
    let folder = Folder::new();
    let store = folder.store();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let store = store.clone();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                // Two threads a caller.
                let caller = Caller::Key([thread / 2; 32]);
                runtime.block_on(async {
                    for number in 0..40_u32 {
                        let id = format!("{thread}-{number}");
                        let previous = number.checked_sub(1).map(|previous| format!("{thread}-{previous}"));
                        let one = entry(&id, previous.as_deref());
                        store.put(caller.clone(), one.clone()).await.unwrap();
                        assert_eq!(store.get(caller.clone(), &id).await, Ok(Some(one)));
                    }
                    let last = format!("{thread}-39");
                    assert_eq!(store.chain(caller.clone(), &last, LIMITS).await.unwrap().len(), 40);
                    for number in (1..40_u32).step_by(2) {
                        let id = format!("{thread}-{number}");
                        assert_eq!(store.delete(caller.clone(), &id).await, Ok(true));
                    }
                });
            });
        }
    });
    drop(store);
    let store = folder.store();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for thread in 0..8_u8 {
        for number in 0..40_u32 {
            let found =
                runtime.block_on(store.get(Caller::Key([thread / 2; 32]), &format!("{thread}-{number}")));
            assert_eq!(found.unwrap().is_some(), number % 2 == 0);
        }
    }
}

#[test]
fn nothing_that_was_said_is_printed() {
    let shown = format!("{:?} {:?} {:?}", entry("a", None), alice(), Caller::Listener("main".into()));
    assert!(shown.contains("openai/gpt-5") && shown.contains("main"));
    assert!(!shown.contains("to a") && !shown.contains("object") && !shown.contains("1, 1"), "{shown}");
}

#[test]
fn no_message_is_as_long_as_a_client_wants() {
    let id = "ü".repeat(100_000);
    for error in [StoreError::NotFound { id: id.clone() }, StoreError::Cycle { id }] {
        assert!(error.to_string().contains("ü") && error.to_string().len() < 400);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Put { caller: u8, id: u8, previous: Option<u8>, length: usize },
    Get { caller: u8, id: u8 },
    Chain { caller: u8, id: u8 },
    Delete { caller: u8, id: u8 },
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let (caller, id) = (0..3_u8, 0..6_u8);
    prop_oneof![
        4 => (caller.clone(), id.clone(), proptest::option::of(id.clone()), 0..9000_usize)
            .prop_map(|(caller, id, previous, length)| Act::Put { caller, id, previous, length }),
        2 => (caller.clone(), id.clone()).prop_map(|(caller, id)| Act::Get { caller, id }),
        3 => (caller.clone(), id.clone()).prop_map(|(caller, id)| Act::Chain { caller, id }),
        2 => (caller, id).prop_map(|(caller, id)| Act::Delete { caller, id }),
        1 => Just(Act::Reopen),
    ]
}

type Model = BTreeMap<(u8, String), Entry>;

fn model_chain(model: &Model, caller: u8, id: &str) -> Result<Vec<Entry>, StoreError> {
    let mut chain: Vec<Entry> = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next {
        let Some(entry) = model.get(&(caller, id.clone())) else { return missing(&id) };
        if chain.contains(entry) {
            return Err(StoreError::Cycle { id });
        }
        chain.insert(0, entry.clone());
        next = entry.previous.clone();
    }
    Ok(chain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn it_does_what_a_map_does(acts in proptest::collection::vec(act(), 1..60)) {
        let folder = Folder::new();
        let mut store = folder.store();
        let mut model = Model::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let key = |caller: u8| Caller::Key([caller; 32]);
        for act in acts {
            match act {
                Act::Put { caller, id, previous, length } => {
                    let previous = previous.map(|id| id.to_string());
                    let one = Entry {
                        answer: "y".repeat(length),
                        ..entry(&id.to_string(), previous.as_deref())
                    };
                    model.insert((caller, id.to_string()), one.clone());
                    prop_assert_eq!(runtime.block_on(store.put(key(caller), one)), Ok(()));
                }
                Act::Get { caller, id } => {
                    let found = runtime.block_on(store.get(key(caller), &id.to_string()));
                    prop_assert_eq!(found, Ok(model.get(&(caller, id.to_string())).cloned()));
                }
                Act::Chain { caller, id } => {
                    let chain = runtime.block_on(store.chain(key(caller), &id.to_string(), LIMITS));
                    prop_assert_eq!(chain, model_chain(&model, caller, &id.to_string()));
                }
                Act::Delete { caller, id } => {
                    let deleted = runtime.block_on(store.delete(key(caller), &id.to_string()));
                    prop_assert_eq!(deleted, Ok(model.remove(&(caller, id.to_string())).is_some()));
                }
                Act::Reopen => {
                    drop(store);
                    store = folder.store();
                }
            }
        }
    }
}
