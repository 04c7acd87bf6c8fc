//! Who is asking: the listener's keys, and the names by which the caller wants this request to be known.

use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::admission::Tenant;
use crate::agents::{Agent, CONTEXT};
use crate::conversations::Caller as Scope;
use crate::error::{Code, Error};
use crate::snapshot::{Listener, ListenerAuth, ListenerKey, Snapshot};
use crate::stages::Stage;
use crate::trip::{Trip, now_ms};

/// Beats the other two, so that `authorization` stays free for a provider that is called with the client's own key.
pub(crate) const MESETA_KEY: HeaderName = HeaderName::from_static("x-meseta-key");
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(crate) const SESSION: HeaderName = HeaderName::from_static("x-meseta-session");
pub(crate) const RUN: HeaderName = HeaderName::from_static("x-meseta-run");
pub(crate) const TAGS: HeaderName = HeaderName::from_static("x-meseta-tags");
pub(crate) const TRACE: HeaderName = HeaderName::from_static("traceparent");
/// Plano's name for a session.
const AFFINITY: HeaderName = HeaderName::from_static("x-model-affinity");

/// Longest name of a session, run or tag list that is kept.
const LABEL_BYTES: usize = 256;

/// Who is asking.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Whose stored answers it sees.
    pub scope: Scope,
    /// The request's `authorization` or `x-api-key` is a key of this listener, so it must never reach a provider.
    pub credential_is_ours: bool,
    pub tenant: Tenant,
}

impl Caller {
    /// For what the plane asks of its own accord.
    pub fn nobody() -> Caller {
        Caller { scope: Scope::Listener("".into()), credential_is_ours: true, tenant: Tenant::default() }
    }

    /// Whose conversations with agents it goes on with: everybody who speaks for a tenant has the tenant's.
    pub fn conversations(&self) -> Scope {
        match &self.scope {
            Scope::Key(_) => Scope::Tenant(self.tenant.name.clone()),
            other => other.clone(),
        }
    }
}

pub(crate) fn identify(trip: &mut Trip, listener: &Listener, headers: &HeaderMap) -> Result<Caller, Error> {
    trip.enter(Stage::Identify);
    let mut tenant = Tenant::default();
    let snapshot = trip.snapshot.clone();
    let agent = find_agent(&snapshot, headers);
    let (scope, credential_is_ours) = match &listener.auth {
        ListenerAuth::None {} => {
            refuse_web_pages(headers)?;
            (Scope::Listener(listener.name.as_str().into()), agent.is_some())
        }
        ListenerAuth::Keys { keys } if agent.is_none() => {
            let key = check_key(headers, keys)?;
            tenant = Tenant {
                name: key.tenant.as_str().into(),
                priority: key.priority,
                concurrency: key.concurrency,
            };
            trip.ask.tenant = Some(tenant.name.clone());
            (Scope::Key(key.sha256.0), holds_our_key(headers, keys))
        }
        // The token changes with every start, and what the agent has stored is still its own.
        ListenerAuth::Keys { .. } => {
            let id = agent.map(|agent| agent.id.clone()).unwrap_or_default();
            (Scope::Listener(format!("agent/{id}").into()), true)
        }
    };
    if let Some(agent) = agent {
        tenant = Tenant { name: agent.tenant.clone(), ..Tenant::default() };
        trip.ask.tenant = Some(agent.tenant.clone());
        trip.ask.caller = Some(agent.id.clone());
    }
    trip.ask.session = label(headers, &SESSION)?;
    if trip.ask.session.is_none() {
        // A client that sends this one does not know our rules for labels.
        trip.ask.session = label(headers, &AFFINITY).ok().flatten();
    }
    trip.ask.run = label(headers, &RUN)?;
    trip.ask.tags = label(headers, &TAGS)?;
    trip.ask.trace = headers.get(TRACE).and_then(|value| value.to_str().ok()).and_then(trace_id);
    descend(trip, headers, &mut tenant);
    Ok(Caller { scope, credential_is_ours, tenant })
}

/// The agent whose token the request carries.
fn find_agent<'a>(snapshot: &'a Snapshot, headers: &HeaderMap) -> Option<&'a Agent> {
    // Pay only for what is used: where no agent has a token, no key is read for it.
    snapshot.agents().find(|agent| agent.token.is_some())?;
    let key = presented(headers)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, key);
    // Every token is compared, as with keys.
    let mut found = None;
    for agent in snapshot.agents() {
        if let Some(token) = &agent.token
            && bool::from(token.0.as_slice().ct_eq(digest.as_ref()))
        {
            found = Some(&**agent);
        }
    }
    found
}

/// Takes up the run that the request belongs to, if it proves that it belongs to one. A token tells who asks, so that
/// nobody can go on with what another agent was told.
fn descend(trip: &mut Trip, headers: &HeaderMap, tenant: &mut Tenant) {
    let told = headers.get(CONTEXT).and_then(|value| trip.worker.shared.context_key.verify(value, now_ms()));
    let Some(lineage) = told else { return };
    if trip.ask.caller.as_ref().is_some_and(|caller| lineage.agents.last() != Some(caller)) {
        return;
    }
    if let Some(name) = &lineage.tenant {
        *tenant = Tenant { name: name.clone(), ..tenant.clone() };
        trip.ask.tenant = Some(name.clone());
    }
    trip.ask.caller = trip.ask.caller.take().or_else(|| lineage.agents.last().cloned());
    trip.ask.session = trip.ask.session.take().or_else(|| lineage.session.clone());
    trip.ask.run = trip.ask.run.take().or_else(|| lineage.run.clone());
    if let Some(deadline) = lineage.deadline {
        let left = std::time::Duration::from_millis(deadline.saturating_sub(now_ms()));
        trip.hints.total = Some(trip.hints.total.map_or(left, |total| total.min(left)));
    }
    trip.lineage = Some(Box::new(lineage));
}

/// A browser sends Origin with every cross-site POST; a program does not. Without this a page on the web could use
/// the models of whoever visits it, since loopback is no border for a browser.
fn refuse_web_pages(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(ORIGIN) {
        return Err(Error::new(
            Code::RequestOriginRefused,
            "This listener asks for no key, so it does not answer web pages. \
             Give the listener keys (auth: {keys: [...]}) and send one of them.",
        ));
    }
    Ok(())
}

/// The request's key, which is one of the accepted ones.
fn check_key<'a>(headers: &HeaderMap, accepted: &'a [ListenerKey]) -> Result<&'a ListenerKey, Error> {
    let Some(key) = presented(headers) else {
        return Err(Error::new(
            Code::AuthMissing,
            "This listener asks for a key. Send it as `Authorization: Bearer KEY`.",
        ));
    };
    find(key, accepted).ok_or_else(|| {
        Error::new(Code::AuthInvalid, "The key of this request is not one of this listener's keys.")
    })
}

fn find<'a>(key: &[u8], accepted: &'a [ListenerKey]) -> Option<&'a ListenerKey> {
    let digest = ring::digest::digest(&ring::digest::SHA256, key);
    // Every accepted key is compared, whatever the earlier ones gave: time tells nothing about which one matched.
    let number = accepted.iter().zip(1_u64..).fold(0_u64, |found, (accepted, number)| {
        u64::conditional_select(&found, &number, accepted.sha256.0.as_slice().ct_eq(digest.as_ref()))
    });
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    accepted.get(at)
}

/// Whether what a provider would be handed holds a key of ours: some clients send theirs in every header they know.
fn holds_our_key(headers: &HeaderMap, accepted: &[ListenerKey]) -> bool {
    if !headers.contains_key(MESETA_KEY) {
        return true;
    }
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
    let keys = headers.get_all(API_KEY).iter().map(HeaderValue::as_bytes);
    bearers.chain(keys).any(|key| find(key, accepted).is_some())
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get(MESETA_KEY).or_else(|| headers.get(API_KEY)) {
        return Some(key.as_bytes());
    }
    bearer(headers.get(AUTHORIZATION)?.as_bytes())
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

fn label(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Error> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if text.len() <= LABEL_BYTES => Ok(Some(text.to_owned())),
        _ => Err(Error::new(
            Code::RequestInvalidHeader,
            format!("The header {name} must be at most {LABEL_BYTES} visible ASCII characters."),
        )
        .with_param(name.as_str().to_owned())),
    }
}

/// The trace id of a W3C `traceparent` (version-traceid-parentid-flags).
fn trace_id(value: &str) -> Option<String> {
    let mut parts = value.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let valid = version.len() == 2
        && trace.len() == 32
        && trace.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && trace.bytes().any(|byte| byte != b'0');
    valid.then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(key: &str) -> ListenerKey {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        ListenerKey {
            sha256: crate::document::Digest(digest.as_ref().try_into().unwrap()),
            tenant: key.to_owned(),
            priority: crate::document::Priority::Normal,
            concurrency: 0,
        }
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn takes_a_key_from_any_of_three_headers() {
        let accepted = [digest("first"), digest("second")];
        for headers in [
            headers("authorization", "Bearer second"),
            headers("authorization", "bearer  first"),
            headers("x-api-key", "first"),
            headers("x-meseta-key", "second"),
        ] {
            assert!(check_key(&headers, &accepted).is_ok());
        }
    }

    #[test]
    fn refuses_no_key_and_a_wrong_one() {
        let accepted = [digest("first")];
        let code = |headers: &HeaderMap| check_key(headers, &accepted).unwrap_err().code;
        assert_eq!(code(&HeaderMap::new()), Code::AuthMissing);
        assert_eq!(code(&headers("authorization", "Basic first")), Code::AuthMissing);
        assert_eq!(code(&headers("authorization", "Bearer firs")), Code::AuthInvalid);
        assert_eq!(code(&headers("authorization", "Bearer ")), Code::AuthInvalid);
    }

    #[test]
    fn reads_only_a_real_trace_id() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_id(&format!("00-{trace}-b7ad6b7169203331-01")).as_deref(), Some(trace));
        assert_eq!(trace_id("00-00000000000000000000000000000000-b7ad6b7169203331-01"), None);
        assert_eq!(trace_id("x"), None);
    }
}
