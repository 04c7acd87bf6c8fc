//! Chooses by static embeddings and by the words themselves, without asking anybody.
//!
//! A text is the sum of the vectors of its words. A turn is compared with everything that is known of a route: its name,
//! the sentences and phrases of its description, its examples. Where there are examples, a ridge regression over them adds
//! what tells the routes apart, and it sees words and pairs of words besides the vectors. What comes out is turned into
//! probabilities, among them the one that no route fits; `Scores::decide` then chooses, abstains, or finds that a turn
//! asks for several things.
//!
//! One tier of the cascade, and pure: a second one that reads the context of a word would stand beside `Chooser`, score a
//! `Query` and return the same `Scores`.

mod abbreviations;
mod algebra;
mod associations;
mod calibration;
mod chooser;
mod clauses;
mod description;
mod embedder;
mod error;
mod integers;
mod lexicon;
mod points;
mod prototypes;
mod ridge;
mod scores;
mod tokenizer;
mod weights;
mod words;

pub use chooser::{Chooser, Query};
pub use embedder::Embedder;
pub use error::LoadError;
pub use scores::{Decision, Scores};
