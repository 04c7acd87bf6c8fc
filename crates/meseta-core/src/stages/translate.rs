//! What the client asked, in the target's own words: address, headers, body. Pure; in the same dialect the body
//! passes byte for byte but for the model id and the usage option.

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    USER_AGENT,
};
use meseta_wire::edit::{self, Edits};

use crate::endpoint::Call;
use crate::snapshot::{CompiledAuth, Target};
use crate::stages::Stage;
use crate::stages::choose::Choice;
use crate::stages::identify::{API_KEY, Caller};
use crate::stages::read::Ask;
use crate::trip::Trip;

/// A request that can be put on a wire of either version.
pub(crate) struct Wire {
    pub call: Call,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The stream will hold a usage event that the client did not ask for.
    pub hide_usage: bool,
}

/// Client headers that may travel on to any provider: they describe the call, and none is a credential.
const FORWARDED: [HeaderName; 6] = [
    ACCEPT,
    USER_AGENT,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];
const FORWARDED_PREFIXES: [&str; 3] = ["openai-", "anthropic-", "x-stainless-"];

/// What no `forward_headers` pattern can let through: framing is ours to do, and our own key is nobody else's.
const NEVER_FORWARDED: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-meseta-key",
];

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("meseta/", env!("CARGO_PKG_VERSION")));

pub(crate) fn translate(trip: &mut Trip, ask: &Ask<'_>, choice: &Choice) -> Wire {
    trip.enter(Stage::Translate);
    let target = &choice.target;
    let ask_usage = ask.call == Call::Chat && ask.envelope.stream && target.ask_stream_usage;
    let edits = Edits { model: Some(&choice.model), ask_usage };
    let body = edit::apply(&ask.body, &ask.envelope, &edits).map_or_else(|| ask.body.clone(), Bytes::from);
    if let Some(attempt) = trip.attempt() {
        attempt.request_bytes = body.len() as u64;
    }
    let headers = headers(ask.headers, ask.caller, target);
    Wire { call: ask.call, headers, body, hide_usage: ask_usage && !ask.envelope.include_usage }
}

fn headers(client: &HeaderMap, caller: Caller, target: &Target) -> HeaderMap {
    let passthrough = matches!(target.auth, CompiledAuth::Passthrough);
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(HOST, target.host.clone());
    headers.insert(CONTENT_TYPE, JSON);
    // We read the answer on its way through; compression would hide it.
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    for (name, value) in client {
        let credential = *name == AUTHORIZATION || *name == API_KEY;
        let travels = if NEVER_FORWARDED.contains(&name.as_str()) {
            false
        } else if credential {
            passthrough && !caller.credential_is_ours
        } else {
            FORWARDED.contains(name)
                || FORWARDED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
                || target.forward_headers.iter().any(|pattern| pattern.matches(name))
        };
        // Which account a call is billed to goes with the credential: with our key, it is ours to say.
        let account = matches!(name.as_str(), "openai-organization" | "openai-project");
        if travels && (passthrough || !account) {
            headers.append(name, value.clone());
        }
    }
    headers.entry(USER_AGENT).or_insert(AGENT);
    if let CompiledAuth::Header(name, value) = &target.auth {
        headers.insert(name, value.clone());
    }
    for (name, value) in &target.headers {
        headers.insert(name, value.clone());
    }
    headers
}
