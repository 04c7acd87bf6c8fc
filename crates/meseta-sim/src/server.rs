//! Starting, accepting, stopping: one thread with one runtime, which nobody else's work can hold up.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder as ThreadBuilder, JoinHandle};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::faults::{BadFaults, Faults};
use crate::handle::{House, handle};
use crate::link::{Link, Socket, see_off};
use crate::record::Recorded;
use crate::script::{BadScript, Script};
use crate::stats::Stats;

/// Connections that may wait to be accepted: load tests open thousands at once.
const BACKLOG: i32 = 4096;

/// A running simulator. It stops when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    house: Arc<House>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Why a simulator did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Bind { address: String, port: u16, source: io::Error },
    /// The script cannot be played.
    Script(BadScript),
    /// The system gave no thread or no event queue.
    Thread(io::Error),
}

impl Simulator {
    /// Starts a simulator and returns once it listens. Port 0 is a free port; `script` is the text of a script.
    pub fn start(address: &str, port: u16, script: Option<&str>) -> Result<Self, StartError> {
        let script = script.map(Script::parse).transpose().map_err(StartError::Script)?.unwrap_or_default();
        let bind = |source| StartError::Bind { address: address.to_owned(), port, source };
        let listener = listen(address, port).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let house = Arc::new(House::playing(script));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&house);
        let thread = ThreadBuilder::new()
            .name("meseta-sim".to_owned())
            .spawn(move || run(&runtime, listener, shared, stopped))
            .map_err(StartError::Thread)?;
        Ok(Self { address, house, running: Mutex::new(Some(Running { stop, thread })) })
    }

    /// The base URL for clients, such as `http://127.0.0.1:41234/v1`.
    pub fn url(&self) -> String {
        // Nobody can call the address that means all of them.
        let address = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], self.address.port())),
            IpAddr::V6(ip) if ip.is_unspecified() => {
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], self.address.port()))
            }
            _ => self.address,
        };
        format!("http://{address}/v1")
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What `GET /sim/stats` answers, without a connection.
    pub fn stats(&self) -> Stats {
        self.house.counters.read()
    }

    /// What `GET /sim/requests` answers: the last requests since recording began, the newest one last. The
    /// first call begins it.
    pub fn requests(&self) -> Vec<Recorded> {
        self.house.recorder.read()
    }

    /// Forgets the recorded requests, and records those to come.
    pub fn clear_requests(&self) {
        self.house.recorder.clear(None);
    }

    /// What `PUT /sim/faults` does: switches faults on for a share of the requests to come, or other ones.
    pub fn set_faults(&self, text: &str) -> Result<(), BadFaults> {
        self.house.break_down(Arc::new(Faults::parse(text)?));
        Ok(())
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        self.house.break_down(Arc::default());
    }

    /// Plays another script from the next request on.
    pub fn set_script(&self, text: &str) -> Result<(), BadScript> {
        self.house.play(Arc::new(Script::parse(text)?));
        Ok(())
    }

    /// Ends every connection and waits for the thread. A second call does nothing.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, thread }) = running {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listen(address: &str, port: u16) -> io::Result<std::net::TcpListener> {
    let none = || io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    let address = (address, port).to_socket_addrs()?.next().ok_or_else(none)?;
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // On Windows this option would let two servers share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn run(
    runtime: &Runtime,
    listener: std::net::TcpListener,
    house: Arc<House>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        // Fails only without a reactor, and this runtime has one.
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        tokio::select! {
            _ = stopped => {}
            () = accept(listener, house) => {}
        }
    });
}

async fn accept(listener: TcpListener, house: Arc<House>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                house.counters.connection();
                let near = peer.ip().to_canonical().is_loopback();
                tokio::spawn(serve(stream, near, Arc::clone(&house)));
            }
            // Out of descriptors, most likely: connections that end will give some back.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn serve(stream: TcpStream, near: bool, house: Arc<House>) {
    // A client that has already left is noticed at the first read.
    let _ = stream.set_nodelay(true);
    let link = Arc::new(Link::default());
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&link)));
    let mut builder = Builder::new(TokioExecutor::new());
    // The date would be the one thing that differs between two answers to the same request.
    builder.http1().auto_date_header(false);
    builder.http2().auto_date_header(false).max_concurrent_streams(4096);
    let service = service_fn(|request| {
        let answer = handle(request, near, Arc::clone(&house), Arc::clone(&link));
        async { Ok::<_, Infallible>(answer.await) }
    });
    see_off(builder.serve_connection(socket, service), &link).await;
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, port, source } => write!(
                f,
                "The simulator cannot listen on {address} port {port}: {source}. Give another port, or 0 for a free one."
            ),
            Self::Script(error) => error.fmt(f),
            Self::Thread(source) => write!(f, "The simulator cannot start its thread: {source}."),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::Thread(source) => Some(source),
            Self::Script(error) => Some(error),
        }
    }
}
