"""What the fleet decides: how many, which next, when again, where placed. No process and no clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meseta.config.fleet import AgentSpec, Replicas, Restart
from meseta.config.snapshot import without_file
from meseta.fleet.backoff import Failures
from meseta.fleet.placement import Placed, Placement, place
from meseta.fleet.plan import Seen, Step, step
from meseta.fleet.scale import Scaler, Traffic
from meseta.fleet.sources import Sources, look

SPEC = AgentSpec("weather", ["agent"], Path("/"), replicas=Replicas(0, 4, 2), idle_ms=60_000)


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    restart = Restart(base_ms=1_000, max_ms=8_000, crash_loop_failures=100)
    most, least = Failures(lambda: 1.0), Failures(lambda: 0.0)
    assert [most.add(float(now), restart) for now in range(6)] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert [least.add(float(now), restart) for now in range(4)] == [0.5, 1.0, 2.0, 4.0]


def test_a_crash_loop_is_so_many_failures_within_the_window() -> None:
    restart = Restart(base_ms=1_000, max_ms=60_000, crash_loop_failures=3, window_ms=100_000)
    failures = Failures(lambda: 1.0)
    assert [failures.add(now, restart) for now in (0.0, 99.0)] == [1.0, 2.0]
    assert not failures.crash_loop
    assert failures.add(99.5, restart) == 60.0
    assert (failures.crash_loop, failures.recent, failures.total) == (True, 3, 3)
    assert failures.add(1_000.0, restart) == 1.0, "it ran long enough to be forgiven"
    assert (failures.crash_loop, failures.recent, failures.total) == (False, 1, 4)


def test_very_many_failures_overflow_nothing() -> None:
    restart = Restart(base_ms=1_000, max_ms=2_000, crash_loop_failures=1_000_000)
    failures = Failures(lambda: 1.0)
    assert [failures.add(0.0, restart) for _ in range(5_000)][-1] == 2.0


def test_nobody_needs_an_agent_until_somebody_does() -> None:
    scaler = Scaler(0.0, settle_seconds=10.0)
    assert scaler.desired(SPEC, Traffic(), 1.0) == 0
    scaler.want(2.0)
    assert scaler.desired(SPEC, Traffic(), 2.0) == 1
    assert scaler.desired(SPEC, Traffic(), 61.0) == 1
    assert scaler.desired(SPEC, Traffic(), 62.0) == 0
    # A request so short that nobody saw it under way.
    assert scaler.desired(SPEC, Traffic(last_request_seconds=5.0), 100.0) == 1
    assert scaler.desired(SPEC, Traffic(last_request_seconds=61.0), 156.0) == 0
    assert scaler.desired(SPEC, Traffic(last_request_seconds=1_000.0), 157.0) == 0, "before it was followed"


def test_work_decides_between_the_bounds_and_falls_slowly() -> None:
    scaler = Scaler(0.0, settle_seconds=10.0)
    assert scaler.desired(SPEC, Traffic(waiting=1, in_flight=4), 0.0) == 3
    assert scaler.desired(SPEC, Traffic(in_flight=100), 1.0) == 4
    assert scaler.desired(SPEC, Traffic(in_flight=3), 2.0) == 4
    assert scaler.desired(SPEC, Traffic(in_flight=1), 11.5) == 2, "what was needed ten seconds ago counts"
    assert scaler.desired(SPEC, Traffic(in_flight=1), 12.5) == 1
    few = replace(SPEC, replicas=Replicas(2, 2, 2), idle_ms=None)
    assert Scaler(0.0).desired(few, Traffic(in_flight=100), 0.0) == 2


def test_an_agent_without_idle_stays_awake() -> None:
    scaler = Scaler(0.0, settle_seconds=1.0)
    spec = replace(SPEC, idle_ms=None)
    assert scaler.desired(spec, Traffic(), 0.0) == 0
    assert scaler.desired(spec, Traffic(in_flight=4), 1.0) == 2
    assert scaler.desired(spec, Traffic(), 1_000_000.0) == 1


def test_an_idle_time_shorter_than_the_wave_counts() -> None:
    scaler = Scaler(0.0, settle_seconds=60.0)
    spec = replace(SPEC, idle_ms=5_000)
    assert scaler.desired(spec, Traffic(in_flight=3), 0.0) == 2
    assert scaler.desired(spec, Traffic(), 4.0) == 2
    assert scaler.desired(spec, Traffic(), 5.5) == 0


def test_a_pin_wins() -> None:
    scaler = Scaler(0.0)
    scaler.pinned = 7
    assert scaler.desired(SPEC, Traffic(in_flight=1), 0.0) == 7
    scaler.pinned = 0
    assert scaler.desired(SPEC, Traffic(waiting=5), 1.0) == 0
    scaler.pinned = None
    assert scaler.desired(SPEC, Traffic(waiting=5), 2.0) == 3


def old(number: int, *, ready: bool = True, retiring: bool = False) -> Seen:
    return Seen(number, False, ready, retiring)


def new(number: int, *, ready: bool = True, retiring: bool = False) -> Seen:
    return Seen(number, True, ready, retiring)


@pytest.mark.parametrize(
    ("seen", "desired", "todo"),
    [
        ([], 0, Step([], [])),
        ([], 3, Step([1, 2, 3], [])),
        ([new(2)], 2, Step([1], [])),
        ([new(1), new(2)], 2, Step([], [])),
        ([new(1), new(2), new(3)], 1, Step([], [3, 2])),
        ([new(1, ready=False), new(2)], 1, Step([], [1])),
        ([new(1), old(2), new(3, retiring=True)], 0, Step([], [1, 2])),
        # One more at a time, and the old ones go as the new ones come.
        ([old(1), old(2)], 2, Step([3], [])),
        ([old(1), old(2), new(3, ready=False)], 2, Step([], [])),
        ([old(1), old(2), new(3)], 2, Step([4], [1])),
        ([old(1, retiring=True), old(2), new(3), new(4)], 2, Step([], [2])),
        ([old(1, ready=False), old(2)], 2, Step([3], [1])),
        ([old(1, ready=False)], 1, Step([2], [1])),
        # More is wanted while it rolls, and less.
        ([old(1)], 3, Step([2, 3], [])),
        ([old(1), old(2), old(3)], 1, Step([], [1, 2])),
        ([old(1), old(2), new(3, ready=False)], 1, Step([], [1])),
        ([old(1), old(2), new(3)], 1, Step([], [1, 2])),
        # Old ones that drain for long do not pile up.
        ([old(1, retiring=True), old(2, retiring=True), old(3)], 1, Step([], [])),
    ],
)
def test_the_next_step(seen: list[Seen], desired: int, todo: Step) -> None:
    assert step(seen, desired) == todo


INSTANCES = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.booleans()).map(lambda flags: flags), max_size=9
).map(lambda rows: [Seen(number, *flags) for number, flags in enumerate(rows, 1)])


@given(INSTANCES, st.integers(0, 5))
def test_a_step_never_leaves_fewer_ready_than_before_or_than_desired(seen: list[Seen], desired: int) -> None:
    todo = step(seen, desired)
    ready = {one.number for one in seen if one.ready and not one.retiring}
    assert len(ready - set(todo.retire)) >= min(len(ready), desired)
    assert not set(todo.start) & {one.number for one in seen}
    assert set(todo.retire) <= {one.number for one in seen if not one.retiring}
    assert len(seen) + len(todo.start) <= max(len(seen), 2 * desired + 1)


@given(INSTANCES, st.integers(0, 5))
def test_steps_come_to_an_end_that_is_what_was_desired(seen: list[Seen], desired: int) -> None:
    """What was started becomes ready, what was told to end has ended, by the next step."""
    for _ in range(40):
        todo = step(seen, desired)
        seen = [one for one in seen if one.number not in todo.retire and not one.retiring]
        seen = [one._replace(ready=True) for one in seen] + [new(number) for number in todo.start]
    assert len(seen) == desired
    assert all(one.current for one in seen)


def resolved() -> Any:
    document: Any = without_file({}, Path("/home"))
    pool = {"name": "agent/weather", "members": []}
    document["agents"] = [{"id": "weather", "pool": pool, "hold": None, "token_sha256": None}]
    return document


TARGET = {"name": "agent/weather", "base_url": "http://127.0.0.1:0/api/v1", "dialects": ["openai_chat"]}


def test_members_are_asked_and_those_that_drain_are_targets_alone() -> None:
    document = resolved()
    instances = (
        Placed("weather", 1, 4001, member=True, target=TARGET),
        Placed("weather", 2, 4002, member=False, target=TARGET),
        Placed("gone", 1, 4003, member=False, target={}),
    )
    placed: Any = place(document, Placement(instances, {"weather": "ab", "gone": "cd"}))
    assert [(target["name"], target["base_url"]) for target in placed["targets"][-3:]] == [
        ("agent/weather/1", "http://127.0.0.1:4001/api/v1"),
        ("agent/weather/2", "http://127.0.0.1:4002/api/v1"),
        ("agent/gone/1", "http://127.0.0.1:4003/v1"),
    ]
    (agent,) = placed["agents"]
    assert [member["target"] for member in agent["pool"]["members"]] == ["agent/weather/1"]
    assert agent["token_sha256"] == "ab"
    assert document == resolved(), "what was given is as it was"


def test_nobody_waits_for_an_agent_that_is_absent() -> None:
    document = resolved()
    document["agents"][0]["hold"] = {"requests": 7, "ms": 60_000}
    placed: Any = place(document, Placement((), {"weather": "ab"}, frozenset({"weather"})))
    assert placed["agents"][0]["hold"] == {"requests": 7, "ms": 0}
    assert document["agents"][0]["hold"]["ms"] == 60_000
    assert place(document, Placement((), {"weather": "ab"}))["agents"][0]["hold"] == {
        "requests": 7,
        "ms": 60_000,
    }


def test_nothing_placed_changes_nothing() -> None:
    document = resolved()
    assert place(document, Placement()) is document


def test_secrets_of_a_target_are_not_shown() -> None:
    placed = Placed("weather", 1, 1, member=True, target={"credentials": [{"value": "sk-secret"}]})
    assert "sk-secret" not in repr(Placement((placed,)))


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one")
    (tmp_path / ".hidden").mkdir()
    for skipped in (".hidden/b.py", "c.txt"):
        (tmp_path / skipped).write_text("")
    first = look(tmp_path, ["**/*.py", "[", "/absolute", ""])
    assert list(first) == [str(tmp_path / "a.py")]
    sources = Sources(first)
    (tmp_path / "a.py").write_text("one and two")
    second = look(tmp_path, ["**/*.py"])
    assert [sources.changed(marks) for marks in (first, second, second, second)] == [
        False,
        False,
        True,
        False,
    ]
    assert [sources.changed(marks) for marks in (first, second, second)] == [False] * 3, "it was changed back"
    assert look(tmp_path / "nowhere", ["*"]) == {}
