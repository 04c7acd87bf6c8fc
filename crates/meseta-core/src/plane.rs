//! The handle: start, swap, stop, stats. Everything that the control plane can do to a plane that serves.

mod stats;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::admission::{AdmissionSettings, Gate};
use crate::agents::ContextKey;
use crate::agents::open_turns::OpenTurns;
use crate::agents::room::{AgentStatus, Rooms};
use crate::conversations::{Store, StoreSettings};
use crate::dice::Dice;
use crate::health::budget::RetryBudget;
use crate::health::{Health, TargetStatus};
use crate::histories::Histories;
use crate::log::{Ids, LogError, Writer};
use crate::probe::Probing;
use crate::replica::Replica;
use crate::select::{Answers, Counters as Counted, Embedders, Paces};
use crate::serve::{Accepted, Counters, Desk, Door, Phase, Shared, Worker, accept, bind, work};
use crate::sessions::{Choices, Sessions};
use crate::shared::SharedState;
use crate::snapshot::{Listener, ListenerTls, ResponsesSettings, Snapshot, SnapshotError};
use crate::upstream::{ClientTls, Overdue, Pool};

pub use stats::{GateStats, ListenerStats, SessionStats, SharedStats, Stats, TenantStats};

/// Why a plane did not start, or did not take a snapshot. After a refused swap everything is as it was.
#[derive(Debug)]
pub enum StartError {
    Snapshot(SnapshotError),
    Bind(String),
    Log(LogError),
    /// The store of Responses conversations cannot be opened, or the shared one not be used.
    Store(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Snapshot(error) => error.fmt(formatter),
            StartError::Bind(message) | StartError::Store(message) => formatter.write_str(message),
            StartError::Log(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for StartError {}

impl From<SnapshotError> for StartError {
    fn from(error: SnapshotError) -> StartError {
        StartError::Snapshot(error)
    }
}

pub struct Plane {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    desks: Vec<Desk>,
    /// Taken once, by `stop`. Held through a swap, so that two of them cannot mix.
    threads: Mutex<Option<Threads>>,
    sockets: Mutex<Vec<Socket>>,
    log: Mutex<Option<Writer>>,
    probing: Probing,
}

struct Threads {
    acceptor: Runtime,
    workers: Vec<JoinHandle<()>>,
    /// Speaks with the shared store.
    shared: Option<JoinHandle<()>>,
}

/// A listening socket that is being served.
struct Socket {
    bound: SocketAddr,
    door: Arc<Door>,
    closing: watch::Sender<bool>,
}

impl Plane {
    /// Starts serving: when this returns, every listener is open.
    pub fn start(document: &str, workers: usize) -> Result<Plane, StartError> {
        let health = Health::new();
        let embedders = Embedders::default();
        let snapshot = Snapshot::parse_with(document, &health, &embedders, None)?;
        configure_health(&snapshot);
        let tls = Arc::new(OnceLock::new());
        prepare_client_tls(&tls, &snapshot)?;
        let acceptor = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("meseta-accept")
            .enable_all()
            .build()
            .map_err(|error| StartError::Bind(format!("The accepting thread cannot start ({error}).")))?;
        let opened = open_sockets(&snapshot.listeners, &[], &acceptor)?;
        let log = snapshot.log.as_ref().map(Writer::start).transpose().map_err(StartError::Log)?;
        let conversations = snapshot.responses.as_ref().map(open_store).transpose()?;
        let histories = snapshot.histories.as_ref().map(Histories::open).transpose();
        let histories = histories.map_err(|error| StartError::Store(error.to_string()))?;
        let context_key = ContextKey::new(snapshot.context_key.as_ref())
            .map_err(|_| StartError::Bind("The system gives no random numbers.".to_owned()))?;
        let shared = Arc::new(Shared {
            conversations,
            histories,
            retry_budget: ArcSwap::from_pointee(retry_budget(&snapshot)),
            gate: Gate::new(admission(&snapshot)),
            health,
            snapshot: ArcSwap::from_pointee(snapshot),
            counters: Counters::default(),
            tls,
            draining: AtomicBool::new(false),
            sessions: Sessions::default(),
            last_choices: Choices::default(),
            answers: Answers::default(),
            choices: Counted::default(),
            paces: Paces::default(),
            embedders,
            rooms: Rooms::default(),
            open_turns: OpenTurns::default(),
            trails: Arc::default(),
            runs: Arc::default(),
            context_key,
        });
        let keeper = join_replicas(&shared)?;
        let (phase, _) = watch::channel(Phase::Serving);
        let mut desks = Vec::new();
        let mut threads = Vec::new();
        for number in 0..workers.max(1) {
            let (inbox, accepted) = mpsc::unbounded_channel();
            let connections = Arc::new(AtomicUsize::new(0));
            let desk = Desk { inbox, connections };
            threads.push(spawn_worker(number, &desk, accepted, &shared, log.as_ref(), &phase)?);
            desks.push(desk);
        }
        let plane = Plane {
            shared,
            phase,
            desks,
            threads: Mutex::new(None),
            sockets: Mutex::new(Vec::new()),
            log: Mutex::new(log),
            probing: Probing::default(),
        };
        *lock(&plane.sockets) = opened.fresh.into_iter().map(|fresh| plane.serve(fresh, &acceptor)).collect();
        *lock(&plane.threads) = Some(Threads { acceptor, workers: threads, shared: keeper });
        plane.probe()?;
        Ok(plane)
    }

    /// Exchanges the snapshot, whole or not at all. Requests in flight end on the one that they began with.
    pub fn swap(&self, document: &str) -> Result<(), StartError> {
        let threads = lock(&self.threads);
        let Some(threads) = threads.as_ref() else {
            return Err(StartError::Bind("The plane has been stopped.".to_owned()));
        };
        let swapped = self.exchange(document, threads);
        // Targets that only the old snapshot, or only the refused one, names are forgotten.
        let snapshot = self.shared.snapshot.load();
        self.shared.health.retain(|name| snapshot.targets.iter().any(|target| *target.name == *name));
        swapped
    }

    fn exchange(&self, document: &str, threads: &Threads) -> Result<(), StartError> {
        let current = self.shared.snapshot.load();
        let shared = &self.shared;
        let snapshot = Snapshot::parse_with(document, &shared.health, &shared.embedders, Some(&**current))?;
        if snapshot.log != current.log
            || snapshot.responses != current.responses
            || snapshot.shared != current.shared
            || snapshot.histories != current.histories
        {
            return Err(StartError::Snapshot(SnapshotError(
                "`store`, `responses`, `shared` and `conversations` cannot change while the plane serves; restart it \
                 for that"
                    .to_owned(),
            )));
        }
        prepare_client_tls(&self.shared.tls, &snapshot)?;
        let mut sockets = lock(&self.sockets);
        let opened = open_sockets(&snapshot.listeners, &sockets, &threads.acceptor)?;
        // From here on nothing can fail.
        let mut open = std::mem::take(&mut *sockets);
        for keep in opened.kept {
            if let Some(at) = open.iter().position(|socket| socket.bound == keep.bound) {
                let socket = open.swap_remove(at);
                socket.door.name.store(Arc::new(keep.name));
                socket.door.tls.store(keep.tls);
                sockets.push(socket);
            }
        }
        let snapshot = Arc::new(snapshot);
        if snapshot.retry_budget != current.retry_budget {
            self.shared.retry_budget.store(Arc::new(retry_budget(&snapshot)));
        }
        self.shared.snapshot.store(snapshot.clone());
        self.shared.rooms.swapped();
        self.shared.rooms.retain(|id| snapshot.agent(id).is_some());
        self.shared.gate.configure(admission(&snapshot));
        configure_health(&snapshot);
        sockets.extend(opened.fresh.into_iter().map(|fresh| self.serve(fresh, &threads.acceptor)));
        // The new snapshot is in force; a system without room for one more thread goes without probes.
        let _ = self.probe();
        Ok(())
    }

    fn probe(&self) -> Result<(), StartError> {
        self.probing
            .ensure(&self.shared, self.phase.subscribe())
            .map_err(|error| StartError::Bind(format!("The probing thread cannot start ({error}).")))
    }

    fn serve(&self, fresh: Fresh, acceptor: &Runtime) -> Socket {
        let door = Arc::new(Door {
            asked: fresh.asked,
            name: ArcSwap::from_pointee(fresh.name),
            tls: ArcSwapOption::from(fresh.tls),
            connections: AtomicUsize::new(0),
        });
        let (closing, closed) = watch::channel(false);
        acceptor.spawn(accept(fresh.socket, door.clone(), self.desks.clone(), self.shared.clone(), closed));
        Socket { bound: fresh.bound, door, closing }
    }

    /// Stops: no new connections, requests in flight may finish within `drain`. Says whether all of them did.
    pub fn stop(&self, drain: Duration) -> bool {
        let Some(threads) = lock(&self.threads).take() else { return true };
        self.shared.draining.store(true, Ordering::Relaxed);
        for socket in lock(&self.sockets).iter() {
            let _ = socket.closing.send(true);
        }
        let _ = self.phase.send(Phase::Draining);
        let deadline = Instant::now() + drain;
        while Instant::now() < deadline && !threads.workers.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let finished = self.shared.counters.in_flight.load(Ordering::Relaxed) == 0;
        let _ = self.phase.send(Phase::Stopped);
        for worker in threads.workers {
            let _ = worker.join();
        }
        self.shared.sessions.unshare();
        threads.acceptor.shutdown_timeout(Duration::from_secs(1));
        if let Some(keeper) = threads.shared {
            // It still brings the last pins to the other replicas, if their store takes them in time.
            let deadline = Instant::now() + Duration::from_secs(1);
            while Instant::now() < deadline && !keeper.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if let Some(log) = lock(&self.log).as_mut() {
            log.close();
        }
        if let Some(store) = &self.shared.conversations {
            store.close();
        }
        if let Some(histories) = &self.shared.histories {
            histories.close();
        }
        finished
    }

    /// How every target of the snapshot in force is doing, in the order of their names.
    pub fn health(&self) -> Vec<TargetStatus> {
        self.shared.health.status(Instant::now())
    }

    /// How every agent of the snapshot in force is doing, in the order of their ids.
    pub fn agents(&self) -> Vec<AgentStatus> {
        let snapshot = self.shared.snapshot.load();
        let health = self.health();
        let mut agents: Vec<AgentStatus> = snapshot
            .agents()
            .map(|agent| {
                let place = format!("{}/", agent.pool.policy.name);
                let targets = health.iter().filter(|target| target.name.starts_with(&place));
                self.shared.rooms.status(&agent.id, targets.map(|target| target.in_flight).sum())
            })
            .collect();
        agents.sort_by(|one, other| one.id.cmp(&other.id));
        agents
    }

    /// The agents that requests wait for, as soon as somebody begins to wait, or when the time is over. Blocks.
    pub fn wanted(&self, patience: Duration) -> Vec<String> {
        self.shared.rooms.wanted(patience)
    }

    /// Forgets failures and limits, of one target or of all, so that they are asked again. How many had any.
    pub fn reset_health(&self, target: Option<&str>) -> usize {
        self.shared.health.reset(target, Instant::now())
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// A panic while a lock was held leaves data that is still whole: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without limits of the plane, those of keys still hold, and those over them may wait.
fn admission(snapshot: &Snapshot) -> AdmissionSettings {
    let queue_wait = Duration::from_secs(10);
    let unlimited = AdmissionSettings { queue: 1_024, queue_wait, ..AdmissionSettings::default() };
    snapshot.admission.map_or(unlimited, AdmissionSettings::from)
}

fn configure_health(snapshot: &Snapshot) {
    let now = Instant::now();
    for target in &snapshot.targets {
        target.health.configure(&target.health_settings, now);
    }
}

fn retry_budget(snapshot: &Snapshot) -> RetryBudget {
    RetryBudget::new(snapshot.retry_budget.percent, snapshot.retry_budget.minimum_per_second)
}

/// Starts to speak with the other replicas, if there are any.
fn join_replicas(plane: &Arc<Shared>) -> Result<Option<JoinHandle<()>>, StartError> {
    let Some(settings) = &plane.snapshot.load().shared else { return Ok(None) };
    let (state, thread) = SharedState::start(&settings.into(), Replica::new(plane))
        .map_err(|error| StartError::Store(format!("`store.shared`: {error}")))?;
    plane.sessions.share(state);
    Ok(Some(thread))
}

fn open_store(settings: &ResponsesSettings) -> Result<Store, StartError> {
    let settings = StoreSettings {
        path: settings.path.clone(),
        keep_hours: settings.keep_hours,
        max_bytes: settings.max_bytes,
        max_response_bytes: settings.max_response_bytes,
    };
    Store::open(&settings).map_err(|error| StartError::Store(error.to_string()))
}

fn spawn_worker(
    number: usize,
    desk: &Desk,
    accepted: mpsc::UnboundedReceiver<Accepted>,
    shared: &Arc<Shared>,
    log: Option<&Writer>,
    phase: &watch::Sender<Phase>,
) -> Result<JoinHandle<()>, StartError> {
    let shared = shared.clone();
    let connections = desk.connections.clone();
    let log = log.and_then(Writer::sender);
    let phase = phase.subscribe();
    let cannot = |error: std::io::Error| StartError::Bind(format!("A worker thread cannot start ({error})."));
    let runtime = Builder::new_current_thread()
        .enable_all()
        // Only name look-ups block.
        .max_blocking_threads(16)
        .build()
        .map_err(cannot)?;
    std::thread::Builder::new()
        .name(format!("meseta-{number}"))
        .spawn(move || {
            let pool = Pool::new(shared.tls.clone());
            let worker = Rc::new(Worker {
                shared,
                pool,
                overdue: Overdue::default(),
                ids: Ids::new(number),
                dice: Dice::new(),
                log,
            });
            LocalSet::new().block_on(&runtime, work(worker, connections, accepted, phase));
        })
        .map_err(cannot)
}

fn prepare_client_tls(tls: &OnceLock<ClientTls>, snapshot: &Snapshot) -> Result<(), StartError> {
    if tls.get().is_none() && snapshot.targets.iter().any(|target| target.origin.tls) {
        let loaded = ClientTls::load().map_err(SnapshotError)?;
        let _ = tls.set(loaded);
    }
    Ok(())
}

struct Opened {
    fresh: Vec<Fresh>,
    kept: Vec<Keep>,
}

struct Fresh {
    name: Arc<str>,
    asked: SocketAddr,
    bound: SocketAddr,
    socket: tokio::net::TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

/// A socket that is there already and stays open under the new snapshot.
struct Keep {
    bound: SocketAddr,
    name: Arc<str>,
    tls: Option<Arc<ServerConfig>>,
}

/// Opens what is not open yet. On an error the new sockets close again and nothing has changed.
fn open_sockets(listeners: &[Listener], open: &[Socket], acceptor: &Runtime) -> Result<Opened, StartError> {
    let _runtime = acceptor.enter();
    let mut opened = Opened { fresh: Vec::new(), kept: Vec::new() };
    for listener in listeners {
        let asked = listener.asked();
        let tls = listener.tls.as_ref().map(|tls| server_tls(&listener.name, tls)).transpose()?;
        let name: Arc<str> = listener.name.as_str().into();
        let same = open.iter().find(|socket| listener.owns(socket.door.asked, &socket.door.name.load()));
        if let Some(socket) = same {
            opened.kept.push(Keep { bound: socket.bound, name, tls });
            continue;
        }
        let socket = bind(asked).and_then(tokio::net::TcpListener::from_std).map_err(|error| {
            let ours = open.iter().any(|socket| socket.bound.port() == asked.port());
            let hint = match error.kind() {
                std::io::ErrorKind::AddrInUse if ours => {
                    " This plane itself has the port open at another address; restart it for this change."
                }
                std::io::ErrorKind::AddrInUse => " Another program listens there; choose another `port`.",
                std::io::ErrorKind::PermissionDenied => " Ports below 1024 need the right to open them.",
                std::io::ErrorKind::AddrNotAvailable => " This machine has no such address.",
                _ => "",
            };
            StartError::Bind(format!("The listener {} cannot open {asked} ({error}).{hint}", listener.name))
        })?;
        let bound = socket.local_addr().unwrap_or(asked);
        opened.fresh.push(Fresh { name, asked, bound, socket, tls });
    }
    Ok(opened)
}

fn server_tls(listener: &str, tls: &ListenerTls) -> Result<Arc<ServerConfig>, StartError> {
    // Errors name the listener and never the text: it is a private key.
    let wrong = |what: String| SnapshotError(format!("the listener {listener}: {what}"));
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(tls.certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(format!("the certificate is not PEM ({error})")))?;
    let key = PrivateKeyDer::from_pem_slice(tls.private_key_pem.as_bytes())
        .map_err(|_| wrong("the private key is not a PEM private key".to_owned()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| wrong(format!("certificate and private key do not go together ({error})")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
