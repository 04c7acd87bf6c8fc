//! A new connection: name, TCP (both address families raced), TLS, HTTP.

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::spawn_local;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use crate::error::{Code, Error};
use crate::serve::LocalExecutor;
use crate::snapshot::{HttpVersion, Origin};
use crate::upstream::ClientTls;

/// The half of a connection by which requests are sent; the other half runs as a task of its own.
pub(super) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Largest head of an answer that is taken.
const HEAD_BYTES: usize = 256 * 1024;
/// How often an HTTP/2 connection is asked whether it is still there, and how long the answer may take.
const PING_EVERY: std::time::Duration = std::time::Duration::from_secs(20);
const PING_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // A provider behind a dead NAT entry must not look alive for hours.
    connector.set_keepalive(Some(std::time::Duration::from_secs(60)));
    connector.enforce_http(false);
    connector
}

pub(super) async fn connect(
    mut connector: HttpConnector,
    origin: &Origin,
    tls: Option<&ClientTls>,
) -> Result<Sender, Error> {
    let host = if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.to_string() };
    let uri: Uri = format!("http://{host}:{}/", origin.port).parse().map_err(|error| {
        Error::new(Code::UpstreamConnectFailed, format!("{host} is no host name ({error})."))
    })?;
    let stream = connector.call(uri).await.map_err(|error| {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            reason = format!("{reason}: {inner}");
            source = inner.source();
        }
        Error::new(
            Code::UpstreamConnectFailed,
            format!("no connection to {host}:{} ({reason}).", origin.port),
        )
    })?;
    if !origin.tls {
        return match origin.version {
            HttpVersion::Http2 => http2(stream).await,
            HttpVersion::Auto | HttpVersion::Http1 => http1(stream).await,
        };
    }
    let Some(tls) = tls else {
        return Err(Error::new(Code::PlaneInternal, "TLS was not prepared for this configuration."));
    };
    let name = ServerName::try_from(origin.host.to_string()).map_err(|error| {
        Error::new(
            Code::UpstreamTlsFailed,
            format!("{host} is no name that a certificate could have ({error})."),
        )
    })?;
    let connector = tls.connector(origin.version);
    let stream = connector.connect(name, stream.into_inner()).await.map_err(|error| {
        Error::new(Code::UpstreamTlsFailed, format!("the TLS handshake with {host} failed ({error})."))
    })?;
    let negotiated = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
    let stream = TokioIo::new(stream);
    if negotiated || origin.version == HttpVersion::Http2 { http2(stream).await } else { http1(stream).await }
}

async fn http1<T>(stream: T) -> Result<Sender, Error>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_header_size(HEAD_BYTES)
        .handshake(stream)
        .await
        .map_err(|error| refused(&error))?;
    spawn_local(async move {
        // Whoever uses the connection hears of its end through the sender.
        let _ = connection.await;
    });
    Ok(Sender::Http1(sender))
}

async fn http2<T>(stream: T) -> Result<Sender, Error>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .handshake(stream)
        .await
        .map_err(|error| refused(&error))?;
    spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Sender::Http2(sender))
}

fn refused(error: &hyper::Error) -> Error {
    Error::new(Code::UpstreamProtocolError, format!("the HTTP handshake failed ({error})."))
}
