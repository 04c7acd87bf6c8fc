//! The connections of one worker, by origin.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;

use crate::error::{Code, Error};
use crate::snapshot::{Address, Origin, Target};
use crate::stages::send::broken;
use crate::upstream::ClientTls;
use crate::upstream::connect::{self, Sender};

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
    sender: http1::SendRequest<Full<Bytes>>,
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
    pub async fn lease(self: &Rc<Pool>, target: &Target) -> Result<Lease, Error> {
        if let Some(kept) = self.kept(&target.origin) {
            return Ok(self.hand_out(target, kept, true));
        }
        // Boxed: the state of a handshake is large, and every request would carry room for it.
        let connecting = Box::pin(connect::connect(self.connector.clone(), &target.origin, self.tls.get()));
        let Ok(connected) = tokio::time::timeout(target.timeouts.connect, connecting).await else {
            return Err(Error::new(
                Code::UpstreamConnectTimeout,
                format!(
                    "no connection to {}:{} within {} ms.",
                    target.origin.host,
                    target.origin.port,
                    target.timeouts.connect.as_millis()
                ),
            ));
        };
        let kept = match connected? {
            Sender::Http1(sender) => Kept::Own(sender),
            Sender::Http2(sender) => {
                let shared =
                    Shared { sender, streams: Rc::default(), since: Rc::new(Cell::new(Instant::now())) };
                self.lanes.borrow_mut().entry(target.origin.clone()).or_default().shared.push(shared.clone());
                Kept::Shared(shared)
            }
        };
        Ok(self.hand_out(target, kept, false))
    }

    fn kept(&self, origin: &Origin) -> Option<Kept> {
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.get_mut(origin)?;
        let now = Instant::now();
        while let Some(idle) = lane.idle.pop() {
            if idle.sender.is_ready() && now.duration_since(idle.since) < IDLE {
                return Some(Kept::Own(idle.sender));
            }
        }
        lane.shared.retain(|shared| !shared.sender.is_closed());
        lane.shared.iter().find(|shared| shared.streams.get() < STREAMS).cloned().map(Kept::Shared)
    }

    fn hand_out(self: &Rc<Pool>, target: &Target, kept: Kept, reused: bool) -> Lease {
        if let Kept::Shared(shared) = &kept {
            shared.streams.set(shared.streams.get() + 1);
        }
        Lease { pool: self.clone(), origin: target.origin.clone(), kept: Some(kept), reused }
    }

    fn give_back(&self, origin: &Origin, sender: http1::SendRequest<Full<Bytes>>) {
        let mut lanes = self.lanes.borrow_mut();
        if !lanes.contains_key(origin) {
            lanes.insert(origin.clone(), Lane::default());
        }
        if let Some(lane) = lanes.get_mut(origin)
            && lane.idle.len() < KEPT
        {
            lane.idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Lets go of what has not been used for a while. The worker calls it every few seconds.
    pub fn sweep(&self) {
        let now = Instant::now();
        let old = |since: Instant| now.duration_since(since) >= IDLE;
        self.lanes.borrow_mut().retain(|_, lane| {
            lane.idle.retain(|idle| !idle.sender.is_closed() && !old(idle.since));
            lane.shared.retain(|shared| {
                !shared.sender.is_closed() && (shared.streams.get() > 0 || !old(shared.since.get()))
            });
            !lane.idle.is_empty() || !lane.shared.is_empty()
        });
    }
}

enum Kept {
    /// HTTP/1.1: one request at a time, so it is ours until the answer's end.
    Own(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2: many at a time.
    Shared(Shared),
}

/// The use of a connection for one request. Dropped before the answer's end it takes an HTTP/1.1 connection with it,
/// which is what cancels the call.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    origin: Origin,
    kept: Option<Kept>,
    reused: bool,
}

/// A request that got no answer.
pub(crate) struct Unanswered {
    pub error: Error,
    /// The request itself, if not a byte of it was sent.
    pub unsent: Option<Request<Full<Bytes>>>,
}

impl Lease {
    pub fn reused(&self) -> bool {
        self.reused
    }

    pub async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
        address: &Address,
    ) -> Result<Response<Incoming>, Unanswered> {
        let sent = match &mut self.kept {
            Some(Kept::Own(sender)) => {
                request.uri_mut().clone_from(&address.path);
                sender.try_send_request(request).await
            }
            Some(Kept::Shared(shared)) => {
                request.uri_mut().clone_from(&address.absolute);
                // HTTP/2 says it as :authority, which hyper takes from the address.
                request.headers_mut().remove(HOST);
                shared.sender.try_send_request(request).await
            }
            None => {
                let error = Error::new(Code::PlaneInternal, "A connection was used after it was given back.");
                return Err(Unanswered { error, unsent: Some(request) });
            }
        };
        sent.map_err(|mut failure| Unanswered {
            unsent: failure.take_message(),
            error: broken(failure.error()),
        })
    }

    /// The answer is complete: the connection may serve the next request.
    pub fn finish(mut self) {
        if let Some(Kept::Own(mut sender)) = self.kept.take() {
            if sender.is_ready() {
                self.pool.give_back(&self.origin, sender);
            } else if !sender.is_closed() {
                let pool = self.pool.clone();
                let origin = self.origin.clone();
                tokio::task::spawn_local(async move {
                    if sender.ready().await.is_ok() {
                        pool.give_back(&origin, sender);
                    }
                });
            }
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
