//! Equal questions that come while the first of them is being asked.

use super::*;

const EACH: usize = 30;

/// All at once.
async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in waiting.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn they_are_asked_once() {
    let house = House::agents();
    let asked = Cell::new(0);
    let ask = async |_: Bytes| {
        asked.set(asked.get() + 1);
        tokio::time::sleep(DEADLINE / 2).await;
        answer("hotels")
    };
    let decisions = all((0..EACH).map(|_| house.choose("a bed", ask))).await;
    assert!(decisions.iter().all(|decision| names(decision) == ["hotels"]));
    assert_eq!(asked.get(), 1);
    assert_eq!((house.count("model", "chosen"), house.count("cached", "chosen")), (1, EACH as u64 - 1));
    // Another tenant's question is another one, however equal.
    let body = json!({"messages": [{"role": "user", "content": "a bunk"}]}).to_string();
    let tenants = ["acme", "zeta"].map(|tenant| house.choose_of(&house.cascade, Some(tenant), &body, ask));
    all(tenants).await;
    assert_eq!(asked.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn they_fail_once() {
    let house = House::agents();
    let asked = Cell::new(0);
    let ask = async |_: Bytes| {
        asked.set(asked.get() + 1);
        tokio::time::sleep(DEADLINE / 2).await;
        Err(Unanswered::Failed)
    };
    for round in 1..=4 {
        let decisions = all((0..EACH).map(|_| house.choose("a bed", ask))).await;
        assert!(decisions.iter().all(|decision| names(decision) == ["weather"]));
        assert_eq!((asked.get(), house.count("model", "failed")), (round, round * EACH as u64));
    }
    // A fifth failure would have it rest: thirty requests that heard of one failure have not made it thirty.
    assert_eq!(house.choose("a bed", async |_| answer("hotels")).await.step, Step::Model);
}

#[tokio::test(start_paused = true)]
async fn a_client_without_time_speaks_for_nobody_else() {
    let house = House::agents();
    let hurried = async |_: Bytes| {
        tokio::time::sleep(DEADLINE / 8).await;
        Err(Unanswered::Abandoned)
    };
    let ask = async |_: Bytes| {
        tokio::time::sleep(DEADLINE / 4).await;
        answer("hotels")
    };
    for _ in 0..9 {
        let first = house.choose("a bed", hurried);
        assert_eq!(first.await.passed.last(), Some(&(Step::Model, Reason::Late)));
    }
    let (first, others) =
        tokio::join!(house.choose("a bed", hurried), all((0..EACH).map(|_| house.choose("a bed", ask))));
    assert_eq!(names(&first), ["weather"]);
    assert!(
        others.iter().all(|decision| names(decision) == ["hotels"]),
        "the model has not been set to rest"
    );
}

#[tokio::test(start_paused = true)]
async fn each_waits_no_longer_than_its_own_deadline() {
    let house = House::agents();
    let begun = tokio::time::Instant::now();
    let ask = async |_: Bytes| std::future::pending().await;
    let decisions = all((0..3).map(|_| house.choose("a bed", ask))).await;
    assert!(
        decisions.iter().all(|decision| decision.passed.last() == Some(&(Step::Model, Reason::Late))),
        "{decisions:?}"
    );
    assert!(begun.elapsed() >= DEADLINE && begun.elapsed() < DEADLINE * 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_given_up_leaves_the_others_their_answer() {
    let house = House::agents();
    let asked = Cell::new(0);
    let ask = async |_: Bytes| {
        asked.set(asked.get() + 1);
        tokio::time::sleep(DEADLINE / 4).await;
        answer("hotels")
    };
    let first = tokio::time::timeout(DEADLINE / 8, house.choose("a bed", ask));
    let others = all((0..EACH).map(|_| house.choose("a bed", ask)));
    let (first, others) = tokio::join!(first, others);
    assert!(first.is_err(), "its client has left");
    assert!(others.iter().all(|decision| names(decision) == ["hotels"]));
    assert_eq!(asked.get(), 2);
}
