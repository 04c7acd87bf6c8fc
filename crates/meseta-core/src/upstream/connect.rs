//! A new connection: name, TCP (both address families raced), TLS, HTTP.

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::spawn_local;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use crate::error::{Code, Error};
use crate::serve::LocalExecutor;
use crate::snapshot::{HttpVersion, Origin};
use crate::upstream::ClientTls;
use crate::upstream::http1::Http1;

/// A connection that is ready for a request. That of HTTP/2 is driven by a task of its own.
pub(super) enum Connected {
    Http1(Http1),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Largest head of an answer that is taken over HTTP/2.
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
) -> Result<Connected, Error> {
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
            HttpVersion::Auto | HttpVersion::Http1 => Ok(Connected::Http1(Http1::plain(stream.into_inner()))),
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
    if negotiated || origin.version == HttpVersion::Http2 {
        http2(TokioIo::new(stream)).await
    } else {
        Ok(Connected::Http1(Http1::tls(stream)))
    }
}

async fn http2<T>(stream: T) -> Result<Connected, Error>
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
    Ok(Connected::Http2(sender))
}

fn refused(error: &hyper::Error) -> Error {
    Error::new(Code::UpstreamProtocolError, format!("the HTTP handshake failed ({error})."))
}
