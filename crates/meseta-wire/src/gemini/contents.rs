//! Writes the turns: `contents` and the parts of `systemInstruction`.
//!
//! Gemini refuses calls whose results do not stand in the very next turn, all of them and nothing else's.

use super::answer::{arguments_object, function_call};
use super::generation::Resolution;
use super::media;
use super::model::Model;
use crate::base64_text;
use crate::conversation::{Audio, File, Image, Message, Part, Role, Source, Thought, ToolCall};
use crate::feature::{Feature, Losses, Refused, first_turn};
use crate::json::{Fields, Json};
use crate::object;
use crate::signature::Family;

/// Stands for a signature that there is not, on calls of another provider's model or of a client's own making:
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>, "FAQs".
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

const MODEL: &str = "model";

const CUT_OFF: &str = "(The beginning of the conversation is left out.)";

pub(super) struct Contents<'r, 'l> {
    pub(super) model: Model,
    pub(super) losses: &'l mut Losses,
    pub(super) system: Vec<Json<'r>>,
    /// Roles and parts.
    pub(super) turns: Vec<(&'static str, Vec<Json<'r>>)>,
    pub(super) resolution: Option<Resolution>,
}

/// A part of the model's turn before it is written, so that a signature that comes later can be put on it.
struct Piece<'r> {
    kind: Kind,
    fields: Fields<'r>,
    signed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Call,
    Other,
}

impl<'r, 'l> Contents<'r, 'l> {
    pub(super) fn new(model: Model, losses: &'l mut Losses) -> Contents<'r, 'l> {
        Contents { model, losses, system: Vec::new(), turns: Vec::new(), resolution: None }
    }

    pub(super) fn messages(&mut self, messages: &'r [Message<'_>]) -> Result<(), Refused> {
        let mut turns: Vec<(Role, Vec<&'r Part<'_>>)> = Vec::with_capacity(messages.len());
        for message in messages {
            if matches!(message.role, Role::System | Role::Developer) {
                if !turns.is_empty() {
                    self.losses.meet(Feature::SystemInPlace)?;
                }
                self.system(&message.parts)?;
                continue;
            }
            // What stood on either side of a system message may be one turn now.
            match turns.last_mut() {
                Some((role, parts)) if *role == message.role => parts.extend(&message.parts),
                _ => turns.push((message.role, message.parts.iter().collect())),
            }
        }
        let mut rest = turns.as_slice();
        while let [(role, parts), following @ ..] = rest {
            rest = following;
            match role {
                // Results without calls right before them.
                Role::Tool => self.results(&[], parts)?,
                Role::Assistant => {
                    let calls = self.model(parts)?;
                    if let [(Role::Tool, results), following @ ..] = rest {
                        self.results(&calls, results)?;
                        rest = following;
                    } else if !rest.is_empty() && !calls.is_empty() {
                        self.results(&calls, &[])?;
                    }
                }
                _ => self.user(parts)?,
            }
        }
        // A conversation begins with the user, and calls must follow something; a client may have cut off the beginning.
        if self.turns.first().is_some_and(|(role, _)| *role == MODEL) {
            self.losses.unknown(first_turn(self.losses.client()));
            self.turns.insert(0, ("user", vec![object! { "text" => CUT_OFF }]));
        }
        Ok(())
    }

    pub(super) fn turn(&mut self, role: &'static str, mut parts: Vec<Json<'r>>) {
        match self.turns.last_mut() {
            // An empty turn is refused.
            _ if parts.is_empty() => {}
            // A call must not follow words of the model's own turn; results and words of a user may be two turns.
            Some((before, written)) if *before == MODEL && role == MODEL => written.append(&mut parts),
            _ => self.turns.push((role, parts)),
        }
    }

    fn system(&mut self, parts: &'r [Part<'_>]) -> Result<(), Refused> {
        for part in parts {
            match part {
                Part::Text(text) => {
                    if text.cache.is_some() {
                        self.losses.meet(Feature::CacheMarks)?;
                    }
                    if !text.text.is_empty() {
                        self.system.push(object! { "text" => &text.text });
                    }
                }
                _ => self.losses.drop_feature(Feature::NativeParts),
            }
        }
        Ok(())
    }

    fn user(&mut self, parts: &[&'r Part<'_>]) -> Result<(), Refused> {
        let mut written = Vec::with_capacity(parts.len());
        for part in parts {
            written.extend(self.plain(part)?.map(Json::from));
        }
        self.turn("user", written);
        Ok(())
    }

    /// Texts, media and refusals, which are written the same way wherever they stand.
    pub(super) fn plain(&mut self, part: &'r Part<'_>) -> Result<Option<Fields<'r>>, Refused> {
        let mut fields = Fields::new();
        match part {
            Part::Text(text) => {
                if text.cache.is_some() {
                    self.losses.meet(Feature::CacheMarks)?;
                }
                if text.text.is_empty() {
                    return Ok(None);
                }
                fields.put("text", &text.text);
            }
            Part::Refusal(text) => {
                self.losses.meet(Feature::Refusals)?;
                if text.is_empty() {
                    return Ok(None);
                }
                fields.put("text", text);
            }
            Part::Image(image) => self.image(image, &mut fields)?,
            Part::File(file) => self.file(file, &mut fields)?,
            Part::Audio(Audio { format, data }) => {
                fields.put(
                    "inlineData",
                    object! { "mimeType" => media::type_of_audio(format), "data" => data },
                );
            }
            // These never stand where this is called from a well-formed conversation.
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thought(_) => {
                self.losses.drop_feature(Feature::NativeParts);
                return Ok(None);
            }
        }
        Ok(Some(fields))
    }

    fn image(&mut self, image: &'r Image<'_>, fields: &mut Fields<'r>) -> Result<(), Refused> {
        if image.cache.is_some() {
            self.losses.meet(Feature::CacheMarks)?;
        }
        let resolution = match image.detail.as_deref() {
            Some("low") => Some(Resolution::Low),
            Some("high" | "original") => Some(Resolution::High),
            _ => None,
        };
        if resolution.is_some() {
            self.losses.meet(Feature::ImageDetail)?;
            // The whole request has one: the closest look that was asked for.
            self.resolution = self.resolution.max(resolution);
        }
        match &image.source {
            Source::FileId(_) => self.losses.meet(Feature::ImageFileId)?,
            Source::Url(_) => self.losses.meet(Feature::ImageUrl)?,
            Source::Base64 { .. } | Source::Text(_) => {}
        }
        source(&image.source, "image/jpeg", fields);
        Ok(())
    }

    fn file(&mut self, file: &'r File<'_>, fields: &mut Fields<'r>) -> Result<(), Refused> {
        if file.cache.is_some() {
            self.losses.meet(Feature::CacheMarks)?;
        }
        if file.context.is_some() {
            self.losses.meet(Feature::FileContext)?;
        }
        if file.name.as_ref().is_some_and(|name| !name.trim().is_empty()) {
            self.losses.meet(Feature::FileName)?;
        }
        if file.citations {
            self.losses.meet(Feature::FileCitations)?;
        }
        match &file.source {
            Source::FileId(_) => self.losses.meet(Feature::FileId)?,
            Source::Url(_) => self.losses.meet(Feature::FileUrl)?,
            Source::Text(_) => self.losses.meet(Feature::FileText)?,
            Source::Base64 { .. } => {}
        }
        source(&file.source, "application/pdf", fields);
        Ok(())
    }

    /// Writes a turn of the model's and returns its calls.
    fn model(&mut self, parts: &[&'r Part<'_>]) -> Result<Vec<&'r ToolCall<'r>>, Refused> {
        let mut pieces: Vec<Piece<'r>> = Vec::with_capacity(parts.len());
        let mut calls: Vec<&'r ToolCall<'r>> = Vec::new();
        // A signature that is to go on the call behind it.
        let mut waiting: Option<&'r str> = None;
        for (index, part) in parts.iter().copied().enumerate() {
            match part {
                Part::Thought(thought) => {
                    let before_call = match parts.get(index + 1) {
                        Some(Part::ToolCall(call)) => own_signature(call).is_none(),
                        _ => false,
                    };
                    if let Some(signature) = self.thought(thought, before_call, &mut pieces)? {
                        waiting = Some(signature);
                    }
                }
                Part::ToolCall(call) => {
                    let signature = own_signature(call).or(waiting.take());
                    // Parallel calls share the signature of the first.
                    let wanted = calls.is_empty() && self.model.is_third_generation();
                    pieces.push(self.call(call, signature.or(wanted.then_some(NO_SIGNATURE)))?);
                    calls.push(call);
                }
                other => {
                    let kind = if matches!(other, Part::Text(_)) { Kind::Text } else { Kind::Other };
                    pieces.extend(self.plain(other)?.map(|fields| Piece { kind, fields, signed: false }));
                }
            }
        }
        self.turn(MODEL, pieces.into_iter().map(|piece| piece.fields.into()).collect());
        Ok(calls)
    }

    /// Writes a past thought. What is nothing but a signature belongs to the part that Gemini sent it with: returned if
    /// that is the call behind it, put on the text before it, or else a part of its own, which Gemini sends as well.
    fn thought(
        &mut self,
        thought: &'r Thought<'_>,
        before_call: bool,
        pieces: &mut Vec<Piece<'r>>,
    ) -> Result<Option<&'r str>, Refused> {
        let signature = thought.signature.as_ref().and_then(|signature| signature.valid_for(Family::Gemini));
        let Some(signature) = signature.filter(|signature| !signature.is_empty()) else {
            self.losses.meet(Feature::ForeignThoughts)?;
            return Ok(None);
        };
        if !thought.redacted && !thought.text.is_empty() {
            let mut fields = Fields::new();
            fields.put("text", &thought.text).put("thought", true).put("thoughtSignature", signature);
            pieces.push(Piece { kind: Kind::Other, fields, signed: true });
            return Ok(None);
        }
        if before_call {
            return Ok(Some(signature));
        }
        match pieces.last_mut() {
            Some(piece) if piece.kind == Kind::Text && !piece.signed => {
                piece.fields.put("thoughtSignature", signature);
                piece.signed = true;
            }
            _ => {
                let mut fields = Fields::new();
                fields.put("text", "").put("thoughtSignature", signature);
                pieces.push(Piece { kind: Kind::Other, fields, signed: true });
            }
        }
        Ok(None)
    }

    fn call(&mut self, call: &'r ToolCall<'_>, signature: Option<&'r str>) -> Result<Piece<'r>, Refused> {
        if call.cache.is_some() {
            self.losses.meet(Feature::CacheMarks)?;
        }
        let arguments = if call.custom {
            self.losses.meet(Feature::CustomTools)?;
            object! { "input" => &call.arguments }
        } else {
            let (arguments, are_object) = arguments_object(&call.arguments);
            if !are_object {
                self.losses.meet(Feature::BrokenArguments)?;
            }
            arguments
        };
        let mut fields = Fields::new();
        fields.put("functionCall", function_call(&call.id, &call.name, arguments));
        fields.put_some("thoughtSignature", signature);
        Ok(Piece { kind: Kind::Call, fields, signed: signature.is_some() })
    }
}

fn own_signature<'c>(call: &'c ToolCall<'_>) -> Option<&'c str> {
    let signature = call.signature.as_ref()?.valid_for(Family::Gemini)?;
    (!signature.is_empty()).then_some(signature)
}

fn source<'r>(source: &'r Source<'_>, otherwise: &'static str, fields: &mut Fields<'r>) {
    match source {
        Source::Base64 { media_type, data } => {
            fields.put("inlineData", object! { "mimeType" => media_type, "data" => data });
        }
        Source::Url(url) => {
            let media_type = media::type_of_url(url, otherwise);
            fields.put("fileData", object! { "mimeType" => media_type, "fileUri" => url });
        }
        Source::Text(text) => {
            let data = base64_text::encode(text.as_bytes());
            fields.put("inlineData", object! { "mimeType" => "text/plain", "data" => data });
        }
        // Refused before: the id means nothing here.
        Source::FileId(id) => {
            fields.put("fileData", object! { "fileUri" => id });
        }
    }
}
