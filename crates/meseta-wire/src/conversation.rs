//! The conversation: one model of a request, an answer and a stream that is a superset of what every dialect can say.
//!
//! A dialect's decoder turns its own words into these, a dialect's encoder turns these into its own words; no dialect
//! knows another one. Everything borrows from the text that it was read from.
//!
//! Rules that decoders keep and encoders rely on:
//! - Neighbouring turns of the same role are one [`Message`]; tool results are a message of [`Role::Tool`] of their own
//!   that stands before the user's words of the same turn. Nothing else reorders anything.
//! - A tool call's arguments are JSON text (`{}` where there are none), unless the tool takes free text.
//! - Counts of tokens mean what [`Usage`] says, whatever the provider means.

mod owned;

use std::borrow::Cow;

use serde_json::Number;

use crate::json::Json;
use crate::signature::Signature;
use crate::usage::Usage;

/// What a client asks of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<'a> {
    pub messages: Vec<Message<'a>>,
    pub tools: Vec<Tool<'a>>,
    pub tool_choice: Option<ToolChoice<'a>>,
    pub parallel_tool_calls: Option<bool>,
    pub format: Option<Format<'a>>,
    pub thinking: Option<Thinking>,
    pub sampling: Sampling<'a>,
    pub max_tokens: Option<u64>,
    pub stop: Vec<Cow<'a, str>>,
    pub stream: bool,
    /// Chat completions only report usage in a stream when asked; the other dialects always do.
    pub include_usage: bool,
    /// How many answers; only chat completions can ask for more than one.
    pub choices: Option<u64>,
    /// Key-value notes for the provider's records. Values are strings.
    pub metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// A stable identifier of the end user.
    pub user: Option<Cow<'a, str>>,
    /// Which requests share a prompt cache.
    pub prompt_cache_key: Option<Cow<'a, str>>,
    pub service_tier: Option<Cow<'a, str>>,
    /// How long the answer's text should be: low, medium, high.
    pub verbosity: Option<Cow<'a, str>>,
    /// Responses: keep the answer so that it can be read and continued by its id.
    pub store: Option<bool>,
    pub previous_response_id: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    /// Holds nothing but [`Part::ToolResult`].
    Tool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    pub role: Role,
    /// The author's name, which only chat completions have.
    pub name: Option<Cow<'a, str>>,
    pub parts: Vec<Part<'a>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Part<'a> {
    Text(Text<'a>),
    Image(Image<'a>),
    /// A PDF or another file that the model reads.
    File(File<'a>),
    Audio(Audio<'a>),
    ToolCall(ToolCall<'a>),
    ToolResult(ToolResult<'a>),
    Thought(Thought<'a>),
    Refusal(Cow<'a, str>),
}

impl Part<'_> {
    /// Where its cache mark is, if it can bear one.
    pub fn cache_mark(&mut self) -> Option<&mut Option<CacheMark>> {
        match self {
            Part::Text(text) => Some(&mut text.cache),
            Part::Image(image) => Some(&mut image.cache),
            Part::File(file) => Some(&mut file.cache),
            Part::ToolCall(call) => Some(&mut call.cache),
            Part::ToolResult(result) => Some(&mut result.cache),
            Part::Audio(_) | Part::Thought(_) | Part::Refusal(_) => None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text<'a> {
    pub text: Cow<'a, str>,
    pub cache: Option<CacheMark>,
    /// What the text rests on: URLs and places in documents.
    pub citations: Vec<Citation<'a>>,
}

/// A source that a text names. Characters are counted in Unicode scalar values of the part's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Citation<'a> {
    pub url: Option<Cow<'a, str>>,
    pub title: Option<Cow<'a, str>>,
    /// The words of the source.
    pub cited: Option<Cow<'a, str>>,
    pub start: Option<u64>,
    pub end: Option<u64>,
}

/// Everything up to here may be cached by the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheMark {
    pub ttl: Option<CacheTtl>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTtl {
    FiveMinutes,
    OneHour,
}

/// Where the bytes of an image or a file are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<'a> {
    /// `https://…`, and also `gs://…` and `s3://…`. Never a data URL: those are read into `Base64`.
    Url(Cow<'a, str>),
    Base64 {
        media_type: Cow<'a, str>,
        data: Cow<'a, str>,
    },
    /// The id of a file that was uploaded to the provider before.
    FileId(Cow<'a, str>),
    /// Plain text that is a document.
    Text(Cow<'a, str>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Image<'a> {
    pub source: Source<'a>,
    /// OpenAI's low, high, auto.
    pub detail: Option<Cow<'a, str>>,
    pub cache: Option<CacheMark>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct File<'a> {
    pub source: Source<'a>,
    /// A file name or a title.
    pub name: Option<Cow<'a, str>>,
    /// What the model should know of the document besides its text (Anthropic's and Bedrock's `context`).
    pub context: Option<Cow<'a, str>>,
    /// The answer may cite it.
    pub citations: bool,
    pub cache: Option<CacheMark>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Audio<'a> {
    /// wav, mp3 …: the name, not the media type.
    pub format: Cow<'a, str>,
    /// Base64.
    pub data: Cow<'a, str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall<'a> {
    pub id: Cow<'a, str>,
    pub name: Cow<'a, str>,
    /// JSON text of an object; for a custom tool, its free text.
    pub arguments: Cow<'a, str>,
    pub custom: bool,
    /// Gemini signs calls, and wants its signature back.
    pub signature: Option<Signature<'a>>,
    pub cache: Option<CacheMark>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult<'a> {
    pub id: Cow<'a, str>,
    /// Of the tool. Decoders whose dialect does not say it look it up among the calls of the same conversation.
    pub name: Option<Cow<'a, str>>,
    /// Text, images and files.
    pub parts: Vec<Part<'a>>,
    pub error: bool,
    pub custom: bool,
    pub cache: Option<CacheMark>,
}

/// A piece of the model's thinking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thought<'a> {
    /// Of a Responses reasoning item.
    pub id: Option<Cow<'a, str>>,
    /// The thinking or a summary of it; empty when it is redacted.
    pub text: Cow<'a, str>,
    /// Proves to the provider that the thought is its own. For a redacted thought it is all there is.
    pub signature: Option<Signature<'a>>,
    pub redacted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Tool<'a> {
    Function(Function<'a>),
    /// Takes free text, or text of a grammar.
    Custom {
        name: Cow<'a, str>,
        description: Option<Cow<'a, str>>,
        format: Option<Cow<'a, Json<'a>>>,
    },
    /// Runs at the provider.
    WebSearch(WebSearch<'a>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Function<'a> {
    pub name: Cow<'a, str>,
    pub description: Option<Cow<'a, str>>,
    /// JSON Schema of the arguments; `None` where the tool takes none.
    pub parameters: Option<Cow<'a, Json<'a>>>,
    pub strict: Option<bool>,
    pub cache: Option<CacheMark>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebSearch<'a> {
    pub max_uses: Option<u64>,
    pub allowed_domains: Vec<Cow<'a, str>>,
    pub blocked_domains: Vec<Cow<'a, str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice<'a> {
    Auto,
    None,
    Required,
    /// This tool and no other.
    Named(Cow<'a, str>),
    /// One of these, or none of them unless `required`.
    Allowed {
        names: Vec<Cow<'a, str>>,
        required: bool,
    },
}

/// The form of the answer's text. Plain text is `None` in the request.
#[derive(Clone, Debug, PartialEq)]
pub enum Format<'a> {
    /// Any JSON object.
    Json,
    Schema {
        name: Option<Cow<'a, str>>,
        description: Option<Cow<'a, str>>,
        schema: Cow<'a, Json<'a>>,
        strict: Option<bool>,
    },
}

/// How much the model should think and what of it is shown. At least one field is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thinking {
    /// `Some(false)`: do not think. `Some(true)`: think, as much as the model sees fit unless the others say more.
    pub enabled: Option<bool>,
    pub effort: Option<Effort>,
    /// At most so many tokens.
    pub budget: Option<u64>,
    /// Whether the thinking, or a summary of it, is wanted in the answer.
    pub shown: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    Highest,
}

impl Effort {
    /// Tokens of thinking that stand for an effort where a provider wants a number. Low, medium and high are the
    /// numbers of Google's OpenAI compatibility page (1,024, 8,192 and 24,576).
    pub fn budget(self) -> u64 {
        match self {
            Effort::Minimal | Effort::Low => 1_024,
            Effort::Medium => 8_192,
            Effort::High => 24_576,
            Effort::Highest => 32_768,
        }
    }

    /// The least effort whose budget covers the tokens.
    pub fn of_budget(tokens: u64) -> Effort {
        match tokens {
            0..=1_024 => Effort::Low,
            1_025..=8_192 => Effort::Medium,
            _ => Effort::High,
        }
    }
}

impl Thinking {
    /// The tokens to allow, where a provider wants a number; `None` when thinking is off or nothing was said.
    pub fn tokens(&self) -> Option<u64> {
        if self.enabled == Some(false) {
            return None;
        }
        self.budget
            .or(self.effort.map(Effort::budget))
            .or((self.enabled == Some(true)).then(|| Effort::Medium.budget()))
    }

    /// The effort to name, where a provider wants a word.
    pub fn level(&self) -> Option<Effort> {
        if self.enabled == Some(false) {
            return None;
        }
        self.effort
            .or(self.budget.map(Effort::of_budget))
            .or((self.enabled == Some(true)).then_some(Effort::Medium))
    }
}

/// Numbers are kept as they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling<'a> {
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_k: Option<Number>,
    pub seed: Option<Number>,
    pub presence_penalty: Option<Number>,
    pub frequency_penalty: Option<Number>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u64>,
    pub logit_bias: Option<Cow<'a, Json<'a>>>,
}

/// What a model answered, whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer<'a> {
    pub id: Option<Cow<'a, str>>,
    /// The model's own name for itself.
    pub model: Option<Cow<'a, str>>,
    /// Seconds since 1970.
    pub created: Option<u64>,
    /// Never holds tool results.
    pub parts: Vec<Part<'a>>,
    pub finish: Finish<'a>,
    pub usage: Option<Usage>,
    pub logprobs: Vec<TokenLogprob<'a>>,
    pub service_tier: Option<Cow<'a, str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Finish<'a> {
    #[default]
    Stop,
    /// One of the request's stop sequences; which, where the provider says it.
    StopSequence(Option<Cow<'a, str>>),
    Length,
    ToolCalls,
    /// The provider's filter withheld the rest.
    ContentFilter,
    /// The model declined.
    Refusal,
    /// The provider paused a long turn of its own tools; send the answer back to go on.
    Pause,
    /// A word of the provider's that means none of these.
    Other(Cow<'a, str>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenLogprob<'a> {
    pub token: Cow<'a, str>,
    pub logprob: f64,
    /// The alternatives at this place: token and log probability.
    pub top: Vec<(Cow<'a, str>, f64)>,
}

/// What kind of block begins in a stream. Texts and arguments follow as deltas.
#[derive(Clone, Debug, PartialEq)]
pub enum Block<'a> {
    Text,
    Refusal,
    Thought {
        id: Option<Cow<'a, str>>,
    },
    /// Complete: no delta follows.
    RedactedThought(Signature<'a>),
    ToolCall {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        custom: bool,
        signature: Option<Signature<'a>>,
    },
}

/// One step of a streamed answer.
///
/// Blocks are numbered from 0 in the order in which they begin. Several may be open at once (chat completions may
/// interleave the arguments of parallel calls); every block is ended before `Finish`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// Always first. `usage` is what is known of the input so far.
    Begin {
        id: Option<Cow<'a, str>>,
        model: Option<Cow<'a, str>>,
        created: Option<u64>,
        usage: Option<Usage>,
    },
    BlockBegin {
        index: u32,
        block: Block<'a>,
    },
    Delta {
        index: u32,
        delta: Delta<'a>,
    },
    BlockEnd {
        index: u32,
    },
    /// Why it ended, and the final counts. At most one.
    Finish {
        finish: Finish<'a>,
        usage: Option<Usage>,
    },
    /// Still alive; nothing to say.
    Ping,
    /// The provider failed; nothing follows but the end.
    Failed(Failure<'a>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Delta<'a> {
    Text(Cow<'a, str>),
    Refusal(Cow<'a, str>),
    Thought(Cow<'a, str>),
    /// Of a thought or of a call. Whole, once.
    Signature(Signature<'a>),
    Arguments(Cow<'a, str>),
    Citation(Citation<'a>),
    Logprobs(Vec<TokenLogprob<'a>>),
}

/// What went wrong at a provider, in its own words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure<'a> {
    pub message: Cow<'a, str>,
    pub kind: FailureKind,
    /// The provider's own word for it, such as `rate_limit_exceeded` or `ThrottlingException`.
    pub code: Option<Cow<'a, str>>,
    pub param: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureKind {
    InvalidRequest,
    Authentication,
    Permission,
    NotFound,
    TooLarge,
    RateLimit,
    Overloaded,
    Timeout,
    #[default]
    Server,
}

impl FailureKind {
    /// What a status says where the provider's words do not.
    pub fn of_status(status: u16) -> FailureKind {
        match status {
            401 => FailureKind::Authentication,
            403 => FailureKind::Permission,
            404 => FailureKind::NotFound,
            413 => FailureKind::TooLarge,
            429 => FailureKind::RateLimit,
            408 | 504 => FailureKind::Timeout,
            503 | 529 => FailureKind::Overloaded,
            400..=499 => FailureKind::InvalidRequest,
            _ => FailureKind::Server,
        }
    }
}
