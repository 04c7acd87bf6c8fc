//! A model that answers, but with nothing that could be used.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_not_asked_for_again_at_once() {
    let house = House::agents();
    let asked = Cell::new(0);
    let mumble = async |_: Bytes| {
        asked.set(asked.get() + 1);
        answer("mumble mumble")
    };
    for (wait, calls, counted) in [(0, 1, 1), (9, 1, 2), (1, 2, 3)] {
        advance(Duration::from_secs(wait)).await;
        let decision = house.choose("hello", mumble).await;
        assert_eq!((names(&decision), decision.step), (vec!["weather"], Step::Default));
        assert_eq!(decision.passed.last(), Some(&(Step::Model, Reason::Unreadable)));
        assert_eq!((asked.get(), house.count("model", "unreadable")), (calls, counted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_cannot_be_understood_rests_like_one_that_is_silent() {
    let house = House::agents();
    let asked = Cell::new(0);
    let mumble = async |_: Bytes| {
        asked.set(asked.get() + 1);
        answer("mumble mumble")
    };
    for number in 0..9 {
        house.choose(&format!("question {number}"), mumble).await;
    }
    assert_eq!((asked.get(), house.count("model", "unreadable"), house.count("model", "resting")), (5, 5, 4));
    advance(Duration::from_secs(10)).await;
    assert_eq!(house.choose("again", async |_| answer("hotels")).await.step, Step::Model);
    // One that is understood now and then does not rest.
    for number in 0..12 {
        let said = if number % 4 == 3 { "hotels" } else { "mumble mumble" };
        house.choose(&format!("more {number}"), async |_| answer(said)).await;
    }
    assert_eq!(house.count("model", "resting"), 4);
}
