//! JSON as models write it: with single or curly quotes, bare words, commas too many, and Python's words.

/// Deeper is no answer to a question for names.
const DEEPEST: usize = 8;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
    /// A number or a truth value: nothing that names a route.
    Other,
}

/// Reads the object or array that the text begins with, and tells where it ends.
pub(super) fn read(text: &str) -> Option<(Value, usize)> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    Some((value, reader.at))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.at += wanted.len_utf8();
        }
        is_next
    }

    /// Blanks, and those that were escaped once too often.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let escaped = rest.get(..2).is_some_and(|two| matches!(two, "\\n" | "\\r" | "\\t"));
            match (blank, escaped) {
                (0, false) => return,
                (0, true) => self.at += 2,
                (blank, _) => self.at += blank,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.skip();
        match self.peek()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            quote => match closing(quote) {
                Some(closing) => self.quoted(closing).map(Value::Text),
                None => self.bare(",]}\n").map(word),
            },
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.next()?;
        let mut fields = Vec::new();
        loop {
            self.skip();
            if self.take('}') {
                return Some(Value::Object(fields));
            }
            if self.take(',') {
                continue;
            }
            let key = match closing(self.peek()?) {
                Some(closing) => self.quoted(closing)?,
                None => self.bare(":,{}[]\"\n")?.to_owned(),
            };
            self.skip();
            if !self.take(':') {
                return None;
            }
            let value = self.value(depth + 1)?;
            fields.push((key, value));
            self.end_of_item('}')?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.next()?;
        let mut items = Vec::new();
        loop {
            self.skip();
            if self.take(']') {
                return Some(Value::Array(items));
            }
            if self.take(',') {
                continue;
            }
            let item = self.value(depth + 1)?;
            items.push(item);
            self.end_of_item(']')?;
        }
    }

    /// Behind an item there is a comma or the end.
    fn end_of_item(&mut self, end: char) -> Option<()> {
        self.skip();
        matches!(self.peek(), Some(next) if next == ',' || next == end).then_some(())
    }

    /// A text in quotes. A single quote within words is an apostrophe: only one that something can follow ends the text.
    fn quoted(&mut self, closing: char) -> Option<String> {
        self.next()?;
        let mut text = String::new();
        loop {
            match self.next()? {
                '\\' => match self.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'u' => text.push(self.unicode()),
                    other => text.push(other),
                },
                next if next == closing && (closing == '"' || self.may_end()) => return Some(text),
                next => text.push(next),
            }
        }
    }

    fn may_end(&self) -> bool {
        let rest = self.rest().trim_start();
        rest.is_empty() || rest.starts_with([',', ']', '}', ':']) || rest.starts_with("\\n")
    }

    /// Behind `\u`: one character, of two escapes where it takes two.
    fn unicode(&mut self) -> char {
        let Some(first) = self.hex() else { return char::REPLACEMENT_CHARACTER };
        if let Some(character) = char::from_u32(first) {
            return character;
        }
        let before = self.at;
        if self.take('\\')
            && self.take('u')
            && let Some(second @ 0xdc00..=0xdfff) = self.hex()
            && let 0xd800..=0xdbff = first
        {
            let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        self.at = before;
        char::REPLACEMENT_CHARACTER
    }

    fn hex(&mut self) -> Option<u32> {
        let digits =
            self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let value = u32::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(value)
    }

    /// Words without quotes, up to one of `ends`.
    fn bare(&mut self, ends: &str) -> Option<&str> {
        let from = self.at;
        let rest = self.rest();
        let length = rest.find(|character| ends.contains(character)).unwrap_or(rest.len());
        self.at += length;
        let text = self.text.get(from..from + length)?.trim();
        (!text.is_empty()).then_some(text)
    }
}

fn closing(quote: char) -> Option<char> {
    match quote {
        '"' | '\'' | '`' => Some(quote),
        '“' | '”' => Some('”'),
        '‘' | '’' => Some('’'),
        _ => None,
    }
}

fn word(text: &str) -> Value {
    match text {
        "null" | "None" | "nil" => Value::Null,
        "true" | "false" | "True" | "False" => Value::Other,
        text if text.parse::<f64>().is_ok() => Value::Other,
        text => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Value::Other,
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::Array(items.iter().map(value).collect()),
            serde_json::Value::Object(fields) => {
                Value::Object(fields.iter().map(|(key, item)| (key.clone(), value(item))).collect())
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(DEEPEST + 1)).is_some());
        assert!(read(&nested(DEEPEST + 2)).is_none());
        assert!(read(&"[".repeat(100_000)).is_none());
    }

    #[test]
    fn escapes_are_those_of_json() {
        let (value, end) = read(r#"["\u00e9\ud83d\ude00\n\"\\\/\ud800\uzz'"] x"#).unwrap();
        assert_eq!(value, Value::Array(vec![Value::Text("é😀\n\"\\/\u{fffd}\u{fffd}zz'".to_owned())]));
        assert_eq!(end, r#"["\u00e9\ud83d\ude00\n\"\\\/\ud800\uzz'"]"#.len());
    }

    proptest! {
        #[test]
        fn correct_json_is_read_as_it_is(
            keys in prop::collection::vec(".{0,8}", 0..4),
            texts in prop::collection::vec(".{0,12}", 0..4),
        ) {
            let object: serde_json::Map<String, serde_json::Value> =
                keys.iter().map(|key| (key.clone(), serde_json::json!([texts, {"n": 1.5, "x": null}]))).collect();
            let json = serde_json::Value::Object(object);
            let text = json.to_string();
            prop_assert_eq!(read(&text), Some((value(&json), text.len())));
        }
    }
}
