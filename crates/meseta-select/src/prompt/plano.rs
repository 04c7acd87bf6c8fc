//! The prompt of Plano-Orchestrator. Its weights were tuned on this very text, so it stands here byte for byte as Plano
//! 0.4.36 sends it (Apache-2.0, Katanemo Labs), the doubled braces of its example included. They are no mistake of ours.

use meseta_wire::json::{Fields, Json};
use meseta_wire::object;
use serde::Serialize;
use serde_json::Number;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::prompt::Question;
use crate::prompt::history::{Line, TOKEN_BYTES, fit};
use crate::route::Route;

const BEFORE_ROUTES: &str = "
You are a helpful assistant that selects the most suitable routes based on user intent.
You are provided with a list of available routes enclosed within <routes></routes> XML tags:
<routes>
";

const BEFORE_CONVERSATION: &str = "
</routes>

You are also given the conversation context enclosed within <conversation></conversation> XML tags:
<conversation>
";

const BEHIND: &str = r#"
</conversation>

## Instructions
1. Analyze the latest user intent from the conversation.
2. Compare it against the available routes to find which routes can help fulfill the request.
3. Respond only with the exact route names from <routes>.
4. If no routes can help or the intent is already fulfilled, return an empty list.

## Response Format
Return your answer strictly in JSON as follows:
{{"route": ["route_name_1", "route_name_2", "..."]}}
If no routes are needed, return an empty list for `route`.
"#;

/// What Plano counts for the text above, with its two placeholders. It does not count the routes.
const TEMPLATE_TOKENS: usize = (BEFORE_ROUTES.len()
    + "{routes}".len()
    + BEFORE_CONVERSATION.len()
    + "{conversation}".len()
    + BEHIND.len())
    / TOKEN_BYTES;

/// The request for Plano-Orchestrator's weights: one message, and the settings that Plano sends.
pub fn plano(question: &Question<'_>) -> Vec<u8> {
    let messages = question.turns.messages.iter().map(|message| (message.role, &*message.text));
    let lines = fit(messages, TEMPLATE_TOKENS, question.context_tokens);
    let message = object! { "role" => "user", "content" => prompt(question.routes, &lines) };
    let mut body = Fields::new();
    body.put("model", question.model)
        .put("messages", vec![message])
        .put_some("temperature", Number::from_f64(0.01));
    Json::from(body).to_vec()
}

fn prompt(routes: &[Route], lines: &[Line<'_>]) -> String {
    let routes: Vec<String> = routes.iter().map(route).collect();
    [BEFORE_ROUTES, &routes.join("\n"), BEFORE_CONVERSATION, &conversation(lines), BEHIND].concat()
}

/// One line of JSON with spaces as Python sets them. Examples are left out: the weights have never seen any.
fn route(route: &Route) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        r#"{{"name": {}, "description": {}, "parameters": {{"type": "object", "properties": {{}}, "required": []}}}}"#,
        quoted(&route.name),
        quoted(&route.description)
    )
}

/// JSON, four spaces deep.
fn conversation(lines: &[Line<'_>]) -> String {
    let mut text = Vec::new();
    // Texts into memory: nothing in it can fail.
    let _ =
        lines.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")));
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use meseta_wire::dialect::Dialect;

    use super::*;
    use crate::turns::Turns;

    /// What the model is shown of a conversation in the given budget.
    fn shown(routes: &[(&str, &str)], messages: &str, context_tokens: usize) -> String {
        let routes: Vec<Route> = routes
            .iter()
            .map(|(name, description)| Route {
                name: (*name).to_owned(),
                description: (*description).to_owned(),
                examples: vec!["draw me a sheep".to_owned()],
            })
            .collect();
        let body = format!(r#"{{"messages":{messages}}}"#);
        let json = Json::parse(&body).unwrap();
        let turns = Turns::read(Dialect::OpenaiChat, &json);
        let question = Question { model: "m", routes: &routes, turns: &turns, most: 4, context_tokens };
        let request: serde_json::Value = serde_json::from_slice(&plano(&question)).unwrap();
        assert_eq!(request["model"], "m");
        assert_eq!(request["temperature"], 0.01);
        assert_eq!(request["messages"].as_array().unwrap().len(), 1);
        assert_eq!(request["messages"][0]["role"], "user");
        request["messages"][0]["content"].as_str().unwrap().to_owned()
    }

    const IMAGES: &[(&str, &str)] = &[("Image generation", "generating image")];

    fn expected(conversation: &str) -> String {
        // Written out once more, and in one piece: this is the text that has to arrive.
        let text = r#"
You are a helpful assistant that selects the most suitable routes based on user intent.
You are provided with a list of available routes enclosed within <routes></routes> XML tags:
<routes>
{"name": "Image generation", "description": "generating image", "parameters": {"type": "object", "properties": {}, "required": []}}
</routes>

You are also given the conversation context enclosed within <conversation></conversation> XML tags:
<conversation>
CONVERSATION
</conversation>

## Instructions
1. Analyze the latest user intent from the conversation.
2. Compare it against the available routes to find which routes can help fulfill the request.
3. Respond only with the exact route names from <routes>.
4. If no routes can help or the intent is already fulfilled, return an empty list.

## Response Format
Return your answer strictly in JSON as follows:
{{"route": ["route_name_1", "route_name_2", "..."]}}
If no routes are needed, return an empty list for `route`.
"#;
        text.replace("CONVERSATION", conversation)
    }

    #[test]
    fn the_prompt_is_planos_to_the_byte() {
        let messages = r#"[{"role":"system","content":"Be kind."},{"role":"user","content":"hi"},
            {"role":"assistant","content":"Hello! How can I assist you today?"},
            {"role":"user","content":[{"type":"text","text":"In style of \"Warhol\": 22°C"},
            {"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]"#;
        let conversation = r#"[
    {
        "role": "user",
        "content": "hi"
    },
    {
        "role": "assistant",
        "content": "Hello! How can I assist you today?"
    },
    {
        "role": "user",
        "content": "In style of \"Warhol\": 22°C"
    }
]"#;
        assert_eq!(shown(IMAGES, messages, usize::MAX), expected(conversation));
        assert_eq!(shown(IMAGES, "[]", 8192), expected("[]"));
    }

    #[test]
    fn every_route_has_a_line() {
        let prompt = shown(&[("a", "with \"quotes\""), ("b\nc", "{conversation}")], "[]", 8192);
        let empty = r#""parameters": {"type": "object", "properties": {}, "required": []}}"#;
        let lines = format!(
            "<routes>\n{{\"name\": \"a\", \"description\": \"with \\\"quotes\\\"\", {empty}\n\
             {{\"name\": \"b\\nc\", \"description\": \"{{conversation}}\", {empty}\n</routes>"
        );
        assert!(prompt.contains(&lines), "{prompt}");
    }

    /// The budgets and what is left in them are those of Plano's own tests.
    #[test]
    fn the_history_fits_the_budget_as_in_plano() {
        let portrait = "given the image In style of Andy Warhol, portrait of Bart and Lisa Simpson";
        let messages = format!(
            r#"[{{"role":"user","content":"hi"}},{{"role":"assistant","content":"Hello! How can I assist you today?"}},
                {{"role":"user","content":"{portrait}"}}]"#
        );
        let only = |text: &str| {
            format!("[\n    {{\n        \"role\": \"user\",\n        \"content\": \"{text}\"\n    }}\n]")
        };
        assert_eq!(shown(IMAGES, &messages, 235), expected(&only(portrait)));
        // No room at all: the last message stands alone.
        let long = format!("{portrait} and this is a very long message that must not be lost");
        let messages = messages.replace(portrait, &long);
        assert_eq!(shown(IMAGES, &messages, 200), expected(&only(&long)));

        let messages = r#"[{"role":"user","content":"hi"},{"role":"assistant","content":"Hello! How can I assist you today?"},
            {"role":"user","content":"given the image In style of Andy Warhol"},
            {"role":"assistant","content":"ok here is the image"},
            {"role":"user","content":"pls give me another image about Bart and Lisa"}]"#;
        let conversation = r#"[
    {
        "role": "user",
        "content": "given…rhol"
    },
    {
        "role": "assistant",
        "content": "ok here is the image"
    },
    {
        "role": "user",
        "content": "pls give me another image about Bart and Lisa"
    }
]"#;
        assert_eq!(shown(IMAGES, messages, 230), expected(conversation));
    }

    #[test]
    fn a_huge_message_is_cut_in_its_middle() {
        let messages = format!(r#"[{{"role":"user","content":"BEGIN {} END"}}]"#, "A".repeat(500_000));
        let prompt = shown(IMAGES, &messages, 2048);
        assert!(prompt.len() <= 2048 * TOKEN_BYTES + 1024, "{}", prompt.len());
        assert!(prompt.contains("\"BEGIN AAA") && prompt.contains("AAA END\"") && prompt.contains('…'));
        // And an answer is left out.
        let messages = format!(
            r#"[{{"role":"assistant","content":"{}"}},{{"role":"user","content":"hi"}}]"#,
            "A".repeat(500_000)
        );
        assert!(shown(IMAGES, &messages, 2048).len() < 2048);
    }
}
