//! Arguments for a tool from its JSON Schema: always the same ones, and ones the schema accepts where it is plain.

use serde_json::{Map, Value, json};

/// Schemas nest and refer to each other; a call's arguments stay within this many values and levels.
const MOST_VALUES: u32 = 2_000;
const DEEPEST: u32 = 16;

/// The arguments of a call, always an object.
pub fn from_schema(schema: &Value) -> Value {
    let mut maker = Maker { root: schema, left: MOST_VALUES };
    let made = maker.make(schema, 0);
    if made.is_object() { made } else { json!({}) }
}

struct Maker<'a> {
    root: &'a Value,
    left: u32,
}

impl Maker<'_> {
    fn make(&mut self, schema: &Value, depth: u32) -> Value {
        if self.left == 0 || depth > DEEPEST {
            return Value::Null;
        }
        self.left -= 1;
        if let Some(given) = given(schema) {
            return given.clone();
        }
        let root = self.root;
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            return target.map_or(Value::Null, |target| self.make(target, depth + 1));
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = schema.get(choice).and_then(|choices| choices.get(0)) {
                return self.make(first, depth + 1);
            }
        }
        // Gemini writes types in capitals.
        match kind(schema).to_ascii_lowercase().as_str() {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => Value::String(string(schema)),
            "integer" => json!(bound(schema).map_or(1, ceil)),
            "number" => json!(bound(schema).unwrap_or(1.5)),
            "boolean" => Value::Bool(true),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &Value, depth: u32) -> Value {
        let mut object = Map::new();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if self.left == 0 {
                break;
            }
            object.insert(name.clone(), self.make(property, depth + 1));
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &Value, depth: u32) -> Value {
        let Some(items) = schema.get("items") else { return json!([]) };
        let length = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 64);
        (0..length).map(|_| self.make(items, depth + 1)).collect()
    }
}

/// A value that the schema names itself.
fn given(schema: &Value) -> Option<&Value> {
    let first = |key: &str| schema.get(key).and_then(|list| list.get(0));
    schema
        .get("const")
        .or_else(|| schema.get("default"))
        .or_else(|| first("enum"))
        .or_else(|| first("examples"))
}

fn kind(schema: &Value) -> &str {
    let named = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.and_then(Value::as_str),
    };
    named.unwrap_or(if schema.get("properties").is_some() { "object" } else { "string" })
}

fn string(schema: &Value) -> String {
    let text = match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2025-01-01",
        Some("time") => "12:00:00Z",
        Some("date-time") => "2025-01-01T12:00:00Z",
        Some("email") => "someone@example.com",
        Some("uri") => "https://example.com/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "text",
    };
    let length = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let least = length("minLength").unwrap_or(0).min(4096);
    let most = length("maxLength").unwrap_or(usize::MAX);
    text.chars().chain(std::iter::repeat_n('x', least.saturating_sub(text.len()))).take(most).collect()
}

fn bound(schema: &Value) -> Option<f64> {
    let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
    limit("minimum")
        .or_else(|| limit("exclusiveMinimum").map(|least| least + 1.0))
        .or_else(|| limit("maximum"))
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from float saturates, which is what is wanted")]
fn ceil(value: f64) -> i64 {
    value.ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_value() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["c", "f"]},
                "days": {"type": "integer", "minimum": 3},
                "exact": {"type": ["null", "boolean"]},
                "when": {"type": "string", "format": "date"},
                "ratio": {"type": "number"},
                "places": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/place"}},
                "other": {"anyOf": [{"type": "string", "minLength": 6}, {"type": "null"}]}
            },
            "$defs": {"place": {"properties": {"name": {"const": "Oslo"}}}}
        });
        let expected = json!({
            "city": "text", "unit": "c", "days": 3, "exact": true, "when": "2025-01-01", "ratio": 1.5,
            "places": [{"name": "Oslo"}, {"name": "Oslo"}], "other": "textxx"
        });
        assert_eq!(from_schema(&schema), expected);
    }

    #[test]
    fn a_schema_that_never_ends_is_cut_short() {
        let schema = json!({"type": "object", "properties": {
            "a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"type": "array", "minItems": 1e9, "items": {"$ref": "#"}}}});
        assert!(from_schema(&schema).to_string().len() < 200_000);
    }

    #[test]
    fn what_is_no_schema_gives_no_arguments() {
        for schema in [json!(null), json!([]), json!(5), json!({"$ref": "#"}), json!({"type": "string"})] {
            assert_eq!(from_schema(&schema), json!({}));
        }
    }
}
