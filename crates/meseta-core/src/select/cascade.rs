//! The steps in their order.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use meseta_select::embedded::{self, Query};
use meseta_select::route::Route;
use meseta_select::rules::{Facts, HeaderLookup, RuleSettings, Rules};
use meseta_select::turns::{Message, Role, Turns};

use crate::document::{SnapshotError, refuse};
use crate::select::answers::Answers;
use crate::select::asking::{Asked, Asking, Unanswered};
use crate::select::counters::Counters;
use crate::select::decision::{Decision, Reason, Step};
use crate::select::inline::{self, Inline};
use crate::select::shared_steps::{Embedded, Embedding, SharedSteps};

/// Of those that the embedded chooser ranks, how many are told with a decision.
const TOLD: usize = 5;

/// What can be chosen, and how much of it.
pub(crate) struct Offer<'a> {
    pub routes: Vec<Route>,
    /// Before any chooser; they may use other names than those of the routes.
    pub rules: &'a [RuleSettings],
    /// What is chosen where nothing else is. With it, a route without another to choose from needs no step.
    pub default: Option<&'a str>,
    /// Names that a chooser may yield at once, at least 1; a rule yields what it says.
    pub most: usize,
}

/// A request that is to be brought somewhere.
pub(crate) struct Question<'a> {
    pub turns: &'a Turns<'a>,
    pub header: &'a HeaderLookup<'a>,
    pub tenant: Option<&'a str>,
    /// Estimated, of the whole request.
    pub tokens: u64,
}

/// A compiled cascade of steps. Immutable but for what it learns of the model that it asks.
pub(crate) struct Cascade {
    routes: Vec<Route>,
    /// Of `routes`.
    names: Vec<Arc<str>>,
    rules: Arc<Rules>,
    embedded: Option<Embedded>,
    asking: Option<Arc<Asking>>,
    default: Option<Arc<str>>,
    most: usize,
    inline: Inline,
}

impl Cascade {
    /// `place` is where the offer stands in the document; `known` says whether rules may use a name.
    pub fn compile(
        place: &str,
        offer: Offer<'_>,
        shared: &SharedSteps,
        known: impl Fn(&str) -> bool,
    ) -> Result<Cascade, SnapshotError> {
        let rules =
            Rules::compile(offer.rules, known).map_err(|error| SnapshotError(format!("{place}: {error}")))?;
        if offer.most == 0 {
            return refuse(format!("{place}: a choice of at most 0 chooses nothing"));
        }
        let unknown = |name: &&str| !offer.routes.iter().any(|route| route.name == **name);
        if let Some(name) = offer.default.filter(unknown) {
            return refuse(format!("{place}: the default names {name}, which is not there"));
        }
        let fit = |embedding: &Embedding| embedding.fit(&offer.routes);
        Ok(Cascade {
            names: offer.routes.iter().map(|route| route.name.as_str().into()).collect(),
            rules: Arc::new(rules),
            embedded: shared.embedding.as_ref().map(fit),
            asking: shared.asking.clone(),
            routes: offer.routes,
            default: offer.default.map(Into::into),
            most: offer.most,
            inline: Inline::default(),
        })
    }

    pub fn has_no_rules(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the same is chosen whatever is said.
    pub fn is_settled(&self) -> bool {
        self.rules.is_empty() && self.names.len() == 1 && self.default.is_some()
    }

    /// Who is to go on with a conversation in which somebody has answered already: only a model can judge that, and its
    /// word that nobody is needed is an answer.
    pub async fn go_on(
        &self,
        question: &Question<'_>,
        answers: &Answers,
        counters: &Counters,
        ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>,
    ) -> Decision {
        let mut draft = Draft::begin();
        let chosen = self.ask(question, answers, ask, &mut draft).await;
        draft.end(chosen.unwrap_or((Step::Default, Vec::new())), counters)
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The same steps over other routes: those that a request brings along. There is no default among them.
    pub fn over(&self, routes: Vec<Route>) -> Arc<Cascade> {
        self.inline.find(routes, |routes| self.compile_over(routes))
    }

    fn compile_over(&self, routes: Vec<Route>) -> Cascade {
        let embedded = self.embedded.as_ref().zip(inline::fitted(&routes));
        let embedded = embedded.map(|(embedded, routes)| embedded.over(&routes));
        Cascade {
            names: routes.iter().map(|route| route.name.as_str().into()).collect(),
            routes,
            rules: self.rules.clone(),
            embedded,
            asking: self.asking.clone(),
            default: None,
            most: self.most,
            inline: Inline::default(),
        }
    }

    /// Never fails: a step that cannot choose passes the question on. `ask` sends the body of a chat request to the model
    /// that it names and brings the body of the answer; it is dropped at the deadline.
    pub async fn choose(
        &self,
        question: &Question<'_>,
        answers: &Answers,
        counters: &Counters,
        ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>,
    ) -> Decision {
        let mut draft = Draft::begin();
        let chosen = match self.first(question, &mut draft) {
            Some(chosen) => Some(chosen),
            None => self.ask(question, answers, ask, &mut draft).await,
        };
        let default = || (Step::Default, self.default.iter().cloned().collect());
        draft.end(chosen.unwrap_or_else(default), counters)
    }

    /// The steps that ask nobody.
    fn first(&self, question: &Question<'_>, draft: &mut Draft) -> Option<(Step, Vec<Arc<str>>)> {
        let (turn, before) = question.turns.current();
        let facts = Facts {
            header: question.header,
            tenant: question.tenant,
            text: &turn,
            tokens: question.tokens,
            tools: question.turns.tools,
            images: question.turns.images,
        };
        if let Some(rule) = self.rules.find(&facts) {
            draft.rule = Some(rule.name.clone());
            return Some((Step::Rules, rule.r#use.clone()));
        }
        draft.passed.push((Step::Rules, if self.rules.is_empty() { Reason::Off } else { Reason::NoMatch }));
        if let ([only], Some(_)) = (self.names.as_slice(), &self.default) {
            return Some((Step::Only, vec![only.clone()]));
        }
        let Some(embedded) = self.embedded.as_ref().filter(|_| !self.names.is_empty()) else {
            draft.passed.push((Step::Embedded, Reason::Off));
            return None;
        };
        if turn.is_empty() {
            draft.passed.push((Step::Embedded, Reason::NoText));
            return None;
        }
        let earlier: Vec<_> = before
            .filter(|message| message.role == Role::User)
            .map(Message::said)
            .filter(|said| !said.trim().is_empty())
            .collect();
        // Oldest first.
        let thread: Vec<&str> = earlier.iter().rev().map(|said| &**said).collect();
        let scores = embedded.score(&Query { turn: &turn, thread: &thread });
        let told = scores.ranked.iter().take(TOLD);
        draft.candidates =
            told.filter_map(|(at, probability)| Some((self.names.get(*at)?.clone(), *probability))).collect();
        let fitting = match embedded.decide(&scores) {
            embedded::Decision::Chosen(fitting) => fitting,
            embedded::Decision::Abstained { .. } => Vec::new(),
        };
        if fitting.is_empty() {
            draft.passed.push((Step::Embedded, Reason::Abstained));
            return None;
        }
        // Several are chosen by a clause each, whatever the turn as a whole is about.
        let by_clauses = fitting.len() > 1;
        let of_turn = |route: usize| scores.ranked.iter().find(|(at, _)| *at == route).map(|(_, of)| *of);
        let chosen = likeliest(fitting, &scores.ranked, self.most);
        let decisive = |at: &usize| if by_clauses { scores.of_clauses(*at) } else { of_turn(*at) };
        draft.probabilities = chosen.iter().filter_map(decisive).collect();
        Some((Step::Embedded, self.named(&chosen)))
    }

    /// The step that asks a model.
    async fn ask(
        &self,
        question: &Question<'_>,
        answers: &Answers,
        ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>,
        draft: &mut Draft,
    ) -> Option<(Step, Vec<Arc<str>>)> {
        match self.asked(question, answers, ask).await {
            Ok((step, chosen)) => Some((step, self.named(&chosen))),
            Err(reason) => {
                draft.passed.push((Step::Model, reason));
                None
            }
        }
    }

    async fn asked(
        &self,
        question: &Question<'_>,
        answers: &Answers,
        ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>,
    ) -> Result<(Step, Vec<usize>), Reason> {
        let asking = self.asking.as_ref().filter(|_| !self.names.is_empty()).ok_or(Reason::Off)?;
        if question.turns.messages.is_empty() {
            return Err(Reason::NoText);
        }
        let asked =
            Asked { routes: &self.routes, turns: question.turns, most: self.most, tenant: question.tenant };
        asking.choose(&asked, answers, ask).await
    }

    fn named(&self, chosen: &[usize]) -> Vec<Arc<str>> {
        chosen.iter().filter_map(|at| self.names.get(*at).cloned()).collect()
    }
}

/// What becomes known of a decision on the way.
struct Draft {
    started: Instant,
    rule: Option<Arc<str>>,
    probabilities: Vec<f32>,
    candidates: Vec<(Arc<str>, f32)>,
    passed: Vec<(Step, Reason)>,
}

impl Draft {
    fn begin() -> Draft {
        Draft {
            started: Instant::now(),
            rule: None,
            probabilities: Vec::new(),
            candidates: Vec::new(),
            passed: Vec::new(),
        }
    }

    /// The decision, which is counted.
    fn end(self, (step, names): (Step, Vec<Arc<str>>), counters: &Counters) -> Decision {
        let Draft { started, rule, probabilities, candidates, passed } = self;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let decision = Decision { names, step, rule, probabilities, candidates, passed, micros };
        counters.count(&decision);
        decision
    }
}

/// At most `most` of the chosen, those that rank highest, in the order in which they were.
fn likeliest(mut chosen: Vec<usize>, ranked: &[(usize, f32)], most: usize) -> Vec<usize> {
    if chosen.len() > most {
        let best: Vec<usize> =
            ranked.iter().map(|(at, _)| *at).filter(|at| chosen.contains(at)).take(most).collect();
        chosen.retain(|at| best.contains(at));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_are_cut_by_rank_and_keep_their_order() {
        let ranked = [(2, 0.9), (0, 0.8), (1, 0.7), (3, 0.1)];
        assert_eq!(likeliest(vec![1, 0, 2], &ranked, 3), [1, 0, 2]);
        assert_eq!(likeliest(vec![1, 0, 2], &ranked, 2), [0, 2]);
        assert_eq!(likeliest(vec![1, 0, 2], &ranked, 1), [2]);
        assert!(likeliest(vec![1, 0], &ranked, 0).is_empty());
    }
}
