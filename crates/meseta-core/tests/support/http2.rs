//! A client of HTTP/2: hyper's, and single frames for what hyper would not send.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value as Json;
use tokio::net::TcpStream;

use super::PATIENCE;

pub type Client = SendRequest<Full<Bytes>>;

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Runs to the end, or fails when there is none.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("an end in time") })
}

pub async fn connect(address: SocketAddr) -> Client {
    let stream = TcpStream::connect(address).await.expect("the plane listens");
    handshake(stream).await
}

pub async fn handshake<S>(stream: S) -> Client
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    client
}

pub fn chat(request: &Json) -> Request<Full<Bytes>> {
    Request::post("http://plane/v1/chat/completions")
        .body(Full::from(request.to_string()))
        .expect("a request")
}

pub async fn call(client: &Client, request: &Json) -> Response<Incoming> {
    let mut client = client.clone();
    client.ready().await.expect("a free stream");
    client.send_request(chat(request)).await.expect("an answer")
}

pub async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("a whole body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

pub async fn json(response: Response<Incoming>) -> Json {
    serde_json::from_str(&text(response).await).expect("JSON")
}

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;

/// One frame as RFC 9113, section 4.1, has it.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block without dynamic table or Huffman code (RFC 7541, section 6.2.2). Each part is below 127 bytes.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for part in [name, value] {
            block.push(u8::try_from(part.len()).ok().filter(|length| *length < 127).expect("a short part"));
            block.extend_from_slice(part.as_bytes());
        }
    }
    block
}
