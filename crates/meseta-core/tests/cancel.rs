//! Clients that leave and clients that do not read: the call to the provider ends, and nothing piles up.

mod support;

use meseta_core::log::Value;
use serde_json::json;
use support::http1::Client;
use support::http2::{self, run};
use support::{Folder, House, ask, streamed, until};

struct Logged {
    house: House,
    folder: Folder,
}

fn logged(http_version: &str) -> Logged {
    let folder = Folder::new();
    let house = House::with(|document| {
        document["targets"][0]["http_version"] = json!(http_version);
        document["log"] = support::log::settings(&folder.file("log.db"));
    });
    Logged { house, folder }
}

impl Logged {
    /// Waits for the cancelled call, then says what the log has of it: status, code, blame, and the attempt's code.
    fn outcome(self, after: &str) -> Vec<Value> {
        until(&format!("the call is cancelled after {after}"), || {
            let stats = self.house.simulator.stats();
            (stats.aborted, stats.in_flight) == (1, 0) && self.house.plane.stats().in_flight == 0
        });
        self.house.well(after);
        assert!(self.house.plane.stop(support::PATIENCE));
        let sql = "SELECT requests.status, requests.code, blame, attempts.code FROM requests \
                   JOIN attempts ON request_id = id ORDER BY id LIMIT 1";
        support::log::query(&self.folder.file("log.db"), sql).swap_remove(0)
    }
}

fn disconnected() -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    vec![Value::Integer(499), text("client.disconnected"), text("client"), text("client.disconnected")]
}

/// A client that has asked, and whose request the provider has.
fn asked(house: &House, request: &serde_json::Value) -> Client {
    let mut client = house.connect();
    client.post("/v1/chat/completions", "", request.to_string());
    until("the provider has the request", || house.simulator.stats().in_flight == 1);
    client
}

#[test]
fn before_the_first_byte() {
    for version in ["http1", "http2"] {
        for request in [ask("sim/echo;first=60s", "x"), streamed("sim/echo;first=60s", "x")] {
            let logged = logged(version);
            drop(asked(&logged.house, &request));
            assert_eq!(logged.outcome("a silent provider"), disconnected(), "{version}");
        }
    }
}

#[test]
fn between_head_and_first_byte() {
    for version in ["http1", "http2"] {
        let logged = logged(version);
        drop(asked(&logged.house, &streamed("sim/echo;head_then=60s", "x")));
        assert_eq!(logged.outcome("a provider that sent a head"), disconnected(), "{version}");
    }
}

#[test]
fn in_the_middle_of_a_whole_answer() {
    let logged = logged("http1");
    drop(asked(&logged.house, &ask("sim/echo;stall=20", "x")));
    assert_eq!(logged.outcome("half an answer"), disconnected());
}

#[test]
fn in_the_middle_of_a_stream() {
    for version in ["http1", "http2"] {
        let logged = logged(version);
        let mut client = logged.house.connect();
        client.post("/v1/chat/completions", "", streamed("sim/echo;stall=2", "one two three").to_string());
        assert_eq!(client.head().expect("a head").status, 200);
        client.chunk().expect("a piece");
        drop(client);
        // The stream had begun with 200; what became of it is in the code.
        let outcome = logged.outcome("half a stream");
        assert_eq!(outcome[1..], disconnected()[1..], "{version}");
    }
}

#[test]
fn over_http2() {
    for version in ["http1", "http2"] {
        let logged = logged(version);
        run(async {
            let client = http2::connect(logged.house.address()).await;
            let request = streamed("sim/echo;first=60s", "x");
            let calling = http2::call(&client, &request);
            tokio::pin!(calling);
            let waiting = async {
                while logged.house.simulator.stats().in_flight == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                _ = &mut calling => panic!("an answer came"),
                () = waiting => {}
            }
        });
        assert_eq!(logged.outcome("a reset stream"), disconnected(), "{version}");
    }
}

#[test]
fn many_clients_that_leave_at_any_moment() {
    let logged = logged("auto");
    let house = &logged.house;
    for number in 0..200 {
        let model = ["sim/echo;first=60s", "sim/echo;pace=1ms;tokens=500", "sim/echo;stall=1"][number % 3];
        let mut client = house.connect();
        client.post("/v1/chat/completions", "", streamed(model, "a b c").to_string());
        if number % 2 == 0 {
            client.stream.set_nonblocking(true).expect("an option");
            let _ = std::io::Read::read(&mut client.stream, &mut [0; 64]);
        }
        if number % 5 == 0 {
            // Closing with unread bytes, or with this, is a reset.
            let _ = socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }
    house.well("two hundred clients that left");
    assert!(house.plane.stop(support::PATIENCE));
    let stats = house.plane.stats();
    let rows = support::log::query(&logged.folder.file("log.db"), "SELECT count(*) FROM requests");
    assert_eq!(rows[0][0], Value::Integer(i64::try_from(stats.requests).expect("a count")));
}

/// Bytes of memory that this process holds.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_does_not_read_is_not_buffered_for() {
    // The simulator makes its gigabyte piece by piece, so that what the process grows by is what somebody holds.
    for version in ["http1", "http2"] {
        for request in [streamed("sim/echo;body=1g", "x"), ask("sim/echo;body=1g", "x")] {
            let logged = logged(version);
            let house = &logged.house;
            house.well("the start");
            let before = resident();
            let mut lazy = house.connect();
            lazy.post("/v1/chat/completions", "", request.to_string());
            assert_eq!(lazy.head().expect("a head").status, 200);
            // Work for others goes on meanwhile, on the same threads; it also gives a leak its time.
            for _ in 0..100 {
                assert_eq!(house.chat(&ask("sim/echo;pace=1ms", "a b c")).status, 200);
            }
            let grown = resident().saturating_sub(before);
            assert!(grown < 96 << 20, "{version}: the process holds {} MiB more", grown >> 20);
            drop(lazy);
            logged.outcome("a client that did not read");
        }
    }
}

#[test]
fn a_client_that_does_not_read_holds_no_call_beyond_its_time() {
    // Nobody polls a body whose client takes nothing; the call to the provider must end all the same.
    for version in ["http1", "http2"] {
        let house = House::with(|document| {
            document["targets"][0]["http_version"] = json!(version);
            document["targets"][0]["timeouts"]["total_ms"] = json!(3_000);
        });
        let mut lazy = house.connect();
        lazy.post("/v1/chat/completions", "", streamed("sim/echo;body=1g", "x").to_string());
        assert_eq!(lazy.head().expect("a head").status, 200);
        until("the call is ended", || {
            let stats = house.simulator.stats();
            (stats.aborted, stats.in_flight) == (1, 0)
        });
        drop(lazy);
        house.well("a call that was overdue");
    }
}
