//! The answers of Anthropic Messages.

use super::{MARK, Parts};
use crate::filler;

pub fn parts(tokens: usize, body_bytes: usize) -> Parts {
    let whole = filler::fill(body_bytes, |content| {
        message(&format!(r#"{{"type":"text","text":"{content}"}}"#), r#""end_turn""#, tokens)
    });
    let start = format!(r#","message":{}"#, message("", "null", 1));
    let opening = vec![
        event("message_start", &start),
        event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#),
        event("ping", ""),
    ];
    let stop = format!(
        r#","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"output_tokens":{tokens}}}"#
    );
    let ending = vec![
        event("content_block_stop", r#","index":0"#),
        event("message_delta", &stop),
        event("message_stop", ""),
    ];
    // A stream of Messages tells its usage always.
    Parts { whole, opening, token, ending: ending.clone(), ending_with_usage: ending }
}

fn message(content: &str, stop_reason: &str, output_tokens: usize) -> String {
    format!(
        r#"{{"id":"msg_mock","type":"message","role":"assistant","model":"mock","content":[{content}],"stop_reason":{stop_reason},"stop_sequence":null,"usage":{{"input_tokens":16,"output_tokens":{output_tokens}}}}}"#
    )
}

fn token(text: &str) -> String {
    let mark = char::from(MARK);
    event(
        "content_block_delta",
        &format!(r#","index":0,"delta":{{"type":"text_delta","text":"{mark}{text} "}}"#),
    )
}

fn event(name: &str, more: &str) -> String {
    format!("event: {name}\ndata: {{\"type\":\"{name}\"{more}}}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_every_event_in_its_order() {
        let parts = parts(2, 1024);
        let token = (parts.token)("word");
        let stream = [parts.opening, vec![token.clone(), token], parts.ending].concat().concat();
        let names: Vec<_> = stream.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(
            names,
            [
                "message_start",
                "content_block_start",
                "ping",
                "content_block_delta",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
            ]
        );
        for (name, data) in names.iter().zip(stream.lines().filter_map(|line| line.strip_prefix("data: "))) {
            assert!(data.starts_with(&format!(r#"{{"type":"{name}""#)) && data.ends_with('}'), "{data}");
        }
    }
}
