//! Any conversation can be put into a prompt, and any answer is read or refused. The first byte says which of the two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meseta_select::prompt::{Form, Question, plano, structured};
use meseta_select::reply;
use meseta_select::route::Route;
use meseta_select::turns::Turns;
use meseta_wire::dialect::Dialect;
use meseta_wire::json::Json;
use serde_json::Value;

const NAMES: [&str; 4] = ["weather", "Code generation", "driver's license", "c++"];

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    if kind % 2 == 0 {
        conversation(text);
    } else {
        let _ = reply::content(data);
        if let Ok(chosen) = reply::read(text, &NAMES, 2) {
            assert!(chosen.len() <= 2 && chosen.iter().all(|at| *at < NAMES.len()));
        }
    }
});

fn conversation(text: &str) {
    let Ok(json) = Json::parse(text) else { return };
    let routes = [Route { name: text.to_owned(), description: text.to_owned(), examples: vec![text.to_owned()] }];
    for dialect in [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
        let turns = Turns::read(dialect, &json);
        let (current, before) = turns.current();
        assert!(current.is_empty() || turns.messages.len() > before.count());
        for context_tokens in [0, 300, 8192] {
            let question = Question { model: "m", routes: &routes, turns: &turns, most: 2, context_tokens };
            for body in [plano(&question), structured(&question, Form::Enforced), structured(&question, Form::Plain)] {
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                let last = body["messages"].as_array().and_then(|messages| messages.last());
                assert!(last.is_some_and(|message| message["content"].is_string()));
            }
        }
    }
}
