//! The connections of one worker, by origin.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::error::{Code, Error};
use crate::snapshot::{Address, Origin, Target};
use crate::upstream::ClientTls;
use crate::upstream::connect::{self, Connected};
use crate::upstream::http1::{Failure, Http1};

/// A kept connection is let go after this long without use: shorter than most servers', so that they seldom close first.
const IDLE: Duration = Duration::from_secs(50);
/// Kept connections per origin and worker.
const KEPT: usize = 512;
/// Streams that one HTTP/2 connection carries before another one is opened: the usual limit of servers.
const STREAMS: usize = 100;

pub(crate) struct Pool {
    lanes: RefCell<HashMap<Origin, Lane>>,
    connector: HttpConnector,
    tls: Arc<std::sync::OnceLock<ClientTls>>,
}

#[derive(Default)]
struct Lane {
    /// The last one used is the next one taken, so that the others grow old and go.
    idle: Vec<Idle>,
    shared: Vec<Shared>,
}

struct Idle {
    connection: Http1,
    since: Instant,
}

#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<Full<Bytes>>,
    streams: Rc<Cell<usize>>,
    since: Rc<Cell<Instant>>,
}

impl Pool {
    pub fn new(tls: Arc<std::sync::OnceLock<ClientTls>>) -> Rc<Pool> {
        Rc::new(Pool { lanes: RefCell::default(), connector: connect::connector(), tls })
    }

    /// A connection to the target: a kept one if there is one, else a new one within the target's time for that.
    pub async fn lease(self: &Rc<Pool>, target: &Target, patience: Duration) -> Result<Lease, Error> {
        if let Some(kept) = self.kept(&target.origin) {
            return Ok(self.hand_out(target, kept, true));
        }
        // Boxed: the state of a handshake is large, and every request would carry room for it.
        let connecting = Box::pin(connect::connect(self.connector.clone(), &target.origin, self.tls.get()));
        let Ok(connected) = tokio::time::timeout(patience, connecting).await else {
            return Err(Error::new(
                Code::UpstreamConnectTimeout,
                format!(
                    "no connection to {}:{} within {} ms.",
                    target.origin.host,
                    target.origin.port,
                    patience.as_millis()
                ),
            ));
        };
        let kept = match connected? {
            Connected::Http1(connection) => Kept::Own(connection),
            Connected::Http2(sender) => {
                let shared =
                    Shared { sender, streams: Rc::default(), since: Rc::new(Cell::new(Instant::now())) };
                self.lanes.borrow_mut().entry(target.origin.clone()).or_default().shared.push(shared.clone());
                Kept::Shared(shared)
            }
        };
        Ok(self.hand_out(target, kept, false))
    }

    /// Makes a connection and lets go of it: whether the target can be reached.
    pub async fn reach(&self, target: &Target, patience: Duration) -> Result<(), Error> {
        let connecting = Box::pin(connect::connect(self.connector.clone(), &target.origin, self.tls.get()));
        match tokio::time::timeout(patience, connecting).await {
            Ok(connected) => connected.map(drop),
            Err(_) => Err(Error::new(Code::UpstreamConnectTimeout, "no connection in time.")),
        }
    }

    fn kept(&self, origin: &Origin) -> Option<Kept> {
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.get_mut(origin)?;
        let now = Instant::now();
        while let Some(mut idle) = lane.idle.pop() {
            if now.duration_since(idle.since) < IDLE && idle.connection.alive() {
                return Some(Kept::Own(idle.connection));
            }
        }
        lane.shared.retain(|shared| !shared.sender.is_closed());
        lane.shared.iter().find(|shared| shared.streams.get() < STREAMS).cloned().map(Kept::Shared)
    }

    fn hand_out(self: &Rc<Pool>, target: &Target, kept: Kept, reused: bool) -> Lease {
        if let Kept::Shared(shared) = &kept {
            shared.streams.set(shared.streams.get() + 1);
        }
        Lease { pool: self.clone(), origin: target.origin.clone(), kept: Some(kept), body: None, reused }
    }

    /// Lets go of the connections that wait for use.
    pub fn forget(&self, origin: &Origin) {
        if let Some(lane) = self.lanes.borrow_mut().get_mut(origin) {
            lane.idle.clear();
        }
    }

    fn give_back(&self, origin: &Origin, connection: Http1) {
        let mut lanes = self.lanes.borrow_mut();
        if !lanes.contains_key(origin) {
            lanes.insert(origin.clone(), Lane::default());
        }
        if let Some(lane) = lanes.get_mut(origin)
            && lane.idle.len() < KEPT
        {
            lane.idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Takes an HTTP/2 connection out of use that takes no more requests. Those on it go on.
    fn retire(&self, origin: &Origin, shared: &Shared) {
        if let Some(lane) = self.lanes.borrow_mut().get_mut(origin) {
            lane.shared.retain(|other| !Rc::ptr_eq(&other.streams, &shared.streams));
        }
    }

    /// Lets go of what has not been used for a while. The worker calls it every few seconds.
    pub fn sweep(&self) {
        let now = Instant::now();
        let old = |since: Instant| now.duration_since(since) >= IDLE;
        self.lanes.borrow_mut().retain(|_, lane| {
            lane.idle.retain_mut(|idle| !old(idle.since) && idle.connection.alive());
            lane.shared.retain(|shared| {
                !shared.sender.is_closed() && (shared.streams.get() > 0 || !old(shared.since.get()))
            });
            !lane.idle.is_empty() || !lane.shared.is_empty()
        });
    }
}

enum Kept {
    /// HTTP/1.1: one request at a time, so it is ours until the answer's end.
    Own(Http1),
    /// HTTP/2: many at a time.
    Shared(Shared),
}

/// The use of a connection for one request. Dropped before the answer's end it takes an HTTP/1.1 connection, or the
/// stream of an HTTP/2 one, with it, which is what cancels the call.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    origin: Origin,
    kept: Option<Kept>,
    /// What is arriving over HTTP/2.
    body: Option<Incoming>,
    reused: bool,
}

/// A request that got no answer.
pub(crate) struct Unanswered {
    pub error: Error,
    /// Not a byte of it was sent, or the provider has said that it did nothing with it.
    pub unsent: bool,
    /// The connection was closed, and not a byte came before.
    pub silent: bool,
}

impl Lease {
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Sends a request and waits for the head of the answer; the body comes by [`Lease::poll_data`].
    pub async fn send(
        &mut self,
        method: &Method,
        headers: &HeaderMap,
        body: &Bytes,
        address: &Address,
    ) -> Result<Response<()>, Unanswered> {
        match &mut self.kept {
            Some(Kept::Own(connection)) => {
                let target = address.path.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
                match connection.exchange(method, target, headers, body).await {
                    Ok(head) => Ok(head),
                    Err(failure) => Err(Unanswered {
                        unsent: matches!(failure, Failure::Closed { unsent: true }),
                        silent: matches!(failure, Failure::Closed { .. }) && connection.is_silent(),
                        error: failed(&failure),
                    }),
                }
            }
            Some(Kept::Shared(shared)) => {
                let mut request = Request::new(Full::new(body.clone()));
                request.method_mut().clone_from(method);
                request.uri_mut().clone_from(&address.absolute);
                request.headers_mut().clone_from(headers);
                // HTTP/2 says it as :authority, which hyper takes from the address.
                request.headers_mut().remove(HOST);
                match shared.sender.try_send_request(request).await {
                    Ok(response) => {
                        let (head, body) = response.into_parts();
                        self.body = Some(body);
                        Ok(Response::from_parts(head, ()))
                    }
                    Err(mut failure) => {
                        let unsent = failure.take_message().is_some() || refused(failure.error());
                        if unsent {
                            self.pool.retire(&self.origin, shared);
                        }
                        let error = failure.error();
                        Err(Unanswered { unsent, silent: error.is_closed(), error: broken(error) })
                    }
                }
            }
            None => {
                let error = Error::new(Code::PlaneInternal, "A connection was used after it was given back.");
                Err(Unanswered { error, unsent: false, silent: false })
            }
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(Kept::Own(connection)) = &mut self.kept {
            return connection.poll_data(context).map_err(|failure| failed(&failure));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    // Trailers say nothing that we act on.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(broken(&error)))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// The body has been read to its end.
    pub fn ended(&self) -> bool {
        match &self.kept {
            Some(Kept::Own(connection)) => connection.ended(),
            _ => self.body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    /// The end of the body is marked, so that a cut can be told from it.
    pub fn delimited(&self) -> bool {
        match &self.kept {
            Some(Kept::Own(connection)) => connection.delimited(),
            _ => true,
        }
    }

    /// The answer is complete: the connection may serve the next request.
    pub fn finish(mut self) {
        if let Some(Kept::Own(connection)) = self.kept.take_if(|kept| matches!(kept, Kept::Own(_)))
            && connection.reusable()
        {
            self.pool.give_back(&self.origin, connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Kept::Shared(shared)) = &self.kept {
            shared.streams.set(shared.streams.get().saturating_sub(1));
            shared.since.set(Instant::now());
        }
    }
}

/// The length that an answer announces.
pub(crate) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

const CUT: &str = "the provider closed the connection before its answer was complete.";

fn failed(failure: &Failure) -> Error {
    match failure {
        Failure::Closed { .. } => Error::new(Code::UpstreamCut, CUT),
        Failure::Protocol(what) => {
            Error::new(Code::UpstreamProtocolError, format!("the provider's bytes are not HTTP: {what}."))
        }
    }
}

/// Whether the provider says that it did nothing with the request: a refused stream, or one behind the last that a
/// connection which is going away takes (RFC 9113, sections 6.8 and 8.7).
fn refused(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    cause.is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn broken(error: &hyper::Error) -> Error {
    if error.is_parse() {
        Error::new(Code::UpstreamProtocolError, format!("the provider's bytes are not HTTP/2: {error}."))
    } else {
        Error::new(Code::UpstreamCut, CUT)
    }
}
