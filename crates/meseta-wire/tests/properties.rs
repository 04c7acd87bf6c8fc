//! What must hold for any bytes at all, since anybody may send them.

use meseta_wire::conversation::{Block, Delta, Event, Finish};
use meseta_wire::dialect::{Context, Dialect, StreamDecoder, StreamEncoder};
use meseta_wire::edit::{self, Edits};
use meseta_wire::envelope::{self, Envelope, Required};
use meseta_wire::scan::{self, Scanner, Seen};
use meseta_wire::sse;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Bytes that are often nearly JSON: pieces of requests in any order, with anything between them.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            "null",
            "true",
            "false",
            "1",
            "-0.5e9",
            "1e999",
            "\"\"",
            "\"a\\n\"",
            "\"\\ud800\"",
            "\"model\"",
            "\"mod\\u0065l\"",
            "\"stream\"",
            "\"stream_options\"",
            "\"include_usage\"",
            "\"messages\"",
            "\"input\"",
            "{\"messages\":[]",
            "\"model\":\"a/b\"",
            "\"stream_options\":{",
            "\u{feff}",
            "\"",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn flag() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![Value::Null, json!(true), json!(false)])
}

/// A request that must be taken: the fields that are acted on have the types of the API, everything else is anything.
fn request() -> impl Strategy<Value = Map<String, Value>> {
    let name = "[a-z]{0,3}(model|stream|messages|/|\"|é|\\\\)?";
    let options = prop_oneof![
        Just(Value::Null),
        (btree_map("[a-z]{1,4}", value(), 0..3), prop::option::of(flag())).prop_map(|(others, usage)| {
            let mut options: Map<String, Value> = others.into_iter().collect();
            options.extend(usage.map(|usage| ("include_usage".to_owned(), usage)));
            Value::Object(options)
        }),
    ];
    let model = prop_oneof![Just(Value::Null), any::<String>().prop_map(Value::from)];
    (
        btree_map(name, value(), 0..6),
        vec(value(), 0..4),
        prop::option::of(model),
        prop::option::of(flag()),
        prop::option::of(options),
    )
        .prop_map(|(others, messages, model, stream, options)| {
            let mut request: Map<String, Value> = others.into_iter().collect();
            for (key, value) in [("model", model), ("stream", stream), ("stream_options", options)] {
                request.remove(key);
                request.extend(value.map(|value| (key.to_owned(), value)));
            }
            request.insert("messages".to_owned(), messages.into());
            request
        })
}

/// One of the many texts of the same document: blanks between tokens, letters of keys escaped.
fn written(request: &Map<String, Value>, blanks: &str, escape: bool, backwards: bool) -> String {
    let text = |value: &Value| if blanks.is_empty() { value.to_string() } else { format!("{value:#}") };
    let mut fields: Vec<String> = request
        .iter()
        .map(|(key, value)| {
            let mut key = Value::from(key.as_str()).to_string();
            if escape {
                key = key.replace('e', "\\u0065");
            }
            format!("{blanks}{key}{blanks}:{blanks}{}{blanks}", text(value))
        })
        .collect();
    if backwards {
        fields.reverse();
    }
    format!("{blanks}{{{}}}{blanks}", fields.join(","))
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

/// The document with the two things changed that may change.
fn expected(original: &Value, envelope: &Envelope, edits: &Edits<'_>) -> Value {
    let mut expected = original.clone();
    if let Some(model) = edits.model {
        expected["model"] = json!(model);
    }
    if edits.ask_usage && !envelope.include_usage {
        if !expected["stream_options"].is_object() {
            expected["stream_options"] = json!({});
        }
        expected["stream_options"]["include_usage"] = json!(true);
    }
    expected
}

/// The dialects that clients speak.
const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];

/// An event's bytes, data and meaning in each dialect.
type Learnt = (Vec<u8>, Vec<u8>, [Seen; 3]);

/// Everything that a stream's reader learns from packets of the given sizes, and what is left.
fn events(stream: &[u8], mut sizes: impl Iterator<Item = usize>) -> (Vec<Learnt>, Vec<u8>) {
    let mut held = Vec::new();
    let mut events = Vec::new();
    let mut scanners = CLIENTS.map(Scanner::new);
    let mut rest = stream;
    while !rest.is_empty() {
        let (packet, later) = rest.split_at(sizes.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        rest = later;
        held.extend_from_slice(packet);
        while let Some(end) = sse::event_end(&held) {
            let event: Vec<u8> = held.drain(..end).collect();
            let data = sse::event_data(&event).into_owned();
            let meaning = scanners.each_mut().map(|scanner| scanner.event(&data));
            events.push((event, data, meaning));
        }
    }
    (events, held)
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "data:", "data: ", "data", ": comment", "event: x", "id: 1",
            "[DONE]", "{\"choices\":[{}]}", "{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}", "{\"error\":{}}",
            "\"usage\":", "\"error\":", "{\"usage\":null}", "{\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1e99}}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_body_is_read_or_refused(
        body in prop_oneof![nearly_json(), vec(any::<u8>(), 0..64)],
        model in prop::option::of(any::<String>()),
        ask_usage: bool,
    ) {
        for required in [Required::Messages, Required::Input] {
            match envelope::read(&body, required) {
                Ok(envelope) => {
                    // What we take, every other reader of JSON takes too.
                    let original = parsed(&body);
                    prop_assert!(original.is_object());
                    let edits = Edits { model: model.as_deref(), ask_usage };
                    let edited = edit::apply(&body, &envelope, &edits);
                    let edited = parsed(edited.as_deref().unwrap_or(&body));
                    prop_assert_eq!(edited, expected(&original, &envelope, &edits));
                }
                Err(refusal) => prop_assert!(!refusal.to_string().is_empty()),
            }
        }
        for dialect in CLIENTS {
            let _ = scan::answer(dialect, &body);
        }
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else(
        request in request(),
        blanks in prop::sample::select(vec!["", " ", "\n\t \r"]),
        escape: bool,
        backwards: bool,
        model in prop::option::of(any::<String>()),
        ask_usage: bool,
    ) {
        let body = written(&request, blanks, escape, backwards);
        let read = |bytes: &[u8]| envelope::read(bytes, Required::Messages);
        let envelope = read(body.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}: {body}"));
        let original = parsed(body.as_bytes());
        prop_assert_eq!(envelope.model.as_deref(), original["model"].as_str());
        prop_assert_eq!(envelope.stream, original["stream"] == json!(true));
        prop_assert_eq!(envelope.include_usage, original["stream_options"]["include_usage"] == json!(true));

        let edits = Edits { model: model.as_deref(), ask_usage };
        let edited = edit::apply(body.as_bytes(), &envelope, &edits);
        let sent = edited.as_deref().unwrap_or(body.as_bytes());
        prop_assert_eq!(parsed(sent), expected(&original, &envelope, &edits));
        // Every byte of the client's that is not replaced is there, in its place.
        if let (Some(model), Some(span), false) = (&model, &envelope.spans.model, ask_usage) {
            let quoted = Value::from(model.as_str()).to_string();
            if envelope.model.as_ref() != Some(model) {
                let spliced = [&body[..span.start], &quoted, &body[span.end..]].concat();
                prop_assert_eq!(sent, spliced.as_bytes());
            }
        }
        // A second reader sees what was wanted, and has nothing left to do.
        let again = read(sent).unwrap_or_else(|refusal| panic!("{refusal}"));
        prop_assert_eq!(again.stream, envelope.stream);
        prop_assert_eq!(again.include_usage, envelope.include_usage || ask_usage);
        prop_assert_eq!(again.model.as_deref(), model.as_deref().or(envelope.model.as_deref()));
        prop_assert_eq!(edit::apply(sent, &again, &edits), None);
    }

    #[test]
    fn a_field_that_appears_twice_is_refused(
        request in request(),
        key in prop::sample::select(vec!["model", "stream", "stream_options", "messages"]),
        escape: bool,
    ) {
        let mut request = request;
        request.entry(key).or_insert(Value::Null);
        let body = written(&request, "", escape, false);
        let twice = format!("{},\"{key}\":null}}", &body[..body.len() - 1]);
        prop_assert!(envelope::read(twice.as_bytes(), Required::Messages).is_err(), "{}", twice);
    }

    #[test]
    fn the_network_cuts_a_stream_anywhere(
        stream in prop_oneof![stream(), vec(any::<u8>(), 0..128)],
        sizes in vec(1_usize..9, 0..64),
    ) {
        let whole = events(&stream, std::iter::empty());
        prop_assert_eq!(&events(&stream, sizes.into_iter()), &whole);
        prop_assert_eq!(&events(&stream, std::iter::repeat(1)), &whole);
        // Nothing is lost and nothing is made up.
        let bytes: Vec<u8> = whole.0.iter().flat_map(|(event, ..)| event.iter().copied()).chain(whole.1).collect();
        prop_assert_eq!(bytes, stream);
    }

    #[test]
    fn any_data_of_an_event_is_read(data in prop_oneof![nearly_json(), stream()]) {
        let _ = sse::event_data(&data);
        let _ = scan::completed_response(&data);
        for dialect in CLIENTS {
            let _ = Scanner::new(dialect).event(&data);
            let _ = scan::answer(dialect, &data);
        }
    }
}

/// The pieces of one text, told in a dialect and read back.
fn told_and_read(dialect: Dialect, pieces: &[String]) -> Vec<String> {
    let context = Context { id: "1".to_owned(), model: "m".to_owned(), ..Context::default() };
    let mut encoder = StreamEncoder::new(dialect, context);
    let mut bytes = Vec::new();
    let mut tell = |event: Event<'_>| encoder.event(&event, &mut bytes);
    tell(Event::Begin { id: None, model: None, created: None, usage: None });
    tell(Event::BlockBegin { index: 0, block: Block::Text });
    for piece in pieces {
        tell(Event::Delta { index: 0, delta: Delta::Text(piece.as_str().into()) });
    }
    tell(Event::BlockEnd { index: 0 });
    tell(Event::Finish { finish: Finish::Stop, usage: None });
    encoder.end(&mut bytes);
    let mut decoder = StreamDecoder::new(dialect);
    let mut read = Vec::new();
    while let Some(end) = sse::event_end(&bytes) {
        let event: Vec<u8> = bytes.drain(..end).collect();
        decoder.event("", &sse::event_data(&event), &mut |event| {
            if let Event::Delta { delta: Delta::Text(text), .. } = event {
                read.push(text.into_owned());
            }
        });
    }
    read
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Most pieces are read by what stands around them, those with escapes by parsing; nobody must notice.
    #[test]
    fn every_piece_of_a_text_arrives_as_it_was(
        pieces in vec(prop_oneof!["[ a-z]{1,8}", "\\PC{1,4}", "[\"\\\\\n\t\u{1}/]{1,3}", any::<String>()], 0..12),
    ) {
        let expected: Vec<String> = pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect();
        for dialect in CLIENTS {
            let mut read = told_and_read(dialect, &pieces);
            read.retain(|piece| !piece.is_empty());
            prop_assert_eq!(&read, &expected);
        }
    }
}
