//! Whether the arguments of a call, which come in pieces, are whole yet.

/// Reads along with the pieces of one JSON object and knows when its last brace has come. It does not judge whether the
/// text is JSON: after that brace nothing can follow that would make it better.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arguments {
    place: Place,
    /// Braces and brackets that are open.
    depth: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Inside,
    InString,
    Escaped,
    Whole,
    /// It began as no object does, and will never be whole.
    Other,
}

impl Arguments {
    pub(super) fn read(&mut self, piece: &str) {
        for byte in piece.bytes() {
            self.place = match (self.place, byte) {
                (Place::Whole | Place::Other, _) => return,
                (Place::Before, b'{') => {
                    self.depth = 1;
                    Place::Inside
                }
                (Place::Before, b' ' | b'\n' | b'\r' | b'\t') => Place::Before,
                (Place::Before, _) => Place::Other,
                (Place::InString, b'\\') => Place::Escaped,
                (Place::InString, b'"') => Place::Inside,
                (Place::InString | Place::Escaped, _) | (Place::Inside, b'"') => Place::InString,
                (Place::Inside, b'{' | b'[') => {
                    self.depth = self.depth.saturating_add(1);
                    Place::Inside
                }
                (Place::Inside, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 { Place::Whole } else { Place::Inside }
                }
                (Place::Inside, _) => Place::Inside,
            };
        }
    }

    pub(super) fn are_whole(self) -> bool {
        self.place == Place::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the text is cut, it is whole at its last byte and not before.
    #[test]
    fn the_last_brace_makes_them_whole() {
        for text in [r"{}", r#" {"a": "}\"\\", "b": [{"c": 1}, []]}"#, r#"{"é{": "\\"}"#] {
            let mut arguments = Arguments::default();
            let last = text.len() - 1;
            for (place, character) in text.char_indices() {
                assert!(!arguments.are_whole(), "{text} at {place}");
                arguments.read(character.encode_utf8(&mut [0; 4]));
                assert_eq!(arguments.are_whole(), place == last, "{text} at {place}");
            }
        }
    }

    #[test]
    fn what_is_no_object_or_cut_off_is_never_whole() {
        for text in ["", "null", "}", "[]", "\"{}\"", r#"{"a": "}"#, r#"{"a": {}"#, r#"{"a\": {}}"#] {
            let mut arguments = Arguments::default();
            arguments.read(text);
            assert!(!arguments.are_whole(), "{text}");
        }
    }
}
