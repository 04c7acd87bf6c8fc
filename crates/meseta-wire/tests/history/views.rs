//! What is shown of a long conversation.

use std::collections::HashMap;

use meseta_wire::conversation::{Message, Part, Role};
use meseta_wire::history::{Bounds, view};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::any::{call, result, said, text};

fn messages(count: usize) -> Bounds {
    Bounds { messages: count, tokens: 0 }
}

fn of(role: Role, parts: Vec<Part<'static>>) -> Message<'static> {
    Message { role, name: None, parts }
}

fn user(words: &str) -> Message<'static> {
    said(Role::User, words)
}

fn model(words: &str) -> Message<'static> {
    said(Role::Assistant, words)
}

#[test]
fn the_newest_turns_that_fit_are_shown_behind_the_instructions() {
    let thread = [said(Role::System, "Be brief."), user("a"), model("b"), user("c"), model("d"), user("e")];
    for (count, shown) in [
        (0, vec![0, 1, 2, 3, 4, 5]),
        (5, vec![0, 1, 2, 3, 4, 5]),
        (4, vec![0, 3, 4, 5]),
        (3, vec![0, 3, 4, 5]),
        (2, vec![0, 5]),
        (1, vec![0, 5]),
    ] {
        assert_eq!(view(&thread, messages(count)), shown, "{count}");
    }
    assert_eq!(view(&[], messages(1)), Vec::<usize>::new());
}

#[test]
fn the_last_turn_is_whole_whatever_the_bounds() {
    let thread = [
        user("a"),
        model("b"),
        user("look"),
        of(Role::Assistant, vec![call("1"), call("2")]),
        of(Role::Tool, vec![result("1", "x"), result("2", "y")]),
        of(Role::Assistant, vec![call("3")]),
        of(Role::Tool, vec![result("3", "z")]),
        user("and go on"),
    ];
    assert_eq!(view(&thread, Bounds::LAST_TURN), [2, 3, 4, 5, 6, 7]);
    assert_eq!(view(&thread, Bounds { messages: 0, tokens: 1 }), [2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_call_that_waits_for_its_result_stays_and_so_does_one_whose_result_came_late() {
    let mut thread = vec![
        user("book it"),
        of(Role::Assistant, vec![call("late")]),
        user("meanwhile"),
        model("yes?"),
        user("never mind"),
    ];
    assert_eq!(view(&thread, messages(1)), [0, 1, 4]);
    thread.push(of(Role::Tool, vec![result("late", "booked")]));
    assert_eq!(view(&thread, messages(1)), [0, 1, 4, 5]);
    // Once it is over, all of it is as old as anything else.
    thread.extend([model("It is booked."), user("thanks")]);
    assert_eq!(view(&thread, messages(1)), [7]);
    assert_eq!(view(&thread, messages(4)), [7]);
    assert_eq!(view(&thread, messages(6)), [0, 1, 4, 5, 6, 7]);
}

#[test]
fn tokens_are_bounded_too() {
    let long = "many words ".repeat(100);
    let thread = [user(&long), model(&long), user("a"), model("b"), user("c")];
    assert_eq!(view(&thread, Bounds { messages: 0, tokens: 200 }), [2, 3, 4]);
    assert_eq!(view(&thread, Bounds { messages: 1, tokens: 200 }), [4]);
    assert_eq!(view(&thread, Bounds { messages: 0, tokens: 2_000 }), [0, 1, 2, 3, 4]);
}

fn thread() -> impl Strategy<Value = Vec<Message<'static>>> {
    let id = || prop::sample::select(vec!["1", "2", "3", "4"]);
    let message = prop_oneof![
        1 => Just(said(Role::System, "s")),
        4 => Just(user("u")),
        4 => Just(model("m")),
        3 => vec(id(), 1..3).prop_map(|ids| of(Role::Assistant, ids.into_iter().map(call).collect())),
        3 => vec(id(), 1..3)
            .prop_map(|ids| of(Role::Tool, ids.into_iter().map(|id| result(id, "r")).collect())),
        1 => Just(of(Role::Assistant, vec![text("t"), call("1")])),
    ];
    vec(message, 0..40)
}

/// Which call each result answers, by the places of their messages; and the calls that none answers.
fn pairs(thread: &[Message<'_>]) -> (Vec<(usize, usize)>, Vec<usize>) {
    let mut open: HashMap<String, Vec<usize>> = HashMap::new();
    let mut pairs = Vec::new();
    for (place, message) in thread.iter().enumerate() {
        for part in &message.parts {
            match part {
                Part::ToolCall(call) => open.entry(call.id.to_string()).or_default().push(place),
                Part::ToolResult(result) => {
                    if let Some(call) = open.get_mut(&*result.id).and_then(Vec::pop) {
                        pairs.push((call, place));
                    }
                }
                _ => {}
            }
        }
    }
    (pairs, open.into_values().flatten().collect())
}

fn is_system(message: &Message<'_>) -> bool {
    matches!(message.role, Role::System | Role::Developer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_shown_makes_sense(
        thread in thread(),
        count in 0..12_usize,
        tokens in prop_oneof![Just(0_u64), 1..400_u64],
    ) {
        let bounds = Bounds { messages: count, tokens };
        let shown = view(&thread, bounds);
        prop_assert!(shown.windows(2).all(|two| two[0] < two[1]), "order");
        let holds = |place: usize| shown.contains(&place);
        let (pairs, pending) = pairs(&thread);
        for (call, result) in pairs {
            prop_assert_eq!(holds(call), holds(result), "a pair");
        }
        prop_assert!(pending.into_iter().all(holds), "a call that waits");
        for (place, message) in thread.iter().enumerate() {
            prop_assert!(!is_system(message) || holds(place), "the system");
        }
        // All behind the last words of the user's, and those.
        let last = thread.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
        prop_assert!((last..thread.len()).all(holds), "the last turn");
        // Nothing at all is left out where all fits.
        let said = thread.iter().filter(|message| !is_system(message)).count();
        if tokens == 0 && (count == 0 || said <= count) {
            prop_assert_eq!(shown.len(), thread.len());
        }
        // With only what must be shown, it is the smallest view; a larger one must be within the bounds.
        let least = view(&thread, Bounds { messages: 1, tokens: 1 });
        prop_assert!(least.iter().all(|place| holds(*place)));
        if shown.len() > least.len() && count > 0 {
            let said = shown.iter().filter(|place| !is_system(&thread[**place])).count();
            prop_assert!(said <= count, "{said} of {count}");
        }
        // What is shown begins with the user, unless it is the beginning of the conversation or waits for something.
        let first = shown.iter().find(|place| !is_system(&thread[**place]));
        let beginning = thread.iter().position(|message| !is_system(message));
        if let (Some(first), Some(beginning)) = (first, beginning) {
            prop_assert!(*first == beginning || thread[*first].role == Role::User);
        }
        // Wider bounds show no less.
        let wider = view(&thread, Bounds { messages: if count == 0 { 0 } else { count + 3 }, tokens });
        prop_assert!(wider.len() >= shown.len());
    }
}
