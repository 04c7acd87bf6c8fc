//! The answers of `OpenAI` chat completions.

use super::{MARK, Parts};
use crate::filler;

pub fn parts(tokens: usize, body_bytes: usize) -> Parts {
    let usage =
        format!(r#"{{"prompt_tokens":16,"completion_tokens":{tokens},"total_tokens":{}}}"#, 16 + tokens);
    let whole = filler::fill(body_bytes, |content| {
        format!(
            r#"{{"id":"chatcmpl-mock","object":"chat.completion","created":1700000000,"model":"mock","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage}}}"#
        )
    });
    let stop = event(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#, "");
    let done = "data: [DONE]\n\n".to_owned();
    Parts {
        whole,
        opening: Vec::new(),
        token,
        ending: vec![stop.clone(), done.clone()],
        ending_with_usage: vec![stop, event("", &format!(r#","usage":{usage}"#)), done],
    }
}

fn token(text: &str) -> String {
    let mark = char::from(MARK);
    event(
        &format!(
            r#"{{"index":0,"delta":{{"role":"assistant","content":"{mark}{text} "}},"finish_reason":null}}"#
        ),
        "",
    )
}

fn event(choice: &str, more: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
         \"model\":\"mock\",\"choices\":[{choice}]{more}}}\n\n"
    )
}
