//! Every way in which a request can fail: a stable code, who is to blame, whether trying again can help, the status.
//!
//! The table below is the only place where a code gets its meaning; `meseta explain`, the reference page and the
//! log read it. An error is born knowing its code; only `respond.rs` turns it into bytes.

use std::borrow::Cow;

use std::time::Duration;

use http::StatusCode;
use meseta_wire::failure::Cause;

/// Who can put it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Client,
    Upstream,
    Plane,
}

impl Blame {
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Upstream => "upstream",
            Blame::Plane => "plane",
        }
    }
}

/// Whether the same request can succeed when it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not without a change.
    Never,
    /// At the same target, after a while.
    Same,
    /// At another target, at once.
    Elsewhere,
}

impl Retry {
    pub fn as_str(self) -> &'static str {
        match self {
            Retry::Never => "never",
            Retry::Same => "same",
            Retry::Elsewhere => "elsewhere",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $text:literal $status:literal $blame:ident $retry:ident $cause:literal $cure:literal)*) => {
        /// A stable, dotted name of one kind of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($variant),* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),* }
            }

            /// The status that a client sees, unless the provider's own is handed on.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status),* }
            }

            pub fn blame(self) -> Blame {
                match self { $(Code::$variant => Blame::$blame),* }
            }

            pub fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry),* }
            }

            pub fn cause(self) -> &'static str {
                match self { $(Code::$variant => $cause),* }
            }

            pub fn cure(self) -> &'static str {
                match self { $(Code::$variant => $cure),* }
            }
        }
    };
}

codes! {
    RequestInvalidJson "request.invalid_json" 400 Client Never
        "The body is not a JSON object in UTF-8, is nested deeper than 128 levels, or has a number out of range."
        "Send one JSON object; the message names line and column of the first mistake."
    RequestInvalidField "request.invalid_field" 400 Client Never
        "A field that Meseta acts on is missing, appears twice, or has the wrong type."
        "Correct the field that `param` names."
    RequestInvalidHeader "request.invalid_header" 400 Client Never
        "A header that Meseta acts on has a value that it cannot read."
        "Correct or leave out the header that `param` names."
    RequestInvalidBody "request.invalid_body" 400 Client Never
        "The body's transfer coding is broken: a chunk's size or its end is not what HTTP says."
        "Correct the client's HTTP, or a proxy in between that rewrites bodies."
    RequestTooLarge "request.too_large" 413 Client Never
        "The body is larger than the listener's `limits.body`."
        "Send less, or raise `limits.body` of the listener."
    RequestTimeout "request.timeout" 408 Client Same
        "The body did not arrive within the listener's `timeouts.body`."
        "Check the client's network, or raise `timeouts.body` of the listener."
    RequestEncodingUnsupported "request.encoding_unsupported" 415 Client Never
        "The request body is compressed in a way that Meseta does not know, or is not what its Content-Encoding says."
        "Send the body as it is, or as gzip, deflate, br or zstd."
    RequestUnsupported "request.unsupported" 400 Client Never
        "The request asks for something that cannot be said in the dialect of the model's provider."
        "Leave out or change the field that `param` names, or send the request to a model whose provider knows it; docs/reference/dialects.md has the table."
    RequestOriginRefused "request.origin_refused" 403 Client Never
        "A web page called a listener that asks for no key: any page that a user visits could spend your money so."
        "Give the listener `auth` with keys; a request that carries a valid key may have an Origin header."
    AuthMissing "auth.missing" 401 Client Never
        "The listener asks for a key and the request has none."
        "Send `Authorization: Bearer KEY`, `x-api-key: KEY`, or `x-meseta-key: KEY`."
    AuthInvalid "auth.invalid" 401 Client Never
        "The request's key is not one of the listener's keys."
        "Check which key the client sends and which ones `auth.keys` of the listener names."
    RouteNotFound "route.not_found" 404 Client Never
        "No endpoint has this path."
        "Use one of the paths that the message names; most clients want a base URL that ends in /v1."
    RouteMethodNotAllowed "route.method_not_allowed" 405 Client Never
        "The endpoint exists but not for this method."
        "Use the method that the Allow header names."
    ModelMissing "model.missing" 400 Client Never
        "The request names no model and the configuration has no default one."
        "Send `model`, or set `default: true` on one of `model_providers`."
    ModelNotFound "model.not_found" 404 Client Never
        "No provider, alias or wildcard of the configuration answers to this model name."
        "Ask GET /v1/models what there is, or add the model to `model_providers`."
    ResponseNotFound "response.not_found" 404 Client Never
        "No stored answer of the Responses API has this id: it was never stored, is too old, was deleted, or belongs to another key."
        "Send the whole conversation as `input`; `responses.keep` says how long answers are kept."
    SessionNotFound "session.not_found" 404 Client Never
        "No conversation of this name is kept: it was never kept, is too old, was deleted, or belongs to somebody else."
        "Send the whole conversation, or a new name in `x-meseta-session`; `history: keep` of the listener keeps conversations."
    AgentNotFound "agent.not_found" 404 Client Never
        "The listener has no agent of this name, or a reload has taken it away."
        "Ask the listener without `x-meseta-agent`, or add the agent to `agents` of the listener."
    AgentUnavailable "agent.unavailable" 503 Plane Same
        "The agent has no instance that is ready, and none became ready while requests wait."
        "Look at `meseta agents list` and `meseta agents logs ID`; the agent may be crashing, or slow to start."
    AgentLate "agent.late" 504 Upstream Same
        "Not enough agents answered in the time that the listener gives them."
        "Raise `parallel.deadline` or `supervise.timeout`, lower `parallel.quorum`, or look at the agents' own times in the trace."
    AgentCycle "agent.cycle" 508 Client Never
        "An agent was called, through other agents perhaps, by itself."
        "Look at the run's trace to see who called whom; an agent should not ask a listener that leads back to it."
    AgentDepth "agent.depth" 508 Client Never
        "Agents have called agents more often than the listener's `depth` allows, or very often in one trace without saying for whom."
        "Raise `depth` of the listener if the agents are meant to call each other so deep, and have them send on the header x-meseta-context."
    UpstreamConnectFailed "upstream.connect_failed" 502 Upstream Elsewhere
        "The provider's host could not be found or refused the connection."
        "Check `base_url`, DNS and the network; `meseta doctor --online` tries every provider."
    UpstreamConnectTimeout "upstream.connect_timeout" 504 Upstream Elsewhere
        "No connection to the provider within the target's `timeouts.connect`."
        "Check the network path, or raise `timeouts.connect`."
    UpstreamTlsFailed "upstream.tls_failed" 502 Upstream Elsewhere
        "The TLS handshake with the provider failed: certificate, name or version."
        "Check the host in `base_url` and the machine's CA certificates (SSL_CERT_FILE adds your own)."
    UpstreamProtocolError "upstream.protocol_error" 502 Upstream Elsewhere
        "The provider's bytes are not HTTP, or its answer is a redirect."
        "Check that `base_url` is the address of an API and not of a web page or another protocol."
    UpstreamInvalidAnswer "upstream.invalid_answer" 502 Upstream Elsewhere
        "The provider said 200 but its body is not the JSON that the API promises."
        "Call the provider directly with the same request; if it is right there, report it with the request id."
    UpstreamFirstTokenTimeout "upstream.first_token_timeout" 504 Upstream Elsewhere
        "The provider sent no byte of its answer within the target's `timeouts.first_token`."
        "Raise `timeouts.first_token` for models that think long, or use a faster target."
    UpstreamIdleTimeout "upstream.idle_timeout" 504 Upstream Elsewhere
        "The provider began its answer and then fell silent for longer than the target's `timeouts.idle`."
        "Try again; raise `timeouts.idle` if this target pauses by nature."
    UpstreamTotalTimeout "upstream.total_timeout" 504 Upstream Never
        "The whole answer took longer than the target's `timeouts.total`."
        "Ask for less, or raise `timeouts.total`."
    UpstreamCut "upstream.cut" 502 Upstream Elsewhere
        "The provider closed the connection before its answer was complete."
        "Try again; if it repeats, look at the provider's status page or at proxies in between."
    UpstreamRejected "upstream.rejected" 502 Upstream Never
        "The provider answered with an error; its own status is handed on."
        "Read the message: it is the provider's. A 401 there means that the provider refused our key, not yours."
    UpstreamLimited "upstream.limited" 429 Upstream Elsewhere
        "Every target that could answer is known to be over its rate limit, so none was asked."
        "Wait for as long as Retry-After says, raise the limit at the provider, or give the pool another target or key."
    UpstreamBusy "upstream.busy" 503 Upstream Elsewhere
        "Every target that could answer has as many calls under way as its `limits.concurrency` allows, and its queue is full or too slow."
        "Try again after Retry-After, raise `limits` of the targets, or give the pool another target."
    UpstreamHedgeLost "upstream.hedge_lost" 499 Plane Never
        "A second target was asked because this one was slow, and the other one answered first; this call was cancelled."
        "Nothing to do here: the request was answered. `hedge` of the pool says when a second target is asked."
    UpstreamFailedMidStream "upstream.failed_mid_stream" 502 Upstream Elsewhere
        "The provider reported an error inside a stream that had begun well."
        "Try again; the event in the stream holds the provider's own words."
    RequestDeadline "request.deadline" 504 Client Never
        "The time that the client gave the request was over before it was answered."
        "Give the request more time, by `x-meseta-deadline` or the SDK's timeout, or use a faster target."
    LimitConcurrency "limit.concurrency" 429 Client Same
        "The tenant has as many requests under way as it may have, and the time or the room for waiting is over."
        "Send fewer at once, or raise the key's `concurrency` or `admission.tenant_concurrency`."
    ClientDisconnected "client.disconnected" 499 Client Never
        "The client left before the answer was complete; the call to the provider was cancelled."
        "Nothing to do here. If it was not meant, look at the client's own time-out."
    PlaneOverloaded "plane.overloaded" 503 Plane Same
        "The listener holds as many connections as `limits.connections` allows, or the plane as many requests as `admission` allows."
        "Try again after Retry-After; raise the limit if the machine has room."
    PlaneShed "plane.shed" 503 Plane Same
        "The plane is saturated and the request gave way to one of a higher priority."
        "Try again after Retry-After; raise `admission` if the machine has room, or the key's `priority`."
    PlaneListenerClosed "plane.listener_closed" 503 Plane Same
        "A reload of the configuration has closed the listener on whose kept connection the request came."
        "Connect again, to a listener that the configuration still has."
    PlaneStoreFailed "plane.store_failed" 503 Plane Same
        "The store of Responses conversations did not answer: its disk is full, slow or broken."
        "Look at the disk under `store.path`; requests without `previous_response_id` go on."
    PlaneInternal "plane.internal" 500 Plane Same
        "A defect of Meseta."
        "Please report it with the request id and the log's row for it."
}

/// One failure of one request.
#[derive(Clone, Debug)]
pub struct Error {
    pub code: Code,
    /// A sentence for the person who reads it at three in the morning. Never holds a secret.
    pub message: Cow<'static, str>,
    /// The field or header at fault.
    pub param: Option<Cow<'static, str>>,
    /// The provider's own status, where that is handed on.
    pub status: Option<StatusCode>,
    /// For 405.
    pub allow: Option<&'static str>,
    /// What a provider meant by its refusal, where it is more than the code says.
    pub cause: Option<Cause>,
    /// When trying again makes sense, as far as that is known.
    pub retry_after: Option<Duration>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Error {
        Error {
            code,
            message: message.into(),
            param: None,
            status: None,
            allow: None,
            cause: None,
            retry_after: None,
        }
    }

    #[must_use]
    pub fn with_param(mut self, param: impl Into<Cow<'static, str>>) -> Error {
        self.param = Some(param.into());
        self
    }

    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Error {
        self.status = Some(status);
        self
    }

    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Error {
        self.cause = Some(cause);
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, after: Option<Duration>) -> Error {
        self.retry_after = after;
        self
    }

    /// Why a target could not answer, in the words of `retry.on` and `fallback`; `None` when no target is at fault.
    pub fn failover(&self) -> Option<Cause> {
        if self.cause.is_some() {
            return self.cause;
        }
        match self.code {
            Code::UpstreamConnectTimeout
            | Code::UpstreamFirstTokenTimeout
            | Code::UpstreamIdleTimeout
            | Code::UpstreamTotalTimeout => Some(Cause::Timeout),
            Code::UpstreamLimited => Some(Cause::RateLimit),
            // Another target may speak a dialect that can say it.
            Code::RequestUnsupported => Some(Cause::Error),
            code => (code.blame() == Blame::Upstream).then_some(Cause::Error),
        }
    }

    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| {
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_dotted_words_with_a_valid_status() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{} appears twice", code.as_str());
            assert_eq!(code.as_str().matches('.').count(), 1);
            assert!(code.as_str().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'.')));
            assert!(StatusCode::from_u16(code.status()).is_ok());
            assert!(code.cause().ends_with('.') && code.cure().ends_with('.'), "{}", code.as_str());
        }
    }
}
