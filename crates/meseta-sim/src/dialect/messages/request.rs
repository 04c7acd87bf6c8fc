//! A request for messages, checked as strictly as Anthropic does.

use std::collections::BTreeSet;

use http::request::Parts;
use serde_json::Value;

use crate::dialect::texts;
use crate::failure::Failure;
use crate::field::{At, Wrong};
use crate::prompt::{Choice, Prompt, Tool, join};
use crate::tokens;

/// What both kinds of request may have.
const COMMON: &[&str] = &[
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "cache_control",
    "context_management",
    "mcp_servers",
    "output_config",
    "output_format",
    "speed",
    "billing_policy",
    "compaction",
    "user_profile_id",
    "workspace_id",
];
const CREATING: &[&str] = &[
    "max_tokens",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "service_tier",
    "container",
    "inference_geo",
    "diagnostics",
    "fallbacks",
    "fallback_credit_token",
    "thread",
];
const BLOCKS: &[&str] = &[
    "text",
    "image",
    "document",
    "search_result",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
    "container_upload",
    "compaction",
    "tool_reference",
];
/// Beginnings of the types of tools that Anthropic runs itself or has trained for.
const BUILT_IN: &[&str] = &[
    "bash_",
    "text_editor_",
    "computer_",
    "web_search_",
    "web_fetch_",
    "code_execution_",
    "memory_",
    "tool_search_tool_",
    "mcp_toolset",
    "advisor_",
];

pub struct MessagesRequest {
    pub model: String,
    pub streamed: bool,
    pub prompt: Prompt,
}

/// The version of the API is a header that nobody may leave out.
pub fn check_version(head: &Parts) -> Result<(), Failure> {
    if head.headers.contains_key("anthropic-version") {
        return Ok(());
    }
    Err(Failure::request(None, "anthropic-version: header is required"))
}

/// No conversation is held here. Clients that ask for it go on without, if they are told in Anthropic's word.
pub fn check_thread(value: &Value) -> Result<(), Failure> {
    if value.get("thread").is_none_or(Value::is_null) {
        return Ok(());
    }
    let message = "thread: this request cannot be combined with a thread";
    Err(Failure { code: Some("thread_unsupported_request"), ..Failure::request(Some("thread"), message) })
}

impl MessagesRequest {
    /// `counting` is a request that only wants its tokens counted.
    pub fn read(value: &Value, counting: bool) -> Result<Self, Wrong> {
        let root = At::root(value);
        let known = if counting { COMMON.to_vec() } else { [COMMON, CREATING].concat() };
        root.only(&known)?;
        let model = root.need("model")?.text()?.to_owned();
        let mut prompt = Prompt::default();
        if !counting {
            root.need("max_tokens")?;
            prompt.limit = root.whole_at("max_tokens", 1)?;
        }
        root.number_at("temperature", 0.0, 1.0)?;
        root.number_at("top_p", 0.0, 1.0)?;
        root.whole_at("top_k", 0)?;
        for stop in root.list_at("stop_sequences")? {
            let text = stop.text()?;
            if text.trim().is_empty() {
                return Err(stop.wrong("each stop sequence must contain non-whitespace"));
            }
            prompt.stops.push(text.to_owned());
        }
        thinking(&root, prompt.limit)?;
        if let Some(system) = root.find("system")? {
            let parts = if system.value.is_string() { Vec::new() } else { system.list()? };
            for part in &parts {
                part.need("type")?.word(&["text"])?;
                part.need("text")?.text()?;
            }
            prompt.tokens += texts(&system).into_iter().map(tokens::count).sum::<u64>();
        }
        tools(&root, &mut prompt)?;
        messages(&root.need("messages")?, &mut prompt)?;
        Ok(Self { model, streamed: root.flag_at("stream")?.unwrap_or(false), prompt })
    }
}

fn thinking(root: &At<'_>, limit: Option<u64>) -> Result<(), Wrong> {
    let Some(thinking) = root.find("thinking")? else { return Ok(()) };
    let kind = thinking.need("type")?.word(&["enabled", "disabled", "adaptive", "between_tools"])?;
    if kind != "enabled" {
        return Ok(());
    }
    let budget = thinking.need("budget_tokens")?;
    let tokens = thinking.whole_at("budget_tokens", 1024)?.unwrap_or_default();
    if limit.is_some_and(|limit| tokens >= limit) {
        return Err(budget.wrong("`max_tokens` must be greater than `thinking.budget_tokens`"));
    }
    Ok(())
}

fn tools(root: &At<'_>, prompt: &mut Prompt) -> Result<(), Wrong> {
    for tool in root.list_at("tools")? {
        let kind = tool.text_at("type")?.unwrap_or("custom");
        prompt.tokens += tokens::count(&tool.value.to_string());
        if kind != "custom" {
            if !BUILT_IN.iter().any(|begin| kind.starts_with(begin)) {
                let kind: String = kind.chars().take(80).collect();
                return Err(tool.need("type")?.wrong(format!("Input tag '{kind}' does not match any tool")));
            }
            continue;
        }
        tool.only(&[
            "type",
            "name",
            "description",
            "input_schema",
            "cache_control",
            "strict",
            "defer_loading",
            "allowed_callers",
            "input_examples",
            "eager_input_streaming",
        ])?;
        let name = tool.need("name")?;
        let fits = |text: &str| {
            (1..=128).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !fits(name.text()?) {
            return Err(name.wrong("String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"));
        }
        let schema = tool.need("input_schema")?;
        schema.need("type")?.word(&["object"])?;
        let tool = Tool { name: name.text()?.to_owned(), parameters: schema.value.clone() };
        if prompt.tools.iter().any(|other| other.name == tool.name) {
            return Err(root.need("tools")?.wrong("Tool names must be unique."));
        }
        prompt.tools.push(tool);
    }
    let Some(choice) = root.find("tool_choice")? else { return Ok(()) };
    prompt.single = choice.flag_at("disable_parallel_tool_use")?.unwrap_or(false);
    prompt.choice = match choice.need("type")?.word(&["auto", "any", "tool", "none"])? {
        "any" => Choice::Required,
        "tool" => {
            let name = choice.need("name")?.text()?;
            if !root
                .list_at("tools")?
                .iter()
                .any(|tool| tool.value.get("name").is_some_and(|own| own == name))
            {
                return Err(choice.wrong("Tool is not among the provided tools"));
            }
            Choice::Named(name.to_owned())
        }
        _ => Choice::Free,
    };
    if prompt.choice != Choice::Free && root.find("tools")?.is_none() {
        return Err(choice.wrong("tool_choice may only be specified while providing tools"));
    }
    Ok(())
}

fn messages(messages: &At<'_>, prompt: &mut Prompt) -> Result<(), Wrong> {
    let list = messages.list()?;
    if list.is_empty() {
        return Err(messages.wrong("at least one message is required"));
    }
    // The calls of the turn before, which this one must answer.
    let mut open: BTreeSet<String> = BTreeSet::new();
    let mut before = "";
    let end = list.len() - 1;
    for (index, message) in list.iter().enumerate() {
        message.only(&["role", "content"])?;
        let role = message.need("role")?.word(&["user", "assistant"])?;
        if index == 0 && role != "user" {
            return Err(messages.wrong("first message must use the \"user\" role"));
        }
        let content = message.need("content")?;
        let turn = Turn::read(&content, role)?;
        if turn.empty && !(index == end && role == "assistant") {
            return Err(message.wrong(
                "all messages must have non-empty content except for the optional final assistant message",
            ));
        }
        // Turns of the same role in a row are one turn, so calls must be answered when the next one begins.
        if role == "assistant" && before == "user" && !open.is_empty() {
            return Err(unanswered(message, index.saturating_sub(1), &open));
        }
        take_answers(message, &mut open, &turn)?;
        prompt.tokens += turn.tokens;
        if role == "user" && !turn.texts.is_empty() {
            prompt.question = join(&turn.texts);
            prompt.begun.user(&prompt.question);
        } else if role == "assistant" {
            prompt.begun.assistant(&join(&turn.texts));
        }
        if index == end {
            if role == "assistant"
                && turn.texts.last().is_some_and(|text| text.ends_with(char::is_whitespace))
            {
                return Err(messages.wrong("final assistant content cannot end with trailing whitespace"));
            }
            prompt.last = join(&turn.texts);
            prompt.result.clone_from(&turn.result);
            if let Some(result) = turn.result {
                prompt.last = result;
            }
        }
        open.extend(turn.uses);
        before = role;
    }
    if !open.is_empty() {
        return Err(unanswered(messages, list.len() - 1, &open));
    }
    Ok(())
}

/// Takes this turn's results off the calls that are open, and refuses one that answers none.
fn take_answers(message: &At<'_>, open: &mut BTreeSet<String>, turn: &Turn<'_>) -> Result<(), Wrong> {
    for result in &turn.results {
        if !open.remove(*result) {
            let id: String = result.chars().take(80).collect();
            return Err(message.wrong(format!(
                "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must \
                 have a corresponding `tool_use` block in the previous message."
            )));
        }
    }
    Ok(())
}

fn unanswered(at: &At<'_>, index: usize, open: &BTreeSet<String>) -> Wrong {
    let ids: Vec<&str> = open.iter().take(8).map(String::as_str).collect();
    let ids: String = ids.join(", ").chars().take(400).collect();
    at.wrong(format!(
        "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}. Each \
         `tool_use` block must have a corresponding `tool_result` block in the next message."
    ))
}

/// One message's content.
#[derive(Default)]
struct Turn<'a> {
    texts: Vec<&'a str>,
    /// The texts of the last result.
    result: Option<String>,
    uses: Vec<String>,
    results: Vec<&'a str>,
    tokens: u64,
    empty: bool,
}

impl<'a> Turn<'a> {
    fn read(content: &At<'a>, role: &str) -> Result<Self, Wrong> {
        let mut turn = Self::default();
        if let Value::String(text) = content.value {
            turn.texts.push(text);
            turn.tokens = tokens::count(text);
            turn.empty = text.is_empty();
            return Ok(turn);
        }
        let blocks = content.list()?;
        turn.empty = blocks.is_empty();
        for block in &blocks {
            turn.block(block, role)?;
        }
        Ok(turn)
    }

    fn block(&mut self, block: &At<'a>, role: &str) -> Result<(), Wrong> {
        let kind = block.need("type")?.word(BLOCKS)?;
        let misplaced = match kind {
            "tool_use" | "thinking" | "redacted_thinking" | "server_tool_use" => role == "user",
            "tool_result" | "image" | "document" => role == "assistant",
            _ => false,
        };
        if misplaced {
            return Err(block.wrong(format!("`{kind}` blocks cannot be in `{role}` messages")));
        }
        match kind {
            "text" => {
                block.only(&["type", "text", "cache_control", "citations"])?;
                let text = block.need("text")?.text()?;
                if text.is_empty() {
                    return Err(block.wrong("text content blocks must be non-empty"));
                }
                self.texts.push(text);
                self.tokens += tokens::count(text);
            }
            "tool_use" => {
                block.only(&["type", "id", "name", "input", "cache_control", "caller"])?;
                let input = block.need("input")?;
                input.object()?;
                block.need("name")?.text()?;
                self.uses.push(block.need("id")?.text()?.to_owned());
                self.tokens += tokens::count(&input.value.to_string());
            }
            "tool_result" => {
                block.only(&["type", "tool_use_id", "content", "is_error", "cache_control"])?;
                self.results.push(block.need("tool_use_id")?.text()?);
                block.flag_at("is_error")?;
                let content = block.find("content")?;
                if let Some(content) = content.as_ref().filter(|content| !content.value.is_string()) {
                    for part in content.list()? {
                        let kinds = ["text", "image", "document", "search_result", "tool_reference"];
                        part.need("type")?.word(&kinds)?;
                    }
                }
                let found = content.as_ref().map(texts).unwrap_or_default();
                self.tokens += found.iter().map(|text| tokens::count(text)).sum::<u64>();
                self.result = Some(join(&found));
            }
            "thinking" => {
                block.only(&["type", "thinking", "signature", "cache_control"])?;
                self.tokens += tokens::count(block.need("thinking")?.text()?);
                block.need("signature")?.text()?;
            }
            "redacted_thinking" => {
                block.need("data")?.text()?;
            }
            "image" | "document" => {
                block.need("source")?.need("type")?.text()?;
            }
            _ => {}
        }
        Ok(())
    }
}
