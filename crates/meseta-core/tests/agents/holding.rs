//! Requests for an agent that has no instance at present.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::street::Street;
use crate::support::provider::{Provider, says};
use crate::support::until;

fn agent<'a>(document: &'a mut Json, id: &str) -> &'a mut Json {
    let agents = document["agents"].as_array_mut().expect("agents");
    agents.iter_mut().find(|agent| agent["id"] == id).expect("it is there")
}

/// A port where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

#[test]
fn a_request_waits_for_an_instance_and_is_answered_by_it() {
    let mut members = Json::Null;
    let mut street = Street::of("chain", &["weather"], |document| {
        let agent = agent(document, "weather");
        agent["hold"] = json!({"requests": 2, "ms": 20_000});
        members = agent["pool"]["members"].take();
        agent["pool"]["members"] = json!([]);
    });
    let plane = &street.plane;
    assert!(plane.wanted(Duration::ZERO).is_empty());
    let address = street.address("agents");
    let waiting = std::thread::spawn(move || {
        let mut client = crate::support::http1::Client::connect(address);
        client.chat(&crate::street::chat("Will it rain?"))
    });
    assert_eq!(plane.wanted(Duration::from_secs(20)), ["weather"]);
    assert_eq!(plane.agents()[0].waiting, 1);
    street.change(|document| agent(document, "weather")["pool"]["members"] = members);
    let reply = waiting.join().expect("it was answered");
    assert_eq!((reply.status, reply.content().as_str()), (200, "I am weather."));
    let status = &street.plane.agents()[0];
    assert_eq!((status.waiting, status.idle.is_some()), (0, true));
}

#[test]
fn nobody_waits_for_ever_and_no_more_than_may() {
    let street = Street::of("chain", &["weather"], |document| {
        let agent = agent(document, "weather");
        agent["hold"] = json!({"requests": 0, "ms": 20_000});
        agent["pool"]["members"] = json!([]);
    });
    let reply = street.ask("", "Will it rain?");
    assert_eq!((reply.status, reply.code().as_str()), (503, "agent.unavailable"));
    assert!(reply.header("retry-after").is_some() && reply.text().contains("as many requests as may wait"));
    let street = Street::of("chain", &["weather"], |document| {
        let agent = agent(document, "weather");
        agent["hold"] = json!({"requests": 1, "ms": 50});
        agent["pool"]["members"] = json!([]);
    });
    let reply = street.ask("", "Will it rain?");
    assert_eq!((reply.status, reply.code().as_str()), (503, "agent.unavailable"));
}

#[test]
fn who_finds_an_instance_gone_waits_for_the_next_one() {
    let mut street = Street::of("chain", &["weather"], |document| {
        agent(document, "weather")["hold"] = json!({"requests": 2, "ms": 20_000});
    });
    let right = street.agent("weather").url();
    // A port where nobody listens: the instance has just ended.
    let gone = nobody();
    let place = |document: &mut Json, url: &str| {
        let targets = document["targets"].as_array_mut().expect("targets");
        let target =
            targets.iter_mut().find(|target| target["name"] == "agent/weather/1").expect("it is there");
        target["base_url"] = json!(url);
    };
    street.change(|document| place(document, &format!("http://{gone}/v1")));
    let address = street.address("agents");
    let waiting = std::thread::spawn(move || {
        let mut client = crate::support::http1::Client::connect(address);
        client.chat(&crate::street::chat("Will it rain?"))
    });
    until("the request waits", || street.plane.agents()[0].waiting == 1);
    street.change(|document| place(document, &right));
    let reply = waiting.join().expect("it was answered");
    assert_eq!((reply.status, reply.content().as_str()), (200, "I am weather."));
}

/// An agent that nobody runs and that is not there, for which requests wait so long.
fn away(hold: &Json) -> (Street, SocketAddr) {
    let place = nobody();
    let street = Street::of("chain", &["weather"], |document| {
        agent(document, "weather")["hold"] = hold.clone();
        let targets = document["targets"].as_array_mut().expect("targets");
        let target = targets.iter_mut().find(|target| target["name"] == "agent/weather/1");
        target.expect("it is there")["base_url"] = json!(format!("http://{place}/v1"));
    });
    (street, place)
}

#[test]
fn an_agent_that_comes_back_by_itself_is_asked_by_those_who_wait() {
    let (street, place) = away(&json!({"requests": 8, "ms": 20_000}));
    let address = street.address("agents");
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = crate::support::http1::Client::connect(address);
                client.chat(&crate::street::chat("Will it rain?"))
            })
        })
        .collect();
    until("all of them wait", || street.plane.agents()[0].waiting == 4);
    let agent = Provider::start_on(TcpListener::bind(place).expect("its port"), |_| says("Here I am."));
    for waiting in waiting {
        let reply = waiting.join().expect("it was answered");
        assert_eq!((reply.status, reply.content().as_str()), (200, "Here I am."));
    }
    assert_eq!((agent.asked().len(), street.plane.agents()[0].waiting), (4, 0));
}

#[test]
fn an_agent_that_stays_away_is_unavailable() {
    let (street, _) = away(&json!({"requests": 1, "ms": 300}));
    let reply = street.ask("", "Will it rain?");
    assert_eq!((reply.status, reply.code().as_str()), (503, "agent.unavailable"));
    assert!(reply.header("retry-after").is_some());
    assert!(reply.text().contains("'weather' could not be reached"), "{}", reply.text());
    let (street, _) = away(&json!({"requests": 0, "ms": 20_000}));
    let reply = street.ask("", "Will it rain?");
    assert_eq!((reply.status, reply.code().as_str()), (503, "agent.unavailable"));
    assert!(reply.text().contains("cannot be reached, and as many"), "{}", reply.text());
}
