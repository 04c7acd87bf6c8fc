//! The bytes that the mock answers with, made once at the start.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::api::Api;

mod chat;
mod messages;

/// Each token's text starts with this byte, and nothing else in an answer holds it: the client counts
/// tokens by it whatever a gateway did to the JSON around it.
pub const MARK: u8 = b'~';
/// A paced token's text is the mark, this many digits of Unix time in nanoseconds, and a space.
pub const STAMP_DIGITS: usize = 19;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                    transfer-encoding: chunked\r\n\r\n";

/// What the answers of one API are made of, before any framing: a body, and a stream's events.
struct Parts {
    whole: String,
    /// The events before the first token.
    opening: Vec<String>,
    /// One token's event, with the mark before its text and a space after it.
    token: fn(&str) -> String,
    /// The events after the last token.
    ending: Vec<String>,
    /// The same when the request asked for the usage.
    ending_with_usage: Vec<String>,
}

pub struct Answers {
    pub whole: Vec<u8>,
    /// A stream in one piece, without and with the usage that was asked for.
    pub instant: [Vec<u8>; 2],
    /// What precedes a paced stream's first token.
    pub stream_head: Vec<u8>,
    /// What follows a paced stream's last token, without and with the usage that was asked for.
    pub stream_end: [Vec<u8>; 2],
    token: Vec<u8>,
    stamp_at: usize,
}

impl Answers {
    pub fn new(api: Api, tokens: usize, body_bytes: usize) -> Self {
        let parts = match api {
            Api::Chat => chat::parts(tokens, body_bytes),
            Api::Messages => messages::parts(tokens, body_bytes),
        };
        let stream_head = HEAD.to_owned() + &chunks(&parts.opening);
        let stream_end = [parts.ending, parts.ending_with_usage].map(|events| chunks(&events) + "0\r\n\r\n");
        let words = chunk(&(parts.token)("word")).repeat(tokens);
        let instant = stream_end.clone().map(|end| (stream_head.clone() + &words + &end).into_bytes());
        let token = chunk(&(parts.token)(&"0".repeat(STAMP_DIGITS)));
        let stamp_at = 1 + token.find(char::from(MARK)).unwrap_or_default();
        Self {
            whole: with_length(&parts.whole),
            instant,
            stream_head: stream_head.into_bytes(),
            stream_end: stream_end.map(String::into_bytes),
            token: token.into_bytes(),
            stamp_at,
        }
    }

    /// Appends one token that carries the present time.
    pub fn stamped_token(&self, output: &mut Vec<u8>) {
        let start = output.len() + self.stamp_at;
        output.extend_from_slice(&self.token);
        let mut rest = unix_nanos();
        for digit in output[start..start + STAMP_DIGITS].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
    }
}

/// The clock that the mock and the client share: both run on one machine.
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A whole answer with its length in the head.
pub fn with_length(body: &str) -> Vec<u8> {
    let mut answer = String::from("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
    let _ = write!(answer, "content-length: {}\r\n\r\n{body}", body.len());
    answer.into_bytes()
}

fn chunks(events: &[String]) -> String {
    events.iter().map(|event| chunk(event)).collect()
}

fn chunk(payload: &str) -> String {
    format!("{:x}\r\n{payload}\r\n", payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const APIS: [Api; 2] = [Api::Chat, Api::Messages];

    #[test]
    fn a_whole_answer_has_the_size_that_was_asked() {
        for api in APIS {
            let answer = String::from_utf8(Answers::new(api, 32, 1024).whole).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(body.len() == 1024 && head.ends_with("content-length: 1024"), "{answer}");
        }
    }

    #[test]
    fn marks_count_the_tokens() {
        let marks = |bytes: &[u8]| memchr::memchr_iter(MARK, bytes).count();
        for api in APIS {
            let answers = Answers::new(api, 5, 1024);
            assert_eq!(answers.instant.each_ref().map(|stream| marks(stream)), [5, 5]);
            assert_eq!(marks(&answers.token), 1);
            for without in [&answers.whole, &answers.stream_head, &answers.stream_end[1]] {
                assert_eq!(marks(without), 0);
            }
        }
    }

    #[test]
    fn a_chat_stream_tells_its_usage_only_when_asked() {
        let instant = Answers::new(Api::Chat, 5, 1024).instant;
        let tells = instant.map(|stream| memchr::memmem::find(&stream, b"\"completion_tokens\":5").is_some());
        assert_eq!(tells, [false, true]);
    }

    #[test]
    fn a_stamp_is_the_present() {
        for api in APIS {
            let answers = Answers::new(api, 1, 1);
            let (before, mut output) = (unix_nanos(), b"kept".to_vec());
            answers.stamped_token(&mut output);
            let text = String::from_utf8(output).unwrap();
            let stamp = text.split(['~', ' ']).find(|word| word.len() == STAMP_DIGITS).unwrap();
            assert!((before..=unix_nanos()).contains(&stamp.parse().unwrap()), "{text}");
        }
    }
}
