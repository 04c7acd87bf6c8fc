//! What a request asks for, whatever dialect it came in.

use serde_json::Value;

/// What the engine wants to know of a request. It is asked piece by piece, so that a dialect may leave
/// unread what no answer depends on.
pub trait Ask {
    /// The text of the last message of the user, "" if there is none.
    fn question(&self) -> &str;
    /// The text of the last message, whoever wrote it.
    fn last(&self) -> &str;
    /// The text of a tool's result, if that is what the conversation ends with.
    fn result(&self) -> Option<&str>;
    fn tools(&self) -> Vec<Tool>;
    fn choice(&self) -> Choice;
    /// Several tools may be called at once.
    fn parallel(&self) -> bool;
    fn stops(&self) -> &[String];
    /// The most tokens of an answer.
    fn limit(&self) -> Option<u64>;
    fn prompt_tokens(&self) -> u64;
    fn logprobs(&self) -> bool;
    /// The answer that the conversation has the beginning of.
    fn begun(&self) -> Option<Begun<'_>>;
}

/// The beginning of an answer. The conversation ends with it, or with one more message of the user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Begun<'a> {
    /// What the user had asked.
    pub asked: &'a str,
    pub text: &'a str,
    /// The conversation ends with it.
    pub last: bool,
}

/// A tool that the request offers.
#[derive(Clone, Debug)]
pub struct Tool {
    pub name: String,
    pub parameters: Value,
}

/// Whether a tool must be called.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Choice {
    #[default]
    Free,
    Required,
    Named(String),
}

/// A request that has been read to its end.
#[derive(Debug, Default)]
pub struct Prompt {
    pub question: String,
    pub last: String,
    pub result: Option<String>,
    pub tools: Vec<Tool>,
    pub choice: Choice,
    pub single: bool,
    pub stops: Vec<String>,
    pub limit: Option<u64>,
    pub tokens: u64,
    pub logprobs: bool,
    pub begun: Beginning,
}

/// What is known of an answer that may have begun, turn by turn.
#[derive(Debug, Default)]
pub struct Beginning {
    asked: String,
    /// The assistant's last turn, and how many turns of the user have come since.
    text: Option<(String, usize)>,
}

impl Beginning {
    pub fn user(&mut self, text: &str) {
        if let Some((_, after @ 0)) = &mut self.text {
            *after = 1;
        } else {
            self.text = None;
            text.clone_into(&mut self.asked);
        }
    }

    pub fn assistant(&mut self, text: &str) {
        self.text = Some((text.to_owned(), 0));
    }

    pub fn begun(&self) -> Option<Begun<'_>> {
        let (text, after) = self.text.as_ref()?;
        Some(Begun { asked: &self.asked, text, last: *after == 0 })
    }
}

impl Ask for Prompt {
    fn question(&self) -> &str {
        &self.question
    }

    fn last(&self) -> &str {
        &self.last
    }

    fn result(&self) -> Option<&str> {
        self.result.as_deref()
    }

    fn tools(&self) -> Vec<Tool> {
        self.tools.clone()
    }

    fn choice(&self) -> Choice {
        self.choice.clone()
    }

    fn parallel(&self) -> bool {
        !self.single
    }

    fn stops(&self) -> &[String] {
        &self.stops
    }

    fn limit(&self) -> Option<u64> {
        self.limit
    }

    fn prompt_tokens(&self) -> u64 {
        self.tokens
    }

    fn logprobs(&self) -> bool {
        self.logprobs
    }

    fn begun(&self) -> Option<Begun<'_>> {
        self.begun.begun()
    }
}

/// Texts of one message, joined as every dialect's parts are.
pub fn join(texts: &[&str]) -> String {
    texts.join("\n")
}
