//! Continuing a stored response: its items become the beginning of the next input.

use std::borrow::Cow;

use crate::json::Json;
use crate::object;

/// The input of a request as a list of items; a string is a message of the user's.
pub fn input_items<'a>(request: &Json<'a>) -> Vec<Json<'a>> {
    match request.get("input") {
        Some(Json::Array(items)) => items.clone(),
        Some(Json::String(text)) => vec![object! {
            "type" => "message",
            "role" => "user",
            "content" => vec![object! { "type" => "input_text", "text" => text.clone() }],
        }],
        _ => Vec::new(),
    }
}

/// The items of a response object, fit to be input: an answer says null where input must be silent.
pub fn output_items<'a>(answer: &Json<'a>) -> Vec<Json<'a>> {
    let items = answer.get("output").and_then(Json::as_array).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| match item {
            Json::Object(fields) => {
                Some(Json::Object(fields.iter().filter(|(_, value)| !value.is_null()).cloned().collect()))
            }
            _ => None,
        })
        .collect()
}

/// The request with the whole conversation in its input instead of the id of the response that it continues.
pub fn with_history<'a>(request: &Json<'a>, mut history: Vec<Json<'a>>) -> Json<'a> {
    let Json::Object(fields) = request else { return request.clone() };
    history.extend(input_items(request));
    let mut input = Some(Json::Array(history));
    let mut whole = Vec::with_capacity(fields.len() + 1);
    for (key, value) in fields {
        match key.as_ref() {
            "previous_response_id" => {}
            // The last of two equal keys counts, and it was read above.
            "input" => whole.extend(input.take().map(|input| (key.clone(), input))),
            _ => whole.push((key.clone(), value.clone())),
        }
    }
    whole.extend(input.take().map(|input| (Cow::Borrowed("input"), input)));
    Json::Object(whole)
}
