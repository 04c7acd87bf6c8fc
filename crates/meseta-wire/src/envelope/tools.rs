//! Tools that run at the provider, and which of them do things in the world.
//!
//! A request with such a tool must not be sent a second time once it may have begun: the mail would be sent twice. Tools
//! that the client runs do nothing until the client has read the call, and tools that only read may read twice. A kind of
//! tool that is unknown here is taken for one that acts.
//!
//! Sources: `openai/types/responses/tool_param.py` and `anthropic/types/beta/beta_tool_union_param.py` of the SDKs.

use serde::de::{MapAccess, SeqAccess};

use super::glance::{Glance, Kind, Look};

/// The value of `tools`.
#[derive(Default)]
pub(super) struct Tools {
    pub act: bool,
}

impl Glance for Tools {
    fn item<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let Some(Look(tool)) = seq.next_element::<Look<Tool>>()? else { return Ok(false) };
        self.act |= match tool.class {
            Class::Client | Class::Reads => false,
            Class::Shell => !tool.local,
            Class::Acts => true,
        };
        Ok(true)
    }
}

#[derive(Default)]
struct Tool {
    class: Class,
    /// Its shell runs at the client.
    local: bool,
}

impl Glance for Tool {
    fn entry<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            // Of two types the worse one counts, since nobody knows which one the provider reads.
            "type" => self.class = self.class.max(map.next_value::<Look<Class>>()?.0),
            "environment" => self.local = map.next_value::<Look<Environment>>()?.0.local,
            _ => {
                map.next_value::<Kind>()?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// A tool without a type is a function of the client's.
    #[default]
    Client,
    Reads,
    /// OpenAI's shell, which runs in a container of the provider's or at the client.
    Shell,
    Acts,
}

impl Glance for Class {
    fn text(&mut self, text: &str) {
        *self = class(text);
    }
}

#[derive(Default)]
struct Environment {
    local: bool,
}

impl Glance for Environment {
    fn entry<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        #[derive(Default)]
        struct IsLocal(bool);
        impl Glance for IsLocal {
            fn text(&mut self, text: &str) {
                self.0 = text == "local";
            }
        }
        if key == "type" {
            self.local = map.next_value::<Look<IsLocal>>()?.0.0;
            return Ok(());
        }
        map.next_value::<Kind>().map(|_| ())
    }
}

fn class(kind: &str) -> Class {
    // OpenRouter writes `openrouter:web_search`.
    let kind = kind.rsplit(':').next().unwrap_or(kind);
    match kind {
        "function"
        | "custom"
        | "namespace"
        | "local_shell"
        | "apply_patch"
        | "computer"
        | "computer_use_preview"
        | "" => Class::Client,
        "shell" => Class::Shell,
        _ if is_version_of(kind, &["bash", "text_editor", "computer", "memory"]) => Class::Client,
        _ if READING.iter().any(|reading| kind.starts_with(reading)) => Class::Reads,
        _ => Class::Acts,
    }
}

/// Making an image costs money but changes nothing.
const READING: [&str; 9] = [
    "web_search",
    "web_fetch",
    "file_search",
    "tool_search",
    "image_generation",
    "x_search",
    "live_search",
    "collections_search",
    "document_library",
];

/// Anthropic's tools end with the date of their version, as in `bash_20250124`.
fn is_version_of(kind: &str, names: &[&str]) -> bool {
    kind.rsplit_once('_').is_some_and(|(name, date)| {
        names.contains(&name) && !date.is_empty() && date.bytes().all(|byte| byte.is_ascii_digit())
    })
}
