//! What people say when they mean a word that they do not say: `how far` asks for a distance.
//!
//! General English, not the words of any trade. An association counts only where a route speaks of what it points to, so
//! it costs nothing where none does.

use std::collections::HashMap;

use super::words::{stem, words};

/// How much the unsaid word counts beside a said one.
pub(super) const WEIGHT: f32 = 0.4;

/// What is said, alternatives divided by `|`, and what may be meant by it.
const ASSOCIATIONS: &[(&str, &str)] = &[
    ("hello|hi|hey|howdy|good morning|good evening|good afternoon|how are you", "greeting hello welcome"),
    ("bye|goodbye|see you|farewell|so long", "goodbye farewell"),
    ("thanks|thank|appreciate", "thank gratitude"),
    ("yes|yeah|yep|sure|correct|right|absolutely", "yes affirm confirm"),
    ("no|nope|nah|wrong", "no deny"),
    ("not sure|perhaps|possibly|might be", "maybe"),
    ("how far", "distance"),
    ("how long", "duration time"),
    ("how much", "amount price cost balance"),
    ("how many", "number count amount quantity"),
    ("how old", "age"),
    ("how often", "frequency"),
    ("where", "location place"),
    ("when|what time|what day", "time date schedule"),
    ("who", "person contact"),
    ("why", "reason cause explanation"),
    ("how do i get to|how can i get to|way to", "directions route navigation"),
    (
        "how do you say|how do i say|how would i say|how can i say|how would you say",
        "translate translation language",
    ),
    ("what does|meaning|mean|means|define", "definition meaning"),
    ("add|put|insert|remove|delete|erase|edit|modify|change|take off", "update edit modify change manage"),
    ("should i|recommend|suggest|advise|any good|best", "suggestion recommendation advice"),
    ("buy|purchase|get me", "order purchase buy shopping"),
    (
        "broken|not working|stopped working|doesn't work|isn't working|didn't work|won't|stuck|error",
        "problem issue trouble failed failure support",
    ),
    ("can't find|missing|misplaced|stolen|disappeared", "lost missing stolen"),
    (
        "plus|minus|times|divided|multiplied|square root|percent|equals",
        "calculator math arithmetic calculation",
    ),
    ("still|not yet|waiting|hasn't", "pending status delay"),
    (
        "am i allowed|can i|is it possible|do you allow|do you accept",
        "allowed acceptance support permission policy",
    ),
    ("has my|where is my|track|progress", "status tracking"),
    ("reserve|book", "reservation booking"),
    ("make sure|is it true|double check", "confirm verify check"),
    ("fix|repair", "maintenance repair support"),
    ("cheap|expensive|charged|fee", "price cost charge fee"),
];

/// The associations whose target some route speaks of.
pub(super) struct Associations {
    /// By the first word that is said: the words that follow it, and which association it is.
    said: HashMap<String, Vec<(Vec<String>, usize)>>,
    meant: Vec<Vec<&'static str>>,
}

impl Associations {
    /// `vocabulary` is every word that the routes use.
    pub(super) fn among<'a>(vocabulary: impl Iterator<Item = &'a str>) -> Associations {
        let stems: std::collections::HashSet<&str> = vocabulary.map(stem).collect();
        let mut associations = Associations { said: HashMap::new(), meant: Vec::new() };
        for (said, meant) in ASSOCIATIONS {
            let meant: Vec<&str> = meant.split(' ').filter(|word| stems.contains(stem(word))).collect();
            if meant.is_empty() {
                continue;
            }
            for said in said.split('|') {
                let mut said = words(said).into_iter();
                let Some(first) = said.next() else { continue };
                associations.said.entry(first).or_default().push((said.collect(), associations.meant.len()));
            }
            associations.meant.push(meant);
        }
        associations
    }

    /// The words that a text means without saying them, with their weights.
    pub(super) fn unsaid(&self, said: &[String]) -> Vec<(&'static str, f32)> {
        let mut found = vec![false; self.meant.len()];
        for (at, first) in said.iter().enumerate() {
            for (rest, association) in self.said.get(first).into_iter().flatten() {
                let follows = said.iter().skip(at + 1).take(rest.len()).eq(rest);
                if let Some(found) = found.get_mut(*association).filter(|_| follows) {
                    *found = true;
                }
            }
        }
        let mut unsaid = Vec::new();
        for meant in self.meant.iter().zip(found).filter_map(|(meant, found)| found.then_some(meant)) {
            let said = |word: &str| said.iter().any(|said| stem(said) == stem(word));
            let meant: Vec<&'static str> = meant.iter().copied().filter(|word| !said(word)).collect();
            #[expect(clippy::cast_precision_loss, reason = "an association has a handful of words")]
            let weight = WEIGHT / meant.len() as f32;
            unsaid.extend(meant.into_iter().map(|word| (word, weight)));
        }
        unsaid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_association_counts_where_a_route_speaks_of_it() {
        let routes = ["distances", "calendar", "updating"];
        let associations = Associations::among(routes.into_iter());
        assert_eq!(associations.unsaid(&words("how far is the moon")), [("distance", WEIGHT)]);
        assert_eq!(associations.unsaid(&words("please remove it, then add this")), [("update", WEIGHT)]);
        assert!(associations.unsaid(&words("how much, and why? update it: remove")).is_empty());
        assert!(associations.unsaid(&words("how")).is_empty());
    }
}
