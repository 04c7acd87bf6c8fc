//! Reading JSON of a known shape: typed access whose errors know the path of the value at fault.
//!
//! A path is built only when something is wrong, from the inside out, so that reading what is right costs nothing.

use std::borrow::Cow;
use std::fmt;

use serde_json::Number;

use crate::json::Json;

/// JSON, but not what the API says: the path of the value at fault (`messages[2].content[0].type`) and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub path: String,
    /// Continues a sentence that begins with the path: "must be a string, not a number".
    pub message: String,
}

impl Malformed {
    /// A complaint about the value that is being read; callers put the path in front.
    pub fn here(message: impl Into<String>) -> Malformed {
        Malformed { path: String::new(), message: message.into() }
    }

    pub fn at(key: &str, message: impl Into<String>) -> Malformed {
        Malformed::here(message).under(key)
    }

    #[must_use]
    pub fn under(mut self, key: &str) -> Malformed {
        // A hostile key must not make a long message.
        let key: String = key.chars().filter(|character| !character.is_control()).take(64).collect();
        self.path = match self.path.as_str() {
            "" => key,
            inner if inner.starts_with('[') => format!("{key}{inner}"),
            inner => format!("{key}.{inner}"),
        };
        self
    }

    #[must_use]
    pub fn index(mut self, index: usize) -> Malformed {
        self.path = match self.path.as_str() {
            "" => format!("[{index}]"),
            inner if inner.starts_with('[') => format!("[{index}]{inner}"),
            inner => format!("[{index}].{inner}"),
        };
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(formatter, "The document {}.", self.message)
        } else {
            write!(formatter, "`{}` {}.", self.path, self.message)
        }
    }
}

impl std::error::Error for Malformed {}

/// A JSON object that is being read. An absent key and a null mean the same, as they do to every API that we speak.
#[derive(Clone, Copy, Debug)]
pub struct Object<'j> {
    fields: &'j [(Cow<'j, str>, Json<'j>)],
}

fn wrong(expected: &str, found: &Json<'_>) -> Malformed {
    Malformed::here(format!("must be {expected}, not {}", found.kind()))
}

impl<'j> Object<'j> {
    pub fn of(json: &'j Json<'_>) -> Result<Object<'j>, Malformed> {
        match json {
            Json::Object(fields) => Ok(Object { fields }),
            other => Err(wrong("an object", other)),
        }
    }

    /// The value of a key, unless it is absent or null.
    pub fn get(&self, key: &str) -> Option<&'j Json<'j>> {
        let (_, value) = self.fields.iter().rev().find(|(name, _)| name == key)?;
        (!value.is_null()).then_some(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'j str, &'j Json<'j>)> + use<'j> {
        self.fields.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// Keys with a value that are not in `known`: what the caller does not read.
    pub fn others(
        &self,
        known: &'static [&'static str],
    ) -> impl Iterator<Item = (&'j str, &'j Json<'j>)> + use<'j> {
        self.iter().filter(move |(key, value)| !known.contains(key) && !value.is_null())
    }

    pub fn text(&self, key: &str) -> Result<Option<&'j str>, Malformed> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong("a string", other).under(key)),
        }
    }

    pub fn need_text(&self, key: &str) -> Result<&'j str, Malformed> {
        self.text(key)?.ok_or_else(|| Malformed::at(key, "is missing"))
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, Malformed> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong("true or false", other).under(key)),
        }
    }

    pub fn number(&self, key: &str) -> Result<Option<&'j Number>, Malformed> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Number(value)) => Ok(Some(value)),
            Some(other) => Err(wrong("a number", other).under(key)),
        }
    }

    /// A whole number that is not negative; `5.0` is one.
    pub fn count(&self, key: &str) -> Result<Option<u64>, Malformed> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = number.as_u64().or_else(|| {
            number
                .as_f64()
                .filter(|value| value.fract() == 0.0 && (0.0..9e15).contains(value))
                .map(|value| value as u64)
        });
        whole.map(Some).ok_or_else(|| Malformed::at(key, "must be a whole number that is not negative"))
    }

    pub fn object(&self, key: &str) -> Result<Option<Object<'j>>, Malformed> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => Object::of(value).map(Some).map_err(|error| error.under(key)),
        }
    }

    pub fn need_object(&self, key: &str) -> Result<Object<'j>, Malformed> {
        self.object(key)?.ok_or_else(|| Malformed::at(key, "is missing"))
    }

    pub fn array(&self, key: &str) -> Result<Option<&'j [Json<'j>]>, Malformed> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Array(items)) => Ok(Some(items)),
            Some(other) => Err(wrong("an array", other).under(key)),
        }
    }

    pub fn need_array(&self, key: &str) -> Result<&'j [Json<'j>], Malformed> {
        self.array(key)?.ok_or_else(|| Malformed::at(key, "is missing"))
    }

    /// Reads what is inside a key and puts the key in front of any complaint.
    pub fn inside<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'j Json<'j>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        self.get(key).map(|value| read(value).map_err(|error| error.under(key))).transpose()
    }

    /// Reads every item of an array; an absent key is an empty one.
    pub fn each(
        &self,
        key: &str,
        mut read: impl FnMut(&'j Json<'j>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for (index, item) in self.array(key)?.unwrap_or_default().iter().enumerate() {
            read(item).map_err(|error| error.index(index).under(key))?;
        }
        Ok(())
    }

    /// A string, or an array of strings.
    pub fn texts(&self, key: &str) -> Result<Vec<&'j str>, Malformed> {
        match self.get(key) {
            Some(Json::String(text)) => Ok(vec![text]),
            Some(Json::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    item.as_str().ok_or_else(|| wrong("a string", item).index(index).under(key))
                })
                .collect(),
            None => Ok(Vec::new()),
            Some(other) => Err(wrong("a string or an array of strings", other).under(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_name_the_path() {
        let json = Json::parse(r#"{"messages":[{"content":[{"type":5}]}],"n":1.5,"m":2.0}"#).unwrap();
        let object = Object::of(&json).unwrap();
        let error = object
            .each("messages", |message| {
                Object::of(message)?.each("content", |part| Object::of(part)?.need_text("type").map(|_| ()))
            })
            .unwrap_err();
        assert_eq!(error.to_string(), "`messages[0].content[0].type` must be a string, not a number.");
        assert_eq!(object.count("n").unwrap_err().path, "n");
        assert_eq!(object.count("m").unwrap(), Some(2));
        assert_eq!(
            Object::of(&Json::Null).unwrap_err().to_string(),
            "The document must be an object, not null."
        );
    }
}
