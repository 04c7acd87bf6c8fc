//! What can be chosen: a name and what is said of it.

/// One route, in the words of whoever wrote the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Such as `code generation`, `freeze_account` or `hotelBooking`.
    pub name: String,
    /// Prose. A part such as `Handles: one thing, another` counts as a list of short phrases.
    pub description: String,
    /// Turns that belong to it, as a user would write them.
    pub examples: Vec<String>,
}
