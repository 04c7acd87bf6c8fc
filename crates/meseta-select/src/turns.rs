//! A conversation as a chooser sees it.
