//! Who comes in when the plane is full, who waits, who gives way, and what they are told.

mod support;

use std::thread;

use meseta_core::log::Value;
use serde_json::{Value as Json, json};
use support::http1::{Client, Reply};
use support::{Folder, House, ask, streamed, until};

/// Keys by tenant: priority and limit.
const TENANTS: [(&str, &str, u32); 4] =
    [("free", "low", 0), ("paid", "normal", 0), ("ops", "high", 0), ("narrow", "normal", 1)];

fn admitting(settings: &Json, change: impl FnOnce(&mut Json)) -> House {
    House::with(|document| {
        document["admission"] = settings.clone();
        let keys: Vec<Json> = TENANTS
            .iter()
            .map(|(tenant, priority, concurrency)| {
                json!({"sha256": sha256(tenant), "tenant": tenant, "priority": priority, "concurrency": concurrency})
            })
            .collect();
        document["listeners"][0]["auth"] = json!({"type": "keys", "keys": keys});
        change(document);
    })
}

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The tenant's name is its key.
fn post(client: &mut Client, tenant: &str, headers: &str, request: &Json) {
    let headers = format!("authorization: Bearer {tenant}\r\n{headers}");
    client.post("/v1/chat/completions", &headers, request.to_string());
}

fn chat(house: &House, tenant: &str) -> Reply {
    let mut client = house.connect();
    post(&mut client, tenant, "", &ask("sim/echo", "hello"));
    client.reply()
}

/// A stream that goes on until its client leaves.
fn hold(house: &House, tenant: &str) -> Client {
    let mut client = house.connect();
    post(&mut client, tenant, "x-sim: stall=1\r\n", &streamed("sim/echo", "one two three"));
    assert_eq!(client.head().expect("a head").status, 200);
    client
}

/// A request that has to wait, and stands in its line when this returns.
fn wait(house: &House, tenant: &str) -> Client {
    let waiting = || house.plane.stats().admission.map_or(0, |gate| gate.waiting);
    let before = waiting();
    let mut client = house.connect();
    post(&mut client, tenant, "", &ask("sim/echo", tenant));
    until("the request waits", || waiting() > before);
    client
}

fn limits(concurrency: u32, tenant_concurrency: u32, queue: u32, queue_ms: u64) -> Json {
    json!({"concurrency": concurrency, "tenant_concurrency": tenant_concurrency, "queue": queue, "queue_ms": queue_ms})
}

fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code));
    let after: u64 = reply.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=60).contains(&after), "{after}");
}

#[test]
fn a_stream_holds_its_place_until_its_end() {
    let house = admitting(&limits(1, 0, 0, 0), |_| {});
    let held = hold(&house, "paid");
    for tenant in ["paid", "free", "ops"] {
        refused(&chat(&house, tenant), 503, "plane.overloaded");
    }
    assert_eq!(house.reached(), 1);
    drop(held);
    until("the place is free", || chat(&house, "paid").status == 200);
}

#[test]
fn health_and_models_need_no_place() {
    let house = admitting(&limits(1, 0, 0, 0), |_| {});
    let _held = hold(&house, "paid");
    assert_eq!(house.connect().get("/healthz").status, 200);
    let mut client = house.connect();
    client.send("GET /v1/models HTTP/1.1\r\nhost: plane\r\nauthorization: Bearer paid\r\n\r\n");
    assert_eq!(client.reply().status, 200);
}

#[test]
fn whoever_waits_comes_in_by_class() {
    let house = admitting(&limits(1, 0, 8, 20_000), |_| {});
    let held = hold(&house, "paid");
    let mut low = wait(&house, "free");
    let mut normal = wait(&house, "paid");
    let mut high = wait(&house, "ops");
    house.simulator.clear_requests();
    drop(held);
    for client in [&mut high, &mut normal, &mut low] {
        assert_eq!(client.reply().status, 200);
    }
    let order: Vec<String> = house
        .simulator
        .requests()
        .iter()
        .filter_map(|seen| serde_json::from_str::<Json>(&seen.body).ok())
        .filter_map(|body| body["messages"][0]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(order, ["ops", "paid", "free"]);
}

#[test]
fn the_lowest_class_gives_way_in_a_full_queue() {
    let house = admitting(&limits(1, 0, 1, 20_000), |_| {});
    let held = hold(&house, "paid");
    let mut low = wait(&house, "free");
    let mut high = house.connect();
    post(&mut high, "ops", "", &ask("sim/echo", "hello"));
    refused(&low.reply(), 503, "plane.shed");
    // Nobody below it is there any more.
    refused(&chat(&house, "free"), 503, "plane.overloaded");
    drop(held);
    assert_eq!(high.reply().status, 200);
}

#[test]
fn waiting_has_an_end() {
    let house = admitting(&limits(1, 0, 8, 50), |_| {});
    let _held = hold(&house, "paid");
    refused(&chat(&house, "paid"), 503, "plane.overloaded");
    let house = admitting(&limits(1, 0, 8, 20_000), |_| {});
    let _held = hold(&house, "paid");
    for header in ["x-meseta-deadline: 80ms\r\n", "x-stainless-read-timeout: 0.08\r\n"] {
        let mut client = house.connect();
        post(&mut client, "paid", header, &ask("sim/echo", "hello"));
        let reply = client.reply();
        assert_eq!((reply.status, reply.code().as_str()), (504, "request.deadline"), "{header}");
    }
    assert_eq!(house.reached(), 1);
}

#[test]
fn a_tenant_has_its_own_limit_and_hinders_nobody() {
    let house = admitting(&limits(8, 2, 0, 0), |_| {});
    let _held = [hold(&house, "paid"), hold(&house, "paid"), hold(&house, "narrow")];
    for tenant in ["paid", "narrow"] {
        refused(&chat(&house, tenant), 429, "limit.concurrency");
    }
    assert_eq!(chat(&house, "free").status, 200);
}

#[test]
fn a_keys_limit_holds_without_limits_of_the_plane() {
    let house = admitting(&Json::Null, |_| {});
    let held = hold(&house, "narrow");
    let mut waiting = wait(&house, "narrow");
    assert_eq!(chat(&house, "paid").status, 200);
    drop(held);
    assert_eq!(waiting.reply().status, 200);
}

#[test]
fn a_client_that_leaves_the_line_takes_no_place() {
    let house = admitting(&limits(1, 0, 8, 20_000), |_| {});
    let held = hold(&house, "paid");
    let gone = wait(&house, "paid");
    let mut stays = wait(&house, "paid");
    drop(gone);
    until("it is noticed", || house.plane.stats().in_flight == 2);
    drop(held);
    assert_eq!(stays.reply().status, 200);
    assert_eq!(chat(&house, "paid").status, 200);
    assert_eq!(house.reached(), 3);
}

#[test]
fn a_reload_that_makes_room_lets_them_in() {
    let house = admitting(&limits(1, 0, 8, 20_000), |_| {});
    let _held = hold(&house, "paid");
    let mut waiting = [wait(&house, "paid"), wait(&house, "free")];
    let mut document = house.document.clone();
    document["admission"]["concurrency"] = json!(3);
    house.plane.swap(&document.to_string()).unwrap_or_else(|error| panic!("{error}"));
    for client in &mut waiting {
        assert_eq!(client.reply().status, 200);
    }
}

#[test]
fn a_reload_that_takes_the_limits_away_lets_them_in() {
    let house = admitting(&limits(1, 0, 8, 20_000), |_| {});
    let held = hold(&house, "paid");
    let mut waiting = wait(&house, "paid");
    let mut document = house.document.clone();
    document["admission"] = Json::Null;
    house.plane.swap(&document.to_string()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(waiting.reply().status, 200);
    // And back again: who came in without a limit holds no place, who came with one still does.
    house.plane.swap(&house.document.to_string()).unwrap_or_else(|error| panic!("{error}"));
    let mut waiting = wait(&house, "paid");
    drop(held);
    assert_eq!(waiting.reply().status, 200);
}

#[test]
fn a_flood_of_one_tenant_does_not_keep_another_out() {
    let house = admitting(&limits(2, 0, 256, 20_000), |_| {});
    let house = &house;
    let flood = 60;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let done = &done;
    let before = thread::scope(|scope| {
        for _ in 0..flood {
            scope.spawn(move || {
                let mut client = house.connect();
                post(&mut client, "paid", "x-sim: first=100ms\r\n", &ask("sim/echo", "hello"));
                assert_eq!(client.reply().status, 200);
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        until("the flood is there", || house.plane.stats().in_flight >= flood / 2);
        // Its turn comes next to the flood's, not behind it.
        assert_eq!(chat(house, "narrow").status, 200);
        done.load(std::sync::atomic::Ordering::Relaxed)
    });
    assert!(before < flood, "the flood was over first");
}

#[test]
fn the_record_says_who_waited_and_for_whom() {
    let folder = Folder::new();
    let path = folder.file("log.db");
    let house = admitting(&limits(1, 0, 8, 20_000), |document| {
        document["log"] = support::log::settings(&path);
    });
    let held = hold(&house, "ops");
    let mut waiting = wait(&house, "free");
    drop(held);
    assert_eq!(waiting.reply().status, 200);
    assert!(house.plane.stop(support::PATIENCE));
    let rows =
        support::log::query(&path, "SELECT tenant, pool IS NULL, attempts FROM requests ORDER BY waited_us");
    let row = |tenant: &str| vec![Value::Text(tenant.to_owned()), Value::Integer(1), Value::Integer(1)];
    // The one that waited for the other waited for longer.
    assert_eq!(rows, [row("ops"), row("free")]);
}
