//! How many requests the replicas have under way, so that limits of the plane hold, more or less, for all of them.
//!
//! Each replica says once a second what it has under way, and what it said is forgotten after [`KEPT`]; each subtracts
//! what the others said from its limits, but always keeps its equal share of them, so that none is kept out for good by
//! one that was there before. So a limit is exceeded by no more than what the other replicas began since they last spoke,
//! which is a second and a round trip ago, and what a newcomer takes of its share before the others have made room: with
//! R replicas at most (2 - 1/R) times the limit where one had it all, R times where all were idle, until those requests
//! end. A replica that is cut off from the store, or has died, counts for [`KEPT`] and then not at all: R replicas that
//! are all cut off allow R times the limit.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::hex;
use crate::sessions::Tenant;
use crate::shared::store::VALUE_BYTES;

/// How long a replica's word counts.
pub(crate) const KEPT: Duration = Duration::from_secs(5);

/// No replica has more under way.
const MOST: u64 = 10_000_000;

/// Requests under way, in all and by tenant. Tenants are told by a digest of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Load {
    total: u64,
    tenants: HashMap<String, u64>,
    /// Whose words are in it, beside the first.
    #[serde(skip)]
    joined: u64,
}

impl Load {
    /// `total` counts those of no tenant too.
    pub fn new(total: u64) -> Load {
        Load { total, ..Load::default() }
    }

    pub fn add(&mut self, tenant: &str, under_way: u64) {
        if under_way > 0 {
            *self.tenants.entry(digest(tenant)).or_default() += under_way;
        }
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn of(&self, tenant: &str) -> u64 {
        self.tenants.get(&digest(tenant)).copied().unwrap_or(0)
    }

    /// What of a limit is left for this replica, of which these are the others: what they do not use, and no less than
    /// its equal share.
    pub fn room(&self, limit: u32, used_elsewhere: u64) -> u64 {
        let limit = u64::from(limit);
        limit.saturating_sub(used_elsewhere).max(limit.div_ceil(self.joined + 1))
    }

    pub fn join(&mut self, other: &Load) {
        self.joined += 1;
        self.total = self.total.saturating_add(other.total);
        for (tenant, under_way) in &other.tenants {
            let sum = self.tenants.entry(tenant.clone()).or_default();
            *sum = sum.saturating_add(*under_way);
        }
    }

    /// As much as fits into a value, the busiest tenants first: those are the ones that limits are for.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // A tenant takes its digest, its count, two quotes, a colon and a comma.
        const TENANT_BYTES: usize = 16 + 8 + 4;
        const REST_BYTES: usize = 64;
        let mut busiest: Vec<_> = self.tenants.iter().map(|(tenant, count)| (*count, tenant)).collect();
        busiest.sort_unstable_by(|left, right| right.cmp(left));
        let fitting = (VALUE_BYTES - REST_BYTES) / TENANT_BYTES;
        let tenants = busiest.into_iter().take(fitting);
        let told = Load {
            total: self.total.min(MOST),
            tenants: tenants.map(|(count, tenant)| (tenant.clone(), count.min(MOST))).collect(),
            joined: 0,
        };
        serde_json::to_vec(&told).unwrap_or_default()
    }

    pub(super) fn from_json(json: &[u8]) -> Option<Load> {
        let load: Load = serde_json::from_slice(json).ok()?;
        let sound = load.total <= MOST && load.tenants.values().all(|count| *count <= MOST);
        sound.then_some(load)
    }
}

fn digest(tenant: &str) -> String {
    hex(Tenant::Key(tenant).scope().bytes().get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loads_add_up() {
        let mut one = Load::new(7);
        one.add("acme", 5);
        one.add("acme", 1);
        let mut other = Load::new(3);
        other.add("acme", 2);
        other.add("globex", 1);
        one.join(&Load::from_json(&other.to_json()).unwrap());
        assert_eq!((one.total(), one.of("acme"), one.of("globex"), one.of("nobody")), (10, 8, 1, 0));
    }

    #[test]
    fn nobody_has_less_room_than_its_share() {
        let mut others = Load::default();
        assert_eq!(others.room(10, 0), 10, "alone");
        others.join(&Load::new(4));
        assert_eq!((others.room(10, 4), others.room(10, 9), others.room(10, 900)), (6, 5, 5));
        others.join(&Load::new(4));
        assert_eq!((others.room(10, 8), others.room(1, 8)), (4, 1), "ten for three, one for three");
    }

    #[test]
    fn a_word_names_no_tenant() {
        let mut load = Load::new(1);
        load.add("acme", 1);
        let text = String::from_utf8(load.to_json()).unwrap();
        assert!(!text.contains("acme"), "{text}");
    }

    #[test]
    fn what_does_not_fit_are_the_idlest() {
        let mut load = Load::new(1_000_000);
        for tenant in 0..1000_u64 {
            load.add(&tenant.to_string(), MOST - tenant);
        }
        let json = load.to_json();
        assert!(json.len() <= VALUE_BYTES, "{}", json.len());
        let told = Load::from_json(&json).unwrap();
        assert_eq!((told.of("0"), told.of("999")), (MOST, 0));
        assert!(told.of("100") > 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Load::from_json(&bytes);
        }

        #[test]
        fn sums_of_hostile_words_do_not_overflow(totals in proptest::collection::vec(any::<u64>(), 0..20)) {
            let mut sum = Load::default();
            for total in totals {
                let json = format!(r#"{{"total":{total},"tenants":{{"a":{total}}}}}"#);
                if let Some(load) = Load::from_json(json.as_bytes()) {
                    prop_assert!(total <= MOST);
                    sum.join(&load);
                }
            }
            prop_assert!(sum.total() <= 20 * MOST);
        }
    }
}
