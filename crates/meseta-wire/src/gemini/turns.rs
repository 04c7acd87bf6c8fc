//! Reads the turns of a request, by the rules of the conversation.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use super::call_id::CallIds;
use super::decode::{key, need_text, text};
use super::{media, part, signature};
use crate::conversation::{Message, Part, Role, Source, Text, Thought, ToolCall, ToolResult};
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};

/// The turns read so far, by the rules of the conversation.
pub(super) struct Turns<'j, 'l> {
    detail: Option<&'static str>,
    losses: &'l mut Losses,
    pub(super) messages: Vec<Message<'j>>,
    /// The ids of the calls of each name, in order.
    calls: HashMap<&'j str, VecDeque<Cow<'j, str>>>,
    /// Ids of calls whose result named them.
    answered: HashSet<&'j str>,
    ids: CallIds,
}

impl<'j, 'l> Turns<'j, 'l> {
    /// `detail`: how closely the request as a whole wants its images looked at.
    pub(super) fn new(detail: Option<&'static str>, losses: &'l mut Losses) -> Turns<'j, 'l> {
        Turns {
            detail,
            losses,
            messages: Vec::new(),
            calls: HashMap::new(),
            answered: HashSet::new(),
            ids: CallIds::default(),
        }
    }

    pub(super) fn system(&mut self, content: &Object<'j>) -> Result<(), Malformed> {
        content.each("parts", |part| {
            let written = need_text(&Object::of(part)?, "text")?;
            if !written.is_empty() {
                let text = Text { text: Cow::Borrowed(written), ..Text::default() };
                self.push(Role::System, Part::Text(text));
            }
            Ok(())
        })
    }

    pub(super) fn content(&mut self, content: &Object<'j>) -> Result<(), Malformed> {
        let role = match content.text("role")? {
            // `function` is the older word for a turn of results.
            None | Some("user" | "function") => Role::User,
            Some("model") => Role::Assistant,
            Some(_) => return Err(Malformed::at("role", "must be \"user\" or \"model\"")),
        };
        content.each("parts", |part| self.part(role, &Object::of(part)?))
    }

    fn push(&mut self, role: Role, part: Part<'j>) {
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.parts.push(part),
            _ => self.messages.push(Message { role, name: None, parts: vec![part] }),
        }
    }

    fn part(&mut self, role: Role, part: &Object<'j>) -> Result<(), Malformed> {
        let signature = text(part, "thoughtSignature")?.filter(|value| !value.is_empty());
        let signature = signature.map(signature::read);
        if let Some(written) = text(part, "text")? {
            let thought = part.flag("thought")?.unwrap_or(false);
            if thought && role == Role::Assistant {
                let thought = Thought { text: Cow::Borrowed(written), signature, ..Thought::default() };
                self.push(role, Part::Thought(thought));
                return Ok(());
            }
            if !written.is_empty() {
                self.push(role, Part::Text(Text { text: Cow::Borrowed(written), ..Text::default() }));
            }
            if signature.is_some() && role == Role::Assistant {
                self.push(role, Part::Thought(Thought { signature, redacted: true, ..Thought::default() }));
            }
        } else if let Some(call) = part.object(key(part, "functionCall"))? {
            if role != Role::Assistant {
                return Err(Malformed::at(
                    key(part, "functionCall"),
                    "must stand in a content of the role \"model\"",
                ));
            }
            let mut call = self.call(&call).map_err(|error| error.under(key(part, "functionCall")))?;
            call.signature = signature;
            self.push(role, Part::ToolCall(call));
        } else if let Some(response) = part.object(key(part, "functionResponse"))? {
            let result =
                self.result(&response).map_err(|error| error.under(key(part, "functionResponse")))?;
            self.push_result(result);
        } else if let Some(source) = self.source(part)? {
            self.push(role, source);
        } else {
            self.losses.drop_feature(Feature::NativeParts);
        }
        Ok(())
    }

    /// `inlineData` and `fileData`.
    fn source(&self, part: &Object<'j>) -> Result<Option<Part<'j>>, Malformed> {
        let detail = part
            .object(key(part, "mediaResolution"))?
            .map(|resolution| text(&resolution, "level"))
            .transpose()
            .map_err(|error| error.under(key(part, "mediaResolution")))?
            .flatten()
            .and_then(detail_of_resolution)
            .or(self.detail);
        let inline = part.inside(key(part, "inlineData"), |data| {
            let data = Object::of(data)?;
            let media_type = need_text(&data, "mimeType")?;
            let bytes = Cow::Borrowed(data.need_text("data")?);
            let source = Source::Base64 { media_type: Cow::Borrowed(media_type), data: bytes };
            Ok(media::part(media_type, source, detail))
        })?;
        if inline.is_some() {
            return Ok(inline);
        }
        part.inside(key(part, "fileData"), |data| {
            let data = Object::of(data)?;
            let url = need_text(&data, "fileUri")?;
            let media_type = match text(&data, "mimeType")? {
                Some(media_type) => media_type,
                None => media::type_of_url(url, "application/octet-stream"),
            };
            Ok(media::part(media_type, Source::Url(Cow::Borrowed(url)), detail))
        })
    }

    fn call(&mut self, call: &Object<'j>) -> Result<ToolCall<'j>, Malformed> {
        let name = call.need_text("name")?;
        if let Some(args) = call.get("args") {
            Object::of(args).map_err(|error| error.under("args"))?;
        }
        let arguments = part::arguments(call.get("args"));
        let id: Cow<'j, str> = match call.text("id")?.filter(|id| !id.is_empty()) {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(self.ids.make(name, &arguments)),
        };
        self.calls.entry(name).or_default().push_back(id.clone());
        Ok(ToolCall {
            id,
            name: Cow::Borrowed(name),
            arguments: Cow::Owned(arguments),
            custom: false,
            signature: None,
            cache: None,
        })
    }

    /// A result belongs to the call of its id, or to the first open call of its name.
    fn result(&mut self, response: &Object<'j>) -> Result<ToolResult<'j>, Malformed> {
        let name = response.need_text("name")?;
        let given = response.text("id")?.filter(|id| !id.is_empty());
        let id = match given {
            Some(id) => {
                self.answered.insert(id);
                Cow::Borrowed(id)
            }
            None => self.first_open(name).unwrap_or_else(|| Cow::Owned(self.ids.make(name, ""))),
        };
        let mut parts = Vec::new();
        let mut error = false;
        let output = response.object("response")?;
        if let Some(output) = output {
            let mut fields = output.iter();
            let text = match (fields.next(), fields.next()) {
                (Some(("output" | "result", Json::String(text))), None) => Cow::Borrowed(text.as_ref()),
                (Some(("output" | "result", value)), None) => Cow::Owned(value.to_text()),
                (Some(("error", value)), None) => {
                    error = true;
                    value.as_str().map_or_else(|| Cow::Owned(value.to_text()), Cow::Borrowed)
                }
                (None, _) => Cow::Borrowed(""),
                _ => Cow::Owned(response.get("response").map(Json::to_text).unwrap_or_default()),
            };
            if !text.is_empty() {
                parts.push(Part::Text(Text { text, ..Text::default() }));
            }
        }
        response.each("parts", |part| {
            match self.source(&Object::of(part)?)? {
                Some(part) => parts.push(part),
                None => self.losses.drop_feature(Feature::NativeParts),
            }
            Ok(())
        })?;
        Ok(ToolResult { id, name: Some(Cow::Borrowed(name)), parts, error, custom: false, cache: None })
    }

    fn first_open(&mut self, name: &str) -> Option<Cow<'j, str>> {
        let calls = self.calls.get_mut(name)?;
        while let Some(id) = calls.pop_front() {
            if !self.answered.contains(id.as_ref()) {
                return Some(id);
            }
        }
        None
    }

    /// Results stand in a message of their own before the user's words of the same turn.
    fn push_result(&mut self, result: ToolResult<'j>) {
        let last = self.messages.len().saturating_sub(1);
        let place = match self.messages.last() {
            Some(message) if message.role == Role::User => last,
            _ => return self.push(Role::Tool, Part::ToolResult(result)),
        };
        let before = place.checked_sub(1).and_then(|index| self.messages.get_mut(index));
        match before {
            Some(message) if message.role == Role::Tool => message.parts.push(Part::ToolResult(result)),
            _ => {
                let parts = vec![Part::ToolResult(result)];
                self.messages.insert(place, Message { role: Role::Tool, name: None, parts });
            }
        }
    }
}

pub(super) fn detail_of_resolution(word: &str) -> Option<&'static str> {
    match word {
        "MEDIA_RESOLUTION_LOW" => Some("low"),
        "MEDIA_RESOLUTION_HIGH" | "MEDIA_RESOLUTION_ULTRA_HIGH" => Some("high"),
        _ => None,
    }
}
