//! What every store must do.

use std::time::Duration;

use super::server::{PATIENCE, Server};
use crate::shared::memory::Memory;
use crate::shared::redis::Address;
use crate::shared::store::{Connect, Store, VALUE_BYTES};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);

async fn contract(store: impl Store) {
    values(&store).await;
    times(&store).await;
    groups(&store).await;
}

async fn values(store: &impl Store) {
    assert_eq!(store.get("nothing").await, Ok(None));
    store.put("a", b"one", LONG).await.unwrap();
    store.put("a", b"two", LONG).await.unwrap();
    assert_eq!(store.get("a").await, Ok(Some(b"two".to_vec())));
    let hostile: Vec<u8> = (0..VALUE_BYTES).map(|at| u8::try_from(at % 256).unwrap()).collect();
    store.put("b\r\n* $1", &hostile, LONG).await.unwrap();
    assert_eq!(store.get("b\r\n* $1").await, Ok(Some(hostile)));
    store.put("short", b"x", SHORT).await.unwrap();
    gone(async || store.get("short").await.unwrap().is_none()).await;
}

async fn times(store: &impl Store) {
    assert_eq!(store.left(&[]).await, Ok(Vec::new()));
    store.put("rest:x", b"r1", LONG).await.unwrap();
    let names: Vec<String> = ["rest:y", "rest:x", "rest:z"].map(str::to_owned).to_vec();
    let left = store.left(&names).await.unwrap();
    assert!(
        matches!(&left[..], [None, Some((value, kept)), None] if value == b"r1" && *kept <= LONG && !kept.is_zero())
    );
    let many: Vec<String> = (0..1000).map(|at| format!("rest:{at}")).collect();
    store.put("rest:777", b"r1", LONG).await.unwrap();
    let left = store.left(&many).await.unwrap();
    assert_eq!(left.len(), many.len());
    assert_eq!(left.iter().position(Option::is_some), Some(777));
}

async fn groups(store: &impl Store) {
    assert_eq!(store.leases("g").await, Ok(Vec::new()));
    store.lease("g", "one", b"1", LONG).await.unwrap();
    store.lease("g", "two", b"2", LONG).await.unwrap();
    store.lease("g", "two", b"22", LONG).await.unwrap();
    store.lease("g", "brief", b"3", SHORT).await.unwrap();
    store.lease("other", "three", b"3", LONG).await.unwrap();
    gone(async || store.leases("g").await.unwrap().len() == 2).await;
    let mut members = store.leases("g").await.unwrap();
    members.sort();
    assert_eq!(members, [("one".to_owned(), b"1".to_vec()), ("two".to_owned(), b"22".to_vec())]);
    store.lease("g", "brief", b"4", LONG).await.unwrap();
    assert_eq!(store.leases("g").await.unwrap().len(), 3, "a member that was gone comes back");
}

async fn gone(is: impl AsyncFn() -> bool) {
    let gone = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, gone).await.is_ok());
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(Memory::default()).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let Some(server) = Server::start("contract") else { return };
    let address = Address::parse(&server.url(), Duration::from_secs(1)).unwrap();
    contract(address.connect().await.unwrap()).await;
}

#[tokio::test]
async fn what_is_not_ours_does_no_harm() {
    let Some(server) = Server::start("foreign") else { return };
    let address = Address::parse(&server.url(), Duration::from_secs(1)).unwrap();
    let store = address.connect().await.unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::pipe()
        .cmd("LPUSH")
        .arg("list")
        .arg("x")
        .cmd("SET")
        .arg("large")
        .arg(vec![b'x'; VALUE_BYTES + 1])
        .cmd("SET")
        .arg("eternal")
        .arg("x")
        .cmd("SADD")
        .arg("g")
        .arg("not a member")
        .arg(b"\xff\xfe")
        .arg("list")
        .arg("x".repeat(100))
        .cmd("SADD")
        .arg("g:list")
        .arg("x")
        .exec_async(&mut connection)
        .await
        .unwrap();
    let refused = store.get("list").await.unwrap_err();
    assert!(!refused.lost, "a wrong type is no reason to reconnect: {}", refused.message);
    assert_eq!(store.get("large").await, Ok(None));
    let names = ["list", "large", "eternal"].map(str::to_owned);
    assert_eq!(store.left(&names).await, Ok(vec![None, None, None]));
    assert_eq!(store.leases("g").await, Ok(Vec::new()));
    assert!(!store.leases("list").await.unwrap_err().lost);
    assert!(!store.lease("list", "me", b"x", LONG).await.unwrap_err().lost);
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let Some(server) = Server::start("password") else { return };
    let url = server.url().replace("pass%20word", "hunter2");
    let address = Address::parse(&url, Duration::from_secs(1)).unwrap();
    let failure = address.connect().await.map(|_| ()).unwrap_err();
    assert!(!failure.message.is_empty() && !failure.message.contains("hunter2"), "{}", failure.message);
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_machine_trusts() {
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let started = Server::start_with("tls", |folder| {
        let (certificate, key) = (folder.join("certificate"), folder.join("key"));
        std::fs::write(&certificate, authority.cert.pem()).unwrap();
        std::fs::write(&key, authority.signing_key.serialize_pem()).unwrap();
        let path = |path: &std::path::Path| path.display().to_string();
        let [certificate, key, port] = [path(&certificate), path(&key), port.to_string()];
        let options = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let clients = ["--tls-auth-clients", "no", "--bind", "127.0.0.1"];
        options.into_iter().chain(clients).map(str::to_owned).collect()
    });
    let Some(_server) = started else { return };
    let url = format!("rediss://:pass%20word@localhost:{port}");
    let parse = || Address::parse(&url, Duration::from_secs(1)).unwrap();
    let failure = parse().connect().await.map(|_| ()).unwrap_err();
    assert!(failure.message.contains("certificate"), "{}", failure.message);
    contract(parse().trusting(&authority.cert.pem()).connect().await.unwrap()).await;
}
