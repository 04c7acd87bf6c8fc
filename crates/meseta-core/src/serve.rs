//! Accepting connections, serving them, and letting them go.
//!
//! One thread accepts and hands each connection to the worker with the fewest; a worker is a thread with a runtime, a
//! connection pool and no locks. A request stays on its worker from first byte to last.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::admission::Gate;
use crate::agents::ContextKey;
use crate::agents::open_turns::OpenTurns;
use crate::agents::room::Rooms;
use crate::agents::runs::Runs;
use crate::agents::trails::Trails;
use crate::conversations::Store;
use crate::dice::Dice;
use crate::handle::handle;
use crate::health::Health;
use crate::health::budget::RetryBudget;
use crate::histories::Histories;
use crate::log::{Ids, LogSender};
use crate::select::{Answers, Counters as Chosen, Embedders, Paces};
use crate::sessions::{Choices, Sessions};
use crate::snapshot::{Listener, Snapshot};
use crate::stages::relay::{Body, Broken};
use crate::upstream::{ClientTls, Overdue, Pool};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// Nothing new; what is under way may finish.
    Draining,
    /// Whatever is left is dropped.
    Stopped,
}

/// What all workers see.
pub(crate) struct Shared {
    pub snapshot: ArcSwap<Snapshot>,
    pub counters: Counters,
    pub tls: Arc<std::sync::OnceLock<ClientTls>>,
    pub draining: AtomicBool,
    /// Of Responses conversations; `None` when they are not kept.
    pub conversations: Option<Store>,
    /// Of agents' conversations; `None` when none are kept.
    pub histories: Option<Histories>,
    /// How every target does, whatever snapshot has it.
    pub health: Health,
    /// Who comes in when the plane is full.
    pub gate: Arc<Gate>,
    pub retry_budget: ArcSwap<RetryBudget>,
    /// Where each session's cache is warm, and the store in which the replicas share that.
    pub sessions: Sessions,
    /// What was chosen for the last turn of each session.
    pub last_choices: Choices,
    /// What models that choose have answered, and how often each step has chosen.
    pub answers: Answers,
    pub choices: Chosen,
    /// How soon models begin to answer that somebody may choose for it.
    pub paces: Paces,
    /// Word vectors, which outlive a snapshot.
    pub embedders: Embedders,
    /// Where requests wait for agents.
    pub rooms: Rooms,
    /// Turns that wait for a tool of the client's.
    pub open_turns: OpenTurns,
    /// Which agents are at work in which trace.
    pub trails: Arc<Trails>,
    /// What runs cost that have a budget.
    pub runs: Arc<Runs>,
    /// Signs what agents are told.
    pub context_key: ContextKey,
}

impl Shared {
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    pub requests: AtomicU64,
    pub in_flight: AtomicUsize,
    pub errors: AtomicU64,
    pub refused_connections: AtomicU64,
    pub panics: AtomicU64,
    /// Answers of the Responses API that should have been kept and could not be.
    pub unkept: AtomicU64,
}

/// One thread's share of the plane.
pub(crate) struct Worker {
    pub shared: Arc<Shared>,
    pub pool: Rc<Pool>,
    pub overdue: Overdue,
    pub ids: Ids,
    pub dice: Dice,
    pub log: Option<LogSender>,
}

/// What can change about a listening socket while it is open.
pub(crate) struct Door {
    /// As the document says it. It never changes, so that a swap cannot come between the door and its listener.
    pub asked: SocketAddr,
    /// For the log.
    pub name: ArcSwap<Arc<str>>,
    pub tls: ArcSwapOption<ServerConfig>,
    pub connections: AtomicUsize,
}

impl Door {
    /// `None` when the snapshot no longer has it.
    pub fn listener<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Listener> {
        snapshot.listener(self.asked, &self.name.load())
    }
}

/// A connection on its way from the accepting thread to a worker.
pub(crate) struct Accepted {
    stream: std::net::TcpStream,
    door: Arc<Door>,
}

/// A worker as the accepting thread sees it.
#[derive(Clone)]
pub(crate) struct Desk {
    pub inbox: mpsc::UnboundedSender<Accepted>,
    pub connections: Arc<AtomicUsize>,
}

/// Unsent data that a client does not take for this long ends its connection: otherwise one that never reads would hold
/// a call to a provider for good.
const STALLED: Duration = Duration::from_secs(120);
/// A kept connection whose other end vanished is noticed after about this long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(1);
/// How long an HTTP/2 connection on which nothing goes on may take to close when it is asked to.
const FAREWELL: Duration = Duration::from_secs(1);
/// After an accept that failed (out of descriptors, say), so that the loop does not spin.
const BREATH: Duration = Duration::from_millis(50);

pub(crate) async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    desks: Vec<Desk>,
    shared: Arc<Shared>,
    mut closing: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.changed() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let limit = door.listener(&shared.snapshot.load()).map_or(0, |listener| listener.limits.connections);
        if door.connections.load(Ordering::Relaxed) >= limit as usize {
            shared.counters.refused_connections.fetch_add(1, Ordering::Relaxed);
            if door.tls.load().is_none() {
                tokio::spawn(refuse(stream));
            }
            continue;
        }
        prepare(&stream);
        let Some(desk) = desks.iter().min_by_key(|desk| desk.connections.load(Ordering::Relaxed)) else {
            return;
        };
        if let Ok(stream) = stream.into_std() {
            desk.connections.fetch_add(1, Ordering::Relaxed);
            door.connections.fetch_add(1, Ordering::Relaxed);
            // The inbox is bounded by the limit of connections; a send fails only when the worker has ended.
            let _ = desk.inbox.send(Accepted { stream, door: door.clone() });
        }
    }
}

fn prepare(stream: &TcpStream) {
    // Each of these is a comfort: a socket that refuses one still serves.
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEP_ALIVE));
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(STALLED));
}

/// Over the limit of connections: a few fixed bytes, so that the client learns why.
async fn refuse(mut stream: TcpStream) {
    const BODY: &str = r#"{"error":{"message":"This listener has no free connection. Try again in a second.","type":"server_error","param":null,"code":"plane.overloaded","request_id":null}}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(answer.as_bytes())).await;
}

/// A worker's whole life. Ends when every connection has, or when the phase becomes `Stopped`.
pub(crate) async fn work(
    worker: Rc<Worker>,
    desk: Arc<AtomicUsize>,
    mut inbox: mpsc::UnboundedReceiver<Accepted>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            Some(accepted) = inbox.recv() => {
                let guard = Present::new(desk.clone(), accepted.door.clone());
                let worker = worker.clone();
                let phase = phase.clone();
                connections.spawn_local(async move {
                    let _guard = guard;
                    connection(worker, accepted, phase).await;
                });
            }
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    worker.shared.counters.panics.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ = sweep.tick() => {
                worker.pool.sweep();
                worker.overdue.sweep();
            }
            changed = phase.changed() => match *phase.borrow_and_update() {
                Phase::Serving if changed.is_ok() => {}
                Phase::Draining if changed.is_ok() => break,
                _ => return,
            },
        }
    }
    loop {
        tokio::select! {
            ended = connections.join_next() => if ended.is_none() { return },
            changed = phase.changed() => {
                if changed.is_err() || *phase.borrow_and_update() == Phase::Stopped { return }
            }
        }
    }
}

/// Counts a connection while it lives, panics included.
struct Present {
    desk: Arc<AtomicUsize>,
    door: Arc<Door>,
}

impl Present {
    fn new(desk: Arc<AtomicUsize>, door: Arc<Door>) -> Present {
        Present { desk, door }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.desk.fetch_sub(1, Ordering::Relaxed);
        self.door.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(worker: Rc<Worker>, accepted: Accepted, mut phase: watch::Receiver<Phase>) {
    let door = accepted.door;
    let Ok(stream) = TcpStream::from_std(accepted.stream) else { return };
    let snapshot = worker.shared.snapshot.load_full();
    let Some(listener) = door.listener(&snapshot) else { return };
    let limits = Bounds {
        head: Duration::from_millis(listener.timeouts.head_ms),
        head_bytes: listener.limits.head_bytes,
        head_count: listener.limits.head_count,
        streams: listener.limits.streams_per_connection,
    };
    drop(snapshot);
    if let Some(tls) = door.tls.load_full() {
        let handshake = opening(limits.head, &mut phase, TlsAcceptor::from(tls).accept(stream));
        let Some(Ok(stream)) = handshake.await else { return };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
        serve(worker, door, TokioIo::new(stream), http2, limits, phase).await;
    } else if let Some(Some(http2)) = opening(limits.head, &mut phase, starts_http2(&stream)).await {
        serve(worker, door, TokioIo::new(stream), http2, limits, phase).await;
    }
}

/// What comes before the first request. It has only so long, and a plane that drains does not wait for it.
async fn opening<T>(
    limit: Duration,
    phase: &mut watch::Receiver<Phase>,
    step: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        done = tokio::time::timeout(limit, step) => done.ok(),
        _ = phase.changed() => None,
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    head: Duration,
    head_bytes: u32,
    head_count: u32,
    streams: u32,
}

/// Whether the client begins with HTTP/2's preface; `None` when it leaves without a word. Looks without taking, so that
/// an HTTP/1.1 connection is served with nothing in between.
async fn starts_http2(stream: &TcpStream) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let mut start = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut start).await.ok().filter(|seen| *seen > 0)?;
        if start[..seen] != PREFACE[..seen] {
            return Some(false);
        }
        if seen == PREFACE.len() {
            return Some(true);
        }
        // A few bytes of what may become the preface: they stay readable, so waiting for readiness would spin.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn serve<T>(
    worker: Rc<Worker>,
    door: Arc<Door>,
    io: T,
    http2: bool,
    bounds: Bounds,
    mut phase: watch::Receiver<Phase>,
) where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let answer = move |request: Request<Incoming>| handle(worker.clone(), door.clone(), request);
    if http2 {
        return serve_http2(answer, io, bounds, phase).await;
    }
    let service = service_fn(move |request| {
        let answering = answer(request);
        async move { Ok::<Response<Body>, Broken>(answering.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs while a connection waits for its next request, too, so it is the limit of idleness as well.
        .header_read_timeout(bounds.head)
        .max_headers(bounds.head_count as usize)
        .max_header_size(bounds.head_bytes as usize)
        .serve_connection(io, service);
    tokio::pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = phase.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}

async fn serve_http2<T, A, F>(answer: A, io: T, bounds: Bounds, mut phase: watch::Receiver<Phase>)
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let activity = Rc::new(Activity { open: Cell::new(0), last: Cell::new(Instant::now()) });
    let service = {
        let activity = activity.clone();
        service_fn(move |request: Request<Incoming>| {
            let open = activity.clone().open();
            // hyper counts headers for HTTP/1.1 only.
            let answering = (request.headers().len() <= bounds.head_count as usize).then(|| answer(request));
            async move {
                let response = match answering {
                    Some(answering) => answering.await,
                    None => head_too_large(),
                };
                Ok::<_, Broken>(response.map(|body| Streaming { body, _open: open }))
            }
        })
    };
    let connection = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(bounds.head_bytes)
        .keep_alive_interval(KEEP_ALIVE)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let mut look = tokio::time::interval(bounds.head.max(Duration::from_millis(100)));
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = look.tick() => if activity.idle_for(bounds.head) { break },
            _ = phase.changed() => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    // Streams under way may finish. Where there is none, the other end has only so long to take its leave: hyper would
    // wait for good for one that never finished its preface or a head.
    activity.touch();
    let mut look = tokio::time::interval(FAREWELL);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = look.tick() => if activity.idle_for(FAREWELL) { return },
        }
    }
}

/// What hyper itself says of a head that is too large.
fn head_too_large() -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new(), None));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

/// Whether anything goes on on an HTTP/2 connection, for which hyper has no limit of idleness.
struct Activity {
    open: Cell<usize>,
    last: Cell<Instant>,
}

/// A stream, from its request's head to its answer's last byte.
struct Open(Rc<Activity>);

impl Activity {
    fn open(self: Rc<Activity>) -> Open {
        self.open.set(self.open.get() + 1);
        Open(self)
    }

    fn touch(&self) {
        self.last.set(Instant::now());
    }

    fn idle_for(&self, limit: Duration) -> bool {
        self.open.get() == 0 && self.last.get().elapsed() >= limit
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.touch();
    }
}

/// A body whose connection is not idle while it lasts.
struct Streaming {
    body: Body,
    _open: Open,
}

impl HttpBody for Streaming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs hyper's own tasks on the worker's thread.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: std::future::Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// A listening socket, not yet served.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
