//! Kept conversations: the form they are kept in, what is recognised, what is shown, what an answer is.

mod answers;
mod any;
mod hostile;
mod joins;
mod stored;
mod views;
