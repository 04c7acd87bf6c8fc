use meseta_wire::failure::Cause;
use meseta_wire::limits::{ProviderLimits, Window};

use super::status::{ProbeStatus, State};
use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

pub(super) fn settings() -> Settings {
    Settings {
        failures: 5,
        error_percent: 50.0,
        minimum_requests: 20,
        window: S(30),
        rest: S(10),
        rest_max: S(300),
        ramp: S(15),
        concurrency: 0,
        queue: 0,
        queue_time: S(1),
        keys: vec![1],
        place: 0,
    }
}

fn with_keys(keys: &[u64]) -> Arc<Settings> {
    Arc::new(Settings { keys: keys.to_vec(), ..settings() })
}

fn eject(target: &Arc<TargetHealth>, settings: &Arc<Settings>, now: Instant) {
    for _ in 0..settings.failures {
        target.begin(settings, Call::default(), now).unwrap().finish(Verdict::Failed(Cause::Error), now);
    }
}

fn is_resting(standing: Standing) -> bool {
    matches!(standing, Standing::Resting { .. })
}

#[test]
fn a_name_keeps_its_state_until_nobody_wants_it() {
    let health = Health::new();
    let target = health.of("a");
    assert!(Arc::ptr_eq(&target, &health.of("a")));
    health.retain(|name| name != "a");
    assert!(!Arc::ptr_eq(&target, &health.of("a")));
}

#[test]
fn a_broken_target_rests_and_only_a_last_resort_asks_it() {
    let (target, settings, now) = (Health::new().of("a"), with_keys(&[1]), Instant::now());
    eject(&target, &settings, now);
    assert!(is_resting(target.standing(&settings, 0, now)));
    assert!(is_resting(target.begin(&settings, Call::default(), now).unwrap_err()));
    let last_resort = Call { last_resort: true, ..Call::default() };
    assert!(target.begin(&settings, last_resort, now).is_ok());
    let later = now + S(12);
    assert_eq!(target.standing(&settings, 0, later), Standing::Trial);
    for _ in 0..2 {
        let trial = target.begin(&settings, Call::default(), later).unwrap();
        assert!(is_resting(target.begin(&settings, Call::default(), later).unwrap_err()));
        trial.finish(Verdict::Success, later);
    }
    let standing = target.standing(&settings, 0, later);
    assert_eq!(standing, Standing::Ready { share: 0.1, in_flight: 0, latency: None });
}

#[test]
fn a_dropped_trial_makes_room_for_the_next() {
    let (target, settings, now) = (Health::new().of("a"), with_keys(&[1]), Instant::now());
    eject(&target, &settings, now);
    let later = now + S(12);
    drop(target.begin(&settings, Call::default(), later).unwrap());
    assert_eq!(target.standing(&settings, 0, later), Standing::Trial);
}

#[test]
fn calls_spread_over_keys_and_a_retry_gets_another_one() {
    let (target, settings, now) = (Health::new().of("a"), with_keys(&[1, 2, 3]), Instant::now());
    let tickets: Vec<Ticket> =
        (0..9).map(|_| target.begin(&settings, Call::default(), now).unwrap()).collect();
    for key in 0..3 {
        assert_eq!(tickets.iter().filter(|ticket| ticket.key() == key).count(), 3);
    }
    let mut spent = 0;
    for _ in 0..3 {
        let ticket = target.begin(&settings, Call { spent, ..Call::default() }, now).unwrap();
        assert_eq!(spent & 1 << ticket.key(), 0);
        spent |= 1 << ticket.key();
    }
    let call = Call { spent, last_resort: true, ..Call::default() };
    assert_eq!(target.begin(&settings, call, now).unwrap_err(), Standing::Spent);
}

#[test]
fn a_key_that_is_not_accepted_rests_alone_and_comes_back() {
    let (target, settings, now) = (Health::new().of("a"), with_keys(&[1, 2]), Instant::now());
    for _ in 0..2 {
        let ticket = target.begin(&settings, Call { spent: 2, ..Call::default() }, now).unwrap();
        assert_eq!(ticket.key(), 0);
        ticket.finish(Verdict::KeyFailed(Cause::Credential), now);
    }
    for _ in 0..20 {
        assert_eq!(target.begin(&settings, Call::default(), now).unwrap().key(), 1);
    }
    assert!(matches!(target.standing(&settings, 0, now), Standing::Ready { share: 1.0, .. }));
    let later = now + S(12);
    let mut tried = 0;
    for _ in 0..200 {
        let ticket = target.begin(&settings, Call::default(), later).unwrap();
        tried += usize::from(ticket.key() == 0);
        ticket.finish(Verdict::Success, later);
    }
    assert!(tried >= 2, "the key was never tried again");
}

#[test]
fn a_new_key_in_the_place_of_a_bad_one_does_not_rest() {
    let (target, old, now) = (Health::new().of("a"), with_keys(&[1]), Instant::now());
    let held = target.begin(&old, Call::default(), now).unwrap();
    for _ in 0..2 {
        target.begin(&old, Call::default(), now).unwrap().finish(Verdict::KeyFailed(Cause::Credential), now);
    }
    assert!(is_resting(target.standing(&old, 0, now)));
    let new = with_keys(&[2]);
    assert!(matches!(target.standing(&new, 0, now), Standing::Ready { .. }));
    assert!(is_resting(target.standing(&old, 0, now)), "the old one is remembered");
    held.finish(Verdict::Neutral, now);
    let both = with_keys(&[2, 1]);
    assert_eq!(target.begin(&both, Call::default(), now).unwrap().key(), 0);
    let status = target.status(now);
    assert_eq!(status.in_flight, 0);
    assert_eq!(status.keys.iter().map(|key| key.state).collect::<Vec<_>>(), [State::Ready, State::Resting]);
}

#[test]
fn limits_are_obeyed_by_everybody_and_end() {
    let (target, settings, now) = (Health::new().of("a"), with_keys(&[1]), Instant::now());
    let ticket = target.begin(&settings, Call::default(), now).unwrap();
    let window = Window { limit: Some(100), remaining: 0, reset: Some(S(7)) };
    ticket.limits(&ProviderLimits { requests: Some(window), ..ProviderLimits::default() }, now);
    ticket.finish(Verdict::Success, now);
    let limited = Standing::Limited { until: now + S(7) };
    assert_eq!(target.standing(&settings, 0, now), limited);
    let call = Call { last_resort: true, ..Call::default() };
    assert_eq!(target.begin(&settings, call, now).unwrap_err(), limited);
    assert!(target.begin(&settings, call, now + S(7)).is_ok());
}

#[test]
fn a_refusal_takes_away_one_key_only() {
    let (target, settings, now) = (Health::new().of("a"), with_keys(&[1, 2]), Instant::now());
    let ticket = target.begin(&settings, Call::default(), now).unwrap();
    let refused = ticket.key();
    ticket.finish(Verdict::Limited { until: Some(now + S(30)) }, now);
    for _ in 0..20 {
        let ticket = target.begin(&settings, Call::default(), now).unwrap();
        assert_ne!(ticket.key(), refused);
    }
}

#[test]
fn slots_are_counted_and_freed() {
    let now = Instant::now();
    let (target, settings) = (Health::new().of("a"), Arc::new(Settings { concurrency: 2, ..settings() }));
    let first = target.begin(&settings, Call::default(), now).unwrap();
    let second = target.begin(&settings, Call::default(), now).unwrap();
    let call = Call { last_resort: true, ..Call::default() };
    assert_eq!(target.begin(&settings, call, now).unwrap_err(), Standing::Full);
    drop(first);
    assert!(target.begin(&settings, call, now).is_ok());
    second.finish(Verdict::Success, now);
    assert_eq!(target.status(now).in_flight, 0);
}

#[test]
fn waiting_in_vain_counts_as_latency_once() {
    let (target, settings, now) = (Health::new().of("a"), with_keys(&[1]), Instant::now());
    let ticket = target.begin(&settings, Call::default(), now).unwrap();
    ticket.finish(Verdict::Failed(Cause::Timeout), now + S(3));
    assert_eq!(target.status(now + S(3)).latency, Some(S(3)));
    let ticket = target.begin(&settings, Call::default(), now + S(3)).unwrap();
    ticket.first_token(S(4), now + S(7));
    ticket.finish(Verdict::Failed(Cause::Timeout), now + S(60));
    assert_eq!(target.status(now + S(7)).latency, Some(S(4)));
    let ticket = target.begin(&settings, Call::default(), now + S(7)).unwrap();
    ticket.complete(S(5), now + S(7));
    let status = target.status(now + S(7));
    assert_eq!((status.latency, status.in_flight, status.failures), (Some(S(5)), 0, 0));
}

#[test]
fn reset_forgets_what_was_held_against_a_target() {
    let (health, settings, now) = (Health::new(), with_keys(&[1]), Instant::now());
    let (broken, limited) = (health.of("broken"), health.of("limited"));
    health.of("well");
    eject(&broken, &settings, now);
    let ticket = limited.begin(&settings, Call::default(), now).unwrap();
    ticket.finish(Verdict::Limited { until: None }, now);
    let states = |now| health.status(now).into_iter().map(|status| status.state).collect::<Vec<_>>();
    assert_eq!(states(now), [State::Resting, State::Limited, State::Ready]);
    assert_eq!(health.reset(Some("well"), now), 0);
    assert_eq!(health.reset(Some("nobody"), now), 0);
    assert_eq!(health.reset(Some("broken"), now), 1);
    assert_eq!(health.reset(None, now), 1);
    assert_eq!(states(now), [State::Ready; 3]);
}

#[test]
fn another_address_begins_anew() {
    let (target, settings, now) = (Health::new().of("a"), with_keys(&[1]), Instant::now());
    let moved = Arc::new(Settings { place: 7, ..(*settings).clone() });
    target.configure(&settings, now);
    eject(&target, &settings, now);
    target.configure(&settings, now);
    assert!(is_resting(target.standing(&settings, 0, now)));
    let early = target.begin(&settings, Call { last_resort: true, ..Call::default() }, now).unwrap();
    target.configure(&moved, now);
    assert!(matches!(target.standing(&moved, 0, now), Standing::Ready { in_flight: 1, latency: None, .. }));
    early.finish(Verdict::KeyFailed(Cause::Credential), now);
    assert!(matches!(target.standing(&moved, 0, now), Standing::Ready { in_flight: 0, .. }));
}

#[test]
fn ejections_are_told_once_and_believed_within_reason() {
    let (here, there) = (Health::new(), Health::new());
    let (settings, now) = (with_keys(&[1]), Instant::now());
    eject(&here.of("a"), &settings, now);
    let hints = here.drain_hints(now + S(1));
    assert_eq!(hints.len(), 1);
    assert!(here.drain_hints(now + S(1)).is_empty());
    let target = there.of("a");
    for (name, rest) in hints {
        assert!(rest >= S(8) && rest <= S(10), "{rest:?}");
        there.hint(&name, rest, &settings, now);
    }
    assert!(is_resting(target.standing(&settings, 0, now + S(7))));
    assert_eq!(target.standing(&settings, 0, now + S(10)), Standing::Trial);
    assert!(there.drain_hints(now).is_empty(), "what others said is not told again");
    there.hint("nobody", S(5), &settings, now);
    assert_eq!(there.status(now).len(), 1);
    there.of("b");
    there.hint("b", Duration::MAX, &settings, now);
    assert_eq!(there.of("b").standing(&settings, 0, now), Standing::Resting { until: now + S(300) });
}

#[test]
fn a_probe_is_shown_and_a_bad_one_counts() {
    let (health, settings, now) = (Health::new(), with_keys(&[1]), Instant::now());
    let target = health.of("a");
    for _ in 0..5 {
        target.probed(&settings, Err(Cause::Timeout), now);
    }
    assert!(is_resting(target.standing(&settings, 0, now)));
    let status = &health.status(now + S(2))[0];
    assert_eq!(status.probe, Some(ProbeStatus { ago: S(2), cause: Some(Cause::Timeout) }));
    assert_eq!((status.state, status.cause), (State::Resting, Some(Cause::Timeout)));
}
