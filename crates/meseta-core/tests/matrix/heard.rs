//! What a client's SDK would hear in an answer. Written from the APIs' documentation and not from the codecs, which are
//! what is tested.

use std::collections::BTreeMap;

use meseta_wire::dialect::Dialect;
use serde_json::{Value as Json, json};

use crate::events::Data;

/// An answer, put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    pub text: String,
    pub refusal: String,
    pub thoughts: String,
    /// Thoughts that only their provider can read.
    pub sealed: usize,
    /// Proofs of whose the thoughts and calls are, in their order.
    pub signatures: Vec<String>,
    /// Name and arguments; those that are JSON in their canonical form.
    pub calls: Vec<(String, String)>,
    /// The dialect's own word.
    pub finish: String,
    pub stop: Option<String>,
    pub usage: Option<Counts>,
    /// How many tokens came with a log probability.
    pub logprobs: usize,
    /// The message of an error.
    pub failed: Option<String>,
}

/// Tokens in the sums that the dialect itself reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// With all that was cached or written to the cache.
    pub input: u64,
    pub cached: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

pub fn whole(client: Dialect, body: &Json) -> Heard {
    match client {
        Dialect::OpenaiChat => chat(&body["choices"][0]["message"], &body["choices"][0], &body["usage"]),
        Dialect::OpenaiResponses => response(body),
        _ => message(body),
    }
}

pub fn streamed(client: Dialect, events: &[Data]) -> Heard {
    match client {
        Dialect::OpenaiChat => chunks(events),
        Dialect::OpenaiResponses => response_events(events),
        _ => message_events(events),
    }
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Arguments as JSON that can be compared.
pub fn canonical(arguments: &str) -> String {
    serde_json::from_str::<Json>(arguments).map_or_else(|_| arguments.to_owned(), |json| json.to_string())
}

fn count(value: &Json) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn openai_counts(usage: &Json, input: &str, output: &str) -> Option<Counts> {
    let (input_details, output_details) =
        (&usage[format!("{input}_details")], &usage[format!("{output}_details")]);
    usage.is_object().then(|| Counts {
        input: count(&usage[input]),
        cached: count(&input_details["cached_tokens"]),
        cache_write: count(&input_details["cache_write_tokens"]),
        output: count(&usage[output]),
        reasoning: count(&output_details["reasoning_tokens"]),
    })
}

fn chat(message: &Json, choice: &Json, usage: &Json) -> Heard {
    let mut heard = Heard {
        text: text(&message["content"]).to_owned(),
        refusal: text(&message["refusal"]).to_owned(),
        thoughts: text(&message["reasoning_content"]).to_owned(),
        finish: text(&choice["finish_reason"]).to_owned(),
        logprobs: list(&choice["logprobs"]["content"]).len(),
        usage: openai_counts(usage, "prompt_tokens", "completion_tokens"),
        ..Heard::default()
    };
    for detail in list(&message["reasoning_details"]) {
        heard.reasoning_detail(detail);
    }
    for call in list(&message["tool_calls"]) {
        let function = &call["function"];
        heard.calls.push((text(&function["name"]).to_owned(), canonical(text(&function["arguments"]))));
        heard.sign(&call["extra_content"]["google"]["thought_signature"]);
    }
    heard
}

impl Heard {
    fn sign(&mut self, signature: &Json) {
        self.signatures.extend(signature.as_str().filter(|text| !text.is_empty()).map(str::to_owned));
    }

    /// `OpenRouter`'s form of a thought.
    fn reasoning_detail(&mut self, detail: &Json) {
        match text(&detail["type"]) {
            "reasoning.encrypted" => {
                self.sealed += 1;
                self.sign(&detail["data"]);
            }
            _ => self.sign(&detail["signature"]),
        }
    }
}

fn chunks(events: &[Data]) -> Heard {
    let mut heard = Heard::default();
    let mut calls: BTreeMap<u64, (String, String)> = BTreeMap::new();
    for event in events.iter().flatten() {
        if let Some(message) = event["error"]["message"].as_str() {
            heard.failed = Some(message.to_owned());
        }
        if event["usage"].is_object() {
            heard.usage = openai_counts(&event["usage"], "prompt_tokens", "completion_tokens");
        }
        let choice = &event["choices"][0];
        if count(&choice["index"]) > 0 {
            continue;
        }
        let delta = &choice["delta"];
        heard.text += text(&delta["content"]);
        heard.refusal += text(&delta["refusal"]);
        heard.thoughts += text(&delta["reasoning_content"]);
        heard.finish += text(&choice["finish_reason"]);
        heard.logprobs += list(&choice["logprobs"]["content"]).len();
        for detail in list(&delta["reasoning_details"]) {
            heard.reasoning_detail(detail);
        }
        for call in list(&delta["tool_calls"]) {
            let known = calls.entry(count(&call["index"])).or_default();
            known.0 += text(&call["function"]["name"]);
            known.1 += text(&call["function"]["arguments"]);
            heard.sign(&call["extra_content"]["google"]["thought_signature"]);
        }
    }
    heard.calls = calls.into_values().map(|(name, arguments)| (name, canonical(&arguments))).collect();
    heard
}

fn response(body: &Json) -> Heard {
    let mut heard = Heard {
        finish: match text(&body["status"]) {
            "incomplete" => text(&body["incomplete_details"]["reason"]).to_owned(),
            status => status.to_owned(),
        },
        usage: openai_counts(&body["usage"], "input_tokens", "output_tokens"),
        failed: body["error"]["message"].as_str().map(str::to_owned),
        ..Heard::default()
    };
    for item in list(&body["output"]) {
        match text(&item["type"]) {
            "reasoning" => {
                let summary: String = list(&item["summary"]).iter().map(|part| text(&part["text"])).collect();
                // A signature of Gemini's for a call stands in an item of its own, and there is no thought behind it.
                let sealed = text(&item["encrypted_content"]);
                if summary.is_empty() && !sealed.is_empty() && !sealed.starts_with("meseta.gemini.") {
                    heard.sealed += 1;
                }
                heard.thoughts += &summary;
                heard.sign(&item["encrypted_content"]);
            }
            "function_call" => {
                heard.calls.push((text(&item["name"]).to_owned(), canonical(text(&item["arguments"]))));
            }
            _ => {
                for part in list(&item["content"]) {
                    heard.text += text(&part["text"]);
                    heard.refusal += text(&part["refusal"]);
                    heard.logprobs += list(&part["logprobs"]).len();
                }
            }
        }
    }
    heard
}

/// From the deltas alone; the end's own object must say the same.
fn response_events(events: &[Data]) -> Heard {
    let mut heard = Heard::default();
    let mut arguments: BTreeMap<u64, String> = BTreeMap::new();
    let mut last = Heard::default();
    for event in events.iter().flatten() {
        match text(&event["type"]) {
            "response.output_text.delta" => {
                heard.text += text(&event["delta"]);
                heard.logprobs += list(&event["logprobs"]).len();
            }
            "response.refusal.delta" => heard.refusal += text(&event["delta"]),
            "response.reasoning_summary_text.delta" => heard.thoughts += text(&event["delta"]),
            "response.function_call_arguments.delta" => {
                *arguments.entry(count(&event["output_index"])).or_default() += text(&event["delta"]);
            }
            "response.output_item.done" => {
                let item = response(&json!({"output": [event["item"]]}));
                heard.signatures.extend(item.signatures);
                heard.sealed += item.sealed;
                if event["item"]["type"] == "function_call" {
                    let said = arguments.remove(&count(&event["output_index"])).unwrap_or_default();
                    heard.calls.push((text(&event["item"]["name"]).to_owned(), canonical(&said)));
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                last = response(&event["response"]);
            }
            "error" => heard.failed = Some(text(&event["message"]).to_owned()),
            _ => {}
        }
    }
    heard.finish.clone_from(&last.finish);
    heard.usage = last.usage;
    heard.failed = heard.failed.or_else(|| last.failed.clone());
    if heard.failed.is_none() {
        assert_eq!(heard, last, "the deltas and the response at their end say different things");
    }
    heard
}

fn anthropic_counts(usage: &Json) -> Option<Counts> {
    let (cached, cache_write) =
        (count(&usage["cache_read_input_tokens"]), count(&usage["cache_creation_input_tokens"]));
    usage.is_object().then(|| Counts {
        input: count(&usage["input_tokens"]) + cached + cache_write,
        cached,
        cache_write,
        output: count(&usage["output_tokens"]),
        reasoning: count(&usage["output_tokens_details"]["thinking_tokens"]),
    })
}

fn message(body: &Json) -> Heard {
    let mut heard = Heard {
        finish: text(&body["stop_reason"]).to_owned(),
        stop: body["stop_sequence"].as_str().map(str::to_owned),
        usage: anthropic_counts(&body["usage"]),
        ..Heard::default()
    };
    for block in list(&body["content"]) {
        match text(&block["type"]) {
            "text" => heard.text += text(&block["text"]),
            "thinking" => {
                heard.thoughts += text(&block["thinking"]);
                heard.sign(&block["signature"]);
            }
            "redacted_thinking" => {
                heard.sealed += 1;
                heard.sign(&block["data"]);
            }
            "tool_use" => heard.calls.push((text(&block["name"]).to_owned(), block["input"].to_string())),
            _ => {}
        }
    }
    heard
}

fn message_events(events: &[Data]) -> Heard {
    let mut body = json!({"content": []});
    let mut partial = String::new();
    let mut failed = None;
    for event in events.iter().flatten() {
        match text(&event["type"]) {
            "content_block_start" => {
                if let Some(content) = body["content"].as_array_mut() {
                    content.push(event["content_block"].clone());
                }
                partial.clear();
            }
            "content_block_delta" => {
                let index = usize::try_from(count(&event["index"])).unwrap_or(0);
                let (block, delta) = (&mut body["content"][index], &event["delta"]);
                for key in ["text", "thinking", "signature"] {
                    if let Some(more) = delta[key].as_str() {
                        block[key] = json!(format!("{}{more}", text(&block[key])));
                    }
                }
                partial += text(&delta["partial_json"]);
            }
            "content_block_stop" => {
                let index = usize::try_from(count(&event["index"])).unwrap_or(0);
                if let Ok(input) = serde_json::from_str::<Json>(&partial) {
                    body["content"][index]["input"] = input;
                }
            }
            "message_start" => body["usage"] = event["message"]["usage"].clone(),
            "message_delta" => {
                body["stop_reason"] = event["delta"]["stop_reason"].clone();
                body["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                if let (Some(usage), Some(more)) = (body["usage"].as_object_mut(), event["usage"].as_object())
                {
                    usage.extend(
                        more.iter()
                            .filter(|(_, value)| !value.is_null())
                            .map(|(k, v)| (k.clone(), v.clone())),
                    );
                }
            }
            "error" => failed = Some(text(&event["error"]["message"]).to_owned()),
            _ => {}
        }
    }
    Heard { failed, ..message(&body) }
}
