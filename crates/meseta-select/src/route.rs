//! What can be chosen: a name and what is said of it.
