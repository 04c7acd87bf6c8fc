//! What common abbreviations stand for. Their few letters make tokens that say little by themselves.

/// How much the words that an abbreviation stands for count beside it, all together and however many.
pub(super) const WEIGHT: f32 = 0.6;

/// In order, so that they can be searched.
const ABBREVIATIONS: &[(&str, &[&str])] = &[
    ("401k", &["retirement", "savings"]),
    ("ai", &["artificial", "intelligence", "assistant"]),
    ("api", &["programming", "interface"]),
    ("apr", &["interest", "rate", "percentage"]),
    ("asap", &["urgent"]),
    ("atm", &["cash", "machine"]),
    ("crm", &["customer", "relationship"]),
    ("cv", &["resume"]),
    ("diy", &["do", "it", "yourself"]),
    ("dob", &["birth", "date"]),
    ("eta", &["arrival", "time"]),
    ("faq", &["questions", "answers"]),
    ("gps", &["navigation", "location"]),
    ("hr", &["human", "resources", "employee"]),
    ("iban", &["bank", "account", "number"]),
    ("kyc", &["identity", "verification"]),
    ("llm", &["language", "model"]),
    ("mpg", &["miles", "gallon", "fuel"]),
    ("ocr", &["scan", "text"]),
    ("otp", &["one", "time", "code"]),
    ("pdf", &["document"]),
    ("pin", &["code"]),
    ("po", &["purchase", "order"]),
    ("pto", &["vacation", "time", "off", "leave"]),
    ("qa", &["questions", "answers", "test"]),
    ("rma", &["return", "merchandise"]),
    ("roi", &["return", "investment"]),
    ("sla", &["service", "level"]),
    ("sms", &["text", "message"]),
    ("sql", &["database", "query"]),
    ("ssn", &["social", "security", "number"]),
    ("sso", &["login"]),
    ("tos", &["terms", "service"]),
    ("tts", &["speech", "voice"]),
    ("tv", &["television"]),
    ("ui", &["interface"]),
    ("vat", &["tax"]),
    ("vpn", &["network", "connection"]),
    ("w2", &["tax", "form"]),
    ("wifi", &["internet", "network"]),
];

/// The words that a word stands for; none if it is no abbreviation.
pub(super) fn words_of(abbreviation: &str) -> &'static [&'static str] {
    let found = ABBREVIATIONS.binary_search_by_key(&abbreviation, |(abbreviation, _)| abbreviation);
    found.ok().and_then(|at| ABBREVIATIONS.get(at)).map_or(&[], |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_are_in_the_order_that_the_search_needs() {
        assert!(ABBREVIATIONS.is_sorted_by_key(|(abbreviation, _)| abbreviation));
        assert_eq!(words_of("cv"), ["resume"]);
        assert!(words_of("resume").is_empty());
    }
}
