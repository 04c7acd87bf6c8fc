//! A request for a response, checked as strictly as `OpenAI` does.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::store::Kept;
use crate::dialect::texts;
use crate::field::{At, Wrong};
use crate::prompt::{Choice, Prompt, Tool, join};
use crate::tokens;

const COUNTING: &[&str] = &[
    "conversation",
    "input",
    "instructions",
    "model",
    "parallel_tool_calls",
    "personality",
    "previous_response_id",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
    "truncation",
];
const CREATING: &[&str] = &[
    "access_programs",
    "background",
    "background_options",
    "context_management",
    "image",
    "include",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "moderation",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
];
const ITEMS: &[&str] = &[
    "message",
    "function_call",
    "function_call_output",
    "reasoning",
    "item_reference",
    "custom_tool_call",
    "custom_tool_call_output",
    "file_search_call",
    "web_search_call",
    "computer_call",
    "computer_call_output",
    "image_generation_call",
    "code_interpreter_call",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "compaction",
    "compaction_trigger",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "program",
    "program_output",
];
const TOOLS: &[&str] = &[
    "function",
    "custom",
    "file_search",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "computer",
    "computer_use_preview",
    "code_interpreter",
    "image_generation",
    "local_shell",
    "shell",
    "apply_patch",
    "mcp",
    "namespace",
    "tool_search",
    "programmatic_tool_calling",
];

pub struct ResponsesRequest {
    pub model: Option<String>,
    pub streamed: bool,
    pub stored: bool,
    /// The client wants its thoughts back in a form that only the provider can read.
    pub sealed_reasoning: bool,
    pub previous: Option<String>,
    pub prompt: Prompt,
    /// Calls of the response before this one that the input does not hold itself.
    calls: HashSet<String>,
    answered: HashSet<String>,
    /// The first result's place whose call is not in the input.
    foreign: Vec<(String, String)>,
}

impl ResponsesRequest {
    pub fn read(value: &Value, counting: bool) -> Result<Self, Wrong> {
        let root = At::root(value);
        root.only(&if counting { COUNTING.to_vec() } else { [COUNTING, CREATING].concat() })?;
        let mut request = Self {
            model: root.text_at("model")?.map(str::to_owned),
            streamed: root.flag_at("stream")?.unwrap_or(false),
            stored: root.flag_at("store")?.unwrap_or(true),
            sealed_reasoning: false,
            previous: root.text_at("previous_response_id")?.map(str::to_owned),
            prompt: Prompt::default(),
            calls: HashSet::new(),
            answered: HashSet::new(),
            foreign: Vec::new(),
        };
        if !counting {
            root.need("model")?;
        }
        request.options(&root)?;
        request.tools(&root)?;
        if let Some(instructions) = root.text_at("instructions")? {
            request.prompt.tokens += tokens::count(instructions);
        }
        request.input(&root.need("input")?)?;
        Ok(request)
    }

    fn options(&mut self, root: &At<'_>) -> Result<(), Wrong> {
        root.number_at("temperature", 0.0, 2.0)?;
        root.number_at("top_p", 0.0, 1.0)?;
        self.prompt.limit = root.whole_at("max_output_tokens", 1)?;
        if let Some(limit) = self.prompt.limit.filter(|limit| *limit < 16) {
            return Err(root.need("max_output_tokens")?.wrong(format!(
                "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got {limit} \
                 instead."
            )));
        }
        for include in root.list_at("include")? {
            match include.text()? {
                "reasoning.encrypted_content" => self.sealed_reasoning = true,
                "message.output_text.logprobs" => self.prompt.logprobs = true,
                _ => {}
            }
        }
        if let Some(reasoning) = root.find("reasoning")? {
            reasoning.only(&["effort", "summary", "generate_summary", "context", "mode"])?;
        }
        if let Some(metadata) = root.find("metadata")? {
            metadata.object()?;
        }
        if root.find("stream_options")?.is_some() && !self.streamed {
            return Err(root
                .need("stream_options")?
                .wrong("The 'stream_options' parameter is only allowed when 'stream' is enabled."));
        }
        let format = root.find("text")?.map_or(Ok(None), |text| text.find("format"))?;
        if let Some(format) = format
            && format.need("type")?.word(&["text", "json_object", "json_schema"])? == "json_schema"
        {
            format.need("name")?.text()?;
            format.need("schema")?.object()?;
        }
        self.prompt.single = root.flag_at("parallel_tool_calls")? == Some(false);
        Ok(())
    }

    fn tools(&mut self, root: &At<'_>) -> Result<(), Wrong> {
        for tool in root.list_at("tools")? {
            self.prompt.tokens += tokens::count(&tool.value.to_string());
            if tool.need("type")?.word(TOOLS)? != "function" {
                continue;
            }
            tool.only(&[
                "type",
                "name",
                "description",
                "parameters",
                "strict",
                "defer_loading",
                "allowed_callers",
                "output_schema",
                "async",
            ])?;
            let name = tool.need("name")?.text()?.to_owned();
            let parameters = tool.find("parameters")?.map_or(Value::Null, |schema| schema.value.clone());
            self.prompt.tools.push(Tool { name, parameters });
        }
        let Some(choice) = root.find("tool_choice")? else { return Ok(()) };
        self.prompt.choice = if choice.value.is_string() {
            let word = choice.word(&["none", "auto", "required"])?;
            if word == "required" { Choice::Required } else { Choice::Free }
        } else {
            match choice.need("type")?.text()? {
                "function" => Choice::Named(choice.need("name")?.text()?.to_owned()),
                "allowed_tools" if choice.need("mode")?.word(&["auto", "required"])? == "required" => {
                    match choice.list_at("tools")?.first() {
                        Some(tool) => Choice::Named(tool.need("name")?.text()?.to_owned()),
                        None => Choice::Required,
                    }
                }
                _ => Choice::Free,
            }
        };
        Ok(())
    }

    fn input(&mut self, input: &At<'_>) -> Result<(), Wrong> {
        if let Value::String(text) = input.value {
            self.prompt.tokens += tokens::count(text);
            self.prompt.question.clone_from(text);
            self.prompt.begun.user(text);
            self.prompt.last.clone_from(text);
            return Ok(());
        }
        let items = input.list()?;
        if items.is_empty() {
            return Err(input.wrong("Invalid 'input': empty array. Expected an array with minimum length 1."));
        }
        for item in &items {
            self.item(item)?;
        }
        for (id, path) in std::mem::take(&mut self.foreign) {
            // A call may stand behind its result only in another response.
            if !self.calls.contains(&id) {
                self.foreign.push((id, path));
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &At<'_>) -> Result<(), Wrong> {
        let kind = item.find("type")?.map_or(Ok("message"), |kind| kind.word(ITEMS))?;
        self.prompt.result = None;
        match kind {
            "message" => self.message(item)?,
            "function_call" => {
                item.only(&[
                    "type",
                    "id",
                    "call_id",
                    "name",
                    "arguments",
                    "status",
                    "namespace",
                    "caller",
                    "async",
                ])?;
                item.need("name")?.text()?;
                self.calls.insert(item.need("call_id")?.text()?.to_owned());
                self.prompt.tokens += tokens::count(item.need("arguments")?.text()?);
            }
            "function_call_output" => {
                item.only(&["type", "id", "call_id", "output", "status", "caller", "async"])?;
                let id = item.need("call_id")?.text()?.to_owned();
                let output = item.need("output")?;
                if !output.value.is_string() {
                    for part in output.list()? {
                        part.need("type")?.word(&["input_text", "input_image", "input_file"])?;
                    }
                }
                let text = join(&texts(&output));
                self.prompt.tokens += tokens::count(&text);
                self.prompt.last.clone_from(&text);
                self.prompt.result = Some(text);
                if !self.calls.contains(&id) {
                    self.foreign.push((id.clone(), item.path.clone()));
                }
                self.answered.insert(id);
            }
            "reasoning" => {
                item.only(&["type", "id", "summary", "content", "encrypted_content", "status"])?;
                for part in item.need("summary")?.list()? {
                    part.need("type")?.word(&["summary_text"])?;
                    self.prompt.tokens += tokens::count(part.need("text")?.text()?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, item: &At<'_>) -> Result<(), Wrong> {
        item.only(&["type", "id", "role", "content", "status", "phase"])?;
        let role = item.need("role")?.word(&["assistant", "system", "developer", "user"])?;
        let content = item.need("content")?;
        if !content.value.is_string() {
            for part in content.list()? {
                let kinds: &[&str] = match role {
                    "assistant" => &["output_text", "refusal"],
                    _ => &["input_text", "input_image", "input_file", "input_audio"],
                };
                match part.need("type")?.word(kinds)? {
                    "input_text" | "output_text" => part.need("text")?.text().map(drop)?,
                    "refusal" => part.need("refusal")?.text().map(drop)?,
                    _ => {}
                }
            }
        }
        let text = join(&texts(&content));
        self.prompt.tokens += tokens::count(&text);
        match role {
            "user" => {
                self.prompt.begun.user(&text);
                self.prompt.question.clone_from(&text);
            }
            "assistant" => self.prompt.begun.assistant(&text),
            _ => {}
        }
        self.prompt.last = text;
        Ok(())
    }

    /// Checks that every call has its result and every result its call, the response before this one included.
    pub fn follow(&mut self, before: Option<&Kept>) -> Result<(), Wrong> {
        let known = before.map_or(&[][..], |before| &before.calls);
        let at = |path: &str| Wrong { path: path.to_owned(), problem: crate::field::Problem::Missing };
        let wrong = |path: &str, message| Wrong { problem: crate::field::Problem::Said(message), ..at(path) };
        if let Some((id, path)) = self.foreign.iter().find(|(id, _)| !known.contains(id)) {
            let id: String = id.chars().take(80).collect();
            return Err(wrong(
                path,
                format!("No tool call found for function call output with call_id {id}."),
            ));
        }
        let mut open: Vec<&String> =
            self.calls.iter().chain(known).filter(|id| !self.answered.contains(*id)).collect();
        open.sort_unstable();
        if let Some(id) = open.first() {
            let id: String = id.chars().take(80).collect();
            return Err(wrong("input", format!("No tool output found for function call {id}.")));
        }
        self.prompt.tokens += before.map_or(0, |before| before.tokens);
        Ok(())
    }
}

/// What of a request its response repeats.
pub fn repeated(value: &Value) -> Value {
    let given = |key: &str, otherwise: Value| match value.get(key) {
        None | Some(Value::Null) => otherwise,
        Some(given) => given.clone(),
    };
    let effort = value.get("reasoning").and_then(|reasoning| reasoning.get("effort"));
    let summary = value.get("reasoning").and_then(|reasoning| reasoning.get("summary"));
    json!({
        "background": false,
        "instructions": given("instructions", Value::Null),
        "max_output_tokens": given("max_output_tokens", Value::Null),
        "max_tool_calls": given("max_tool_calls", Value::Null),
        "metadata": given("metadata", json!({})),
        "parallel_tool_calls": given("parallel_tool_calls", json!(true)),
        "previous_response_id": given("previous_response_id", Value::Null),
        "prompt_cache_key": given("prompt_cache_key", Value::Null),
        "reasoning": {"effort": effort, "summary": summary},
        "safety_identifier": given("safety_identifier", Value::Null),
        "service_tier": "default",
        "store": given("store", json!(true)),
        "temperature": given("temperature", json!(1.0)),
        "text": given("text", json!({"format": {"type": "text"}})),
        "tool_choice": given("tool_choice", json!("auto")),
        "tools": given("tools", json!([])),
        "top_logprobs": given("top_logprobs", json!(0)),
        "top_p": given("top_p", json!(1.0)),
        "truncation": given("truncation", json!("disabled")),
        "user": given("user", Value::Null),
    })
}
