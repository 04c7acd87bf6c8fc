//! Signatures of thoughts and calls, and whose they are.
//!
//! A provider signs what its model thought and accepts it back only with its own signature; another provider refuses
//! it. A conversation that changes providers must therefore know who signed what. In a client's dialect a foreign
//! signature is written `meseta.<family>.<signature>`; one without that mark is the dialect's own.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Who accepts a signature. Anthropic's are valid at Anthropic and at Bedrock alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Anthropic,
    OpenAi,
    Gemini,
}

impl Family {
    const ALL: [(Family, &'static str); 3] =
        [(Family::Anthropic, "anthropic"), (Family::OpenAi, "openai"), (Family::Gemini, "gemini")];

    fn name(self) -> &'static str {
        match self {
            Family::Anthropic => "anthropic",
            Family::OpenAi => "openai",
            Family::Gemini => "gemini",
        }
    }
}

/// What stands before a signature in a dialect that is not its own.
pub const MARK: &str = "meseta.";

/// Stands where a dialect demands a signature and there is none.
pub const UNSIGNED: &str = "meseta.none";

/// Made once: every request is searched.
static MARKS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));

/// Whether a string of a JSON text may begin with a mark, or be [`UNSIGNED`]. Text that only quotes one has a backslash before its quote.
pub fn is_marked_in(json: &[u8]) -> bool {
    MARKS.find_iter(json).any(|at| {
        let (before, rest) = json.split_at(at);
        let behind = rest.get(MARK.len()..).unwrap_or_default();
        let family = |name: &str| behind.strip_prefix(name.as_bytes()).is_some_and(|it| it.starts_with(b"."));
        before.ends_with(b"\"")
            && !before.ends_with(b"\\\"")
            && (Family::ALL.iter().any(|(_, name)| family(name)) || is_unsigned(rest))
    })
}

fn is_unsigned(json: &[u8]) -> bool {
    json.strip_prefix(UNSIGNED.as_bytes()).is_some_and(|behind| behind.starts_with(b"\""))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    pub family: Family,
    pub value: Cow<'a, str>,
}

impl<'a> Signature<'a> {
    pub fn new(family: Family, value: impl Into<Cow<'a, str>>) -> Signature<'a> {
        Signature { family, value: value.into() }
    }

    /// Reads a signature as it stands in a dialect whose own signatures are `own`'s.
    pub fn read(text: &'a str, own: Family) -> Signature<'a> {
        let marked = text.strip_prefix(MARK).and_then(|rest| {
            let (name, value) = rest.split_once('.')?;
            let (family, _) = Family::ALL.iter().find(|(_, known)| *known == name)?;
            Some(Signature::new(*family, value))
        });
        marked.unwrap_or_else(|| Signature::new(own, text))
    }

    /// Writes it for a dialect whose own signatures are `own`'s.
    pub fn write(&self, own: Family) -> Cow<'_, str> {
        if self.family == own {
            Cow::Borrowed(&self.value)
        } else {
            Cow::Owned(format!("{MARK}{}.{}", self.family.name(), self.value))
        }
    }

    /// The bare signature, if a provider of this family will take it.
    pub fn valid_for(&self, family: Family) -> Option<&str> {
        (self.family == family).then_some(&*self.value)
    }

    pub fn into_owned(self) -> Signature<'static> {
        Signature { family: self.family, value: Cow::Owned(self.value.into_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_signature_comes_back_as_what_it_was() {
        let signature = Signature::new(Family::Gemini, "abc.def==");
        let written = signature.write(Family::Anthropic);
        assert_eq!(written, "meseta.gemini.abc.def==");
        assert_eq!(Signature::read(&written, Family::Anthropic), signature);
        assert_eq!(signature.write(Family::Gemini), "abc.def==");
        assert_eq!(signature.valid_for(Family::Anthropic), None);
    }

    #[test]
    fn a_mark_is_found_where_a_string_begins_with_it() {
        for json in [r#"{"signature": "meseta.gemini.abc"}"#, r#"{"signature":"meseta.none"}"#] {
            assert!(is_marked_in(json.as_bytes()), "{json}");
        }
        for json in [
            r#"{"text": "see \"meseta.gemini.x\""}"#,
            r#"["meseta.yaml"]"#,
            r#"["a meseta.gemini.b"]"#,
            r#"["meseta.none of them", "meseta.none\"", "meseta.none"#,
            "",
        ] {
            assert!(!is_marked_in(json.as_bytes()), "{json}");
        }
    }

    #[test]
    fn what_only_looks_marked_is_the_dialects_own() {
        for text in ["", "meseta.", "meseta.x.y", "plain"] {
            assert_eq!(Signature::read(text, Family::OpenAi), Signature::new(Family::OpenAi, text));
        }
    }
}
