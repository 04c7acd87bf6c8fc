//! A provider that answers what a test tells it to, byte for byte, and says what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a request is answered with; the argument is its head and body as text.
type Answer = dyn Fn(&str) -> String + Send + Sync;

#[derive(Clone)]
pub struct Provider {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    answer: Mutex<Arc<Answer>>,
    asked: Mutex<Vec<String>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Provider {
    /// It listens until the test ends.
    pub fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Provider {
        Provider::start_on(TcpListener::bind("127.0.0.1:0").expect("a port"), answer)
    }

    /// At an address of the test's own choice.
    pub fn start_on(
        listener: TcpListener,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Provider {
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            answer: Mutex::new(Arc::new(answer)),
            asked: Mutex::default(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let provider = Provider { address, state };
        let serving = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let provider = serving.clone();
                provider.state.accepted.fetch_add(1, Ordering::SeqCst);
                provider.state.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    provider.serve(stream);
                    provider.state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        provider
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What every request from now on is answered with.
    pub fn answer(&self, answer: impl Fn(&str) -> String + Send + Sync + 'static) {
        *self.state.answer.lock().expect("whole") = Arc::new(answer);
    }

    /// Every request so far, head and body.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().expect("whole").clone()
    }

    /// How many requests had this in them.
    pub fn asked_with(&self, text: &str) -> usize {
        self.asked().iter().filter(|request| request.contains(text)).count()
    }

    /// Connections since the start, and those that are open.
    pub fn connections(&self) -> (usize, usize) {
        (self.state.accepted.load(Ordering::SeqCst), self.state.open.load(Ordering::SeqCst))
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut received = Vec::new();
        while let Some(request) = next_request(&mut stream, &mut received) {
            let answer = self.state.answer.lock().expect("whole").clone();
            let said = answer(&request);
            self.state.asked.lock().expect("whole").push(request);
            if said.is_empty() || stream.write_all(said.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Head and body of one request, by its length; `None` when the connection is over.
fn next_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<String> {
    let mut piece = [0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(received).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length = length.map_or(0, |length| length.trim().parse().expect("a length"));
            if body.len() >= length {
                let request: Vec<u8> = received.drain(..head.len() + 4 + length).collect();
                return Some(String::from_utf8_lossy(&request).into_owned());
            }
        }
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => received.extend_from_slice(&piece[..read]),
            _ => return None,
        }
    }
}

/// An answer with a JSON body.
pub fn json(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// A whole chat answer with this text.
pub fn says(text: &str) -> String {
    let body = format!(
        r#"{{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}}}"#
    );
    json("200 OK", "", &body)
}
