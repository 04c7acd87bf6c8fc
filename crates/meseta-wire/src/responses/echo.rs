//! What a response repeats of its request.

use std::borrow::Cow;

use crate::json::Json;
use crate::object;

/// JSON text of the fields of a response that repeat the request, with the API's defaults where it is silent.
pub fn echo(request: &Json<'_>) -> String {
    Json::Object(fields(request)).to_text()
}

pub(super) fn fields<'r>(request: &Json<'r>) -> Vec<(Cow<'r, str>, Json<'r>)> {
    let value = |key: &str| request.get(key).filter(|value| !value.is_null()).cloned();
    let given = |key: &str| value(key).unwrap_or(Json::Null);
    let or = |key: &str, default: Json<'r>| value(key).unwrap_or(default);
    let within = |key: &str, defaults: Json<'r>| match (request.get(key), defaults) {
        (Some(Json::Object(fields)), Json::Object(defaults)) => {
            let mut merged: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).cloned().collect();
            for (name, default) in defaults {
                if !merged.iter().any(|(key, _)| *key == name) {
                    merged.push((name, default));
                }
            }
            Json::Object(merged)
        }
        (_, defaults) => defaults,
    };
    // `auto` only says who chooses; an answer names what was chosen.
    let tier = match value("service_tier") {
        Some(Json::String(tier)) if tier != "auto" => Json::String(tier),
        _ => "default".into(),
    };
    let text = object! { "format" => object! { "type" => "text" }, "verbosity" => "medium" };
    let reasoning = object! { "effort" => Json::Null, "summary" => Json::Null };
    let (temperature, top_p) = (or("temperature", one()), or("top_p", one()));
    let fields = [
        ("instructions", given("instructions")),
        ("max_output_tokens", given("max_output_tokens")),
        ("max_tool_calls", given("max_tool_calls")),
        ("parallel_tool_calls", or("parallel_tool_calls", true.into())),
        ("previous_response_id", given("previous_response_id")),
        ("prompt_cache_key", given("prompt_cache_key")),
        ("reasoning", within("reasoning", reasoning)),
        ("safety_identifier", given("safety_identifier")),
        ("service_tier", tier),
        ("store", or("store", true.into())),
        ("temperature", temperature),
        ("text", within("text", text)),
        ("tool_choice", or("tool_choice", "auto".into())),
        ("tools", or("tools", Json::Array(Vec::new()))),
        ("top_logprobs", or("top_logprobs", 0_u64.into())),
        ("top_p", top_p),
        ("truncation", or("truncation", "disabled".into())),
        ("user", given("user")),
        ("metadata", or("metadata", Json::Object(Vec::new()))),
    ];
    fields.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect()
}

fn one() -> Json<'static> {
    serde_json::Number::from_f64(1.0).map_or(Json::Null, Json::Number)
}
