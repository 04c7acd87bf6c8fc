//! To which session a request belongs: the one that its client names, or the one that its opening words make.

use http::{HeaderMap, HeaderName};
use ring::digest::{Context, SHA256};

use crate::document::hex;

/// Ours, and Plano's name for the same. Ours wins.
const EXPLICIT: [HeaderName; 2] =
    [HeaderName::from_static("x-meseta-session"), HeaderName::from_static("x-model-affinity")];

const CACHE: HeaderName = HeaderName::from_static("x-plano-cache");

/// In whose name a request comes. Sessions of one tenant are never those of another, whatever a client calls them: what
/// stands for the tenant is a part of every key, and a name in a header is never taken for the owner of a listener's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenant<'a> {
    /// Of the listener's key that the request came with.
    Key(&'a str),
    /// As a header says, on a listener that asks for no key and therefore believes its callers.
    Header(&'a [u8]),
    /// All callers share one.
    Nobody,
}

impl<'a> Tenant<'a> {
    /// `key` is the tenant of the listener's key, if it asks for keys; `header` is the configured `tenant_header`.
    pub fn of(key: Option<&'a str>, header: Option<&str>, headers: &'a HeaderMap) -> Tenant<'a> {
        if let Some(tenant) = key {
            return Tenant::Key(tenant);
        }
        match header.and_then(|name| headers.get(name)).map(http::HeaderValue::as_bytes) {
            Some(name) if !name.is_empty() => Tenant::Header(name),
            _ => Tenant::Nobody,
        }
    }

    /// What stands for the tenant outside this process, where its name has no business.
    pub fn scope(self) -> Scope {
        let (kind, name): (&[u8], &[u8]) = match self {
            Tenant::Key(name) => (b"key", name.as_bytes()),
            Tenant::Header(name) => (b"header", name),
            Tenant::Nobody => (b"nobody", b""),
        };
        Scope(front(&digest(&[b"tenant", kind, name])))
    }
}

/// A digest of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope([u8; 16]);

impl Scope {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

/// A session, by a digest of its tenant and its name: the same in every replica, and one that nobody can aim at another
/// tenant's, since that would take a second text with the same SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub scope: Scope,
    digest: [u8; 16],
    /// Named by the client, not made from its words.
    pub explicit: bool,
}

impl Session {
    /// The session that the client names.
    pub fn explicit(tenant: Tenant<'_>, headers: &HeaderMap) -> Option<Session> {
        let name = EXPLICIT.iter().find_map(|name| headers.get(name).filter(|value| !value.is_empty()))?;
        let scope = tenant.scope();
        Some(Session {
            scope,
            digest: front(&digest(&[b"explicit", scope.bytes(), name.as_bytes()])),
            explicit: true,
        })
    }

    pub(super) fn implicit(scope: Scope, digest: &[u8; 32]) -> Session {
        Session { scope, digest: front(digest), explicit: false }
    }

    /// For `select: session_hash`.
    pub fn hash(&self) -> u64 {
        u64::from_be_bytes(front(&self.digest))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.digest
    }
}

/// The digest alone: what a record shows of a session that has no name.
impl std::fmt::Display for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.explicit { "explicit:" } else { "implicit:" })?;
        formatter.write_str(&hex(&front::<_, 8>(&self.digest)))
    }
}

/// Whether the client wants none of what is done for prompt caches: no session of its opening words and no cache marks.
pub(crate) fn cache_is_off(headers: &HeaderMap) -> bool {
    headers.get(CACHE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"off"))
}

/// SHA-256 of texts that cannot be shifted into one another: each stands behind its length.
pub(super) fn digest(texts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text);
    }
    finish(context)
}

pub(super) fn finish(context: Context) -> [u8; 32] {
    front(context.finish().as_ref())
}

/// The first bytes; zeros where there are too few, which there never are of a digest.
pub(super) fn front<B: AsRef<[u8]> + ?Sized, const N: usize>(bytes: &B) -> [u8; N] {
    let mut front = [0; N];
    for (to, from) in front.iter_mut().zip(bytes.as_ref()) {
        *to = *from;
    }
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn our_name_of_a_session_wins_over_planos() {
        let both = headers(&[("x-model-affinity", "theirs"), ("x-meseta-session", "ours")]);
        let ours = headers(&[("x-meseta-session", "ours")]);
        let theirs = headers(&[("x-model-affinity", "ours")]);
        let unnamed = headers(&[("x-meseta-session", "")]);
        let of = |headers| Session::explicit(Tenant::Nobody, headers);
        assert_eq!(of(&both), of(&ours));
        assert_eq!(of(&ours), of(&theirs), "a session is one, by whatever header it is named");
        assert_eq!(of(&unnamed), None);
        assert!(of(&ours).is_some_and(|session| session.explicit));
    }

    #[test]
    fn tenants_never_meet() {
        let named = headers(&[("x-meseta-session", "s"), ("x-tenant", "acme")]);
        let tenants = [
            Tenant::of(Some("acme"), Some("x-tenant"), &named),
            Tenant::of(None, Some("x-tenant"), &named),
            Tenant::of(None, None, &named),
            Tenant::of(Some("acm"), None, &named),
        ];
        assert_eq!(tenants[..3], [Tenant::Key("acme"), Tenant::Header(b"acme"), Tenant::Nobody]);
        let sessions: std::collections::HashSet<_> =
            tenants.iter().map(|tenant| Session::explicit(*tenant, &named).unwrap()).collect();
        assert_eq!(sessions.len(), tenants.len());
    }

    #[test]
    fn texts_cannot_be_shifted_into_one_another() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"ab"]), digest(&[b"ab", b""]));
    }

    #[test]
    fn a_key_shows_nothing_of_its_tenant() {
        let named = headers(&[("x-meseta-session", "secret-session")]);
        let session = Session::explicit(Tenant::Key("acme"), &named).unwrap();
        let shown = format!("{session} {session:?} {}", session.scope);
        assert!(!shown.contains("acme") && !shown.contains("secret"), "{shown}");
    }
}
