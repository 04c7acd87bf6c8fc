//! The one thread that speaks with the shared store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::document::hex;
use crate::shared::load::{KEPT, Load};
use crate::shared::store::{Connect, Failure, Store};
use crate::shared::{Local, SharedSettings, Signs, count};

/// How often replicas hear of each other.
const EVERY: Duration = Duration::from_secs(1);

/// Questions that may be with the server at a time; further ones wait in the queue.
const ASKED: usize = 256;

/// Between attempts to connect: doubled from the first to the last, and half of it left to chance, so that replicas do not
/// come back all at once.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(5);

/// When the plane ends, what it has said last is still brought to the server, within this time.
const FAREWELL: Duration = Duration::from_millis(500);

/// A rest that ends no later than this after the one that we told is the same: the word of it travelled longer.
const TRAVEL: Duration = Duration::from_secs(1);

pub(super) enum Request {
    Get(String, oneshot::Sender<Option<Vec<u8>>>),
    Put(String, Vec<u8>, Duration),
}

pub(super) struct Keeper<C, L> {
    connect: C,
    local: L,
    requests: mpsc::Receiver<Request>,
    signs: Arc<Signs>,
    /// Who we are among the replicas.
    replica: String,
    prefix: String,
    /// An answer that takes longer came too late for whoever asked.
    timeout: Duration,
}

enum End {
    /// Nobody has a handle any more.
    Closed,
    Lost(Failure),
}

impl<C: Connect, L: Local> Keeper<C, L> {
    pub fn new(
        connect: C,
        local: L,
        requests: mpsc::Receiver<Request>,
        signs: Arc<Signs>,
        settings: &SharedSettings,
    ) -> Keeper<C, L> {
        let replica = hex(&random().to_be_bytes());
        let (prefix, timeout) = (settings.prefix.clone(), settings.timeout);
        Keeper { connect, local, requests, signs, replica, prefix, timeout }
    }

    pub fn run(mut self) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => LocalSet::new().block_on(&runtime, self.keep()),
            Err(error) => self.note(&format!("its thread has no runtime ({error})")),
        }
    }

    async fn keep(&mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            match self.connect.connect().await {
                Ok(store) => {
                    awake(&self.signs, false);
                    self.signs.connected.store(true, Ordering::Relaxed);
                    let begun = Instant::now();
                    let end = self.serve(store).await;
                    // One that takes us in and throws us out at once is as good as gone.
                    if begun.elapsed() > LAST_WAIT {
                        wait = FIRST_WAIT;
                    }
                    self.signs.connected.store(false, Ordering::Relaxed);
                    // What they said last is no longer true, and what they say now is not heard.
                    self.local.others(Load::default());
                    match end {
                        End::Closed => return,
                        End::Lost(failure) => self.note(&failure.message),
                    }
                }
                Err(failure) => self.note(&failure.message),
            }
            if self.pause(wait).await.is_none() {
                return;
            }
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    /// Waits with nobody to ask. `None` when nobody has a handle any more.
    async fn pause(&mut self, wait: Duration) -> Option<()> {
        let until = Instant::now() + wait / 2 + part(wait / 2);
        loop {
            tokio::select! {
                () = sleep_until(until) => return Some(()),
                request = self.requests.recv() => match request? {
                    // Whoever asked hears that there is nothing when this is dropped.
                    Request::Get(_, reply) => drop(reply),
                    Request::Put(..) => count(&self.signs.dropped),
                },
            }
        }
    }

    async fn serve<S: Store>(&mut self, store: S) -> End {
        let Keeper { local, requests, signs, replica, prefix, timeout: patience, .. } = self;
        let exchange = Exchange {
            store: store.clone(),
            local,
            signs,
            replica,
            prefix,
            patience: *patience,
            told: HashMap::new(),
        };
        let exchanging = exchange.run();
        tokio::pin!(exchanging);
        let mut asked: JoinSet<Result<(), Failure>> = JoinSet::new();
        loop {
            tokio::select! {
                failure = &mut exchanging => return End::Lost(failure),
                Some(done) = asked.join_next() => {
                    if let Ok(Err(failure)) = done {
                        if failure.lost {
                            return End::Lost(failure);
                        }
                        note(signs, &failure.message);
                    }
                }
                request = requests.recv(), if asked.len() < ASKED => {
                    let Some(request) = request else {
                        let _ = timeout(FAREWELL, async { while asked.join_next().await.is_some() {} }).await;
                        return End::Closed;
                    };
                    asked.spawn_local(answer(store.clone(), request));
                }
            }
        }
    }

    fn note(&self, message: &str) {
        note(&self.signs, message);
    }
}

/// However the thread ends, nobody waits for it.
impl<C, L> Drop for Keeper<C, L> {
    fn drop(&mut self) {
        self.signs.connected.store(false, Ordering::Relaxed);
    }
}

fn awake(signs: &Signs, slow: bool) {
    signs.strikes.store(0, Ordering::Relaxed);
    signs.slow.store(slow, Ordering::Relaxed);
}

fn note(signs: &Signs, message: &str) {
    count(&signs.errors);
    *signs.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(message.to_owned());
}

async fn answer<S: Store>(store: S, request: Request) -> Result<(), Failure> {
    match request {
        // Whoever asked has given up.
        Request::Get(_, reply) if reply.is_closed() => Ok(()),
        Request::Get(name, reply) => {
            let found = store.get(&name).await?;
            let _ = reply.send(found);
            Ok(())
        }
        Request::Put(name, value, kept) => store.put(&name, &value, kept).await,
    }
}

/// What replicas tell each other unasked.
struct Exchange<'a, S, L> {
    store: S,
    local: &'a L,
    signs: &'a Signs,
    replica: &'a str,
    prefix: &'a str,
    patience: Duration,
    /// Until when the targets rest of whose rests we have told.
    told: HashMap<Arc<str>, Instant>,
}

impl<S: Store, L: Local> Exchange<'_, S, L> {
    /// Ends when the connection is lost.
    async fn run(mut self) -> Failure {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for failure in [self.loads().await, self.rests().await].into_iter().filter_map(Result::err) {
                if failure.lost {
                    return failure;
                }
                note(self.signs, &failure.message);
            }
        }
    }

    async fn loads(&self) -> Result<(), Failure> {
        let group = format!("{}count", self.prefix);
        let begun = Instant::now();
        let said = self.store.lease(&group, self.replica, &self.local.load().to_json(), KEPT).await;
        awake(self.signs, begun.elapsed() > self.patience);
        said?;
        let mut others = Load::default();
        for (member, value) in self.store.leases(&group).await? {
            if let Some(load) = Load::from_json(&value).filter(|_| member != self.replica) {
                others.join(&load);
            }
        }
        self.local.others(others);
        Ok(())
    }

    async fn rests(&mut self) -> Result<(), Failure> {
        let name = |target: &str| format!("{}rest:{target}", self.prefix);
        for (target, rest) in self.local.rests() {
            self.store.put(&name(&target), self.replica.as_bytes(), rest).await?;
        }
        let targets = self.local.targets();
        let names: Vec<String> = targets.iter().map(|target| name(target)).collect();
        let found = self.store.left(&names).await?;
        let now = Instant::now();
        self.told.retain(|_, until| *until > now);
        for (target, found) in targets.into_iter().zip(found) {
            // Ours is no news.
            let Some((_, left)) = found.filter(|(replica, _)| replica != self.replica.as_bytes()) else {
                continue;
            };
            let until = now + left;
            if self.told.get(&target).is_none_or(|told| until > *told + TRAVEL) {
                self.local.rest(&target, left);
                self.told.insert(target, until);
            }
        }
        Ok(())
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without a source of randomness the replicas are told apart by their processes and the time.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return now.as_secs() << 32 | u64::from(now.subsec_nanos() ^ std::process::id());
    }
    u64::from_be_bytes(bytes)
}

/// Some part of a time.
fn part(of: Duration) -> Duration {
    of * u32::from(random().to_be_bytes()[0]) / 256
}
