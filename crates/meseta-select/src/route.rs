//! What can be chosen: a name and what is said of it.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub name: String,
    pub description: String,
    pub examples: Vec<String>,
}
