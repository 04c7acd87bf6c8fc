//! Which path means what. A base URL may end in `/v1`, `/v1beta` or `/openai/v1`, and clients add their own.

use http::Method;

use crate::dialect::Dialect;

/// What a path asks for. Names of models and responses are plain text, not percent-encoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    Chat,
    Embeddings,
    Models,
    Model(String),
    Responses,
    ResponseTokens,
    Response(String),
    Messages,
    MessageTokens,
    Generate {
        model: String,
        verb: Verb,
    },
    Converse {
        model: String,
        streamed: bool,
    },
    Invoke(String),
    BedrockTokens(String),
    /// Azure's names for the first two, with the deployment's name.
    AzureChat(String),
    AzureEmbeddings(String),
}

/// What is asked of a model of Gemini.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    Generate,
    Stream,
    Count,
    Embed,
    EmbedBatch,
}

impl Route {
    pub fn of(path: &str) -> Option<Self> {
        let mut rest = path;
        // One prefix is the base URL's, a second one the client's own.
        for _ in 0..2 {
            let prefixes = ["/openai/v1/", "/v1beta1/", "/v1beta/", "/v1/"];
            let Some(prefix) = prefixes.iter().find(|prefix| rest.starts_with(**prefix)) else { break };
            rest = rest.get(prefix.len() - 1..)?;
        }
        match rest {
            "/chat/completions" => return Some(Self::Chat),
            "/embeddings" => return Some(Self::Embeddings),
            "/models" => return Some(Self::Models),
            "/responses" => return Some(Self::Responses),
            "/responses/input_tokens" => return Some(Self::ResponseTokens),
            "/messages" => return Some(Self::Messages),
            "/messages/count_tokens" => return Some(Self::MessageTokens),
            _ => {}
        }
        if let Some(id) = rest.strip_prefix("/responses/") {
            return (!id.contains('/')).then(|| Self::Response(decoded(id)));
        }
        if let Some(deployment) = rest.strip_prefix("/openai/deployments/") {
            let (name, verb) = deployment.split_once('/')?;
            return match verb {
                "chat/completions" => Some(Self::AzureChat(decoded(name))),
                "embeddings" => Some(Self::AzureEmbeddings(decoded(name))),
                _ => None,
            };
        }
        if let Some(asked) = rest.strip_prefix("/model/") {
            let (model, verb) = asked.rsplit_once('/')?;
            let model = decoded(model);
            return match verb {
                "converse" => Some(Self::Converse { model, streamed: false }),
                "converse-stream" => Some(Self::Converse { model, streamed: true }),
                "invoke" => Some(Self::Invoke(model)),
                "count-tokens" => Some(Self::BedrockTokens(model)),
                _ => None,
            };
        }
        let vertex = rest.starts_with("/projects/") || rest.starts_with("/publishers/");
        let asked = if vertex { rest.split_once("/models/")?.1 } else { rest.strip_prefix("/models/")? };
        if let Some((model, verb)) = asked.rsplit_once(':')
            && let Some(verb) = Verb::of(verb)
        {
            return Some(Self::Generate { model: decoded(model), verb });
        }
        // The models of OpenAI are listed with names that are sent as they are.
        (!vertex).then(|| Self::Model(asked.to_owned()))
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Messages | Self::MessageTokens => Dialect::Anthropic,
            Self::Generate { .. } => Dialect::Gemini,
            Self::Converse { .. } | Self::Invoke(_) | Self::BedrockTokens(_) => Dialect::Bedrock,
            _ => Dialect::OpenAi,
        }
    }

    /// The methods it answers, as the header `allow` lists them.
    pub fn allowed(&self) -> &'static str {
        match self {
            Self::Models | Self::Model(_) => "GET",
            Self::Response(_) => "GET, DELETE",
            _ => "POST",
        }
    }

    pub fn answers(&self, method: &Method) -> bool {
        self.allowed().split(", ").any(|allowed| allowed == method.as_str())
    }
}

impl Verb {
    fn of(verb: &str) -> Option<Self> {
        match verb {
            "generateContent" => Some(Self::Generate),
            "streamGenerateContent" => Some(Self::Stream),
            "countTokens" => Some(Self::Count),
            "embedContent" => Some(Self::Embed),
            "batchEmbedContents" => Some(Self::EmbedBatch),
            _ => None,
        }
    }
}

/// A part of a path without its percent signs. What is no encoding stays as it is.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, behind) {
            (b'%', [high, low, behind @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of a parameter of a query.
pub fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "(/(v1|v1beta|openai/v1|models|model|projects|responses|%[0-9a-z]{0,2}|é|:|;)){0,6}\\PC{0,12}") {
            let _ = Route::of(&path);
        }
    }

    #[test]
    fn every_prefix_leads_to_every_dialect() {
        let model = || "a.b-v2:0;tokens=5".to_owned();
        for (path, route) in [
            ("/chat/completions", Route::Chat),
            ("/responses", Route::Responses),
            ("/responses/input_tokens", Route::ResponseTokens),
            ("/responses/resp_1", Route::Response("resp_1".to_owned())),
            ("/messages", Route::Messages),
            ("/messages/count_tokens", Route::MessageTokens),
            ("/models", Route::Models),
            ("/models/x", Route::Model("x".to_owned())),
            (
                "/models/a.b-v2:0;tokens=5:streamGenerateContent",
                Route::Generate { model: model(), verb: Verb::Stream },
            ),
            (
                "/projects/p/locations/l/publishers/google/models/a.b-v2%3A0%3Btokens%3D5:countTokens",
                Route::Generate { model: model(), verb: Verb::Count },
            ),
            ("/model/a.b-v2%3A0%3Btokens%3D5/converse", Route::Converse { model: model(), streamed: false }),
            ("/model/a.b-v2:0;tokens=5/converse-stream", Route::Converse { model: model(), streamed: true }),
            ("/openai/deployments/x/chat/completions", Route::AzureChat("x".to_owned())),
            ("/openai/deployments/x/embeddings", Route::AzureEmbeddings("x".to_owned())),
        ] {
            for prefix in ["", "/v1", "/v1beta", "/openai/v1", "/v1/v1", "/v1/v1beta"] {
                assert_eq!(Route::of(&format!("{prefix}{path}")), Some(route.clone()), "{prefix}{path}");
            }
        }
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1/v1/v1/messages",
            "/model/x",
            "/model/x/y",
            "/projects/p",
            "/responses/a/b",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
        assert_eq!(decoded("%zz%4%c3%a9%"), "%zz%4é%");
    }
}
