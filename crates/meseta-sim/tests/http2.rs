//! HTTP/2 with prior knowledge, with hyper's own client.

mod client;

use client::{ask, start, streamed};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use meseta_sim::Simulator;
use serde_json::Value;
use tokio::net::TcpStream;

type Client = SendRequest<Full<Bytes>>;

async fn connect(simulator: &Simulator) -> Client {
    let stream = TcpStream::connect(("127.0.0.1", simulator.port())).await.expect("it listens");
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    client
}

async fn call(client: &mut Client, request: &Value) -> hyper::Result<Response<Incoming>> {
    let request = Request::post("http://sim/v1/chat/completions").body(Full::from(request.to_string()));
    client.send_request(request.expect("a request")).await
}

/// What came of a body, and whether it came to its end.
async fn read(response: Response<Incoming>) -> (String, bool) {
    let mut body = response.into_body();
    let mut text = Vec::new();
    let whole = loop {
        match body.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    };
    (String::from_utf8(text).expect("text"), whole)
}

#[tokio::test]
async fn answers_are_the_same_as_over_http1() {
    let simulator = start();
    let mut client = connect(&simulator).await;
    for request in [ask("echo", "a b c"), streamed("echo;pace=1ms", "a b c"), ask("m;body=300k", "")] {
        let response = call(&mut client, &request).await.expect("a response");
        assert!(response.headers().get("date").is_none());
        let (text, whole) = read(response).await;
        assert!(whole);
        let reply = client::chat(&simulator, &request);
        assert_eq!(text, reply.text());
    }
    let stats = simulator.stats();
    assert_eq!((stats.by_protocol.h2, stats.by_protocol.h1, stats.requests), (3, 3, 6));
    let (stats, _) = {
        let request = Request::get("http://sim/sim/stats").body(Full::default()).expect("a request");
        read(client.send_request(request).await.expect("a response")).await
    };
    let expected =
        r#"{"requests":6,"connections":4,"aborted":0,"in_flight":0,"by_protocol":{"h1":3,"h2":3}}"#;
    assert_eq!(stats, expected);
}

#[tokio::test]
async fn cuts_end_the_connection_after_what_came_before() {
    let simulator = start();
    for cut in ["fin", "rst", "frame"] {
        let mut client = connect(&simulator).await;
        let response = call(&mut client, &streamed(&format!("echo;pace=1ms;cut={cut}@2"), "a b c")).await;
        let (text, whole) = read(response.expect("a head")).await;
        assert!(!whole, "{cut}");
        if cut != "rst" {
            // The role and two tokens; the half of an event breaks off before its content.
            assert_eq!(text.matches("\"content\":").count(), 3, "{text}");
            assert_eq!(text.ends_with("\n\n"), cut == "fin");
        }
        // Nothing is left of the connection.
        assert!(call(&mut client, &ask("m", "")).await.is_err());
    }
    let mut client = connect(&simulator).await;
    assert!(call(&mut client, &ask("m;garbage=http", "")).await.is_err());
    assert_eq!(simulator.stats().aborted, 0);
}

#[tokio::test]
async fn a_cancelled_stream_is_counted_and_its_neighbours_live() {
    let simulator = start();
    let mut client = connect(&simulator).await;
    let response = call(&mut client, &streamed("echo;stall=1", "a b")).await.expect("a head");
    let waiting = {
        let mut client = client.clone();
        tokio::spawn(async move { call(&mut client, &ask("m;first=10m", "")).await.map(drop) })
    };
    while simulator.stats().in_flight < 2 {
        tokio::task::yield_now().await;
    }
    drop(response);
    waiting.abort();
    let (text, whole) = read(call(&mut client, &ask("echo", "still here")).await.expect("a response")).await;
    assert!(whole && text.contains("still here"));
    while simulator.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((simulator.stats().aborted, simulator.stats().connections), (2, 1));
}
