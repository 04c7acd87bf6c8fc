//! What can be called on a model listener.

use http::Method;
use meseta_wire::dialect::Dialect;
use meseta_wire::envelope::Required;

use crate::error::{Code, Error};

/// A call that goes to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Chat,
    Responses,
    Messages,
    /// How many tokens a Messages request has.
    CountTokens,
    Embeddings,
}

impl Call {
    /// The field without which the call makes no sense.
    pub fn required(self) -> Required {
        match self {
            Call::Chat | Call::Messages | Call::CountTokens => Required::Messages,
            Call::Responses => Required::MaybeInput,
            Call::Embeddings => Required::Input,
        }
    }

    /// What the client speaks.
    pub fn dialect(self) -> Dialect {
        match self {
            Call::Chat | Call::Embeddings => Dialect::OpenaiChat,
            Call::Responses => Dialect::OpenaiResponses,
            Call::Messages | Call::CountTokens => Dialect::AnthropicMessages,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    Call(Call),
    /// Who would be asked, without asking.
    Decision(Call),
    /// A stored answer of the Responses API, to read.
    Response(&'a str),
    /// The same, to delete.
    DeleteResponse(&'a str),
    /// A kept conversation, to read or to delete.
    Session(&'a str),
    Models,
    Model(&'a str),
    /// The process is alive.
    Health,
    /// The plane can answer.
    Ready,
}

impl Endpoint<'_> {
    pub fn find<'a>(method: &Method, path: &'a str) -> Result<Endpoint<'a>, Error> {
        let delete = *method == Method::DELETE;
        let (endpoint, allow) = match path {
            "/v1/chat/completions" => (Endpoint::Call(Call::Chat), POST),
            "/v1/responses" => (Endpoint::Call(Call::Responses), POST),
            "/v1/messages" => (Endpoint::Call(Call::Messages), POST),
            "/v1/messages/count_tokens" => (Endpoint::Call(Call::CountTokens), POST),
            "/v1/embeddings" => (Endpoint::Call(Call::Embeddings), POST),
            "/routing/v1/chat/completions" => (Endpoint::Decision(Call::Chat), POST),
            "/routing/v1/responses" => (Endpoint::Decision(Call::Responses), POST),
            "/routing/v1/messages" => (Endpoint::Decision(Call::Messages), POST),
            "/v1/models" => (Endpoint::Models, GET),
            "/healthz" => (Endpoint::Health, GET),
            "/readyz" => (Endpoint::Ready, GET),
            _ if path.strip_prefix(SESSIONS).is_some_and(is_segment) => {
                (Endpoint::Session(path.trim_start_matches(SESSIONS)), GET_OR_DELETE)
            }
            _ => match (path.strip_prefix("/v1/models/"), path.strip_prefix("/v1/responses/")) {
                (Some(model), _) if !model.is_empty() => (Endpoint::Model(model), GET),
                (_, Some(id)) if is_segment(id) && delete => (Endpoint::DeleteResponse(id), GET_OR_DELETE),
                (_, Some(id)) if is_segment(id) => (Endpoint::Response(id), GET_OR_DELETE),
                _ => return Err(not_found(path)),
            },
        };
        if allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Ok(endpoint);
        }
        let mut error =
            Error::new(Code::RouteMethodNotAllowed, format!("{path} is called with {allow}, not {method}."));
        error.allow = Some(allow);
        Err(error)
    }

    /// What the client at this path speaks, also when the path is wrong: its errors must be ones that it can read.
    pub fn dialect(path: &str) -> Dialect {
        let path = path.strip_prefix("/routing").unwrap_or(path);
        if path.starts_with("/v1/messages") {
            Dialect::AnthropicMessages
        } else if path.starts_with("/v1/responses") {
            Dialect::OpenaiResponses
        } else {
            Dialect::OpenaiChat
        }
    }
}

const SESSIONS: &str = "/v1/sessions/";
const POST: &str = "POST";
const GET: &str = "GET, HEAD";
const GET_OR_DELETE: &str = "GET, HEAD, DELETE";

fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

fn not_found(path: &str) -> Error {
    const SERVED: &str = "POST /v1/chat/completions, POST /v1/responses, GET and DELETE /v1/responses/{id}, \
                          POST /v1/messages, POST /v1/messages/count_tokens, POST /v1/embeddings, \
                          POST /routing/v1/{chat/completions,responses,messages}, GET /v1/models, \
                          GET /v1/models/{id}, \
                          GET and DELETE /v1/sessions/{name}, GET /healthz, GET /readyz";
    let is_call = |path: &str| {
        Endpoint::find(&Method::POST, path).is_ok_and(|found| matches!(found, Endpoint::Call(_)))
    };
    let hint = if path.starts_with("/v1/v1/") {
        " The client adds /v1 itself: leave it out of its base URL."
    } else if is_call(&format!("/v1{path}")) {
        " The client's base URL must end in /v1."
    } else {
        ""
    };
    Error::new(Code::RouteNotFound, format!("There is no endpoint at this path.{hint} Served are: {SERVED}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_endpoints_by_method_and_path() {
        let find = |method, path| Endpoint::find(&method, path);
        assert_eq!(find(Method::POST, "/v1/embeddings").unwrap(), Endpoint::Call(Call::Embeddings));
        assert_eq!(find(Method::GET, "/v1/models/a/b").unwrap(), Endpoint::Model("a/b"));
        assert_eq!(find(Method::HEAD, "/healthz").unwrap(), Endpoint::Health);
        assert_eq!(find(Method::GET, "/v1/responses/resp_1").unwrap(), Endpoint::Response("resp_1"));
        assert_eq!(find(Method::DELETE, "/v1/responses/resp_1").unwrap(), Endpoint::DeleteResponse("resp_1"));
        let code = |method, path| find(method, path).unwrap_err().code;
        assert_eq!(code(Method::GET, "/v1/chat/completions"), Code::RouteMethodNotAllowed);
        assert_eq!(code(Method::POST, "/v1/responses/resp_1"), Code::RouteMethodNotAllowed);
        assert_eq!(code(Method::GET, "/v1/responses/resp_1/x"), Code::RouteNotFound);
    }

    #[test]
    fn says_what_is_wrong_with_the_base_url() {
        let message = |path| Endpoint::find(&Method::POST, path).unwrap_err().message;
        assert!(message("/chat/completions").contains("must end in /v1"));
        assert!(message("/messages/count_tokens").contains("must end in /v1"));
        assert!(message("/v1/v1/chat/completions").contains("leave it out"));
        assert!(message("/").contains("Served are"));
        assert_eq!(Endpoint::find(&Method::POST, "/v1/models/").unwrap_err().code, Code::RouteNotFound);
    }
}
