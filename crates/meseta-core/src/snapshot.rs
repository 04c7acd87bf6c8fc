//! The resolved [`Document`], compiled: names looked up, header values and addresses parsed, so that a request pays for
//! none of it. Immutable; swapped whole.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) use crate::document::hex;
use crate::document::refuse;
pub use crate::document::{
    CatalogEntry, Digest, Document, HttpVersion, Listener, ListenerAuth, ListenerTls, LogSettings, Operation,
    ResponsesSettings, SnapshotError,
};
pub use crate::target::{Address, CompiledAuth, Origin, Target, Timeouts};

/// The compiled document. Immutable; swapped whole.
pub struct Snapshot {
    /// The first twelve hex digits of the document's SHA-256: what a replica says it serves.
    pub hash: Arc<str>,
    pub listeners: Vec<Listener>,
    pub targets: Vec<Arc<Target>>,
    pub log: Option<LogSettings>,
    pub responses: Option<ResponsesSettings>,
    pub catalog: Vec<CatalogEntry>,
    names: HashMap<String, Arc<Target>>,
    wildcards: HashMap<String, Arc<Target>>,
    pub default: Option<Arc<Target>>,
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
            responses: document.responses,
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
