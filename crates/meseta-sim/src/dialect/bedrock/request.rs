//! A Converse request, checked as strictly as Bedrock does.

use std::collections::HashSet;

use serde_json::Value;

use crate::field::{At, Wrong};
use crate::prompt::{Choice, Prompt, Tool, join};
use crate::tokens;

const FIELDS: &[&str] = &[
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "guardrailConfig",
    "additionalModelRequestFields",
    "promptVariables",
    "additionalModelResponseFieldPaths",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
    "outputConfig",
];
const BLOCKS: &[&str] = &[
    "text",
    "image",
    "document",
    "video",
    "audio",
    "toolUse",
    "toolResult",
    "guardContent",
    "cachePoint",
    "reasoningContent",
    "citationsContent",
    "searchResult",
    "toolAddition",
    "toolRemoval",
];

pub struct ConverseRequest {
    pub prompt: Prompt,
}

/// The tokens of a request that only wants them counted.
pub fn counted(value: &Value) -> Result<u64, Wrong> {
    let root = At::root(value);
    root.only(&["input"])?;
    let input = root.need("input")?;
    let (kind, given) = one_of(&input, &["converse", "invokeModel"])?;
    if kind == "converse" {
        given.only(&["messages", "system", "toolConfig", "additionalModelRequestFields"])?;
        return Ok(ConverseRequest::read_at(&given)?.prompt.tokens);
    }
    given.only(&["body"])?;
    Ok(tokens::count(given.need("body")?.text()?))
}

impl ConverseRequest {
    pub fn read(value: &Value) -> Result<Self, Wrong> {
        let root = At::root(value);
        root.only(FIELDS)?;
        Self::read_at(&root)
    }

    fn read_at(root: &At<'_>) -> Result<Self, Wrong> {
        let mut prompt = Prompt::default();
        if let Some(config) = root.find("inferenceConfig")? {
            config.only(&["maxTokens", "temperature", "topP", "stopSequences"])?;
            prompt.limit = config.whole_at("maxTokens", 1)?;
            config.number_at("temperature", 0.0, 1.0)?;
            config.number_at("topP", 0.0, 1.0)?;
            for stop in config.list_at("stopSequences")? {
                prompt.stops.push(stop.text()?.to_owned());
            }
        }
        for block in root.list_at("system")? {
            let (kind, at) = one_of(&block, &["text", "guardContent", "cachePoint"])?;
            if kind == "text" {
                prompt.tokens += tokens::count(at.text()?);
            }
        }
        tools(root, &mut prompt)?;
        messages(root, &root.need("messages")?, &mut prompt)?;
        Ok(Self { prompt })
    }
}

/// A union has exactly one of its members.
fn one_of<'a>(at: &At<'a>, kinds: &[&'static str]) -> Result<(&'static str, At<'a>), Wrong> {
    at.only(kinds)?;
    let mut found = Vec::new();
    for kind in kinds {
        found.extend(at.find(kind)?.map(|inner| (*kind, inner)));
    }
    if found.len() != 1 {
        return Err(at.wrong(format!("exactly one of {} must be set", kinds.join(", "))));
    }
    Ok(found.remove(0))
}

fn tools(root: &At<'_>, prompt: &mut Prompt) -> Result<(), Wrong> {
    let Some(config) = root.find("toolConfig")? else { return Ok(()) };
    config.only(&["tools", "toolChoice"])?;
    let list = config.need("tools")?;
    let tools = list.list()?;
    if tools.is_empty() {
        return Err(list.wrong("Member must have length greater than or equal to 1"));
    }
    for tool in tools {
        let (kind, specification) = one_of(&tool, &["toolSpec", "systemTool", "cachePoint"])?;
        prompt.tokens += tokens::count(&tool.value.to_string());
        if kind != "toolSpec" {
            continue;
        }
        specification.only(&["name", "description", "inputSchema", "strict"])?;
        let name = specification.need("name")?;
        let fits = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !fits(name.text()?) {
            return Err(name.wrong("Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"));
        }
        if specification.text_at("description")?.is_some_and(str::is_empty) {
            return Err(specification
                .need("description")?
                .wrong("Member must have length greater than or equal to 1"));
        }
        let schema = specification.need("inputSchema")?;
        schema.only(&["json"])?;
        let json = schema.need("json")?;
        json.need("type")?.word(&["object"])?;
        prompt.tools.push(Tool { name: name.text()?.to_owned(), parameters: json.value.clone() });
    }
    if let Some(choice) = config.find("toolChoice")? {
        prompt.choice = match one_of(&choice, &["auto", "any", "tool"])? {
            ("any", _) => Choice::Required,
            ("tool", tool) => Choice::Named(tool.need("name")?.text()?.to_owned()),
            _ => Choice::Free,
        };
    }
    Ok(())
}

fn messages(root: &At<'_>, messages: &At<'_>, prompt: &mut Prompt) -> Result<(), Wrong> {
    let plain = |message: &str| Wrong { path: String::new(), ..messages.wrong(message) };
    let list = messages.list()?;
    if list.is_empty() {
        return Err(messages.wrong("Member must have length greater than or equal to 1"));
    }
    let end = list.len() - 1;
    let mut before = "assistant";
    let mut open: Vec<&str> = Vec::new();
    let mut with_tools = false;
    for (index, message) in list.iter().enumerate() {
        message.only(&["role", "content"])?;
        let role = message.need("role")?.word(&["user", "assistant"])?;
        if role == before {
            return Err(plain(if index == 0 {
                "A conversation must start with a user message. Try again with a conversation that starts with a \
                 user message."
            } else {
                "A conversation must alternate between user and assistant roles. Make sure the conversation \
                 alternates between user and assistant roles and try again."
            }));
        }
        before = role;
        let turn = Turn::read(message, role)?;
        with_tools |= !turn.uses.is_empty() || !turn.results.is_empty();
        check_results(message, &open, &turn.results)?;
        prompt.tokens += turn.tokens;
        if role == "user" && !turn.texts.is_empty() {
            prompt.question = join(&turn.texts);
            prompt.begun.user(&prompt.question);
        } else if role == "assistant" {
            prompt.begun.assistant(&join(&turn.texts));
        }
        if index == end {
            prompt.last = turn.result.clone().unwrap_or_else(|| join(&turn.texts));
            prompt.result = turn.result;
        }
        open = turn.uses;
    }
    if let Some(id) = open.first() {
        return Err(expected_results(&format!("messages.{}", list.len()), id));
    }
    if with_tools && root.find("toolConfig")?.is_none() {
        return Err(plain(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        ));
    }
    Ok(())
}

/// The results of a turn are those of the calls in the turn before: no fewer and no others.
fn check_results(message: &At<'_>, open: &[&str], results: &[&str]) -> Result<(), Wrong> {
    let given: HashSet<&str> = results.iter().copied().collect();
    if let Some(id) = open.iter().find(|id| !given.contains(*id)) {
        return Err(expected_results(&message.path, id));
    }
    if results.len() > open.len() {
        let text = format!(
            "The number of toolResult blocks at {}.content exceeds the number of toolUse blocks of previous turn.",
            message.path
        );
        return Err(Wrong { path: String::new(), ..message.wrong(text) });
    }
    Ok(())
}

fn expected_results(path: &str, id: &str) -> Wrong {
    let id: String = id.chars().take(80).collect();
    let text = format!("Expected toolResult blocks at {path}.content for the following Ids: {id}");
    Wrong { path: String::new(), problem: crate::field::Problem::Said(text) }
}

#[derive(Default)]
struct Turn<'a> {
    texts: Vec<&'a str>,
    result: Option<String>,
    uses: Vec<&'a str>,
    results: Vec<&'a str>,
    tokens: u64,
}

impl<'a> Turn<'a> {
    fn read(message: &At<'a>, role: &str) -> Result<Self, Wrong> {
        let mut turn = Self::default();
        let blocks = message.need("content")?.list()?;
        if blocks.is_empty() {
            let text = format!(
                "The content field in the Message object at {} is empty. Add a ContentBlock object to the content \
                 field and try again.",
                message.path
            );
            return Err(Wrong { path: String::new(), ..message.wrong(text) });
        }
        for block in &blocks {
            turn.block(block, role)?;
        }
        Ok(turn)
    }

    fn block(&mut self, block: &At<'a>, role: &str) -> Result<(), Wrong> {
        let (kind, at) = one_of(block, BLOCKS)?;
        let misplaced = match kind {
            "toolUse" | "reasoningContent" => role == "user",
            "toolResult" | "image" | "document" | "video" | "audio" => role == "assistant",
            _ => false,
        };
        if misplaced {
            return Err(block.wrong(format!("{kind} blocks are not allowed in a message of the {role}")));
        }
        match kind {
            "text" => {
                let text = at.text()?;
                if text.trim().is_empty() {
                    let text = format!(
                        "The text field in the ContentBlock object at {} is blank. Add text to the text field, and \
                         try again.",
                        block.path
                    );
                    return Err(Wrong { path: String::new(), ..block.wrong(text) });
                }
                self.texts.push(text);
                self.tokens += tokens::count(text);
            }
            "toolUse" => {
                at.only(&["toolUseId", "name", "input", "type"])?;
                at.need("name")?.text()?;
                let input = at.need("input")?;
                input.object()?;
                self.uses.push(at.need("toolUseId")?.text()?);
                self.tokens += tokens::count(&input.value.to_string());
            }
            "toolResult" => {
                at.only(&["toolUseId", "content", "status", "type"])?;
                self.results.push(at.need("toolUseId")?.text()?);
                at.find("status")?.map(|status| status.word(&["success", "error"])).transpose()?;
                let mut parts = Vec::new();
                for part in at.need("content")?.list()? {
                    match one_of(&part, &["json", "text", "image", "document", "video", "searchResult"])? {
                        ("text", text) => parts.push(text.text()?.to_owned()),
                        ("json", json) => parts.push(json.value.to_string()),
                        _ => {}
                    }
                }
                let text = parts.join("\n");
                self.tokens += tokens::count(&text);
                self.result = Some(text);
            }
            "reasoningContent" => {
                if let ("reasoningText", text) = one_of(&at, &["reasoningText", "redactedContent"])? {
                    text.only(&["text", "signature"])?;
                    self.tokens += tokens::count(text.need("text")?.text()?);
                }
            }
            "cachePoint" => {
                at.only(&["type", "ttl"])?;
                at.need("type")?.word(&["default"])?;
            }
            "image" => {
                at.only(&["format", "source", "error"])?;
                at.need("format")?.word(&["png", "jpeg", "gif", "webp"])?;
                one_of(&at.need("source")?, &["bytes", "s3Location"])?;
            }
            "document" => {
                at.need("name")?.text()?;
                at.need("source")?;
            }
            _ => {}
        }
        Ok(())
    }
}
