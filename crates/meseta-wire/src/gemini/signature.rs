//! Signatures in Gemini's documents. They are bytes in base64 there, so a foreign one with its mark is put into base64
//! as a whole: a client's SDK would refuse the mark's dots.

use std::borrow::Cow;

use crate::base64_text;
use crate::signature::{Family, MARK, Signature};

/// How every text begins that is the base64 of something that begins with the mark.
const MARKED: &str = "bWVzZXRhL";

pub(super) fn read(text: &str) -> Signature<'_> {
    if text.starts_with(MARKED) {
        let decoded = base64_text::decode(text).and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(decoded) = decoded.filter(|decoded| decoded.starts_with(MARK)) {
            return Signature::read(&decoded, Family::Gemini).into_owned();
        }
    }
    Signature::new(Family::Gemini, text)
}

pub(super) fn write<'s>(signature: &'s Signature<'_>) -> Cow<'s, str> {
    match signature.valid_for(Family::Gemini) {
        Some(own) => Cow::Borrowed(own),
        None => Cow::Owned(base64_text::encode(signature.write(Family::Gemini).as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_signature_is_base64_and_comes_back() {
        let foreign = Signature::new(Family::Anthropic, "EqoB.x==");
        let written = write(&foreign).into_owned();
        assert!(base64_text::decode(&written).is_some() && written.starts_with(MARKED));
        assert_eq!(read(&written), foreign);
        let own = Signature::new(Family::Gemini, "CiQB");
        assert_eq!(read(&write(&own)), own);
        assert_eq!(read("bWVzZXRhL"), Signature::new(Family::Gemini, "bWVzZXRhL"));
    }
}
