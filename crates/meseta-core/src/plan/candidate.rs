//! One who may answer: what it has been asked in vain, and whether asking it again can help.

use std::sync::Arc;

use meseta_wire::failure::Cause;

use crate::pool::Member;

pub(super) struct Candidate {
    pub member: Member,
    /// Credentials that have had their try, as bits.
    pub spent: u64,
    /// Those of them that the provider does not accept: another try is in vain.
    pub refused: u64,
    /// It has failed in a way that no other key would change.
    pub failed: bool,
    /// It would fail so again: this request is not for it.
    pub unfit: bool,
}

impl Candidate {
    pub fn new(member: Member) -> Candidate {
        Candidate { member, spent: 0, refused: 0, failed: false, unfit: false }
    }

    pub fn mark(&mut self, key: usize, cause: Cause, asked: bool) {
        let bit = 1 << (key & 63);
        match cause {
            Cause::RateLimit => self.spent |= bit,
            Cause::Credential => {
                self.spent |= bit;
                self.refused |= bit;
            }
            Cause::Error | Cause::Timeout => {
                self.failed = true;
                self.unfit |= !asked;
            }
            Cause::ContextLength | Cause::ContentPolicy | Cause::Invalid => {
                self.failed = true;
                self.unfit = true;
            }
        }
    }

    /// May be asked once more, where that can help.
    pub fn recover(&mut self) {
        self.spent = self.refused;
        self.failed = self.unfit;
    }

    pub fn is_like(&self, other: &Candidate) -> bool {
        Arc::ptr_eq(&self.member.target, &other.member.target) && self.member.model == other.member.model
    }

    pub fn keys(&self) -> usize {
        self.member.target.credentials.len()
    }

    pub fn is_left(&self) -> bool {
        let all = if self.keys() >= 64 { u64::MAX } else { (1 << self.keys()) - 1 };
        !self.failed && self.spent & all != all
    }
}

/// The next call's target.
#[derive(Clone)]
pub(crate) struct Choice {
    pub member: Member,
    /// Which of the target's credentials.
    pub key: usize,
    /// Which candidate of the plan it is.
    pub(super) number: usize,
}

impl Choice {
    /// Of a call that has no plan.
    pub fn alone(member: Member) -> Choice {
        Choice { member, key: 0, number: usize::MAX }
    }
}
