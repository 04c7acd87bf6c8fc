//! Agents that ask each other and say nothing of the run that they work for, but hand on its trace.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use crate::street::{Street, chat};
use crate::support::http1::{Client, Reply};
use crate::support::provider::says;

/// SHA-256 of `token-of-a` and of `token-of-b`.
const TOKENS: [&str; 2] = [
    "5cb4afafaff2683f8e22484d37dca0e6b2eb98dc5a9869ca031b001597b89253",
    "97d613fbd4a6484c6567d2d2b495af817b3264c37dfe02a641449b2b351d5e1f",
];

fn street(strategy: &str, change: impl FnOnce(&mut Json)) -> Street {
    Street::of(strategy, &["a", "b"], |document| {
        for (agent, token) in TOKENS.iter().enumerate() {
            document["agents"][agent]["token_sha256"] = json!(token);
        }
        change(document);
    })
}

/// What `agent` hears when it asks another one because of `request`.
fn asks(address: SocketAddr, agent: &str, other: &str, request: &str) -> Reply {
    let trace = request.lines().find(|line| line.starts_with("traceparent")).expect("a trace");
    let headers = format!("authorization: Bearer token-of-{agent}\r\nx-meseta-agent: {other}\r\n{trace}\r\n");
    let mut client = Client::connect(address);
    client.post("/v1/chat/completions", &headers, chat("And you?").to_string());
    client.reply()
}

/// Both ask the other one whatever they are asked, and say what came of it.
fn circle(street: &Street) {
    let address = street.address("agents");
    for (agent, other) in [("a", "b"), ("b", "a")] {
        street.agent(agent).answer(move |request| {
            let reply = asks(address, agent, other, request);
            says(&if reply.status == 200 { reply.content() } else { reply.code() })
        });
    }
}

const TRACE: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

#[test]
fn a_circle_ends_where_it_closes() {
    let street = street("chain", |_| {});
    circle(&street);
    for trace in ["", TRACE] {
        assert_eq!(street.ask(trace, "Start.").content(), "agent.cycle");
    }
    assert_eq!((street.agent("a").asked().len(), street.agent("b").asked().len()), (2, 2));
}

#[test]
fn a_circle_that_may_be_none_ends_too() {
    // Both are asked by the client: that one asks the other could be the end of it.
    let street = street("parallel", |document| {
        let both = crate::choosing::rule("both", &["a", "b"]);
        crate::street::orchestration(document)["rules"] = json!([both]);
    });
    circle(&street);
    let reply = street.ask(TRACE, "Start, both.");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.content().contains("agent.depth"), "{}", reply.content());
    for agent in ["a", "b"] {
        // 32 for each of the client's two, by either of the two circles: one has begun to end when the other one goes on.
        let asked = street.agent(agent).asked().len();
        assert!((2..=1 + 2 * 64).contains(&asked), "{agent}: {asked}");
    }
}

#[test]
fn one_trace_may_have_many_calls_at_once() {
    const CLIENTS: usize = 12;
    const EACH: usize = 6;
    let street = street("chain", |_| {});
    let address = street.address("agents");
    // Nobody is answered before all are there.
    let (clients, calls) = (std::sync::Barrier::new(CLIENTS), std::sync::Barrier::new(CLIENTS * EACH));
    street.agent("a").answer(move |request| {
        clients.wait();
        let heard: Vec<u16> = std::thread::scope(|scope| {
            let calls: Vec<_> =
                (0..EACH).map(|_| scope.spawn(|| asks(address, "a", "b", request).status)).collect();
            calls.into_iter().map(|call| call.join().expect("it was answered")).collect()
        });
        says(&format!("{heard:?}"))
    });
    street.agent("b").answer(move |_| {
        calls.wait();
        says("Here.")
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                client.post("/v1/chat/completions", TRACE, chat("All at once.").to_string());
                client.reply().content()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("it was answered"), format!("{:?}", [200; EACH]));
    }
}
