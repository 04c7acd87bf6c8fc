"""Scopes: what is set within a block, what is inherited, what no header can carry."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from meseta.sdk.outgoing import duration, idempotency_key, scope_headers
from meseta.sdk.scopes import Scope, current, parse_duration, run, session
from meseta.sdk.traces import Trace

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_blocks_nest_and_end() -> None:
    assert current() == Scope()
    with session("s1", tags="gold"):
        assert (current().session, current().run, current().tags) == ("s1", None, ("gold",))
        with run("r1", tags=["gold", "beta"]) as entered:
            assert entered.name == "r1"
            assert (current().session, current().run, current().tags) == ("s1", "r1", ("gold", "beta"))
            with session("s2"):
                assert (current().session, current().run) == ("s2", "r1")
        assert current().run is None
    assert current() == Scope()


def test_a_run_has_a_name_and_one_trace() -> None:
    with run() as one:
        trace = current().trace
        assert trace is not None
        assert current().run == one.name
        with run() as two:
            assert current().trace == trace, "a run within a run is a part of its trace"
    assert one.name != two.name
    with run():
        assert current().trace != trace


def test_a_session_starts_no_trace() -> None:
    with session("s"):
        one, two = scope_headers({}, {}), scope_headers({}, {})
    assert one["traceparent"] != two["traceparent"]
    assert Trace.parse(one["traceparent"]) is not None


def test_deadlines_only_shrink() -> None:
    with run(seconds=1000), run(seconds=5000):
        left = current().seconds_left
        assert left is not None
        assert 900 < left <= 1000
        header = parse_duration(scope_headers({}, {})["x-meseta-deadline"])
        assert header is not None
        assert 900 < header <= 1000
    with pytest.raises(ValueError, match="seconds"):
        run(seconds=0)


@pytest.mark.parametrize("name", ["", " s", "s\r\nx: y", "é", "s" * 257, "s\x00"])
def test_names_that_no_header_carries(name: str) -> None:
    for make in (session, run):
        with pytest.raises(ValueError, match="visible ASCII"):
            make(name)
    with pytest.raises(ValueError, match="visible ASCII"):
        session("s", tags=[name])


def test_tags_have_no_commas_and_a_bound_together() -> None:
    with pytest.raises(ValueError, match="comma"):
        session("s", tags="a,b")
    with session("s", tags=["a" * 200]), pytest.raises(ValueError, match="together"):
        run(tags=["b" * 100])


def test_tasks_inherit_and_do_not_mix() -> None:
    async def one(name: str) -> str | None:
        with session(name):
            await asyncio.sleep(0)
            return current().session

    async def inner() -> str | None:
        return current().session

    async def all_of_them() -> None:
        with session("outer"):
            names = [f"s{number}" for number in range(20)]
            assert await asyncio.gather(*map(one, names)) == names
            assert await asyncio.create_task(inner()) == "outer"

    asyncio.run(all_of_them())


def test_a_thread_starts_with_nothing_unless_it_is_given_the_context() -> None:
    seen: list[str | None] = []

    def look() -> None:
        seen.append(current().session)

    with session("s"):
        for target in (look, lambda: contextvars.copy_context().run(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(look))
    thread.start()
    thread.join()
    assert seen == [None, None, "s"]


def test_a_block_that_another_task_closes_does_no_harm() -> None:
    async def generator() -> AsyncGenerator[str | None, None]:
        with session("s"):
            yield current().session

    async def step(pieces: AsyncIterator[str | None]) -> str | None:
        return await anext(pieces)

    async def work() -> None:
        pieces = generator()
        assert await asyncio.create_task(step(pieces)) == "s"
        await asyncio.create_task(pieces.aclose())
        assert current().session is None

    asyncio.run(work())


def test_a_scope_is_entered_once_at_a_time() -> None:
    with session("s") as entered, pytest.raises(RuntimeError, match="entered"):
        entered.__enter__()


def test_the_scope_of_a_request() -> None:
    headers = {
        "x-meseta-session": "s",
        "x-meseta-run": "r",
        "x-meseta-tags": "a, b,,",
        "x-meseta-context": "token",
        "x-meseta-deadline": "1500ms",
        "traceparent": TRACEPARENT,
        "tracestate": "v=1",
    }
    scope = Scope.of_request(headers)
    assert (scope.session, scope.run, scope.tags, scope.context) == ("s", "r", ("a", "b"), "token")
    assert scope.trace is not None
    assert (scope.trace.header, scope.trace.state) == (TRACEPARENT, "v=1")
    assert scope.seconds_left is not None
    assert 0 < scope.seconds_left <= 1.5


@pytest.mark.parametrize(
    "headers",
    [
        {"x-meseta-session": "s" * 257},
        {"x-meseta-session": "\xe9"},
        {"x-meseta-context": "c" * 9000},
        {"x-meseta-deadline": "soon"},
        {"x-meseta-deadline": "9" * 400 + "s"},
        {"traceparent": "00-" + "0" * 32 + "-00f067aa0ba902b7-01"},
        {"traceparent": "ff" + TRACEPARENT[2:]},
        {"traceparent": TRACEPARENT.upper()},
        {"tracestate": "v=1"},
    ],
)
def test_what_a_request_says_wrongly_is_left_out(headers: dict[str, str]) -> None:
    assert Scope.of_request(headers) == Scope()


def test_what_the_caller_wrote_itself_stays() -> None:
    with session("ours", tags="t"), run("r"):
        present = {"x-meseta-session": "theirs", "traceparent": TRACEPARENT}
        headers = scope_headers({}, present)
    assert headers == {"x-meseta-run": "r", "x-meseta-tags": "t"}


def test_the_scope_wins_over_the_connection() -> None:
    defaults = {"x-meseta-session": "default", "x-meseta-tags": "d"}
    with session("ours"):
        assert scope_headers(defaults, dict(defaults))["x-meseta-session"] == "ours"
    outside = scope_headers(defaults, {})
    assert (outside["x-meseta-session"], outside["x-meseta-tags"]) == ("default", "d")


def test_the_span_of_opentelemetry_is_the_parent() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(
        trace.SpanContext(0x1234, 0x56, is_remote=False, trace_flags=trace.TraceFlags(1))
    )
    with trace.use_span(span), run():
        assert scope_headers({}, {})["traceparent"] == f"00-{0x1234:032x}-{0x56:016x}-01"


def test_a_retry_has_the_key_of_what_it_repeats() -> None:
    first = idempotency_key("POST", "http://g/v1", b"a", "0")
    other = idempotency_key("POST", "http://g/v1", b"b", "0")
    assert idempotency_key("POST", "http://g/v1", b"a", "1") == first
    assert idempotency_key("POST", "http://g/v1", b"b", "1") == other
    assert idempotency_key("POST", "http://g/v1", b"a", "2") == first
    assert idempotency_key("POST", "http://g/v1", b"a", "0") != first, "it is asked anew"
    assert idempotency_key("POST", "http://g/v1", b"never sent", "1") not in (first, other)
    assert idempotency_key("POST", "http://g/v1", b"a", "many") != first


def test_durations() -> None:
    assert [parse_duration(text) for text in ("1500ms", "2.5s", "2m", "1h", " 3s ")] == [
        1.5,
        2.5,
        120,
        3600,
        3,
    ]
    assert [parse_duration(text) for text in ("", "5", "s", "-1s", "1d", "\u0661s", None)] == [None] * 7
    assert [duration(seconds) for seconds in (1.5, 0.0, 0.0001)] == ["1500ms", "1ms", "1ms"]
