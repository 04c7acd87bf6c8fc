//! A call that failed: what the target is thought of for it, and what the client gets if nobody else answers.

use bytes::Bytes;
use http::{StatusCode, response};
use meseta_wire::failure::{self, Cause};
use meseta_wire::limits;
use tokio::time::Instant;

use crate::attempts::Track;
use crate::error::{Code, Error};
use crate::handle::Outbound;
use crate::health::{Ticket, Verdict};
use crate::plan::Choice;
use crate::stages::send::{Answer, AnswerBody, Notes, Sending, answer};

pub(crate) struct Failed {
    pub error: Error,
    /// The provider's own words, in the client's dialect.
    answer: Option<Box<Answer>>,
    /// The provider got the request and did not say that it has not carried it out.
    pub may_have_acted: bool,
}

/// A call that failed, and whose it was.
pub(crate) struct Lost {
    pub choice: Choice,
    pub failed: Failed,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        let may_have_acted = error.failover().is_some() && error.code != Code::RequestUnsupported;
        Failed { error, answer: None, may_have_acted }
    }
}

impl Failed {
    /// The provider never got the request.
    pub fn unsent(error: Error) -> Failed {
        Failed { error, answer: None, may_have_acted: false }
    }

    /// The provider answered with an error.
    pub(super) fn refused(sending: &mut Sending, mut head: response::Parts, body: &Bytes) -> Failed {
        let status = head.status;
        let mut cause = failure::classify(status.as_u16(), body);
        let target = &sending.choice.member.target;
        // A client that brings its own credential has to hear that it is refused.
        if cause == Cause::Credential && target.is_passthrough() {
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
                    target: target.clone(),
                    model: sending.choice.member.model.clone(),
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
        Failed { error: error.with_cause(cause).with_retry_after(retry_after), answer, may_have_acted }
    }

    /// Writes the failure into the record and tells the target's health of it.
    pub(super) fn settle(
        mut self,
        choice: &Choice,
        track: &Track,
        ticket: Option<Ticket>,
        began: Instant,
    ) -> Failed {
        let now = track.now();
        let cause = self.error.failover();
        track.note(|attempt| {
            attempt.code = Some(self.error.code);
            attempt.cause = cause;
            attempt.ended = Some(now);
        });
        if let Some(ticket) = ticket {
            let now = std::time::Instant::now();
            if self.error.code == Code::UpstreamFirstTokenTimeout {
                ticket.first_token(began.elapsed(), now);
            }
            ticket.finish(verdict(&self.error, now), now);
        }
        let name = &choice.member.target.name;
        self.error.message = format!("{name}: {}", self.error.message).into();
        self
    }

    /// What the client gets.
    pub fn into_outbound(self) -> Result<Outbound, Error> {
        match self.answer {
            Some(answer) => Ok(Outbound::Answer(answer, None)),
            None => Err(self.error),
        }
    }
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
