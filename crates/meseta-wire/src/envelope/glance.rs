//! Values that are walked and checked but not kept; of some, a word is taken on the way.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json::Key;

/// The JSON type of a value that was walked and checked but not kept. Walking (rather than skipping) is what makes
/// `serde_json` apply its nesting limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    pub(super) fn article(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Boolean => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl<'de> Visitor<'de> for KindVisitor {
            type Value = Kind;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any JSON value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
                Ok(Kind::Boolean)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
                Ok(Kind::Number)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
                Ok(Kind::Number)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
                Ok(Kind::Number)
            }

            fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
                Ok(Kind::String)
            }

            fn visit_unit<E>(self) -> Result<Kind, E> {
                Ok(Kind::Null)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
                while seq.next_element::<Kind>()?.is_some() {}
                Ok(Kind::Array)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
                while map.next_entry::<IgnoredAny, Kind>()?.is_some() {}
                Ok(Kind::Object)
            }
        }
        deserializer.deserialize_any(KindVisitor)
    }
}

/// What is taken of a value on the walk through it. Whatever has another type than expected leaves no trace: it is for
/// the provider to refuse it.
pub(super) trait Glance: Default {
    fn text(&mut self, _text: &str) {}

    fn flag(&mut self, _flag: bool) {}

    fn count(&mut self, _count: u64) {}

    /// Walks the next item of an array; false behind the last one.
    fn item<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        Ok(seq.next_element::<Kind>()?.is_some())
    }

    /// Walks the value of a key.
    fn entry<'de, A: MapAccess<'de>>(&mut self, _key: &str, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<Kind>().map(|_| ())
    }
}

/// Reads any JSON value for what is taken of it.
#[derive(Default)]
pub(super) struct Look<T>(pub T);

impl<'de, T: Glance> Deserialize<'de> for Look<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LookVisitor(T::default())).map(Look)
    }
}

struct LookVisitor<T>(T);

impl<'de, T: Glance> Visitor<'de> for LookVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(mut self, flag: bool) -> Result<T, E> {
        self.0.flag(flag);
        Ok(self.0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(self.0)
    }

    fn visit_u64<E>(mut self, count: u64) -> Result<T, E> {
        self.0.count(count);
        Ok(self.0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(self.0)
    }

    fn visit_str<E>(mut self, text: &str) -> Result<T, E> {
        self.0.text(text);
        Ok(self.0)
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<T, A::Error> {
        while self.0.item(&mut seq)? {}
        Ok(self.0)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<T, A::Error> {
        while let Some(key) = map.next_key::<Key<'de>>()? {
            self.0.entry(&key.0, &mut map)?;
        }
        Ok(self.0)
    }
}

/// A whole number that is not negative.
#[derive(Default)]
pub(super) struct Count(pub Option<u64>);

impl Glance for Count {
    fn count(&mut self, count: u64) {
        self.0 = Some(count);
    }
}

/// Whether there is anything in the value: true, a text, a filled array or object.
#[derive(Default)]
pub(super) struct Filled(pub bool);

impl Glance for Filled {
    fn text(&mut self, text: &str) {
        self.0 = !text.is_empty();
    }

    fn flag(&mut self, flag: bool) {
        self.0 = flag;
    }

    fn item<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let more = seq.next_element::<Kind>()?.is_some();
        self.0 |= more;
        Ok(more)
    }

    fn entry<'de, A: MapAccess<'de>>(&mut self, _key: &str, map: &mut A) -> Result<(), A::Error> {
        self.0 = true;
        map.next_value::<Kind>().map(|_| ())
    }
}

/// `response_format` of chat completions, and what stands under `format` elsewhere: whether it asks for JSON.
#[derive(Default)]
pub(super) struct Format {
    pub json: bool,
}

impl Glance for Format {
    fn entry<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        #[derive(Default)]
        struct IsJson(bool);
        impl Glance for IsJson {
            fn text(&mut self, text: &str) {
                self.0 = text != "text";
            }
        }
        if key == "type" {
            self.json = map.next_value::<Look<IsJson>>()?.0.0;
            return Ok(());
        }
        map.next_value::<Kind>().map(|_| ())
    }
}

/// `text` of Responses and `output_config` of Messages, which hold a `format`.
#[derive(Default)]
pub(super) struct Output {
    pub json: bool,
}

impl Glance for Output {
    fn entry<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key == "format" {
            self.json = map.next_value::<Look<Format>>()?.0.json;
            return Ok(());
        }
        map.next_value::<Kind>().map(|_| ())
    }
}
