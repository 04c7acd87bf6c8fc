//! Marks for the prompt cache in a request.

use crate::conversation::{CacheMark, CacheTtl};
use crate::json::{Fields, Json};

/// Breakpoints of the cache that one request may have.
const MOST_MARKS: usize = 4;

/// Hands out marks for the cache, leaving out the first ones of too many: a later one covers what is before it.
pub(super) struct Marks {
    surplus: usize,
}

impl Marks {
    pub fn new(wanted: usize) -> Marks {
        Marks { surplus: wanted.saturating_sub(MOST_MARKS) }
    }

    pub fn take(&mut self, mark: Option<CacheMark>) -> Option<Json<'static>> {
        let mark = mark?;
        if self.surplus > 0 {
            self.surplus -= 1;
            return None;
        }
        let mut fields = Fields::new();
        fields.put("type", "ephemeral").put_some(
            "ttl",
            mark.ttl.map(|ttl| match ttl {
                CacheTtl::FiveMinutes => "5m",
                CacheTtl::OneHour => "1h",
            }),
        );
        Some(fields.into())
    }
}
