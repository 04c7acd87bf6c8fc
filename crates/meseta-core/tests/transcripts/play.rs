//! Both ends of a transcript: a client and a provider on real sockets, a plane between them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use meseta_core::Plane;
use meseta_core::log::{Reader, Value};
use serde_json::Value as Json;

use crate::script::{Exchange, Message, Script, Step, steps};

/// Longer than any time-out of a transcript, so that a hang is a failure and not a stuck suite.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn play(script: &Script, base: &str, name: &str) {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let upstream_address = upstream.local_addr().expect("an address").to_string();
    let log = std::env::temp_dir().join(format!("meseta-transcript-{}-{name}.db", std::process::id()));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", log.display()));
    }
    let document = document(script, base)
        .replace("<upstream>", &upstream_address)
        .replace("<log>", &log.display().to_string());
    let plane = Plane::start(&document, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
    let stats = plane.stats();
    let (answers, seen) = serve_upstream(upstream);
    let mut client = Client::connect(&stats.listeners[0].address.to_string());
    for (number, exchange) in script.exchanges.iter().enumerate() {
        let place = format!("{name}, exchange {}", number + 1);
        if let Some(message) = &exchange.upstream_sends {
            answers.send(Answer::from(message)).expect("the upstream runs");
        }
        let received = client.exchange(&exchange.client_sends);
        let fill = |text: &str| {
            text.replace("<request_id>", received.header("x-meseta-request-id").unwrap_or("none"))
                .replace("<upstream>", &upstream_address)
                .replace("<snapshot>", &stats.snapshot)
        };
        match (&exchange.upstream_receives, seen.try_recv()) {
            (Some(expected), Ok(request)) => compare(&place, "upstream receives", expected, &request, &fill),
            (None, Err(_)) => {}
            (Some(_), Err(_)) => panic!("{place}: the request did not reach the provider: {received:?}"),
            (None, Ok(request)) => panic!("{place}: the request reached the provider: {request:?}"),
        }
        compare(&place, "client receives", &exchange.client_receives, &received, &fill);
        if !exchange.record.is_empty() {
            check_record(&place, exchange, &log.display().to_string(), &received, &plane);
        }
    }
    drop(client);
    drop(answers);
    assert!(plane.stop(Duration::from_secs(5)), "{name}: requests were left when the plane stopped");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", log.display()));
    }
}

fn document(script: &Script, base: &str) -> String {
    let mut document: Json = serde_json::from_str(base).expect("base.json is JSON");
    let patch = |into: &mut Json, text: &Option<String>| {
        if let Some(text) = text {
            merge(into, &serde_json::from_str(text).expect("a patch is JSON"));
        }
    };
    patch(&mut document["listeners"][0], &script.listener);
    patch(&mut document["targets"][0], &script.target);
    patch(&mut document, &script.config);
    document.to_string()
}

/// RFC 7396.
fn merge(into: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Json::Object(serde_json::Map::new());
    }
    let Json::Object(into) = into else { unreachable!("made an object above") };
    for (key, value) in patch {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Json::Null), value);
        }
    }
}

/// What one end saw.
#[derive(Debug, Default)]
struct Seen {
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    broken: bool,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn compare(place: &str, what: &str, expected: &Message, seen: &Seen, fill: &dyn Fn(&str) -> String) {
    assert_eq!(seen.start, expected.start, "{place}: {what}: {}", String::from_utf8_lossy(&seen.body));
    for (name, value) in &expected.headers {
        if let Some(name) = name.strip_prefix('!') {
            assert_eq!(seen.header(name), None, "{place}: {what}: {name} must not be there");
        } else {
            let found =
                seen.header(name).unwrap_or_else(|| panic!("{place}: {what}: {name} is missing: {seen:?}"));
            if value != "*" {
                assert_eq!(found, fill(value), "{place}: {what}: {name}");
            }
        }
    }
    let (body, broken) = match expected.body.strip_suffix("~broken") {
        Some(body) => (body, true),
        None => (expected.body.as_str(), false),
    };
    let (seen_body, expected) = (String::from_utf8_lossy(&seen.body), fill(body));
    if !matches(&seen_body, &expected) {
        assert_eq!(seen_body, expected, "{place}: {what}: the body");
    }
    assert_eq!(seen.broken, broken, "{place}: {what}: whether it broke off");
}

/// Whether the text is what is expected, where `<any>` stands for anything on its line.
fn matches(text: &str, expected: &str) -> bool {
    let mut pieces = expected.split("<any>");
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        if rest[..at].contains('\n') {
            return false;
        }
        // The last piece must be the end, wherever it also stands before.
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty()
}

fn check_record(place: &str, exchange: &Exchange, log: &str, received: &Seen, plane: &Plane) {
    let id =
        received.header("x-meseta-request-id").expect("a request id").trim_start_matches("req_").to_owned();
    let id = i64::from_str_radix(&id, 16).expect("a hexadecimal id");
    let deadline = Instant::now() + PATIENCE;
    // Requests for health leave no row; then the record is that of the request before.
    while plane.stats().log.queued > 0 {
        assert!(Instant::now() < deadline, "{place}: the log was not written");
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut reader = Reader::open(log).expect("a readable log");
    for (column, expected) in &exchange.record {
        let sql = format!("SELECT {column} FROM requests WHERE id <= ?1 ORDER BY id DESC LIMIT 1");
        let rows = loop {
            let rows = reader.query(&sql, &[Value::Integer(id)]).expect("a column of the log");
            if !rows.is_empty() || Instant::now() > deadline {
                break rows;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let found = match &rows.first().unwrap_or_else(|| panic!("{place}: no row in the log"))[0] {
            Value::Null => "-".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Text(text) if column == "stages" => {
                let names: Vec<&str> =
                    text.split(' ').filter_map(|stage| Some(stage.split_once('=')?.0)).collect();
                names.join(" ")
            }
            Value::Text(text) => text.clone(),
            other => panic!("{place}: {column} is {other:?}"),
        };
        assert_eq!(&found, expected, "{place}: record: {column}");
    }
}

/// What the provider does with one request.
struct Answer {
    head: String,
    chunked: bool,
    steps: Vec<Step>,
}

impl Answer {
    fn from(message: &Message) -> Answer {
        let (head_wanted, body) = if message.start.starts_with('~') {
            (false, message.start.as_str())
        } else {
            (true, message.body.as_str())
        };
        let steps = steps(body);
        let chunked =
            message.header("content-type").is_some_and(|value| value.starts_with("text/event-stream"));
        let mut head = String::new();
        if head_wanted {
            head = format!("HTTP/1.1 {} \r\n", message.start);
            for (name, value) in &message.headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            if chunked {
                head.push_str("transfer-encoding: chunked\r\n\r\n");
            } else {
                let sent: usize =
                    steps.iter().map(|step| if let Step::Send(data) = step { data.len() } else { 0 }).sum();
                // A body that is cut must announce more than it sends.
                let cut = steps.iter().any(|step| !matches!(step, Step::Send(_)));
                head.push_str(&format!("content-length: {}\r\n\r\n", sent + usize::from(cut)));
            }
        }
        Answer { head, chunked, steps }
    }
}

fn serve_upstream(listener: TcpListener) -> (Sender<Answer>, Receiver<Seen>) {
    let (answers, script) = channel::<Answer>();
    let (report, seen) = channel();
    std::thread::spawn(move || {
        let mut connection: Option<TcpStream> = None;
        let mut hung = Vec::new();
        while let Ok(answer) = script.recv() {
            let request = loop {
                let stream = match connection.take() {
                    Some(stream) => stream,
                    None => match listener.accept() {
                        Ok((stream, _)) => stream,
                        Err(_) => return,
                    },
                };
                let mut stream = stream;
                let _ = stream.set_read_timeout(Some(PATIENCE));
                if let Some(request) = read_message(&mut stream, true) {
                    connection = Some(stream);
                    break request;
                }
            };
            let Some(mut stream) = connection.take() else { return };
            if report.send(request).is_err() {
                return;
            }
            if let Some(stream) = perform(&mut stream, &answer).then_some(stream) {
                let hangs = answer.steps.contains(&Step::Hang);
                if hangs { hung.push(stream) } else { connection = Some(stream) }
            }
        }
    });
    (answers, seen)
}

/// Sends the answer; says whether the connection is still open.
fn perform(stream: &mut TcpStream, answer: &Answer) -> bool {
    let _ = stream.set_nodelay(true);
    let _ = stream.write_all(answer.head.as_bytes());
    for step in &answer.steps {
        match step {
            Step::Send(data) => {
                if answer.chunked {
                    let _ = write!(stream, "{:x}\r\n", data.len());
                }
                let _ = stream.write_all(data);
                if answer.chunked {
                    let _ = stream.write_all(b"\r\n");
                }
            }
            Step::Fin => {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return false;
            }
            Step::Rst => {
                let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                return false;
            }
            Step::Hang => return true,
        }
    }
    if answer.chunked {
        let _ = stream.write_all(b"0\r\n\r\n");
    }
    true
}

struct Client {
    stream: TcpStream,
}

impl Client {
    fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).expect("the plane listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Client { stream }
    }

    fn exchange(&mut self, message: &Message) -> Seen {
        let mut request = format!("{} HTTP/1.1\r\nhost: plane\r\n", message.start);
        for (name, value) in &message.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{}", message.body.len(), message.body));
        self.stream.write_all(request.as_bytes()).expect("the plane reads");
        read_message(&mut self.stream, false).expect("an answer")
    }
}

/// One HTTP/1.1 message. `None` when the other end closed before it began.
fn read_message(stream: &mut TcpStream, request: bool) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if !read_more(stream, &mut bytes) {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("an ASCII head");
    let mut body = bytes.split_off(head_end + 4);
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let mut words = start.split(' ');
    let start = if request {
        format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default())
    } else {
        words.nth(1).unwrap_or_default().to_owned()
    };
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { start, headers, ..Seen::default() };
    if seen.header("transfer-encoding") == Some("chunked") {
        (seen.body, seen.broken) = read_chunks(stream, body);
    } else {
        let length: usize =
            seen.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        while body.len() < length {
            if !read_more(stream, &mut body) {
                seen.broken = true;
                break;
            }
        }
        seen.body = body;
    }
    Some(seen)
}

fn read_chunks(stream: &mut TcpStream, mut raw: Vec<u8>) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = raw.windows(2).position(|window| window == b"\r\n") else {
            if read_more(stream, &mut raw) {
                continue;
            }
            return (body, true);
        };
        let size = String::from_utf8_lossy(&raw[..line]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
        while raw.len() < line + 2 + size + 2 {
            if !read_more(stream, &mut raw) {
                return (body, true);
            }
        }
        body.extend_from_slice(&raw[line + 2..line + 2 + size]);
        raw.drain(..line + 2 + size + 2);
        if size == 0 {
            return (body, false);
        }
    }
}

fn read_more(stream: &mut TcpStream, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(read) => {
            into.extend_from_slice(&buffer[..read]);
            true
        }
    }
}
