//! Requests that change something in the world: twice is not the same as once.

use serde_json::{Value as Json, json};

use crate::town::{Town, at, pool, who};

fn town() -> Town {
    Town::of(&["a", "b"], |document| {
        document["pools"] = json!([pool("p", &["a", "b"])]);
        for name in ["a", "b"] {
            at(document, name)["dialects"] = json!(["openai_chat", "openai_responses"]);
        }
        at(document, "a")["timeouts"]["first_token_ms"] = json!(1_000);
        document["pools"][0]["fallback"] = json!([{"name": "b", "on": ["error", "timeout", "rate_limit"]}]);
    })
}

fn sends_mail() -> Json {
    json!({"model": "p", "input": "Send it.", "tools": [
        {"type": "mcp", "server_label": "mail", "server_url": "https://mail.example", "require_approval": "never"}
    ]})
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    for directives in ["status=500", "status=502", "first=5s", "drop=fin", "garbage=json"] {
        let town = town();
        town.order("a", directives);
        let reply = town.post("/v1/responses", "", &sends_mail());
        assert!(reply.status >= 500, "{directives} {}", reply.text());
        // The SDK would send it again of its own accord.
        assert_eq!(reply.header("x-should-retry"), Some("false"), "{directives}");
        assert_eq!((town.reached("a"), town.reached("b")), (1, 0), "{directives}");
    }
}

#[test]
fn what_was_surely_not_done_is() {
    for directives in ["status=429", "status=503", "refuse=overloaded", "refuse=key"] {
        let town = town();
        town.order("a", directives);
        let reply = town.post("/v1/responses", "", &sends_mail());
        assert_eq!(who(&reply), "b", "{directives}");
    }
}

#[test]
fn a_request_with_a_name_may_come_twice() {
    let town = town();
    town.order("a", "status=500");
    let reply = town.post("/v1/responses", "idempotency-key: order-7\r\n", &sends_mail());
    assert_eq!(who(&reply), "b");
    let seen = town.provider("b").requests();
    assert_eq!(seen.last().and_then(|seen| seen.idempotency_key.as_deref()), Some("order-7"));
}

#[test]
fn an_error_that_harms_nobody_carries_no_advice() {
    let town = town();
    for name in ["a", "b"] {
        town.order(name, "status=500");
    }
    assert_eq!(town.ask("p").header("x-should-retry"), None);
}
