//! The client APIs that the mock answers in and the load asks in.

use memchr::memmem;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Api {
    /// `OpenAI` chat completions.
    Chat,
    /// Anthropic Messages.
    Messages,
}

impl Api {
    pub const NAMES: &str = "chat or messages";

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "chat" => Some(Self::Chat),
            "messages" => Some(Self::Messages),
            _ => None,
        }
    }

    /// What a request at this path speaks: any but that of Messages is taken for chat, as gateways put chat
    /// under paths of their own.
    pub fn of_path(path: &str) -> Self {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if path == "/v1/messages" { Self::Messages } else { Self::Chat }
    }

    /// Whether this event's data ends a stream. The data holds no token's text, so nothing else can say this.
    pub fn ends_stream(self, data: &[u8]) -> bool {
        match self {
            Self::Chat => data.trim_ascii() == b"[DONE]",
            Self::Messages => memmem::find(data, b"\"message_stop\"").is_some(),
        }
    }

    /// A key that only a whole answer of this API has.
    pub fn answer_key(self) -> &'static [u8] {
        match self {
            Self::Chat => b"\"choices\"",
            Self::Messages => b"\"stop_reason\"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_messages_is_messages() {
        assert_eq!(Api::of_path("/v1/messages"), Api::Messages);
        assert_eq!(Api::of_path("/v1/messages?beta=true"), Api::Messages);
        for path in ["/v1/messages/count_tokens", "/v1/chat/completions", "/", ""] {
            assert_eq!(Api::of_path(path), Api::Chat, "{path}");
        }
    }

    #[test]
    fn each_stream_has_an_end_of_its_own() {
        let (done, stop) = (&b" [DONE]"[..], &br#" {"type": "message_stop"}"#[..]);
        assert!(Api::Chat.ends_stream(done) && !Api::Chat.ends_stream(stop));
        assert!(Api::Messages.ends_stream(stop) && !Api::Messages.ends_stream(done));
        assert!(!Api::Messages.ends_stream(br#" {"type":"content_block_stop","index":0}"#));
    }
}
