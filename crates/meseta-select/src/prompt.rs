//! The words in which a model is asked to choose: the body of one request in OpenAI's chat dialect.

mod history;
mod plano;
mod structured;

pub use plano::plano;
pub use structured::{Form, structured};

use crate::route::Route;
use crate::turns::Turns;

/// What a model is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The model's name, as the request is to have it.
    pub model: &'a str,
    pub routes: &'a [Route],
    /// The conversation.
    pub turns: &'a Turns<'a>,
    /// Routes that may be chosen.
    pub most: usize,
    /// About how many tokens the prompt may have.
    pub context_tokens: usize,
}
