//! The text of a case, read. The format is described in tests/conversations/README.md.

use std::collections::BTreeMap;
use std::path::Path;

use meseta_wire::dialect::Dialect;
use meseta_wire::feature::Feature;
use serde_json::Value as Json;

use crate::support::dialects::short;

/// The dialects that clients speak.
pub const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];

pub struct Case {
    pub name: String,
    /// In the order of [`CLIENTS`]: the body, without `model` and `stream`, or why the dialect cannot say it.
    requests: Vec<Result<String, String>>,
    /// The `reply` of a rule of the simulator's script.
    pub reply: Json,
    /// What the table of fates, or the case itself, says will happen.
    features: Vec<Line>,
    models: BTreeMap<String, String>,
}

/// A line of `features`, and for which pairs it holds.
pub struct Line {
    pub what: What,
    /// It is lossy in some conversations only, and here it may be either.
    pub may: bool,
    clients: Option<Vec<String>>,
    providers: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Feature(Feature),
    /// A field that no other dialect knows is named among what was dropped.
    Unknown(String),
    /// Something in the answer that the client's dialect has no place for may be named among what was dropped.
    Answer(String),
    /// Refused as malformed, at this path.
    Malformed(String),
    /// Where both ends speak the same, the request is translated all the same.
    Translated,
}

impl Line {
    fn holds(&self, client: Dialect, provider: Dialect) -> bool {
        let among = |names: &Option<Vec<String>>, dialect: Dialect| {
            names.as_ref().is_none_or(|names| names.iter().any(|name| name == short(dialect)))
        };
        among(&self.clients, client) && among(&self.providers, provider)
    }

    fn parse(line: &str) -> Line {
        let mut columns = line.split('|').map(str::trim);
        let what = columns.next().unwrap_or_default();
        let (may, what) = what.strip_prefix("may ").map_or((false, what), |what| (true, what));
        let names = |column: Option<&str>| {
            column.map(|names| {
                let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
                for name in &names {
                    assert!(Dialect::ALL.iter().any(|dialect| short(*dialect) == name), "no dialect {name}");
                }
                names
            })
        };
        let what = match what.split_once(' ') {
            Some(("unknown", path)) => What::Unknown(path.to_owned()),
            Some(("answer", word)) => What::Answer(word.to_owned()),
            Some(("malformed", path)) => What::Malformed(path.to_owned()),
            _ if what == "same translated" => What::Translated,
            _ => {
                let found = Feature::ALL.iter().find(|feature| feature.as_str() == what);
                What::Feature(*found.unwrap_or_else(|| panic!("there is no feature named {what:?}")))
            }
        };
        Line { what, may, clients: names(columns.next()), providers: names(columns.next()) }
    }
}

impl Case {
    pub fn read(path: &Path) -> Case {
        let text = std::fs::read_to_string(path).expect("a readable case");
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Case::parse(name, &text)
    }

    fn parse(name: String, text: &str) -> Case {
        let mut sections: BTreeMap<&str, &str> = BTreeMap::new();
        let mut parts = text.split("\n=== ");
        let why = parts.next().unwrap_or_default();
        assert!(!why.trim().is_empty(), "{name}: the text before the first section says why");
        for part in parts {
            let (section, content) = part.split_once('\n').unwrap_or((part, ""));
            assert!(sections.insert(section, content.trim()).is_none(), "{name}: {section} is there twice");
        }
        let take =
            |sections: &mut BTreeMap<&str, &str>, section: &str| sections.remove(section).map(str::to_owned);
        let mut requests = Vec::new();
        for client in CLIENTS {
            let content = take(&mut sections, short(client))
                .unwrap_or_else(|| panic!("{name}: there is no section {}", short(client)));
            requests.push(match content.strip_prefix("- ") {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(content),
            });
        }
        let reply = take(&mut sections, "provider").unwrap_or_else(|| panic!("{name}: no section provider"));
        let reply = serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{name}: provider: {error}"));
        let lines = take(&mut sections, "features").unwrap_or_default();
        let models = take(&mut sections, "models").unwrap_or_default();
        let pair = |line: &str| {
            let (dialect, model) = line.split_once(' ').expect("dialect and model");
            assert!(Dialect::ALL.iter().any(|known| short(*known) == dialect), "no dialect {dialect}");
            (dialect.to_owned(), model.to_owned())
        };
        assert!(sections.is_empty(), "{name}: there are no sections named {:?}", sections.keys());
        Case {
            name,
            requests,
            reply,
            features: lines.lines().map(Line::parse).collect(),
            models: models.lines().map(pair).collect(),
        }
    }

    /// The body in a client's dialect, or why it cannot be said.
    pub fn request(&self, client: Dialect) -> &Result<String, String> {
        &self.requests[client as usize]
    }

    /// The model that is asked at a provider.
    pub fn model(&self, provider: Dialect) -> &str {
        self.models.get(short(provider)).map_or_else(
            || match provider {
                Dialect::OpenaiChat => "gpt-5-mini",
                Dialect::OpenaiResponses => "gpt-5",
                Dialect::AnthropicMessages => "claude-sonnet-4-5",
                Dialect::GeminiGenerateContent => "gemini-2.5-flash",
                Dialect::BedrockConverse => "anthropic.claude-sonnet-4-5-20250929-v1:0",
            },
            String::as_str,
        )
    }

    pub fn lines(&self, client: Dialect, provider: Dialect) -> impl Iterator<Item = &Line> {
        self.features.iter().filter(move |line| line.holds(client, provider))
    }

    /// Whether a pair of the same dialect passes byte for byte.
    pub fn passes(&self, client: Dialect, provider: Dialect) -> bool {
        client == provider && !self.lines(client, provider).any(|line| line.what == What::Translated)
    }
}
