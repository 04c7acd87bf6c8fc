//! The health of targets, end to end: who is ejected and why, who is asked again and when, and what is nobody's fault.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use meseta_core::log::Value;
use meseta_core::{Plane, State, TargetStatus};
use meseta_sim::Simulator;
use meseta_wire::failure::Cause;
use serde_json::{Value as Json, json};
use support::http1::{Client, Reply};
use support::http2::{HEADERS, PREFACE, RST_STREAM, SETTINGS, frame};
use support::provider::{Provider, json as said, says};
use support::{ask, document, pool, streamed, target, until};

/// Nothing that a test could wait for.
const NEVER: u64 = 600_000;

struct House {
    plane: Plane,
    document: Json,
}

/// A target for every model of a provider.
fn wildcard(name: &str, url: &str) -> Json {
    let mut target = target(url);
    target["name"] = json!(format!("{name}/*"));
    target["provider"] = json!(name);
    target["health"]["failures"] = json!(3);
    target["health"]["rest_ms"] = json!(NEVER);
    target["health"]["rest_max_ms"] = json!(NEVER);
    target["health"]["ramp_ms"] = json!(1);
    target
}

fn header(value: &str) -> Json {
    json!({"type": "header", "name": "authorization", "value": format!("Bearer {value}")})
}

impl House {
    /// One target for each name; the pool `all` has every one of them, in this order.
    fn of(targets: &[(&str, &str)], change: impl FnOnce(&mut Json)) -> House {
        let mut document = document("http://127.0.0.1:1/v1");
        document["targets"] = targets.iter().map(|(name, url)| wildcard(name, url)).collect();
        document["wildcards"] =
            targets.iter().map(|(name, _)| ((*name).to_owned(), json!(format!("{name}/*")))).collect();
        document["catalog"] = json!([]);
        let names: Vec<String> = targets.iter().map(|(name, _)| format!("{name}/*")).collect();
        let members: Vec<_> = names.iter().map(|name| (name.as_str(), Some("echo"))).collect();
        document["pools"] = json!([pool("all", &members)]);
        change(&mut document);
        let plane = Plane::start(&document.to_string(), 2).unwrap_or_else(|error| panic!("{error}"));
        House { plane, document }
    }

    fn swap(&mut self, change: impl FnOnce(&mut Json)) {
        change(&mut self.document);
        self.plane.swap(&self.document.to_string()).unwrap_or_else(|error| panic!("{error}"));
    }

    fn connect(&self) -> Client {
        Client::connect(self.plane.stats().listeners[0].address)
    }

    fn chat(&self, model: &str) -> Reply {
        self.connect().chat(&ask(model, "hello"))
    }

    fn chat_with_key(&self, model: &str, key: &str) -> Reply {
        let mut client = self.connect();
        let headers = format!("authorization: Bearer {key}\r\n");
        client.post("/v1/chat/completions", &headers, ask(model, "hello").to_string());
        client.reply()
    }

    fn health(&self, name: &str) -> TargetStatus {
        let name = format!("{name}/*");
        self.plane.health().into_iter().find(|status| status.name == name).expect("a target of that name")
    }

    fn state(&self, name: &str) -> (State, Option<Cause>) {
        let status = self.health(name);
        (status.state, status.cause)
    }

    /// Whatever has happened, every place at every target has been given back.
    fn calm(&self) {
        until("no call holds a place", || {
            self.plane.health().iter().all(|status| {
                (status.in_flight, status.waiting) == (0, 0)
                    && status.keys.iter().all(|key| key.in_flight == 0)
            })
        });
        assert_eq!(self.plane.stats().panics, 0);
    }
}

fn simulator() -> Simulator {
    Simulator::start("127.0.0.1", 0, None).expect("a simulator")
}

fn faulty(simulator: &Simulator, directives: &str, share: f64) {
    let faults = json!({"directives": directives, "share": share});
    simulator.set_faults(&faults.to_string()).expect("good faults");
}

#[test]
fn failures_in_a_row_eject_and_trials_bring_back() {
    let (one, other) = (simulator(), simulator());
    let mut house = House::of(&[("one", &one.url()), ("other", &other.url())], |_| {});
    faulty(&one, "status=503", 1.0);
    for _ in 0..5 {
        assert_eq!(house.chat("all").status, 200);
    }
    assert_eq!(house.state("one"), (State::Resting, Some(Cause::Error)));
    assert_eq!((one.stats().requests, other.stats().requests), (3, 5), "nobody is asked while it rests");
    assert_eq!((house.plane.reset_health(Some("one/*")), house.state("one").0), (1, State::Ready));
    // Now with a rest that ends.
    house.swap(|document| {
        document["targets"][0]["health"]["rest_ms"] = json!(20);
        document["targets"][0]["health"]["rest_max_ms"] = json!(20);
    });
    until("it rests again", || {
        assert_eq!(house.chat("all").status, 200);
        house.state("one").0 != State::Ready
    });
    one.clear_faults();
    until("trials have brought it back", || {
        assert_eq!(house.chat("all").status, 200);
        house.state("one").0 == State::Ready
    });
    let before = one.stats().requests;
    assert_eq!(house.chat("all").status, 200);
    assert_eq!(one.stats().requests, before + 1, "it is the first one again");
    house.calm();
}

#[test]
fn who_comes_back_gets_little_at_first() {
    let (one, other) = (simulator(), simulator());
    let house = House::of(&[("one", &one.url()), ("other", &other.url())], |document| {
        document["targets"][0]["health"]["rest_ms"] = json!(1);
        document["targets"][0]["health"]["rest_max_ms"] = json!(1);
        document["targets"][0]["health"]["ramp_ms"] = json!(NEVER);
    });
    for _ in 0..3 {
        house.chat("one/echo;status=500");
    }
    until("trials have gone well", || {
        assert_eq!(house.chat("all").status, 200);
        house.state("one").0 == State::Ramping
    });
    let before = (one.stats().requests, other.stats().requests);
    for _ in 0..40 {
        assert_eq!(house.chat("all").status, 200);
    }
    let asked = (one.stats().requests - before.0, other.stats().requests - before.1);
    // A tenth is its share; that chance gives it half of them will not happen.
    assert!(asked.0 < 20 && asked.0 + asked.1 == 40, "{asked:?}");
    house.calm();
}

#[test]
fn a_share_of_errors_ejects() {
    let provider = simulator();
    let house = House::of(&[("one", &provider.url())], |document| {
        document["targets"][0]["health"]["failures"] = json!(0);
        document["targets"][0]["health"]["minimum_requests"] = json!(10);
    });
    faulty(&provider, "status=500", 0.5);
    for _ in 0..9 {
        house.chat("one/echo");
    }
    let status = house.health("one");
    assert_eq!((status.state, status.requests, status.errors), (State::Ready, 9, 4));
    house.chat("one/echo");
    assert_eq!(house.state("one"), (State::Resting, Some(Cause::Error)));
    // Nobody else is there: asking it is better than failing, and it happens to be well again.
    provider.clear_faults();
    assert_eq!(house.chat("one/echo").status, 200);
    house.calm();
}

#[test]
fn what_clients_do_wrong_is_held_against_nobody() {
    let provider = simulator();
    let house = House::of(&[("one", &provider.url())], |_| {});
    for directives in ["status=400", "refuse=context", "refuse=policy"] {
        for _ in 0..5 {
            assert_eq!(house.chat(&format!("one/echo;{directives}")).status, 400);
        }
    }
    for _ in 0..5 {
        let mut client = house.connect();
        let request = streamed("one/echo;stall=1", "one two three");
        client.post("/v1/chat/completions", "", request.to_string());
        assert_eq!(client.head().expect("a head").status, 200);
        client.chunk().expect("a piece");
        drop(client);
        let mut client = house.connect();
        client.post("/v1/chat/completions", "", ask("one/echo;first=60s", "hello").to_string());
        until("the provider has the request", || house.health("one").in_flight > 0);
    }
    house.calm();
    let status = house.health("one");
    assert_eq!((status.state, status.failures, status.errors, status.cause), (State::Ready, 0, 0, None));
}

#[test]
fn streams_that_break_count_against_the_target() {
    for (directives, cause) in
        [("cut=rst@2", Cause::Error), ("error=sse@2", Cause::Error), ("stall=2", Cause::Timeout)]
    {
        let provider = simulator();
        let house = House::of(&[("one", &provider.url())], |document| {
            document["targets"][0]["timeouts"]["idle_ms"] = json!(1_000);
        });
        for _ in 0..3 {
            assert_eq!(house.state("one").0, State::Ready, "{directives}");
            let reply =
                house.connect().chat(&streamed(&format!("one/echo;{directives}"), "one two three four"));
            assert!(reply.text().contains("error"), "{directives}: {}", reply.text());
        }
        assert_eq!(house.state("one"), (State::Resting, Some(cause)), "{directives}");
        house.calm();
    }
}

#[test]
fn limits_are_obeyed_before_the_next_call() {
    for (directives, status) in
        [("limit=requests:0/60s", 200), ("limit=tokens:0/60s", 200), ("status=429;retry-after=60", 429)]
    {
        let provider = simulator();
        let house = House::of(&[("one", &provider.url())], |_| {});
        assert_eq!(house.chat(&format!("one/echo;{directives}")).status, status);
        assert_eq!(house.health("one").state, State::Limited, "{directives}");
        let reply = house.chat("one/echo");
        assert_eq!((reply.status, reply.code().as_str()), (429, "upstream.limited"), "{directives}");
        let after: u64 = reply.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=60).contains(&after), "{after}");
        assert_eq!(provider.stats().requests, 1, "{directives}");
        assert_eq!(house.plane.reset_health(None), 1);
        assert_eq!(house.chat("one/echo").status, 200, "{directives}");
        house.calm();
    }
}

#[test]
fn a_refused_key_rests_and_the_others_go_on() {
    let provider = Provider::start(|request| {
        if request.contains("Bearer bad") {
            return said("401 Unauthorized", "", r#"{"error":{"message":"no","code":"invalid_api_key"}}"#);
        }
        says("hi")
    });
    let mut house = House::of(&[("one", &provider.url())], |document| {
        document["targets"][0]["credentials"] = json!([header("bad"), header("good")]);
    });
    for _ in 0..10 {
        assert_eq!(house.chat("one/m").status, 200, "another key is tried at once");
    }
    let status = house.health("one");
    assert_eq!((status.state, status.failures), (State::Ready, 0), "the target is well");
    let keys: Vec<_> = status.keys.iter().map(|key| (key.number, key.state, key.cause)).collect();
    assert_eq!(keys, [(1, State::Resting, Some(Cause::Credential)), (2, State::Ready, None)]);
    assert_eq!(provider.asked_with("Bearer bad"), 2, "a resting key is not sent");
    // A reload that leaves the keys leaves what is known of them; one that brings a new key trusts it.
    house.swap(|document| document["targets"][0]["max_output_tokens"] = json!(100));
    assert_eq!(house.health("one").keys[0].state, State::Resting);
    house.swap(|document| document["targets"][0]["credentials"] = json!([header("new"), header("good")]));
    assert_eq!(house.health("one").keys[0].state, State::Ready);
    // A key comes back by itself.
    house.swap(|document| {
        document["targets"][0]["credentials"] = json!([header("bad"), header("good")]);
        document["targets"][0]["health"]["rest_ms"] = json!(20);
        document["targets"][0]["health"]["rest_max_ms"] = json!(20);
    });
    house.plane.reset_health(None);
    until("it rests again", || {
        assert_eq!(house.chat("one/m").status, 200);
        house.health("one").keys[0].state != State::Ready
    });
    provider.answer(|_| says("hi"));
    until("it is used again", || {
        assert_eq!(house.chat("one/m").status, 200);
        house.health("one").keys[0].state == State::Ready
    });
    house.calm();
}

#[test]
fn a_clients_own_credential_has_the_clients_own_limits() {
    let provider = Provider::start(|request| {
        if request.contains("Bearer spent") {
            let limits =
                "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 60s\r\nretry-after: 60\r\n";
            return said(
                "429 Too Many Requests",
                limits,
                r#"{"error":{"message":"slow","type":"requests"}}"#,
            );
        }
        if request.contains("Bearer wrong") {
            return said("401 Unauthorized", "", r#"{"error":{"message":"no","code":"invalid_api_key"}}"#);
        }
        says("hi")
    });
    let house = House::of(&[("one", &provider.url())], |document| {
        document["targets"][0]["credentials"] = json!([{"type": "passthrough"}]);
        document["targets"][0]["probe"] = json!({"kind": "models", "interval_ms": 100, "timeout_ms": 1000});
    });
    for _ in 0..10 {
        assert_eq!(house.chat_with_key("one/m", "wrong").status, 401);
        assert_eq!(house.chat_with_key("one/m", "spent").status, 429);
        assert_eq!(house.chat_with_key("one/m", "good").status, 200);
    }
    let status = house.health("one");
    assert_eq!((status.state, status.failures, status.keys[0].state), (State::Ready, 0, State::Ready));
    until("it is probed without a credential", || {
        house.health("one").probe.is_some_and(|probe| probe.cause.is_none())
    });
    assert_eq!(provider.asked_with("GET "), 0);
    house.calm();
}

#[test]
fn what_is_known_outlives_a_reload_but_not_the_target() {
    let (one, other) = (simulator(), simulator());
    let mut house = House::of(&[("one", &one.url()), ("other", &other.url())], |_| {});
    let eject = |house: &House| {
        for _ in 0..3 {
            house.chat("one/echo;status=500");
        }
        assert_eq!(house.state("one"), (State::Resting, Some(Cause::Error)));
    };
    eject(&house);
    house.swap(|document| document["targets"][0]["max_output_tokens"] = json!(100));
    assert_eq!(house.state("one"), (State::Resting, Some(Cause::Error)));
    let whole = house.document.clone();
    house.swap(|document| {
        document["targets"].as_array_mut().expect("targets").remove(0);
        document["pools"] = json!([]);
        document["wildcards"] = json!({"other": "other/*"});
    });
    assert_eq!(house.plane.health().len(), 1);
    house.swap(|document| *document = whole);
    assert_eq!(house.state("one"), (State::Ready, None));
    // Another address is another place.
    eject(&house);
    house.swap(|document| document["targets"][0]["base_url"] = json!(other.url()));
    assert_eq!(house.state("one"), (State::Ready, None));
    // What only a refused document names is nowhere.
    let mut refused = house.document.clone();
    refused["targets"].as_array_mut().expect("targets").push(wildcard("third", &one.url()));
    refused["default"] = json!("nowhere");
    assert!(house.plane.swap(&refused.to_string()).is_err());
    assert_eq!(house.plane.health().len(), 2);
    house.calm();
}

#[test]
fn the_time_to_the_first_token_decides() {
    let (slow, quick) = (simulator(), simulator());
    let house = House::of(&[("slow", &slow.url()), ("quick", &quick.url())], |document| {
        document["pools"][0]["select"] = json!("least_latency");
        document["targets"][0]["headers"] = json!({"x-sim": "preamble_then=2s"});
    });
    // The head of a stream, and what comes before its first token, are no token.
    for name in ["slow/echo", "all"] {
        assert_eq!(house.connect().chat(&streamed(name, "one two")).status, 200);
    }
    until("both have been asked", || {
        house.connect().chat(&streamed("all", "one two"));
        house.health("slow").latency.is_some() && house.health("quick").latency.is_some()
    });
    let _ = house.connect().chat(&streamed("all", "one two"));
    let (slow_before, quick_before) = (slow.stats().requests, quick.stats().requests);
    for _ in 0..10 {
        assert_eq!(house.connect().chat(&streamed("all", "one two")).status, 200);
    }
    let asked = (slow.stats().requests - slow_before, quick.stats().requests - quick_before);
    assert!(asked.1 > asked.0, "{asked:?}");
    house.calm();
}

#[test]
fn a_probe_finds_out_first_and_brings_back_before_the_rest_ends() {
    let provider = simulator();
    let url = provider.url();
    let port = provider.port();
    let house = House::of(&[("one", &url)], |document| {
        document["targets"][0]["probe"] = json!({"kind": "connect", "interval_ms": 100, "timeout_ms": 2000});
    });
    until("a good probe", || house.health("one").probe.is_some_and(|probe| probe.cause.is_none()));
    provider.stop();
    drop(provider);
    until("it is ejected", || house.health("one").state == State::Resting);
    assert_eq!(house.plane.stats().requests, 0, "no request has found out");
    let again = Simulator::start("127.0.0.1", port, None).expect("the same port");
    until("it is back", || house.health("one").state == State::Ready);
    assert_eq!(house.chat("one/echo").status, 200);
    drop(again);
    house.calm();
}

#[test]
fn probes_ask_as_the_target_is_asked() {
    let provider = Provider::start(|_| said("200 OK", "", r#"{"data":[]}"#));
    let mut house = House::of(&[("one", &provider.url())], |document| {
        document["targets"][0]["credentials"] = json!([header("first"), header("second")]);
        document["targets"][0]["probe"] = json!({"kind": "models", "interval_ms": 100, "timeout_ms": 2000});
    });
    until("some probes", || provider.asked().len() >= 4);
    assert!(provider.asked().iter().all(|request| {
        request.starts_with("GET /v1/models HTTP/1.1") && request.contains("Bearer first")
    }));
    assert_eq!(provider.connections().0, 1, "one connection serves them all");
    // While one key is taken the target can be used.
    let refusal = || said("401 Unauthorized", "", r#"{"error":{"message":"no"}}"#);
    provider.answer(
        move |request| {
            if request.contains("Bearer first") { refusal() } else { said("200 OK", "", "{}") }
        },
    );
    until("the second key is tried", || provider.asked_with("Bearer second") >= 3);
    assert_eq!(house.state("one"), (State::Ready, None));
    provider.answer(move |_| refusal());
    until("it is ejected", || house.state("one") == (State::Resting, Some(Cause::Credential)));
    provider.answer(|_| said("429 Too Many Requests", "", "{}"));
    until("it is back: who is busy is there", || house.state("one").0 == State::Ready);
    // A model that can be asked is asked something.
    house.swap(|document| {
        document["targets"][0]["name"] = json!("one/m");
        document["targets"][0]["model"] = json!("m");
        document["targets"][0]["probe"]["kind"] = json!("completion");
        document["wildcards"] = json!({});
        document["names"] = json!({"one/m": "one/m"});
        document["pools"] = json!([]);
    });
    until("a completion", || provider.asked_with("POST /v1/chat/completions") > 0);
    let asked = provider.asked().into_iter().find(|request| request.starts_with("POST")).expect("a request");
    assert!(asked.contains(r#""model":"m""#) && asked.contains("Bearer first"), "{asked}");
    provider.answer(|_| said("500 Internal Server Error", "", "{}"));
    until("it is ejected", || house.plane.health()[0].state == State::Resting);
}

#[test]
fn a_wildcard_is_probed_by_a_connection_and_probes_end() {
    let provider = Provider::start(|_| said("200 OK", "", "{}"));
    let probe = |kind: &str| json!({"kind": kind, "interval_ms": 100, "timeout_ms": 2000});
    let mut house = House::of(&[("one", &provider.url())], |document| {
        document["targets"][0]["probe"] = probe("completion");
    });
    until("some probes", || provider.connections().0 >= 3);
    assert!(provider.asked().is_empty());
    house.swap(|document| document["targets"][0]["probe"] = probe("models"));
    until("a kept connection", || !provider.asked().is_empty() && provider.connections().1 == 1);
    // With the last probe the prober goes, and its connection with it.
    house.swap(|document| document["targets"][0]["probe"] = json!(null));
    until("nobody is connected", || provider.connections().1 == 0);
    let before = provider.asked().len();
    house.swap(|document| document["targets"][0]["probe"] = probe("models"));
    until("probes again", || provider.asked().len() > before);
    assert!(house.plane.stop(support::PATIENCE));
    until("nobody is connected", || provider.connections().1 == 0);
}

#[test]
fn an_answer_that_is_none_is_another_targets_turn() {
    let other = simulator();
    let error = r#"{"error":{"message":"The provider is busy","code":429,"metadata":{"raw":"slow down"}}}"#;
    let page = format!("<html>{}</html>", "x".repeat(2 * 1024 * 1024));
    for (what, answer, cause) in [
        ("an error with a good status", said("200 OK", "", error), "rate_limit"),
        ("an empty body", said("200 OK", "", ""), "error"),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "error"),
        ("a long error", said("503 Service Unavailable", "", &page), "error"),
    ] {
        let provider = Provider::start(move |_| answer.clone());
        let house = House::of(&[("one", &provider.url()), ("other", &other.url())], |_| {});
        for request in [ask("all", "hello"), streamed("all", "hello")] {
            house.plane.reset_health(None);
            let reply = house.connect().chat(&request);
            assert_eq!((reply.status, reply.broken), (200, false), "{what}: {}", reply.text());
            assert!(reply.text().contains("hello"), "{what}: {}", reply.text());
        }
        assert_eq!(provider.asked().len(), 2, "{what}");
        let status = house.health("one");
        match cause {
            "rate_limit" => assert_eq!(status.state, State::Limited, "{what}"),
            _ => assert_eq!((status.failures, status.cause), (1, Some(Cause::Error)), "{what}"),
        }
        // Alone, it is an error for the client too.
        house.plane.reset_health(None);
        assert!(house.chat("one/m").status >= 400, "{what}");
        house.calm();
    }
}

#[test]
fn a_stream_that_has_not_begun_is_held_back_only_for_others() {
    let (one, other) = (simulator(), simulator());
    let folder = support::Folder::new();
    let house = House::of(&[("one", &one.url()), ("other", &other.url())], |document| {
        document["targets"][0]["timeouts"]["idle_ms"] = json!(1_000);
        document["log"] = support::log::settings(&folder.file("log.db"));
    });
    // What nobody else could say is told as it comes: the token that is missing is ten minutes away.
    let mut client = house.connect();
    let request = streamed("other/echo;preamble_then=10m", "hello");
    client.post("/v1/chat/completions", "", request.to_string());
    assert_eq!(client.head().expect("a head").status, 200);
    assert!(client.chunk().is_some());
    drop(client);
    for (directives, cause) in [
        ("preamble_then=10m", Cause::Timeout),
        ("error=sse@preamble", Cause::Error),
        ("cut=rst@preamble", Cause::Error),
    ] {
        house.plane.reset_health(None);
        faulty(&one, directives, 1.0);
        let reply = house.connect().chat(&streamed("all", "hello"));
        assert!(reply.text().contains("hello") && !reply.text().contains("error"), "{}", reply.text());
        assert_eq!(reply.header("x-meseta-attempts"), Some("2"), "before its head went out: {directives}");
        assert_eq!((house.health("one").failures, house.state("one").1), (1, Some(cause)), "{directives}");
    }
    house.calm();
    assert!(house.plane.stop(support::PATIENCE));
    let rows = support::log::query(
        &folder.file("log.db"),
        "SELECT response_bytes FROM attempts WHERE provider = 'one'",
    );
    // What was held back and thrown away has been received all the same.
    let bytes = |row: &Vec<Value>| matches!(row[0], Value::Integer(bytes) if bytes > 0);
    assert_eq!((rows.len(), rows.iter().all(bytes)), (3, true), "{rows:?}");
}

#[test]
fn amazons_word_for_an_error_is_read_from_its_header() {
    let other = simulator();
    // A model that is not loaded yet is no limit of ours, though the status is the same.
    let provider = Provider::start(|_| {
        let name = "x-amzn-errortype: ModelNotReadyException:http://internal.amazon.com/\r\n";
        said("429 Too Many Requests", name, r#"{"message":"The model is not ready."}"#)
    });
    let house = House::of(&[("one", &provider.url()), ("other", &other.url())], |document| {
        document["targets"][0]["dialects"] = json!(["bedrock_converse"]);
    });
    assert_eq!(house.chat("all").status, 200);
    let status = house.health("one");
    assert_eq!((status.state, status.failures, status.cause), (State::Ready, 1, Some(Cause::Error)));
    house.calm();
}

/// An HTTP/2 server that refuses every stream before it has looked at it.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                stream.read_exact(&mut [0; PREFACE.len()])?;
                stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
                loop {
                    let mut head = [0; 9];
                    stream.read_exact(&mut head)?;
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    std::io::copy(&mut (&stream).take(length.into()), &mut std::io::sink())?;
                    match head[3] {
                        SETTINGS if head[4] == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[]))?,
                        HEADERS => {
                            stream.write_all(&frame(RST_STREAM, 0, number, &7_u32.to_be_bytes()))?;
                        }
                        _ => {}
                    }
                }
            });
        }
    });
    format!("http://{address}/v1")
}

#[test]
fn a_refused_stream_has_done_nothing() {
    let other = simulator();
    let house = House::of(&[("one", &refusing()), ("other", &other.url())], |document| {
        document["targets"][0]["http_version"] = json!("http2");
    });
    // What may act is not asked for twice, unless it is certain that nothing was done.
    let mut request = ask("all", "hello");
    request["tools"] = json!([{"type": "mcp", "server_label": "x", "server_url": "http://127.0.0.1:1"}]);
    let reply = house.connect().chat(&request);
    assert_eq!((reply.status, other.stats().requests), (200, 1), "{}", reply.text());
    assert_eq!(house.health("one").cause, Some(Cause::Error));
    house.calm();
}
