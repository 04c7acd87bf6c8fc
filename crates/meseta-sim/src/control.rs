//! What tests ask the simulator about itself, and tell it: everything below `/sim/`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use serde_json::json;

use crate::delivery::Delivery;
use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::faults::Faults;
use crate::handle::{House, respond};
use crate::record::MOST;
use crate::route::parameter;
use crate::script::Script;

/// The answer to a request below `/sim/`. `near` is a client on this machine.
pub fn control(house: &House, method: &Method, target: &Uri, near: bool, body: &[u8]) -> Response<Delivery> {
    let path = target.path();
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
            let keep = parameter(target.query(), "keep").map(str::parse);
            if let Ok(keep) = keep.transpose() {
                house.recorder.clear(keep);
                json_answer(b"[]".to_vec())
            } else {
                let message = format!("The parameter keep is how many requests to keep, at most {MOST}.");
                refusal(&Failure::request(None, message))
            }
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
        ("/sim/faults", "GET") => {
            json_answer(serde_json::to_vec(house.faults().ordered()).unwrap_or_default())
        }
        ("/sim/faults", "PUT") => match Faults::parse(&String::from_utf8_lossy(body)) {
            Ok(faults) => {
                let answer = json_answer(serde_json::to_vec(faults.ordered()).unwrap_or_default());
                house.break_down(Arc::new(faults));
                answer
            }
            Err(error) => refusal(&Failure::request(None, error.to_string())),
        },
        ("/sim/faults", "DELETE") => {
            house.break_down(Arc::default());
            json_answer(serde_json::to_vec(house.faults().ordered()).unwrap_or_default())
        }
        ("/sim/faults", _) => not_allowed("GET, PUT, DELETE"),
        ("/sim/requests", _) => not_allowed("GET, DELETE"),
        ("/sim/script", _) => not_allowed("GET, PUT"),
        _ => {
            let message = "There is /sim/stats, /sim/requests, /sim/script and /sim/faults.".to_owned();
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
