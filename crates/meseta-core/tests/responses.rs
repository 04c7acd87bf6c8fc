//! Conversations of the Responses API that the plane keeps, whoever answers, for the caller alone.

mod support;

use meseta_core::log::Value;
use serde_json::{Value as Json, json};
use support::http1::Reply;
use support::{Folder, House, PATIENCE, keys, target, until};

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
        document["listeners"][0]["auth"] = keys(&[FIRST, SECOND]);
        document["responses"] = json!({
            "path": folder.file("responses.db"),
            "keep_hours": 1,
            "max_bytes": 10_000_000,
            "max_response_bytes": 1_000_000,
        });
        document["log"] = support::log::settings(&folder.file("log.db"));
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

#[test]
fn an_answer_that_was_written_anew_is_known_to_the_plane_alone() {
    let folder = Folder::new();
    let house = house(&folder);
    let mut previous = Json::Null;
    for model in ["sim/echo", "native/echo", "native/echo", "sim/echo"] {
        let mut request = json!({"model": model, "input": "one"});
        if previous.is_string() {
            request["previous_response_id"] = previous;
        }
        let reply = respond(&house, "first", &request);
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        previous = reply.json()["id"].clone();
        let path = format!("/v1/responses/{}", previous.as_str().expect("an id"));
        assert_eq!(stored(&house, "GET", &path).status, 200, "{model}");
    }
}

#[test]
fn an_answer_that_its_provider_did_not_delete_can_be_deleted_again() {
    let folder = Folder::new();
    let mut house = house(&folder);
    let created = respond(&house, "first", &json!({"model": "native/echo", "input": "one"})).json();
    let path = format!("/v1/responses/{}", created["id"].as_str().expect("an id"));
    let url = house.document["targets"][1]["base_url"].clone();
    let point_at = |house: &mut House, url: &Json| {
        house.document["targets"][1]["base_url"] = url.clone();
        house.plane.swap(&house.document.to_string()).unwrap_or_else(|error| panic!("{error}"));
    };
    // Nobody listens there.
    point_at(&mut house, &json!("http://127.0.0.1:1"));
    assert_eq!(stored(&house, "DELETE", &path).status, 502);
    point_at(&mut house, &url);
    assert_eq!(stored(&house, "DELETE", &path).status, 200);
    assert_eq!(stored(&house, "DELETE", &path).status, 404);
}

#[test]
fn tokens_are_counted_when_they_are_made_and_not_when_they_are_read() {
    let folder = Folder::new();
    let house = house(&folder);
    let log = folder.file("log.db");
    for model in ["native/echo", "sim/echo"] {
        let created = respond(&house, "first", &json!({"model": model, "input": "one"})).json();
        let path = format!("/v1/responses/{}", created["id"].as_str().expect("an id"));
        assert_eq!(stored(&house, "GET", &path).json()["id"], created["id"]);
    }
    until("nothing is under way", || house.plane.stats().in_flight == 0);
    assert!(house.plane.stop(PATIENCE));
    let rows = support::log::query(&log, "SELECT method, output_tokens FROM requests ORDER BY id");
    let text = |text: &str| Value::Text(text.to_owned());
    let (made, read) = ([text("POST"), Value::Integer(1)], [text("GET"), Value::Null]);
    assert_eq!(rows, [made.clone(), read.clone(), made, read]);
}

#[test]
fn no_spelling_of_the_field_hides_whose_answer_it_names() {
    let folder = Folder::new();
    let house = house(&folder);
    let created = respond(&house, "first", &json!({"model": "native/echo", "input": "secret"})).json();
    let id = &created["id"];
    let reached = house.reached();
    for field in [
        format!(r#""previous_response_id":null,"previous_response_id":{id}"#),
        format!(r#""previous_response_id":{id},"previous_response_id":null"#),
        format!(r#""previous_response_id":null,"previous_response_\u0069d":{id}"#),
        format!(r#""previous_response_\u0069d":{id}"#),
        format!(r#""previous_response_id":[{id}]"#),
    ] {
        let mut client = house.connect();
        let body = format!(r#"{{"model":"native/echo","input":"and?",{field}}}"#);
        client.post("/v1/responses", "authorization: Bearer second\r\n", &body);
        assert_eq!(client.reply().status, 400, "{body}");
    }
    assert_eq!(house.reached(), reached);
}

fn stored(house: &House, method: &str, path: &str) -> Reply {
    let mut client = house.connect();
    client.send(format!("{method} {path} HTTP/1.1\r\nhost: plane\r\nauthorization: Bearer first\r\n\r\n"));
    client.reply()
}
