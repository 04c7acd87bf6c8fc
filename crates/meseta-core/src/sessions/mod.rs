//! Sessions: a conversation stays where its beginning lies in a provider's prompt cache.
//!
//! Reading what was sent before from a provider's cache costs a tenth of reading it anew, so the target that answered
//! last is asked again for as long as its cache is warm. [`key`] says to which session a request belongs, [`pin`] what is
//! kept of it, [`budget`] when leaving a warm target is worth its price, and [`pins`] keeps the pins.

mod budget;
mod key;
mod opening;
mod pin;
mod pins;

pub(crate) use budget::{Budget, Decision, Judgement, Reason, decide};
pub(crate) use key::{Session, Tenant, cache_is_off};
pub(crate) use opening::{Opening, opening};
pub(crate) use pin::{Facts, Pin, Place, Rates, Visit};
pub(crate) use pins::{PinKey, Sessions, Used};
