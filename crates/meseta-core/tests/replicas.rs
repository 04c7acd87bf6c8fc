//! Two planes that share a real Redis: what one learns helps the other, and a Redis that is slow, dead or back again costs
//! no request anything.

#[path = "../src/shared/tests/server.rs"]
#[allow(dead_code, reason = "the library's own tests use the rest")]
mod server;
mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use meseta_core::plane::SharedStats;
use meseta_core::{Plane, StartError};
use meseta_sim::Simulator;
use serde_json::{Value as Json, json};

use server::Server;
use support::http1::Client;
use support::{ask, document, pool, target, until};

/// How many pins the server holds.
fn pins(redis: &Server) -> usize {
    let stream = UnixStream::connect(redis.socket()).expect("the server listens");
    (&stream).write_all(b"AUTH \"pass word\"\r\nKEYS meseta:pin:*\r\n").expect("it reads");
    let mut lines = BufReader::new(&stream).lines().map(|line| line.expect("an answer"));
    assert_eq!(lines.next().as_deref(), Some("+OK"));
    lines.next().expect("a count").trim_start_matches('*').parse().expect("a count")
}

/// Replicas with the same document: a pool of two providers that take turns.
struct Replicas {
    planes: Vec<Plane>,
    providers: Vec<Simulator>,
}

impl Replicas {
    fn start(redis: &Server, change: impl FnOnce(&mut Json)) -> Replicas {
        let providers: Vec<Simulator> =
            (0..2).map(|_| Simulator::start("127.0.0.1", 0, None).expect("a simulator")).collect();
        let mut document = document("http://unused");
        document["wildcards"] = json!({});
        document["catalog"] = json!([]);
        document["targets"] =
            ["0", "1"].iter().zip(&providers).map(|(name, one)| member(name, one)).collect();
        document["pools"] = json!([pool("all", &[("0", None), ("1", None)])]);
        document["pools"][0]["select"] = json!("round_robin");
        document["shared"] = json!({"url": redis.url(), "prefix": "meseta:", "timeout_ms": 1_000});
        change(&mut document);
        let text = document.to_string();
        let plane = |_| Plane::start(&text, 1).unwrap_or_else(|error| panic!("{error}"));
        let replicas = Replicas { planes: (0..2).map(plane).collect(), providers };
        until("both speak with the store", || (0..2).all(|at| replicas.shared(at).connected));
        replicas
    }

    fn shared(&self, at: usize) -> SharedStats {
        self.planes[at].stats().shared.expect("a shared store")
    }

    fn connect(&self, at: usize) -> Client {
        Client::connect(self.planes[at].stats().listeners[0].address)
    }

    /// Asks a replica in a session, and says which provider has answered.
    fn turn(&self, at: usize, session: &str) -> usize {
        let before = self.counts();
        let mut client = self.connect(at);
        let headers = format!("x-meseta-session: {session}\r\n");
        client.post("/v1/chat/completions", &headers, ask("all", "Hello").to_string());
        assert_eq!(client.reply().status, 200);
        until("settled", || self.planes[at].stats().in_flight == 0);
        let after = self.counts();
        (0..after.len()).rev().find(|one| after[*one] > before[*one]).expect("somebody was asked")
    }

    fn counts(&self) -> Vec<u64> {
        self.providers.iter().map(|provider| provider.stats().requests).collect()
    }
}

fn member(name: &str, provider: &Simulator) -> Json {
    let mut target = target(&provider.url());
    target["name"] = json!(name);
    target["model"] = json!("echo");
    target["prompt_cache"] = json!({"window_ms": 300_000, "minimum_tokens": 1, "marks": "none"});
    target
}

#[test]
fn a_session_goes_on_at_another_replica_where_its_prompt_is_cached() {
    let Some(redis) = Server::start("affinity") else { return };
    let replicas = Replicas::start(&redis, |_| {});
    for session in 0..8 {
        let name = format!("s{session}");
        let home = replicas.turn(0, &name);
        // The pin travels behind the answer.
        until("it is shared", || pins(&redis) == session + 1);
        let turns: Vec<usize> = (1..5).map(|turn| replicas.turn(turn % 2, &name)).collect();
        assert_eq!(turns, [home; 4], "providers take turns but for sessions");
    }
    assert!(replicas.shared(1).hits >= 8);
}

#[test]
fn what_one_replica_ejects_the_other_leaves_alone() {
    let Some(redis) = Server::start("ejection") else { return };
    let replicas = Replicas::start(&redis, |document| {
        document["targets"][0]["health"]["failures"] = json!(1);
        document["targets"][0]["health"]["rest_ms"] = json!(60_000);
    });
    let failed = r#"[{"reply": {"directives": "status=503"}}]"#;
    replicas.providers[0].set_script(failed).expect("a script");
    let asked = |at: usize| {
        let mut client = replicas.connect(at);
        let before = replicas.counts()[0];
        let statuses: Vec<u16> = (0..2).map(|_| client.chat(&ask("all", "Hello")).status).collect();
        assert_eq!(statuses, [200, 200]);
        replicas.counts()[0] > before
    };
    assert!(asked(0), "one of two requests goes there first");
    assert!(!asked(0), "and then it rests");
    let before = replicas.counts()[0];
    // It answers again, so the other replica has no reason of its own.
    replicas.providers[0].set_script("[]").expect("a script");
    until("the other has heard of it", || !asked(1) && !asked(1));
    let after = replicas.counts()[0];
    assert!((0..3).all(|_| !asked(1)), "it rests there too: {before} {after}");
}

/// Ends the load, however its test ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_store_that_stops_dies_and_comes_back_costs_no_request() {
    let Some(mut redis) = Server::start("faults") else { return };
    let replicas = Replicas::start(&redis, |document| document["shared"]["timeout_ms"] = json!(25));
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        let end = End(&over);
        for number in 0..4 {
            let (replicas, over, answered) = (&replicas, &over, &answered);
            threads.spawn(move || {
                let mut client = replicas.connect(number % 2);
                for turn in 0_u64.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let headers = format!("x-meseta-session: {number}-{}\r\n", turn % 3);
                    client.post("/v1/chat/completions", &headers, ask("all", "Hello").to_string());
                    let reply = client.reply();
                    if reply.status != 200 {
                        over.store(true, Ordering::Relaxed);
                        panic!("{} {}", reply.status, reply.text());
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Load goes on through all of it; each state lasts until it is seen, and for a hundred answers more.
        let is_over = || over.load(Ordering::Relaxed);
        let more = |what: &str| {
            let enough = answered.load(Ordering::Relaxed) + 100;
            until(what, || is_over() || answered.load(Ordering::Relaxed) >= enough);
        };
        let all = |is: &dyn Fn(&SharedStats) -> bool| is_over() || (0..2).all(|at| is(&replicas.shared(at)));
        more("answers while all is well");
        let asked = |stats: &SharedStats| stats.timeouts + stats.skipped;
        redis.signal("STOP");
        until("nobody waits for a slow store any more", || all(&|stats| stats.slow || !stats.connected));
        let before = [0, 1].map(|at| asked(&replicas.shared(at)));
        more("answers while it is stopped");
        until("what went without is counted", || {
            is_over() || [0, 1].iter().all(|at| asked(&replicas.shared(*at)) > before[*at])
        });
        redis.signal("CONT");
        until("it is back", || all(&|stats| stats.connected && !stats.slow));
        redis.kill();
        until("it is gone", || all(&|stats| !stats.connected));
        more("answers without it");
        assert!(is_over() || (0..2).all(|at| replicas.shared(at).skipped > 0));
        assert!(is_over() || (0..2).all(|at| replicas.shared(at).last_error.is_some()));
        redis.run();
        until("they have found the new one", || all(&|stats| stats.connected && !stats.slow));
        let hits = [0, 1].map(|at| replicas.shared(at).hits);
        until("and use it", || is_over() || [0, 1].iter().all(|at| replicas.shared(*at).hits > hits[*at]));
        drop(end);
    });
    assert!(replicas.planes.iter().all(|plane| plane.stats().errors == 0 && plane.stats().panics == 0));
    let stopping = replicas.planes.iter().map(|plane| plane.stop(Duration::from_secs(5)));
    assert!(stopping.collect::<Vec<_>>().iter().all(|finished| *finished));
    assert!(replicas.planes.iter().all(|plane| plane.stats().shared.is_none()), "nothing is held any more");
}

#[test]
fn replicas_keep_a_limit_together() {
    let Some(redis) = Server::start("limit") else { return };
    let replicas = Replicas::start(&redis, |document| {
        document["admission"] = json!({"concurrency": 4, "tenant_concurrency": 0, "queue": 0, "queue_ms": 0});
    });
    let hold = |at: usize| {
        let mut client = replicas.connect(at);
        let request =
            json!({"model": "all", "stream": true, "messages": [{"role": "user", "content": "one two"}]});
        client.post("/v1/chat/completions", "x-sim: stall=1\r\n", request.to_string());
        let head = client.head().expect("an answer");
        (head.status == 200).then_some(client)
    };
    let held: Vec<Client> = (0..4).filter_map(|_| hold(0)).collect();
    assert_eq!(held.len(), 4, "the other one has nothing under way");
    assert!(hold(0).is_none(), "the fifth is one too many");
    // The other one hears of it and keeps to its share, which is two of four.
    let mut second = Vec::new();
    until("the other knows", || {
        second.clear();
        until("those before have left", || replicas.planes[1].stats().in_flight == 0);
        second.extend((0..3).filter_map(|_| hold(1)));
        second.len() == 2
    });
    drop(held);
    until("the room is its own", || {
        second.extend(hold(1));
        second.len() == 4
    });
}

#[test]
fn a_url_that_is_none_stops_the_start_and_shows_no_password() {
    let mut document = document("http://127.0.0.1:1");
    document["shared"] = json!({"url": "http://:secret@host", "prefix": "meseta:", "timeout_ms": 25});
    let Err(error) = Plane::start(&document.to_string(), 1) else { panic!("it started") };
    assert!(matches!(error, StartError::Store(_)));
    let message = error.to_string();
    assert!(message.contains("`store.shared`") && !message.contains("secret"), "{message}");
}

#[test]
fn the_shared_store_stays_until_a_restart() {
    let mut document = document("http://127.0.0.1:1");
    let plane = Plane::start(&document.to_string(), 1).unwrap_or_else(|error| panic!("{error}"));
    document["shared"] = json!({"url": "redis://127.0.0.1:1", "prefix": "meseta:", "timeout_ms": 25});
    let refused = plane.swap(&document.to_string()).expect_err("refused").to_string();
    assert!(refused.contains("`shared`") && refused.contains("restart"), "{refused}");
}

#[test]
fn a_plane_starts_and_answers_without_its_store() {
    let provider = Simulator::start("127.0.0.1", 0, None).expect("a simulator");
    let mut document = document(&provider.url());
    document["shared"] = json!({"url": "redis://127.0.0.1:1", "prefix": "meseta:", "timeout_ms": 25});
    let plane = Plane::start(&document.to_string(), 1).unwrap_or_else(|error| panic!("{error}"));
    let reply = Client::connect(plane.stats().listeners[0].address).chat(&ask("sim/echo", "Hello"));
    assert_eq!(reply.status, 200);
    until("the failure is told", || {
        let shared = plane.stats().shared.expect("a shared store");
        !shared.connected && shared.errors > 0 && shared.last_error.is_some()
    });
}
