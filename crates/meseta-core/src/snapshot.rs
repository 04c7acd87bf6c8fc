//! The resolved document: everything that the plane does, decided beforehand by the control plane.
//!
//! [`Document`] is the JSON text, one to one; a key that is unknown or missing is an error, because a document
//! that is half understood is worse than none. [`Snapshot`] is the same, compiled: names looked up, header
//! values and addresses parsed, so that a request pays for none of it. Nothing here reads a file or the environment.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};

/// The only format there is.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub format: u32,
    pub listeners: Vec<Listener>,
    pub targets: Vec<TargetDocument>,
    pub names: BTreeMap<String, String>,
    pub wildcards: BTreeMap<String, String>,
    pub default: Option<String>,
    pub catalog: Vec<CatalogEntry>,
    pub log: Option<LogSettings>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    pub name: String,
    pub r#type: ListenerType,
    pub address: IpAddr,
    pub port: u16,
    pub auth: ListenerAuth,
    pub tls: Option<ListenerTls>,
    pub limits: Limits,
    pub timeouts: ListenerTimeouts,
}

impl Listener {
    /// As the document says it: port 0 is 0 here.
    pub fn asked(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// Whether this is the listener of the socket that was opened at `asked` under `name`.
    pub fn owns(&self, asked: SocketAddr, name: &str) -> bool {
        self.asked() == asked && (self.port != 0 || self.name == name)
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerType {
    Model,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ListenerAuth {
    None {},
    /// SHA-256 of each accepted key, as 64 hex digits: the plane never holds the keys themselves.
    Keys {
        sha256: Vec<Digest>,
    },
}

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(serde::de::Error::custom("a digest has 64 hex digits"));
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(serde::de::Error::custom)?;
        }
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// PEM texts, not paths: the document leaves nothing to fetch.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    pub certificate_pem: String,
    pub private_key_pem: String,
}

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ListenerTls(***)")
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: u64,
    pub head_bytes: u32,
    pub head_count: u32,
    pub connections: u32,
    pub streams_per_connection: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTimeouts {
    /// From the connection, or the end of the last answer on it, to the end of the next request's head.
    pub head_ms: u64,
    /// The whole body.
    pub body_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDocument {
    pub name: String,
    pub provider: String,
    pub model: String,
    pub dialect: Dialect,
    pub base_url: String,
    pub query: String,
    pub auth: TargetAuth,
    pub headers: BTreeMap<String, String>,
    pub forward_headers: Vec<String>,
    pub http_version: HttpVersion,
    pub ask_stream_usage: bool,
    pub timeouts: TargetTimeouts,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    OpenaiChat,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetAuth {
    None {},
    /// The client's own credential travels on.
    Passthrough {},
    Header {
        name: String,
        value: String,
    },
}

impl std::fmt::Debug for TargetAuth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            TargetAuth::None {} => "None",
            TargetAuth::Passthrough {} => "Passthrough",
            TargetAuth::Header { .. } => "Header(***)",
        })
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// What TLS negotiates; HTTP/1.1 in clear text.
    Auto,
    Http1,
    Http2,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetTimeouts {
    pub connect_ms: u64,
    pub first_token_ms: u64,
    pub idle_ms: u64,
    pub total_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    pub id: String,
    pub owned_by: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    pub path: String,
    pub queue_records: usize,
    pub commit_ms: u64,
    pub keep_hours: u64,
    pub max_bytes: u64,
}

/// Why a document was refused: where in it, and what is wrong.
#[derive(Debug)]
pub struct SnapshotError(pub String);

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the resolved configuration is not usable: {}", self.0)
    }
}

impl std::error::Error for SnapshotError {}

fn refuse<T>(message: impl Into<String>) -> Result<T, SnapshotError> {
    Err(SnapshotError(message.into()))
}

/// The compiled document. Immutable; swapped whole.
pub struct Snapshot {
    /// The first twelve hex digits of the document's SHA-256: what a replica says it serves.
    pub hash: Arc<str>,
    pub listeners: Vec<Listener>,
    pub targets: Vec<Arc<Target>>,
    pub log: Option<LogSettings>,
    pub catalog: Vec<CatalogEntry>,
    names: HashMap<String, Arc<Target>>,
    wildcards: HashMap<String, Arc<Target>>,
    pub default: Option<Arc<Target>>,
}

/// A model at a provider, ready to be called.
pub struct Target {
    pub name: Arc<str>,
    pub provider: Arc<str>,
    /// `None` for a wildcard: the client's own id is sent.
    pub model: Option<Arc<str>>,
    pub origin: Origin,
    pub chat: Address,
    pub embeddings: Address,
    pub host: HeaderValue,
    pub auth: CompiledAuth,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub forward_headers: Vec<HeaderPattern>,
    pub ask_stream_usage: bool,
    pub timeouts: Timeouts,
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
pub struct Address {
    /// `/v1/chat/completions`, for HTTP/1.1.
    pub path: Uri,
    /// `https://host/v1/chat/completions`, for HTTP/2.
    pub absolute: Uri,
}

pub enum CompiledAuth {
    None,
    Passthrough,
    Header(HeaderName, HeaderValue),
}

/// A header name, or a prefix of names (`x-sim-*`).
pub enum HeaderPattern {
    Exact(HeaderName),
    Prefix(String),
}

impl HeaderPattern {
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
}

impl Document {
    pub fn parse(text: &str) -> Result<Document, SnapshotError> {
        let document: Document =
            serde_json::from_str(text).map_err(|error| SnapshotError(error.to_string()))?;
        if document.format != FORMAT {
            return refuse(format!("format {} is not format {FORMAT}", document.format));
        }
        Ok(document)
    }
}

impl Snapshot {
    pub fn parse(text: &str) -> Result<Snapshot, SnapshotError> {
        let document = Document::parse(text)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        Snapshot::compile(document, &hex(&digest.as_ref()[..6]))
    }

    fn compile(document: Document, hash: &str) -> Result<Snapshot, SnapshotError> {
        let mut by_name: HashMap<String, Arc<Target>> = HashMap::new();
        let mut targets = Vec::with_capacity(document.targets.len());
        for target in document.targets {
            let compiled = Arc::new(Target::compile(target)?);
            if by_name.insert(compiled.name.to_string(), compiled.clone()).is_some() {
                return refuse(format!("two targets are named {}", compiled.name));
            }
            targets.push(compiled);
        }
        let find = |place: &str, name: &str| {
            by_name
                .get(name)
                .cloned()
                .ok_or_else(|| SnapshotError(format!("{place} names the target {name}, which is not there")))
        };
        let mut names = HashMap::new();
        for (name, target) in &document.names {
            let target = find("names", target)?;
            if target.model.is_none() {
                return refuse(format!("names.{name} points at a wildcard"));
            }
            names.insert(name.clone(), target);
        }
        let mut wildcards = HashMap::new();
        for (prefix, target) in &document.wildcards {
            let target = find("wildcards", target)?;
            if target.model.is_some() {
                return refuse(format!("wildcards.{prefix} points at {}, which is no wildcard", target.name));
            }
            wildcards.insert(prefix.clone(), target);
        }
        let default = document.default.as_deref().map(|name| find("default", name)).transpose()?;
        if default.as_ref().is_some_and(|target| target.model.is_none()) {
            return refuse("the default is a wildcard");
        }
        check_listeners(&document.listeners)?;
        Ok(Snapshot {
            hash: hash.into(),
            listeners: document.listeners,
            targets,
            log: document.log,
            catalog: document.catalog,
            names,
            wildcards,
            default,
        })
    }

    /// The target for a model name and the id to send it, or `None`. A name is taken whole first; then everything
    /// before its first slash may be a wildcard's prefix.
    pub fn find<'a>(&'a self, name: &'a str) -> Option<(&'a Arc<Target>, &'a str)> {
        if let Some(target) = self.names.get(name) {
            return target.model.as_deref().map(|model| (target, model));
        }
        let (prefix, rest) = name.split_once('/')?;
        let target = self.wildcards.get(prefix)?;
        (!rest.is_empty()).then_some((target, rest))
    }

    /// Every name that a client may send, for suggestions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The listener that a socket is open for: the one with the address that it was opened at; where the system chose
    /// the port, that address and the name. So a listener can get a new name and keep its socket.
    pub fn listener(&self, asked: SocketAddr, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.owns(asked, name))
    }
}

fn check_listeners(listeners: &[Listener]) -> Result<(), SnapshotError> {
    if listeners.is_empty() {
        return refuse("there is no listener");
    }
    for (at, listener) in listeners.iter().enumerate() {
        let earlier = &listeners[..at];
        if earlier.iter().any(|other| other.name == listener.name) {
            return refuse(format!("two listeners are named {}", listener.name));
        }
        let same_port = |other: &&Listener| {
            other.port == listener.port && other.port != 0 && other.address == listener.address
        };
        if let Some(other) = earlier.iter().find(same_port) {
            return refuse(format!(
                "the listeners {} and {} have the same address and port",
                other.name, listener.name
            ));
        }
        if let ListenerAuth::Keys { sha256 } = &listener.auth
            && sha256.is_empty()
        {
            return refuse(format!("the listener {} asks for keys and has none", listener.name));
        }
    }
    Ok(())
}

/// Headers that say where a message ends or how a connection goes on. No configuration may write them.
const FRAMING_HEADERS: [&str; 8] =
    ["connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

impl Target {
    fn compile(document: TargetDocument) -> Result<Target, SnapshotError> {
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
        let address = |endpoint: &str| {
            address(&scheme, &authority, base.path(), endpoint, &document.query)
                .map_err(|error| wrong("base_url", &error))
        };
        let mut headers = Vec::with_capacity(document.headers.len());
        let mut host = None;
        for (name, value) in &document.headers {
            let name: HeaderName = name.parse().map_err(|error| wrong("headers", &error))?;
            if FRAMING_HEADERS.contains(&name.as_str()) {
                return refuse(format!("{place}: headers: {name} is for the plane to write"));
            }
            let mut value = HeaderValue::from_str(value).map_err(|error| wrong(name.as_str(), &error))?;
            value.set_sensitive(true);
            if name == http::header::HOST {
                host = Some(value);
            } else {
                headers.push((name, value));
            }
        }
        let host = match host {
            Some(host) => host,
            None => HeaderValue::from_str(authority.as_str()).map_err(|error| wrong("base_url", &error))?,
        };
        let auth = match document.auth {
            TargetAuth::None {} => CompiledAuth::None,
            TargetAuth::Passthrough {} => CompiledAuth::Passthrough,
            TargetAuth::Header { name, value } => {
                let name: HeaderName = name.parse().map_err(|error| wrong("auth.name", &error))?;
                // The value is a secret: an error must not repeat it.
                let mut value = HeaderValue::from_str(&value).map_err(|_| {
                    SnapshotError(format!("{place}: the access key has a character that no header may carry"))
                })?;
                value.set_sensitive(true);
                CompiledAuth::Header(name, value)
            }
        };
        let mut forward_headers = Vec::with_capacity(document.forward_headers.len());
        for pattern in &document.forward_headers {
            forward_headers.push(match pattern.strip_suffix('*') {
                Some(prefix) => HeaderPattern::Prefix(prefix.to_owned()),
                None => {
                    HeaderPattern::Exact(pattern.parse().map_err(|error| wrong("forward_headers", &error))?)
                }
            });
        }
        let milliseconds = Duration::from_millis;
        Ok(Target {
            origin: Origin {
                tls,
                host: authority.host().trim_start_matches('[').trim_end_matches(']').into(),
                port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
                version: document.http_version,
            },
            chat: address("/chat/completions")?,
            embeddings: address("/embeddings")?,
            host,
            auth,
            headers,
            forward_headers,
            ask_stream_usage: document.ask_stream_usage,
            timeouts: Timeouts {
                connect: milliseconds(document.timeouts.connect_ms),
                first_token: milliseconds(document.timeouts.first_token_ms),
                idle: milliseconds(document.timeouts.idle_ms),
                total: milliseconds(document.timeouts.total_ms),
            },
            model: (document.model != "*").then(|| document.model.into()),
            name: document.name.into(),
            provider: document.provider.into(),
        })
    }
}

fn address(
    scheme: &Scheme,
    authority: &Authority,
    prefix: &str,
    endpoint: &str,
    query: &str,
) -> Result<Address, http::Error> {
    let mut path = format!("{}{endpoint}", prefix.trim_end_matches('/'));
    if !query.is_empty() {
        path.push('?');
        path.push_str(query);
    }
    Ok(Address {
        path: Uri::builder().path_and_query(path.as_str()).build()?,
        absolute: Uri::builder()
            .scheme(scheme.clone())
            .authority(authority.clone())
            .path_and_query(path)
            .build()?,
    })
}
