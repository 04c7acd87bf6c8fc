//! Embeddings: OpenAI's request and answer, and Gemini's words for them.

use meseta_wire::dialect::Dialect;
use meseta_wire::embeddings::{EmbeddingsAnswer, decode_request, encode_answer, gemini};
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use proptest::prelude::*;

fn losses() -> Losses {
    Losses::new(Dialect::OpenaiChat, Dialect::GeminiGenerateContent)
}

#[test]
fn one_text_or_many() {
    let mut losses = losses();
    let json = Json::parse(r#"{"model":"m","input":"Hello","encoding_format":"base64","user":"u"}"#).unwrap();
    let request = decode_request(&json, &mut losses).unwrap();
    assert_eq!(request.inputs, ["Hello"]);
    assert!(request.base64);
    assert_eq!(losses.noted(), ["user"]);
    let json = Json::parse(r#"{"model":"m","input":["a","b"],"dimensions":256}"#).unwrap();
    let request = decode_request(&json, &mut losses).unwrap();
    assert_eq!((request.inputs.len(), request.dimensions, request.base64), (2, Some(256), false));
    assert_eq!(
        String::from_utf8(gemini::encode_request(&request, "gemini-embedding-001")).unwrap(),
        concat!(
            r#"{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a"}]},"outputDimensionality":256},"#,
            r#"{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"b"}]},"outputDimensionality":256}]}"#
        )
    );
}

#[test]
fn what_is_wrong_is_named() {
    let many = format!(r#"{{"input":[{}"x"]}}"#, r#""x","#.repeat(2_048));
    let cases = [
        (r#"{"model":"m"}"#, "input", "is missing"),
        (r#"{"input":[]}"#, "input", "must not be empty"),
        (r#"{"input":""}"#, "input", "must not be empty"),
        (r#"{"input":["a",""]}"#, "input[1]", "must not be empty"),
        (r#"{"input":[1,2]}"#, "input[0]", "must be text"),
        (r#"{"input":["a",[1,2]]}"#, "input[1]", "must be text"),
        (r#"{"input":[true]}"#, "input[0]", "must be a string, not a boolean"),
        (r#"{"input":5}"#, "input", "must be a string or an array of strings, not a number"),
        (r#"{"input":"a","dimensions":0}"#, "dimensions", "must be at least 1"),
        (r#"{"input":"a","dimensions":"9"}"#, "dimensions", "must be a number"),
        (r#"{"input":"a","encoding_format":"hex"}"#, "encoding_format", "must be \"float\" or \"base64\""),
        (&many, "input", "must not have more than 2048 items; it has 2049"),
        ("[]", "", "must be an object"),
    ];
    for (text, path, message) in cases {
        let json = Json::parse(text).unwrap();
        let error = decode_request(&json, &mut losses()).unwrap_err();
        assert_eq!(error.path, path, "{text}");
        assert!(error.message.starts_with(message), "{text}: {}", error.message);
    }
}

#[test]
fn an_answer_has_its_vectors_as_numbers_or_as_base64() {
    let body =
        br#"{"embeddings":[{"values":[0.5,-1]},{"values":[2,3.25]}],"usageMetadata":{"promptTokenCount":7}}"#;
    let answer = gemini::decode_answer(body, 2).unwrap();
    assert_eq!(answer.input_tokens, Some(7));
    let mut losses = losses();
    assert_eq!(
        String::from_utf8(encode_answer(&answer, "embed", false, &mut losses)).unwrap(),
        concat!(
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.0]},"#,
            r#"{"object":"embedding","index":1,"embedding":[2.0,3.25]}],"model":"embed","#,
            r#""usage":{"prompt_tokens":7,"total_tokens":7}}"#
        )
    );
    assert!(losses.is_empty());
    let written = encode_answer(&answer, "embed", true, &mut losses);
    let json = Json::parse(std::str::from_utf8(&written).unwrap()).unwrap();
    let first = json.get("data").unwrap().as_array().unwrap()[0].get("embedding").unwrap();
    // 0.5 is 00 00 00 3f and -1 is 00 00 80 bf.
    assert_eq!(first.as_str(), Some("AAAAPwAAgL8="));
}

#[test]
fn unknown_counts_are_noted() {
    let answer = gemini::decode_answer(br#"{"embeddings":[{"values":[1]}]}"#, 1).unwrap();
    assert_eq!(answer, EmbeddingsAnswer { vectors: vec![vec![1.0]], input_tokens: None });
    let mut losses = losses();
    let written = encode_answer(&answer, "m", false, &mut losses);
    assert!(String::from_utf8(written).unwrap().contains(r#""prompt_tokens":0"#));
    assert_eq!(losses.noted(), ["usage"]);
}

#[test]
fn an_answer_that_does_not_fit_is_refused() {
    for (body, path) in [
        (r#"{"embeddings":[{"values":[1]}]}"#, "embeddings"),
        (r#"{"embeddings":[{"values":[1]},{}]}"#, "embeddings[1].values"),
        (r#"{"embeddings":[{"values":[1]},{"values":[1e300]}]}"#, "embeddings[1].values"),
        (r#"{"embeddings":"x"}"#, ""),
        ("nothing", ""),
    ] {
        assert_eq!(gemini::decode_answer(body.as_bytes(), 2).unwrap_err().path, path, "{body}");
    }
}

proptest! {
    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200), inputs in 0_usize..4) {
        let _ = gemini::decode_answer(&body, inputs);
    }

    #[test]
    fn vectors_survive(vector in proptest::collection::vec(-1e6_f32..1e6, 1..40)) {
        let answer = EmbeddingsAnswer { vectors: vec![vector.clone()], input_tokens: Some(1) };
        let written = encode_answer(&answer, "m", false, &mut losses());
        let json: serde_json::Value = serde_json::from_slice(&written).unwrap();
        let read: Vec<f32> = serde_json::from_value(json["data"][0]["embedding"].clone()).unwrap();
        prop_assert_eq!(read, vector);
    }
}
