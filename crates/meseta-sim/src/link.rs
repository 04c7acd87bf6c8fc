//! One connection's socket, and the ways of ending it that HTTP does not know.
//!
//! An answer orders an ending through `Link`. `see_off` then lets go out what the answer had handed over before,
//! and drops the connection; the socket says its last words as it is dropped.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What `garbage=http` sends: neither a status line nor a frame of HTTP/2.
const NOT_HTTP: &[u8] = b"\x16\x03this is not HTTP\r\n\x00\xff\xfe\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// A clean close: the client reads to the end of the stream.
    Fin,
    /// A reset: the client gets an error.
    Reset,
    /// Bytes that are not HTTP, then a clean close.
    NotHttp,
}

/// What the answers on a connection, its socket and its driver know in common.
#[derive(Debug, Default)]
pub struct Link {
    ending: OnceLock<Ending>,
    ordered: Notify,
    /// Bytes may be waiting between hyper and the socket.
    unsent: AtomicBool,
}

impl Link {
    /// Orders the connection's end. The first order counts.
    pub fn end(&self, ending: Ending) {
        if self.ending.set(ending).is_ok() {
            self.ordered.notify_one();
        }
    }
}

/// Drives a connection until it is over, or until an answer ordered its end and all bytes before that are out.
pub async fn see_off<C: Future>(connection: C, link: &Link) {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        _ = &mut connection => return,
        () = link.ordered.notified() => {}
    }
    poll_fn(|context| match connection.as_mut().poll(context) {
        Poll::Pending if link.unsent.load(Relaxed) => Poll::Pending,
        // hyper flushes at the end of each of its turns, so all it had is now with the kernel.
        Poll::Pending | Poll::Ready(_) => Poll::Ready(()),
    })
    .await;
}

/// The socket under a connection.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    link: Arc<Link>,
}

impl Socket {
    pub fn new(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { stream, link }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let socket = SockRef::from(&self.stream);
        // Nobody is left to hear of an error here: the connection is over either way.
        let _ = match self.link.ending.get() {
            None => Ok(()),
            Some(Ending::Reset) => socket.set_linger(Some(Duration::ZERO)),
            Some(Ending::Fin) => close_cleanly(&socket),
            Some(Ending::NotHttp) => (&*socket).write_all(NOT_HTTP).and_then(|()| close_cleanly(&socket)),
        };
    }
}

/// Closing a socket that holds unread bytes would reset the connection, and what the client has yet to get
/// would be lost: so they are read first.
fn close_cleanly(socket: &SockRef<'_>) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    let mut unread = [0; 4096];
    for _ in 0..256 {
        if (&**socket).read(&mut unread)? == 0 {
            break;
        }
    }
    Ok(())
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.link.unsent.store(true, Relaxed);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.unsent.store(true, Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this only with its own buffers empty.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.unsent.store(false, Relaxed);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
