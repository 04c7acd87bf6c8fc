//! A checked look at a request: every value knows where it is, so that a mistake can be named by its place.

use serde_json::{Map, Value};

/// No list of a request has more entries than this: each is given its path.
const MOST_ENTRIES: usize = 10_000;

/// A value and its path, in the form `messages.0.content`.
#[derive(Clone, Debug)]
pub struct At<'a> {
    pub path: String,
    pub value: &'a Value,
    /// Keys may be written `like_this` instead of `likeThis`.
    snake: bool,
}

/// What is wrong, and where. Each provider has its own words for it.
#[derive(Debug, PartialEq)]
pub struct Wrong {
    pub path: String,
    pub problem: Problem,
}

#[derive(Debug, PartialEq)]
pub enum Problem {
    Missing,
    /// What was expected, and what was there.
    Type(&'static str, &'static str),
    Unknown,
    Said(String),
}

impl<'a> At<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value, snake: false }
    }

    pub fn snake(value: &'a Value) -> Self {
        Self { snake: true, ..Self::root(value) }
    }

    pub fn wrong(&self, message: impl Into<String>) -> Wrong {
        self.problem(Problem::Said(message.into()))
    }

    fn problem(&self, problem: Problem) -> Wrong {
        Wrong { path: self.path.clone(), problem }
    }

    fn below(&self, key: &str, value: &'a Value) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{dot}{key}", self.path), value, snake: self.snake }
    }

    fn expected(&self, expected: &'static str) -> Wrong {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() => "a decimal",
            Value::Number(_) => "an integer",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.problem(Problem::Type(expected, found))
    }

    pub fn object(&self) -> Result<&'a Map<String, Value>, Wrong> {
        self.value.as_object().ok_or_else(|| self.expected("an object"))
    }

    /// The value at a key; null is as good as absent.
    pub fn find(&self, key: &str) -> Result<Option<At<'a>>, Wrong> {
        let object = self.object()?;
        let found = object.get(key).or_else(|| self.snake.then(|| object.get(&snake(key))).flatten());
        Ok(found.filter(|value| !value.is_null()).map(|value| self.below(key, value)))
    }

    pub fn need(&self, key: &str) -> Result<At<'a>, Wrong> {
        self.find(key)?.ok_or_else(|| self.below(key, &Value::Null).problem(Problem::Missing))
    }

    /// Refuses keys that are not among these.
    pub fn only(&self, known: &[&str]) -> Result<(), Wrong> {
        let is_known = |key: &str| {
            known.iter().any(|name| *name == key || (self.snake && key.contains('_') && snake(name) == key))
        };
        match self.object()?.iter().find(|(key, _)| !is_known(key)) {
            Some((key, value)) => Err(self.below(key, value).problem(Problem::Unknown)),
            None => Ok(()),
        }
    }

    pub fn list(&self) -> Result<Vec<At<'a>>, Wrong> {
        let list = self.value.as_array().ok_or_else(|| self.expected("an array"))?;
        if list.len() > MOST_ENTRIES {
            return Err(self.wrong(format!("the array has more than {MOST_ENTRIES} entries")));
        }
        Ok(list.iter().enumerate().map(|(index, value)| self.below(&index.to_string(), value)).collect())
    }

    /// The list at a key, empty if there is none.
    pub fn list_at(&self, key: &str) -> Result<Vec<At<'a>>, Wrong> {
        self.find(key)?.map_or(Ok(Vec::new()), |list| list.list())
    }

    pub fn text(&self) -> Result<&'a str, Wrong> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    pub fn text_at(&self, key: &str) -> Result<Option<&'a str>, Wrong> {
        self.find(key)?.map(|at| at.text()).transpose()
    }

    pub fn flag_at(&self, key: &str) -> Result<Option<bool>, Wrong> {
        let flag = |at: At<'a>| at.value.as_bool().ok_or_else(|| at.expected("a boolean"));
        self.find(key)?.map(flag).transpose()
    }

    /// A whole number that is not too small.
    pub fn whole_at(&self, key: &str, least: u64) -> Result<Option<u64>, Wrong> {
        let Some(at) = self.find(key)? else { return Ok(None) };
        if !at.value.is_i64() && !at.value.is_u64() {
            return Err(at.expected("an integer"));
        }
        match at.value.as_u64().filter(|number| *number >= least) {
            Some(number) => Ok(Some(number)),
            None => Err(at.wrong(format!("must be greater than or equal to {least}"))),
        }
    }

    /// A number between two others, if it is there.
    pub fn number_at(&self, key: &str, least: f64, most: f64) -> Result<Option<f64>, Wrong> {
        let Some(at) = self.find(key)? else { return Ok(None) };
        let number = at.value.as_f64().ok_or_else(|| at.expected("a number"))?;
        if (least..=most).contains(&number) {
            return Ok(Some(number));
        }
        Err(at.wrong(format!("must be between {least} and {most}")))
    }

    /// A word that must be one of these.
    pub fn word(&self, known: &[&str]) -> Result<&'a str, Wrong> {
        let word = self.text()?;
        if known.contains(&word) {
            return Ok(word);
        }
        let known: Vec<String> = known.iter().map(|name| format!("'{name}'")).collect();
        let shown: String = word.chars().take(80).collect();
        Err(self.wrong(format!("Invalid value: '{shown}'. Supported values are: {}.", known.join(", "))))
    }
}

fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

/// `messages.0.content` as `messages[0].content`.
pub fn bracketed(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 4);
    for part in path.split('.') {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push_str(&format!("[{part}]"));
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mistake_is_named_by_its_place() {
        let value = json!({"a": [{"b": 1, "deep_key": "x", "c": null}]});
        let root = At::root(&value);
        let entry = root.need("a").expect("there").list().expect("a list").remove(0);
        assert_eq!(bracketed(&entry.path), "a[0]");
        assert_eq!(entry.text_at("b").expect_err("no text").path, "a.0.b");
        assert_eq!(entry.need("c").expect_err("null").problem, Problem::Missing);
        assert_eq!(entry.only(&["b", "c", "deepKey"]).expect_err("unknown").path, "a.0.deep_key");
        assert!(entry.find("deepKey").expect("an object").is_none());
        let lenient = At::snake(&value).need("a").expect("there").list().expect("a list").remove(0);
        assert_eq!(lenient.text_at("deepKey"), Ok(Some("x")));
        assert_eq!(lenient.only(&["b", "c", "deepKey"]), Ok(()));
        let long = Value::Array(vec![Value::Null; MOST_ENTRIES + 1]);
        assert!(At::root(&long).list().is_err());
        assert!(root.whole_at("a", 0).is_err() && entry.whole_at("b", 2).is_err());
        assert_eq!(entry.number_at("b", 0.0, 1.0), Ok(Some(1.0)));
    }
}
