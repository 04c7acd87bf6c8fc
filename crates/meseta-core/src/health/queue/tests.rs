use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::super::tests::settings;
use meseta_wire::limits::{ProviderLimits, Window};

use super::super::{Health, Verdict};
use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn narrow(concurrency: u32, queue: usize, milliseconds: u64) -> Arc<Settings> {
    Arc::new(Settings { concurrency, queue, queue_time: MS(milliseconds), ..settings() })
}

fn take(target: &Arc<TargetHealth>, settings: &Arc<Settings>) -> Ticket {
    target.begin(settings, Call::default(), now()).unwrap()
}

async fn wait_at(target: &Arc<TargetHealth>, settings: &Arc<Settings>) -> Result<(usize, Ticket), Refused> {
    let place = Place { target, settings, spent: 0 };
    wait(&[place], 0, tokio::time::Instant::now() + MS(60_000)).await
}

#[tokio::test(start_paused = true)]
async fn slots_go_to_those_who_wait_in_their_order() {
    let (target, settings) = (Health::new().of("a"), narrow(1, 10, 5000));
    let mut held = take(&target, &settings);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (served, mut tickets) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..5 {
        let (target, settings, order, served) =
            (target.clone(), settings.clone(), order.clone(), served.clone());
        tokio::spawn(async move {
            let (_, ticket) = wait_at(&target, &settings).await.unwrap();
            order.lock().unwrap().push(number);
            served.send(ticket).unwrap();
        });
        tokio::task::yield_now().await;
    }
    assert_eq!(target.status(now()).waiting, 5);
    for _ in 0..5 {
        held.finish(Verdict::Success, now());
        // The slot is promised already: nobody can push in.
        assert_eq!(target.begin(&settings, Call::default(), now()).unwrap_err(), Standing::Full);
        held = tickets.recv().await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    drop(held);
    assert_eq!((target.status(now()).waiting, target.status(now()).in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_target_that_is_free_serves_one_who_waits_for_several() {
    let health = Health::new();
    let (one, other) = (health.of("a"), health.of("b"));
    let settings = narrow(1, 1, 5000);
    let (first, second) = (take(&one, &settings), take(&other, &settings));
    let places = [
        Place { target: &one, settings: &settings, spent: 0 },
        Place { target: &other, settings: &settings, spent: 0 },
    ];
    let deadline = tokio::time::Instant::now() + MS(5000);
    let (got, ()) = tokio::join!(wait(&places, 0, deadline), async {
        tokio::task::yield_now().await;
        assert_eq!((one.status(now()).waiting, other.status(now()).waiting), (1, 1));
        second.finish(Verdict::Success, now());
        first.finish(Verdict::Success, now());
    });
    let (index, ticket) = got.unwrap();
    assert_eq!((index, one.status(now()).in_flight, other.status(now()).in_flight), (1, 0, 1));
    assert_eq!((one.status(now()).waiting, other.status(now()).waiting), (0, 0));
    drop(ticket);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_the_queue_and_loses_no_slot() {
    let (target, settings) = (Health::new().of("a"), narrow(1, 1, 5000));
    let held = take(&target, &settings);
    assert!(tokio::time::timeout(MS(100), wait_at(&target, &settings)).await.is_err());
    assert_eq!(target.status(now()).waiting, 0);
    // Served, and gone before it has looked.
    let mut waiting = Box::pin(wait_at(&target, &settings));
    assert!(tokio::time::timeout(MS(10), &mut waiting).await.is_err());
    held.finish(Verdict::Success, now());
    assert_eq!(target.status(now()).in_flight, 1);
    drop(waiting);
    assert_eq!(target.status(now()).in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn queues_and_patience_have_ends() {
    let (target, settings) = (Health::new().of("a"), narrow(1, 1, 500));
    let _held = take(&target, &settings);
    let start = tokio::time::Instant::now();
    let (one, other) = tokio::join!(wait_at(&target, &settings), wait_at(&target, &settings));
    assert_eq!((one.unwrap_err(), other.unwrap_err()), (Refused::TimedOut, Refused::QueueFull));
    assert_eq!(start.elapsed().as_millis() / 10, 50);
    let place = Place { target: &target, settings: &settings, spent: 0 };
    let refused = wait(&[place], 0, tokio::time::Instant::now() + MS(30)).await.unwrap_err();
    assert_eq!((refused, start.elapsed().as_millis() / 10), (Refused::TimedOut, 53));
    assert_eq!(wait_at(&target, &narrow(1, 0, 500)).await.unwrap_err(), Refused::QueueFull);
    assert_eq!(wait(&[], 0, start).await.unwrap_err(), Refused::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_ends_lets_the_waiting_in_and_a_long_one_is_not_waited_for() {
    let (target, settings) = (Health::new().of("a"), narrow(0, 5, 5000));
    let limit = |reset| {
        let ticket = take(&target, &settings);
        let window = Window { limit: None, remaining: 0, reset: Some(reset) };
        ticket.limits(&ProviderLimits { requests: Some(window), ..ProviderLimits::default() }, now());
        ticket.finish(Verdict::Success, now());
    };
    limit(MS(2000));
    let start = tokio::time::Instant::now();
    let (one, other) = tokio::join!(wait_at(&target, &settings), wait_at(&target, &settings));
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(start.elapsed().as_millis() / 10, 200);
    drop((one, other));
    limit(MS(60_000));
    assert_eq!(wait_at(&target, &settings).await.unwrap_err(), Refused::TimedOut);
    assert_eq!(start.elapsed().as_millis() / 10, 200);
}

#[tokio::test(start_paused = true)]
async fn a_large_call_that_must_wait_does_not_keep_out_a_small_one() {
    let (target, settings) = (Health::new().of("a"), narrow(1, 5, 5000));
    let held = take(&target, &settings);
    let window = Window { limit: None, remaining: 1000, reset: Some(MS(3000)) };
    held.limits(&ProviderLimits { tokens: Some(window), ..ProviderLimits::default() }, now());
    let place = Place { target: &target, settings: &settings, spent: 0 };
    let deadline = tokio::time::Instant::now() + MS(60_000);
    let start = tokio::time::Instant::now();
    let large = async { wait(&[place], 5000, deadline).await.map(|_| start.elapsed()).unwrap() };
    let small = async { wait(&[place], 10, deadline).await.map(|_| start.elapsed()).unwrap() };
    let (large, small, ()) = tokio::join!(large, small, async {
        tokio::time::sleep(MS(100)).await;
        held.finish(Verdict::Success, now());
    });
    assert_eq!((large.as_millis() / 10, small.as_millis() / 10), (300, 10));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_was_free_under_a_limit_is_found_after_it() {
    let (target, settings) = (Health::new().of("a"), narrow(1, 5, 5000));
    let held = take(&target, &settings);
    let start = tokio::time::Instant::now();
    let (waited, ()) = tokio::join!(wait_at(&target, &settings), async {
        tokio::time::sleep(MS(50)).await;
        held.finish(Verdict::Limited { until: Some(now() + MS(1000)) }, now());
    });
    assert!(waited.is_ok());
    assert!(start.elapsed() < MS(1200), "{:?}", start.elapsed());
}

#[test]
fn many_threads_share_few_slots_and_nobody_is_forgotten() {
    const THREADS: usize = 4;
    const CALLS: usize = 200;
    let health = Arc::new(Health::new());
    let (busy, served) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (health, busy, served) = (health.clone(), busy.clone(), served.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async move {
                    let calls: Vec<_> = (0..CALLS)
                        .map(|call| {
                            let (health, busy, served) = (health.clone(), busy.clone(), served.clone());
                            tokio::task::spawn_local(async move {
                                let settings = narrow(2, THREADS * CALLS, 60_000);
                                let targets = [health.of("a"), health.of("b")];
                                let places = targets.each_ref().map(|target| Place {
                                    target,
                                    settings: &settings,
                                    spent: 0,
                                });
                                let deadline = tokio::time::Instant::now() + MS(60_000);
                                let waiting = wait(&places, 0, deadline);
                                // Some do not wait to the end, at any moment.
                                let got = if call % 5 == 0 {
                                    match tokio::time::timeout(MS((call % 7) as u64), waiting).await {
                                        Ok(got) => got,
                                        Err(_) => return,
                                    }
                                } else {
                                    waiting.await
                                };
                                let (_, ticket) = got.expect("a slot comes");
                                assert!(busy.fetch_add(1, Ordering::SeqCst) < 4, "more calls than slots");
                                tokio::task::yield_now().await;
                                busy.fetch_sub(1, Ordering::SeqCst);
                                if call % 5 != 0 {
                                    served.fetch_add(1, Ordering::SeqCst);
                                }
                                if (thread + call) % 3 == 0 {
                                    drop(ticket);
                                } else {
                                    let verdict =
                                        if call % 50 == 1 { Verdict::Neutral } else { Verdict::Success };
                                    ticket.finish(verdict, now());
                                }
                            })
                        })
                        .collect();
                    for call in calls {
                        call.await.unwrap();
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(served.load(Ordering::SeqCst), THREADS * CALLS * 4 / 5);
    for status in health.status(now()) {
        assert_eq!((status.in_flight, status.waiting, status.keys[0].in_flight), (0, 0, 0));
    }
}
