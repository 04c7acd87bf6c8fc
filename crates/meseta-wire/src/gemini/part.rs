//! A part of an answer, read the way a good client reads: what is unknown or odd is passed over.

use std::borrow::Cow;

use crate::conversation::{Source, TokenLogprob};
use crate::json::Json;

pub(super) struct AnswerPart<'j> {
    pub(super) content: Content<'j>,
    /// Of the thinking that led here; an answer without calls has it on its last part, which may be an empty text.
    pub(super) signature: Option<&'j str>,
}

pub(super) enum Content<'j> {
    Text(&'j str),
    Thought(&'j str),
    Call {
        id: Option<&'j str>,
        name: &'j str,
        arguments: String,
    },
    Media {
        media_type: &'j str,
        source: Source<'j>,
    },
    /// Code that ran at Google's, and what may come.
    Other,
}

impl<'j> AnswerPart<'j> {
    pub(super) fn read(part: &'j Json<'_>) -> AnswerPart<'j> {
        let text = |json: Option<&'j Json<'_>>| json.and_then(Json::as_str);
        let content = if let Some(written) = text(part.get("text")) {
            if matches!(part.get("thought"), Some(Json::Bool(true))) {
                Content::Thought(written)
            } else {
                Content::Text(written)
            }
        } else if let Some(call) = part.get("functionCall") {
            match text(call.get("name")) {
                Some(name) => Content::Call {
                    id: text(call.get("id")).filter(|id| !id.is_empty()),
                    name,
                    arguments: arguments(call.get("args")),
                },
                None => Content::Other,
            }
        } else if let Some(data) = part.get("inlineData") {
            match (text(data.get("mimeType")), text(data.get("data"))) {
                (Some(media_type), Some(data)) => Content::Media {
                    media_type,
                    source: Source::Base64 {
                        media_type: Cow::Borrowed(media_type),
                        data: Cow::Borrowed(data),
                    },
                },
                _ => Content::Other,
            }
        } else if part.get("thoughtSignature").is_some() && only_signed(part) {
            Content::Text("")
        } else {
            Content::Other
        };
        let signature = text(part.get("thoughtSignature")).filter(|signature| !signature.is_empty());
        AnswerPart { content, signature }
    }
}

/// A part may hold nothing but a signature, without even an empty text.
fn only_signed(part: &Json<'_>) -> bool {
    match part {
        Json::Object(fields) => {
            fields.iter().all(|(key, _)| matches!(key.as_ref(), "thoughtSignature" | "thought"))
        }
        _ => false,
    }
}

pub(super) fn arguments(args: Option<&Json<'_>>) -> String {
    match args {
        Some(args @ Json::Object(_)) => args.to_text(),
        _ => "{}".to_owned(),
    }
}

/// `logprobsResult`: the chosen tokens, and at the same places the likeliest.
pub(super) fn logprobs<'j>(result: Option<&'j Json<'_>>) -> Vec<TokenLogprob<'j>> {
    let Some(result) = result else { return Vec::new() };
    let list = |key: &str| result.get(key).and_then(Json::as_array).unwrap_or_default();
    let top = list("topCandidates");
    let chosen = list("chosenCandidates").iter().enumerate();
    chosen
        .filter_map(|(place, chosen)| {
            let (token, logprob) = token_logprob(chosen)?;
            let candidates = top.get(place).and_then(|top| top.get("candidates")).and_then(Json::as_array);
            let top = candidates.unwrap_or_default().iter().filter_map(token_logprob).collect();
            Some(TokenLogprob { token, logprob, top })
        })
        .collect()
}

fn token_logprob<'j>(json: &'j Json<'_>) -> Option<(Cow<'j, str>, f64)> {
    let token = json.get("token")?.as_str()?;
    match json.get("logProbability") {
        // Proto3 JSON leaves out a zero, which is the logarithm of certainty.
        None => Some((Cow::Borrowed(token), 0.0)),
        Some(Json::Number(number)) => Some((Cow::Borrowed(token), number.as_f64()?)),
        Some(_) => None,
    }
}
