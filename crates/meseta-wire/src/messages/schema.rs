//! JSON Schemas as Anthropic's structured outputs want them: objects closed, and nothing but the keywords that its
//! grammar knows. A constraint that it does not know is put into the description, so that the model still reads it.

use std::borrow::Cow;

use crate::json::Json;
use crate::object;

pub(super) struct Closed<'a> {
    pub schema: Json<'a>,
    /// Some constraint is described and no longer enforced.
    pub loosened: bool,
}

/// Schemas inside these are read by name, one for each key.
const MAPS: [&str; 3] = ["properties", "$defs", "definitions"];

/// Formats of strings that the grammar knows.
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"];

/// Keywords that the API refuses.
const REFUSED: [&str; 20] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "not",
    "if",
    "prefixItems",
];

pub(super) fn close<'a>(schema: &Json<'a>) -> Closed<'a> {
    let mut loosened = false;
    let schema = walk(schema, &mut loosened);
    Closed { schema, loosened }
}

// Goes no deeper than the reader of the JSON text, which bounds its nesting.
fn walk<'a>(schema: &Json<'a>, loosened: &mut bool) -> Json<'a> {
    let Json::Object(fields) = schema else { return schema.clone() };
    let mut out: Vec<(Cow<'a, str>, Json<'a>)> = Vec::with_capacity(fields.len() + 1);
    let mut described = String::new();
    for (key, value) in fields {
        let value = match (key.as_ref(), value) {
            ("additionalProperties", _) => continue,
            (name, Json::Object(schemas)) if MAPS.contains(&name) => Json::Object(
                schemas.iter().map(|(key, value)| (key.clone(), walk(value, loosened))).collect(),
            ),
            ("items", value) => walk(value, loosened),
            ("anyOf" | "allOf" | "oneOf", Json::Array(choices)) => {
                let choices = choices.iter().map(|choice| walk(choice, loosened)).collect();
                // Which of them fits is told by the grammar anyway; it has no "exactly one".
                let key = if key == "oneOf" { Cow::Borrowed("anyOf") } else { key.clone() };
                out.push((key, Json::Array(choices)));
                continue;
            }
            (name, value) if refused(name, value) => {
                described.push_str(if described.is_empty() { "" } else { ", " });
                described.push_str(&format!("{name}: {}", value.to_text()));
                continue;
            }
            (_, value) => value.clone(),
        };
        out.push((key.clone(), value));
    }
    if is_object(schema) {
        out.push((Cow::Borrowed("additionalProperties"), Json::Bool(false)));
    }
    if !described.is_empty() {
        *loosened = true;
    }
    describe(&mut out, described);
    Json::Object(out)
}

fn refused(key: &str, value: &Json<'_>) -> bool {
    match key {
        "format" => value.as_str().is_some_and(|format| format != "uuid" && !FORMATS.contains(&format)),
        "minItems" => {
            !matches!(value, Json::Number(number) if number.as_u64().is_some_and(|least| least <= 1))
        }
        _ => REFUSED.contains(&key),
    }
}

fn is_object(schema: &Json<'_>) -> bool {
    match schema.get("type") {
        Some(Json::String(kind)) => kind == "object",
        Some(Json::Array(kinds)) => kinds.iter().any(|kind| kind.as_str() == Some("object")),
        _ => schema.get("properties").is_some(),
    }
}

/// A tool's arguments are one object, and its schema must say so: on the top level the API takes no choice of schemas,
/// which is described instead.
pub(super) fn of_an_object(schema: Json<'_>) -> Json<'_> {
    let Json::Object(mut fields) = schema else {
        return object! { "type" => "object", "properties" => Json::Object(Vec::new()) };
    };
    let mut described = String::new();
    fields.retain(|(key, value)| {
        let keeps = !matches!(key.as_ref(), "anyOf" | "oneOf" | "allOf" | "type");
        if !keeps && key != "type" {
            described.push_str(if described.is_empty() { "" } else { ", " });
            described.push_str(&format!("{key}: {}", value.to_text()));
        }
        keeps
    });
    fields.insert(0, (Cow::Borrowed("type"), Json::from("object")));
    describe(&mut fields, described);
    Json::Object(fields)
}

/// Puts a text behind the description that a schema has.
fn describe(fields: &mut Vec<(Cow<'_, str>, Json<'_>)>, text: String) {
    if text.is_empty() {
        return;
    }
    let place = fields.iter().rposition(|(key, _)| key == "description");
    let text = match place.map(|place| fields.remove(place)) {
        Some((_, Json::String(description))) => format!("{description} ({text})"),
        _ => text,
    };
    fields.push((Cow::Borrowed("description"), Json::from(text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_objects_and_describes_what_the_grammar_does_not_know() {
        let text = r##"{"type":"object","properties":{"type":{"type":"string","minLength":2,"description":"A word"},
            "list":{"type":"array","minItems":1,"items":{"type":"object","properties":{},"additionalProperties":true}},
            "one":{"oneOf":[{"type":"integer","maximum":5},{"$ref":"#/$defs/d"}]}},
            "$defs":{"d":{"type":["object","null"],"properties":{"u":{"type":"string","format":"uuid"}}}}}"##;
        let closed = close(&Json::parse(text).unwrap());
        assert!(closed.loosened);
        let expected = concat!(
            r#"{"type":"object","properties":{"type":{"type":"string","description":"A word (minLength: 2)"},"#,
            r#""list":{"type":"array","minItems":1,"items":{"type":"object","properties":{},"additionalProperties":false}},"#,
            r##""one":{"anyOf":[{"type":"integer","description":"maximum: 5"},{"$ref":"#/$defs/d"}]}},"##,
            r#""$defs":{"d":{"type":["object","null"],"properties":{"u":{"type":"string","format":"uuid"}},"#,
            r#""additionalProperties":false}},"additionalProperties":false}"#
        );
        assert_eq!(closed.schema.to_text(), expected);
        let again = close(&closed.schema);
        assert_eq!((again.schema.to_text().as_str(), again.loosened), (expected, false));
    }

    #[test]
    fn the_top_of_a_tools_schema_is_an_object() {
        for (given, expected) in [
            ("null", r#"{"type":"object","properties":{}}"#),
            (r#"{"properties":{"a":{}}}"#, r#"{"type":"object","properties":{"a":{}}}"#),
            (
                r#"{"description":"D","anyOf":[{"required":["a"]}],"type":["object","null"]}"#,
                r#"{"type":"object","description":"D (anyOf: [{\"required\":[\"a\"]}])"}"#,
            ),
        ] {
            assert_eq!(of_an_object(Json::parse(given).unwrap()).to_text(), expected);
        }
    }
}
