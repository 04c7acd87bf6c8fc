//! Thoughts and their signatures. Only Claude signs at Bedrock.

use std::borrow::Cow;

use crate::base64_text;
use crate::conversation::Thought;
use crate::signature::{Family, Signature};

/// Before a redacted thought that was not text before it was base64: it stands as it came.
const RAW: &str = "bedrock:";

pub fn thought<'a>(text: &'a str, signature: Option<&'a str>) -> Thought<'a> {
    Thought {
        id: None,
        text: text.into(),
        signature: signature
            .filter(|signature| !signature.is_empty())
            .map(|signature| Signature::read(signature, Family::Anthropic)),
        redacted: false,
    }
}

pub fn redacted(data: &str) -> Thought<'static> {
    Thought { id: None, text: Cow::Borrowed(""), signature: Some(redacted_signature(data)), redacted: true }
}

/// Converse has bytes where Anthropic has text: the bytes are that text, so that a thought may change between the two.
pub fn redacted_signature(data: &str) -> Signature<'static> {
    // What is not written as we would write it could not be given back as it came.
    let bytes = base64_text::decode(data).filter(|bytes| base64_text::encode(bytes) == data);
    match bytes.map(String::from_utf8) {
        Some(Ok(text)) => Signature::read(&text, Family::Anthropic).into_owned(),
        _ => Signature::new(Family::Anthropic, format!("{RAW}{data}")),
    }
}

/// The bytes of a redacted thought, as base64.
pub fn redacted_content(value: &str) -> Cow<'_, str> {
    match value.strip_prefix(RAW) {
        Some(data) => Cow::Borrowed(data),
        None => Cow::Owned(base64_text::encode(value.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_thought_is_anthropics_and_comes_back_as_it_was() {
        let data = base64_text::encode(b"EmwKAhgBEgy3va3p");
        let signature = redacted_signature(&data);
        assert_eq!(signature, Signature::new(Family::Anthropic, "EmwKAhgBEgy3va3p"));
        assert_eq!(redacted_content(&signature.value), data);
        for odd in ["/w==", "not base64", ""] {
            assert_eq!(redacted_content(&redacted_signature(odd).value), odd);
        }
    }
}
