use crate::select::settings::{EmbeddedDocument, PromptKind};
use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use meseta_select::route::Route;
use meseta_select::rules::RuleSettings;
use meseta_select::turns::Turns;
use meseta_wire::dialect::Dialect;
use meseta_wire::json::Json;
use serde_json::{Value, json};
use tokio::time::advance;

use super::*;

mod embedded;
mod together;
mod unreadable;

const DEADLINE: Duration = Duration::from_secs(2);
const KEEP: Duration = Duration::from_secs(300);

/// A cascade, and all that it needs of a plane.
struct House {
    cascade: Cascade,
    answers: Answers,
    counters: Counters,
}

fn routes(names: &[&str]) -> Vec<Route> {
    names
        .iter()
        .map(|name| Route {
            name: (*name).to_owned(),
            description: format!("all of {name}"),
            examples: vec![],
        })
        .collect()
}

fn chooser(model: bool) -> ChooserDocument {
    let model = model.then(|| {
        json!({"model": "fast", "prompt": "structured", "deadline_ms": 2000, "context_tokens": 8192,
            "cache_entries": 8, "cache_ms": 300_000})
    });
    let document = json!({"rules": [], "embedded": null, "model": model, "user_turns_only": false});
    serde_json::from_value(document).unwrap()
}

fn rule(name: &str, r#use: &[&str], when: &Value) -> RuleSettings {
    let mut given = json!({"headers": {}, "tags": [], "tenants": [], "text": null, "min_tokens": null,
        "max_tokens": null, "tools": null, "images": null});
    for (key, value) in when.as_object().unwrap() {
        given[key] = value.clone();
    }
    serde_json::from_value(json!({"name": name, "priority": 0, "use": r#use, "when": given})).unwrap()
}

fn steps(chooser: &ChooserDocument) -> SharedSteps {
    SharedSteps::compile(chooser, &Embedders::default()).unwrap()
}

impl House {
    fn new(
        names: &[&str],
        rules: &[RuleSettings],
        chooser: &ChooserDocument,
        default: Option<&str>,
    ) -> House {
        House::of(names, rules, &steps(chooser), default)
    }

    fn of(names: &[&str], rules: &[RuleSettings], steps: &SharedSteps, default: Option<&str>) -> House {
        let offer = Offer { routes: routes(names), rules, default, most: 3 };
        let cascade = Cascade::compile("test", offer, steps, |_| true).unwrap();
        House { cascade, answers: Answers::default(), counters: Counters::default() }
    }

    /// Three agents, of which the first is the default, and a model that is asked.
    fn agents() -> House {
        House::new(&["weather", "flights", "hotels"], &[], &chooser(true), Some("weather"))
    }

    async fn choose(&self, said: &str, ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>) -> Decision {
        let body = json!({"messages": [{"role": "user", "content": said}]}).to_string();
        self.choose_of(&self.cascade, Some("acme"), &body, ask).await
    }

    async fn choose_of(
        &self,
        cascade: &Cascade,
        tenant: Option<&str>,
        body: &str,
        ask: impl AsyncFnMut(Bytes) -> Result<Bytes, Unanswered>,
    ) -> Decision {
        let json = Json::parse(body).unwrap();
        let turns = Turns::read(Dialect::OpenaiChat, &json);
        let header = |name: &str, asked: &dyn Fn(&str) -> bool| name == "x-plan" && asked("gold");
        let question = Question { turns: &turns, header: &header, tenant, tokens: 10 };
        cascade.choose(&question, &self.answers, &self.counters, ask).await
    }

    fn count(&self, step: &str, outcome: &str) -> u64 {
        self.counters.read().find(|(a, b, _)| (*a, *b) == (step, outcome)).map_or(0, |(_, _, count)| count)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for what a model answers")]
fn answer(said: &str) -> Result<Bytes, Unanswered> {
    Ok(json!({"choices": [{"message": {"role": "assistant", "content": said}}]}).to_string().into())
}

async fn nobody_is_asked(body: Bytes) -> Result<Bytes, Unanswered> {
    panic!("asked: {body:?}")
}

fn names(decision: &Decision) -> Vec<&str> {
    decision.names.iter().map(|name| &**name).collect()
}

#[tokio::test]
async fn a_rule_goes_before_all_else() {
    let rules = [
        rule(
            "gold",
            &["hotels", "flights", "weather", "fast"],
            &json!({"headers": {"x-plan": "^gold$"}, "text": "stay"}),
        ),
        rule("long", &["weather"], &json!({"min_tokens": 1000})),
    ];
    let house = House::new(&["weather", "flights"], &rules, &chooser(true), Some("weather"));
    let decision = house.choose("a place to stay", nobody_is_asked).await;
    assert_eq!(names(&decision), ["hotels", "flights", "weather", "fast"]);
    assert_eq!((decision.step, decision.rule.as_deref()), (Step::Rules, Some("gold")));
    assert_eq!(decision.passed, []);
    assert_eq!(house.count("rules", "chosen"), 1);

    let decision = house.choose("fly", async |_| answer("flights")).await;
    assert_eq!((names(&decision), decision.step), (vec!["flights"], Step::Model));
    assert_eq!(decision.passed, [(Step::Rules, Reason::NoMatch), (Step::Embedded, Reason::Off)]);
    assert_eq!(house.count("rules", "no_match"), 1);
}

#[tokio::test]
async fn where_there_is_no_choice_nobody_is_asked() {
    let house = House::new(&["weather"], &[], &chooser(true), Some("weather"));
    let decision = house.choose("anything", nobody_is_asked).await;
    assert_eq!((names(&decision), decision.step), (vec!["weather"], Step::Only));
    // A single preference is a choice: the model that the client named is the other.
    let house = House::new(&["code"], &[], &chooser(true), None);
    let decision = house.choose("hello", async |_| answer(r#"{"routes": []}"#)).await;
    assert_eq!((names(&decision), decision.step), (vec![], Step::Default));
    let house = House::new(&[], &[], &chooser(true), None);
    assert_eq!(house.choose("hello", nobody_is_asked).await.step, Step::Default);
}

#[tokio::test]
async fn several_are_chosen_in_the_order_of_the_answer() {
    let house = House::agents();
    let asked = RefCell::new(Vec::new());
    let decision = house
        .choose("book a hotel, then a flight", async |body| {
            asked.borrow_mut().push(serde_json::from_slice::<Value>(&body).unwrap());
            answer(r#"{"routes": ["hotels", "flights", "hotels", "cars"]}"#)
        })
        .await;
    assert_eq!((names(&decision), decision.step), (vec!["hotels", "flights"], Step::Model));
    let asked = asked.into_inner();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["model"], "fast");
    assert!(asked[0]["messages"][1]["content"].as_str().unwrap().contains("book a hotel, then a flight"));
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_the_model_there_is_a_decision() {
    type Ask = fn() -> Result<Bytes, Unanswered>;
    let cases: [(Reason, Ask); 7] = [
        (Reason::Failed, || Err(Unanswered::Failed)),
        (Reason::Failed, || Err(Unanswered::Refused)),
        (Reason::Unreadable, || Ok(Bytes::from_static(b"<html>502</html>"))),
        (Reason::Unreadable, || answer("As a language model I cannot choose.")),
        (Reason::Unreadable, || Ok(Bytes::from_static(b"\xff\xfe"))),
        (Reason::Nobody, || answer(r#"{"routes": []}"#)),
        (Reason::Nobody, || answer(r#"{"routes": ["trains"]}"#)),
    ];
    for (reason, given) in cases {
        for default in [Some("flights"), None] {
            let house = House::new(&["weather", "flights"], &[], &chooser(true), default);
            let decision = house.choose("hello", async |_| given()).await;
            assert_eq!(names(&decision), Vec::from_iter(default), "{reason:?}");
            assert_eq!(decision.step, Step::Default);
            assert_eq!(decision.passed.last(), Some(&(Step::Model, reason)));
            assert_eq!(house.count("model", reason.as_str()), 1);
            assert_eq!(house.count("default", "chosen"), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_hangs_is_left_at_the_deadline() {
    let house = House::agents();
    let begun = tokio::time::Instant::now();
    let decision = house.choose("hello", async |_| std::future::pending().await).await;
    assert_eq!((names(&decision), decision.step), (vec!["weather"], Step::Default));
    assert_eq!(decision.passed.last(), Some(&(Step::Model, Reason::Late)));
    // Of the paused clock: exactly when the deadline says.
    assert!(begun.elapsed() >= DEADLINE && begun.elapsed() < DEADLINE * 2);
}

#[tokio::test(start_paused = true)]
async fn both_tries_are_within_one_deadline() {
    let house = House::agents();
    let asked = Cell::new(0);
    let decision = house
        .choose("hello", async |_| {
            asked.set(asked.get() + 1);
            tokio::time::sleep(DEADLINE * 2 / 3).await;
            Err(Unanswered::Refused)
        })
        .await;
    assert_eq!(asked.get(), 2);
    assert_eq!(decision.passed.last(), Some(&(Step::Model, Reason::Late)));
}

#[tokio::test]
async fn a_server_that_refuses_the_form_is_asked_in_plain_words_from_then_on() {
    let house = House::agents();
    let forms = RefCell::new(Vec::new());
    let ask = async |body: Bytes| {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let enforced = body.get("response_format").is_some();
        forms.borrow_mut().push(enforced);
        if enforced { Err(Unanswered::Refused) } else { answer("flights") }
    };
    for said in ["one", "two"] {
        assert_eq!(names(&house.choose(said, ask).await), ["flights"]);
    }
    assert_eq!(forms.into_inner(), [true, false, false]);
}

#[tokio::test]
async fn planos_weights_are_asked_once_in_their_own_words() {
    let mut settings = chooser(true);
    settings.model.as_mut().unwrap().prompt = PromptKind::Plano;
    let house = House::new(&["weather", "flights"], &[], &settings, None);
    let asked = Cell::new(0);
    let ask = async |body: Bytes| {
        asked.set(asked.get() + 1);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body["messages"][0]["content"].as_str().unwrap().contains("{{\"route\": ["));
        Err(Unanswered::Refused)
    };
    house.choose("hello", ask).await;
    assert_eq!(asked.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_question_of_the_same_tenant_is_answered_from_the_cache() {
    let house = House::agents();
    let asked = Cell::new(0);
    let ask = async |_: Bytes| {
        asked.set(asked.get() + 1);
        answer(r#"{"routes": ["hotels"]}"#)
    };
    let body = |said: &str| json!({"messages": [{"role": "user", "content": said}]}).to_string();
    for (tenant, said, step, calls) in [
        (Some("acme"), "a bed", Step::Model, 1),
        (Some("acme"), "a bed", Step::Cached, 1),
        (Some("zeta"), "a bed", Step::Model, 2),
        (Some("acme"), "a bunk", Step::Model, 3),
    ] {
        let decision = house.choose_of(&house.cascade, tenant, &body(said), ask).await;
        assert_eq!((names(&decision), decision.step), (vec!["hotels"], step));
        assert_eq!(asked.get(), calls);
    }
    // Other routes are another question.
    let other = House::new(&["hotels", "inns"], &[], &chooser(true), None).cascade;
    assert_eq!(house.choose_of(&other, Some("acme"), &body("a bed"), ask).await.step, Step::Model);
    advance(KEEP).await;
    assert_eq!(house.choose_of(&house.cascade, Some("acme"), &body("a bed"), ask).await.step, Step::Model);
    assert_eq!((house.count("cached", "chosen"), house.count("model", "chosen")), (1, 5));
}

#[tokio::test]
async fn that_nothing_fits_is_kept_and_what_failed_is_not() {
    let house = House::agents();
    let asked = Cell::new(0);
    for (said, given, calls) in [
        ("a", answer("none"), 1),
        ("a", answer("none"), 1),
        ("b", Err(Unanswered::Failed), 2),
        ("b", Err(Unanswered::Failed), 3),
    ] {
        let decision = house
            .choose(said, async |_| {
                asked.set(asked.get() + 1);
                given.clone()
            })
            .await;
        assert_eq!((decision.step, asked.get()), (Step::Default, calls), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_keeps_failing_rests_and_is_tried_again() {
    let house = House::agents();
    let asked = Cell::new(0);
    let fail = async |_: Bytes| {
        asked.set(asked.get() + 1);
        Err(Unanswered::Failed)
    };
    for _ in 0..9 {
        assert_eq!(names(&house.choose("hello", fail).await), ["weather"]);
    }
    assert_eq!((asked.get(), house.count("model", "failed"), house.count("model", "resting")), (5, 5, 4));
    advance(Duration::from_secs(10)).await;
    for _ in 0..3 {
        house.choose("hello", fail).await;
    }
    assert_eq!(asked.get(), 6);
    advance(Duration::from_secs(10)).await;
    for said in ["one", "two"] {
        assert_eq!(house.choose(said, async |_| answer("hotels")).await.step, Step::Model);
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_rests_for_all_that_ask_it() {
    let steps = steps(&chooser(true));
    let [one, other] = [["weather", "flights"], ["code", "poems"]]
        .map(|names| House::of(&names, &[], &steps, Some(names[0])));
    for _ in 0..5 {
        one.choose("hello", async |_| Err(Unanswered::Failed)).await;
    }
    let decision = other.choose("hello", nobody_is_asked).await;
    assert_eq!(decision.passed.last(), Some(&(Step::Model, Reason::Resting)));
}

#[tokio::test]
async fn without_a_word_nothing_is_asked() {
    let house = House::agents();
    let image = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}"#;
    let decision = house.choose_of(&house.cascade, None, image, nobody_is_asked).await;
    assert_eq!(names(&decision), ["weather"]);
    assert_eq!(decision.passed.last(), Some(&(Step::Model, Reason::NoText)));
}

#[tokio::test]
async fn routes_of_a_request_take_the_place_of_the_configured_ones() {
    let rules = [rule("gold", &["weather"], &json!({"text": "rule me"}))];
    let house = House::new(&["weather", "flights"], &rules, &chooser(true), None);
    let inline = house.cascade.over(routes(&["poems", "code"]));
    assert!(std::sync::Arc::ptr_eq(&inline, &house.cascade.over(routes(&["poems", "code"]))));
    let body = |said: &str| json!({"messages": [{"role": "user", "content": said}]}).to_string();
    let decision = house.choose_of(&inline, None, &body("write"), async |_| answer("code, flights")).await;
    assert_eq!(decision.passed.last(), Some(&(Step::Model, Reason::Unreadable)));
    let decision = house.choose_of(&inline, None, &body("write both"), async |_| answer("code, poems")).await;
    assert_eq!(names(&decision), ["code", "poems"]);
    let decision = house.choose_of(&inline, None, &body("rule me"), nobody_is_asked).await;
    assert_eq!(names(&decision), ["weather"]);
    // The sets that are kept are few, and none is large.
    for at in 0..40 {
        house.cascade.over(routes(&[&format!("route {at}")]));
    }
    assert!(!std::sync::Arc::ptr_eq(&inline, &house.cascade.over(routes(&["poems", "code"]))));
    let large = routes(&[&"x".repeat(100_000)]);
    assert!(!std::sync::Arc::ptr_eq(&house.cascade.over(large.clone()), &house.cascade.over(large)));
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |offer: Offer<'_>| {
        let known = |name: &str| name != "gone";
        let compiled = Cascade::compile("listener assistant", offer, &SharedSteps::default(), known);
        compiled.err().expect("a refusal").to_string()
    };
    let offer = |rules, default| Offer { routes: routes(&["a"]), rules, default, most: 1 };
    let rules = [rule("mine", &["gone"], &json!({}))];
    let error = refused(offer(&rules, None));
    assert!(error.contains("listener assistant: the rule mine: `use` names gone"), "{error}");
    let error = refused(offer(&[], Some("b")));
    assert!(error.contains("listener assistant: the default names b"), "{error}");
    let error = refused(Offer { most: 0, ..offer(&[], None) });
    assert!(error.contains("at most 0"), "{error}");
    let mut settings = chooser(false);
    for threshold in [1.5, f32::NAN] {
        settings.embedded = Some(EmbeddedDocument {
            weights: "/nowhere/weights".to_owned(),
            tokenizer: "/nowhere/tokenizer".to_owned(),
            threshold,
            margin: 0.1,
        });
        let compiled = SharedSteps::compile(&settings, &Embedders::default());
        let error = compiled.err().expect("a refusal").to_string();
        assert!(error.contains("between 0 and 1"), "{error}");
    }
}

#[test]
fn settings_are_read_as_the_document_has_them() {
    let text = json!({
        "rules": [], "user_turns_only": true,
        "embedded": {"weights": "/w", "tokenizer": "/t", "threshold": 0.5, "margin": 0.25},
        "model": {"model": "fast", "prompt": "plano", "deadline_ms": 2000, "context_tokens": 8192,
            "cache_entries": 1024, "cache_ms": 300_000},
    });
    let document: ChooserDocument = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), text);
    let preference =
        json!({"name": "n", "description": "d", "examples": [], "models": ["m"], "prefer": "cheapest"});
    let document: PreferenceDocument = serde_json::from_value(preference.clone()).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), preference);
    let mut unknown = preference;
    unknown["prefers"] = json!("cheapest");
    assert!(serde_json::from_value::<PreferenceDocument>(unknown).is_err());
}
