//! Signatures as this dialect writes them. A client sends them back as it got them, so what Anthropic did not sign must
//! be told from what it did: it refuses a thought or a citation with a signature of nobody's.

use std::borrow::Cow;

use crate::signature::{Family, Signature, UNSIGNED};

pub(super) fn read(text: &str) -> Option<Signature<'_>> {
    (!text.is_empty() && text != UNSIGNED).then(|| Signature::read(text, Family::Anthropic))
}

pub(super) fn write<'s>(signature: Option<&'s Signature<'_>>) -> Cow<'s, str> {
    signature.map_or(Cow::Borrowed(UNSIGNED), |signature| signature.write(Family::Anthropic))
}

/// The signature of a call, which this dialect has no field for: a thought without words before the call carries it.
pub(super) fn of_call<'s, 'a>(signature: Option<&'s Signature<'a>>) -> Option<&'s Signature<'a>> {
    signature.filter(|signature| signature.family != Family::Anthropic)
}
