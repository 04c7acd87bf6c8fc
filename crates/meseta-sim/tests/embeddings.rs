//! Embeddings in all forms of input and encoding.

mod client;

use client::{Reply, post, start};
use meseta_sim::Simulator;
use serde_json::{Value, json};

fn embed(simulator: &Simulator, request: &Value) -> Reply {
    post(simulator, "/v1/embeddings", "", request.to_string().as_bytes())
}

#[test]
fn every_form_of_input_has_its_vectors() {
    let simulator = start();
    for (input, vectors, tokens) in [
        (json!("one two"), 1, 2),
        (json!(["one two", "three"]), 2, 3),
        (json!([1, 2, 3]), 1, 3),
        (json!([[1, 2], [3]]), 2, 3),
    ] {
        let reply = embed(&simulator, &json!({"model": "m", "input": input})).json();
        assert_eq!((&reply["object"], &reply["model"]), (&json!("list"), &json!("m")));
        assert_eq!(reply["usage"], json!({"prompt_tokens": tokens, "total_tokens": tokens}));
        let data = reply["data"].as_array().expect("data");
        assert_eq!(data.len(), vectors);
        for (index, entry) in data.iter().enumerate() {
            assert_eq!((&entry["object"], &entry["index"]), (&json!("embedding"), &json!(index)));
            let vector: Vec<f64> = serde_json::from_value(entry["embedding"].clone()).expect("numbers");
            assert_eq!(vector.len(), 1536);
            assert!((vector.iter().map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-4);
        }
    }
}

#[test]
fn dimensions_and_base64() {
    let simulator = start();
    let request = json!({"model": "m", "input": "x", "dimensions": 3});
    let floats = embed(&simulator, &request).json()["data"][0]["embedding"].clone();
    let floats: Vec<f32> = serde_json::from_value(floats).expect("numbers");
    assert_eq!(floats.len(), 3);
    let mut request = request;
    request["encoding_format"] = json!("base64");
    let text = embed(&simulator, &request).json()["data"][0]["embedding"].clone();
    // Twelve bytes are sixteen digits.
    assert_eq!(text.as_str().map(str::len), Some(16));
    request["input"] = json!("y");
    assert_ne!(embed(&simulator, &request).json()["data"][0]["embedding"], text);
}

#[test]
fn mistakes_are_named() {
    let simulator = start();
    for (request, param) in [
        (json!({"input": "x"}), json!("model")),
        (json!({"model": "m", "input": ""}), json!("input")),
        (json!({"model": "m", "input": "x", "dimensions": 0}), json!("dimensions")),
        (json!({"model": "m"}), Value::Null),
    ] {
        let reply = embed(&simulator, &request);
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &param), "{request}");
    }
    assert_eq!(embed(&simulator, &json!({"model": "unknown", "input": "x"})).status, 404);
}
