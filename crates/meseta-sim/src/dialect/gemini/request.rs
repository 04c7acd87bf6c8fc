//! A request for content, checked as strictly as Google does.

use serde_json::Value;

use crate::field::{At, Wrong};
use crate::prompt::{Choice, Prompt, Tool, join};
use crate::tokens;

const CREATING: &[&str] = &[
    "model",
    "contents",
    "systemInstruction",
    "generationConfig",
    "tools",
    "toolConfig",
    "safetySettings",
    "cachedContent",
    "labels",
    "serviceTier",
    "store",
    "modelArmorConfig",
];
const COUNTING: &[&str] =
    &["model", "contents", "generateContentRequest", "systemInstruction", "tools", "generationConfig"];
const CONFIG: &[&str] = &[
    "modelSelectionConfig",
    "responseJsonSchema",
    "audioTimestamp",
    "candidateCount",
    "enableAffectiveDialog",
    "frequencyPenalty",
    "logprobs",
    "maxOutputTokens",
    "mediaResolution",
    "presencePenalty",
    "responseLogprobs",
    "responseMimeType",
    "responseModalities",
    "responseSchema",
    "routingConfig",
    "seed",
    "speechConfig",
    "stopSequences",
    "temperature",
    "thinkingConfig",
    "topK",
    "topP",
    "imageConfig",
    "enableEnhancedCivicAnswers",
    "responseFormat",
    "translationConfig",
    "audioTranscriptionConfig",
];
/// What a part may be, each part one of them, and what may stand beside it.
const KINDS: &[&str] = &[
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];
const BESIDE: &[&str] =
    &["thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata", "mediaProcessing"];
const TOOLS: &[&str] = &[
    "retrieval",
    "computerUse",
    "fileSearch",
    "googleSearch",
    "googleMaps",
    "codeExecution",
    "enterpriseWebSearch",
    "functionDeclarations",
    "googleSearchRetrieval",
    "parallelAiSearch",
    "urlContext",
    "mcpServers",
];
/// Google's schema is not JSON Schema: `$schema` and many a keyword are unknown to it.
const SCHEMA: &[&str] = &[
    "additionalProperties",
    "defs",
    "ref",
    "anyOf",
    "default",
    "description",
    "enum",
    "example",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "propertyOrdering",
    "required",
    "title",
    "type",
    "$defs",
    "$ref",
    "oneOf",
];

pub struct GeminiRequest {
    pub prompt: Prompt,
}

impl GeminiRequest {
    pub fn read(value: &Value, counting: bool) -> Result<Self, Wrong> {
        let mut root = At::snake(value);
        root.only(if counting { COUNTING } else { CREATING })?;
        if let Some(inner) = root.find("generateContentRequest")?.filter(|_| counting) {
            inner.only(CREATING)?;
            root = inner;
        }
        let mut prompt = Prompt::default();
        if let Some(config) = root.find("generationConfig")? {
            read_config(&config, &mut prompt)?;
        }
        if let Some(system) = root.find("systemInstruction")? {
            system.only(&["role", "parts"])?;
            let mut turn = Turn::default();
            for part in system.list_at("parts")? {
                turn.part(&part)?;
            }
            prompt.tokens += turn.tokens;
        }
        tools(&root, &mut prompt)?;
        contents(&root.need("contents")?, &mut prompt)?;
        Ok(Self { prompt })
    }
}

fn read_config(config: &At<'_>, prompt: &mut Prompt) -> Result<(), Wrong> {
    config.only(CONFIG)?;
    config.number_at("temperature", 0.0, 2.0)?;
    config.number_at("topP", 0.0, 1.0)?;
    config.number_at("topK", 0.0, 1000.0)?;
    prompt.limit = config.whole_at("maxOutputTokens", 1)?;
    if config.whole_at("candidateCount", 1)?.is_some_and(|count| count > 1) {
        return Err(config.need("candidateCount")?.wrong(
            "Only one candidate can be specified: multiple candidates are not enabled for this model",
        ));
    }
    let stops = config.list_at("stopSequences")?;
    if stops.len() > 5 {
        return Err(config.need("stopSequences")?.wrong("at most 5 stop sequences are supported"));
    }
    for stop in stops {
        prompt.stops.push(stop.text()?.to_owned());
    }
    prompt.logprobs = config.flag_at("responseLogprobs")?.unwrap_or(false);
    if let Some(thinking) = config.find("thinkingConfig")? {
        thinking.only(&["includeThoughts", "thinkingBudget", "thinkingLevel"])?;
        thinking.flag_at("includeThoughts")?;
    }
    if let Some(given) = config.find("responseSchema")? {
        schema(&given, 0)?;
    }
    Ok(())
}

fn tools(root: &At<'_>, prompt: &mut Prompt) -> Result<(), Wrong> {
    for tool in root.list_at("tools")? {
        tool.only(TOOLS)?;
        prompt.tokens += tokens::count(&tool.value.to_string());
        for function in tool.list_at("functionDeclarations")? {
            function.only(&[
                "name",
                "description",
                "parameters",
                "parametersJsonSchema",
                "response",
                "responseJsonSchema",
                "behavior",
            ])?;
            let name = function.need("name")?.text()?.to_owned();
            let parameters = function.find("parameters")?;
            if let Some(parameters) = &parameters {
                schema(parameters, 0)?;
            }
            let parameters =
                parameters.map_or_else(|| function.find("parametersJsonSchema"), |at| Ok(Some(at)))?;
            let parameters = parameters.map_or(Value::Null, |schema| schema.value.clone());
            prompt.tools.push(Tool { name, parameters });
        }
    }
    let Some(config) = root.find("toolConfig")? else { return Ok(()) };
    config.only(&["functionCallingConfig", "retrievalConfig", "includeServerSideToolInvocations"])?;
    let Some(calling) = config.find("functionCallingConfig")? else { return Ok(()) };
    calling.only(&["mode", "allowedFunctionNames", "streamFunctionCallArguments"])?;
    let mode = calling
        .find("mode")?
        .map(|mode| mode.word(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"]));
    let allowed = calling.list_at("allowedFunctionNames")?;
    if mode.transpose()? == Some("ANY") {
        prompt.choice = match allowed.first() {
            Some(name) => Choice::Named(name.text()?.to_owned()),
            None => Choice::Required,
        };
    } else if let Some(name) = allowed.first() {
        return Err(name.wrong("allowed_function_names may only be set when the mode is ANY"));
    }
    Ok(())
}

fn schema(at: &At<'_>, depth: u32) -> Result<(), Wrong> {
    if depth > 32 {
        return Err(at.wrong("the schema exceeds the maximum allowed nesting depth"));
    }
    at.only(SCHEMA)?;
    if let Some(properties) = at.find("properties")? {
        for name in properties.object()?.keys() {
            schema(&properties.need(name)?, depth + 1)?;
        }
    }
    if let Some(items) = at.find("items")? {
        schema(&items, depth + 1)?;
    }
    for choice in at.list_at("anyOf")? {
        schema(&choice, depth + 1)?;
    }
    Ok(())
}

fn contents(contents: &At<'_>, prompt: &mut Prompt) -> Result<(), Wrong> {
    let list = contents.list()?;
    if list.is_empty() {
        return Err(contents.wrong("contents is not specified"));
    }
    let end = list.len() - 1;
    let mut calls = 0;
    for (index, content) in list.iter().enumerate() {
        content.only(&["role", "parts"])?;
        let role = match content.find("role")? {
            Some(role) => role
                .word(&["user", "model"])
                .map_err(|_| role.wrong("Please use a valid role: user, model."))?,
            None => "user",
        };
        let parts = content.list_at("parts")?;
        if parts.is_empty() {
            return Err(Wrong {
                path: format!("{}.parts", content.path),
                ..content.wrong("contents.parts must not be empty.")
            });
        }
        let mut turn = Turn::default();
        for part in &parts {
            turn.part(part)?;
        }
        if role == "user" && turn.calls > 0 || role == "model" && turn.results > 0 {
            return Err(
                content.wrong(format!("Please check the parts: a {role} turn has no such function part."))
            );
        }
        if turn.results != calls && (turn.results > 0 || calls > 0) {
            return Err(content.wrong(
                "Please ensure that the number of function response parts is equal to the number of function call \
                 parts of the function call turn.",
            ));
        }
        calls = turn.calls;
        prompt.tokens += turn.tokens;
        if role == "user" && !turn.texts.is_empty() {
            prompt.question = join(&turn.texts);
            prompt.begun.user(&prompt.question);
        } else if role == "model" {
            prompt.begun.assistant(&join(&turn.texts));
        }
        if index == end {
            prompt.last = turn.result.clone().unwrap_or_else(|| join(&turn.texts));
            prompt.result = turn.result;
        }
    }
    if calls > 0 {
        return Err(
            contents.wrong("Please ensure that a function call turn is followed by its function responses.")
        );
    }
    Ok(())
}

#[derive(Default)]
struct Turn<'a> {
    texts: Vec<&'a str>,
    result: Option<String>,
    calls: usize,
    results: usize,
    tokens: u64,
}

impl<'a> Turn<'a> {
    fn part(&mut self, part: &At<'a>) -> Result<(), Wrong> {
        part.only(&[KINDS, BESIDE].concat())?;
        let mut kinds = Vec::new();
        for kind in KINDS {
            kinds.extend(part.find(kind)?.map(|at| (*kind, at)));
        }
        let [(kind, at)] = kinds.as_slice() else {
            return Err(part.wrong("required oneof field 'data' must have one initialized field"));
        };
        part.flag_at("thought")?;
        part.text_at("thoughtSignature")?;
        match *kind {
            "text" => {
                let text = at.text()?;
                self.tokens += tokens::count(text);
                if part.flag_at("thought")? != Some(true) {
                    self.texts.push(text);
                }
            }
            "functionCall" => {
                at.only(&["id", "name", "args", "partialArgs", "willContinue"])?;
                at.need("name")?.text()?;
                if let Some(arguments) = at.find("args")? {
                    arguments.object()?;
                    self.tokens += tokens::count(&arguments.value.to_string());
                }
                self.calls += 1;
            }
            "functionResponse" => {
                at.only(&["id", "name", "response", "parts", "willContinue", "scheduling"])?;
                at.need("name")?.text()?;
                let response = at.need("response")?;
                let said = said(response.object().map(|_| response.value)?);
                self.tokens += tokens::count(&said);
                self.result = Some(said);
                self.results += 1;
            }
            "inlineData" => {
                at.only(&["mimeType", "data", "displayName"])?;
                at.need("mimeType")?.text()?;
                at.need("data")?.text()?;
            }
            "fileData" => {
                at.only(&["mimeType", "fileUri", "displayName"])?;
                at.need("fileUri")?.text()?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The text of a response that has nothing but one; else the response as it is.
fn said(response: &Value) -> String {
    let only = response.as_object().filter(|object| object.len() == 1);
    let text = only.and_then(|object| object.values().next()).and_then(Value::as_str);
    text.map_or_else(|| response.to_string(), str::to_owned)
}
