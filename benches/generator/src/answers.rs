//! The bytes that the mock answers with, made once at the start.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Each token's text starts with this byte, and nothing else in an answer holds it: the client counts
/// tokens by it whatever a gateway did to the JSON around it.
pub const MARK: u8 = b'~';
/// A paced token's text is the mark, this many digits of Unix time in nanoseconds, and a space.
pub const STAMP_DIGITS: usize = 19;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                    transfer-encoding: chunked\r\n\r\n";

pub struct Answers {
    pub empty: Vec<u8>,
    pub whole: Vec<u8>,
    /// A stream in one piece, without and with the usage chunk.
    pub instant: [Vec<u8>; 2],
    pub stream_head: &'static [u8],
    /// What follows a paced stream's last token, without and with the usage chunk.
    pub stream_end: [Vec<u8>; 2],
    token: Vec<u8>,
    stamp_at: usize,
}

impl Answers {
    pub fn new(tokens: usize, body_bytes: usize) -> Self {
        let stream_end = [false, true].map(|usage| {
            let mut end = chunk(&event(r#"{"delta":{},"finish_reason":"stop"}"#, ""));
            if usage {
                end += &chunk(&event("", &format!(r#","usage":{}"#, usage_of(tokens))));
            }
            end + &chunk("data: [DONE]\n\n") + "0\r\n\r\n"
        });
        let word = chunk(&token_event("word"));
        let instant =
            stream_end.clone().map(|end| (HEAD.to_owned() + &word.repeat(tokens) + &end).into_bytes());
        let token = chunk(&token_event(&"0".repeat(STAMP_DIGITS)));
        let stamp_at = 1 + token.find(char::from(MARK)).unwrap_or_default();
        Self {
            empty: with_length("{}"),
            whole: with_length(&whole(tokens, body_bytes)),
            instant,
            stream_head: HEAD.as_bytes(),
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

fn whole(tokens: usize, body_bytes: usize) -> String {
    let around = |content: &str| {
        format!(
            r#"{{"id":"chatcmpl-mock","object":"chat.completion","created":1700000000,"model":"mock","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{}}}"#,
            usage_of(tokens)
        )
    };
    let content = "lorem ipsum ".chars().cycle().take(body_bytes.saturating_sub(around("").len()));
    around(&content.collect::<String>())
}

fn token_event(text: &str) -> String {
    event(
        &format!(
            r#"{{"delta":{{"role":"assistant","content":"{}{text} "}},"finish_reason":null}}"#,
            char::from(MARK)
        ),
        "",
    )
}

fn event(choice: &str, more: &str) -> String {
    let choice = choice.replacen('{', r#"{"index":0,"#, 1);
    format!(
        "data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
         \"model\":\"mock\",\"choices\":[{choice}]{more}}}\n\n"
    )
}

fn usage_of(tokens: usize) -> String {
    format!(r#"{{"prompt_tokens":16,"completion_tokens":{tokens},"total_tokens":{}}}"#, 16 + tokens)
}

fn chunk(payload: &str) -> String {
    format!("{:x}\r\n{payload}\r\n", payload.len())
}

fn with_length(body: &str) -> Vec<u8> {
    let mut answer = String::from("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
    let _ = write!(answer, "content-length: {}\r\n\r\n{body}", body.len());
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_has_the_size_that_was_asked() {
        assert_eq!(whole(32, 1024).len(), 1024);
        assert!(whole(32, 1).contains(r#""content":"""#));
    }

    #[test]
    fn marks_count_the_tokens() {
        let answers = Answers::new(5, 1024);
        let marks = |bytes: &[u8]| memchr::memchr_iter(MARK, bytes).count();
        assert_eq!(marks(&answers.instant[0]), 5);
        assert_eq!(marks(&answers.whole), 0);
        assert_eq!(marks(&answers.stream_end[1]), 0);
        assert!(answers.instant[1].len() > answers.instant[0].len());
    }

    #[test]
    fn a_stamp_is_the_present() {
        let answers = Answers::new(1, 1);
        let (before, mut output) = (unix_nanos(), b"kept".to_vec());
        answers.stamped_token(&mut output);
        let text = String::from_utf8(output).unwrap();
        let stamp = text.split(['~', ' ']).find(|word| word.len() == STAMP_DIGITS).unwrap();
        assert!((before..=unix_nanos()).contains(&stamp.parse().unwrap()), "{text}");
    }
}
