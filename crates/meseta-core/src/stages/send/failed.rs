//! A call that failed: what the target is thought of for it, and what the client gets if nobody else answers.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode, response};
use meseta_wire::failure::{self, Cause};
use meseta_wire::limits;
use tokio::time::Instant;

use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::health::Verdict;
use crate::plan::Choice;
use crate::respond::whole_seconds;
use crate::retry_advice::{SHOULD_RETRY, retry_harms};
use crate::stages::send::{Answer, AnswerBody, Notes, Sending, answer};

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

pub(crate) struct Failed {
    pub error: Error,
    /// The provider's own words, in the client's dialect.
    answer: Option<Box<Answer>>,
    /// The provider got the request and did not say that it has not carried it out.
    pub may_have_acted: bool,
    /// There was a call: what cannot be written down for a target is not sent there.
    pub asked: bool,
}

/// A call that failed, and whose it was.
pub(crate) struct Lost {
    pub choice: Choice,
    /// Boxed, so that those who hand on what went well carry no room for it.
    pub failed: Box<Failed>,
}

impl Lost {
    pub fn of(choice: Choice, failed: Failed) -> Lost {
        Lost { choice, failed: Box::new(failed) }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        let may_have_acted = error.failover().is_some();
        Failed { error, answer: None, may_have_acted, asked: true }
    }
}

impl Failed {
    /// The provider never got the request.
    pub fn unsent(error: Error) -> Failed {
        Failed { error, answer: None, may_have_acted: false, asked: true }
    }

    /// The request cannot be written down for this target; for another one it can perhaps.
    pub fn unwritten(error: Error) -> Failed {
        Failed { error, answer: None, may_have_acted: false, asked: false }
    }

    /// No instance of an agent was there to take the request.
    pub fn nobody_was_reached(&self) -> bool {
        let unreached = matches!(self.error.code, Code::UpstreamConnectFailed | Code::UpstreamConnectTimeout);
        unreached && !self.may_have_acted
    }

    /// Why the target could not answer; `None` when it is nothing that another one could change.
    pub fn cause(&self) -> Option<Cause> {
        if self.asked { self.error.failover() } else { Some(Cause::Error) }
    }

    /// The provider answered with an error.
    pub(super) fn refused(sending: &mut Sending, mut head: response::Parts, body: &Bytes) -> Failed {
        let status = head.status;
        let exception = head.headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok());
        let mut cause = failure::classify(status.as_u16(), exception, body);
        let target = &sending.choice.member.target;
        // A client that brings its own credential, or is a user of an agent's, has to hear that it is refused.
        if cause == Cause::Credential && target.speaks_of_one_client() {
            cause = Cause::Invalid;
        }
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let after = limits::read(&header, std::time::SystemTime::now()).retry_after;
        let retry_after = after.or_else(|| limits::retry_delay(body));
        let mut notes = Notes::default();
        let reading = &sending.wire.reading;
        let said = answer::refusal(sending.client, &mut notes, reading, &mut head, body.clone());
        let (error, answer) = match said {
            Ok(bytes) => {
                let message = format!("the provider answered {status}.");
                let error = Error::new(Code::UpstreamRejected, message).with_status(status);
                let answer = Answer {
                    head,
                    body: AnswerBody::Whole(bytes),
                    choice: sending.choice.clone(),
                    track: sending.track.clone(),
                    ticket: None,
                    notes,
                };
                (error, Some(Box::new(answer)))
            }
            Err(error) => (error, None),
        };
        // Busy and refused requests were not carried out; of any other failure on the provider's side nobody knows.
        let may_have_acted = status.is_server_error()
            && !matches!(status.as_u16(), 503 | 529)
            && status != StatusCode::NOT_IMPLEMENTED;
        Failed {
            error: error.with_cause(cause).with_retry_after(retry_after),
            answer,
            may_have_acted,
            asked: true,
        }
    }

    /// Writes the failure into the record and tells the target's health of it.
    pub(super) fn settle(mut self, sending: &mut Sending, began: Instant) -> Failed {
        let now = sending.track.now();
        let cause = self.error.failover();
        sending.track.note(|attempt| {
            attempt.code = Some(self.error.code);
            attempt.cause = cause;
            attempt.ended = Some(now);
        });
        let target = &sending.choice.member.target;
        if let Some(ticket) = sending.ticket.take() {
            let now = std::time::Instant::now();
            if self.error.code == Code::UpstreamFirstTokenTimeout {
                ticket.first_token(began.elapsed(), now);
            }
            let verdict = match verdict(&self.error, now) {
                // The client's own limit, which is not that of others.
                Verdict::Limited { .. } if target.speaks_of_one_client() => Verdict::Neutral,
                Verdict::Failed(Cause::Timeout) if sending.rushed => in_a_rush(sending, began.elapsed()),
                _ if self.error.code == Code::RequestDeadline => in_a_rush(sending, began.elapsed()),
                verdict => verdict,
            };
            if verdict == Verdict::Failed(Cause::Timeout) {
                sending.worker.shared.paces.observe(&sending.choice.member, began.elapsed(), now);
            }
            ticket.finish(verdict, now);
        }
        if self.error.code != Code::RequestDeadline {
            self.error.message = target.tell(&self.error.message).into();
        }
        self
    }

    /// When it is worth trying again, which may be sooner than this one target said.
    pub fn retry_after(&mut self, after: Duration) {
        self.error.retry_after = Some(after);
        if let Some(answer) = &mut self.answer {
            // OpenAI's, in place of the standard one: its SDKs look there first.
            answer.head.headers.remove(RETRY_AFTER_MS);
            answer.head.headers.insert(RETRY_AFTER, whole_seconds(after).into());
        }
    }

    /// What the client gets. `acted` as in [`retry_harms`].
    pub fn into_outbound(self, acted: bool) -> Result<Outbound, Error> {
        match self.answer {
            Some(mut answer) => {
                if retry_harms(&self.error, acted) {
                    answer.head.headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
                }
                Ok(Outbound::Answer(answer, None))
            }
            None => Err(self.error),
        }
    }
}

/// What it says of the target that a call took too long which had less time than the configuration gives it. A client in
/// a hurry must not take a target away from the others; but one that is silent for far longer than usual is not well.
fn in_a_rush(sending: &Sending, waited: Duration) -> Verdict {
    let target = &sending.choice.member.target;
    let usual = target.health.quantile(0.95).map(|usual| (usual * 4).max(Duration::from_secs(1)));
    let half = target.timeouts.first_token / 2;
    let fair = usual.map_or(half, |usual| usual.min(half));
    if waited < fair { Verdict::Neutral } else { Verdict::Failed(Cause::Timeout) }
}

/// What a failure says of the target.
pub(crate) fn verdict(error: &Error, now: std::time::Instant) -> Verdict {
    match error.failover() {
        Some(Cause::RateLimit) => {
            Verdict::Limited { until: error.retry_after.and_then(|after| now.checked_add(after)) }
        }
        Some(cause @ Cause::Credential) => Verdict::KeyFailed(cause),
        Some(cause @ (Cause::Error | Cause::Timeout)) => Verdict::Failed(cause),
        // It answered, and the request was at fault.
        Some(Cause::ContextLength | Cause::ContentPolicy | Cause::Invalid) => Verdict::Success,
        None => Verdict::Neutral,
    }
}
