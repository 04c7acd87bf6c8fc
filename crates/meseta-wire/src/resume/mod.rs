//! Going on with a stream that broke: another target is asked for the rest, and the client sees one answer.
//!
//! [`Partial`] is what the client has been told. Its [`Partial::plan`] says whether and how somebody else can go on,
//! [`continuation`] asks for the rest, [`Joiner`] takes out what the new target says again, and [`Resumed`] writes the
//! rest into the client's stream as if nothing had happened.

mod continuation;
mod joiner;
mod partial;
mod plan;
mod resumed;

pub use continuation::{INSTRUCTION, Prefill, continuation};
pub use joiner::{Diverged, Joiner};
pub use partial::{MOST_BYTES, Partial, Told};
pub use plan::{Facts, Resumption, Unsound};
pub use resumed::Resumed;
