//! What a client must hear of what the script says, by what both ends can say: the fates of an answer.

use meseta_wire::dialect::Dialect;
use serde_json::Value as Json;

use crate::case::Case;
use crate::heard::{Counts, Heard, canonical};

const CHAT: Dialect = Dialect::OpenaiChat;
const RESPONSES: Dialect = Dialect::OpenaiResponses;
const MESSAGES: Dialect = Dialect::AnthropicMessages;
const GEMINI: Dialect = Dialect::GeminiGenerateContent;
const CONVERSE: Dialect = Dialect::BedrockConverse;

/// The differences between what was heard and what the script said.
pub fn differences(reply: &Json, client: Dialect, provider: Dialect, heard: &Heard) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, heard: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
        let (heard, expected) = (format!("{heard:?}"), format!("{expected:?}"));
        if heard != expected {
            found.push(format!("{what} is {heard}, the script says {expected}"));
        }
    };
    let (text, refusal) = texts(reply, client, provider);
    compare("the text", &heard.text, &text);
    compare("the refusal", &heard.refusal, &refusal);
    let blocks = reply["content"].as_array().map_or(&[][..], Vec::as_slice);
    let thoughts: Vec<&Json> = blocks.iter().filter(|block| block["thinking"].is_string()).collect();
    let sealed = thoughts.iter().filter(|block| block["redacted"] == true).count();
    let open: String = thoughts
        .iter()
        .filter(|block| block["redacted"] != true)
        .filter_map(|b| b["thinking"].as_str())
        .collect();
    compare("the thinking", &heard.thoughts, &open);
    compare("sealed thoughts", &heard.sealed, &if [CHAT, GEMINI].contains(&provider) { 0 } else { sealed });
    let calls: Vec<(String, String)> = blocks
        .iter()
        .filter_map(|block| {
            let arguments = match &block["arguments"] {
                Json::String(text) => canonical(text),
                Json::Null => "{}".to_owned(),
                json => json.to_string(),
            };
            Some((block["tool"].as_str()?.to_owned(), arguments))
        })
        .collect();
    compare("the calls", &heard.calls, &calls);
    let signatures = signatures(&thoughts, !calls.is_empty(), client, provider);
    compare("the signatures", &marks(&heard.signatures, &signatures), &signatures);
    compare("the end's reason", &heard.finish, &finish(reply, client, provider));
    if let Some(usage) = usage(reply, provider) {
        compare("the usage", &heard.usage.unwrap_or_default(), &usage);
    }
    found
}

/// Text and refusal: a dialect without refusals says them as text.
fn texts(reply: &Json, client: Dialect, provider: Dialect) -> (String, String) {
    let apart = [CHAT, RESPONSES].contains(&provider) && [CHAT, RESPONSES].contains(&client);
    let (mut text, mut refusal) = (String::new(), String::new());
    for block in reply["content"].as_array().into_iter().flatten() {
        text += block["text"].as_str().unwrap_or_default();
        let into = if apart { &mut refusal } else { &mut text };
        *into += block["refusal"].as_str().unwrap_or_default();
    }
    (text, refusal)
}

/// What must be the same whole and streamed. The simulator draws what the script does not give, and Gemini's address, which
/// it draws from, says whether an answer is streamed.
pub fn comparable(case: &Case, provider: Dialect, heard: &Heard) -> Heard {
    let given =
        case.reply["content"].as_array().into_iter().flatten().any(|block| block["signature"].is_string());
    let mut heard = heard.clone();
    if provider == GEMINI && !given {
        heard.signatures.iter_mut().for_each(String::clear);
    }
    heard
}

/// What each signature begins with and, where the script gives it, its value. Chat completions sign nothing; Gemini signs
/// the first call alone. A foreign signature is marked; only a Gemini signature has a place of its own in chat completions.
fn signatures(thoughts: &[&Json], calls: bool, client: Dialect, provider: Dialect) -> Vec<String> {
    let open = thoughts.iter().filter(|thought| thought["redacted"] != true).count();
    // Anthropic's thoughts have a signature always.
    let mut unsigned = if client == MESSAGES { vec!["meseta.none".to_owned(); open] } else { Vec::new() };
    let family = match provider {
        CHAT => return unsigned,
        RESPONSES => "openai",
        GEMINI => "gemini",
        MESSAGES | CONVERSE => "anthropic",
    };
    let own = match client {
        MESSAGES => "anthropic",
        _ => "openai",
    };
    let mark = if family == own || (client, provider) == (CHAT, GEMINI) {
        String::new()
    } else {
        format!("meseta.{family}.")
    };
    let value = |thought: &&&Json| {
        let given = thought["signature"].as_str().filter(|_| thought["redacted"] != true);
        format!("{mark}{}", given.unwrap_or("*"))
    };
    if provider == GEMINI {
        let first = thoughts.first().map_or_else(|| format!("{mark}*"), |thought| value(&thought));
        unsigned.extend(calls.then_some(first));
        return unsigned;
    }
    thoughts.iter().map(|thought| value(&thought)).collect()
}

/// Signatures with `*` where the script does not give their value.
fn marks(heard: &[String], expected: &[String]) -> Vec<String> {
    let mut shown = heard.to_vec();
    for (heard, expected) in shown.iter_mut().zip(expected) {
        if let Some(mark) = expected.strip_suffix('*')
            && let Some(value) = heard.strip_prefix(mark)
            && !value.starts_with("meseta.")
        {
            heard.clone_from(expected);
        }
    }
    shown
}

/// The word that means it in the client's dialect, after the provider's has said it.
fn finish(reply: &Json, client: Dialect, provider: Dialect) -> &'static str {
    let blocks = reply["content"].as_array().map_or(&[][..], Vec::as_slice);
    let has = |key: &str| blocks.iter().any(|block| block[key].is_string());
    let said = match reply["finish"].as_str() {
        Some(finish) => finish,
        None if has("tool") => "tool_calls",
        None if has("refusal") => "refusal",
        None => "stop",
    };
    let told = match (provider, said) {
        (CHAT | RESPONSES | GEMINI, "stop_sequence") => "stop",
        (MESSAGES, "content_filter") => "refusal",
        (GEMINI | CONVERSE, "refusal") => "content_filter",
        _ => said,
    };
    match (client, told) {
        (MESSAGES, "length") => "max_tokens",
        (MESSAGES, "tool_calls") => "tool_use",
        (MESSAGES, "stop_sequence") => "stop_sequence",
        (MESSAGES, "content_filter" | "refusal") => "refusal",
        (MESSAGES, _) => "end_turn",
        (RESPONSES, "length") => "max_output_tokens",
        (_, "content_filter") => "content_filter",
        // Neither of OpenAI's dialects has a word for it. Their own refusals stand in the message; of one that comes as
        // plain text nothing else would tell.
        (_, "refusal") if provider == MESSAGES => "content_filter",
        (RESPONSES, _) => "completed",
        (_, "length") => "length",
        (_, "tool_calls") => "tool_calls",
        _ => "stop",
    }
}

/// The counts of the script in the classes that the provider has; every client's dialect has them all.
fn usage(reply: &Json, provider: Dialect) -> Option<Counts> {
    if reply["directives"].as_str().is_some_and(|text| text.contains("usage=none")) {
        return Some(Counts::default());
    }
    let usage = reply.get("usage")?;
    let count = |key: &str| usage[key].as_u64().unwrap_or(0);
    let tells_writes = provider != GEMINI;
    // Bedrock reports no tokens of reasoning.
    let tells_reasoning = provider != CONVERSE;
    Some(Counts {
        input: count("input"),
        cached: count("cached"),
        cache_write: if tells_writes { count("cache_write") } else { 0 },
        output: count("output"),
        reasoning: if tells_reasoning { count("reasoning") } else { 0 },
    })
}
