//! Writes the turns of a conversation as Converse takes them: users and assistants in turn, beginning with a user, no
//! turn and no text empty, a tool's results at the head of the turn after its call.

use std::borrow::Cow;

use super::citation;
use super::content;
use super::media::{self, Names};
use super::model::Model;
use super::reasoning;
use crate::conversation::{
    Audio, CacheMark, CacheTtl, File, Image, Part, Request, Role, Source, Text, Thought, ToolCall, ToolResult,
};
use crate::feature::{Feature, Losses, Refused, first_turn};
use crate::fingerprint;
use crate::json::{Fields, Json};
use crate::object;
use crate::signature::Family;

/// Bedrock takes at most so many marks in one request.
const MOST_MARKS: usize = 4;

/// What stands beside documents when the user says nothing: a turn with a document must have a text.
const BESIDE_DOCUMENTS: &str = "See the attached document.";

/// Bedrock wants the user to begin, whatever the model.
const BEFORE_ASSISTANT: &str = "Hello.";

#[derive(Debug)]
pub struct Turn<'a> {
    pub assistant: bool,
    /// Results of tools, which stand before everything else that the user says.
    results: Vec<Json<'a>>,
    blocks: Vec<Json<'a>>,
}

/// The conversation in Converse's words.
#[derive(Debug, Default)]
pub struct Conversation<'a> {
    pub system: Vec<Json<'a>>,
    pub turns: Vec<Turn<'a>>,
    /// Names of the tools that were called or that gave results.
    pub called: Vec<&'a str>,
}

pub struct Writer<'l> {
    model: Model<'l>,
    losses: &'l mut Losses,
    names: Names,
    marks: usize,
}

impl<'l> Writer<'l> {
    pub fn new(model: Model<'l>, losses: &'l mut Losses) -> Writer<'l> {
        Writer { model, losses, names: Names::default(), marks: 0 }
    }

    pub fn model(&self) -> Model<'l> {
        self.model
    }

    pub fn losses(&mut self) -> &mut Losses {
        self.losses
    }

    pub fn conversation<'a>(&mut self, request: &'a Request<'_>) -> Result<Conversation<'a>, Refused> {
        let mut conversation = Conversation::default();
        let mut begun = false;
        for message in &request.messages {
            if message.name.is_some() {
                self.losses.meet(Feature::MessageName)?;
            }
            let system = matches!(message.role, Role::System | Role::Developer);
            if system && begun {
                self.losses.meet(Feature::SystemInPlace)?;
            }
            begun |= !system;
            // Neighbours of one speaker are put together at the end.
            let mut turn = Turn::new(message.role == Role::Assistant);
            for part in &message.parts {
                match part {
                    // A system prompt is text only; what else stands in it is the user's to show.
                    Part::Text(text) if system => self.system(text, &mut conversation.system),
                    part => self.part(part, &mut turn, &mut conversation.called)?,
                }
            }
            conversation.turns.push(turn);
        }
        conversation.turns.retain(|turn| !turn.blocks.is_empty() || !turn.results.is_empty());
        if conversation.turns.is_empty() {
            // A conversation of nothing but a system prompt: the model is to answer to that.
            let blocks: Vec<Json<'a>> = conversation.system.drain(..).collect();
            if !blocks.is_empty() {
                self.losses.meet(Feature::SystemInPlace)?;
                conversation.turns.push(Turn { blocks, ..Turn::new(false) });
            }
        }
        self.finish(&mut conversation);
        Ok(conversation)
    }

    fn system<'a>(&mut self, text: &'a Text<'_>, system: &mut Vec<Json<'a>>) {
        if !text.text.trim().is_empty() {
            system.push(object! { "text" => &text.text });
            self.mark(text.cache, system);
        }
    }

    fn part<'a>(
        &mut self,
        part: &'a Part<'_>,
        turn: &mut Turn<'a>,
        called: &mut Vec<&'a str>,
    ) -> Result<(), Refused> {
        match part {
            Part::Text(text) => self.text(text, turn),
            Part::Refusal(text) => {
                self.losses.meet(Feature::Refusals)?;
                self.text_block(text, turn);
            }
            Part::Image(image) => {
                let block = object! { "image" => self.image(image)? };
                turn.blocks.push(block);
                self.mark(image.cache, &mut turn.blocks);
            }
            Part::File(file) => {
                let (document, marks_after) = self.document(file)?;
                if !marks_after && !turn.blocks.is_empty() {
                    self.mark(file.cache, &mut turn.blocks);
                } else if !marks_after && file.cache.is_some() {
                    self.losses.drop_feature(Feature::CacheMarks);
                }
                turn.blocks.push(object! { "document" => document });
                if marks_after {
                    self.mark(file.cache, &mut turn.blocks);
                }
            }
            Part::Audio(audio) => {
                let block = object! { "audio" => self.audio(audio)? };
                turn.blocks.push(block);
            }
            Part::ToolCall(call) => {
                let block = self.call(call)?;
                called.push(&call.name);
                turn.blocks.push(block);
                self.mark(call.cache, &mut turn.blocks);
            }
            Part::ToolResult(result) => {
                let block = object! { "toolResult" => self.result(result)? };
                // A result without a call is the client's mistake, and needs its tool all the same.
                called.push(result.name.as_deref().unwrap_or("tool"));
                turn.results.push(block);
                self.mark(result.cache, &mut turn.results);
            }
            Part::Thought(thought) => self.thought(thought, turn)?,
        }
        Ok(())
    }

    fn text<'a>(&mut self, text: &'a Text<'_>, turn: &mut Turn<'a>) {
        let before = turn.blocks.len();
        if text.citations.is_empty() || !turn.assistant {
            self.text_block(&text.text, turn);
        } else if !text.text.trim().is_empty() {
            let citations: Vec<Json<'a>> = text.citations.iter().map(citation::encode).collect();
            turn.blocks.push(object! {
                "citationsContent" => object! {
                    "content" => vec![object! { "text" => &text.text }],
                    "citations" => citations,
                }
            });
        }
        if turn.blocks.len() > before {
            self.mark(text.cache, &mut turn.blocks);
        }
    }

    #[allow(clippy::unused_self)] // Stands among its kind.
    fn text_block<'a>(&mut self, text: &'a str, turn: &mut Turn<'a>) {
        // A text of nothing but white space is an error, as is an empty one.
        if !text.trim().is_empty() {
            turn.blocks.push(object! { "text" => text });
        }
    }

    fn image<'a>(&mut self, image: &'a Image<'_>) -> Result<Json<'a>, Refused> {
        if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.losses.meet(Feature::ImageDetail)?;
        }
        let (format, source) = match &image.source {
            Source::Base64 { media_type, data } => {
                (media::image_format(media_type), object! { "bytes" => data })
            }
            Source::Url(url) if url.starts_with("s3://") => (media::image_format_of_name(url), s3(url)),
            Source::FileId(_) => return Err(self.refused(Feature::ImageFileId)),
            Source::Url(_) | Source::Text(_) => return Err(self.refused(Feature::ImageUrl)),
        };
        let format = format.ok_or_else(|| self.refused(Feature::MediaFormats))?;
        Ok(object! { "format" => format, "source" => source })
    }

    /// The document, and whether a mark may stand after it: Bedrock turns documents that are neither PDF nor cited into
    /// text, and takes no mark behind those.
    fn document<'a>(&mut self, file: &'a File<'_>) -> Result<(Json<'a>, bool), Refused> {
        let name = file.name.as_deref();
        let (format, source) = match &file.source {
            Source::Base64 { media_type, data } => {
                (media::document_format(Some(media_type), name), object! { "bytes" => data })
            }
            Source::Url(url) if url.starts_with("s3://") => {
                (media::document_format_of_name(url).or_else(|| media::document_format(None, name)), s3(url))
            }
            Source::Text(text) => (Some("txt"), object! { "text" => text }),
            Source::FileId(_) => return Err(self.refused(Feature::FileId)),
            Source::Url(_) => return Err(self.refused(Feature::FileUrl)),
        };
        let format = format.ok_or_else(|| self.refused(Feature::MediaFormats))?;
        let mut fields = Fields::new();
        fields.put("format", format).put("name", self.names.give(name)).put("source", source);
        fields.put_some("context", file.context.as_ref());
        if file.citations {
            fields.put("citations", object! { "enabled" => true });
        }
        Ok((fields.into(), format == "pdf" || file.citations))
    }

    fn audio<'a>(&mut self, audio: &'a Audio<'_>) -> Result<Json<'a>, Refused> {
        let format = media::audio_format(&audio.format).ok_or_else(|| self.refused(Feature::MediaFormats))?;
        Ok(object! { "format" => format, "source" => object! { "bytes" => &audio.data } })
    }

    fn call<'a>(&mut self, call: &'a ToolCall<'_>) -> Result<Json<'a>, Refused> {
        if call.signature.is_some() {
            self.losses.meet(Feature::ForeignThoughts)?;
        }
        let input = if call.custom {
            self.losses.meet(Feature::CustomTools)?;
            object! { "input" => &call.arguments }
        } else if let Some(input) = content::input(&call.arguments) {
            input
        } else {
            self.losses.meet(Feature::BrokenArguments)?;
            object! { "arguments" => &call.arguments }
        };
        Ok(object! {
            "toolUse" => object! { "toolUseId" => tool_use_id(&call.id), "name" => &call.name, "input" => input }
        })
    }

    fn result<'a>(&mut self, result: &'a ToolResult<'_>) -> Result<Json<'a>, Refused> {
        let mut content = Vec::with_capacity(result.parts.len());
        for part in &result.parts {
            match part {
                Part::Text(text) if text.text.trim().is_empty() => {}
                Part::Text(text) => content.push(object! { "text" => &text.text }),
                Part::Refusal(text) => content.push(object! { "text" => text }),
                Part::Image(image) => content.push(object! { "image" => self.image(image)? }),
                Part::File(file) => content.push(object! { "document" => self.document(file)?.0 }),
                Part::Audio(_) => return Err(self.refused(Feature::AudioInput)),
                Part::ToolCall(_) | Part::ToolResult(_) | Part::Thought(_) => {
                    self.losses.drop_feature(Feature::NativeParts);
                }
            }
        }
        if content.is_empty() {
            // Some models refuse a result without content.
            content.push(object! { "text" => "(no output)" });
        }
        let mut fields = Fields::new();
        fields.put("toolUseId", tool_use_id(&result.id)).put("content", content);
        if result.error {
            fields.put("status", "error");
        }
        Ok(fields.into())
    }

    /// Only Claude takes thoughts back, and only with its signature.
    fn thought<'a>(&mut self, thought: &'a Thought<'_>, turn: &mut Turn<'a>) -> Result<(), Refused> {
        let signature =
            thought.signature.as_ref().and_then(|signature| signature.valid_for(Family::Anthropic));
        let Some(signature) = signature.filter(|_| self.model.claude().is_some() && turn.assistant) else {
            return self.losses.meet(Feature::ForeignThoughts);
        };
        let content = if thought.redacted {
            object! { "redactedContent" => reasoning::redacted_content(signature) }
        } else {
            object! {
                "reasoningText" => object! { "text" => &thought.text, "signature" => signature }
            }
        };
        turn.blocks.push(object! { "reasoningContent" => content });
        Ok(())
    }

    /// Puts a cache point after what stands there, if the model knows cache points.
    pub fn mark(&mut self, mark: Option<CacheMark>, blocks: &mut Vec<Json<'_>>) {
        let Some(mark) = mark else { return };
        if !self.model.has_cache() || self.marks == MOST_MARKS {
            return self.losses.drop_feature(Feature::CacheMarks);
        }
        self.marks += 1;
        let mut point = Fields::new();
        point.put("type", "default");
        if mark.ttl == Some(CacheTtl::OneHour)
            && self.model.claude().is_some_and(super::model::Claude::caches_an_hour)
        {
            point.put("ttl", "1h");
        }
        blocks.push(object! { "cachePoint" => point });
    }

    fn refused(&self, feature: Feature) -> Refused {
        let path = match feature.path(self.losses.client()) {
            "" => feature.as_str(),
            path => path,
        };
        Refused { feature, target: self.losses.target(), path }
    }

    fn finish(&mut self, conversation: &mut Conversation<'_>) {
        let mut turns: Vec<Turn<'_>> = Vec::with_capacity(conversation.turns.len());
        for turn in conversation.turns.drain(..) {
            match turns.last_mut() {
                Some(last) if last.assistant == turn.assistant => last.absorb(turn),
                _ => turns.push(turn),
            }
        }
        for turn in &mut turns {
            if !turn.assistant && turn.has("document") && !turn.has("text") {
                turn.blocks.push(object! { "text" => BESIDE_DOCUMENTS });
            }
        }
        if turns.first().is_some_and(|turn| turn.assistant) {
            self.losses.unknown(first_turn(self.losses.client()));
            let mut opening = Turn::new(false);
            opening.blocks.push(object! { "text" => BEFORE_ASSISTANT });
            turns.insert(0, opening);
        }
        let mut turns = self.answer_calls(turns);
        if let Some(last) = turns.last_mut() {
            last.trim_prefill();
        }
        conversation.turns = turns;
    }

    /// Bedrock refuses a call whose result is not in the very next turn.
    fn answer_calls<'a>(&mut self, turns: Vec<Turn<'a>>) -> Vec<Turn<'a>> {
        let mut answered: Vec<Turn<'a>> = Vec::with_capacity(turns.len() + 1);
        let mut open = Vec::new();
        let mut missing = false;
        for mut turn in turns {
            if !turn.assistant {
                missing |= turn.answer(std::mem::take(&mut open));
            }
            open.extend(turn.calls());
            answered.push(turn);
        }
        if !open.is_empty() {
            let mut turn = Turn::new(false);
            missing |= turn.answer(open);
            answered.push(turn);
        }
        if missing {
            self.losses.unknown("tool_result");
        }
        answered
    }
}

impl<'a> Turn<'a> {
    /// The calls of tools in it.
    fn calls(&self) -> Vec<String> {
        let id = |block: &Json<'_>| {
            block.get("toolUse")?.get("toolUseId").and_then(Json::as_str).map(str::to_owned)
        };
        self.blocks.iter().filter_map(id).collect()
    }

    /// Gives the calls that are still open a result that says that there is none, and tells whether there were any.
    fn answer(&mut self, mut open: Vec<String>) -> bool {
        let has = |id: &String| {
            self.results.iter().any(|result| {
                let result = result.get("toolResult").and_then(|result| result.get("toolUseId"));
                result.and_then(Json::as_str) == Some(id)
            })
        };
        open.retain(|id| !has(id));
        let any = !open.is_empty();
        self.results.extend(open.into_iter().map(|id| {
            let content = vec![object! { "text" => "There is no result of this call." }];
            object! {
                "toolResult" => object! { "toolUseId" => id, "content" => content, "status" => "error" }
            }
        }));
        any
    }

    fn new(assistant: bool) -> Turn<'a> {
        Turn { assistant, results: Vec::new(), blocks: Vec::new() }
    }

    /// Whether a block of this kind is among its own, not within a result.
    fn has(&self, kind: &str) -> bool {
        self.blocks.iter().any(|block| block.get(kind).is_some())
    }

    /// Takes what the same speaker said next, which may answer calls of tools, too.
    fn absorb(&mut self, next: Turn<'a>) {
        self.results.extend(next.results);
        self.blocks.extend(next.blocks);
    }

    pub fn content(self) -> Vec<Json<'a>> {
        let mut content = self.results;
        content.extend(self.blocks);
        content
    }

    /// The beginning of an answer must not end in white space.
    fn trim_prefill(&mut self) {
        if !self.assistant {
            return;
        }
        if let Some(Json::Object(fields)) = self.blocks.last_mut() {
            for (key, value) in fields {
                if let ("text", Json::String(text)) = (key.as_ref(), value) {
                    let trimmed = text.trim_end();
                    if trimmed.len() < text.len() {
                        *text = Cow::Owned(trimmed.to_owned());
                    }
                }
            }
        }
    }
}

impl Conversation<'_> {
    /// Whether the model is to go on after calls of tools that it made without a thought before them, as a model that
    /// thinks a set number of tokens must not.
    pub fn continues_without_thought(&self) -> bool {
        let mut turns = self.turns.iter().rev();
        let answers_calls = turns.next().is_some_and(|turn| !turn.results.is_empty());
        let thought = |turn: &Turn<'_>| {
            turn.blocks.first().is_some_and(|block| block.get("reasoningContent").is_some())
        };
        answers_calls && turns.next().is_some_and(|turn| turn.has("toolUse") && !thought(turn))
    }
}

fn s3(url: &str) -> Json<'_> {
    object! { "s3Location" => object! { "uri" => url } }
}

/// Ids have up to 64 letters, digits and `_.:-`. Another id becomes one of those, always the same, so that calls and
/// their results stay together and a cached prompt stays what it was.
fn tool_use_id(id: &str) -> Cow<'_, str> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "_.:-".contains(character);
    if (1..=64).contains(&id.len()) && id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    let start: String =
        id.chars().take(40).map(|character| if fits(character) { character } else { '_' }).collect();
    // Ids that differ only in what was replaced or cut off stay different.
    Cow::Owned(format!("{start}_{:016x}", fingerprint::of(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_fit_stay_and_others_stay_apart() {
        assert_eq!(tool_use_id("tooluse_a-B.1:2"), "tooluse_a-B.1:2");
        let rewritten: Vec<_> = ["", "a b", "a/b", &"x".repeat(65), &"x".repeat(66), "é"]
            .map(|id| tool_use_id(id).into_owned())
            .into();
        for (index, id) in rewritten.iter().enumerate() {
            assert!((1..=64).contains(&id.len()), "{id}");
            assert!(
                id.chars().all(|character| character.is_ascii_alphanumeric() || "_.:-".contains(character))
            );
            assert!(!rewritten[..index].contains(id), "{id} twice");
        }
        assert_eq!(tool_use_id("a b"), tool_use_id("a b"));
    }
}
