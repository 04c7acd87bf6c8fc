//! A swap is whole or not at all, requests in flight never notice it, and a stop lets them finish.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use meseta_core::{Plane, StartError};
use meseta_sim::Simulator;
use serde_json::{Value as Json, json};
use support::http1::Client;
use support::http2::{self, run};
use support::{House, PATIENCE, ask, document, keys, listener, streamed, until};

/// Longer than any stop here may take: one that waits for it hangs.
const FOREVER: Duration = Duration::from_secs(45);

fn changed(house: &House, change: impl FnOnce(&mut Json)) -> String {
    let mut document = house.document.clone();
    change(&mut document);
    document.to_string()
}

/// SHA-256 of "first" and "second".
const FIRST: &str = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";
const SECOND: &str = "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4";

/// A port that was free a moment ago, for what must be asked for by number.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("an address").port()
}

fn served(plane: &Plane) -> Vec<(String, SocketAddr)> {
    plane.stats().listeners.into_iter().map(|listener| (listener.name, listener.address)).collect()
}

fn chat_with_key(client: &mut Client, key: &str) -> u16 {
    let body = ask("sim/echo", "x").to_string();
    client.post("/v1/chat/completions", &format!("authorization: Bearer {key}\r\n"), body);
    client.reply().status
}

#[test]
fn a_stream_in_flight_ends_on_the_snapshot_that_it_began_with() {
    let house = House::start();
    let elsewhere = Simulator::start("127.0.0.1", 0, None).expect("a second simulator");
    let before = house.plane.stats().snapshot;
    let mut streaming = house.connect();
    let request = streamed("sim/echo;pace=20ms", "one two three four five");
    streaming.post("/v1/chat/completions", "", request.to_string());
    assert_eq!(streaming.head().expect("a head").status, 200);
    let mut text = String::from_utf8(streaming.chunk().expect("a piece")).expect("text");
    // The model that is being answered is no longer there, and the provider is another one.
    let document = changed(&house, |document| {
        document["wildcards"] = json!({"new": "sim/*"});
        document["targets"][0]["base_url"] = json!(elsewhere.url());
    });
    house.plane.swap(&document).expect("a good document");
    assert_ne!(house.plane.stats().snapshot, before);
    assert_eq!(house.chat(&ask("sim/echo", "x")).code(), "model.not_found");
    assert_eq!(house.chat(&ask("new/echo", "x")).content(), "x");
    assert_eq!((house.reached(), elsewhere.stats().requests), (1, 1));
    while let Some(piece) = streaming.chunk().filter(|piece| !piece.is_empty()) {
        text.push_str(&String::from_utf8(piece).expect("text"));
    }
    assert!(text.contains(" five") && text.ends_with("data: [DONE]\n\n"), "{text}");
    // The same connection's next request sees the new snapshot.
    assert_eq!(streaming.chat(&ask("new/echo", "same connection")).content(), "same connection");
}

#[test]
fn a_bad_document_changes_nothing() {
    let house = House::start();
    let (snapshot, listeners) = (house.plane.stats().snapshot, served(&house.plane));
    let bad = [
        String::new(),
        "{}".to_owned(),
        "[".repeat(100_000),
        changed(&house, |document| document["format"] = json!(1)),
        changed(&house, |document| document["surprise"] = json!(1)),
        changed(&house, |document| drop(document.as_object_mut().expect("an object").remove("names"))),
        changed(&house, |document| document["listeners"] = json!([])),
        changed(&house, |document| document["listeners"] = json!([listener("a", 0), listener("a", 0)])),
        changed(&house, |document| document["listeners"][0]["limits"]["body_bytes"] = json!(-1)),
        changed(&house, |document| document["listeners"][0]["address"] = json!("localhost")),
        changed(&house, |document| document["listeners"][0]["port"] = json!(65_536)),
        changed(&house, |document| document["listeners"][0]["auth"] = keys(&[])),
        changed(&house, |document| {
            document["listeners"][0]["auth"] = keys(&["é"]);
        }),
        changed(&house, |document| {
            let tls = json!({"certificate_pem": "none", "private_key_pem": "none"});
            document["listeners"] = json!([listener("fine", 0), listener("models", 0)]);
            document["listeners"][1]["tls"] = tls;
        }),
        changed(&house, |document| document["targets"][0]["base_url"] = json!("ftp://host/")),
        changed(&house, |document| document["targets"][0]["headers"] = json!({"x": "a\nb"})),
        changed(&house, |document| document["names"] = json!({"a": "nowhere"})),
        changed(&house, |document| document["wildcards"] = json!({"a": "nowhere"})),
        changed(&house, |document| document["default"] = json!("sim/*")),
        changed(&house, |document| {
            document["log"] = json!({
                "path": "/nowhere", "queue_records": 1, "commit_ms": 1, "keep_hours": 1, "max_bytes": 1,
            });
        }),
    ];
    let mut kept = house.connect();
    for document in bad {
        let error = house.plane.swap(&document).expect_err("a bad document");
        assert!(matches!(error, StartError::Snapshot(_)), "{document:.200}: {error}");
        assert_eq!(
            (house.plane.stats().snapshot, served(&house.plane)),
            (snapshot.clone(), listeners.clone())
        );
        assert_eq!(kept.chat(&ask("sim/echo", "as before")).content(), "as before");
    }
    house.well("bad documents");
}

#[test]
fn a_port_that_another_has_changes_nothing() {
    let house = House::start();
    let (snapshot, listeners) = (house.plane.stats().snapshot, served(&house.plane));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let document = changed(&house, |document| {
        document["listeners"] =
            json!([listener("renamed", 0), listener("extra", 0), listener("taken", port)]);
        document["wildcards"] = json!({});
    });
    let error = house.plane.swap(&document).expect_err("the port is taken");
    assert!(matches!(error, StartError::Bind(_)), "{error}");
    assert!(error.to_string().contains(&port.to_string()) && error.to_string().contains("taken"), "{error}");
    assert_eq!((house.plane.stats().snapshot, served(&house.plane)), (snapshot, listeners));
    house.well("a taken port");
    // And at the start it is an error, not a panic.
    assert!(matches!(Plane::start(&document, 1), Err(StartError::Bind(_))));
}

#[test]
fn a_port_of_our_own_at_another_address_is_said_to_be_ours() {
    let port = free_port();
    let house = House::with(|document| document["listeners"] = json!([listener("models", port)]));
    let document = changed(&house, |document| {
        document["listeners"] = json!([listener("models", port)]);
        document["listeners"][0]["address"] = json!("0.0.0.0");
    });
    let error = house.plane.swap(&document).expect_err("the port is open already");
    assert!(error.to_string().contains("This plane itself"), "{error}");
    house.well("a move that needs a restart");
}

#[test]
fn listeners_come_and_go() {
    let house = House::start();
    let first = house.address();
    let two = changed(&house, |document| {
        document["listeners"] = json!([listener("models", 0), listener("more", 0)]);
    });
    house.plane.swap(&two).expect("a second listener");
    let listeners = served(&house.plane);
    assert_eq!(listeners[0], ("models".to_owned(), first));
    let (name, second) = listeners[1].clone();
    assert_eq!((name.as_str(), listeners.len()), ("more", 2));
    let mut kept = Client::connect(first);
    assert_eq!(kept.chat(&ask("sim/echo", "first")).content(), "first");
    assert_eq!(Client::connect(second).chat(&ask("sim/echo", "second")).content(), "second");

    let other = changed(&house, |document| document["listeners"] = json!([listener("more", 0)]));
    house.plane.swap(&other).expect("one listener less");
    assert_eq!(served(&house.plane), [("more".to_owned(), second)]);
    // A kept connection learns that its listener is gone; nobody gets a new one.
    let reply = kept.chat(&ask("sim/echo", "x"));
    assert_eq!((reply.status, reply.code().as_str()), (503, "plane.listener_closed"));
    until("the socket is closed", || TcpStream::connect(first).is_err());
    assert_eq!(Client::connect(second).chat(&ask("sim/echo", "still")).content(), "still");
    house.well("listeners that came and went");
}

#[test]
fn a_renamed_listener_keeps_its_socket_and_its_connections() {
    let port = free_port();
    let house = House::with(|document| document["listeners"] = json!([listener("old", port)]));
    let mut kept = house.connect();
    assert_eq!(kept.chat(&ask("sim/echo", "x")).status, 200);
    let names = ["new", "old"]
        .map(|name| changed(&house, |document| document["listeners"] = json!([listener(name, port)])));
    std::thread::scope(|scope| {
        let load = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut client = house.connect();
                for _ in 0..1_000 {
                    let reply = client.get("/v1/models");
                    assert_eq!(reply.status, 200, "{}", reply.text());
                }
            })
        });
        while !load.iter().all(ScopedJoinHandle::is_finished) {
            for document in &names {
                house.plane.swap(document).expect("a good document");
            }
        }
    });
    house.plane.swap(&names[0]).expect("a good document");
    assert_eq!(served(&house.plane), [("new".to_owned(), SocketAddr::from(([127, 0, 0, 1], port)))]);
    assert_eq!(kept.chat(&ask("sim/echo", "kept")).content(), "kept");
    house.well("a new name");
}

#[test]
fn keys_change_at_once_on_kept_connections() {
    let house = House::with(|document| document["listeners"][0]["auth"] = keys(&[FIRST]));
    let mut kept = house.connect();
    assert_eq!((chat_with_key(&mut kept, "first"), chat_with_key(&mut kept, "second")), (200, 401));
    let document = changed(&house, |document| document["listeners"][0]["auth"] = keys(&[SECOND]));
    house.plane.swap(&document).expect("a good document");
    assert_eq!((chat_with_key(&mut kept, "first"), chat_with_key(&mut kept, "second")), (401, 200));
}

#[test]
fn swaps_under_load_fail_nobody() {
    let house = House::start();
    let elsewhere = Simulator::start("127.0.0.1", 0, None).expect("a second simulator");
    let documents = [
        house.document.to_string(),
        changed(&house, |document| {
            document["targets"][0]["base_url"] = json!(elsewhere.url());
            document["listeners"] = json!([listener("extra", 0), listener("models", 0)]);
        }),
    ];
    let address = house.address();
    std::thread::scope(|scope| {
        let load = [0, 1, 2, 3].map(|number| {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for _ in 0..200 {
                    let reply = if number % 2 == 0 {
                        client.chat(&ask("sim/echo", "whole"))
                    } else {
                        client.chat(&streamed("sim/echo;pace=1ms", "a b c"))
                    };
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    assert!(!reply.broken && (number % 2 == 0 || reply.text().ends_with("[DONE]\n\n")));
                }
            })
        });
        while !load.iter().all(ScopedJoinHandle::is_finished) {
            for document in &documents {
                house.plane.swap(document).expect("a good document");
            }
        }
    });
    assert!(house.reached() > 0 && elsewhere.stats().requests > 0);
    let stats = house.plane.stats();
    assert_eq!((stats.errors, stats.panics), (0, 0));
}

#[test]
fn two_swaps_at_once_do_not_mix() {
    let house = House::start();
    let documents: Vec<(String, Vec<String>)> = (0..4)
        .map(|number| {
            let names: Vec<String> = (0..=number).map(|at| format!("listener-{number}-{at}")).collect();
            let listeners: Vec<Json> = names.iter().map(|name| listener(name, 0)).collect();
            (changed(&house, |document| document["listeners"] = json!(listeners)), names)
        })
        .collect();
    std::thread::scope(|scope| {
        for (document, _) in &documents {
            scope.spawn(|| (0..50).for_each(|_| house.plane.swap(document).expect("a good document")));
        }
    });
    let mut names: Vec<String> = served(&house.plane).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert!(documents.iter().any(|(_, expected)| *expected == names), "a mixture: {names:?}");
    for (name, address) in served(&house.plane) {
        assert_eq!(Client::connect(address).get("/v1/models").status, 200, "{name}");
    }
}

#[test]
fn a_stop_lets_streams_finish() {
    let house = House::start();
    let mut streaming: Vec<Client> = (0..5).map(|_| house.connect()).collect();
    for client in &mut streaming {
        let request = streamed("sim/echo;pace=30ms;tokens=20", "x");
        client.post("/v1/chat/completions", "", request.to_string());
        assert_eq!(client.head().expect("a head").status, 200);
    }
    let address = house.address();
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| house.plane.stop(FOREVER));
        until("new connections are refused", || TcpStream::connect(address).is_err());
        for client in &mut streaming {
            let rest = String::from_utf8(client.rest()).expect("text");
            assert!(rest.contains("data: [DONE]"), "{rest}");
        }
        assert!(ending.join().expect("no panic"), "every request had finished");
    });
    assert_eq!(house.plane.stats().in_flight, 0);
}

#[test]
fn a_stop_lets_streams_finish_over_http2() {
    let house = House::start();
    let (report, started) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| {
            run(async {
                let client = http2::connect(house.address()).await;
                let answer = http2::call(&client, &streamed("sim/echo;pace=30ms;tokens=50", "x")).await;
                report.send(()).expect("the test waits");
                http2::text(answer).await
            })
        });
        started.recv().expect("an answer has begun");
        assert!(house.plane.stop(FOREVER), "every request had finished");
        assert!(streaming.join().expect("a whole stream").ends_with("data: [DONE]\n\n"));
    });
}

#[test]
fn a_stop_does_not_wait_longer_than_it_may() {
    let house = House::start();
    let mut stalled = house.connect();
    stalled.post("/v1/chat/completions", "", streamed("sim/echo;stall=1", "one two").to_string());
    assert_eq!(stalled.head().expect("a head").status, 200);
    stalled.chunk().expect("a piece");
    assert!(!house.plane.stop(Duration::from_millis(200)), "a request was left");
    let rest = stalled.rest();
    assert!(!String::from_utf8_lossy(&rest).contains("[DONE]"));
    assert_eq!(house.plane.stats().in_flight, 0);
    until("the provider's call is cancelled", || house.simulator.stats().in_flight == 0);
    // A second stop has nothing to do, and a swap says so.
    assert!(house.plane.stop(FOREVER));
    assert!(house.plane.swap(&house.document.to_string()).is_err());
}

#[test]
fn a_stop_closes_connections_on_which_nothing_goes_on() {
    let house = House::start();
    let mut kept = house.connect();
    assert_eq!(kept.chat(&ask("sim/echo", "x")).status, 200);
    let mut silent = house.connect();
    let mut beginning = house.connect();
    beginning.send("PRI * HT");
    let mut preface = house.connect();
    preface.send(http2::PREFACE);
    let mut settings = house.connect();
    settings.send([http2::PREFACE, &http2::frame(http2::SETTINGS, 0, 0, b"")].concat());
    until("all are there", || house.plane.stats().connections == 5);
    let began = Instant::now();
    assert!(house.plane.stop(FOREVER));
    assert!(began.elapsed() < PATIENCE, "it waited for its limit");
    for client in [&mut kept, &mut silent, &mut beginning, &mut preface, &mut settings] {
        client.rest();
    }
}

#[test]
fn readiness_ends_with_the_draining_and_health_does_not() {
    let house = House::start();
    let mut client = house.connect();
    assert_eq!(client.get("/readyz").status, 200);
    let none = changed(&house, |document| {
        document["targets"] = json!([]);
        document["wildcards"] = json!({});
    });
    house.plane.swap(&none).expect("no targets are no error");
    assert_eq!((client.get("/readyz").status, client.get("/healthz").status), (503, 200));
}

/// Several replicas serve one configuration when all of them say the same hash.
#[test]
fn health_and_readiness_say_which_snapshot_is_served() {
    let house = House::start();
    let mut client = house.connect();
    let mut says = |path: &str| client.get(path).json()["snapshot"].as_str().map(str::to_owned);
    let served = || Some(house.plane.stats().snapshot);
    let first = served();
    assert_eq!((says("/readyz"), says("/healthz")), (first.clone(), first.clone()));
    let other = changed(&house, |document| document["targets"][0]["timeouts"]["idle_ms"] = json!(54_321));
    house.plane.swap(&other).expect("a good document");
    assert_ne!(served(), first);
    assert_eq!((says("/readyz"), says("/healthz")), (served(), served()));
    house.plane.swap(&house.document.to_string()).expect("the first document");
    assert_eq!(says("/readyz"), first, "the hash depends on the document and on nothing else");
    assert!(house.plane.swap("{}").is_err());
    assert_eq!(says("/readyz"), first, "a refused one is not served");
}

#[test]
fn planes_start_and_stop_many_times() {
    let simulator = Simulator::start("127.0.0.1", 0, None).expect("a simulator");
    let document = document(&simulator.url()).to_string();
    for _ in 0..20 {
        let plane = Plane::start(&document, 3).expect("a plane");
        let address = plane.stats().listeners[0].address;
        assert_eq!(Client::connect(address).get("/healthz").status, 200);
        assert!(plane.stop(PATIENCE));
        assert!(TcpStream::connect(address).is_err());
    }
}
