//! Sessions: a conversation stays where its beginning lies in a provider's prompt cache.
//!
//! Reading what was sent before from a provider's cache costs a tenth of reading it anew, so the target that answered
//! last is asked again for as long as its cache is warm. [`key`] says to which session a request belongs, [`pin`] what is
//! kept of it, [`budget`] when leaving a warm target is worth its price, [`pins`] keeps the pins, [`turn`] is what one
//! request carries of all that, and [`marks`] says what a provider is told to keep.

mod budget;
mod choices;
mod key;
mod marks;
mod opening;
mod pin;
mod pins;
mod turn;

pub(crate) use budget::{Budget, Decision, Judgement, decide};
pub(crate) use choices::{Choice, Choices};
pub(crate) use key::{Session, Tenant, cache_is_off};
pub(crate) use marks::marks;
pub(crate) use opening::opening;
pub(crate) use pin::{Facts, Pin, Place, now};
#[cfg(test)]
pub(crate) use pins::Used;
pub(crate) use pins::{PinKey, Sessions};
pub(crate) use turn::Turn;
