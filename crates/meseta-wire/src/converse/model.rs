//! What Converse does not say itself but the model behind it decides: which extra fields it takes and which it refuses.

/// Read from a model id, an inference profile's id or an ARN that ends in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model<'a> {
    Claude(Claude<'a>),
    Nova {
        /// Of the second generation, which thinks.
        thinks: bool,
    },
    /// OpenAI's open models.
    GptOss,
    /// A model that has no form for answers and no strict tools.
    Plain,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claude<'a> {
    /// What follows `claude-`.
    name: &'a str,
    /// Major and minor version; (0, 0) where the name has none.
    version: (u32, u32),
}

impl<'a> Model<'a> {
    pub fn of(id: &'a str) -> Model<'a> {
        if let Some((_, name)) = id.split_once("anthropic.claude-") {
            return Model::Claude(Claude { name, version: version(name) });
        }
        if let Some((_, name)) = id.split_once("amazon.nova-") {
            return Model::Nova { thinks: name.starts_with("2-") };
        }
        if id.contains("openai.gpt-oss-") {
            return Model::GptOss;
        }
        if ["amazon.titan-", "meta.llama", "cohere.", "ai21."].iter().any(|vendor| id.contains(vendor)) {
            return Model::Plain;
        }
        Model::Other
    }

    pub fn claude(self) -> Option<Claude<'a>> {
        match self {
            Model::Claude(claude) => Some(claude),
            _ => None,
        }
    }

    /// Answers can be held to a JSON Schema, and so can the arguments of tools.
    pub fn has_schemas(self) -> bool {
        match self {
            Model::Claude(claude) => claude.version >= (4, 5) && !claude.name.starts_with("fable-5"),
            Model::GptOss | Model::Other => true,
            Model::Nova { .. } | Model::Plain => false,
        }
    }

    /// Takes marks of what may be cached.
    pub fn has_cache(self) -> bool {
        matches!(self, Model::Claude(_) | Model::Nova { .. })
    }
}

impl Claude<'_> {
    /// Decides by itself how long to think, and is told an effort instead of a number of tokens.
    pub fn thinks_adaptively(self) -> bool {
        self.version >= (4, 6)
    }

    pub fn thinks(self) -> bool {
        self.version >= (3, 7)
    }

    /// Thinks unless it is told not to.
    pub fn thinks_unasked(self) -> bool {
        self.version >= (5, 0)
    }

    /// Refuses to be told not to think.
    pub fn thinks_always(self) -> bool {
        self.name.starts_with("fable-")
            || self.name.starts_with("mythos-")
            || self.name.starts_with("opus-") && self.version >= (5, 5)
    }

    /// Is told to think only between calls of tools where others are told not to think.
    pub fn thinks_between_tools(self) -> bool {
        self.name.starts_with("sonnet-") && self.version >= (5, 5)
    }

    /// Knows the effort `xhigh`; before it, the highest is `max`.
    pub fn has_extra_high(self) -> bool {
        self.version >= (4, 7)
    }

    /// Hides its thinking unless it is told to show it.
    pub fn hides_thoughts(self) -> bool {
        self.version >= (4, 7)
    }

    /// Refuses temperature, top p and top k.
    pub fn has_no_sampling(self) -> bool {
        self.version >= (4, 7)
    }

    /// Refuses temperature and top p in one request.
    pub fn samples_one_way(self) -> bool {
        self.version >= (4, 1)
    }

    /// Goes on from a last message that is its own.
    pub fn continues_itself(self) -> bool {
        ((1, 0)..(4, 6)).contains(&self.version)
    }

    /// Can keep a cached prompt for an hour.
    pub fn caches_an_hour(self) -> bool {
        self.version >= (4, 5)
    }
}

/// The first one or two small numbers: `sonnet-4-5-20250929-v1:0` is 4.5, `3-7-sonnet-20250219-v1:0` is 3.7 and
/// `opus-4-20250514-v1:0` is 4.0.
fn version(name: &str) -> (u32, u32) {
    let mut parts = name
        .split('-')
        .map(|part| if part.len() <= 2 { part.parse::<u32>().ok() } else { None })
        .skip_while(Option::is_none);
    let major = parts.next().flatten().unwrap_or_default();
    let minor = parts.next().flatten().unwrap_or_default();
    (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_versions_are_read_from_every_kind_of_id() {
        for (id, expected) in [
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", (4, 5)),
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", (3, 7)),
            ("global.anthropic.claude-opus-4-20250514-v1:0", (4, 0)),
            ("eu.anthropic.claude-opus-4-6-v1", (4, 6)),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/apac.anthropic.claude-haiku-4-5-20251001-v1:0",
                (4, 5),
            ),
            ("anthropic.claude-v2:1", (0, 0)),
        ] {
            assert_eq!(Model::of(id).claude().map(|claude| claude.version), Some(expected), "{id}");
        }
        assert_eq!(Model::of("us.amazon.nova-pro-v1:0"), Model::Nova { thinks: false });
        assert_eq!(Model::of("global.amazon.nova-2-lite-v1:0"), Model::Nova { thinks: true });
        assert_eq!(Model::of("us.meta.llama4-scout-17b-instruct-v1:0"), Model::Plain);
        assert_eq!(Model::of("openai.gpt-oss-120b-1:0"), Model::GptOss);
        assert_eq!(Model::of("mistral.mistral-large-3"), Model::Other);
    }
}
