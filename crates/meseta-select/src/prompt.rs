//! The words in which a model is asked to choose.
