//! Asks targets how they are, so that one that is down is known before a request finds out, and one that is back is used
//! again before its rest is over.
//!
//! A thread of its own, with connections of its own: what it learns goes into the same health as everything else.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use meseta_wire::dialect::{self, Dialect};
use meseta_wire::failure::Cause;
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::document::{ProbeKind, ProbeSettings};
use crate::error::Error;
use crate::serve::{Phase, Shared};
use crate::snapshot::{Address, CompiledAuth, Operation, Target};
use crate::stages::translate::{own_headers, sign};
use crate::upstream::Pool;

/// How often the thread looks whose turn it is.
const TICK: Duration = Duration::from_millis(100);
/// What a provider is asked to complete.
const QUESTION: &str = r#"{"messages":[{"role":"user","content":"ping"}],"max_completion_tokens":16}"#;
/// More of an answer than this is not read.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Whether the thread is there. It ends with the plane, and when a reload leaves nobody to ask.
#[derive(Default)]
pub(crate) struct Probing(Arc<AtomicBool>);

impl Probing {
    /// Starts the thread if the snapshot wants somebody asked and nobody asks yet.
    pub fn ensure(&self, shared: &Arc<Shared>, phase: watch::Receiver<Phase>) -> std::io::Result<()> {
        if !wanted(shared) || self.0.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let started = start(shared.clone(), phase, self.0.clone());
        if started.is_err() {
            self.0.store(false, Ordering::Release);
        }
        started
    }
}

fn wanted(shared: &Shared) -> bool {
    shared.snapshot.load().targets.iter().any(|target| target.probe.is_some())
}

fn start(
    shared: Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
    running: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
    std::thread::Builder::new().name("meseta-probe".to_owned()).spawn(move || {
        LocalSet::new().block_on(&runtime, async move {
            let prober = Rc::new(Prober { pool: Pool::new(shared.tls.clone()), due: RefCell::default() });
            let mut tick = interval(TICK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    changed = phase.changed() => {
                        if changed.is_err() || *phase.borrow_and_update() != Phase::Serving { return }
                    }
                }
                if !wanted(&shared) {
                    running.store(false, Ordering::Release);
                    // A reload that came in between has seen a thread and started none.
                    if !wanted(&shared) || running.swap(true, Ordering::AcqRel) {
                        return;
                    }
                }
                prober.look(&shared);
            }
        });
    })?;
    Ok(())
}

struct Prober {
    pool: Rc<Pool>,
    /// When each target is to be asked next; `None` while it is being asked, so that it is asked once at a time.
    due: RefCell<HashMap<Arc<str>, Option<Instant>>>,
}

impl Prober {
    fn look(self: &Rc<Prober>, shared: &Shared) {
        let snapshot = shared.snapshot.load();
        let now = Instant::now();
        self.pool.sweep();
        let mut due = self.due.borrow_mut();
        due.retain(|name, _| {
            snapshot.targets.iter().any(|target| target.name == *name && target.probe.is_some())
        });
        for target in &snapshot.targets {
            let Some(settings) = target.probe else { continue };
            if due.get(&target.name).is_some_and(|due| due.is_none_or(|due| due > now)) {
                continue;
            }
            due.insert(target.name.clone(), None);
            let (prober, target) = (self.clone(), target.clone());
            spawn_local(async move {
                let patience = Duration::from_millis(settings.timeout_ms.max(1));
                let asked = timeout(patience, prober.ask(&target, settings)).await;
                let outcome = asked.unwrap_or(Err(Cause::Timeout));
                target.health.probed(&target.health_settings, outcome, Instant::now());
                if let Some(due) = prober.due.borrow_mut().get_mut(&target.name) {
                    *due = Some(now + Duration::from_millis(settings.interval_ms).max(TICK));
                }
            });
        }
    }

    async fn ask(&self, target: &Target, settings: ProbeSettings) -> Result<(), Cause> {
        // A probe has no client whose credential it could bring.
        let kind = if target.is_passthrough() { ProbeKind::Connect } else { settings.kind };
        let asked = match kind {
            ProbeKind::Connect => None,
            // Bedrock has no list of models where it is called, a wildcard no model that could be asked.
            ProbeKind::Models => target.models.clone().map(|address| (Method::GET, address, Bytes::new())),
            ProbeKind::Completion => completion(target).map(|(address, body)| (Method::POST, address, body)),
        };
        match asked {
            Some((method, address, body)) => self.call_with_any_key(target, &method, &address, &body).await,
            None => self.pool.reach(target, target.timeouts.connect).await.map_err(|error| failed(&error)),
        }
    }

    /// The target can be used while it takes one of its keys.
    async fn call_with_any_key(
        &self,
        target: &Target,
        method: &Method,
        address: &Address,
        body: &Bytes,
    ) -> Result<(), Cause> {
        let mut outcome = Ok(());
        for credential in &target.credentials {
            let called = self.call(target, credential, method, address, body).await;
            outcome = called.map_err(|error| failed(&error)).and_then(judge);
            if outcome != Err(Cause::Credential) {
                break;
            }
        }
        outcome
    }

    async fn call(
        &self,
        target: &Target,
        credential: &CompiledAuth,
        method: &Method,
        address: &Address,
        body: &Bytes,
    ) -> Result<StatusCode, Error> {
        let mut headers: HeaderMap = own_headers(target, credential);
        sign(target, credential, method, address, &mut headers, body)?;
        let mut lease = self.pool.lease(target, target.timeouts.connect).await?;
        let mut sent = lease.send(method, &headers, body, address).await;
        // A connection that was closed while nobody used it says nothing of the target.
        if sent.is_err() && lease.reused() {
            lease = self.pool.lease(target, target.timeouts.connect).await?;
            sent = lease.send(method, &headers, body, address).await;
        }
        let head = sent.map_err(|failure| failure.error)?;
        let mut read = 0;
        while let Some(data) = poll_fn(|context| lease.poll_data(context)).await {
            read += data?.len();
            if read > ANSWER_BYTES {
                return Ok(head.status());
            }
        }
        lease.finish();
        Ok(head.status())
    }
}

fn failed(error: &Error) -> Cause {
    error.failover().unwrap_or(Cause::Error)
}

/// A target that answers at all is there, whatever it thinks of the question; one that refuses our key cannot be used.
fn judge(status: StatusCode) -> Result<(), Cause> {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PAYMENT_REQUIRED => {
            Err(Cause::Credential)
        }
        StatusCode::REQUEST_TIMEOUT => Err(Cause::Timeout),
        status if status.is_server_error() => Err(Cause::Error),
        _ => Ok(()),
    }
}

/// The shortest conversation there is, in the target's own dialect.
fn completion(target: &Target) -> Option<(Arc<Address>, Bytes)> {
    let model = target.model.as_deref()?;
    let own = *target.dialects.first()?;
    let mut losses = Losses::new(Dialect::OpenaiChat, own);
    let question = Json::parse(QUESTION).ok()?;
    let request = dialect::decode_request(Dialect::OpenaiChat, &question, &mut losses).ok()?;
    let body = dialect::encode_request(own, &request, &target.destination(model), &mut losses).ok()?;
    let address = target.address(Operation::conversation(own, false), model)?;
    Some((address, body.into()))
}
