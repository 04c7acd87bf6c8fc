//! What an agent or a model answered, read by the plane; and an answer in the plane's own words.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode, response};
use http_body_util::BodyExt;
use meseta_wire::conversation::{Answer, Message, Part, Text};
use meseta_wire::dialect::{self, Context, Dialect, StreamEncoder};
use meseta_wire::feature::Losses;
use meseta_wire::form;
use meseta_wire::history;
use meseta_wire::usage::Usage;

use crate::error::{Code, Error};
use crate::stages::relay::Body;
use crate::stages::send::content_type_is;
use crate::trip::{Ended, Outcome};

/// A longer answer is not handed on to another agent.
pub(super) const MOST_BYTES: usize = 8 * 1024 * 1024;

/// An answer that has come to its end.
pub(crate) struct Reply {
    head: response::Parts,
    bytes: Bytes,
    outcome: Option<Outcome>,
    usage: Option<Usage>,
}

/// What is in it.
pub(crate) struct Said {
    pub text: String,
    /// The tools that it wants the client to run: nobody else can go on.
    pub calls: Vec<String>,
}

impl Reply {
    /// Reads an answer to its end.
    pub async fn read(response: Response<Body>, ended: &Ended) -> Result<Reply, Error> {
        let (head, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(Error::new(Code::UpstreamCut, "An agent's answer broke off."));
            };
            if let Some(data) = frame.data_ref() {
                if bytes.len() + data.len() > MOST_BYTES {
                    return Err(Error::new(
                        Code::UpstreamInvalidAnswer,
                        format!(
                            "An agent's answer is longer than {MOST_BYTES} bytes, which is too much to hand on."
                        ),
                    ));
                }
                bytes.extend_from_slice(data);
            }
        }
        drop(body);
        Ok(Reply { head, bytes: bytes.freeze(), outcome: ended.get(), usage: ended.usage() })
    }

    pub fn is_success(&self) -> bool {
        self.head.status.is_success() && self.outcome.is_none_or(|outcome| outcome.code.is_none())
    }

    /// Why it is no answer although its status is one of success: it broke off, or was none.
    pub fn broken(&self) -> Option<Code> {
        self.outcome.and_then(|outcome| outcome.code).filter(|_| self.head.status.is_success())
    }

    /// Adds what it says that it took to what others took, where they say it.
    pub fn add_usage(&self, used: &mut Option<Usage>) {
        if let Some(usage) = self.usage {
            *used = Some(used.unwrap_or_default().plus(usage));
        }
    }

    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// As it came.
    pub fn into_response(self) -> (Response<Body>, Option<Outcome>) {
        (Response::from_parts(self.head, Body::whole(self.bytes, None)), self.outcome)
    }

    /// What it says, in the words of the client's dialect. It is the answer of this agent.
    pub fn said(&self, dialect: Dialect, agent: &str) -> Result<Said, Error> {
        let events = content_type_is(&self.head.headers, b"text/event-stream");
        let answer = history::answer(dialect, events, &self.bytes, MOST_BYTES).map_err(|_| {
            Error::new(
                Code::UpstreamInvalidAnswer,
                format!(
                    "The answer of the agent '{agent}' is not one of {}, or not a whole one.",
                    dialect.title()
                ),
            )
        })?;
        let mut said = Said { text: String::new(), calls: calls(&answer) };
        for part in &answer.parts {
            match part {
                Part::Text(text) => said.text.push_str(&text.text),
                Part::Refusal(text) => said.text.push_str(text),
                _ => {}
            }
        }
        Ok(said)
    }
}

/// The ids of the tools that an answer calls.
pub(super) fn calls(answer: &Message<'_>) -> Vec<String> {
    let id = |part: &Part<'_>| match part {
        Part::ToolCall(call) => Some(call.id.to_string()),
        _ => None,
    };
    answer.parts.iter().filter_map(id).collect()
}

/// An answer that the plane has put together, whole or as a stream of one piece. `usage` is that of those whose answers it
/// is made of, where they say it.
pub(crate) fn own(
    dialect: Dialect,
    stream: bool,
    context: Context,
    text: &str,
    usage: Option<Usage>,
) -> Response<Body> {
    let part = Part::Text(Text { text: text.into(), ..Text::default() });
    let answer = Answer { parts: vec![part], usage, ..Answer::default() };
    let mut losses = Losses::new(dialect, dialect);
    let (kind, bytes) = if stream {
        let mut encoder = StreamEncoder::new(dialect, context);
        let mut out = Vec::new();
        form::tell(&answer, &mut losses, &mut |event| encoder.event(event, &mut out));
        encoder.end(&mut out);
        ("text/event-stream; charset=utf-8", out)
    } else {
        ("application/json", dialect::encode_answer(dialect, &answer, &context, &mut losses))
    };
    let mut response = Response::new(Body::whole(bytes, None));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
