use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::random::Random;
use super::*;

const ALL: [Select; 7] = [
    Select::Weighted,
    Select::RoundRobin,
    Select::LeastLatency,
    Select::LeastBusy,
    Select::Cheapest,
    Select::Priority,
    Select::SessionHash,
];

fn ready(in_flight: u32, latency: Option<u64>) -> Standing {
    Standing::Ready { share: 1.0, in_flight, latency: latency.map(Duration::from_millis) }
}

fn candidate(standing: Standing) -> Candidate {
    Candidate { weight: 1.0, priority: 0, standing, price: None, key_hash: 0 }
}

/// How often each candidate came first.
fn firsts(select: Select, candidates: &[Candidate], session: Option<u64>, draws: u64) -> Vec<f64> {
    let mut random = Random::new(42);
    let mut counts = vec![0.0; candidates.len()];
    for turn in 0..draws {
        counts[order(select, candidates, session, random.next(), turn)[0]] += 1.0;
    }
    #[allow(clippy::cast_precision_loss)]
    counts.iter().map(|count| count / draws as f64).collect()
}

fn near(found: &[f64], wanted: &[f64]) {
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 0.015, "{found} is not near {wanted}");
    }
}

#[test]
fn weights_are_kept() {
    let members = [1.0, 2.0, 7.0, 0.0].map(|weight| Candidate { weight, ..candidate(ready(0, None)) });
    near(&firsts(Select::Weighted, &members, None, 20_000), &[0.1, 0.2, 0.7, 0.0]);
    near(&firsts(Select::SessionHash, &members, None, 20_000), &[0.1, 0.2, 0.7, 0.0]);
}

#[test]
fn who_comes_back_gets_its_share_of_its_weight() {
    let back = Standing::Ready { share: 0.25, in_flight: 0, latency: None };
    let members = [candidate(back), candidate(ready(0, None))];
    near(&firsts(Select::Weighted, &members, None, 20_000), &[0.2, 0.8]);
    near(&firsts(Select::Priority, &members, None, 20_000), &[0.25, 0.75]);
    let members = [candidate(Standing::Trial), candidate(ready(0, None))];
    near(&firsts(Select::Weighted, &members, None, 20_000), &[0.1 / 1.1, 1.0 / 1.1]);
    near(&firsts(Select::Priority, &members, None, 20_000), &[0.1, 0.9]);
}

#[test]
fn a_group_that_comes_back_leaves_the_rest_of_its_traffic_to_the_next() {
    let back = Standing::Ready { share: 0.3, in_flight: 0, latency: None };
    let next = Candidate { priority: 1, ..candidate(ready(0, None)) };
    for select in ALL {
        near(&firsts(select, &[next, candidate(back)], Some(5), 20_000), &[0.7, 0.3]);
    }
}

#[test]
fn turns_go_round_among_those_who_can() {
    let resting = Standing::Resting { until: Instant::now() };
    let members = [candidate(ready(0, None)), candidate(resting), candidate(ready(0, None))];
    let orders: Vec<_> = (0..3).map(|turn| order(Select::RoundRobin, &members, None, 1, turn)).collect();
    assert_eq!(orders, [[0, 2, 1], [2, 0, 1], [0, 2, 1]]);
}

#[test]
fn the_faster_and_emptier_of_two_is_asked() {
    let two = [candidate(ready(0, Some(100))), candidate(ready(0, Some(90)))];
    near(&firsts(Select::LeastLatency, &two, None, 1000), &[0.0, 1.0]);
    let two = [candidate(ready(0, Some(100))), candidate(ready(1, Some(90)))];
    near(&firsts(Select::LeastLatency, &two, None, 1000), &[1.0, 0.0]);
    let three = [100, 200, 300].map(|latency| candidate(ready(0, Some(latency))));
    near(&firsts(Select::LeastLatency, &three, None, 20_000), &[2.0 / 3.0, 1.0 / 3.0, 0.0]);
}

#[test]
fn who_was_never_measured_is_asked_first_by_one_call() {
    let new = [candidate(ready(0, Some(1))), candidate(ready(0, Some(1))), candidate(ready(0, None))];
    near(&firsts(Select::LeastLatency, &new, None, 1000), &[0.0, 0.0, 1.0]);
    let asked = [candidate(ready(0, Some(1))), candidate(ready(0, Some(1))), candidate(ready(1, None))];
    near(&firsts(Select::LeastLatency, &asked, None, 1000)[2..], &[0.0]);
}

#[test]
fn the_emptiest_by_weight_and_the_cheapest_are_asked() {
    let heavy = Candidate { weight: 4.0, ..candidate(ready(3, None)) };
    let light = candidate(ready(1, None));
    assert_eq!(order(Select::LeastBusy, &[light, heavy], None, 3, 0), [1, 0]);
    let idle = [candidate(ready(0, None)), Candidate { weight: 3.0, ..candidate(ready(0, None)) }];
    near(&firsts(Select::LeastBusy, &idle, None, 20_000), &[0.25, 0.75]);
    let priced = |price, in_flight| Candidate { price, ..candidate(ready(in_flight, None)) };
    let members = [priced(None, 0), priced(Some(2.0), 0), priced(Some(1.0), 5), priced(Some(1.0), 4)];
    assert_eq!(order(Select::Cheapest, &members, None, 3, 0), [3, 2, 1, 0]);
}

#[test]
fn those_who_cannot_are_last_in_the_order_in_which_they_free_up() {
    let now = Instant::now();
    let after = |seconds| now + Duration::from_secs(seconds);
    let members = [
        candidate(Standing::Spent),
        candidate(Standing::Limited { until: after(9) }),
        candidate(Standing::Resting { until: after(5) }),
        candidate(Standing::Full),
        Candidate { priority: 3, ..candidate(Standing::Trial) },
    ];
    for select in ALL {
        assert_eq!(order(select, &members, Some(1), 3, 0), [4, 3, 2, 1, 0]);
    }
}

#[test]
fn a_session_moves_only_when_its_member_goes() {
    let members: Vec<Candidate> =
        (0..10).map(|key_hash| Candidate { key_hash, ..candidate(ready(0, None)) }).collect();
    let mut without = members.clone();
    without[3].standing = Standing::Resting { until: Instant::now() };
    let mut random = Random::new(9);
    let mut counts = BTreeMap::new();
    for _ in 0..5000 {
        let session = Some(random.next());
        let before = order(Select::SessionHash, &members, session, random.next(), 0)[0];
        let after = order(Select::SessionHash, &without, session, random.next(), 1)[0];
        assert!(before == after || before == 3);
        assert_ne!(after, 3);
        *counts.entry(before).or_insert(0) += 1;
    }
    assert!(counts.len() == 10 && counts.values().all(|count| (400..600).contains(count)), "{counts:?}");
}

#[test]
fn sessions_return_gradually_and_stay() {
    let mut random = Random::new(11);
    let sessions: Vec<u64> = (0..2000).map(|_| random.next()).collect();
    let mut home: Vec<bool> = vec![false; sessions.len()];
    for share in [0.1_f32, 0.4, 0.7, 1.0] {
        let members = [
            Candidate { key_hash: 1, ..candidate(Standing::Ready { share, in_flight: 0, latency: None }) },
            Candidate { key_hash: 2, ..candidate(ready(0, None)) },
        ];
        for (session, home) in sessions.iter().zip(&mut home) {
            let first = order(Select::SessionHash, &members, Some(*session), random.next(), 0)[0];
            assert!(!*home || first == 0, "a session that had returned has left again");
            *home = first == 0;
        }
        #[allow(clippy::cast_precision_loss)]
        let returned = home.iter().filter(|home| **home).count() as f64 / sessions.len() as f64;
        assert!((returned - f64::from(share) / 2.0).abs() < 0.04, "{returned} at {share}");
    }
}

fn standings() -> impl Strategy<Value = Standing> {
    let base = Instant::now();
    prop_oneof![
        (0.0_f32..=1.0, 0_u32..50, proptest::option::of(0_u64..10_000)).prop_map(
            |(share, in_flight, latency)| {
                Standing::Ready { share, in_flight, latency: latency.map(Duration::from_millis) }
            }
        ),
        Just(Standing::Trial),
        (0_u64..100).prop_map(move |wait| Standing::Resting { until: base + Duration::from_secs(wait) }),
        (0_u64..100).prop_map(move |wait| Standing::Limited { until: base + Duration::from_secs(wait) }),
        Just(Standing::Full),
        Just(Standing::Spent),
    ]
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (any::<f64>(), 0_u32..4, standings(), proptest::option::of(any::<f64>()), any::<u64>())
        .prop_map(|(weight, priority, standing, price, key_hash)| Candidate {
            weight,
            priority,
            standing,
            price,
            key_hash,
        });
    proptest::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn everybody_is_there_once_and_those_who_cannot_are_last(
        members in candidates(), session: Option<u64>, random: u64, turn: u64, select in 0_usize..7,
    ) {
        let order = order(ALL[select], &members, session, random, turn);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..members.len()).collect::<Vec<_>>());
        let open: Vec<bool> = order
            .iter()
            .map(|index| matches!(members[*index].standing, Standing::Ready { .. } | Standing::Trial))
            .collect();
        prop_assert!(open.is_sorted_by(|one, other| one >= other));
    }

    #[test]
    fn groups_that_are_wholly_well_are_in_order(
        mut members in candidates(), session: Option<u64>, random: u64, turn: u64, select in 0_usize..7,
    ) {
        for member in &mut members {
            member.standing = ready(u32::from(member.key_hash % 3 == 0), Some(member.key_hash % 1000));
        }
        let order = order(ALL[select], &members, session, random, turn);
        prop_assert!(order.is_sorted_by_key(|index| members[*index].priority));
    }
}
