//! The two forms of an answer: one document, or a stream of events. Who was asked for the one may give the other, as
//! agents do that know only one of them.

mod gathered;
mod tell;

pub use gathered::Gathered;
pub use tell::tell;

use crate::dialect::Dialect;

/// What the id of an answer has behind the prefix that its dialect's encoders put before it.
pub fn bare_id(dialect: Dialect, id: &str) -> Option<&str> {
    let prefix = match dialect {
        Dialect::OpenaiChat => "chatcmpl-",
        Dialect::OpenaiResponses => "resp_",
        Dialect::AnthropicMessages => "msg_",
        // Their answers have ids of other forms.
        Dialect::GeminiGenerateContent | Dialect::BedrockConverse => return None,
    };
    id.strip_prefix(prefix)
}
