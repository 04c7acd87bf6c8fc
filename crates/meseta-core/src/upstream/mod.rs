//! Connections to providers: made when needed, kept while they are good, shared by origin.
//!
//! Each worker has its own pool on its own thread, so nothing here locks.

mod connect;
mod http1;
mod overdue;
mod pool;
mod tls;

pub(crate) use overdue::{Call, Overdue};
pub(crate) use pool::{Lease, Pool, announced};
pub(crate) use tls::ClientTls;
