//! On whose behalf a request is made: the run that it belongs to, and the agents on the way to it.
//!
//! The plane tells an agent by the header `x-meseta-context`, signed, and an agent only has to send it on: so a run's
//! budget, deadline and depth cannot begin anew at a hop. A request without it begins a run of its own.
//!
//! The header is `payload.mac`, both base64url without padding; the payload is a JSON object, the mac HMAC-SHA256 over the
//! payload's text.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use ring::hmac;
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use crate::document::SigningKey;
use crate::log::RequestId;

pub(crate) const CONTEXT: HeaderName = HeaderName::from_static("x-meseta-context");

/// No run is longer than this, and so nobody needs an older header.
const OLDEST_MS: u64 = 24 * 60 * 60 * 1_000;
const MOST_BYTES: usize = 8 * 1024;

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The request with which the run began.
    pub root: RequestId,
    /// The request that this one is made for.
    pub parent: RequestId,
    /// Who works on the run on the way here, the first one first.
    pub agents: Vec<Arc<str>>,
    /// Milliseconds since 1970 at which nobody waits for the run any more.
    pub deadline: Option<u64>,
    pub tenant: Option<Arc<str>>,
    pub session: Option<String>,
    pub run: Option<String>,
}

/// What the header's payload holds.
#[derive(Deserialize, Serialize)]
struct Payload<'a> {
    /// The root and the parent, as numbers of the log.
    root: i64,
    parent: i64,
    #[serde(borrow)]
    agents: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    tenant: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    run: Option<Cow<'a, str>>,
    /// Milliseconds since 1970.
    issued: u64,
}

/// Signs what agents are told.
pub(crate) struct ContextKey(hmac::Key);

impl ContextKey {
    /// The key of the document, or one that nobody has had before.
    pub fn new(key: Option<&SigningKey>) -> Result<ContextKey, ring::error::Unspecified> {
        Ok(ContextKey(match key {
            Some(key) => hmac::Key::new(hmac::HMAC_SHA256, key.bytes()),
            None => hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?,
        }))
    }

    /// The header's value. `None` for one that would be too long to send.
    pub fn sign(&self, lineage: &Lineage, now_ms: u64) -> Option<HeaderValue> {
        let payload = Payload {
            root: lineage.root.0,
            parent: lineage.parent.0,
            agents: lineage.agents.iter().map(|id| Cow::Borrowed(&**id)).collect(),
            deadline: lineage.deadline,
            tenant: lineage.tenant.as_deref().map(Into::into),
            session: lineage.session.as_deref().map(Into::into),
            run: lineage.run.as_deref().map(Into::into),
            issued: now_ms,
        };
        let mut text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&payload).ok()?);
        let mac = hmac::sign(&self.0, text.as_bytes());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(mac, &mut text);
        (text.len() <= MOST_BYTES).then(|| HeaderValue::from_str(&text).ok())?
    }

    /// What a header says, if it is one of ours and not too old.
    pub fn verify(&self, value: &HeaderValue, now_ms: u64) -> Option<Lineage> {
        let text = value.to_str().ok().filter(|text| text.len() <= MOST_BYTES)?;
        let (payload, mac) = text.split_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        hmac::verify(&self.0, payload.as_bytes(), &mac).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let Payload { root, parent, agents, deadline, tenant, session, run, issued } =
            serde_json::from_slice(&payload).ok()?;
        if now_ms.abs_diff(issued) > OLDEST_MS {
            return None;
        }
        Some(Lineage {
            root: RequestId(root),
            parent: RequestId(parent),
            agents: agents.iter().map(|id| Arc::from(&**id)).collect(),
            deadline,
            tenant: tenant.map(|tenant| Arc::from(&*tenant)),
            session: session.map(Cow::into_owned),
            run: run.map(Cow::into_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage() -> Lineage {
        Lineage {
            root: RequestId(1 << 40),
            parent: RequestId((1 << 40) + 5),
            agents: vec!["planner".into(), "weather".into()],
            deadline: Some(2_000),
            tenant: Some("acme \"quoted\"".into()),
            session: Some("s1".to_owned()),
            run: None,
        }
    }

    #[test]
    fn reads_what_it_signed_and_nothing_else() {
        let key = ContextKey::new(None).unwrap();
        let header = key.sign(&lineage(), 1_000).unwrap();
        assert_eq!(key.verify(&header, 1_500), Some(lineage()));
        assert_eq!(key.verify(&header, 1_000 + OLDEST_MS + 1), None);
        assert_eq!(ContextKey::new(None).unwrap().verify(&header, 1_500), None);
        let text = header.to_str().unwrap();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            if let Ok(changed) = HeaderValue::from_bytes(&bytes) {
                let read = key.verify(&changed, 1_500);
                // The last characters of base64 may have bits that mean nothing.
                assert!(read.is_none() || at + 1 == text.len(), "at {at}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_header_of_ours() {
        let key = ContextKey::new(None).unwrap();
        for text in ["", ".", "a.b", "e30.", &"x".repeat(10_000)] {
            assert_eq!(key.verify(&HeaderValue::from_str(text).unwrap(), 0), None);
        }
    }
}
