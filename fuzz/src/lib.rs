//! What is asked of every dialect, whatever bytes come: no panic, and what is written is JSON again.

use meseta_wire::conversation::Event;
use meseta_wire::dialect::{self, Context, Destination, Dialect, Quirks, StreamDecoder, StreamEncoder};
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use meseta_wire::sse;

/// The first byte says what the rest is taken for.
pub fn dialect(dialect: Dialect, data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 4 {
        0 => request(dialect, data),
        1 => answer(dialect, data),
        2 => stream(dialect, data),
        _ => error(dialect, data),
    }
}

fn request(dialect: Dialect, data: &[u8]) {
    let Some(json) = read(data) else { return };
    for target in Dialect::ALL {
        let mut losses = Losses::new(dialect, target);
        let Ok(request) = dialect::decode_request(dialect, &json, &mut losses) else { return };
        let quirks = Quirks::default();
        let destination = Destination { model: "a\"b", max_output_tokens: 100, quirks: &quirks };
        if let Ok(body) = dialect::encode_request(target, &request, &destination, &mut losses) {
            must_be_json(&body);
        }
        if let Some(Ok(body)) = dialect::encode_count(target, &request, &destination, &mut losses) {
            must_be_json(&body);
        }
    }
}

fn answer(dialect: Dialect, data: &[u8]) {
    let Some(json) = read(data) else { return };
    let _ = dialect::decode_count(dialect, &json);
    let Ok(answer) = dialect::decode_answer(dialect, &json) else { return };
    for client in Dialect::ALL {
        let mut losses = Losses::new(client, dialect);
        must_be_json(&dialect::encode_answer(client, &answer, &Context::default(), &mut losses));
    }
}

/// Events are divided by line ends; a line `@name` is the name of the next one.
fn stream(dialect: Dialect, data: &[u8]) {
    for client in Dialect::ALL {
        let mut decoder = StreamDecoder::new(dialect);
        let mut encoder = StreamEncoder::new(client, Context { include_usage: true, ..Context::default() });
        let mut out = Vec::new();
        let mut name = String::new();
        let mut open = true;
        for line in data.split(|byte| *byte == b'\n') {
            if let Some(next) = line.strip_prefix(b"@") {
                name = String::from_utf8_lossy(next).into_owned();
                continue;
            }
            open = decoder.event(&name, line, &mut |event| encoder.event(&event, &mut out));
            if !open {
                break;
            }
        }
        if open {
            decoder.end(&mut |event| encoder.event(&event, &mut out));
        }
        encoder.end(&mut out);
        encoder.event(&Event::Ping, &mut out);
        if !matches!(client, Dialect::BedrockConverse) {
            while let Some(end) = sse::event_end(&out) {
                let event: Vec<u8> = out.drain(..end).collect();
                let data = sse::event_data(&event);
                if !data.is_empty() && &*data != b"[DONE]" {
                    must_be_json(&data);
                }
            }
            assert!(out.is_empty(), "an event without its end");
        }
    }
}

fn error(dialect: Dialect, data: &[u8]) {
    let failure = dialect::decode_error(dialect, 400, data);
    for client in Dialect::ALL {
        must_be_json(&dialect::encode_error(client, &failure, "req_1"));
    }
}

fn read(data: &[u8]) -> Option<Json<'_>> {
    Json::parse(std::str::from_utf8(data).ok()?).ok()
}

fn must_be_json(bytes: &[u8]) {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).expect("JSON");
}
