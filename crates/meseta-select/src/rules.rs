//! The operator's own rules, which go before any chooser.
