//! Gemini's older schemas, a subset of `OpenAPI` 3.0 with type names in capitals, read as JSON Schema.

use std::borrow::Cow;

use crate::json::Json;

/// Keys whose value maps names to schemas, keys that hold a schema, and keys that hold a list of them.
const MAPS: [&str; 3] = ["properties", "$defs", "defs"];
const SCHEMAS: [&str; 2] = ["items", "additionalProperties"];
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];

/// The same schema in the words of JSON Schema. It is no deeper than the parser allows, so it may call itself.
pub(super) fn from_open_api<'j>(schema: &'j Json<'j>) -> Json<'j> {
    let Json::Object(fields) = schema else { return schema.clone() };
    let nullable = matches!(schema.get("nullable"), Some(Json::Bool(true)));
    let converted = fields.iter().filter(|(key, _)| key != "nullable").map(|(key, value)| {
        let name = key.as_ref();
        let value = match value {
            Json::String(word) if name == "type" => type_word(word, nullable),
            Json::Object(members) if MAPS.contains(&name) => Json::Object(
                members
                    .iter()
                    .map(|(name, member)| (Cow::Borrowed(name.as_ref()), from_open_api(member)))
                    .collect(),
            ),
            Json::Array(items) if LISTS.contains(&name) => {
                Json::Array(items.iter().map(from_open_api).collect())
            }
            value if SCHEMAS.contains(&name) => from_open_api(value),
            value => value.clone(),
        };
        (Cow::Borrowed(name), value)
    });
    Json::Object(converted.collect())
}

fn type_word<'j>(word: &'j str, nullable: bool) -> Json<'j> {
    let lower: Json<'j> = if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Json::from(word.to_ascii_lowercase())
    } else {
        Json::from(word)
    };
    if nullable { Json::Array(vec![lower, Json::from("null")]) } else { lower }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_those_of_json_schema() {
        let schema = Json::parse(
            r#"{"type":"OBJECT","properties":{"type":{"type":"STRING","nullable":true},"tags":{"type":"ARRAY","items":{"type":"STRING","enum":["A"]}}},"required":["type"]}"#,
        )
        .unwrap();
        assert_eq!(
            from_open_api(&schema).to_text(),
            r#"{"type":"object","properties":{"type":{"type":["string","null"]},"tags":{"type":"array","items":{"type":"string","enum":["A"]}}},"required":["type"]}"#
        );
    }
}
