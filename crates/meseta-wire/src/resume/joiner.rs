//! The place where the rest of an answer meets what was told before.
//!
//! A model that is asked to go on may begin anew, or say its last words again. The first words of the rest are held until
//! it is clear whether they are such a repetition.

use std::collections::HashSet;

/// So many characters tell whether a model has begun anew.
const MOST_HELD: usize = 200;
/// Fewer characters may be equal by chance, unless they are a whole line.
const LEAST_REPEATED: usize = 12;
/// A repetition has at least so many different letters and digits: rules and rows of tables repeat themselves rightly.
const LEAST_LETTERS: usize = 4;

/// Takes out of the rest of a text what was told before.
#[derive(Clone, Debug)]
pub struct Joiner {
    /// Without the white space around it.
    told: String,
    /// The white space at the end of what was told, as far as the rest may still repeat it.
    blank: String,
    held: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Holding,
    /// The model has begun anew and has said so many bytes of what was told.
    Repeating(usize),
    Passing,
}

/// The model has begun anew, and then said something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diverged;

impl Joiner {
    pub fn new(told: &str) -> Joiner {
        let end = told.trim_end();
        let blank = told.get(end.len()..).unwrap_or_default();
        let state = if end.is_empty() { State::Passing } else { State::Holding };
        Joiner { told: end.trim_start().to_owned(), blank: blank.to_owned(), held: String::new(), state }
    }

    /// Takes a piece of the rest and gives back what the client is to see now.
    pub fn push(&mut self, piece: &str) -> Result<String, Diverged> {
        match self.state {
            State::Passing => Ok(self.without_blank(piece)),
            State::Repeating(at) => self.repeat(at, piece),
            State::Holding => {
                self.held.push_str(piece);
                Ok(self.decide(false))
            }
        }
    }

    /// What is still held: no more text comes.
    pub fn end(&mut self) -> String {
        match self.state {
            State::Holding => self.decide(true),
            State::Repeating(_) | State::Passing => String::new(),
        }
    }

    /// Whether every further piece passes as it is.
    pub fn passes(&self) -> bool {
        self.state == State::Passing && self.blank.is_empty()
    }

    fn decide(&mut self, last: bool) -> String {
        let said = self.held.trim_start();
        let waits = !last && self.may_repeat(said);
        if waits && said.chars().count() < MOST_HELD && self.held.len() < 4 * MOST_HELD {
            return String::new();
        }
        if waits && !said.is_empty() && self.told.starts_with(said) {
            let at = said.len();
            self.held.clear();
            self.state = State::Repeating(at);
            return String::new();
        }
        let repeated = match self.repeated(said) {
            // It ended while it said again what was told.
            0 if last && self.told.starts_with(said) && is_telling(said, LEAST_REPEATED) => said.len(),
            0 => 0,
            length => length,
        };
        let rest = match repeated {
            0 => std::mem::take(&mut self.held),
            length => said.get(length..).unwrap_or_default().to_owned(),
        };
        self.held.clear();
        self.state = State::Passing;
        self.without_blank(&rest)
    }

    /// Ends of what was told that a model may repeat, the longest first, and how long they must be at least. All of it
    /// is one.
    fn ends(&self) -> impl Iterator<Item = (&str, usize)> {
        let line = self.told.rfind('\n').map_or(0, |at| at + 1);
        let window = self.told.char_indices().rev().take(MOST_HELD).last().map_or(0, |(at, _)| at);
        let near = self.told.get(window..).unwrap_or_default();
        let starts = near.char_indices().map(move |(at, _)| window + at);
        let all = (window > 0).then_some(0);
        all.into_iter().chain(starts).filter_map(move |at| {
            let least = if at == line { 0 } else { LEAST_REPEATED };
            Some((self.told.get(at..)?, least))
        })
    }

    /// Whether more words may show that these are a repetition.
    fn may_repeat(&self, said: &str) -> bool {
        self.told.starts_with(said)
            || self
                .ends()
                .any(|(end, least)| end.len() > said.len() && end.starts_with(said) && is_telling(end, least))
    }

    /// How much of what is said was told before.
    fn repeated(&self, said: &str) -> usize {
        let repeated = self.ends().find(|(end, least)| said.starts_with(end) && is_telling(end, *least));
        if let Some((end, _)) = repeated {
            return end.len();
        }
        // Few letters are all that was told. They are said again if they are a word of their own.
        match said.strip_prefix(self.told.as_str()) {
            Some(rest)
                if self.told.chars().any(char::is_alphanumeric)
                    && !is_telling(&self.told, 0)
                    && !rest.starts_with(char::is_alphanumeric) =>
            {
                self.told.len()
            }
            _ => 0,
        }
    }

    fn repeat(&mut self, at: usize, piece: &str) -> Result<String, Diverged> {
        let expected = self.told.get(at..).unwrap_or_default();
        if expected.starts_with(piece) {
            self.state = State::Repeating(at + piece.len());
            return Ok(String::new());
        }
        let Some(rest) = piece.strip_prefix(expected) else { return Err(Diverged) };
        self.state = State::Passing;
        Ok(self.without_blank(rest))
    }

    /// The white space at the end was not sent to the model, so it says it, and the client has it already.
    fn without_blank(&mut self, text: &str) -> String {
        let same = self.blank.chars().zip(text.chars()).take_while(|(told, said)| told == said);
        let same: usize = same.map(|(told, _)| told.len_utf8()).sum();
        if same == text.len() {
            self.blank.drain(..same);
        } else {
            self.blank.clear();
        }
        text.get(same..).unwrap_or_default().to_owned()
    }
}

/// Whether it is no chance that a text is said twice.
fn is_telling(text: &str, least: usize) -> bool {
    let near = text.chars().take(1_000);
    let letters: HashSet<char> = near.filter(|one| one.is_alphanumeric()).collect();
    letters.len() >= LEAST_LETTERS && text.chars().take(least).count() >= least
}
