use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use super::*;

const WAIT: Duration = Duration::from_secs(30);

fn settings(concurrency: u32, queue: u32) -> AdmissionSettings {
    AdmissionSettings { concurrency, tenant_concurrency: 0, queue, queue_wait: WAIT }
}

fn tenant(name: &str) -> Tenant {
    Tenant { name: name.into(), priority: Priority::Normal, concurrency: 0 }
}

fn of_class(name: &str, priority: Priority) -> Tenant {
    Tenant { priority, ..tenant(name) }
}

/// A request before it is in. It is polled by hand, so that a test decides what happens in which order.
struct Entering(Pin<Box<dyn Future<Output = Verdict>>>);

impl Entering {
    fn begin(gate: &Arc<Gate>, tenant: &Tenant, tokens: u64) -> Entering {
        let (gate, tenant) = (gate.clone(), tenant.clone());
        let mut entering = Entering(Box::pin(async move { gate.enter(&tenant, tokens, None).await }));
        assert!(entering.poll().is_none(), "it was to wait");
        entering
    }

    fn poll(&mut self) -> Option<Verdict> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(verdict) => Some(verdict),
            Poll::Pending => None,
        }
    }

    fn is_in(&mut self) -> Option<Pass> {
        self.poll().map(|verdict| verdict.expect("let in"))
    }

    fn refused(&mut self) -> Reason {
        self.poll().expect("a verdict").expect_err("refused").reason
    }
}

/// Comes in without waiting, or is refused without waiting.
fn at_once(gate: &Arc<Gate>, tenant: &Tenant, tokens: u64) -> Verdict {
    let mut future = std::pin::pin!(gate.enter(tenant, tokens, None));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict,
        Poll::Pending => panic!("it waits"),
    }
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn while_there_is_room_nobody_waits() {
    let gate = Gate::new(settings(2, 10));
    let first = at_once(&gate, &tenant("acme"), 10).unwrap();
    let _second = at_once(&gate, &tenant("acme"), 10).unwrap();
    drop(first);
    let _third = at_once(&gate, &tenant("globex"), 10).unwrap();
    let stats = gate.stats();
    assert_eq!((stats.in_flight, stats.waiting, stats.admitted), (2, 0, 3));
}

#[test]
fn the_default_has_no_limit() {
    let gate = Gate::new(AdmissionSettings::default());
    let passes: Vec<Pass> = (0..1000).map(|_| at_once(&gate, &tenant("acme"), 10).unwrap()).collect();
    assert_eq!(gate.stats().in_flight, passes.len() as u64);
}

#[test]
fn without_a_queue_the_full_plane_and_the_full_tenant_are_told_apart() {
    let gate = Gate::new(settings(2, 0));
    let limited = Tenant { concurrency: 1, ..tenant("acme") };
    let _first = at_once(&gate, &limited, 1).unwrap();
    assert_eq!(at_once(&gate, &limited, 1).unwrap_err().reason, Reason::TenantFull);
    let _second = at_once(&gate, &tenant("globex"), 1).unwrap();
    assert_eq!(at_once(&gate, &tenant("initech"), 1).unwrap_err().reason, Reason::PlaneFull);
}

#[test]
fn one_tenant_is_served_in_the_order_in_which_it_came() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(1, 10));
    let mut pass = at_once(&gate, &tenant("acme"), 1).unwrap();
    // The costly one came first, so it goes first.
    let mut waiting: Vec<Entering> =
        [500, 1, 20].into_iter().map(|tokens| Entering::begin(&gate, &tenant("acme"), tokens)).collect();
    while !waiting.is_empty() {
        drop(pass);
        pass = waiting.remove(0).is_in().expect("its turn");
        assert!(waiting.iter_mut().all(|later| later.poll().is_none()));
    }
}

#[test]
fn a_thousand_waiting_delay_another_tenant_by_one_grant() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(4, 2000));
    let mut inside: Vec<Pass> = (0..4).map(|_| at_once(&gate, &tenant("noisy"), 100_000).unwrap()).collect();
    let mut noisy: Vec<Entering> =
        (0..1000).map(|_| Entering::begin(&gate, &tenant("noisy"), 100_000)).collect();
    // Much less was used than was expected: the account of the noisy one is behind the last grant.
    for pass in &mut inside {
        pass.settle(10);
    }
    let mut quiet = Entering::begin(&gate, &tenant("quiet"), 100_000);
    inside.pop();
    let _quiet = quiet.is_in().expect("the first grant");
    assert!(noisy.iter_mut().all(|request| request.poll().is_none()));
}

#[test]
fn a_tenant_at_its_limit_waits_in_its_own_line() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(3, 10));
    let limited = Tenant { concurrency: 1, ..tenant("acme") };
    let first = at_once(&gate, &limited, 1).unwrap();
    let mut second = Entering::begin(&gate, &limited, 1);
    let _other = at_once(&gate, &tenant("globex"), 1).unwrap();
    let _another = at_once(&gate, &tenant("globex"), 1).unwrap();
    assert!(second.poll().is_none());
    drop(first);
    assert!(second.is_in().is_some());
}

#[test]
fn a_higher_class_goes_first_and_a_lower_one_gets_one_grant_in_sixteen() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(1, 1000));
    let mut pass = at_once(&gate, &tenant("first"), 1).unwrap();
    let low = of_class("batch", Priority::Low);
    let high = of_class("people", Priority::High);
    let mut batch: Vec<Entering> = (0..10).map(|_| Entering::begin(&gate, &low, 1)).collect();
    let mut people: Vec<Entering> = (0..100).map(|_| Entering::begin(&gate, &high, 1000)).collect();
    let mut turns = String::new();
    for _ in 0..64 {
        drop(pass);
        if let Some(next) = people.first_mut().and_then(Entering::is_in) {
            people.remove(0);
            turns.push('h');
            pass = next;
        } else {
            pass = batch.remove(0).is_in().expect("one of the two");
            turns.push('l');
        }
    }
    assert_eq!(turns, format!("{}l", "h".repeat(15)).repeat(4));
}

#[test]
fn a_full_queue_sheds_the_newest_of_the_lowest_class() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(1, 3));
    let _pass = at_once(&gate, &tenant("acme"), 1).unwrap();
    let low = of_class("batch", Priority::Low);
    let mut older = Entering::begin(&gate, &low, 1);
    let mut newer = Entering::begin(&gate, &low, 1);
    let mut normal = Entering::begin(&gate, &tenant("globex"), 1);
    assert_eq!(at_once(&gate, &low, 1).unwrap_err().reason, Reason::QueueFull);
    let high = of_class("people", Priority::High);
    let mut first = Entering::begin(&gate, &high, 1);
    assert_eq!(newer.refused(), Reason::Shed);
    let mut second = Entering::begin(&gate, &high, 1);
    assert_eq!(older.refused(), Reason::Shed);
    let mut third = Entering::begin(&gate, &high, 1);
    assert_eq!(normal.refused(), Reason::Shed);
    assert_eq!(at_once(&gate, &high, 1).unwrap_err().reason, Reason::QueueFull);
    assert!([&mut first, &mut second, &mut third].into_iter().all(|high| high.poll().is_none()));
    let refused: HashMap<&str, u64> = gate.stats().refused.into_iter().collect();
    assert_eq!((refused["shed"], refused["queue_full"], refused["plane_full"]), (3, 2, 0));
}

#[test]
fn one_tenant_cannot_fill_the_queue_against_its_equals() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(1, 4));
    let _pass = at_once(&gate, &tenant("noisy"), 1).unwrap();
    let mut noisy: Vec<Entering> = (0..4).map(|_| Entering::begin(&gate, &tenant("noisy"), 1)).collect();
    let _first = Entering::begin(&gate, &tenant("quiet"), 1);
    let _second = Entering::begin(&gate, &tenant("quiet"), 1);
    assert_eq!(noisy.pop().unwrap().refused(), Reason::Shed);
    assert_eq!(noisy.pop().unwrap().refused(), Reason::Shed);
    // Now both have two.
    assert_eq!(at_once(&gate, &tenant("quiet"), 1).unwrap_err().reason, Reason::QueueFull);
    assert_eq!(at_once(&gate, &tenant("noisy"), 1).unwrap_err().reason, Reason::QueueFull);
}

#[test]
fn who_could_not_come_in_anyway_pushes_nobody_out() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(1, 1));
    let limited = Tenant { concurrency: 1, ..of_class("people", Priority::High) };
    let _pass = at_once(&gate, &limited, 1).unwrap();
    let mut low = Entering::begin(&gate, &of_class("batch", Priority::Low), 1);
    assert_eq!(at_once(&gate, &limited, 1).unwrap_err().reason, Reason::QueueFull);
    assert!(low.poll().is_none());
}

#[test]
fn a_dropped_request_leaves_the_queue() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(1, 10));
    let pass = at_once(&gate, &tenant("acme"), 1).unwrap();
    let first = Entering::begin(&gate, &tenant("globex"), 1);
    let mut second = Entering::begin(&gate, &tenant("globex"), 1);
    drop(first);
    assert_eq!(gate.stats().waiting, 1);
    drop(pass);
    assert!(second.is_in().is_some());
}

#[test]
fn a_grant_that_nobody_takes_is_handed_on() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(settings(1, 10));
    let pass = at_once(&gate, &tenant("acme"), 1).unwrap();
    let granted = Entering::begin(&gate, &tenant("globex"), 1);
    let mut next = Entering::begin(&gate, &tenant("globex"), 1);
    drop(pass);
    assert!(next.poll().is_none());
    drop(granted);
    let pass = next.is_in().expect("the place of the one that left");
    assert_eq!(gate.stats().in_flight, 1);
    drop(pass);
    assert_eq!(gate.stats().in_flight, 0);
}

#[test]
fn more_room_lets_waiters_in_and_less_sends_nobody_away() {
    let runtime = paused();
    let _time = runtime.enter();
    let gate = Gate::new(AdmissionSettings { tenant_concurrency: 1, ..settings(1, 10) });
    let _pass = at_once(&gate, &tenant("acme"), 1).unwrap();
    let mut same = Entering::begin(&gate, &tenant("acme"), 1);
    let mut other = Entering::begin(&gate, &tenant("globex"), 1);
    gate.configure(AdmissionSettings { tenant_concurrency: 1, ..settings(5, 10) });
    let _other = other.is_in().expect("there is room now");
    assert!(same.poll().is_none());
    gate.configure(settings(5, 10));
    let _same = same.is_in().expect("the tenant has room now");
    gate.configure(settings(1, 10));
    assert_eq!(gate.stats().in_flight, 3);
    let mut late = Entering::begin(&gate, &tenant("acme"), 1);
    gate.configure(AdmissionSettings::default());
    assert!(late.is_in().is_some());
}

#[test]
fn idle_tenants_are_forgotten() {
    let gate = Gate::new(settings(0, 0));
    let passes: Vec<Pass> =
        (0..100).map(|number| at_once(&gate, &tenant(&format!("tenant {number}")), 1).unwrap()).collect();
    assert_eq!(gate.stats().tenants.len(), TENANTS_SHOWN);
    drop(passes);
    assert_eq!(gate.stats().tenants, []);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_the_queues_wait() {
    let gate = Gate::new(settings(1, 10));
    let _pass = gate.enter(&tenant("acme"), 1, None).await.unwrap();
    let began = Instant::now();
    let refused = gate.enter(&tenant("globex"), 1, None).await.unwrap_err();
    assert_eq!((refused.reason, began.elapsed().as_secs()), (Reason::PlaneFull, WAIT.as_secs()));
    gate.configure(settings(5, 10));
    let limited = Tenant { concurrency: 1, ..tenant("acme") };
    let refused = gate.enter(&limited, 1, None).await.unwrap_err();
    assert_eq!(refused.reason, Reason::TenantFull);
    assert_eq!(gate.stats().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_judged_before_the_queue_and_in_it() {
    let gate = Gate::new(settings(1, 10));
    // Requests stay in for four seconds.
    let pass = gate.enter(&tenant("acme"), 1, None).await.unwrap();
    sleep(Duration::from_secs(4)).await;
    drop(pass);
    let _pass = gate.enter(&tenant("acme"), 1, None).await.unwrap();
    let began = Instant::now();
    let hopeless = gate.enter(&tenant("globex"), 1, Some(began + Duration::from_secs(3))).await.unwrap_err();
    assert_eq!((hopeless.reason, began.elapsed()), (Reason::TooLate, Duration::ZERO));
    let late = gate.enter(&tenant("globex"), 1, Some(began + Duration::from_secs(9))).await.unwrap_err();
    assert_eq!((late.reason, began.elapsed().as_secs()), (Reason::TooLate, 9));
}

#[tokio::test(start_paused = true)]
async fn retry_after_grows_with_the_work_before_it() {
    let gate = Gate::new(settings(2, 3));
    let first = gate.enter(&tenant("acme"), 1, None).await.unwrap();
    // Nothing has been measured yet.
    let second = gate.enter(&tenant("acme"), 1, None).await.unwrap();
    gate.configure(settings(2, 0));
    assert_eq!(at_once(&gate, &tenant("acme"), 1).unwrap_err().retry_after, Duration::from_secs(1));
    gate.configure(settings(2, 3));
    sleep(Duration::from_secs(5)).await;
    drop((first, second));
    let _inside = [(); 2].map(|()| at_once(&gate, &tenant("acme"), 1).unwrap());
    let _waiting = [(); 3].map(|()| Entering::begin(&gate, &tenant("acme"), 1));
    // Three are before it, two places, five seconds each: 4 × 5 / 2.
    let refused = at_once(&gate, &tenant("acme"), 1).unwrap_err();
    assert_eq!((refused.reason, refused.retry_after.as_secs()), (Reason::QueueFull, 10));
    // A higher class has nothing before it.
    gate.configure(settings(2, 0));
    let refused = at_once(&gate, &of_class("people", Priority::High), 1).unwrap_err();
    assert_eq!((refused.reason, refused.retry_after.as_secs()), (Reason::PlaneFull, 3));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_a_minute_at_most() {
    let gate = Gate::new(settings(1, 0));
    let pass = at_once(&gate, &tenant("acme"), 1).unwrap();
    sleep(Duration::from_secs(3600)).await;
    drop(pass);
    let _pass = at_once(&gate, &tenant("acme"), 1).unwrap();
    assert_eq!(at_once(&gate, &tenant("acme"), 1).unwrap_err().retry_after.as_secs(), 60);
}

/// Serves tenants that always have something waiting until one of them has had `until` tokens; what each has had.
fn serve_saturated(kinds: &[(u64, u64)], places: usize, until: u64) -> Vec<u64> {
    let gate = Gate::new(settings(u32::try_from(places).unwrap(), 10_000));
    let names: Vec<Tenant> = (0..kinds.len()).map(|number| tenant(&format!("t{number}"))).collect();
    let mut inside: std::collections::VecDeque<(usize, Pass)> = std::collections::VecDeque::new();
    for _ in 0..places {
        inside.push_back((usize::MAX, at_once(&gate, &tenant("before"), 1).unwrap()));
    }
    let mut lines: Vec<std::collections::VecDeque<Entering>> = kinds
        .iter()
        .zip(&names)
        .map(|((expected, _), name)| {
            (0..places + 2).map(|_| Entering::begin(&gate, name, *expected)).collect()
        })
        .collect();
    let mut used = vec![0; kinds.len()];
    while used.iter().all(|used| *used < until) {
        let (of, mut pass) = inside.pop_front().unwrap();
        if let Some((_, actual)) = kinds.get(of) {
            pass.settle(*actual);
            used[of] += actual;
        }
        drop(pass);
        for (number, line) in lines.iter_mut().enumerate() {
            if let Some(pass) = line.front_mut().and_then(Entering::is_in) {
                line.pop_front();
                line.push_back(Entering::begin(&gate, &names[number], kinds[number].0));
                inside.push_back((number, pass));
            }
        }
        assert_eq!(inside.len(), places);
    }
    used
}

#[derive(Clone, Debug)]
enum Step {
    Begin { tenant: usize, tokens: u64 },
    Poll(usize),
    Abandon(usize),
    Settle { pass: usize, tokens: u64 },
    Leave(usize),
    Limit { plane: u32, tenant: u32, queue: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let any = || 0_usize..1000;
    prop_oneof![
        4 => (0_usize..6, 0_u64..5000).prop_map(|(tenant, tokens)| Step::Begin { tenant, tokens }),
        2 => any().prop_map(Step::Poll),
        1 => any().prop_map(Step::Abandon),
        1 => (any(), prop_oneof![0_u64..10_000, Just(u64::MAX)])
            .prop_map(|(pass, tokens)| Step::Settle { pass, tokens }),
        2 => any().prop_map(Step::Leave),
        1 => (0_u32..6, 0_u32..4, 0_u32..12)
            .prop_map(|(plane, tenant, queue)| Step::Limit { plane, tenant, queue }),
    ]
}

/// Collects every verdict that is there, and compares what the gate believes with what is.
fn compare(gate: &Arc<Gate>, waiting: &mut Vec<(usize, Entering)>, inside: &mut Vec<(usize, Pass)>) {
    let mut still = Vec::new();
    for (of, mut entering) in waiting.drain(..) {
        match entering.poll() {
            Some(Ok(pass)) => inside.push((of, pass)),
            Some(Err(refused)) => assert_eq!(refused.reason, Reason::Shed),
            None => still.push((of, entering)),
        }
    }
    *waiting = still;
    let stats = gate.stats();
    assert_eq!((stats.in_flight, stats.waiting), (inside.len() as u64, waiting.len()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However tenants differ in the size of their requests, and however wrongly they are estimated.
    #[test]
    fn tokens_are_shared_evenly_when_saturated(
        kinds in prop::collection::vec((1_u64..2000, 1_u64..2000), 2..5),
        places in 1_usize..6,
    ) {
        let runtime = paused();
        let _time = runtime.enter();
        let used = serve_saturated(&kinds, places, 200_000);
        // What is in flight is charged with what was expected of it, so accounts differ by that much.
        let largest = kinds.iter().map(|(expected, actual)| *expected.max(actual)).max().unwrap_or(0);
        let slack = 2 * largest * (places as u64 + 1);
        let (least, most) = (used.iter().min().copied().unwrap_or(0), used.iter().max().copied().unwrap_or(0));
        prop_assert!(most - least <= slack, "{used:?} with a slack of {slack}");
    }

    #[test]
    fn no_place_is_lost_or_given_twice(steps in prop::collection::vec(step(), 1..200)) {
        let runtime = paused();
        let _time = runtime.enter();
        let mut limits = settings(3, 8);
        let gate = Gate::new(limits);
        let tenants: Vec<Tenant> = (0..6)
            .map(|number| Tenant {
                name: format!("t{}", number / 2).into(),
                priority: Priority::ALL[number % 3],
                concurrency: u32::from(number == 5),
            })
            .collect();
        let mut waiting: Vec<(usize, Entering)> = Vec::new();
        let mut inside: Vec<(usize, Pass)> = Vec::new();
        for step in steps {
            let before = gate.stats();
            match step {
                Step::Begin { tenant: of, tokens } => {
                    let (gate, tenant) = (gate.clone(), tenants[of].clone());
                    let mut entering =
                        Entering(Box::pin(async move { gate.enter(&tenant, tokens, None).await }));
                    match entering.poll() {
                        Some(Ok(pass)) => inside.push((of, pass)),
                        Some(Err(_)) => {}
                        None => waiting.push((of, entering)),
                    }
                }
                Step::Poll(at) if !waiting.is_empty() => {
                    let at = at % waiting.len();
                    match waiting[at].1.poll() {
                        Some(Ok(pass)) => inside.push((waiting.remove(at).0, pass)),
                        Some(Err(_)) => drop(waiting.remove(at)),
                        None => {}
                    }
                }
                // Whether its turn has come or not.
                Step::Abandon(at) if !waiting.is_empty() => drop(waiting.remove(at % waiting.len())),
                Step::Settle { pass, tokens } if !inside.is_empty() => {
                    let at = pass % inside.len();
                    inside[at].1.settle(tokens);
                }
                Step::Leave(at) if !inside.is_empty() => drop(inside.remove(at % inside.len())),
                Step::Limit { plane, tenant, queue } => {
                    limits = AdmissionSettings { tenant_concurrency: tenant, ..settings(plane, queue) };
                    gate.configure(limits);
                }
                _ => {}
            }
            let after = gate.stats();
            if after.in_flight > before.in_flight {
                prop_assert!(limits.concurrency == 0 || after.in_flight <= u64::from(limits.concurrency));
            }
            // Room is never left while somebody could use it.
            if limits.concurrency == 0 || after.in_flight < u64::from(limits.concurrency) {
                compare(&gate, &mut waiting, &mut inside);
                for (of, _) in &waiting {
                    let name = &tenants[*of].name;
                    let own = inside.iter().filter(|(other, _)| tenants[*other].name == *name).count();
                    let some_limit = limits.tenant_concurrency > 0 || name.as_ref() == "t2";
                    prop_assert!(own > 0 && some_limit, "{name} waits with {own} inside");
                }
            }
        }
        compare(&gate, &mut waiting, &mut inside);
        drop(inside);
        drop(waiting);
        let stats = gate.stats();
        prop_assert_eq!((stats.in_flight, stats.waiting), (0, 0));
        prop_assert_eq!(stats.tenants, vec![]);
    }
}

/// Many threads, each with a runtime of its own as the workers have, and requests that are abandoned at any moment.
#[test]
fn places_survive_threads_that_race() {
    const PLACES: u32 = 3;
    let gate = Gate::new(settings(PLACES, 64));
    let inside = Arc::new(AtomicU32::new(0));
    let served = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| {
            let (gate, inside, served) = (gate.clone(), inside.clone(), served.clone());
            std::thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_time().build().unwrap();
                let tasks = tokio::task::LocalSet::new();
                for task in 0..8_u32 {
                    let (gate, inside, served) = (gate.clone(), inside.clone(), served.clone());
                    tasks.spawn_local(async move {
                        let class = Priority::ALL[(task % 3) as usize];
                        let who = of_class(&format!("t{}", (thread + task) % 5), class);
                        for round in 0..300_u32 {
                            let enter = gate.enter(&who, u64::from(round), None);
                            // Some leave in the middle of it.
                            let abandon = async {
                                for _ in 0..(round * 7 + task) % 23 {
                                    tokio::task::yield_now().await;
                                }
                            };
                            let pass = if round % 2 == 0 {
                                tokio::select! { biased; () = abandon => None, pass = enter => pass.ok() }
                            } else {
                                enter.await.ok()
                            };
                            if let Some(mut pass) = pass {
                                assert!(inside.fetch_add(1, Ordering::SeqCst) < PLACES);
                                tokio::task::yield_now().await;
                                pass.settle(1);
                                served.fetch_add(1, Ordering::SeqCst);
                                inside.fetch_sub(1, Ordering::SeqCst);
                            }
                        }
                    });
                }
                runtime.block_on(tasks);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let stats = gate.stats();
    assert_eq!((stats.in_flight, stats.waiting), (0, 0));
    assert_eq!(stats.tenants, []);
    // Every odd round waits until it is served; the queue has room for all.
    assert!(served.load(Ordering::SeqCst) >= 4 * 8 * 150);
}

#[tokio::test]
async fn what_other_replicas_have_in_leaves_less_room_here() {
    let gate = Gate::new(AdmissionSettings { tenant_concurrency: 2, ..settings(4, 8) });
    let mut others = Load::default();
    let mut other = Load::new(3);
    other.add("acme", 2);
    others.join(&other);
    gate.others(others);
    // One of four is free, but the share of one of two replicas is two; of acme's two places one.
    let first = at_once(&gate, &tenant("acme"), 1).unwrap();
    let mut second = Entering::begin(&gate, &tenant("acme"), 1);
    let _third = at_once(&gate, &tenant("globex"), 1).unwrap();
    let mut fourth = Entering::begin(&gate, &tenant("initech"), 1);
    assert!(second.poll().is_none());
    let (load, mut told) = (gate.load(), Load::new(2));
    told.add("acme", 1);
    told.add("globex", 1);
    assert_eq!(load, told);
    // The other replica is gone: its places are ours.
    gate.others(Load::default());
    assert!(second.is_in().is_some() && fourth.is_in().is_some());
    drop(first);
}
