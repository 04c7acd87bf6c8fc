//! The last requests, for tests that ask what was sent. Nothing is kept until somebody has asked once: a
//! load test should not pay for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use http::request::Parts;
use serde::Serialize;

const MOST: usize = 64;
const MOST_BODY: usize = 64 << 10;
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

/// A request as it came in, without its secrets.
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
}

#[derive(Debug, Default)]
pub struct Recorder {
    on: AtomicBool,
    last: Mutex<VecDeque<Recorded>>,
}

impl Recorder {
    /// The requests since the first call of this or of `clear`.
    pub fn read(&self) -> Vec<Recorded> {
        self.on.store(true, Relaxed);
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub fn clear(&self) {
        self.on.store(true, Relaxed);
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn note(&self, head: &Parts, body: &[u8]) {
        if !self.on.load(Relaxed) {
            return;
        }
        let kept = body.get(..MOST_BODY).unwrap_or(body);
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            let secret = SECRET.contains(&name.as_str());
            let value = String::from_utf8_lossy(value.as_bytes());
            [name.to_string(), if secret { MASK.to_owned() } else { value.into_owned() }]
        };
        let recorded = Recorded {
            method: head.method.to_string(),
            path: masked(head),
            headers: head.headers.iter().map(header).collect(),
            body: String::from_utf8_lossy(kept).into_owned(),
            truncated: kept.len() < body.len(),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == MOST {
            last.pop_front();
        }
        last.push_back(recorded);
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
        recorder.note(&head("/v1/early"), b"");
        assert_eq!(recorder.read(), []);
        (0..70).for_each(|number| recorder.note(&head(&format!("/v1/{number}?alt=sse&key=secret")), b"{}"));
        let seen = recorder.read();
        assert_eq!(seen.len(), MOST);
        assert_eq!(seen[0].path, "/v1/6?alt=sse&key=***");
        let expected = [["x-api-key", "***"], ["x-sim", "tokens=1"]];
        assert_eq!(seen[63].headers, expected.map(|pair| pair.map(str::to_owned)));
        recorder.clear();
        recorder.note(&head("/"), &vec![b'a'; MOST_BODY + 1]);
        let seen = recorder.read();
        assert!(seen[0].truncated && seen[0].body.len() == MOST_BODY);
    }
}
