//! TLS on a listener and to a provider.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use meseta_sim::Simulator;
use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::{Value as Json, json};
use support::http1::Client;
use support::http2::{self, run};
use support::{Folder, House, PATIENCE, ask, streamed, until};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([name.to_owned()]).expect("a certificate")
}

fn listener_tls(certificate: &CertifiedKey<KeyPair>) -> Json {
    json!({"certificate_pem": certificate.cert.pem(), "private_key_pem": certificate.signing_key.serialize_pem()})
}

fn tls_house(certificate: &CertifiedKey<KeyPair>) -> House {
    House::with(|document| document["listeners"][0]["tls"] = listener_tls(certificate))
}

/// What trusts this certificate and nothing else.
fn trusting(certificate: &CertifiedKey<KeyPair>, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).expect("a certificate");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Client<Tls> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(config.clone(), name).expect("a client");
    let socket = Client::connect(address).stream;
    Client::over(StreamOwned::new(connection, socket))
}

/// What [`House::well`] checks, over TLS.
fn well(house: &House, config: &Arc<ClientConfig>, after: &str) {
    let reply = connect(house.address(), config).chat(&ask("sim/echo", "still there"));
    assert_eq!(reply.content(), "still there", "after {after}");
    until("nothing under way", || house.plane.stats().in_flight == 0);
    assert_eq!(house.plane.stats().panics, 0, "after {after}");
}

#[test]
fn http1_by_negotiation_and_without() {
    let certificate = certificate("localhost");
    let house = tls_house(&certificate);
    assert!(house.plane.stats().listeners[0].tls);
    for protocols in [&["http/1.1"][..], &[]] {
        let mut client = connect(house.address(), &trusting(&certificate, protocols));
        assert_eq!(client.chat(&ask("sim/echo", "whole")).content(), "whole");
        assert!(client.chat(&streamed("sim/echo", "a b")).text().ends_with("data: [DONE]\n\n"));
        let negotiated = client.stream.conn.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(negotiated, protocols.first().map(|protocol| protocol.as_bytes().to_vec()));
    }
}

#[test]
fn http2_by_negotiation() {
    let certificate = certificate("localhost");
    let house = tls_house(&certificate);
    run(async {
        let connector = TlsConnector::from(trusting(&certificate, &["h2", "http/1.1"]));
        let socket = tokio::net::TcpStream::connect(house.address()).await.expect("the plane listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector.connect(name, socket).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let client = http2::handshake(stream).await;
        let answer = http2::call(&client, &streamed("sim/echo", "a b")).await;
        assert!(http2::text(answer).await.ends_with("data: [DONE]\n\n"));
    });
}

#[test]
fn who_does_not_speak_tls_is_shown_out() {
    let certificate = certificate("localhost");
    let house = tls_house(&certificate);
    let garbage: [&[u8]; 5] = [
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        http2::PREFACE,
        b"\x16\x03\x01\xff\xff",
        b"\x16",
        b"\0\0\0\0\0\0",
    ];
    for bytes in garbage {
        let mut client = house.connect();
        client.try_send(bytes);
        client.half_close();
        let rest = client.rest();
        assert!(!rest.starts_with(b"HTTP/"), "{rest:?}");
    }
    assert_eq!(house.plane.stats().requests, 0);
    well(&house, &trusting(&certificate, &[]), "no TLS");
}

#[test]
fn a_handshake_or_a_first_request_that_never_comes_is_not_waited_for() {
    let certificate = certificate("localhost");
    let house = House::with(|document| {
        document["listeners"][0]["tls"] = listener_tls(&certificate);
        document["listeners"][0]["timeouts"] = json!({"head_ms": 2_000, "body_ms": 2_000});
    });
    let mut silent = house.connect();
    let mut beginning = house.connect();
    beginning.send(b"\x16\x03\x01\x02");
    let mut done = connect(house.address(), &trusting(&certificate, &[]));
    done.stream.conn.complete_io(&mut done.stream.sock).expect("a handshake");
    silent.rest();
    beginning.rest();
    done.rest();
    until("all are let go", || house.plane.stats().connections == 0);
}

#[test]
fn a_stop_does_not_wait_for_a_handshake() {
    let certificate = certificate("localhost");
    let house = tls_house(&certificate);
    let mut beginning = house.connect();
    beginning.send(b"\x16\x03\x01\x02");
    until("it is there", || house.plane.stats().connections == 1);
    let began = std::time::Instant::now();
    assert!(house.plane.stop(PATIENCE * 2));
    assert!(began.elapsed() < PATIENCE, "it waited for its limit");
    beginning.rest();
}

#[test]
fn who_speaks_tls_to_a_plain_listener_is_shown_out() {
    let certificate = certificate("localhost");
    let house = House::start();
    for protocols in [&["h2"][..], &["http/1.1"], &[]] {
        let mut client = connect(house.address(), &trusting(&certificate, protocols));
        assert!(client.stream.conn.complete_io(&mut client.stream.sock).is_err());
    }
    house.well("TLS on a plain listener");
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let (old, new) = (certificate("localhost"), certificate("localhost"));
    let house = tls_house(&old);
    let mut kept = connect(house.address(), &trusting(&old, &[]));
    assert_eq!(kept.chat(&ask("sim/echo", "old")).status, 200);
    let mut document = house.document.clone();
    document["listeners"][0]["tls"] = listener_tls(&new);
    house.plane.swap(&document.to_string()).expect("a good document");
    assert_eq!(kept.chat(&ask("sim/echo", "still")).status, 200);
    well(&house, &trusting(&new, &[]), "a new certificate");
    let mut distrusting = connect(house.address(), &trusting(&old, &[]));
    assert!(distrusting.stream.conn.complete_io(&mut distrusting.stream.sock).is_err());
}

#[test]
fn a_certificate_that_cannot_be_used_is_an_error_without_the_key() {
    let (one, other) = (certificate("localhost"), certificate("localhost"));
    let key = one.signing_key.serialize_pem();
    let body = key.lines().nth(1).expect("a line of the key");
    for (certificate_pem, private_key_pem) in [
        (one.cert.pem(), other.signing_key.serialize_pem()),
        (one.cert.pem(), String::new()),
        (String::new(), key.clone()),
        (key.clone(), key.clone()),
        (one.cert.pem(), one.cert.pem()),
        (one.cert.pem(), key.replace(body, &body[1..])),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), key.clone()),
    ] {
        let mut document = support::document("http://127.0.0.1:9/v1");
        let tls = json!({"certificate_pem": certificate_pem, "private_key_pem": private_key_pem});
        document["listeners"][0]["tls"] = tls;
        let error = meseta_core::Plane::start(&document.to_string(), 1).err().expect("an error").to_string();
        assert!(error.contains("the listener models"), "{error}");
        assert!(!error.contains(&body[1..]), "{error}");
    }
}

const TRUSTED: &str = "MESETA_TEST_TRUSTED";

/// Runs the rest of a test in a process that trusts a certificate of ours as it would its machine's: which CAs are
/// trusted is a matter of the environment, and that cannot change under a running process.
fn in_a_process_that_trusts(test: &str, rest: impl FnOnce(&CertifiedKey<KeyPair>)) {
    if let Ok(folder) = std::env::var(TRUSTED) {
        let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).expect("a file");
        let signing_key = KeyPair::from_pem(&read("key.pem")).expect("a key");
        let cert = CertificateParams::new(["localhost".to_owned()])
            .and_then(|parameters| parameters.self_signed(&signing_key))
            .expect("a certificate");
        return rest(&CertifiedKey { cert, signing_key });
    }
    let folder = Folder::new();
    let trusted = certificate("localhost");
    std::fs::write(folder.file("key.pem"), trusted.signing_key.serialize_pem()).expect("written");
    std::fs::write(folder.file("ca.pem"), trusted.cert.pem()).expect("written");
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", test, "--nocapture"])
        .env(TRUSTED, folder.path())
        .env("SSL_CERT_FILE", folder.file("ca.pem"))
        .env_remove("SSL_CERT_DIR")
        .output()
        .expect("a child");
    let printed =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

fn server(certificate: &CertifiedKey<KeyPair>) -> ServerConfig {
    let key =
        PrivateKeyDer::from_pem_slice(certificate.signing_key.serialize_pem().as_bytes()).expect("a key");
    let chain: Vec<CertificateDer<'static>> = vec![certificate.cert.der().clone()];
    ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a server")
}

/// A provider behind TLS: every connection is handed through to the simulator.
fn provider(config: ServerConfig, simulator: &Simulator) -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = socket.local_addr().expect("an address").port();
    let behind = SocketAddr::from(([127, 0, 0, 1], simulator.port()));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    std::thread::spawn(move || {
        http2::runtime().block_on(async {
            socket.set_nonblocking(true).expect("an option");
            let listener = tokio::net::TcpListener::from_std(socket).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let mut inside =
                        tokio::net::TcpStream::connect(behind).await.expect("the simulator listens");
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
    });
    format!("https://localhost:{port}/v1")
}

fn calls(house: &House, base_url: &str, http_version: &str) -> support::http1::Reply {
    let mut document = house.document.clone();
    document["targets"][0]["base_url"] = json!(base_url);
    document["targets"][0]["http_version"] = json!(http_version);
    house.plane.swap(&document.to_string()).expect("a good document");
    house.chat(&ask("sim/echo", "over TLS"))
}

#[test]
fn a_trusted_provider_is_called_in_the_version_that_it_negotiates() {
    in_a_process_that_trusts("a_trusted_provider_is_called_in_the_version_that_it_negotiates", |trusted| {
        let house = House::start();
        for (offered, asked, expected) in [
            (&["h2", "http/1.1"][..], "auto", "h2"),
            (&["http/1.1"], "auto", "h1"),
            (&[], "auto", "h1"),
            (&["h2", "http/1.1"], "http1", "h1"),
            (&["h2", "http/1.1"], "http2", "h2"),
        ] {
            let before = house.simulator.stats().by_protocol;
            let mut config = server(trusted);
            config.alpn_protocols = offered.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            let reply = calls(&house, &provider(config, &house.simulator), asked);
            assert_eq!(reply.content(), "over TLS", "{offered:?}, {asked}");
            let after = house.simulator.stats().by_protocol;
            let seen = (after.h1 - before.h1, after.h2 - before.h2);
            assert_eq!(seen, if expected == "h1" { (1, 0) } else { (0, 1) }, "{offered:?}, {asked}");
        }
        // TLS 1.2 is old and still about.
        let key =
            PrivateKeyDer::from_pem_slice(trusted.signing_key.serialize_pem().as_bytes()).expect("a key");
        let old = ServerConfig::builder_with_protocol_versions(&[&TLS12])
            .with_no_client_auth()
            .with_single_cert(vec![trusted.cert.der().clone()], key)
            .expect("a server");
        assert_eq!(calls(&house, &provider(old, &house.simulator), "auto").content(), "over TLS");
    });
}

#[test]
fn a_provider_that_cannot_be_trusted_gets_no_request() {
    in_a_process_that_trusts("a_provider_that_cannot_be_trusted_gets_no_request", |trusted| {
        let house = House::start();
        let refused = |base_url: &str, why: &str| {
            let reply = calls(&house, base_url, "auto");
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (502, "upstream.tls_failed"),
                "{why}: {}",
                reply.text()
            );
            assert!(reply.text().contains("TLS handshake with"), "{}", reply.text());
        };
        // The right key and the wrong name: the certificate is for localhost, not for its address.
        let good = provider(server(trusted), &house.simulator);
        refused(&good.replace("localhost", "127.0.0.1"), "a wrong name");
        refused(&provider(server(&certificate("localhost")), &house.simulator), "an unknown certificate");
        refused(&house.simulator.url().replace("http:", "https:"), "no TLS at all");
        let mut expired = CertificateParams::new(["localhost".to_owned()]).expect("a certificate");
        expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let signing_key = KeyPair::from_pem(&trusted.signing_key.serialize_pem()).expect("a key");
        let cert = expired.self_signed(&signing_key).expect("a certificate");
        refused(
            &provider(server(&CertifiedKey { cert, signing_key }), &house.simulator),
            "an expired certificate",
        );
        assert_eq!(house.reached(), 0);
        // TLS is what the other end speaks, and we do not.
        let reply =
            calls(&house, &good.replace("https:", "http:").replace("localhost", "127.0.0.1"), "http1");
        assert_eq!(reply.status, 502);
        assert_eq!(calls(&house, &good, "auto").content(), "over TLS");
    });
}

#[test]
fn a_handshake_that_stalls_is_a_connection_that_took_too_long() {
    in_a_process_that_trusts("a_handshake_that_stalls_is_a_connection_that_took_too_long", |_| {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = silent.local_addr().expect("an address").port();
        let house = House::with(|document| {
            document["targets"][0]["base_url"] = json!(format!("https://localhost:{port}/v1"));
            document["targets"][0]["timeouts"]["connect_ms"] = json!(100);
        });
        let reply = house.chat(&ask("sim/echo", "x"));
        assert_eq!((reply.status, reply.code().as_str()), (504, "upstream.connect_timeout"));
    });
}
