//! The one request of a run, as bytes.

use std::fmt::Write as _;

use crate::api::Api;
use crate::arguments;
use crate::filler;

pub fn bytes(settings: &arguments::Load) -> Vec<u8> {
    let (limit, version) = match settings.api {
        Api::Chat => ("", ""),
        // Both are demanded by the API, so every client of it sends them.
        Api::Messages => (r#","max_tokens":1024"#, "anthropic-version: 2023-06-01\r\n"),
    };
    let stream = if settings.stream { r#","stream":true"# } else { "" };
    let pace = settings.pace_us.map(|pace| format!("pace_us={pace} ")).unwrap_or_default();
    let body = filler::fill(settings.body_bytes, |content| {
        format!(
            r#"{{"model":"{}"{limit},"messages":[{{"role":"user","content":"{pace}{content}"}}]{stream}}}"#,
            settings.model
        )
    });
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: */*\r\n{version}content-length: {}\r\n",
        settings.path,
        settings.address,
        body.len()
    );
    for (name, value) in &settings.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    (head + "\r\n" + &body).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> (String, String) {
        let line = format!("--url http://127.0.0.1:80/v1/path --model m {line}");
        let settings = arguments::load(line.split(' ').map(str::to_owned)).ok().unwrap();
        let text = String::from_utf8(bytes(&settings)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn a_request_has_its_size_in_either_api() {
        for api in ["chat", "messages"] {
            let (head, body) = request(&format!("--api {api} --stream --pace-us 7 --header a:b"));
            assert!(head.starts_with("POST /v1/path HTTP/1.1\r\n") && head.ends_with("\r\na: b"), "{head}");
            assert!(head.contains("\r\ncontent-length: 1024\r\n") && body.len() == 1024, "{head}");
            assert!(body.contains(r#""content":"pace_us=7 lorem"#), "{body}");
            assert!(body.ends_with(r#","stream":true}"#), "{body}");
        }
    }

    #[test]
    fn only_messages_has_a_version_and_a_limit() {
        let (head, body) = request("--api messages");
        assert!(head.contains("anthropic-version: ") && body.contains(r#""max_tokens":"#));
        let (head, body) = request("--api chat");
        assert!(!head.contains("anthropic-version: ") && !body.contains(r#""max_tokens":"#));
    }
}
