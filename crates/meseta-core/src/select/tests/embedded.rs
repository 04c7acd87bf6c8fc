//! The embedded step, over an embedder that is small enough to be made here: a word is the letters that it has.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// The two files of an embedder, gone with the test.
struct Files(PathBuf);

impl Files {
    fn new() -> Files {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("meseta-letters-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = Files(folder);
        // The mark of the beginning of a word, and every byte: its vector is 1 in its own place, the mark's is 0.
        let vocabulary: serde_json::Map<String, Value> = [("\u{2581}".to_owned(), json!(0))]
            .into_iter()
            .chain((0..256).map(|byte| (format!("<0x{byte:02X}>"), json!(byte + 1))))
            .collect();
        let tokenizer = json!({"model": {"type": "BPE", "vocab": vocabulary, "merges": []}});
        fs::write(files.0.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let mut table = vec![0_u8; 257 * 256 * 2];
        for byte in 0..256 {
            let at = ((byte + 1) * 256 + byte) * 2;
            table[at..at + 2].copy_from_slice(&0x3c00_u16.to_le_bytes());
        }
        let header =
            json!({"embedding": {"dtype": "F16", "shape": [257, 256], "data_offsets": [0, table.len()]}})
                .to_string();
        let mut weights = (header.len() as u64).to_le_bytes().to_vec();
        weights.extend(header.bytes());
        weights.extend(table);
        fs::write(files.0.join("weights.safetensors"), weights).unwrap();
        files
    }

    fn chooser(&self, threshold: f32, model: bool) -> ChooserDocument {
        let file = |name: &str| self.0.join(name).display().to_string();
        let embedded = EmbeddedDocument {
            weights: file("weights.safetensors"),
            tokenizer: file("tokenizer.json"),
            threshold,
            margin: 0.1,
        };
        ChooserDocument { embedded: Some(embedded), ..super::chooser(model) }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn conversation(messages: &[(&str, &str)]) -> String {
    let messages: Vec<Value> =
        messages.iter().map(|(role, said)| json!({"role": role, "content": said})).collect();
    json!({"messages": messages}).to_string()
}

#[tokio::test]
async fn what_is_clear_is_chosen_without_asking_a_model() {
    let files = Files::new();
    let house =
        House::new(&["weather", "flights", "hotels"], &[], &files.chooser(0.5, true), Some("flights"));
    let decision = house.choose("weather", nobody_is_asked).await;
    assert_eq!((names(&decision), decision.step), (vec!["weather"], Step::Embedded));
    assert_eq!(decision.candidates.len(), 3);
    assert_eq!(&*decision.candidates[0].0, "weather");
    assert_eq!(decision.probabilities, [decision.candidates[0].1]);
    assert!(decision.probabilities[0] >= 0.5);
    assert_eq!(decision.passed, [(Step::Rules, Reason::Off)]);
    assert_eq!(house.count("embedded", "chosen"), 1);
}

#[tokio::test]
async fn of_several_each_is_told_with_what_the_clause_says_that_asks_for_it() {
    let files = Files::new();
    let house =
        House::new(&["weather", "flights", "hotels"], &[], &files.chooser(0.5, false), Some("hotels"));
    let alone = [house.choose("weather weather", nobody_is_asked).await, {
        house.choose("flights flights", nobody_is_asked).await
    }];
    let decision = house.choose("weather weather; flights flights", nobody_is_asked).await;
    assert_eq!((names(&decision), decision.step), (vec!["weather", "flights"], Step::Embedded));
    assert_eq!(decision.probabilities, [alone[0].probabilities[0], alone[1].probabilities[0]]);
    assert!(decision.probabilities.iter().all(|probability| *probability >= 0.5));
    // What the turn as a whole says of the second is less.
    let of_turn = decision.candidates.iter().find(|(name, _)| &**name == "flights");
    assert!(of_turn.is_some_and(|(_, of_turn)| *of_turn < decision.probabilities[1]));
}

#[tokio::test]
async fn what_is_unclear_is_left_to_the_model_and_then_to_the_default() {
    let files = Files::new();
    let house = House::new(&["weather", "flights"], &[], &files.chooser(0.5, true), Some("flights"));
    let decision = house.choose("zzz", async |_| answer("weather")).await;
    assert_eq!((names(&decision), decision.step), (vec!["weather"], Step::Model));
    assert_eq!(decision.passed.last(), Some(&(Step::Embedded, Reason::Abstained)));
    assert_eq!(decision.candidates.len(), 2, "what it thought is told all the same");
    let decision = house.choose("zzzz", async |_| Err(Unanswered::Failed)).await;
    assert_eq!((names(&decision), decision.step), (vec!["flights"], Step::Default));
    assert_eq!(house.count("embedded", "abstained"), 2);
}

#[tokio::test]
async fn the_thread_tells_what_an_unclear_turn_is_about() {
    let files = Files::new();
    let house = House::new(&["weather", "flights"], &[], &files.chooser(0.2, false), None);
    let choose = async |messages: &[(&str, &str)]| {
        house.choose_of(&house.cascade, None, &conversation(messages), nobody_is_asked).await
    };
    let turns = [
        ("user", "flights"),
        ("assistant", "Rain."),
        ("user", "weather"),
        ("assistant", "Sun."),
        ("user", "zzz"),
    ];
    assert_eq!(names(&choose(&turns).await), ["weather"], "the latest of the thread counts most");
    let turns = [("user", "weather"), ("assistant", "Sun."), ("user", "flights")];
    assert_eq!(names(&choose(&turns).await), ["flights"], "a clear turn needs no thread");
}

#[tokio::test]
async fn routes_of_a_request_are_fitted_unless_they_are_many() {
    let files = Files::new();
    let house = House::new(&["weather", "flights"], &[], &files.chooser(0.5, false), None);
    let body = conversation(&[("user", "poems")]);
    let inline = house.cascade.over(routes(&["poems", "code"]));
    let decision = house.choose_of(&inline, None, &body, nobody_is_asked).await;
    assert_eq!((names(&decision), decision.step), (vec!["poems"], Step::Embedded));
    // Of many examples a few are fitted, and the model would be shown all.
    let mut taught = routes(&["poems", "code"]);
    taught[1].examples = (0..500).map(|at| format!("code {at}")).collect();
    let taught = house.cascade.over(taught);
    assert_eq!(taught.routes()[1].examples.len(), 500);
    assert_eq!(house.choose_of(&taught, None, &body, nobody_is_asked).await.step, Step::Embedded);
    let many: Vec<String> = (0..100).map(|at| format!("poems {at}")).collect();
    let many = house.cascade.over(routes(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let decision = house.choose_of(&many, None, &body, nobody_is_asked).await;
    assert_eq!(
        decision.passed,
        [(Step::Rules, Reason::Off), (Step::Embedded, Reason::Off), (Step::Model, Reason::Off)]
    );
}

#[test]
fn the_files_are_read_once_for_all_that_use_them() {
    let files = Files::new();
    let embedders = Embedders::default();
    let settings = files.chooser(0.5, false).embedded.unwrap();
    let load = |weights: &str| embedders.load(weights, &settings.tokenizer);
    let first = load(&settings.weights).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &load(&settings.weights).unwrap()));
    let nowhere = format!("{}.gone", settings.weights);
    let error = load(&nowhere).unwrap_err().to_string();
    assert!(error.contains("chooser.embedded: ") && error.contains(&nowhere), "{error}");
}
