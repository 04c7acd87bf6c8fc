//! Writes the results of tools: `functionResponse`.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use super::call_id;
use super::contents::Contents;
use crate::conversation::{Part, ToolCall, ToolResult};
use crate::feature::{Feature, Refused};
use crate::json::{Fields, Json};
use crate::object;

impl<'r> Contents<'r, '_> {
    /// The turn of results: one for each call, in the order of the calls. What is missing is said, because the provider
    /// wants as many as there are calls; a result of no call is told in words.
    pub(super) fn results(
        &mut self,
        calls: &[&'r ToolCall<'_>],
        parts: &[&'r Part<'_>],
    ) -> Result<(), Refused> {
        let given = parts.iter().filter_map(|part| match part {
            Part::ToolResult(result) => Some(result),
            _ => None,
        });
        let mut results: Vec<Option<&'r ToolResult<'_>>> = given.map(Some).collect();
        // Careless clients give several calls one id; then the order tells.
        let mut places: HashMap<&str, VecDeque<usize>> = HashMap::with_capacity(results.len());
        for (place, result) in results.iter().flatten().enumerate() {
            places.entry(&result.id).or_default().push_back(place);
        }
        let mut written = Vec::with_capacity(calls.len());
        let mut behind = Vec::new();
        for call in calls {
            let place = places.get_mut(call.id.as_ref()).and_then(VecDeque::pop_front);
            let found = place.and_then(|place| results.get_mut(place)).and_then(Option::take);
            let mut response = Fields::new();
            if call_id::is_own(&call.id) {
                response.put("id", &call.id);
            }
            response.put("name", &call.name);
            if let Some(result) = found {
                self.result(result, &mut response, &mut behind)?;
            } else {
                self.losses.unknown("tool_result");
                response.put("response", object! { "error" => "No result was given for this call." });
            }
            written.push(object! { "functionResponse" => response });
        }
        for result in results.into_iter().flatten() {
            self.result_in_words(result, &mut behind)?;
        }
        written.append(&mut behind);
        self.turn("user", written);
        Ok(())
    }

    fn result(
        &mut self,
        result: &'r ToolResult<'_>,
        response: &mut Fields<'r>,
        behind: &mut Vec<Json<'r>>,
    ) -> Result<(), Refused> {
        if result.cache.is_some() {
            self.losses.meet(Feature::CacheMarks)?;
        }
        let text = self.result_text(result)?;
        let output = if result.error {
            self.losses.meet(Feature::ToolResultError)?;
            object! { "error" => text }
        } else if text.trim_start().starts_with('{') && matches!(Json::parse(&text), Ok(Json::Object(_))) {
            Json::Raw(text)
        } else {
            object! { "output" => text }
        };
        response.put("response", output);
        let mut inside = Vec::new();
        for part in &result.parts {
            let feature = match part {
                Part::Image(_) => Feature::ToolResultImage,
                Part::File(_) | Part::Audio(_) => Feature::ToolResultFile,
                _ => continue,
            };
            let Some(fields) = self.plain(part)? else { continue };
            if self.model.is_third_generation() {
                inside.push(Json::from(fields));
            } else {
                // Earlier models see them only in the user's words.
                self.losses.drop_feature(feature);
                behind.push(fields.into());
            }
        }
        if !inside.is_empty() {
            response.put("parts", Json::Array(inside));
        }
        Ok(())
    }

    /// The texts of a result, one under the other.
    fn result_text(&mut self, result: &'r ToolResult<'_>) -> Result<Cow<'r, str>, Refused> {
        let mut texts: Vec<&'r str> = Vec::new();
        for part in &result.parts {
            if let Part::Text(text) = part {
                if text.cache.is_some() {
                    self.losses.meet(Feature::CacheMarks)?;
                }
                texts.push(&text.text);
            }
        }
        Ok(match texts.as_slice() {
            [text] => Cow::Borrowed(*text),
            texts => Cow::Owned(texts.join("\n")),
        })
    }

    fn result_in_words(
        &mut self,
        result: &'r ToolResult<'_>,
        behind: &mut Vec<Json<'r>>,
    ) -> Result<(), Refused> {
        self.losses.unknown("tool_result");
        let text = self.result_text(result)?;
        let name = result.name.as_deref().unwrap_or("a tool");
        behind.push(object! { "text" => format!("Result of {name}:\n{text}") });
        for part in &result.parts {
            if !matches!(part, Part::Text(_)) {
                behind.extend(self.plain(part)?.map(Json::from));
            }
        }
        Ok(())
    }
}
