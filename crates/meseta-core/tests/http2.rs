//! HTTP/2 on either side and on both, and what its streams do not do to each other.

mod support;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use support::http2::{self, call, connect, run};
use support::{House, ask, streamed, until};

fn upstream_http2() -> House {
    House::with(|document| document["targets"][0]["http_version"] = json!("http2"))
}

fn by_protocol(house: &House) -> (u64, u64) {
    let seen = house.simulator.stats().by_protocol;
    (seen.h1, seen.h2)
}

/// The texts of a stream's pieces, which must end as it should.
fn pieces(events: &str) -> Vec<String> {
    assert!(events.ends_with("data: [DONE]\n\n"), "{events}");
    events
        .split("\n\n")
        .filter_map(|event| serde_json::from_str::<Json>(event.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .filter(|text| !text.is_empty())
        .collect()
}

async fn whole_and_streamed(house: &House) {
    let client = connect(house.address()).await;
    let answer = call(&client, &ask("sim/echo", "whole")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-meseta-model"], "sim/echo");
    assert_eq!(http2::json(answer).await["choices"][0]["message"]["content"], "whole");
    let answer = call(&client, &streamed("sim/echo", "one two three")).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(pieces(&http2::text(answer).await), ["one", " two", " three"]);
    let answer = call(&client, &ask("sim/echo;status=503;retry-after=7", "x")).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"7".parse().expect("a value"))
    );
    let answer = call(&client, &ask("nobody", "x")).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(http2::json(answer).await["error"]["code"], "model.not_found");
}

#[test]
fn from_the_client() {
    let house = House::start();
    run(whole_and_streamed(&house));
    assert_eq!(by_protocol(&house), (3, 0));
    house.well("HTTP/2");
}

#[test]
fn to_the_provider() {
    let house = upstream_http2();
    let mut client = house.connect();
    assert_eq!(client.chat(&ask("sim/echo", "whole")).content(), "whole");
    let reply = client.chat(&streamed("sim/echo", "one two"));
    assert_eq!(pieces(&reply.text()), ["one", " two"]);
    assert_eq!(by_protocol(&house), (0, 2));
    assert_eq!(house.simulator.stats().connections, 1);
    house.well("HTTP/2 to the provider");
}

#[test]
fn on_both_sides() {
    let house = upstream_http2();
    run(whole_and_streamed(&house));
    assert_eq!(by_protocol(&house), (0, 3));
    house.well("HTTP/2 on both sides");
}

/// `identify` and the other head checks read what HTTP/2 writes in its own way.
#[test]
fn methods_and_paths() {
    let house = House::start();
    run(async {
        let mut client = connect(house.address()).await;
        for (method, path, status) in [
            (Method::GET, "/healthz", 200),
            (Method::HEAD, "/v1/models", 200),
            (Method::GET, "/v1/models?limit=2", 200),
            (Method::GET, "/v1/chat/completions", 405),
            (Method::DELETE, "/nothing", 404),
        ] {
            let request = Request::builder().method(method).uri(format!("http://plane{path}"));
            let answer = client.send_request(request.body(Full::default()).expect("a request")).await;
            assert_eq!(answer.expect("an answer").status(), status, "{path}");
        }
    });
}

#[test]
fn a_body_over_the_limit() {
    let house = House::start();
    run(async {
        let mut client = connect(house.address()).await;
        let body = Full::from(Bytes::from(vec![b' '; 2 * 1024 * 1024]));
        let request = Request::post("http://plane/v1/chat/completions").body(body).expect("a request");
        let answer = client.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(http2::json(answer).await["error"]["code"], "request.too_large");
        // The connection is still good.
        let answer = call(&client, &ask("sim/echo", "small")).await;
        assert_eq!(answer.status(), StatusCode::OK);
    });
    house.well("a large body over HTTP/2");
}

#[test]
fn many_streams_at_once() {
    for house in [House::start(), upstream_http2()] {
        run(async {
            let client = connect(house.address()).await;
            let mut asked = tokio::task::JoinSet::new();
            for number in 0..300 {
                let client = client.clone();
                asked.spawn(async move {
                    let text = format!("stream {number}");
                    let answer = call(&client, &streamed("sim/echo;pace=1ms", &text)).await;
                    (text, pieces(&http2::text(answer).await).concat())
                });
            }
            while let Some(ended) = asked.join_next().await {
                let (text, answer) = ended.expect("an answer");
                assert_eq!(text, answer);
            }
        });
        assert_eq!(house.reached(), 300);
        house.well("300 streams");
    }
}

#[test]
fn one_stream_that_is_cancelled_leaves_the_others_alone() {
    for house in [House::start(), upstream_http2()] {
        run(async {
            let client = connect(house.address()).await;
            let mut stalled = call(&client, &streamed("sim/echo;stall=2", "one two three")).await.into_body();
            let mut steady = call(&client, &streamed("sim/echo;pace=5ms;tokens=40", "x")).await.into_body();
            for body in [&mut stalled, &mut steady] {
                body.frame().await.expect("a frame").expect("a piece");
            }
            drop(stalled);
            let rest = steady.collect().await.expect("the other stream's end").to_bytes();
            assert!(rest.ends_with(b"data: [DONE]\n\n"));
        });
        until("the provider sees one call cancelled", || {
            let stats = house.simulator.stats();
            (stats.aborted, stats.in_flight) == (1, 0)
        });
        house.well("a cancelled stream");
    }
}

#[test]
fn a_provider_that_ends_the_connection_ends_its_streams_with_an_error() {
    let house = upstream_http2();
    let mut client = house.connect();
    for (model, code) in [
        ("sim/echo;cut=fin@1", "upstream.cut"),
        ("sim/echo;cut=rst@1", "upstream.cut"),
        ("sim/echo;garbage=http", "upstream."),
    ] {
        let reply = client.chat(&streamed(model, "one two three"));
        assert!(reply.text().contains(&format!("\"code\":\"{code}")), "{model}: {}", reply.text());
        assert!(!reply.text().contains("[DONE]"), "{model}");
    }
    // A new connection is made for the next one.
    assert_eq!(client.chat(&ask("sim/echo", "again")).content(), "again");
    house.well("connections that the provider ended");
}

#[test]
fn a_provider_without_http2_is_an_error_and_not_a_hang() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let house = House::with(|document| {
        document["targets"][0]["http_version"] = json!("http2");
        document["targets"][0]["base_url"] = json!(format!("http://{address}/v1"));
    });
    let provider = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.read(&mut [0; 1024]);
        let _ =
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
    let reply = house.chat(&ask("sim/echo", "x"));
    assert_eq!(reply.status, 502);
    assert!(reply.code().starts_with("upstream."), "{}", reply.text());
    provider.join().expect("it ended");
}
