//! The embedded chooser from outside, over a small table of vectors that the tests make.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meseta_select::embedded::{Chooser, Decision, Embedder, Query};
use meseta_select::route::Route;
use proptest::prelude::*;

const DIMENSION: usize = 64;

/// A tokenizer with the first merges of the one of wordllama (MIT), made smaller for these tests.
fn tokenizer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/embedded/tokenizer.json")
}

/// Vectors without any meaning: texts are alike by the tokens they share.
fn embedder(test: &str) -> Arc<Embedder> {
    let rows = 1349;
    let mut file = Vec::new();
    let header = format!(
        r#"{{"t":{{"dtype":"F16","shape":[{rows},{DIMENSION}],"data_offsets":[0,{}]}}}}"#,
        rows * DIMENSION * 2
    );
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..rows * DIMENSION {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // From 0.5 to 1, and either sign.
        let half = 0x3800
            | u16::try_from(state >> 54).unwrap() & 0x3ff
            | if state >> 40 & 1 == 0 { 0 } else { 0x8000 };
        file.extend_from_slice(&half.to_le_bytes());
    }
    let path = std::env::temp_dir().join(format!("meseta-select-{}-{test}.safetensors", std::process::id()));
    fs::write(&path, file).unwrap();
    let embedder = Embedder::load(&path, &tokenizer());
    fs::remove_file(&path).unwrap();
    Arc::new(embedder.unwrap())
}

fn route(name: &str, description: &str, examples: &[&str]) -> Route {
    let examples = examples.iter().map(|example| (*example).to_owned()).collect();
    Route { name: name.to_owned(), description: description.to_owned(), examples }
}

fn travel(test: &str) -> Chooser {
    Chooser::fit(
        embedder(test),
        &[
            route(
                "weather",
                "Forecasts.",
                &["will it rain in oslo", "how warm is it today", "is there wind outside"],
            ),
            route(
                "flights",
                "Planes.",
                &["book a flight to rome", "find me a plane", "when does the plane depart"],
            ),
            route(
                "hotel_rooms",
                "Handles: beds, suites",
                &["reserve a room", "a double bed please", "is breakfast included"],
            ),
        ],
    )
}

fn chosen(chooser: &Chooser, turn: &str, thread: &[&str]) -> Vec<usize> {
    // Vectors as short as these are somewhat alike by chance.
    match chooser.score(&Query { turn, thread }).decide(0.5, 0.1) {
        Decision::Chosen(routes) => routes,
        Decision::Abstained { .. } => Vec::new(),
    }
}

#[test]
fn tokens_are_those_of_the_reference() {
    // Made with the Python package `tokenizers` from the same file; without the lone mark of the beginning of a word.
    let vectors = fs::read_to_string(tokenizer().with_file_name("tokens.json")).unwrap();
    let vectors: Vec<(String, Vec<u32>)> = serde_json::from_str(&vectors).unwrap();
    let embedder = embedder("tokens");
    assert!(vectors.len() > 200);
    for (word, tokens) in vectors {
        assert_eq!(embedder.tokens(&word), tokens, "{word:?}");
    }
}

#[test]
fn a_turn_goes_where_its_words_are() {
    let chooser = travel("words");
    assert_eq!(chosen(&chooser, "Will it rain in Rome?", &[]), [0]);
    assert_eq!(chosen(&chooser, "I need a flight", &[]), [1]);
    assert_eq!(chosen(&chooser, "two beds and a suite", &[]), [2]);
    assert_eq!(chosen(&chooser, "zzz qqq", &[]), Vec::<usize>::new());
    assert_eq!(chosen(&chooser, "", &[]), Vec::<usize>::new());
}

#[test]
fn a_follow_up_is_read_with_its_thread_and_a_clear_turn_without() {
    let chooser = travel("thread");
    assert_eq!(chosen(&chooser, "and then?", &[]), Vec::<usize>::new());
    assert_eq!(chosen(&chooser, "and then?", &["find me a plane", "Will it rain in Oslo?"]), [0]);
    assert_eq!(chosen(&chooser, "and then?", &["Will it rain in Oslo?", "book a flight to Rome"]), [1]);
    assert_eq!(chosen(&chooser, "reserve a room", &["Will it rain in Oslo?", "how warm is it today"]), [2]);
}

#[test]
fn several_requests_are_several_routes_in_their_order() {
    let chooser = travel("several");
    assert_eq!(chosen(&chooser, "Reserve a double room, then book a flight to Rome.", &[]), [2, 1]);
    assert_eq!(
        chosen(&chooser, "Will it rain in Oslo? Reserve a room there. Find me a plane.", &[]),
        [0, 2, 1]
    );
    assert_eq!(chosen(&chooser, "Book a flight to Rome and find me a plane.", &[]), [1]);
}

#[test]
fn the_same_routes_give_the_same_bits() {
    let [one, other] =
        ["first", "second"].map(|test| travel(test).score(&Query { turn: "a room in rome", thread: &[] }));
    let bits = |scores: meseta_select::embedded::Scores| -> Vec<(usize, u32)> {
        scores.ranked.into_iter().map(|(route, probability)| (route, probability.to_bits())).collect()
    };
    assert_eq!(bits(one), bits(other));
}

#[test]
fn thousands_of_routes_are_ranked() {
    let routes: Vec<Route> = (0..3000).map(|at| route(&format!("r{at}"), "", &["one", "two"])).collect();
    let chooser = Chooser::fit(embedder("thousands"), &routes);
    let scores = chooser.score(&Query { turn: "r1234", thread: &[] });
    assert_eq!(scores.ranked.len(), 3000);
    assert_eq!(scores.ranked[0].0, 1234);
}

#[test]
fn files_that_are_none_are_refused_by_name() {
    let missing = Path::new("no-such-file.safetensors");
    let error = Embedder::load(missing, &tokenizer()).unwrap_err().to_string();
    assert!(error.contains("no-such-file.safetensors"), "{error}");
    let error = Embedder::load(&tokenizer(), &tokenizer()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
}

fn any_route() -> impl Strategy<Value = Route> {
    let text = || prop_oneof![any::<String>(), "[a-zA-Z_ :,.-]{0,40}", Just(String::new())];
    (text(), text(), prop::collection::vec(text(), 0..4)).prop_map(|(name, description, examples)| Route {
        name,
        description,
        examples,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_routes_and_any_query_have_probabilities(
        routes in prop::collection::vec(any_route(), 0..12),
        turn in prop_oneof![any::<String>(), "[a-z .;]{0,80}"],
        thread in prop::collection::vec(any::<String>(), 0..5),
    ) {
        let chooser = Chooser::fit(SHARED.with(Arc::clone), &routes);
        let thread: Vec<&str> = thread.iter().map(String::as_str).collect();
        let scores = chooser.score(&Query { turn: &turn, thread: &thread });
        prop_assert_eq!(scores.ranked.len(), routes.len());
        let sum: f32 = scores.ranked.iter().map(|(_, probability)| *probability).sum();
        prop_assert!((0.0..=1.0001).contains(&sum), "{}", sum);
        prop_assert!(scores.ranked.iter().all(|(route, p)| *route < routes.len() && (0.0..=1.0).contains(p)));
        prop_assert!(scores.ranked.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        if let Decision::Chosen(several) = scores.decide(0.3, 0.05) {
            prop_assert!(!several.is_empty() && several.iter().all(|route| *route < routes.len()));
        }
    }

    #[test]
    fn any_file_is_refused_or_loaded(bytes in prop::collection::vec(any::<u8>(), 0..200), flip in 0..33_256_usize, to in any::<u8>()) {
        let path = std::env::temp_dir().join(format!("meseta-select-{}-any", std::process::id()));
        fs::write(&path, &bytes).unwrap();
        prop_assert!(Embedder::load(&path, &tokenizer()).is_err());
        let mut altered = fs::read(tokenizer()).unwrap();
        if let Some(byte) = altered.get_mut(flip) { *byte = to; }
        fs::write(&path, &altered).unwrap();
        // Whatever it says, it is no table of vectors.
        prop_assert!(Embedder::load(&path, &path).is_err());
    }
}

thread_local! {
    static SHARED: Arc<Embedder> = embedder("shared");
}
