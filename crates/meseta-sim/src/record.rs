//! The last requests, for tests that ask what was sent and what came of it. Nothing is kept until somebody has asked
//! once: a load test should not pay for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::request::Parts;
use serde::Serialize;

/// How many are kept unless somebody asks for more, and how many anybody may ask for.
const USUAL: usize = 64;
pub const MOST: usize = 100_000;
const MOST_BODY: usize = 64 << 10;
/// All bodies together; older requests go where newer ones need more.
const MOST_BODIES: usize = 64 << 20;
/// Their values are nobody's business.
const SECRET: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "x-amz-security-token",
];
const MASK: &str = "***";

/// A request as it came in, without its secrets, and what has come of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recorded {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names and values, in the order in which they came.
    pub headers: Vec<[String; 2]>,
    /// At most 64 KiB of it; what is not UTF-8 is replaced.
    pub body: String,
    /// The body was longer than that.
    pub truncated: bool,
    /// The plain name of the model, "" where none was asked for.
    pub model: String,
    /// The header `idempotency-key`.
    pub idempotency_key: Option<String>,
    /// The status of the answer, 0 before its head.
    pub status: u16,
    pub end: End,
    /// Tokens handed to the connection, thoughts included. A whole answer has them with its last byte.
    pub tokens: u64,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It has not.
    Open,
    /// As it should; an error that is the whole answer is one too.
    Complete,
    /// The simulator broke it off, or spoilt it, as ordered.
    Broken,
    /// The client left before.
    Cancelled,
}

/// What has come of one request, while it is answered.
#[derive(Debug, Default)]
pub struct Course {
    model: OnceLock<String>,
    status: AtomicU16,
    end: AtomicU8,
    tokens: AtomicU64,
}

impl Course {
    pub fn asks(&self, model: &str) {
        let _ = self.model.set(model.to_owned());
    }

    pub fn answers(&self, status: u16) {
        self.status.store(status, Relaxed);
    }

    pub fn says(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Relaxed);
    }

    pub fn ends(&self, end: End) {
        self.end.store(end as u8, Relaxed);
    }

    fn end(&self) -> End {
        let all = [End::Open, End::Complete, End::Broken, End::Cancelled];
        all.into_iter().find(|end| *end as u8 == self.end.load(Relaxed)).unwrap_or(End::Open)
    }
}

#[derive(Debug)]
pub struct Recorder {
    on: AtomicBool,
    keep: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    last: VecDeque<(Recorded, Arc<Course>)>,
    bodies: usize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { on: AtomicBool::new(false), keep: AtomicUsize::new(USUAL), kept: Mutex::default() }
    }
}

impl Recorder {
    /// The requests since the first call of this or of `clear`.
    pub fn read(&self) -> Vec<Recorded> {
        self.on.store(true, Relaxed);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = |(recorded, course): &(Recorded, Arc<Course>)| Recorded {
            model: course.model.get().cloned().unwrap_or_default(),
            status: course.status.load(Relaxed),
            end: course.end(),
            tokens: course.tokens.load(Relaxed),
            ..recorded.clone()
        };
        kept.last.iter().map(now).collect()
    }

    /// Forgets the requests so far; from now on as many are kept as are asked for.
    pub fn clear(&self, keep: Option<usize>) {
        self.on.store(true, Relaxed);
        self.keep.store(keep.unwrap_or(USUAL).min(MOST), Relaxed);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }

    /// Keeps a request. What comes of it is told to what is returned.
    pub fn note(&self, head: &Parts, body: &[u8]) -> Option<Arc<Course>> {
        if !self.on.load(Relaxed) {
            return None;
        }
        let kept = body.get(..MOST_BODY).unwrap_or(body);
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            let secret = SECRET.contains(&name.as_str());
            [name.to_string(), if secret { MASK.to_owned() } else { text(value) }]
        };
        let recorded = Recorded {
            method: head.method.to_string(),
            path: masked(head),
            headers: head.headers.iter().map(header).collect(),
            body: String::from_utf8_lossy(kept).into_owned(),
            truncated: kept.len() < body.len(),
            model: String::new(),
            idempotency_key: head.headers.get("idempotency-key").map(text),
            status: 0,
            end: End::Open,
            tokens: 0,
        };
        let course = Arc::<Course>::default();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(
            recorded,
            Arc::clone(&course),
            self.keep.load(Relaxed),
        );
        Some(course)
    }
}

impl Kept {
    fn push(&mut self, recorded: Recorded, course: Arc<Course>, keep: usize) {
        self.bodies += recorded.body.len();
        self.last.push_back((recorded, course));
        while self.last.len() > keep || self.bodies > MOST_BODIES {
            let Some((oldest, _)) = self.last.pop_front() else { break };
            self.bodies = self.bodies.saturating_sub(oldest.body.len());
        }
    }
}

/// Gemini takes its key in the query, too.
fn masked(head: &Parts) -> String {
    let path = head.uri.path();
    let Some(query) = head.uri.query() else { return path.to_owned() };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name @ ("key" | "api_key" | "api-key"), _)) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(pair).collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str) -> Parts {
        let request = http::Request::post(uri).header("X-Api-Key", "secret").header("x-sim", "tokens=1");
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_last_requests_are_kept_without_their_secrets() {
        let recorder = Recorder::default();
        assert!(recorder.note(&head("/v1/early"), b"").is_none());
        assert_eq!(recorder.read(), []);
        for number in 0..70 {
            recorder.note(&head(&format!("/v1/{number}?alt=sse&key=secret")), b"{}");
        }
        let seen = recorder.read();
        assert_eq!(seen.len(), USUAL);
        assert_eq!(seen[0].path, "/v1/6?alt=sse&key=***");
        let expected = [["x-api-key", "***"], ["x-sim", "tokens=1"]];
        assert_eq!(seen[63].headers, expected.map(|pair| pair.map(str::to_owned)));
        recorder.clear(None);
        recorder.note(&head("/"), &vec![b'a'; MOST_BODY + 1]);
        let seen = recorder.read();
        assert!(seen[0].truncated && seen[0].body.len() == MOST_BODY);
    }

    #[test]
    fn more_are_kept_on_request_but_not_without_bounds() {
        let recorder = Recorder::default();
        recorder.clear(Some(usize::MAX));
        let body = vec![b'a'; MOST_BODY];
        for _ in 0..(MOST_BODIES / MOST_BODY + 5) {
            recorder.note(&head("/"), &body);
        }
        assert_eq!(recorder.read().len(), MOST_BODIES / MOST_BODY);
    }

    #[test]
    fn what_comes_of_a_request_is_told() {
        let recorder = Recorder::default();
        recorder.clear(None);
        let course = recorder.note(&head("/"), b"").expect("it records");
        assert_eq!((recorder.read()[0].end, recorder.read()[0].status), (End::Open, 0));
        course.asks("echo");
        course.answers(200);
        course.says(3);
        course.says(2);
        course.ends(End::Cancelled);
        let seen = recorder.read();
        assert_eq!((seen[0].model.as_str(), seen[0].status, seen[0].tokens), ("echo", 200, 5));
        assert_eq!(seen[0].end, End::Cancelled);
    }
}
