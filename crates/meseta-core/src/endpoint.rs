//! What can be called on a model listener.

use http::Method;
use meseta_wire::envelope::Required;

use crate::error::{Code, Error};

/// A call that goes to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Chat,
    Embeddings,
}

impl Call {
    /// The field without which the call makes no sense.
    pub fn required(self) -> Required {
        match self {
            Call::Chat => Required::Messages,
            Call::Embeddings => Required::Input,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    Call(Call),
    Models,
    Model(&'a str),
    /// The process is alive.
    Health,
    /// The plane can answer.
    Ready,
}

impl Endpoint<'_> {
    pub fn find<'a>(method: &Method, path: &'a str) -> Result<Endpoint<'a>, Error> {
        let (endpoint, allowed) = match path {
            "/v1/chat/completions" => (Endpoint::Call(Call::Chat), Method::POST),
            "/v1/embeddings" => (Endpoint::Call(Call::Embeddings), Method::POST),
            "/v1/models" => (Endpoint::Models, Method::GET),
            "/healthz" => (Endpoint::Health, Method::GET),
            "/readyz" => (Endpoint::Ready, Method::GET),
            _ => match path.strip_prefix("/v1/models/") {
                Some(model) if !model.is_empty() => (Endpoint::Model(model), Method::GET),
                _ => return Err(not_found(path)),
            },
        };
        if *method == allowed || (*method == Method::HEAD && allowed == Method::GET) {
            return Ok(endpoint);
        }
        let allow = if allowed == Method::POST { "POST" } else { "GET, HEAD" };
        let mut error =
            Error::new(Code::RouteMethodNotAllowed, format!("{path} is called with {allow}, not {method}."));
        error.allow = Some(allow);
        Err(error)
    }
}

fn not_found(path: &str) -> Error {
    const SERVED: &str = "POST /v1/chat/completions, POST /v1/embeddings, GET /v1/models, GET /v1/models/{id}, \
                          GET /healthz, GET /readyz";
    let hint = if path.starts_with("/v1/v1/") {
        " The client adds /v1 itself: leave it out of its base URL."
    } else if Endpoint::find(&Method::POST, &format!("/v1{path}"))
        .is_ok_and(|found| matches!(found, Endpoint::Call(_)))
    {
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
        assert_eq!(
            Endpoint::find(&Method::POST, "/v1/embeddings").unwrap(),
            Endpoint::Call(Call::Embeddings)
        );
        assert_eq!(Endpoint::find(&Method::GET, "/v1/models/a/b").unwrap(), Endpoint::Model("a/b"));
        assert_eq!(Endpoint::find(&Method::HEAD, "/healthz").unwrap(), Endpoint::Health);
        assert_eq!(
            Endpoint::find(&Method::GET, "/v1/chat/completions").unwrap_err().code,
            Code::RouteMethodNotAllowed
        );
    }

    #[test]
    fn says_what_is_wrong_with_the_base_url() {
        let message = |path| Endpoint::find(&Method::POST, path).unwrap_err().message;
        assert!(message("/chat/completions").contains("must end in /v1"));
        assert!(message("/v1/v1/chat/completions").contains("leave it out"));
        assert!(message("/").contains("Served are"));
        assert_eq!(Endpoint::find(&Method::POST, "/v1/models/").unwrap_err().code, Code::RouteNotFound);
    }
}
