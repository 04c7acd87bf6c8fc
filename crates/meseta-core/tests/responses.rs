//! Conversations of the Responses API that the plane keeps, whoever answers, for the caller alone.

mod support;

use serde_json::{Value as Json, json};
use support::http1::Reply;
use support::{Folder, House, target};

/// SHA-256 of "first" and "second".
const FIRST: &str = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";
const SECOND: &str = "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4";

/// `sim/` speaks chat and `native/` Responses; both of two callers share the account there.
fn house(folder: &Folder) -> House {
    House::with(|document| {
        let mut native = target(document["targets"][0]["base_url"].as_str().unwrap_or_default());
        native["name"] = json!("native/*");
        native["dialects"] = json!(["openai_responses"]);
        document["targets"].as_array_mut().expect("targets").push(native);
        document["wildcards"]["native"] = json!("native/*");
        document["listeners"][0]["auth"] = json!({"type": "keys", "sha256": [FIRST, SECOND]});
        document["responses"] = json!({
            "path": folder.file("responses.db"),
            "keep_hours": 1,
            "max_bytes": 10_000_000,
            "max_response_bytes": 1_000_000,
        });
    })
}

fn respond(house: &House, key: &str, request: &Json) -> Reply {
    let mut client = house.connect();
    client.post("/v1/responses", &format!("authorization: Bearer {key}\r\n"), request.to_string());
    client.reply()
}

#[test]
fn an_answer_repeats_what_its_client_wrote_and_not_what_was_joined_to_it() {
    let folder = Folder::new();
    let house = house(&folder);
    let first = respond(&house, "first", &json!({"model": "native/echo", "input": "one"})).json();
    let id = first["id"].as_str().expect("an id");
    let request = json!({"model": "sim/echo", "input": "two", "previous_response_id": id, "top_p": 0.5});
    let second = respond(&house, "first", &request).json();
    assert_eq!(second["previous_response_id"], id);
    assert_eq!(second["top_p"], 0.5);
    assert_eq!(second["usage"]["input_tokens"], 3, "the question, its answer and the new one: {second}");
}

#[test]
fn nobody_goes_on_from_an_answer_of_another_key() {
    let folder = Folder::new();
    let house = house(&folder);
    for model in ["native/echo", "sim/echo"] {
        let created = respond(&house, "first", &json!({"model": model, "input": "secret"})).json();
        let more = json!({"model": model, "input": "and?", "previous_response_id": created["id"]});
        let reached = house.reached();
        let refused = respond(&house, "second", &more);
        assert_eq!((refused.status, refused.code().as_str()), (400, "response.not_found"), "{model}");
        assert_eq!(house.reached(), reached, "{model}: the provider would have told it");
        assert_eq!(respond(&house, "first", &more).status, 200, "{model}");
    }
}
