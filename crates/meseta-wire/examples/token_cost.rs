//! What a token of a translated stream costs: each provider's dialect to each client's, in one thread, without a network.
//!
//! `cargo run --release -p meseta-wire --example token_cost` prints a table of nanoseconds for each token. A token is one
//! event of five letters, as providers send them; the events are cut out of the bytes, decoded, and encoded again.

use std::time::Instant;

use meseta_wire::conversation::{Block, Delta, Event, Finish};
use meseta_wire::dialect::{Context, Dialect, StreamDecoder, StreamEncoder};
use meseta_wire::eventstream::Frames;
use meseta_wire::sse;
use meseta_wire::usage::Usage;

const TOKENS: u32 = 20_000;
const ROUNDS: usize = 15;
const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];

fn main() {
    println!("| provider \\ client | {} |", CLIENTS.map(Dialect::as_str).join(" | "));
    println!("|---|--:|--:|--:|");
    for provider in Dialect::ALL {
        let stream = told(provider);
        let costs = CLIENTS.map(|client| {
            let mut times: Vec<u128> = (0..ROUNDS).map(|_| translate(provider, client, &stream)).collect();
            times.sort_unstable();
            format!("{}", times[ROUNDS / 2] / u128::from(TOKENS))
        });
        println!("| {} | {} |", provider.as_str(), costs.join(" | "));
    }
}

fn context() -> Context {
    Context {
        id: "0123456789abcdef".to_owned(),
        request_id: "req_0123456789abcdef".to_owned(),
        model: "provider/model".to_owned(),
        created: 1_700_000_000,
        include_usage: true,
        echo: None,
    }
}

/// A stream of one long text, in a provider's own bytes.
fn told(provider: Dialect) -> Vec<u8> {
    let mut encoder = StreamEncoder::new(provider, context());
    let mut bytes = Vec::new();
    let mut tell = |event: Event<'_>| encoder.event(&event, &mut bytes);
    tell(Event::Begin { id: None, model: None, created: None, usage: None });
    tell(Event::BlockBegin { index: 0, block: Block::Text });
    for _ in 0..TOKENS {
        tell(Event::Delta { index: 0, delta: Delta::Text(" word".into()) });
    }
    tell(Event::BlockEnd { index: 0 });
    let usage = Usage { input: 7, output: u64::from(TOKENS), ..Usage::default() };
    tell(Event::Finish { finish: Finish::Stop, usage: Some(usage) });
    encoder.end(&mut bytes);
    bytes
}

/// Nanoseconds for the whole stream.
fn translate(provider: Dialect, client: Dialect, stream: &[u8]) -> u128 {
    let began = Instant::now();
    let mut decoder = StreamDecoder::new(provider);
    let mut encoder = StreamEncoder::new(client, context());
    let mut out = Vec::with_capacity(64 * 1024);
    let mut written = 0;
    if provider == Dialect::BedrockConverse {
        let mut frames = Frames::default();
        for packet in stream.chunks(16 * 1024) {
            frames.push(packet);
            while let Ok(Some(frame)) = frames.next() {
                let (name, data) = frame.event();
                decoder.event(&name, data, &mut |event| encoder.event(&event, &mut out));
            }
            written += out.len();
            out.clear();
        }
    } else {
        let mut rest = stream;
        while let Some(end) = sse::event_end(rest) {
            decoder.event("", &sse::event_data(&rest[..end]), &mut |event| encoder.event(&event, &mut out));
            rest = &rest[end..];
            if out.len() > 16 * 1024 {
                written += out.len();
                out.clear();
            }
        }
    }
    decoder.end(&mut |event| encoder.event(&event, &mut out));
    encoder.end(&mut out);
    let took = began.elapsed().as_nanos();
    assert!(written + out.len() > TOKENS as usize * 5, "{provider:?} to {client:?} lost its text");
    took
}
