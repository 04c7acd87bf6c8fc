//! The resolved [`Document`], compiled: names looked up, header values and addresses parsed, so that a request pays for
//! none of it. Immutable; swapped whole.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::agents::{Agent, Orchestration};
pub(crate) use crate::document::hex;
pub use crate::document::{
    AdmissionSettings, CatalogEntry, Document, HttpVersion, Listener, ListenerAuth, ListenerKey, ListenerTls,
    ListenerType, LogSettings, Operation, Priority, ResponsesSettings, Resume, RetryBudgetSettings, Select,
    SessionSettings, SharedSettings, SigningKey, SnapshotError,
};
use crate::document::{AgentDocument, refuse};
use crate::health::Health;
use crate::histories::HistoriesDocument;
pub(crate) use crate::pool::{Member, Policy, Pool};
use crate::select::{Cascade, ChooserDocument, Embedders, Offer, PreferenceDocument, SharedSteps};
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
    pub retry_budget: RetryBudgetSettings,
    pub admission: Option<AdmissionSettings>,
    pub sessions: SessionSettings,
    pub shared: Option<SharedSettings>,
    pub histories: Option<HistoriesDocument>,
    pub context_key: Option<SigningKey>,
    /// Routes to models.
    pub preferences: Vec<PreferenceDocument>,
    /// Chooses among them.
    pub(crate) models: Cascade,
    /// The model that is asked to choose, if one is.
    pub chooser_model: Option<Arc<str>>,
    pub user_turns_only: bool,
    pub latencies: BTreeMap<String, f64>,
    agents: HashMap<Arc<str>, Arc<Agent>>,
    /// By the listener's name.
    orchestrations: HashMap<String, Arc<Orchestration>>,
    pools: HashMap<String, Arc<Pool>>,
    names: HashMap<String, Arc<Target>>,
    wildcards: HashMap<String, Arc<Target>>,
    pub default: Option<String>,
    /// Of models that are asked for by themselves.
    plain: Arc<Policy>,
}

/// What a name stands for.
pub(crate) enum Named {
    Pool(Arc<Pool>),
    Model(Member),
}

impl Snapshot {
    /// Checks a document without a plane.
    pub fn parse(text: &str) -> Result<Snapshot, SnapshotError> {
        Snapshot::parse_with(text, &Health::new(), &Embedders::default(), None)
    }

    /// `health` knows how the targets did so far; `before` is the snapshot that this one takes over from.
    pub(crate) fn parse_with(
        text: &str,
        health: &Health,
        embedders: &Embedders,
        before: Option<&Snapshot>,
    ) -> Result<Snapshot, SnapshotError> {
        let document = Document::parse(text)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        Snapshot::compile(document, &hex(&digest.as_ref()[..6]), health, embedders, before)
    }

    fn compile(
        document: Document,
        hash: &str,
        health: &Health,
        embedders: &Embedders,
        before: Option<&Snapshot>,
    ) -> Result<Snapshot, SnapshotError> {
        let mut by_name: HashMap<String, Arc<Target>> = HashMap::new();
        let mut targets = Vec::with_capacity(document.targets.len());
        for target in document.targets {
            let compiled = Arc::new(Target::compile(target, health)?);
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
        let mut pools: HashMap<String, Arc<Pool>> = HashMap::new();
        for pool in document.pools {
            let name = pool.name.clone();
            if names.contains_key(&name) || pools.contains_key(&name) {
                return refuse(format!("the name {name} of a pool is taken"));
            }
            let before = before.and_then(|before| before.pools.get(&name)).map(|pool| &**pool);
            pools.insert(name, Arc::new(Pool::compile(pool, &by_name, before)?));
        }
        let agents = compile_agents(document.agents, &by_name, before)?;
        let steps = SharedSteps::compile(&document.chooser, embedders)?;
        let orchestrations = compile_orchestrations(&document.listeners, &steps, &agents)?;
        check_listeners(&document.listeners)?;
        check_settings(&document.sessions, &document.retry_budget)?;
        let chooser = document.chooser;
        let offer = Offer {
            routes: document.preferences.iter().map(PreferenceDocument::route).collect(),
            rules: &chooser.rules,
            default: None,
            most: 1,
        };
        let models = Cascade::compile("chooser", offer, &steps, |_| true)?;
        let snapshot = Snapshot {
            models,
            preferences: document.preferences,
            chooser_model: chooser.model.as_ref().map(|model| model.model.as_str().into()),
            user_turns_only: chooser.user_turns_only,
            latencies: document.latencies,
            hash: hash.into(),
            listeners: document.listeners,
            targets,
            log: document.log,
            responses: document.responses,
            catalog: document.catalog,
            retry_budget: document.retry_budget,
            admission: document.admission,
            sessions: document.sessions,
            shared: document.shared,
            histories: document.histories,
            context_key: document.context_key,
            agents,
            orchestrations,
            pools,
            names,
            wildcards,
            default: document.default,
            plain: Arc::new(Policy::plain()),
        };
        snapshot.check_names(&chooser)?;
        Ok(snapshot)
    }

    /// That every name which is used somewhere stands for something.
    fn check_names(&self, chooser: &ChooserDocument) -> Result<(), SnapshotError> {
        for name in self.pools.values().flat_map(|pool| pool.policy.fallback.iter().map(|next| &next.name)) {
            if self.find(name).is_none() {
                return refuse(format!("a fallback names {name}, which is not there"));
            }
        }
        let preferred = self.preferences.iter().flat_map(|preference| &preference.models);
        let asked = chooser.model.iter().map(|model| &model.model);
        if let Some(name) = preferred.chain(asked).find(|name| self.find(name).is_none()) {
            return refuse(format!("preferences or chooser name the model {name}, which is not there"));
        }
        let route = |name: &String| self.preferences.iter().any(|preference| preference.name == *name);
        let mut used = chooser.rules.iter().flat_map(|rule| &rule.r#use);
        if let Some(name) = used.find(|name| !route(name) && self.find(name).is_none()) {
            return refuse(format!("chooser.rules use {name}, which is neither a preference nor a model"));
        }
        if let Some(default) = self.default.as_deref().filter(|name| self.find(name).is_none()) {
            return refuse(format!("the default names {default}, which is not there"));
        }
        Ok(())
    }

    /// What a model name stands for, or `None`. A name is taken whole first; then everything before its first slash may
    /// be a wildcard's prefix.
    pub(crate) fn find(&self, name: &str) -> Option<Named> {
        if let Some(pool) = self.pools.get(name) {
            return Some(Named::Pool(pool.clone()));
        }
        if let Some(target) = self.names.get(name) {
            return target.model.clone().map(|model| Named::Model(Member::plain(target.clone(), model)));
        }
        let (prefix, rest) = name.split_once('/')?;
        let target = self.wildcards.get(prefix)?;
        (!matches!(rest, "" | "*")).then(|| Named::Model(Member::plain(target.clone(), rest.into())))
    }

    pub(crate) fn agent(&self, id: &str) -> Option<&Arc<Agent>> {
        self.agents.get(id)
    }

    pub(crate) fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.agents.values()
    }

    /// What the listener of that name does with a conversation; `None` for one that serves models.
    pub(crate) fn orchestration(&self, listener: &str) -> Option<&Arc<Orchestration>> {
        self.orchestrations.get(listener)
    }

    /// How models are asked that stand in no pool.
    pub(crate) fn plain(&self) -> Arc<Policy> {
        self.plain.clone()
    }

    /// Every name that a client may send, for suggestions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().chain(self.pools.keys()).map(String::as_str)
    }

    /// The listener that a socket is open for: the one with the address that it was opened at; where the system chose
    /// the port, that address and the name. So a listener can get a new name and keep its socket.
    pub fn listener(&self, asked: SocketAddr, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.owns(asked, name))
    }
}

fn compile_agents(
    documents: Vec<AgentDocument>,
    targets: &HashMap<String, Arc<Target>>,
    before: Option<&Snapshot>,
) -> Result<HashMap<Arc<str>, Arc<Agent>>, SnapshotError> {
    let mut agents: HashMap<Arc<str>, Arc<Agent>> = HashMap::new();
    for agent in documents {
        let before = before.and_then(|before| before.agents.get(agent.id.as_str())).map(|agent| &**agent);
        let agent = Arc::new(Agent::compile(agent, targets, before)?);
        if let Some(twice) = agents.insert(agent.id.clone(), agent) {
            return refuse(format!("two agents are named {}", twice.id));
        }
    }
    Ok(agents)
}

/// By the listeners' names.
fn compile_orchestrations(
    listeners: &[Listener],
    steps: &SharedSteps,
    agents: &HashMap<Arc<str>, Arc<Agent>>,
) -> Result<HashMap<String, Arc<Orchestration>>, SnapshotError> {
    let mut orchestrations = HashMap::new();
    for listener in listeners {
        match (listener.r#type, &listener.orchestration) {
            (ListenerType::Agent, Some(document)) => {
                let name = &listener.name;
                let compiled = Orchestration::compile(name, document, steps, agents)?;
                orchestrations.insert(name.clone(), Arc::new(compiled));
            }
            (ListenerType::Model, None) => {}
            _ => {
                return refuse(format!(
                    "the listener {} has an orchestration exactly if it is one for agents",
                    listener.name
                ));
            }
        }
    }
    Ok(orchestrations)
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
        if let ListenerAuth::Keys { keys } = &listener.auth
            && keys.is_empty()
        {
            return refuse(format!("the listener {} asks for keys and has none", listener.name));
        }
    }
    Ok(())
}

/// What arithmetic relies on.
fn check_settings(sessions: &SessionSettings, budget: &RetryBudgetSettings) -> Result<(), SnapshotError> {
    let share = |value: f64, most: f64| value.is_finite() && (0.0..=most).contains(&value);
    if !share(budget.percent, 1_000.0) {
        return refuse("retry_budget is out of range");
    }
    if let Some(budget) = &sessions.budget
        && !(share(budget.percent, 100.0) && share(budget.cache_read_discount, 1.0))
    {
        return refuse("sessions.budget is out of range");
    }
    Ok(())
}
