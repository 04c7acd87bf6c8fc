//! Writing turns as messages.

use std::borrow::Cow;

use super::tools::cache_control;
use crate::conversation::{File, Image, Message, Part, Request, Role, Source, Text, ToolCall, ToolResult};
use crate::data_url;
use crate::dialect::Quirks;
use crate::feature::{Feature, Losses, Refused};
use crate::fingerprint;
use crate::json::{Fields, Json};
use crate::object;
use crate::signature::Family;

/// OpenAI refuses ids of tool calls that are longer.
const LONGEST_CALL_ID: usize = 40;

/// Writes the messages. `asked` is one more sentence for the end of the system prompt.
pub(super) fn encode<'a>(
    request: &'a Request<'_>,
    asked: Option<String>,
    quirks: &Quirks,
    losses: &mut Losses,
) -> Result<Vec<Json<'a>>, Refused> {
    let mut writer = Writer { messages: Vec::new(), shown: Vec::new(), quirks, losses };
    let prompt = request
        .messages
        .iter()
        .take_while(|message| matches!(message.role, Role::System | Role::Developer))
        .count();
    let (prompt, rest) = request.messages.split_at_checked(prompt).unwrap_or_default();
    for message in prompt {
        writer.message(message)?;
    }
    if let Some(asked) = asked {
        writer.messages.push(object! { "role" => "system", "content" => asked });
    }
    for message in rest {
        writer.message(message)?;
    }
    writer.show();
    Ok(writer.messages)
}

struct Writer<'a, 'q, 'l> {
    messages: Vec<Json<'a>>,
    /// Images and files of tool results, which only a user may show.
    shown: Vec<Json<'a>>,
    quirks: &'q Quirks,
    losses: &'l mut Losses,
}

impl<'a> Writer<'a, '_, '_> {
    fn message(&mut self, message: &'a Message<'_>) -> Result<(), Refused> {
        if !matches!(message.role, Role::User | Role::Tool) {
            self.show();
        }
        match message.role {
            Role::Tool => {
                for part in &message.parts {
                    match part {
                        Part::ToolResult(result) => self.result(result)?,
                        _ => self.losses.drop_feature(Feature::NativeParts),
                    }
                }
            }
            Role::Assistant => self.assistant(message)?,
            Role::Developer if self.quirks.developer_role => self.said("developer", message)?,
            Role::System | Role::Developer => self.said("system", message)?,
            Role::User => self.said("user", message)?,
        }
        Ok(())
    }

    fn said(&mut self, role: &'static str, message: &'a Message<'_>) -> Result<(), Refused> {
        let mut content = std::mem::take(&mut self.shown);
        for part in &message.parts {
            content.extend(self.part(part)?);
        }
        if content.is_empty() {
            return Ok(());
        }
        let mut said = Fields::new();
        said.put("role", role).put("content", simplest(content)).put_some("name", message.name.as_ref());
        self.messages.push(said.into());
        Ok(())
    }

    /// What the tools showed, if no user's message follows that could hold it.
    fn show(&mut self) {
        if !self.shown.is_empty() {
            let content = std::mem::take(&mut self.shown);
            self.messages.push(object! { "role" => "user", "content" => content });
        }
    }

    fn part(&mut self, part: &'a Part<'_>) -> Result<Option<Json<'a>>, Refused> {
        Ok(match part {
            Part::Text(text) => Some(self.text(text)?),
            Part::Image(image) => Some(self.image(image)?),
            Part::File(file) => Some(self.file(file)?),
            Part::Audio(audio) => {
                self.losses.meet(Feature::AudioInput)?;
                Some(object! {
                    "type" => "input_audio",
                    "input_audio" => object! { "data" => &audio.data, "format" => &audio.format },
                })
            }
            Part::Refusal(text) => Some(object! { "type" => "text", "text" => text }),
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thought(_) => {
                self.losses.drop_feature(Feature::NativeParts);
                None
            }
        })
    }

    fn text(&mut self, text: &'a Text<'_>) -> Result<Json<'a>, Refused> {
        let mut part = Fields::new();
        part.put("type", "text").put("text", &text.text);
        part.put_some("cache_control", cache_control(text.cache, self.quirks, self.losses)?);
        Ok(part.into())
    }

    fn image(&mut self, image: &'a Image<'_>) -> Result<Json<'a>, Refused> {
        let url = match &image.source {
            Source::Url(url) => {
                self.losses.meet(Feature::ImageUrl)?;
                Cow::Borrowed(url.as_ref())
            }
            Source::Base64 { media_type, data } => Cow::Owned(data_url::write(media_type, data)),
            // No decoder makes an image of text.
            Source::FileId(_) | Source::Text(_) => {
                self.losses.meet(Feature::ImageFileId)?;
                Cow::Borrowed("")
            }
        };
        let mut inner = Fields::new();
        inner.put("url", url).put_some("detail", image.detail.as_ref());
        let mut part = Fields::new();
        part.put("type", "image_url").put("image_url", inner);
        part.put_some("cache_control", cache_control(image.cache, self.quirks, self.losses)?);
        Ok(part.into())
    }

    fn file(&mut self, file: &'a File<'_>) -> Result<Json<'a>, Refused> {
        if file.context.is_some() {
            self.losses.meet(Feature::FileContext)?;
        }
        if file.citations {
            self.losses.meet(Feature::FileCitations)?;
        }
        let mut inner = Fields::new();
        let mut part = Fields::new();
        match &file.source {
            Source::Base64 { media_type, data } => {
                // OpenAI refuses data without a name.
                inner.put("filename", file.name.as_deref().unwrap_or("document.pdf"));
                inner.put("file_data", data_url::write(media_type, data));
            }
            Source::FileId(id) => {
                self.losses.meet(Feature::FileId)?;
                inner.put("file_id", id);
            }
            Source::Url(url) => {
                self.losses.meet(Feature::FileUrl)?;
                inner.put("file_data", url);
            }
            Source::Text(text) => {
                self.losses.meet(Feature::FileText)?;
                let text = match &file.name {
                    Some(name) => Cow::Owned(format!("{name}\n\n{text}")),
                    None => Cow::Borrowed(text.as_ref()),
                };
                part.put("type", "text").put("text", text);
            }
        }
        if part.is_empty() {
            part.put("type", "file").put("file", inner);
        }
        part.put_some("cache_control", cache_control(file.cache, self.quirks, self.losses)?);
        Ok(part.into())
    }

    fn assistant(&mut self, message: &'a Message<'_>) -> Result<(), Refused> {
        let (mut texts, mut refusals, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        for part in &message.parts {
            match part {
                Part::Text(text) if text.text.is_empty() => {}
                Part::Text(text) => texts.push(self.text(text)?),
                Part::Refusal(text) => refusals.push(text.as_ref()),
                Part::ToolCall(call) => calls.push(self.call(call)?),
                Part::Thought(thought) => {
                    let own = thought.signature.as_ref().and_then(|signed| signed.valid_for(Family::OpenAi));
                    let feature = if own.is_some() { Feature::Thoughts } else { Feature::ForeignThoughts };
                    self.losses.meet(feature)?;
                }
                Part::Image(_) | Part::File(_) | Part::Audio(_) | Part::ToolResult(_) => {
                    self.losses.drop_feature(Feature::NativeParts);
                }
            }
        }
        if texts.is_empty() && refusals.is_empty() && calls.is_empty() {
            return Ok(());
        }
        let mut said = Fields::new();
        said.put("role", "assistant");
        said.put("content", if texts.is_empty() { Json::Null } else { joined(texts) });
        if !refusals.is_empty() {
            said.put("refusal", refusals.concat());
        }
        said.put_some("name", message.name.as_ref());
        if !calls.is_empty() {
            said.put("tool_calls", calls);
        }
        self.messages.push(said.into());
        Ok(())
    }

    fn call(&mut self, call: &'a ToolCall<'_>) -> Result<Json<'a>, Refused> {
        if let Some(signature) = &call.signature {
            let own = signature.valid_for(Family::OpenAi).is_some();
            self.losses.meet(if own { Feature::Thoughts } else { Feature::ForeignThoughts })?;
        }
        if call.cache.is_some() {
            self.losses.drop_feature(Feature::CacheMarks);
        }
        let (kind, inner) = if call.custom {
            ("custom", object! { "name" => &call.name, "input" => &call.arguments })
        } else {
            let arguments = super::decode_messages::arguments(Some(&call.arguments));
            ("function", object! { "name" => &call.name, "arguments" => arguments })
        };
        Ok(object! { "id" => fingerprint::call_id(&call.id, LONGEST_CALL_ID), "type" => kind, kind => inner })
    }

    fn result(&mut self, result: &'a ToolResult<'_>) -> Result<(), Refused> {
        let mut content = Vec::new();
        let mut shown = Vec::new();
        if result.error {
            self.losses.meet(Feature::ToolResultError)?;
            content.push(object! { "type" => "text", "text" => "Error:" });
        }
        for part in &result.parts {
            match part {
                Part::Image(_) => self.losses.meet(Feature::ToolResultImage)?,
                Part::File(File { source: Source::Text(_), .. }) | Part::Text(_) => {}
                Part::File(_) => self.losses.meet(Feature::ToolResultFile)?,
                _ => {}
            }
            let Some(json) = self.part(part)? else { continue };
            if json.get("type").and_then(Json::as_str) == Some("text") {
                content.push(json);
            } else {
                shown.push(json);
            }
        }
        let id = fingerprint::call_id(&result.id, LONGEST_CALL_ID);
        if !shown.is_empty() {
            let name = result.name.as_deref().unwrap_or("the tool");
            let lead = format!("What {name} returned for the call {id}:");
            self.shown.push(object! { "type" => "text", "text" => lead });
            self.shown.append(&mut shown);
            if content.is_empty() {
                content.push(object! { "type" => "text", "text" => "See the next message." });
            }
        }
        if result.cache.is_some() {
            let control = cache_control(result.cache, self.quirks, self.losses)?;
            if let (Some(control), Some(Json::Object(last))) = (control, content.last_mut()) {
                last.retain(|(key, _)| key != "cache_control");
                last.push((Cow::Borrowed("cache_control"), control));
            }
        }
        let content = if content.is_empty() { Json::from("") } else { simplest(content) };
        self.messages.push(object! { "role" => "tool", "tool_call_id" => id, "content" => content });
        Ok(())
    }
}

/// A part that is nothing but text.
fn bare_text(part: &Json<'_>) -> bool {
    matches!(part, Json::Object(fields) if fields.len() == 2) && part.get("text").is_some()
}

fn into_text(part: Json<'_>) -> Option<Cow<'_, str>> {
    let Json::Object(fields) = part else { return None };
    fields.into_iter().find_map(|(key, value)| match value {
        Json::String(text) if key == "text" => Some(text),
        _ => None,
    })
}

/// One text is a string: every server takes that, and not every one takes arrays.
fn simplest(mut content: Vec<Json<'_>>) -> Json<'_> {
    match content.pop() {
        Some(only) if content.is_empty() && bare_text(&only) => {
            into_text(only).map_or(Json::Null, Json::String)
        }
        last => {
            content.extend(last);
            Json::Array(content)
        }
    }
}

/// The texts of an answer are pieces of one text; marks for the cache keep them apart.
fn joined(texts: Vec<Json<'_>>) -> Json<'_> {
    if texts.len() > 1 && texts.iter().all(bare_text) {
        return Json::from(texts.into_iter().filter_map(into_text).collect::<String>());
    }
    simplest(texts)
}
