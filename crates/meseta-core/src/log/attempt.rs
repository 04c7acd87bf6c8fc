//! One call to one target, as the log keeps it.

use std::sync::Arc;

use meseta_wire::failure::Cause;
use meseta_wire::usage::Usage;

use crate::error::Code;
use crate::ledger::cost;
use crate::snapshot::Target;

pub(crate) struct Attempt {
    pub target: Arc<Target>,
    pub model: Arc<str>,
    /// Which of the target's credentials, from 0.
    pub key: usize,
    pub reason: Reason,
    /// All offsets are microseconds since the request began.
    pub started: u32,
    /// `None` for a connection that was there already.
    pub connected: Option<u32>,
    pub first_byte: Option<u32>,
    pub ended: Option<u32>,
    pub status: Option<u16>,
    pub code: Option<Code>,
    /// Why the target could not answer.
    pub cause: Option<Cause>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Pieces of the answer that the client got from this call.
    pub pieces: u64,
    pub usage: Option<Usage>,
    /// The provider said nothing of its usage: it was reckoned from what went there and came back.
    pub estimated: bool,
    /// Millionths of a US dollar; `None` without a price.
    pub cost: Option<f64>,
}

/// Why the target was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The choice.
    First,
    /// Somebody could not answer: this one again, or another one of the pool.
    Retry,
    /// Nobody of the pool could.
    Fallback,
    /// The one before is slow.
    Hedge,
    /// The one before broke off in the middle.
    Resume,
    /// It keeps an answer that it gave before, which was paid for then.
    Stored,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::First => "first",
            Reason::Retry => "retry",
            Reason::Fallback => "fallback",
            Reason::Hedge => "hedge",
            Reason::Resume => "resume",
            Reason::Stored => "stored",
        }
    }
}

impl Attempt {
    pub fn begin(target: Arc<Target>, model: Arc<str>, key: usize, reason: Reason, started: u32) -> Attempt {
        Attempt {
            target,
            model,
            key,
            reason,
            started,
            connected: None,
            first_byte: None,
            ended: None,
            status: None,
            code: None,
            cause: None,
            request_bytes: 0,
            response_bytes: 0,
            pieces: 0,
            usage: None,
            estimated: false,
            cost: None,
        }
    }

    /// Whether the provider may have worked for us, so that an answer without usage is a gap in the accounts.
    pub fn may_have_cost(&self) -> bool {
        let unsent = matches!(
            self.code,
            Some(Code::UpstreamConnectFailed | Code::UpstreamConnectTimeout | Code::UpstreamTlsFailed)
        );
        // What failed before it was written down for the target was never sent either.
        let unwritten = self.request_bytes == 0 && self.status.is_none();
        let paid = self.reason == Reason::Stored;
        !unsent && !unwritten && !paid && self.status.is_none_or(|status| status < 400)
    }

    /// Puts a price on what was used, by the target's own rates.
    pub fn bill(&mut self) {
        if let (Some(usage), Some(price)) = (&self.usage, &self.target.price) {
            self.cost = cost(usage, price);
        }
    }
}
