//! Pools, played: who is asked, who stands in, when it ends, and what the client and the record hear of it.

mod support;

#[path = "pools/acting.rs"]
mod acting;
#[path = "pools/deadlines.rs"]
mod deadlines;
#[path = "pools/fallbacks.rs"]
mod fallbacks;
#[path = "pools/hedging.rs"]
mod hedging;
#[path = "pools/keys.rs"]
mod keys;
#[path = "pools/limits.rs"]
mod limits;
#[path = "pools/retries.rs"]
mod retries;
#[path = "pools/selection.rs"]
mod selection;
#[path = "pools/town.rs"]
mod town;
