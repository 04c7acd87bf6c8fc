//! What is shown of a long conversation.

use std::borrow::Cow;

use meseta_wire::conversation::{Message, Part, Role};
use meseta_wire::estimate;
use meseta_wire::history::{self, Bounds, Inline, Kept, Shown, View};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::any::{call, result, said, text};

fn view<'m, 'a>(thread: &'m [Message<'a>], bounds: Bounds) -> Vec<Shown<'m, 'a>> {
    history::view(&thread.iter().collect::<Vec<_>>(), bounds).shown
}

/// The places of what is shown, of a conversation of which all passes as it is.
fn places(thread: &[Message<'_>], bounds: Bounds) -> Vec<usize> {
    let view = history::view(&thread.iter().collect::<Vec<_>>(), bounds);
    let places: Vec<usize> = view.shown.iter().filter_map(|shown| shown.place).collect();
    assert_eq!((view.shown.len(), thread.len() - view.left_out), (places.len(), places.len()));
    assert!(view.shown.iter().all(|shown| *shown.message == thread[shown.place.unwrap()]));
    places
}

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
        assert_eq!(places(&thread, messages(count)), shown, "{count}");
    }
    assert_eq!(places(&[], messages(1)), Vec::<usize>::new());
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
    assert_eq!(places(&thread, Bounds::LAST_TURN), [2, 3, 4, 5, 6, 7]);
    assert_eq!(places(&thread, Bounds { messages: 0, tokens: 1 }), [2, 3, 4, 5, 6, 7]);
}

/// Who says what, with calls and results by their ids.
fn outline(shown: &[Shown<'_, '_>]) -> Vec<String> {
    let part = |part: &Part<'_>| match part {
        Part::Text(text) => text.text.to_string(),
        Part::ToolCall(call) => format!("call {}", call.id),
        Part::ToolResult(result) => match &*result.parts {
            [Part::Text(text)] => format!("result {} {}", result.id, text.text),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    };
    let line = |shown: &Shown<'_, '_>| {
        let parts: Vec<String> = shown.message.parts.iter().map(part).collect();
        format!("{:?}: {}", shown.message.role, parts.join(", "))
    };
    shown.iter().map(line).collect()
}

const NOT_RUN: &str = "This call was not run: the conversation went on without it.";

#[test]
fn a_call_waits_until_words_follow_it() {
    let mut thread = vec![user("book it"), of(Role::Assistant, vec![text("First:"), call("1"), call("2")])];
    assert_eq!(places(&thread, messages(1)), [0, 1]);
    thread.push(of(Role::Tool, vec![result("2", "x")]));
    assert_eq!(places(&thread, messages(1)), [0, 1, 2]);
    // Words behind results belong to their turn.
    thread.push(user("never mind"));
    let turn = [
        "User: book it".to_owned(),
        "Assistant: First:, call 1, call 2".to_owned(),
        format!("Tool: result 2 x, result 1 {NOT_RUN}"),
        "User: never mind".to_owned(),
    ];
    assert_eq!(outline(&view(&thread, messages(1))), turn);
    thread.extend([of(Role::Assistant, vec![call("3")]), user("or rather this"), user("please")]);
    let mut whole = turn.to_vec();
    whole.extend(["Assistant: call 3".to_owned(), format!("Tool: result 3 {NOT_RUN}")]);
    whole.extend(["User: or rather this".to_owned(), "User: please".to_owned()]);
    for bounds in [Bounds::default(), messages(8)] {
        assert_eq!(outline(&view(&thread, bounds)), whole);
    }
    assert_eq!(outline(&view(&thread, messages(7))), whole[6..], "what is put in counts");
    let Part::ToolResult(closed) = &view(&thread, messages(8))[5].message.parts[0] else {
        panic!("a result")
    };
    assert_eq!(closed.name.as_deref(), Some("look"));
}

#[test]
fn a_result_that_comes_late_is_told_as_words() {
    let thread = [
        user("book it"),
        of(Role::Assistant, vec![call("late")]),
        user("meanwhile"),
        of(Role::Assistant, vec![call("4")]),
        of(Role::Tool, vec![result("late", "booked"), result("4", "seen"), result("4", "twice")]),
        model("It is booked."),
        of(Role::Tool, vec![result("nobody's", "lost")]),
        user("thanks"),
    ];
    let shown = view(&thread, Bounds::default());
    let told = [
        "User: book it".to_owned(),
        "Assistant: call late".to_owned(),
        format!("Tool: result late {NOT_RUN}"),
        "User: meanwhile".to_owned(),
        "Assistant: call 4".to_owned(),
        "Tool: result 4 seen".to_owned(),
        "User: Result of an earlier call of look:, booked, Result of an earlier call of look:, twice"
            .to_owned(),
        "Assistant: It is booked.".to_owned(),
        "User: Result of an earlier call of a tool:, lost".to_owned(),
        "User: thanks".to_owned(),
    ];
    assert_eq!(outline(&shown), told);
    assert_eq!(outline(&view(&thread, messages(1))), told[8..]);
    assert_eq!(outline(&view(&thread, messages(7))), told[3..]);
}

#[test]
fn turns_that_are_given_up_again_and_again_are_left_out_as_all_others() {
    let mut thread = Vec::new();
    for turn in 0..30 {
        thread.extend([user("again"), of(Role::Assistant, vec![call(&format!("call_{turn}"))])]);
    }
    thread.push(user("enough"));
    let shown = view(&thread, messages(4));
    assert_eq!(shown.len(), 4);
    assert_eq!(shown[2].place, None);
    assert_eq!(shown[3].place, Some(60));
}

#[test]
fn tokens_are_bounded_too() {
    let long = "many words ".repeat(100);
    let thread = [user(&long), model(&long), user("a"), model("b"), user("c")];
    assert_eq!(places(&thread, Bounds { messages: 0, tokens: 200 }), [2, 3, 4]);
    assert_eq!(places(&thread, Bounds { messages: 1, tokens: 200 }), [4]);
    assert_eq!(places(&thread, Bounds { messages: 0, tokens: 2_000 }), [0, 1, 2, 3, 4]);
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

fn is_system(message: &Message<'_>) -> bool {
    matches!(message.role, Role::System | Role::Developer)
}

/// What providers demand of calls and results; only the last step may still wait for its results.
fn sound(shown: &[Shown<'_, '_>]) -> Result<(), TestCaseError> {
    let mut open: Vec<&str> = Vec::new();
    for Shown { message, .. } in shown.iter().filter(|shown| !is_system(&shown.message)) {
        if message.role != Role::Tool {
            prop_assert!(open.is_empty(), "{open:?} before {message:?}");
        }
        for part in &message.parts {
            match part {
                Part::ToolCall(call) => open.push(&call.id),
                Part::ToolResult(result) => {
                    let call = open.iter().position(|id| *id == result.id);
                    prop_assert!(call.is_some(), "{} has no call", result.id);
                    call.map(|at| open.remove(at));
                }
                _ => {}
            }
        }
    }
    Ok(())
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
        let all: Vec<&Message<'_>> = thread.iter().collect();
        let View { shown, left_out } = history::view(&all, bounds);
        sound(&shown)?;
        let mut places: Vec<usize> = shown.iter().filter_map(|shown| shown.place).collect();
        prop_assert!(places.windows(2).all(|two| two[0] <= two[1]), "order");
        places.dedup();
        prop_assert_eq!(places.len() + left_out, thread.len());
        let holds = |place: usize| places.contains(&place);
        for (place, message) in thread.iter().enumerate() {
            prop_assert!(!is_system(message) || holds(place), "the system");
        }
        // All behind the last words of the user's, and those. Results that come late are words too.
        let whole = history::view(&all, Bounds::default());
        prop_assert_eq!(whole.left_out, 0);
        let last = whole.shown.iter().rposition(|shown| shown.message.role == Role::User).unwrap_or(0);
        prop_assert!(shown.ends_with(&whole.shown[last..]), "the last turn");
        // Within the bounds, but for the current turn, which is all that is left of it where nothing fits.
        let said = |shown: &[Shown<'_, '_>]| shown.iter().filter(|shown| !is_system(&shown.message)).count();
        let current = history::view(&all, Bounds { messages: 1, tokens: 1 }).shown;
        prop_assert!(said(&current) <= said(&shown));
        if count > 0 {
            prop_assert!(said(&shown) <= count.max(said(&current)), "{} of {count}", said(&shown));
        }
        let weight = |shown: &[Shown<'_, '_>]| shown.iter().map(|shown| weight(&shown.message)).sum::<u64>();
        if tokens > 0 {
            prop_assert!(weight(&shown) <= tokens.max(weight(&current)));
        }
        // Nothing at all is left out where all fits.
        if tokens == 0 && said(&whole.shown) <= count {
            prop_assert_eq!(&shown, &whole.shown);
        }
        // What passes is what was said, and what is put in or changed are results alone.
        for shown in &whole.shown {
            match (shown.place, &shown.message) {
                (Some(place), Cow::Borrowed(message)) => prop_assert_eq!(*message, &thread[place]),
                (Some(place), Cow::Owned(_)) => prop_assert_eq!(thread[place].role, Role::Tool),
                (None, message) => prop_assert_eq!(message.role, Role::Tool),
            }
        }
        // What is shown begins with the user, unless it is the beginning of the conversation.
        let first = shown.iter().find(|shown| !is_system(&shown.message));
        let beginning = thread.iter().position(|message| !is_system(message));
        if let (Some(first), Some(beginning)) = (first, beginning) {
            prop_assert!(first.place == Some(beginning) || first.message.role == Role::User);
        }
        // Wider bounds show no less.
        let wider = Bounds { messages: if count == 0 { 0 } else { count + 3 }, tokens };
        prop_assert!(history::view(&all, wider).shown.len() >= shown.len());
        // What was shown is shown again as it is.
        let again: Vec<Message<'_>> = shown.iter().map(|shown| shown.message.clone().into_owned()).collect();
        let again: Vec<&Message<'_>> = again.iter().collect();
        for bounds in [bounds, Bounds::default()] {
            let unchanged = history::view(&again, bounds);
            prop_assert_eq!(unchanged.left_out, 0);
            prop_assert!(unchanged.shown.iter().all(|shown| matches!(shown.message, Cow::Borrowed(_))));
        }
        let last = history::view(&again, Bounds::LAST_TURN);
        prop_assert_eq!(last.shown.len(), history::view(&all, Bounds::LAST_TURN).shown.len());
    }
}

fn weight(message: &Message<'_>) -> u64 {
    let kept = Kept { instructions: false, message: message.clone() };
    estimate::tokens(history::write(&kept, Inline(usize::MAX)).as_bytes())
}
