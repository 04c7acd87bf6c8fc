//! A target of the snapshot, compiled: a model at a provider, ready to be called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};
use meseta_wire::dialect::{Destination, Dialect, Quirks};

use crate::document::{
    HttpVersion, Operation, Price, ProbeSettings, PromptCache, SnapshotError, TargetAuth, TargetDocument,
    TargetTimeouts, refuse,
};
use crate::health::{self, Health, TargetHealth};
use crate::sigv4::Signer;

pub struct Target {
    pub name: Arc<str>,
    pub provider: Arc<str>,
    /// `None` for a wildcard: the client's own id is sent.
    pub model: Option<Arc<str>>,
    /// Never empty.
    pub dialects: Vec<Dialect>,
    pub origin: Origin,
    addresses: [Option<Endpoint>; Operation::COUNT],
    /// The list of models, which every provider but Bedrock has below the same base.
    pub models: Option<Arc<Address>>,
    pub host: HeaderValue,
    /// Never empty.
    pub credentials: Vec<CompiledAuth>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub default_headers: Vec<(HeaderName, HeaderValue)>,
    pub forward_headers: Vec<HeaderPattern>,
    pub ask_stream_usage: bool,
    max_output_tokens: u64,
    quirks: Quirks,
    pub timeouts: Timeouts,
    /// How it does at present. Shared by all snapshots that have a target of this name.
    pub(crate) health: Arc<TargetHealth>,
    pub(crate) health_settings: Arc<health::Settings>,
    /// The same on every replica and after a reload.
    pub(crate) name_hash: u64,
    pub probe: Option<ProbeSettings>,
    pub price: Option<Price>,
    pub prompt_cache: PromptCache,
}

/// Where connections are shared: two targets with the same origin use the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub tls: bool,
    pub host: Arc<str>,
    pub port: u16,
    pub version: HttpVersion,
}

/// One endpoint of a target, in both forms that HTTP wants.
#[derive(Clone, Debug)]
pub struct Address {
    /// `/v1/chat/completions`, for HTTP/1.1.
    pub path: Uri,
    /// `https://host/v1/chat/completions`, for HTTP/2.
    pub absolute: Uri,
}

/// Where an operation is: known beforehand, or only with the request's model.
enum Endpoint {
    Fixed(Arc<Address>),
    PerModel(Template),
}

struct Template {
    scheme: Scheme,
    authority: Authority,
    /// Path and query, with [`MODEL`] in it.
    text: String,
}

/// What stands for the model id in a path.
const MODEL: &str = "{model}";

pub enum CompiledAuth {
    None,
    Passthrough,
    Header(HeaderName, HeaderValue),
    Sigv4(Box<Signer>),
}

/// A header name, or a prefix of names (`x-sim-*`).
pub enum HeaderPattern {
    Exact(HeaderName),
    Prefix(String),
}

impl HeaderPattern {
    fn parse(text: &str) -> Result<HeaderPattern, http::header::InvalidHeaderName> {
        match text.strip_suffix('*') {
            Some(prefix) => Ok(HeaderPattern::Prefix(prefix.to_owned())),
            None => text.parse().map(HeaderPattern::Exact),
        }
    }

    pub fn matches(&self, name: &HeaderName) -> bool {
        match self {
            HeaderPattern::Exact(exact) => exact == name,
            HeaderPattern::Prefix(prefix) => name.as_str().starts_with(prefix.as_str()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub connect: Duration,
    pub first_token: Duration,
    pub idle: Duration,
    pub total: Duration,
    pub by_client: ByClient,
}

/// Which of the limits are the client's own: the target is not late when one of these is over.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each limit")]
pub struct ByClient {
    pub connect: bool,
    pub first_token: bool,
    pub idle: bool,
    pub total: bool,
}

impl Timeouts {
    pub fn is_shorter_than(&self, other: &Timeouts) -> bool {
        self.connect < other.connect
            || self.first_token < other.first_token
            || self.idle < other.idle
            || self.total < other.total
    }
}

/// Headers that say where a message ends or how a connection goes on. No configuration may write them.
const FRAMING_HEADERS: [&str; 8] =
    ["connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

impl Target {
    /// Dollars for a million tokens of input.
    pub fn input_price(&self) -> Option<f64> {
        self.price.as_ref().and_then(|price| price.input)
    }

    /// Whether a client of this dialect can be served without a translation.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        self.dialects.contains(&dialect)
    }

    /// An instance of an agent, and no model.
    pub fn is_agent(&self) -> bool {
        &*self.provider == "agent"
    }

    /// What went wrong with a call, and with whose. Messages speak of providers, and an agent is none.
    pub fn tell(&self, wrong: &str) -> String {
        match wrong.strip_prefix("the provider") {
            Some(rest) if self.is_agent() => format!("{}: the agent{rest}", self.name),
            _ => format!("{}: {wrong}", self.name),
        }
    }

    pub fn offers(&self, operation: Operation) -> bool {
        self.addresses[operation as usize].is_some()
    }

    /// Where to send an operation; `None` when the target does not offer it.
    pub fn address(&self, operation: Operation, model: &str) -> Option<Arc<Address>> {
        match self.addresses[operation as usize].as_ref()? {
            Endpoint::Fixed(address) => Some(address.clone()),
            // An escaped model id cannot make a path that is none, so this never hides an error.
            Endpoint::PerModel(template) => template.fill(model).ok().map(Arc::new),
        }
    }

    pub fn destination<'a>(&'a self, model: &'a str) -> Destination<'a> {
        Destination { model, max_output_tokens: self.max_output_tokens, quirks: &self.quirks }
    }

    /// Whether calls carry the client's own credential, so that limits and refusals are the client's too.
    pub fn is_passthrough(&self) -> bool {
        matches!(self.credentials.first(), Some(CompiledAuth::Passthrough))
    }

    /// Whether what it says of limits and credentials is about the one client that asks: it is called with the client's own
    /// credential, or it is an agent, which knows its users by what they send it.
    pub fn speaks_of_one_client(&self) -> bool {
        self.is_passthrough() || self.is_agent()
    }

    /// One of the credentials; the first for a number that a reload has taken away.
    pub fn credential(&self, number: usize) -> &CompiledAuth {
        const NONE: &CompiledAuth = &CompiledAuth::None;
        self.credentials.get(number).or(self.credentials.first()).unwrap_or(NONE)
    }

    pub(crate) fn compile(document: TargetDocument, health: &Health) -> Result<Target, SnapshotError> {
        let place = format!("target {}", document.name);
        let wrong =
            |what: &str, error: &dyn std::fmt::Display| SnapshotError(format!("{place}: {what}: {error}"));
        let base: Uri = document.base_url.parse().map_err(|error| wrong("base_url", &error))?;
        let (Some(scheme), Some(authority)) = (base.scheme().cloned(), base.authority().cloned()) else {
            return refuse(format!("{place}: base_url has no scheme or no host"));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return refuse(format!("{place}: base_url is neither http nor https"));
        }
        if authority.as_str().contains('@') || base.query().is_some() {
            return refuse(format!("{place}: base_url holds credentials or a query"));
        }
        let tls = scheme == Scheme::HTTPS;
        if document.dialects.is_empty() {
            return refuse(format!("{place}: dialects is empty"));
        }
        let template = |path: &str| Template {
            scheme: scheme.clone(),
            authority: authority.clone(),
            text: join(base.path(), path, &document.query),
        };
        let addresses = endpoints(&document, &template).map_err(|error| wrong("paths", &error))?;
        let listing = template("/models");
        let models = (document.dialects[0] != Dialect::BedrockConverse)
            .then(|| listing.address(&listing.text).map(Arc::new).map_err(|error| wrong("base_url", &error)))
            .transpose()?;
        for dialect in &document.dialects {
            if addresses[Operation::conversation(*dialect, false) as usize].is_none() {
                return refuse(format!("{place}: paths has none for the dialect {}", dialect.as_str()));
            }
        }
        let mut headers = read_headers(&place, "headers", &document.headers)?;
        let default_headers = read_headers(&place, "default_headers", &document.default_headers)?;
        let host = match headers.iter().position(|(name, _)| *name == http::header::HOST) {
            Some(at) => headers.swap_remove(at).1,
            None => HeaderValue::from_str(authority.as_str()).map_err(|error| wrong("base_url", &error))?,
        };
        let identities = document.credentials.iter().map(identity).collect();
        let health_settings = health_settings(&document, identities).into();
        let credentials = compile_credentials(&place, document.credentials)?;
        let forward_headers = document
            .forward_headers
            .iter()
            .map(|pattern| HeaderPattern::parse(pattern).map_err(|error| wrong("forward_headers", &error)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Target {
            origin: Origin {
                tls,
                host: authority.host().trim_start_matches('[').trim_end_matches(']').into(),
                port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
                version: document.http_version,
            },
            dialects: document.dialects,
            addresses,
            models,
            host,
            credentials,
            headers,
            default_headers,
            forward_headers,
            ask_stream_usage: document.ask_stream_usage,
            max_output_tokens: document.max_output_tokens,
            quirks: document.quirks.into(),
            timeouts: document.timeouts.into(),
            model: (document.model != "*").then(|| document.model.into()),
            health: health.of(&document.name),
            health_settings,
            name_hash: digest_of(document.name.as_bytes()),
            probe: document.probe,
            price: document.price,
            prompt_cache: document.prompt_cache,
            name: document.name.into(),
            provider: document.provider.into(),
        })
    }
}

/// More keys than anybody rotates; the ones that a request has spent are bits of a word.
const MOST_CREDENTIALS: usize = 64;

fn compile_credentials(place: &str, document: Vec<TargetAuth>) -> Result<Vec<CompiledAuth>, SnapshotError> {
    if document.is_empty() {
        return refuse(format!("{place}: credentials is empty"));
    }
    if document.len() > MOST_CREDENTIALS {
        return refuse(format!("{place}: more than {MOST_CREDENTIALS} credentials"));
    }
    document.into_iter().map(|auth| compile_auth(place, auth)).collect()
}

/// Where each operation is.
fn endpoints(
    document: &TargetDocument,
    template: &dyn Fn(&str) -> Template,
) -> Result<[Option<Endpoint>; Operation::COUNT], http::Error> {
    let model = (document.model != "*").then_some(document.model.as_str());
    let mut endpoints = [const { None }; Operation::COUNT];
    for (operation, path) in &document.paths {
        let template = template(path);
        let fixed = model.or((!template.text.contains(MODEL)).then_some(""));
        endpoints[*operation as usize] = Some(match fixed {
            Some(model) => Endpoint::Fixed(Arc::new(template.fill(model)?)),
            None => Endpoint::PerModel(template),
        });
    }
    Ok(endpoints)
}

impl From<TargetTimeouts> for Timeouts {
    fn from(document: TargetTimeouts) -> Timeouts {
        Timeouts {
            connect: Duration::from_millis(document.connect_ms),
            first_token: Duration::from_millis(document.first_token_ms),
            idle: Duration::from_millis(document.idle_ms),
            total: Duration::from_millis(document.total_ms),
            by_client: ByClient::default(),
        }
    }
}

fn compile_auth(place: &str, auth: TargetAuth) -> Result<CompiledAuth, SnapshotError> {
    let wrong =
        |what: &str, error: &dyn std::fmt::Display| SnapshotError(format!("{place}: {what}: {error}"));
    Ok(match auth {
        TargetAuth::None {} => CompiledAuth::None,
        TargetAuth::Passthrough {} => CompiledAuth::Passthrough,
        TargetAuth::Header { name, value } => {
            let name: HeaderName = name.parse().map_err(|error| wrong("credentials", &error))?;
            // The value is a secret: an error must not repeat it.
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                SnapshotError(format!("{place}: the access key has a character that no header may carry"))
            })?;
            value.set_sensitive(true);
            CompiledAuth::Header(name, value)
        }
        TargetAuth::Sigv4 { region, service, access_key_id, secret_access_key, session_token } => {
            let token = session_token.as_deref();
            let signer = Signer::new(&access_key_id, &secret_access_key, token, &region, &service);
            CompiledAuth::Sigv4(Box::new(signer.map_err(|error| wrong("credentials", &error))?))
        }
    })
}

/// The first 64 bits of a text's SHA-256.
fn digest_of(text: &[u8]) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, text);
    digest.as_ref().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// What tells a credential from another without saying what it is.
fn identity(auth: &TargetAuth) -> u64 {
    match auth {
        TargetAuth::None {} => 0,
        TargetAuth::Passthrough {} => 1,
        TargetAuth::Header { value, .. } => digest_of(value.as_bytes()),
        TargetAuth::Sigv4 { access_key_id, .. } => digest_of(access_key_id.as_bytes()),
    }
}

fn health_settings(document: &TargetDocument, keys: Vec<u64>) -> health::Settings {
    let TargetDocument { health, limits, .. } = document;
    health::Settings {
        failures: health.failures,
        error_percent: f64::from(health.error_percent),
        minimum_requests: health.minimum_requests,
        window: Duration::from_millis(health.window_ms),
        rest: Duration::from_millis(health.rest_ms),
        rest_max: Duration::from_millis(health.rest_max_ms),
        ramp: Duration::from_millis(health.ramp_ms),
        concurrency: limits.concurrency,
        queue: limits.queue as usize,
        queue_time: Duration::from_millis(limits.queue_ms),
        keys,
        place: digest_of(document.base_url.as_bytes()),
    }
}

fn read_headers(
    place: &str,
    key: &str,
    document: &BTreeMap<String, String>,
) -> Result<Vec<(HeaderName, HeaderValue)>, SnapshotError> {
    let mut headers = Vec::with_capacity(document.len());
    for (name, value) in document {
        let name: HeaderName =
            name.parse().map_err(|error| SnapshotError(format!("{place}: {key}: {error}")))?;
        if FRAMING_HEADERS.contains(&name.as_str()) {
            return refuse(format!("{place}: {key}: {name} is for the plane to write"));
        }
        let mut value = HeaderValue::from_str(value)
            .map_err(|error| SnapshotError(format!("{place}: {name}: {error}")))?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    Ok(headers)
}

/// The path of an endpoint: the base URL's, the endpoint's, and the queries of both.
fn join(base: &str, path: &str, query: &str) -> String {
    let mut text = format!("{}{path}", base.trim_end_matches('/'));
    if !query.is_empty() {
        text.push(if path.contains('?') { '&' } else { '?' });
        text.push_str(query);
    }
    text
}

impl Address {
    /// The address of one thing below this one, such as a stored answer: the segment goes before the query.
    pub fn below(&self, segment: &str) -> Option<Address> {
        let parts = self.absolute.clone().into_parts();
        let whole = parts.path_and_query?;
        let query = whole.query().map_or_else(String::new, |query| format!("?{query}"));
        let template = Template {
            scheme: parts.scheme?,
            authority: parts.authority?,
            text: format!("{}/{}{query}", whole.path(), escape(segment)),
        };
        template.address(&template.text).ok()
    }
}

impl Template {
    fn fill(&self, model: &str) -> Result<Address, http::Error> {
        self.address(&self.text.replace(MODEL, &escape(model)))
    }

    fn address(&self, path: &str) -> Result<Address, http::Error> {
        Ok(Address {
            path: Uri::builder().path_and_query(path).build()?,
            absolute: Uri::builder()
                .scheme(self.scheme.clone())
                .authority(self.authority.clone())
                .path_and_query(path)
                .build()?,
        })
    }
}

/// A model id as one segment of a path: everything but unreserved characters is percent-encoded (RFC 3986, section 2.3),
/// so that no id reaches another endpoint.
pub(crate) fn escape(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    // A segment of dots alone would be resolved away.
    if text.bytes().all(|byte| byte == b'.') { text.replace('.', "%2E") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_id_stays_one_segment() {
        assert_eq!(escape("anthropic.claude-3:0"), "anthropic.claude-3%3A0");
        assert_eq!(escape("../a/b?c#d%"), "..%2Fa%2Fb%3Fc%23d%25");
        assert_eq!(escape(".."), "%2E%2E");
    }

    #[test]
    fn paths_and_queries_join() {
        assert_eq!(join("/v1/", "/chat", ""), "/v1/chat");
        assert_eq!(join("/v1", "/chat", "a=b"), "/v1/chat?a=b");
        assert_eq!(join("/", "/chat?x=y", "a=b"), "/chat?x=y&a=b");
    }
}
