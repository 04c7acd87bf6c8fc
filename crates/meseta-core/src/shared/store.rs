//! The little that is asked of a shared store, whatever it is.

use std::time::Duration;

/// The largest value that is written, or taken from what others have written.
pub(super) const VALUE_BYTES: usize = 4096;

/// Members of a group that are looked at. A deployment has fewer replicas than this.
pub(super) const MEMBERS: usize = 256;

/// Clones speak over the same connection. Names come whole, values are neither empty nor larger than [`VALUE_BYTES`].
pub(super) trait Store: Clone + 'static {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Failure>;

    async fn put(&self, name: &str, value: &[u8], kept: Duration) -> Result<(), Failure>;

    /// The value of each name and how long it is still kept, in the order asked. One that is kept for ever is not ours.
    async fn left(&self, names: &[String]) -> Result<Vec<Option<(Vec<u8>, Duration)>>, Failure>;

    /// Makes `member` one of a group, with a value, for a while.
    async fn lease(&self, group: &str, member: &str, value: &[u8], kept: Duration) -> Result<(), Failure>;

    /// The members of a group that are there now.
    async fn leases(&self, group: &str) -> Result<Vec<(String, Vec<u8>)>, Failure>;
}

pub(super) trait Connect {
    type Store: Store;

    /// Takes a bounded time.
    async fn connect(&self) -> Result<Self::Store, Failure>;

    /// For people; without a password.
    fn address(&self) -> &str;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The connection is of no more use.
    pub lost: bool,
    /// For people; without a password.
    pub message: String,
}

/// Whether a member's name is one that a replica could have given itself.
pub(super) fn is_member(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
