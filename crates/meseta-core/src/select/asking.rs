//! A model that is asked to choose: within its deadline, and not while it keeps failing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use meseta_select::prompt::{self, Form};
use meseta_select::reply;
use meseta_select::route::Route;
use meseta_select::turns::Turns;
use tokio::time::{Instant, timeout_at};

use crate::select::answers::{Answers, Key, Said};
use crate::select::decision::{Reason, Step};
use crate::select::pending::Joined;
use crate::select::settings::{AskedModelDocument, PromptKind};

/// Failures in a row after which the model rests, so that not every request waits for one that does not answer.
const FAILURES: u32 = 5;
const REST: Duration = Duration::from_secs(10);

/// Why a model that was asked has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// It does not take the request as it is: some servers know no schema, some models take no temperature.
    Refused,
    Failed,
    /// The client's own time is over, which says nothing of the model.
    Abandoned,
}

/// Shared by all cascades of one snapshot, as they ask the same model.
#[derive(Debug)]
pub(super) struct Asking {
    settings: AskedModelDocument,
    /// The server has refused the enforced form and taken the plain one.
    plain: AtomicBool,
    rest: Mutex<Rest>,
}

/// What is asked.
pub(super) struct Asked<'a> {
    pub routes: &'a [Route],
    pub turns: &'a Turns<'a>,
    pub most: usize,
    pub tenant: Option<&'a str>,
}

impl Asking {
    pub fn new(settings: AskedModelDocument) -> Asking {
        Asking { settings, plain: AtomicBool::new(false), rest: Mutex::default() }
    }

    /// The places of the chosen routes and who chose them; or why nobody did.
    pub async fn choose(
        &self,
        asked: &Asked<'_>,
        answers: &Answers,
        mut ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>,
    ) -> Result<(Step, Vec<usize>), Reason> {
        let form = if self.plain.load(Ordering::Relaxed) { Form::Plain } else { Form::Enforced };
        let body = self.body(asked, form);
        let (key, keep) = (Key::new(asked.tenant, &body), Duration::from_millis(self.settings.cache_ms));
        let until = Instant::now() + Duration::from_millis(self.settings.deadline_ms);
        loop {
            if let Some(said) = answers.get(&key, keep, Instant::now()) {
                return some(Step::Cached, said.map_err(|_| Reason::Unreadable)?);
            }
            let waiter = match answers.pending.join(key) {
                Joined::Wait(waiter) => waiter,
                Joined::Ask(asker) => {
                    // Where it is abandoned, one of those who wait asks: they may have more time.
                    let said = self.asked(asked, form, body, until, &mut ask).await.ok_or(Reason::Late)?;
                    if let Ok(said) = &said {
                        answers.put(key, said.clone(), self.settings.cache_entries, Instant::now());
                    }
                    let outcome = said.and_then(|said| said.map_err(|_| Reason::Unreadable));
                    asker.tell(&outcome);
                    return some(Step::Model, outcome?);
                }
            };
            if let Some(outcome) = timeout_at(until, waiter.heard()).await.map_err(|_| Reason::Late)? {
                return some(Step::Cached, outcome?);
            }
        }
    }

    /// What the model says, unless it rests, and what is to be learnt of it; `None` where the question is abandoned.
    async fn asked(
        &self,
        asked: &Asked<'_>,
        form: Form,
        body: Bytes,
        until: Instant,
        ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>,
    ) -> Option<Result<Said, Reason>> {
        if !self.rest(|rest| rest.may_ask(Instant::now())) {
            return Some(Err(Reason::Resting));
        }
        let said = match timeout_at(until, self.ask(asked, form, body, ask)).await {
            Ok(Ok(answer)) => Ok(read(&answer, asked)),
            Ok(Err(Unanswered::Abandoned)) => return None,
            Ok(Err(_)) => Err(Reason::Failed),
            Err(_) => Err(Reason::Late),
        };
        // One that talks, but says nothing that can be used, is no better than one that is silent.
        self.rest(|rest| rest.learn(matches!(said, Ok(Ok(_))), Instant::now()));
        Some(said)
    }

    fn body(&self, asked: &Asked<'_>, form: Form) -> Bytes {
        let question = prompt::Question {
            model: &self.settings.model,
            routes: asked.routes,
            turns: asked.turns,
            most: asked.most,
            context_tokens: usize::try_from(self.settings.context_tokens).unwrap_or(usize::MAX),
        };
        match self.settings.prompt {
            PromptKind::Plano => prompt::plano(&question),
            PromptKind::Structured => prompt::structured(&question, form),
        }
        .into()
    }

    /// Asks once, and once more in plain words where the form is what was refused.
    async fn ask(
        &self,
        asked: &Asked<'_>,
        form: Form,
        body: Bytes,
        mut ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>,
    ) -> Result<Bytes, Unanswered> {
        let answered = ask(body).await;
        let plainer = self.settings.prompt == PromptKind::Structured && form == Form::Enforced;
        if answered != Err(Unanswered::Refused) || !plainer {
            return answered;
        }
        let answer = ask(self.body(asked, Form::Plain)).await?;
        self.plain.store(true, Ordering::Relaxed);
        Ok(answer)
    }

    fn rest<T>(&self, work: impl FnOnce(&mut Rest) -> T) -> T {
        work(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(answer: &[u8], asked: &Asked<'_>) -> Said {
    let names: Vec<&str> = asked.routes.iter().map(|route| route.name.as_str()).collect();
    reply::content(answer).and_then(|said| reply::read(&said, &names, asked.most))
}

fn some(step: Step, chosen: Vec<usize>) -> Result<(Step, Vec<usize>), Reason> {
    if chosen.is_empty() { Err(Reason::Nobody) } else { Ok((step, chosen)) }
}

#[derive(Debug, Default)]
struct Rest {
    failures: u32,
    until: Option<Instant>,
}

impl Rest {
    /// Behind a rest one question goes out, and the others wait for what becomes of it.
    fn may_ask(&mut self, now: Instant) -> bool {
        match self.until {
            Some(until) if now < until => false,
            Some(_) => {
                self.until = Some(now + REST);
                true
            }
            None => true,
        }
    }

    fn learn(&mut self, answered: bool, now: Instant) {
        if answered {
            *self = Rest::default();
        } else {
            self.failures = self.failures.saturating_add(1);
            self.until = (self.failures >= FAILURES).then_some(now + REST);
        }
    }
}
