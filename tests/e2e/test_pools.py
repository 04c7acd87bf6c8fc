"""Pools before providers that fail, as an OpenAI client sees them, and what the log says of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

import meseta
from meseta.insight.requests import Request, RequestLog
from meseta.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
version: 1
listeners:
  - {name: models, port: 0}
  - {name: keyed, port: 0, auth: {keys: [{key: $TEAM_KEY, tenant: acme, concurrency: 1}]}}
model_providers:
  - {model: "sim/echo;status=503", name: broken}
  - {model: "sim/echo;drop=rst", name: gone}
  - {model: "sim/echo;cut=fin@2", name: cut}
  - {model: "sim/echo;first=5m", name: slow, price: {input: 1.0, output: 2.0}}
  - {model: "sim/echo;refuse=context", name: short}
  - {model: "sim/echo;continue=rest", name: well, price: {input: 1.0, output: 2.0}}
  - {model: "sim/canned", name: other}
pools:
  - {name: tough, select: priority, targets: [broken, gone, well]}
  - {name: long, select: priority, targets: [short], fallback: [{to: well, on: [context_length]}]}
  - {name: resumed, select: priority, targets: [cut, well]}
  - {name: ended, select: priority, targets: [cut, well], resume: off}
  - {name: hedged, select: priority, targets: [slow, well], hedge: {after: 50ms, spend: 100}}
  - {name: both, select: round_robin, targets: [well, other]}
admission: {concurrency: 16, queue: 0}
prompt_caching: {enabled: true, session_ttl_seconds: 900}
"""
SAID = "one two three four"
HELLO: Any = [{"role": "user", "content": SAID}]


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[meseta.Plane]:
    """A plane of its own: what it learns of its targets is what a test is about."""
    monkeypatch.setenv("TEAM_KEY", "letmein")
    settings = Settings.from_environment({"MESETA_HOME": str(tmp_path), "MESETA_WORKERS": "1"})
    with meseta.Plane.from_text(CONFIG, settings=settings) as plane:
        yield plane


@pytest.fixture
def client(plane: meseta.Plane) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=plane.url, api_key="unused", max_retries=0) as client:
        yield client


def recorded(plane: meseta.Plane, request_id: str) -> Request:
    assert plane.log_path is not None
    log = RequestLog(plane.log_path)
    deadline = time.monotonic() + 60
    while (row := log.find(request_id)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return row


def whole(client: openai.OpenAI, model: str, **headers: str) -> tuple[str | None, str]:
    """The answer, and the id of the request."""
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO, extra_headers=headers)
    return raw.parse().choices[0].message.content, raw.headers["x-meseta-request-id"]


def streamed(client: openai.OpenAI, model: str) -> tuple[str, str]:
    with client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
        request_id = stream.response.headers["x-meseta-request-id"]
        said = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    return said, request_id


def calls(row: Request) -> list[tuple[str, str, str | None]]:
    return [(attempt.target, attempt.reason, attempt.cause) for attempt in row.attempts]


@pytest.mark.parametrize("ask", [whole, streamed])
def test_one_healthy_target_is_enough(plane: meseta.Plane, client: openai.OpenAI, ask: Any) -> None:
    said, request_id = ask(client, "tough")
    assert said == SAID
    row = recorded(plane, request_id)
    assert calls(row) == [("broken", "first", "error"), ("gone", "retry", "error"), ("well", "retry", None)]
    assert (row.pool, row.target, row.status, row.code) == ("tough", "well", 200, None)


def test_a_fallback_for_its_cause(plane: meseta.Plane, client: openai.OpenAI) -> None:
    said, request_id = whole(client, "long")
    assert said == SAID
    assert calls(recorded(plane, request_id)) == [
        ("short", "first", "context_length"),
        ("well", "fallback", None),
    ]


def test_a_stream_is_gone_on_with(plane: meseta.Plane, client: openai.OpenAI) -> None:
    said, request_id = streamed(client, "resumed")
    assert said == SAID
    row = recorded(plane, request_id)
    assert [attempt.reason for attempt in row.attempts] == ["first", "resume"]
    assert (row.resumed, row.code, row.usage_source) == (1, None, "estimated")


def test_a_stream_is_not_gone_on_with_where_nobody_wants_it(client: openai.OpenAI) -> None:
    got: list[str] = []
    with (
        client.chat.completions.create(model="ended", messages=HELLO, stream=True) as stream,
        pytest.raises(openai.APIError),
    ):
        got.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(got) == "one two"


def test_a_second_target_beside_a_slow_one(plane: meseta.Plane, client: openai.OpenAI) -> None:
    said, request_id = whole(client, "hedged")
    assert said == SAID
    row = recorded(plane, request_id)
    assert [(attempt.target, attempt.reason, attempt.code) for attempt in row.attempts] == [
        ("slow", "first", "upstream.hedge_lost"),
        ("well", "hedge", None),
    ]
    assert row.target == "well"


def test_the_client_says_how_long_it_waits(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        whole(client, "slow", **{"x-meseta-deadline": "200ms"})
    assert (caught.value.status_code, caught.value.code) == (504, "request.deadline")


def test_a_session_stays_where_its_cache_is(plane: meseta.Plane, client: openai.OpenAI) -> None:
    def asked(text: str, **headers: str) -> str | None:
        raw = client.chat.completions.with_raw_response.create(
            model="both", messages=[{"role": "user", "content": text}], extra_headers=headers
        )
        return recorded(plane, raw.headers["x-meseta-request-id"]).target

    texts = ["spring", "summer", "autumn", "winter"]
    assert {asked(text) for text in texts} == {"well", "other"}, "who has no session in common takes turns"
    assert len({asked(text, **{"x-meseta-session": "s-1"}) for text in texts}) == 1
    assert len({asked("snow") for _ in texts}) == 1, "a conversation is recognised by how it begins"


def test_a_tenant_has_as_many_as_it_may(plane: meseta.Plane) -> None:
    url = f"http://127.0.0.1:{plane.listeners[1]['port']}/v1"
    with openai.OpenAI(base_url=url, api_key="letmein", max_retries=0) as keyed:
        stall: Any = {"model": "sim/echo;stall=1", "messages": HELLO, "stream": True}
        with keyed.chat.completions.create(**stall):
            with pytest.raises(openai.RateLimitError) as caught:
                whole(keyed, "well")
            assert caught.value.code == "limit.concurrency"
            assert int(caught.value.response.headers["retry-after"]) >= 1
        deadline = time.monotonic() + 60
        while plane.stats()["in_flight"]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        said, request_id = whole(keyed, "well")
    assert said == SAID
    row = recorded(plane, request_id)
    assert (row.tenant, row.pool, row.cost_source) == ("acme", None, "exact")
