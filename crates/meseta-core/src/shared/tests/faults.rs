//! A server that is killed, stopped, or never there: requests go on.

use std::time::{Duration, Instant};

use super::replica::{Replica, settings};
use super::server::{PATIENCE, Server, until};
use crate::sessions::{Facts, PinKey, Place, Session, Sessions, Tenant, Used};
use crate::shared::memory::Memory;
use crate::shared::store::{Connect, Failure, Store};
use crate::shared::{SharedSettings, SharedState, Stats};

const LONG: Duration = Duration::from_secs(60);

fn start(server: &Server, replica: &Replica) -> SharedState {
    start_with(&settings(server.url()), replica)
}

fn start_with(settings: &SharedSettings, replica: &Replica) -> SharedState {
    let shared = SharedState::start(settings, replica.clone()).unwrap().0;
    until("connected", || shared.stats().connected);
    shared
}

/// Puts until the value is read back: what is put may be lost with a connection.
async fn shares(shared: &SharedState, name: &str, value: &[u8]) {
    let sharing = async {
        loop {
            shared.put(name, value.to_vec(), LONG);
            if shared.get(name).await.as_deref() == Some(value) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, sharing).await.is_ok(), "{:?}", shared.stats());
}

#[tokio::test]
async fn values_go_from_one_replica_to_another() {
    let Some(server) = Server::start("values") else { return };
    let (one, other) = (start(&server, &Replica::default()), start(&server, &Replica::default()));
    shares(&one, "pin:x", b"there").await;
    assert_eq!(other.get("pin:x").await.as_deref(), Some(&b"there"[..]));
    assert_eq!(other.get("pin:y").await, None);
    let Stats { gets, hits, errors, skipped, .. } = other.stats();
    assert_eq!((gets, hits, errors, skipped), (2, 1, 0, 0));
    one.put("pin:x", vec![b'x'; 4097], LONG);
    assert_eq!(one.stats().refused, 1);
}

#[tokio::test]
async fn replicas_hear_of_rests_and_loads() {
    let Some(mut server) = Server::start("rests") else { return };
    let one = Replica { under_way: 7, ..Replica::default() };
    let other = Replica { under_way: 3, ..Replica::default() };
    let _shared = [start(&server, &one), start(&server, &other)];
    one.rests.lock().unwrap().push(("openai/gpt".to_owned(), LONG));
    let rests = || other.told.lock().unwrap().rests.clone();
    let is_told =
        |rest: &(String, Duration), most| rest.0 == "openai/gpt" && rest.1 <= most && !rest.1.is_zero();
    until("the other hears of the rest", || rests().iter().any(|rest| is_told(rest, LONG)));
    until("each hears of the other's load", || {
        let (told, heard) = (one.told.lock().unwrap(), other.told.lock().unwrap());
        told.others.total() == 3 && heard.others.total() == 7 && heard.others.of("acme") == 7
    });
    assert!(one.told.lock().unwrap().rests.is_empty(), "our own rest is no news");
    let heard = other.told.lock().unwrap().heard;
    until("they have spoken again", || other.told.lock().unwrap().heard >= heard + 2);
    assert_eq!(rests().len(), 1, "the same rest is told once: {:?}", rests());
    one.rests.lock().unwrap().push(("openai/gpt".to_owned(), LONG * 2));
    until("a longer rest is told again", || rests().len() == 2);
    assert!(rests().iter().all(|rest| is_told(rest, LONG * 2)));
    server.kill();
    until("without a server there is nobody else", || other.told.lock().unwrap().others.total() == 0);
}

#[tokio::test]
async fn a_server_that_is_killed_costs_nothing_and_comes_back() {
    let Some(mut server) = Server::start("killed") else { return };
    let shared = start(&server, &Replica::default());
    shares(&shared, "pin:x", b"before").await;
    server.kill();
    until("the loss is known", || !shared.stats().connected);
    let before = shared.stats();
    for _ in 0..1000 {
        assert_eq!(shared.get("pin:x").await, None);
        shared.put("pin:x", b"lost".to_vec(), LONG);
    }
    let after = shared.stats();
    assert_eq!(after.skipped - before.skipped, 1000, "nobody waited");
    assert_eq!(after.timeouts, before.timeouts);
    assert_eq!(after.dropped - before.dropped, 1000);
    assert!(after.last_error.is_some_and(|error| !error.contains("pass word")));
    server.run();
    until("connected again", || shared.stats().connected);
    shares(&shared, "pin:x", b"after").await;
}

#[tokio::test]
async fn a_server_that_is_stopped_is_waited_for_a_few_times_only() {
    let Some(server) = Server::start("stopped") else { return };
    let settings = SharedSettings { timeout: Duration::from_millis(100), ..settings(server.url()) };
    let shared = start_with(&settings, &Replica::default());
    shares(&shared, "pin:x", b"before").await;
    server.signal("STOP");
    let before = shared.stats();
    let begun = Instant::now();
    while shared.stats().skipped == before.skipped {
        assert_eq!(shared.get("pin:x").await, None);
        assert!(begun.elapsed() < PATIENCE);
    }
    // Three questions one after the other; more only of those who ask at the same time.
    assert!(shared.stats().timeouts - before.timeouts <= 3, "{:?}", shared.stats());
    until("it counts as gone", || !shared.stats().connected);
    server.signal("CONT");
    until("connected again", || shared.stats().connected);
    shares(&shared, "pin:x", b"after").await;
}

/// Answers everything but questions.
#[derive(Clone)]
struct Deaf(Memory);

impl Connect for Deaf {
    type Store = Deaf;

    async fn connect(&self) -> Result<Deaf, Failure> {
        Ok(self.clone())
    }

    fn address(&self) -> &'static str {
        "deaf"
    }
}

impl Store for Deaf {
    async fn get(&self, _: &str) -> Result<Option<Vec<u8>>, Failure> {
        std::future::pending().await
    }

    async fn put(&self, name: &str, value: &[u8], kept: Duration) -> Result<(), Failure> {
        self.0.put(name, value, kept).await
    }

    async fn left(&self, names: &[String]) -> Result<Vec<Option<(Vec<u8>, Duration)>>, Failure> {
        self.0.left(names).await
    }

    async fn lease(&self, group: &str, member: &str, value: &[u8], kept: Duration) -> Result<(), Failure> {
        self.0.lease(group, member, value, kept).await
    }

    async fn leases(&self, group: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        self.0.leases(group).await
    }
}

#[tokio::test]
async fn nobody_goes_on_asking_a_server_that_does_not_answer() {
    let settings = SharedSettings { timeout: Duration::from_millis(10), ..settings(String::new()) };
    let shared = SharedState::start_with(Deaf(Memory::default()), &settings, Replica::default()).unwrap().0;
    until("connected", || shared.stats().connected);
    let begun = Instant::now();
    while shared.stats().timeouts < 3 || shared.stats().skipped == 0 {
        assert_eq!(shared.get("pin:x").await, None);
        assert!(begun.elapsed() < PATIENCE, "{:?}", shared.stats());
    }
}

#[tokio::test]
async fn a_server_that_never_was_is_no_reason_not_to_start() {
    let settings = settings("redis://:hunter2@127.0.0.1:1/".to_owned());
    let shared = SharedState::start(&settings, Replica::default()).unwrap().0;
    until("an attempt was made", || shared.stats().errors > 0);
    assert_eq!(shared.get("pin:x").await, None);
    let stats = shared.stats();
    assert_eq!((stats.connected, stats.skipped, stats.timeouts), (false, 1, 0));
    let shown = format!("{shared:?} {stats:?} {settings:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn the_thread_ends_with_its_last_handle() {
    let replica = Replica::default();
    let shared =
        SharedState::start_with(Memory::default(), &settings(String::new()), replica.clone()).unwrap().0;
    until("connected", || shared.stats().connected);
    drop(shared);
    // The thread owns the other one.
    until("the thread has ended", || std::sync::Arc::strong_count(&replica.told) == 1);
}

#[tokio::test]
async fn a_session_is_warm_at_every_replica() {
    let Some(server) = Server::start("sessions") else { return };
    let shared = [start(&server, &Replica::default()), start(&server, &Replica::default())];
    let [one, other] = shared.map(|shared| {
        let sessions = Sessions::default();
        sessions.share(shared);
        sessions
    });
    let mut headers = http::HeaderMap::new();
    headers.insert("x-meseta-session", "s".parse().unwrap());
    let key = PinKey::new(&Session::explicit(Tenant::Key("acme"), &headers).unwrap(), "smart");
    let facts = Facts { window_ms: 300_000, ..Facts::default() };
    let book = async |sessions: &Sessions, target: &str, now| {
        let place = Place::new(target, "m");
        let used = Used { place: &place, prefix: None, usage: None, judgement: None, budget: None, facts };
        let before = sessions.recall(&key, now).await;
        sessions.used(key, before, &used, 100, now);
    };
    let anchor = async |sessions: &Sessions, target: &str| {
        let seen = async {
            while sessions.recall(&key, 9000).await.is_none_or(|pin| pin.anchor.place.target != target) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.is_ok()
    };
    book(&one, "a", 1000).await;
    assert!(anchor(&other, "a").await);
    book(&other, "b", 2000).await;
    assert!(anchor(&one, "b").await, "the later answer counts, whoever gave it");
    let pin = one.recall(&key, 9000).await.unwrap();
    assert_eq!(pin.history.len(), 1);
}
