//! What calls cost.

mod price;

pub(crate) use price::cost;
