//! What a model answered, read tolerantly.
