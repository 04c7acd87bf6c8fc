//! By whom a request is made: an agent's token, and what an agent was told of the run.

use serde_json::{Value as Json, json};

use crate::street::{Street, chat};
use crate::support::ask;
use crate::support::http1::{Client, Reply};
use crate::support::provider::says;

/// SHA-256 of `agent-token` and of `client-key`.
const TOKEN: &str = "eb47b9ce4840a5b3ea138b8691253b78035b9289d9014409067e9844c272ef99";
const KEY: &str = "8eb943e7040b69a94bf39562088223755bff4c2e7c5fc257f1e08f870fe01d35";

fn street() -> Street {
    Street::of("chain", &["weather", "flights"], |document| {
        document["listeners"][0]["auth"] = crate::support::keys(&[KEY]);
        document["agents"][0]["token_sha256"] = json!(TOKEN);
        document["agents"][0]["tenant"] = json!("inner");
    })
}

fn ask_model(street: &Street, headers: &str) -> Reply {
    let mut client = Client::connect(street.address("models"));
    client.post("/v1/chat/completions", headers, ask("sim/echo", "hello").to_string());
    client.reply()
}

fn context_of(request: &str) -> String {
    let line = request.lines().find(|line| line.starts_with("x-meseta-context")).expect("told");
    format!("{line}\r\n")
}

#[test]
fn a_token_is_a_key_of_every_listener() {
    let street = street();
    assert_eq!(ask_model(&street, "").status, 401);
    assert_eq!(ask_model(&street, "authorization: Bearer other\r\n").status, 401);
    assert_eq!(ask_model(&street, "authorization: Bearer agent-token\r\n").status, 200);
    let rows = street.rows("SELECT status, caller, tenant FROM requests ORDER BY id");
    assert_eq!(rows, ["401 - -", "401 - -", "200 weather inner"]);
}

#[test]
fn a_call_of_an_agent_belongs_to_the_run_that_it_works_for() {
    let street = street();
    street.ask("x-meseta-run: r1\r\nx-meseta-session: s1\r\n", "Will it rain?");
    let context = context_of(&street.agent("weather").asked()[0]);
    let reply = ask_model(&street, &format!("authorization: Bearer agent-token\r\n{context}"));
    assert_eq!(reply.status, 200);
    let rows = street.rows(
        "SELECT a.caller, a.run, a.session, b.agent, c.agents FROM requests a JOIN requests b ON a.parent = b.id
         JOIN requests c ON a.root = c.id AND b.parent = c.id",
    );
    assert_eq!(rows, ["weather r1 s1 weather weather"]);
}

#[test]
fn nobody_goes_on_with_what_another_agent_was_told_or_with_a_forgery() {
    let street = street();
    street.ask("x-meseta-agent: flights\r\n", "Fly me.");
    let context = context_of(&street.agent("flights").asked()[0]);
    let forged = context.replace("x-meseta-context: e", "x-meseta-context: f");
    for context in [context, forged] {
        let reply = ask_model(&street, &format!("authorization: Bearer agent-token\r\n{context}"));
        assert_eq!(reply.status, 200);
    }
    let rows = street.rows("SELECT root IS NULL, caller FROM requests WHERE listener = 'models' ORDER BY id");
    assert_eq!(rows, ["1 weather", "1 weather"]);
}

#[test]
fn an_agent_that_tells_nothing_is_still_on_the_way() {
    let street = street();
    let mut client = street.client();
    client.post("/v1/chat/completions", "authorization: Bearer agent-token\r\n", chat("And me?").to_string());
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (508, "agent.cycle"), "{}", reply.text());
}

#[test]
fn depth_has_an_end() {
    let street = Street::of("chain", &["a", "b", "c"], |document| {
        crate::street::orchestration(document)["depth"] = json!(2);
    });
    let address = street.address("agents");
    for (id, next) in [("a", "b"), ("b", "c")] {
        street.agent(id).answer(move |request| {
            let mut client = Client::connect(address);
            let headers = format!("{}x-meseta-agent: {next}\r\n", context_of(request));
            client.post("/v1/chat/completions", &headers, chat("And you?").to_string());
            let reply = client.reply();
            if reply.status == 200 { says(&reply.content()) } else { says(&reply.code()) }
        });
    }
    assert_eq!(street.ask("", "Start.").content(), "agent.depth");
}

#[test]
fn a_deadline_holds_for_the_whole_run() {
    let street = street();
    let reply = street.ask("x-meseta-deadline: 30s\r\nx-meseta-tags: a,b\r\n", "Will it rain?");
    assert_eq!(reply.status, 200);
    let request = &street.agent("weather").asked()[0];
    assert!(
        request.contains("x-meseta-tags: a,b\r\n") && request.contains("x-meseta-deadline: "),
        "{request}"
    );
    let context = context_of(request);
    let payload: Vec<u8> = decode(
        context.trim_end().split_once(": ").expect("a header").1.split_once('.').expect("two parts").0,
    );
    let payload: Json = serde_json::from_slice(&payload).expect("JSON");
    let (issued, deadline) = (payload["issued"].as_u64().unwrap(), payload["deadline"].as_u64().unwrap());
    assert!((1..=30_000).contains(&(deadline - issued)), "{payload}");
}

/// Base64url without padding.
fn decode(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        bits = bits << 6 | u32::from(value(byte));
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    out
}

#[test]
fn a_clients_credential_travels_only_where_that_is_asked_for_and_a_key_of_ours_never() {
    let mut street = Street::of("chain", &["weather", "flights"], |document| {
        document["agents"][0]["token_sha256"] = json!(TOKEN);
        let targets = document["targets"].as_array_mut().expect("targets");
        let flights = targets.iter_mut().find(|target| target["name"] == "agent/flights/1");
        flights.expect("it is there")["credentials"] = json!([{"type": "passthrough"}]);
    });
    let secrets = "authorization: Bearer mine\r\nx-api-key: mine-too\r\ncookie: mine=1\r\n";
    let told = |street: &Street, agent: &str, headers: &str| {
        let reply = street.ask(&format!("x-meseta-agent: {agent}\r\n{headers}"), "Hello.");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let asked = street.agent(agent).asked();
        let head = asked.last().and_then(|request| request.split("\r\n\r\n").next()).expect("asked");
        let told = ["authorization", "x-api-key", "x-meseta-key", "cookie"].map(|name| {
            let value = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            value.unwrap_or("-").to_owned()
        });
        told.join(" ")
    };
    assert_eq!(told(&street, "weather", secrets), "- - - -");
    assert_eq!(told(&street, "flights", secrets), "Bearer mine mine-too - -");
    // By its token another agent is known, and nobody else learns it.
    assert_eq!(told(&street, "flights", "authorization: Bearer agent-token\r\n"), "- - - -");
    street.change(|document| {
        let listeners = document["listeners"].as_array_mut().expect("listeners");
        let agents = listeners.iter_mut().find(|listener| listener["name"] == "agents");
        agents.expect("it is there")["auth"] = crate::support::keys(&[KEY]);
    });
    assert_eq!(told(&street, "flights", "authorization: Bearer client-key\r\n"), "- - - -");
    let both = "x-meseta-key: client-key\r\nauthorization: Bearer mine\r\n";
    assert_eq!(told(&street, "flights", both), "Bearer mine - - -");
    assert_eq!(told(&street, "weather", both), "- - - -");
}
