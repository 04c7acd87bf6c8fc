//! What tests ask the simulator about itself, and tell it: everything below `/sim/`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::delivery::Delivery;
use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::handle::{House, respond};
use crate::script::Script;

/// The answer to a request below `/sim/`. `near` is a client on this machine.
pub fn control(house: &House, method: &Method, path: &str, near: bool, body: &[u8]) -> Response<Delivery> {
    if path == "/sim/stats" {
        return json_answer(serde_json::to_vec(&house.counters.read()).unwrap_or_default());
    }
    if !near {
        let message = "This is answered to clients on the same machine alone.";
        return refusal(&Failure { status: StatusCode::FORBIDDEN, ..Failure::request(None, message) });
    }
    match (path, method.as_str()) {
        ("/sim/requests", "GET") => {
            json_answer(serde_json::to_vec(&house.recorder.read()).unwrap_or_default())
        }
        ("/sim/requests", "DELETE") => {
            house.recorder.clear();
            json_answer(b"[]".to_vec())
        }
        ("/sim/script", "GET") => json_answer(house.script().text().as_bytes().to_vec()),
        ("/sim/script", "PUT") => {
            let text = String::from_utf8_lossy(body);
            match Script::parse(&text) {
                Ok(script) => {
                    let rules = script.rules();
                    house.play(Arc::new(script));
                    json_answer(json!({"rules": rules}).to_string().into_bytes())
                }
                Err(error) => refusal(&Failure::request(None, error.to_string())),
            }
        }
        ("/sim/requests", _) => not_allowed("GET, DELETE"),
        ("/sim/script", _) => not_allowed("GET, PUT"),
        _ => {
            let message = "There is /sim/stats, /sim/requests and /sim/script.".to_owned();
            refusal(&Failure::not_found(None, "unknown_url", message))
        }
    }
}

fn json_answer(bytes: Vec<u8>) -> Response<Delivery> {
    respond(StatusCode::OK, Delivery::uncounted(Bytes::from(bytes)))
}

fn refusal(failure: &Failure) -> Response<Delivery> {
    respond(failure.status, Delivery::uncounted(Dialect::OpenAi.body(failure, "")))
}

fn not_allowed(allowed: &'static str) -> Response<Delivery> {
    let message = format!("This answers {allowed} alone.");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = refusal(&Failure { status, ..Failure::request(None, message) });
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
