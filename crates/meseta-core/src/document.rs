//! The resolved document: everything that the plane does, decided beforehand by the control plane. It is the JSON text,
//! one to one; a key that is unknown or missing is an error, because a document that is half understood is worse than
//! none. Nothing here reads a file or the environment.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use meseta_wire::dialect::{Dialect, MaxTokensField, Quirks, ReasoningField};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::histories::HistoriesDocument;
use crate::select::{ChooserDocument, PreferenceDocument};

mod agents;
mod traffic;

pub use agents::{
    AgentDocument, HistoryDocument, HistoryMode, HoldDocument, ListedAgent, Merge, OrchestrationDocument,
    ParallelDocument, SigningKey, Strategy, SuperviseDocument,
};
pub use traffic::{
    AdmissionSettings, BudgetSettings, CacheMarks, FallbackDocument, HealthDocument, HedgeDocument,
    LimitsDocument, MemberDocument, PoolDocument, PoolTimeouts, Price, Priority, ProbeKind, ProbeSettings,
    PromptCache, Resume, RetryBudgetSettings, RetryDocument, Select, SessionSettings, SharedSettings,
};

/// The only format there is.
pub const FORMAT: u32 = 4;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub format: u32,
    pub listeners: Vec<Listener>,
    pub targets: Vec<TargetDocument>,
    pub pools: Vec<PoolDocument>,
    pub names: BTreeMap<String, String>,
    pub wildcards: BTreeMap<String, String>,
    pub default: Option<String>,
    pub catalog: Vec<CatalogEntry>,
    pub log: Option<LogSettings>,
    pub responses: Option<ResponsesSettings>,
    pub retry_budget: RetryBudgetSettings,
    pub admission: Option<AdmissionSettings>,
    pub sessions: SessionSettings,
    pub shared: Option<SharedSettings>,
    pub agents: Vec<AgentDocument>,
    /// Routes to models, in the order in which they were written.
    pub preferences: Vec<PreferenceDocument>,
    pub chooser: ChooserDocument,
    /// Where conversations are that Meseta keeps; `None` keeps none.
    pub histories: Option<HistoriesDocument>,
    /// Signs what agents are told of the run that they work for; `None` signs with a key of this start.
    pub context_key: Option<SigningKey>,
    /// Of models, from elsewhere; the unit is of no matter, less is better.
    pub latencies: BTreeMap<String, f64>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    pub name: String,
    pub r#type: ListenerType,
    pub address: IpAddr,
    pub port: u16,
    pub auth: ListenerAuth,
    pub tls: Option<ListenerTls>,
    pub limits: Limits,
    pub timeouts: ListenerTimeouts,
    /// Exactly for a listener of type `agent`.
    pub orchestration: Option<OrchestrationDocument>,
}

impl Listener {
    /// As the document says it: port 0 is 0 here.
    pub fn asked(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// Whether this is the listener of the socket that was opened at `asked` under `name`.
    pub fn owns(&self, asked: SocketAddr, name: &str) -> bool {
        self.asked() == asked && (self.port != 0 || self.name == name)
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerType {
    /// Clients name a model.
    Model,
    /// Clients speak, and agents are found for them.
    Agent,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ListenerAuth {
    None {},
    Keys { keys: Vec<ListenerKey> },
}

/// A key that clients may send, and for whom it speaks.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerKey {
    /// Of the key, as 64 hex digits: the plane never holds the key itself.
    pub sha256: Digest,
    pub tenant: String,
    pub priority: Priority,
    /// Requests that the tenant may have under way; 0 leaves it to the plane's limit for every tenant.
    pub concurrency: u32,
}

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(serde::de::Error::custom("a digest has 64 hex digits"));
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(serde::de::Error::custom)?;
        }
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// PEM texts, not paths: the document leaves nothing to fetch.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    pub certificate_pem: String,
    pub private_key_pem: String,
}

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ListenerTls(***)")
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: u64,
    pub head_bytes: u32,
    pub head_count: u32,
    pub connections: u32,
    pub streams_per_connection: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTimeouts {
    /// From the connection, or the end of the last answer on it, to the end of the next request's head.
    pub head_ms: u64,
    /// The whole body.
    pub body_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDocument {
    pub name: String,
    pub provider: String,
    pub model: String,
    /// What the target speaks, best first: a client's own dialect passes as it is, any other becomes the first of these.
    #[serde(deserialize_with = "read_dialects", serialize_with = "write_dialects")]
    pub dialects: Vec<Dialect>,
    pub base_url: String,
    /// What is put behind `base_url` for each operation; `{model}` stands for the model id. An operation that is not
    /// here is not offered.
    pub paths: BTreeMap<Operation, String>,
    pub query: String,
    /// Calls are spread over them. Never empty.
    pub credentials: Vec<TargetAuth>,
    pub headers: BTreeMap<String, String>,
    /// Sent unless the client sent its own.
    pub default_headers: BTreeMap<String, String>,
    pub forward_headers: Vec<String>,
    pub http_version: HttpVersion,
    pub ask_stream_usage: bool,
    /// The limit that is sent where the dialect demands one and the client gave none.
    pub max_output_tokens: u64,
    /// Of translated requests; a client's own dialect is not touched.
    pub quirks: QuirksDocument,
    pub timeouts: TargetTimeouts,
    pub limits: LimitsDocument,
    pub health: HealthDocument,
    pub probe: Option<ProbeSettings>,
    pub price: Option<Price>,
    pub prompt_cache: PromptCache,
}

/// What can be asked of a target: one endpoint of one dialect.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    ChatCompletions,
    Responses,
    ResponsesInputTokens,
    Messages,
    MessagesCountTokens,
    GenerateContent,
    StreamGenerateContent,
    GeminiCountTokens,
    BatchEmbedContents,
    Converse,
    ConverseStream,
    BedrockCountTokens,
    InvokeModel,
    Embeddings,
}

impl Operation {
    pub const COUNT: usize = Operation::Embeddings as usize + 1;

    /// A conversation's in a dialect.
    pub fn conversation(dialect: Dialect, stream: bool) -> Operation {
        match dialect {
            Dialect::OpenaiChat => Operation::ChatCompletions,
            Dialect::OpenaiResponses => Operation::Responses,
            Dialect::AnthropicMessages => Operation::Messages,
            Dialect::GeminiGenerateContent if stream => Operation::StreamGenerateContent,
            Dialect::GeminiGenerateContent => Operation::GenerateContent,
            Dialect::BedrockConverse if stream => Operation::ConverseStream,
            Dialect::BedrockConverse => Operation::Converse,
        }
    }

    /// The one that counts a request's tokens; `None` where the dialect has none.
    pub fn count(dialect: Dialect) -> Option<Operation> {
        match dialect {
            Dialect::OpenaiChat => None,
            Dialect::OpenaiResponses => Some(Operation::ResponsesInputTokens),
            Dialect::AnthropicMessages => Some(Operation::MessagesCountTokens),
            Dialect::GeminiGenerateContent => Some(Operation::GeminiCountTokens),
            Dialect::BedrockConverse => Some(Operation::BedrockCountTokens),
        }
    }
}

fn read_dialects<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Dialect>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .into_iter()
        .map(|name| {
            Dialect::parse(&name)
                .ok_or_else(|| serde::de::Error::custom(format!("there is no dialect named {name}")))
        })
        .collect()
}

fn write_dialects<S: Serializer>(dialects: &[Dialect], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(dialects.iter().map(|dialect| dialect.as_str()))
}

/// How an OpenAI-compatible server differs from OpenAI; see [`Quirks`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QuirksDocument {
    pub max_tokens_field: MaxTokensName,
    pub developer_role: bool,
    pub cache_control: bool,
    pub reasoning: ReasoningName,
    pub json_schema: bool,
    pub drop: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensName {
    MaxCompletionTokens,
    MaxTokens,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningName {
    ReasoningEffort,
    Openrouter,
    Thinking,
    None,
}

impl From<QuirksDocument> for Quirks {
    fn from(document: QuirksDocument) -> Quirks {
        Quirks {
            max_tokens_field: match document.max_tokens_field {
                MaxTokensName::MaxCompletionTokens => MaxTokensField::MaxCompletionTokens,
                MaxTokensName::MaxTokens => MaxTokensField::MaxTokens,
            },
            developer_role: document.developer_role,
            cache_control: document.cache_control,
            reasoning: match document.reasoning {
                ReasoningName::ReasoningEffort => ReasoningField::ReasoningEffort,
                ReasoningName::Openrouter => ReasoningField::Openrouter,
                ReasoningName::Thinking => ReasoningField::Thinking,
                ReasoningName::None => ReasoningField::None,
            },
            json_schema: document.json_schema,
            drop: document.drop,
        }
    }
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetAuth {
    None {},
    /// The client's own credential travels on.
    Passthrough {},
    Header {
        name: String,
        value: String,
    },
    /// AWS Signature Version 4.
    Sigv4 {
        region: String,
        service: String,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    },
}

impl std::fmt::Debug for TargetAuth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            TargetAuth::None {} => "None",
            TargetAuth::Passthrough {} => "Passthrough",
            TargetAuth::Header { .. } => "Header(***)",
            TargetAuth::Sigv4 { .. } => "Sigv4(***)",
        })
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// What TLS negotiates; HTTP/1.1 in clear text.
    Auto,
    Http1,
    Http2,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetTimeouts {
    pub connect_ms: u64,
    pub first_token_ms: u64,
    pub idle_ms: u64,
    pub total_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    pub id: String,
    pub owned_by: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    pub path: String,
    pub queue_records: usize,
    pub commit_ms: u64,
    pub keep_hours: u64,
    pub max_bytes: u64,
}

/// The plane's own store of Responses conversations.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ResponsesSettings {
    pub path: String,
    pub keep_hours: u64,
    pub max_bytes: u64,
    pub max_response_bytes: u64,
}

/// Why a document was refused: where in it, and what is wrong.
#[derive(Debug)]
pub struct SnapshotError(pub String);

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the resolved configuration is not usable: {}", self.0)
    }
}

impl std::error::Error for SnapshotError {}

pub(crate) fn refuse<T>(message: impl Into<String>) -> Result<T, SnapshotError> {
    Err(SnapshotError(message.into()))
}

impl Document {
    pub fn parse(text: &str) -> Result<Document, SnapshotError> {
        let document: Document =
            serde_json::from_str(text).map_err(|error| SnapshotError(error.to_string()))?;
        if document.format != FORMAT {
            return refuse(format!("format {} is not format {FORMAT}", document.format));
        }
        Ok(document)
    }
}
