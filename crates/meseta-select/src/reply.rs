//! What a model answered, read tolerantly.

mod lenient;

use std::fmt;

use meseta_wire::json::Json;

use lenient::Value;

/// Bytes that are looked at. Whoever says more before the answer gets its end read.
const READ_BYTES: usize = 16 * 1024;
/// Places at which something in the text may begin to be JSON.
const ATTEMPTS: usize = 64;
/// Keys under which models put what they choose.
const KEYS: [&str; 6] = ["route", "routes", "agent", "agents", "name", "names"];
/// How models say that they choose nothing.
const NOTHING: [&str; 6] = ["", "none", "null", "nobody", "no route", "n/a"];

/// The answer says neither what it chooses nor that it chooses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the model's answer names no routes and does not say that there are none")
    }
}

impl std::error::Error for Unreadable {}

/// What a model said in an answer of OpenAI's chat dialect.
pub fn content(answer: &[u8]) -> Result<String, Unreadable> {
    let text = std::str::from_utf8(answer).map_err(|_| Unreadable)?;
    let answer = Json::parse(text).map_err(|_| Unreadable)?;
    let choices = answer.get("choices").and_then(Json::as_array);
    let choice = choices.and_then(<[_]>::first).ok_or(Unreadable)?;
    let said = match choice.get("message").and_then(|message| message.get("content")) {
        Some(Json::String(text)) => text.clone().into_owned(),
        Some(Json::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Json::as_str)).collect()
        }
        _ => return Err(Unreadable),
    };
    // A model that was cut off while it thought has not said that nothing fits.
    let stopped = choice.get("finish_reason").and_then(Json::as_str).is_none_or(|reason| reason == "stop");
    if said.trim().is_empty() && !stopped { Err(Unreadable) } else { Ok(said) }
}

/// The routes that a model names, as places in `names`, in its order, each once, at most `most`. Empty where it chooses
/// none, or only what there is not.
pub fn read(said: &str, names: &[&str], most: usize) -> Result<Vec<usize>, Unreadable> {
    let said = answer_of(said);
    let mut chosen = Vec::new();
    for name in named(said, names)? {
        let Some(at) = find(&name, names) else { continue };
        if chosen.len() < most && !chosen.contains(&at) {
            chosen.push(at);
        }
    }
    Ok(chosen)
}

/// Without what a model thought first, and no more than its end.
fn answer_of(said: &str) -> &str {
    let said = said.rsplit_once("</think>").map_or(said, |(_, answer)| answer);
    let mut from = said.len().saturating_sub(READ_BYTES);
    while !said.is_char_boundary(from) {
        from += 1;
    }
    said.get(from..).unwrap_or_default().trim()
}

/// What the text names, known or not. JSON first, wherever it stands, and an object before an array: the last one, as that
/// is what the model came to. Then names that stand there by themselves.
fn named(said: &str, names: &[&str]) -> Result<Vec<String>, Unreadable> {
    let (mut object, mut array) = (None, None);
    let mut at = 0;
    for _ in 0..ATTEMPTS {
        let rest = said.get(at..).unwrap_or_default();
        let Some(begin) = rest.find(['{', '[']) else { break };
        at += begin;
        let Some((value, end)) = lenient::read(said.get(at..).unwrap_or_default()) else {
            at += 1;
            continue;
        };
        at += end;
        match &value {
            Value::Object(fields) => object = of_object(fields, names).or(object),
            _ => array = of_value(&value, names).or(array),
        }
    }
    object.or(array).or_else(|| by_themselves(said, names)).ok_or(Unreadable)
}

fn of_object(fields: &[(String, Value)], names: &[&str]) -> Option<Vec<String>> {
    if fields.is_empty() {
        return Some(Vec::new());
    }
    let asked = |(key, _): &&(String, Value)| KEYS.iter().any(|known| key.eq_ignore_ascii_case(known));
    fields.iter().find(asked).and_then(|(_, value)| of_value(value, names))
}

/// The names in a value; `None` where it is nothing of the kind.
fn of_value(value: &Value, names: &[&str]) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Text(text) => Some(of_text(text, names)),
        Value::Array(items) => {
            let name = |item: &Value| match item {
                Value::Text(text) => Some(text.clone()),
                Value::Object(fields) => of_object(fields, names)?.into_iter().next(),
                _ => None,
            };
            let found: Vec<String> = items.iter().filter_map(name).collect();
            (items.is_empty() || !found.is_empty()).then_some(found)
        }
        Value::Object(fields) => of_object(fields, names),
        Value::Other => None,
    }
}

/// The names in a text that stands where names should: a list that was quoted as a whole, too.
fn of_text(text: &str, names: &[&str]) -> Vec<String> {
    let quoted = || match lenient::read(text.trim())?.0 {
        Value::Array(items) => of_value(&Value::Array(items), names),
        _ => None,
    };
    let parts = || text.split(',').map(|part| part.trim().to_owned()).collect();
    by_themselves(text, names).or_else(quoted).unwrap_or_else(parts)
}

/// A text that is a name, a list of names, or says that there is none.
fn by_themselves(text: &str, names: &[&str]) -> Option<Vec<String>> {
    let bare = |text: &str| -> String {
        let end = |character: char| character.is_whitespace() || "\"'`*.:-•“”‘’".contains(character);
        text.trim_matches(end).to_owned()
    };
    let is_nothing = |text: &str| NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing));
    // A name may have commas in it, and what is trimmed away otherwise.
    if find(text, names).is_some() {
        return Some(vec![text.to_owned()]);
    }
    let parts: Vec<String> = text
        .split([',', '\n'])
        .map(bare)
        .filter(|part| !is_nothing(part) || find(part, names).is_some())
        .collect();
    let whole = parts.iter().all(|part| find(part, names).is_some());
    whole.then_some(parts)
}

/// The name that was meant: the same, or the same but for upper case, spaces, lines and the kind of its apostrophes.
fn find(said: &str, names: &[&str]) -> Option<usize> {
    let exact = names.iter().position(|name| *name == said);
    exact.or_else(|| {
        let said = folded(said);
        names.iter().position(|name| folded(name) == said)
    })
}

fn folded(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_whitespace() && !matches!(character, '_' | '-'))
        .map(|character| if matches!(character, '’' | '‘') { '\'' } else { character })
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 6] = ["weather", "Code generation", "driver's license", "C++", "c", "flights, cheap"];

    fn chosen(said: &str) -> Result<Vec<&'static str>, Unreadable> {
        read(said, &NAMES, 4).map(|chosen| chosen.into_iter().map(|at| NAMES[at]).collect())
    }

    #[test]
    fn the_names_are_found_in_whatever_form() {
        for (said, expected) in [
            (r#"{"route": ["weather"]}"#, &["weather"][..]),
            (r#"{"route": ["Code generation", "weather"]}"#, &["Code generation", "weather"]),
            (r#"{"routes":["weather"]}"#, &["weather"]),
            (r#"{"route": "weather"}"#, &["weather"]),
            (r#"{"route": "weather, code generation"}"#, &["weather", "Code generation"]),
            (r#"{"route": "weather, nonsense"}"#, &["weather"]),
            (r#"{"Route": "flights, cheap"}"#, &["flights, cheap"]),
            (r#"{"reason": "it is {about} rain", "route": ["weather"]}"#, &["weather"]),
            (r#"{{"route": ["weather"]}}"#, &["weather"]),
            ("```json\n{\"route\": [\"weather\"]}\n```", &["weather"]),
            ("{'route': ['Code generation']}\\n", &["Code generation"]),
            ("{'route': ['driver's license', 'weather']}", &["driver's license", "weather"]),
            (r#"{"route": ["driver’s license"]}"#, &["driver's license"]),
            ("{“route”: [“weather”]}", &["weather"]),
            ("{route: [weather, Code generation]}", &["weather", "Code generation"]),
            ("{\"route\": [\"weather\",],}", &["weather"]),
            ("{\\n  \"route\": [\\n \"weather\"]\\n}", &["weather"]),
            (r#"{"route": "[\"weather\"]"}"#, &["weather"]),
            (r#"{"routes": [{"name": "weather", "score": 0.9}, {"name": "c"}]}"#, &["weather", "c"]),
            (r#"["weather", "c"]"#, &["weather", "c"]),
            ("The user wants rain, so: {\"route\": [\"weather\"]} because [c] is for code.", &["weather"]),
            ("Not {\"route\": [\"c\"]} but {\"route\": [\"weather\"]}.", &["weather"]),
            ("<think>Maybe {\"route\": [\"c\"]}?</think>\n{\"route\": [\"weather\"]}", &["weather"]),
            ("weather", &["weather"]),
            ("**Weather**.", &["weather"]),
            ("- weather\n- `C++`\n", &["weather", "C++"]),
            ("code_generation", &["Code generation"]),
            (r#"{"route": ["CODE_GENERATION", "Code-Generation", "code generation"]}"#, &["Code generation"]),
            // What differs by more than that is another name.
            (r#"{"route": ["c++"]}"#, &["C++"]),
            (r#"{"route": ["C"]}"#, &["c"]),
            // What is not there is left out.
            (r#"{"route": ["nonsense", "weather", 7, null]}"#, &["weather"]),
        ] {
            assert_eq!(chosen(said).as_deref(), Ok(expected), "{said}");
        }
    }

    #[test]
    fn nobody_can_be_chosen() {
        for said in [
            r#"{"route": []}"#,
            r#"{"route": null}"#,
            r#"{"route": ""}"#,
            r#"{"route": "none"}"#,
            r#"{"route": ["nonsense"]}"#,
            "{}",
            "[]",
            "",
            " \n",
            "None.",
            "```\n{'route': None}\n```",
        ] {
            assert_eq!(chosen(said), Ok(vec![]), "{said}");
        }
    }

    #[test]
    fn what_says_neither_is_unreadable() {
        for said in [
            r#"{"route": ["weather""#,
            "I cannot help with that.",
            "weather is not what this is about",
            r#"{"error": "overloaded"}"#,
            r#"{"route": 7}"#,
            "<html><body>502</body></html>",
            "[[[[[[[[[[[[[[[[",
            "{",
        ] {
            assert_eq!(chosen(said), Err(Unreadable), "{said}");
        }
    }

    #[test]
    fn no_more_than_asked_for_and_each_once() {
        let said = r#"{"route": ["weather", "weather", "c", "C++", "Code generation"]}"#;
        assert_eq!(read(said, &NAMES, 2), Ok(vec![0, 4]));
        assert_eq!(read(said, &NAMES, 9), Ok(vec![0, 4, 3, 1]));
        assert_eq!(read(said, &["weather", "Weather"], 9), Ok(vec![0]));
        assert_eq!(read(r#"["Weather"]"#, &["weather", "Weather"], 9), Ok(vec![1]));
    }

    #[test]
    fn an_answer_at_the_end_of_much_talk_is_found() {
        let said = format!("{}{{\"route\": [\"weather\"]}}", "I think so. ".repeat(100_000));
        assert_eq!(chosen(&said).as_deref(), Ok(&["weather"][..]));
    }

    #[test]
    fn the_content_of_an_answer_is_text_or_parts() {
        for (answer, expected) in [
            (r#"{"choices":[{"message":{"role":"assistant","content":"weather"}}]}"#, Ok("weather")),
            (
                r#"{"choices":[{"message":{"content":[{"type":"text","text":"wea"},{"text":"ther"}]}}]}"#,
                Ok("weather"),
            ),
            (r#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#, Err(Unreadable)),
            (r#"{"choices":[{"finish_reason":"stop","message":{"content":""}}]}"#, Ok("")),
            (r#"{"choices":[{"finish_reason":"length","message":{"content":""}}]}"#, Err(Unreadable)),
            (r#"{"choices":[]}"#, Err(Unreadable)),
            (r#"{"error":{"message":"no"}}"#, Err(Unreadable)),
            ("<html>", Err(Unreadable)),
        ] {
            assert_eq!(
                content(answer.as_bytes()).as_deref(),
                expected.as_ref().map(|text| *text),
                "{answer}"
            );
        }
        assert_eq!(content(b"\xff"), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(said in ".{0,200}") {
            let _ = (chosen(&said), content(said.as_bytes()));
        }

        #[test]
        fn any_text_like_an_answer_is_read_without_a_panic(
            said in r#"(\{?['"]?route['"]?: ?)?[\[\]{}"'“’,:\\ a-z0-9\n]{0,60}"#,
        ) {
            if let Ok(chosen) = read(&said, &NAMES, 4) {
                prop_assert!(chosen.len() <= 4);
                prop_assert!(chosen.iter().all(|at| *at < NAMES.len()));
            }
        }

        /// What a correct answer says arrives as it was said, whatever the names are.
        #[test]
        fn a_correct_answer_is_understood(
            names in prop::collection::vec("[^\u{0}-\u{1f}]{1,12}", 1..6),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            python in any::<bool>(),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let picks: Vec<usize> = picks.iter().map(|index| index.index(names.len())).collect();
            let said: Vec<&str> = picks.iter().map(|at| names[*at]).collect();
            let said = if python && !names.iter().any(|name| name.contains(['\'', '\\', '’', '‘', '"'])) {
                let quoted: Vec<String> = said.iter().map(|name| format!("'{name}'")).collect();
                format!("{{'route': [{}]}}", quoted.join(", "))
            } else {
                serde_json::json!({ "route": said }).to_string()
            };
            // A thinking model's word in a name is not to be told from its thoughts.
            prop_assume!(!said.contains("</think>"));
            let mut expected = Vec::new();
            for pick in picks {
                let first = names.iter().position(|name| *name == names[pick]).unwrap();
                if !expected.contains(&first) {
                    expected.push(first);
                }
            }
            prop_assert_eq!(read(&said, &names, 9), Ok(expected), "{}", said);
        }
    }
}
