//! What a request or an answer may hold, and what becomes of it in each dialect: the table behind
//! docs/reference/dialects.md. Encoders ask it, so the page and the code cannot disagree.

use std::borrow::Cow;

use crate::dialect::Dialect;

/// What becomes of a feature on its way into a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Carried,
    /// The meaning gets there in another form, and the note says so.
    Changed,
    /// Left out with a note: the answer is as good without it.
    Dropped,
    /// The request is refused: without it the answer would be to another question.
    Refused,
}

impl Fate {
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Carried => "carried",
            Fate::Changed => "changed",
            Fate::Dropped => "dropped",
            Fate::Refused => "refused",
        }
    }
}

macro_rules! features {
    ($($variant:ident $text:literal
        [$chat:ident $responses:ident $messages:ident $gemini:ident $converse:ident]
        [$chat_path:literal $responses_path:literal $messages_path:literal]
        $note:literal)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Feature { $($variant),* }

        impl Feature {
            pub const ALL: &'static [Feature] = &[$(Feature::$variant),*];

            /// What it is, in a few words.
            pub fn as_str(self) -> &'static str {
                match self { $(Feature::$variant => $text),* }
            }

            /// What becomes of it where it is not simply carried.
            pub fn note(self) -> &'static str {
                match self { $(Feature::$variant => $note),* }
            }

            pub fn fate(self, target: Dialect) -> Fate {
                let fates = match self {
                    $(Feature::$variant => [Fate::$chat, Fate::$responses, Fate::$messages, Fate::$gemini, Fate::$converse]),*
                };
                fates[target as usize]
            }

            /// What becomes of it on the way between two dialects. Only ids of files depend on where they come from.
            pub fn fate_between(self, client: Dialect, target: Dialect) -> Fate {
                let names_a_file = matches!(self, Feature::ImageFileId | Feature::FileId);
                if names_a_file && !client.shares_files_with(target) {
                    return Fate::Refused;
                }
                self.fate(target)
            }

            /// Where a client of this dialect writes it; "" where it cannot.
            pub fn path(self, client: Dialect) -> &'static str {
                let paths = match self {
                    $(Feature::$variant => [$chat_path, $responses_path, $messages_path, "", ""]),*
                };
                paths[client as usize]
            }
        }
    };
}

// Columns: OpenAI chat, OpenAI Responses, Anthropic Messages, Gemini, Bedrock Converse; then the client's paths in chat,
// Responses and Messages.
features! {
    SystemInPlace "system messages between turns" [Carried Carried Changed Changed Changed]
        ["messages[].role" "input[].role" "messages[].role"]
        "They move to the front, joined to the system prompt."
    MessageName "names of authors" [Carried Dropped Dropped Dropped Dropped]
        ["messages[].name" "" ""]
        "Left out."
    ImageBase64 "images in base64" [Carried Carried Carried Carried Carried]
        ["messages[].content[].image_url" "input[].content[].image_url" "messages[].content[].source"]
        ""
    ImageUrl "images by URL" [Carried Carried Carried Carried Refused]
        ["messages[].content[].image_url" "input[].content[].image_url" "messages[].content[].source.url"]
        "Bedrock takes bytes or s3:// only. Send base64: a gateway that fetches URLs for its clients would reach into your network."
    ImageFileId "images by file id" [Refused Carried Carried Refused Refused]
        ["" "input[].content[].file_id" "messages[].content[].source.file_id"]
        "A file id means nothing at another provider: carried only between dialects of one provider. Send base64."
    ImageDetail "image detail" [Carried Carried Dropped Changed Dropped]
        ["messages[].content[].image_url.detail" "input[].content[].detail" ""]
        "Left out; for Gemini it is the media resolution."
    FileBase64 "PDFs and files in base64" [Carried Carried Carried Carried Carried]
        ["messages[].content[].file.file_data" "input[].content[].file_data" "messages[].content[].source"]
        ""
    FileUrl "files by URL" [Refused Carried Carried Carried Refused]
        ["" "input[].content[].file_url" "messages[].content[].source.url"]
        "Send base64."
    FileId "files by id" [Carried Carried Carried Refused Refused]
        ["messages[].content[].file.file_id" "input[].content[].file_id" "messages[].content[].source.file_id"]
        "A file id means nothing at another provider: carried only between dialects of one provider. Send base64."
    FileName "names of files" [Carried Carried Carried Dropped Carried]
        ["messages[].content[].file.filename" "input[].content[].filename" "messages[].content[].title"]
        "Left out: Gemini's files have no names."
    FileText "documents of plain text" [Changed Changed Carried Carried Carried]
        ["" "" "messages[].content[].source"]
        "A text part with the title in front."
    FileContext "context of a document" [Dropped Dropped Carried Dropped Carried]
        ["" "" "messages[].content[].context"]
        "Left out."
    FileCitations "citations of documents" [Dropped Dropped Carried Dropped Carried]
        ["" "" "messages[].content[].citations"]
        "The answer cites nothing."
    AudioInput "audio" [Carried Refused Refused Carried Carried]
        ["messages[].content[].input_audio" "input[].content[].input_audio" ""]
        "The dialect has no audio."
    MediaFormats "unusual formats of images, files and audio" [Carried Carried Carried Carried Refused]
        ["messages[].content[]" "input[].content[]" "messages[].content[].source.media_type"]
        "Send a PNG, JPEG, GIF or WebP; a PDF, a text or an office document; a WAV or MP3."
    AudioOutput "spoken answers" [Refused Refused Refused Refused Refused]
        ["modalities" "" ""]
        "Only where the client's own dialect is the provider's."
    FunctionTools "function tools" [Carried Carried Carried Carried Carried]
        ["tools[]" "tools[]" "tools[]"]
        ""
    StrictTools "strict schemas of tools" [Carried Carried Carried Dropped Carried]
        ["tools[].function.strict" "tools[].strict" "tools[].strict"]
        "Left out: arguments follow the schema nearly always instead of always."
    CustomTools "tools that take free text" [Carried Carried Changed Changed Changed]
        ["tools[].custom" "tools[]" ""]
        "A function tool with one text, `input`; a grammar is described, not enforced."
    WebSearch "web search at the provider" [Changed Carried Carried Changed Refused]
        ["web_search_options" "tools[]" "tools[]"]
        "Limits that the dialect does not know are left out; what was found comes back as citations. Bedrock has no search: \
         send the request to a provider that has, or define a function tool that searches."
    NativeTools "other tools that run at the provider" [Refused Refused Refused Refused Refused]
        ["tools[].type" "tools[].type" "tools[].type"]
        "They exist at one provider only. Send the request to that provider, or define a function tool."
    NativeParts "blocks of such tools, and blocks that are unknown" [Dropped Dropped Dropped Dropped Dropped]
        ["messages[].content[].type" "input[].type" "messages[].content[].type"]
        "Left out of the conversation."
    ParallelToolCalls "one call at a time" [Carried Carried Carried Dropped Dropped]
        ["parallel_tool_calls" "parallel_tool_calls" "tool_choice.disable_parallel_tool_use"]
        "Left out: the model may call several tools at once. Claude at Bedrock is told."
    ToolChoiceNone "tool choice: none" [Carried Carried Carried Carried Changed]
        ["tool_choice" "tool_choice" "tool_choice"]
        "The tools are not sent, unless the conversation holds calls of them; then they are, and the choice is left out."
    ToolChoiceAllowed "tool choice: some of them" [Carried Carried Changed Carried Changed]
        ["tool_choice.allowed_tools" "tool_choice.tools" ""]
        "The other tools are not sent."
    ToolResultError "tool results that are errors" [Changed Changed Carried Changed Carried]
        ["" "" "messages[].content[].is_error"]
        "The result says so in its text, or in Gemini under the key `error`."
    ToolResultImage "images in tool results" [Changed Carried Carried Carried Carried]
        ["messages[].content" "input[].output" "messages[].content[].content"]
        "They follow the results in a user's message."
    ToolResultFile "files in tool results" [Changed Carried Carried Carried Carried]
        ["messages[].content" "input[].output" "messages[].content[].content"]
        "They follow the results in a user's message."
    BrokenArguments "arguments of past calls that are no JSON object" [Carried Carried Changed Changed Changed]
        ["messages[].tool_calls[].function.arguments" "input[].arguments" ""]
        "They are sent as the text `arguments` of an object."
    JsonMode "answers that are some JSON object" [Carried Carried Changed Carried Changed]
        ["response_format" "text.format" ""]
        "A sentence at the end of the system prompt asks for it."
    JsonSchema "answers that follow a JSON Schema" [Carried Carried Carried Carried Changed]
        ["response_format" "text.format" "output_config.format"]
        "Bedrock's models that cannot be held to a schema are asked at the end of the system prompt."
    ThinkingEffort "how hard to think" [Carried Carried Carried Changed Changed]
        ["reasoning_effort" "reasoning.effort" "output_config.effort"]
        "As a number of tokens where the model wants one: low 1,024, medium 8,192, high 24,576, highest 32,768."
    ThinkingBudget "how many tokens to think" [Changed Changed Carried Carried Changed]
        ["" "" "thinking.budget_tokens"]
        "As an effort where the model wants one: up to 1,024 low, up to 8,192 medium, else high."
    ThinkingOff "no thinking" [Carried Carried Carried Carried Carried]
        ["reasoning_effort" "reasoning.effort" "thinking.type"]
        ""
    Thoughts "past thoughts with the provider's signature" [Dropped Carried Carried Carried Carried]
        ["messages[].reasoning_details" "input[]" "messages[].content[].thinking"]
        "Left out."
    ForeignThoughts "past thoughts of another provider, or unsigned" [Dropped Dropped Dropped Dropped Dropped]
        ["messages[].reasoning_content" "input[]" "messages[].content[].thinking"]
        "Left out: a provider accepts only thoughts that it signed. Where a model must have thought before a call of a tool, \
         thinking is off for the turn."
    CacheMarks "marks for the prompt cache" [Dropped Dropped Carried Dropped Carried]
        ["messages[].content[].cache_control" "input[].content[].prompt_cache_breakpoint" "cache_control"]
        "Left out; these providers cache by themselves. OpenAI-compatible servers that know `cache_control` get it."
    PromptCacheKey "key of the prompt cache" [Carried Carried Dropped Dropped Dropped]
        ["prompt_cache_key" "prompt_cache_key" ""]
        "Left out."
    StopSequences "stop sequences" [Carried Dropped Carried Carried Carried]
        ["stop" "" "stop_sequences"]
        "Responses have none."
    TemperatureAboveOne "temperatures above 1" [Carried Carried Changed Carried Changed]
        ["temperature" "temperature" ""]
        "1, the highest there."
    TopK "top k" [Dropped Dropped Carried Carried Carried]
        ["top_k" "" "top_k"]
        "Left out."
    Seed "seeds" [Carried Dropped Dropped Carried Dropped]
        ["seed" "" ""]
        "Left out."
    PresencePenalty "presence penalties" [Carried Dropped Dropped Carried Dropped]
        ["presence_penalty" "" ""]
        "Left out."
    FrequencyPenalty "frequency penalties" [Carried Dropped Dropped Carried Dropped]
        ["frequency_penalty" "" ""]
        "Left out."
    Logprobs "log probabilities" [Carried Carried Dropped Carried Dropped]
        ["logprobs" "top_logprobs" ""]
        "The answer has none."
    LogitBias "biases of tokens" [Carried Dropped Dropped Dropped Dropped]
        ["logit_bias" "" ""]
        "Left out: tokens have other numbers elsewhere."
    Choices "several answers at once" [Carried Refused Refused Refused Refused]
        ["n" "" ""]
        "Send the request several times."
    Metadata "metadata" [Dropped Carried Dropped Dropped Carried]
        ["metadata" "metadata" ""]
        "Left out; the log keeps what stands in x-meseta-tags."
    User "the end user" [Carried Carried Carried Dropped Dropped]
        ["user" "user" "metadata.user_id"]
        "Left out."
    ServiceTier "service tier" [Carried Carried Dropped Dropped Changed]
        ["service_tier" "service_tier" "service_tier"]
        "Left out: every provider has tiers of its own. Bedrock is told priority, flex and reserved."
    Verbosity "verbosity" [Carried Carried Dropped Dropped Dropped]
        ["verbosity" "text.verbosity" ""]
        "Left out."
    UnknownFields "fields that only one dialect has" [Dropped Dropped Dropped Dropped Dropped]
        ["" "" ""]
        "Left out; the note names each."
    Refusals "refusals of the model" [Carried Carried Changed Changed Changed]
        ["messages[].refusal" "input[].content[].refusal" ""]
        "Plain text; in an answer the reason for its end says that the model declined."
    Citations "citations in answers" [Changed Changed Changed Changed Changed]
        ["" "" ""]
        "URLs and titles are kept; places in a document's pages are not."
}

/// Where a client writes the first turn of a conversation.
pub(crate) fn first_turn(client: Dialect) -> &'static str {
    match client {
        Dialect::OpenaiResponses => "input[0]",
        Dialect::GeminiGenerateContent => "contents[0]",
        _ => "messages[0]",
    }
}

/// What was left out or changed on the way, for the record and the header `x-meseta-dropped`.
#[derive(Clone, Debug)]
pub struct Losses {
    client: Dialect,
    target: Dialect,
    noted: Vec<Cow<'static, str>>,
}

/// More than this many different losses are not listed.
const MOST_NOTED: usize = 24;

/// A request that means something that the target cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub feature: Feature,
    pub target: Dialect,
    /// Where the client wrote it.
    pub path: &'static str,
}

impl Losses {
    pub fn new(client: Dialect, target: Dialect) -> Losses {
        Losses { client, target, noted: Vec::new() }
    }

    pub fn client(&self) -> Dialect {
        self.client
    }

    pub fn target(&self) -> Dialect {
        self.target
    }

    /// A feature of the request that the target's encoder does not simply carry. Call it where the loss happens.
    pub fn meet(&mut self, feature: Feature) -> Result<(), Refused> {
        let path = match feature.path(self.client) {
            "" => feature.as_str(),
            path => path,
        };
        match feature.fate_between(self.client, self.target) {
            Fate::Carried => {}
            Fate::Changed | Fate::Dropped => self.note(Cow::Borrowed(path)),
            Fate::Refused => return Err(Refused { feature, target: self.target, path }),
        }
        Ok(())
    }

    /// Carries nothing of a feature although the table says that the dialect can: for servers with a quirk.
    pub fn drop_feature(&mut self, feature: Feature) {
        let path = feature.path(self.client);
        self.note(Cow::Borrowed(if path.is_empty() { feature.as_str() } else { path }));
    }

    /// A field of the client's that nobody else has.
    pub fn unknown(&mut self, path: &str) {
        let path: String = path.chars().filter(char::is_ascii_graphic).take(64).collect();
        self.note(Cow::Owned(path));
    }

    /// Something in the answer that the client's dialect has no place for.
    pub fn answer(&mut self, what: &'static str) {
        self.note(Cow::Borrowed(what));
    }

    fn note(&mut self, path: Cow<'static, str>) {
        if self.noted.len() < MOST_NOTED && !self.noted.contains(&path) {
            self.noted.push(path);
        }
    }

    pub fn noted(&self) -> &[Cow<'static, str>] {
        &self.noted
    }

    pub fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_files_stay_with_their_provider() {
        for feature in [Feature::ImageFileId, Feature::FileId] {
            for (client, target) in [
                (Dialect::OpenaiResponses, Dialect::AnthropicMessages),
                (Dialect::AnthropicMessages, Dialect::OpenaiResponses),
                (Dialect::OpenaiChat, Dialect::AnthropicMessages),
            ] {
                let refused = Losses::new(client, target).meet(feature).unwrap_err();
                assert_eq!(refused, Refused { feature, target, path: refused.path });
            }
            for dialect in [Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
                assert_eq!(Losses::new(dialect, dialect).meet(feature), Ok(()));
            }
        }
        let mut losses = Losses::new(Dialect::OpenaiChat, Dialect::OpenaiResponses);
        assert_eq!(losses.meet(Feature::FileId), Ok(()));
    }
}
