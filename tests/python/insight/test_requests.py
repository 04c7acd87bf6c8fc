"""Queries over a log that a real plane wrote."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from meseta import Plane
from meseta.errors import LogError
from meseta.insight.requests import TABLES_VERSION, Request, RequestLog

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
version: 1
listeners: [{name: models, port: 0}]
model_providers: [{model: sim/*}]
"""


def ask(url: str, model: str, key: str = "") -> str:
    """Send one request and return its id."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"content-type": "application/json", **({"x-meseta-key": key} if key else {})}
    request = urllib.request.Request(f"{url}/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            answer.read()
            return str(answer.headers["x-meseta-request-id"])
    except urllib.error.HTTPError as error:
        with error:
            return str(error.headers["x-meseta-request-id"])


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RequestLog, list[str]]:
    monkeypatch.setenv("MESETA_HOME", str(tmp_path / "home"))
    with Plane.from_text(TEXT) as plane:
        ids = [ask(plane.url, "sim/echo"), ask(plane.url, "nowhere/x"), ask(plane.url, "sim/echo")]
        path = plane.log_path
    assert path is not None
    return RequestLog(path), ids


def test_last_is_newest_first(written: tuple[RequestLog, list[str]]) -> None:
    log, ids = written
    assert [row.request_id for row in log.last()] == ids[::-1]
    assert [row.request_id for row in log.last(1)] == ids[-1:]
    assert log.last(0) == []


def test_find(written: tuple[RequestLog, list[str]]) -> None:
    log, ids = written
    row = log.find(ids[0])
    assert row is not None
    assert (row.status, row.code, row.provider, row.model, row.usage_source) == (
        200,
        None,
        "sim",
        "echo",
        "exact",
    )
    assert [attempt.number for attempt in row.attempts] == [1]
    assert row.attempts[0].target == "sim/*"
    failed = log.find(ids[1])
    assert failed is not None
    assert (failed.status, failed.code, failed.blame, failed.attempts) == (
        404,
        "model.not_found",
        "client",
        (),
    )
    assert log.find("req_0000000000000000") is None
    assert log.find("req_ffffffffffffffff") is None
    for text in ("req_", "1", "req_ABCDEFABCDEFABCD", "req_00000000000000000"):
        with pytest.raises(ValueError, match="16 lower-case hex"):
            log.find(text)


def test_totals(written: tuple[RequestLog, list[str]]) -> None:
    log, _ = written
    totals = {(row.provider, row.model): row for row in log.totals()}
    echo = totals["sim", "echo"]
    assert (echo.requests, echo.errors, echo.usage_missing) == (2, 0, 0)
    assert sum(row.requests for row in totals.values()) == 3
    assert log.totals(since_hour=10**7) == []


POOLS = """
version: 1
listeners: [{name: models, port: 0, auth: {keys: [{key: $TEAM_KEY, tenant: acme}]}}]
model_providers:
  - {model: "sim/echo;status=429", name: limited, price: {input: 100.0, output: 100.0}}
  - {model: "sim/echo;tokens=50;cut=fin@200", name: broken, price: {input: 1.0, output: 2.0}}
  - {model: "sim/echo;tokens=7", name: well, access_keys: [a, b], price: {input: 3.0, output: 5.0}}
  - {model: "sim/echo;tokens=9", name: unpriced}
admission: {concurrency: 8}
pools:
  - {name: exact, select: priority, targets: [limited, well]}
  - {name: tough, select: priority, targets: [broken], fallback: [exact]}
  - {name: mixed, select: priority, targets: [broken, unpriced]}
"""


@pytest.fixture
def pooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RequestLog, dict[str, Request]]:
    """The rows of one request to each of the pools."""
    monkeypatch.setenv("MESETA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEAM_KEY", "letmein")
    with Plane.from_text(POOLS) as plane:
        ids = {name: ask(plane.url, name, key="letmein") for name in ("exact", "tough", "mixed")}
        path = plane.log_path
    assert path is not None
    log = RequestLog(path)
    rows = {name: log.find(request_id) for name, request_id in ids.items()}
    return log, {name: row for name, row in rows.items() if row is not None}


def test_who_asked_and_who_was_asked(pooled: tuple[RequestLog, dict[str, Request]]) -> None:
    _, rows = pooled
    assert [(row.status, row.tenant, row.pool, row.resumed) for row in rows.values()] == [
        (200, "acme", "exact", 0),
        (200, "acme", "tough", 0),
        (200, "acme", "mixed", 0),
    ]
    assert all(0 <= row.waited_us <= row.duration_us for row in rows.values())
    calls = {
        name: [(attempt.target, attempt.reason, attempt.cause) for attempt in row.attempts]
        for name, row in rows.items()
    }
    assert calls["exact"] == [("limited", "first", "rate_limit"), ("well", "retry", None)]
    # The limit of the first one is remembered, so nobody asks it again.
    assert calls["tough"] == [("broken", "first", "error"), ("well", "fallback", None)]
    assert calls["mixed"] == [("broken", "first", "error"), ("unpriced", "retry", None)]
    assert [attempt.key in {1, 2} for attempt in rows["exact"].attempts] == [True, True]


def test_what_calls_cost(pooled: tuple[RequestLog, dict[str, Request]]) -> None:
    log, rows = pooled
    refused, answered = rows["exact"].attempts
    assert (refused.usage_source, refused.input_tokens, refused.cost_usd) == (None, None, None)
    assert (answered.usage_source, answered.output_tokens) == ("exact", 7)
    assert answered.input_tokens is not None
    cost = (3.0 * answered.input_tokens + 5.0 * 7) / 1e6
    assert answered.cost_usd == pytest.approx(cost)
    exact = rows["exact"]
    assert exact.cost_usd == pytest.approx(cost)
    assert (exact.cost_source, exact.usage_source) == ("exact", "exact")

    cut, _ = rows["tough"].attempts
    assert cut.usage_source == "estimated"
    assert cut.cost_usd == pytest.approx(((cut.input_tokens or 0) + 2.0 * (cut.output_tokens or 0)) / 1e6)
    assert cut.cost_usd
    tough = rows["tough"]
    assert (tough.cost_source, tough.usage_source) == ("estimated", "estimated")
    assert tough.cost_usd == pytest.approx(cut.cost_usd + cost)

    mixed = rows["mixed"]
    assert mixed.attempts[1].usage_source == "exact"
    assert mixed.attempts[1].cost_usd is None
    assert (mixed.cost_source, mixed.usage_source) == ("unpriced", "estimated")
    assert mixed.cost_usd == pytest.approx(mixed.attempts[0].cost_usd)

    totals = log.totals()
    assert sum(row.cost_usd for row in totals) == pytest.approx(
        sum(row.cost_usd or 0.0 for row in rows.values())
    )
    assert (sum(row.unpriced for row in totals), sum(row.usage_missing for row in totals)) == (1, 2)


def test_a_log_of_an_older_meseta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESETA_HOME", str(tmp_path))
    path = tmp_path / "log.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_2)
    with pytest.raises(LogError, match=r"an older Meseta; `meseta up` brings it up to date"):
        RequestLog(path)
    with Plane.from_text(TEXT) as plane:
        fresh = ask(plane.url, "sim/echo")
    log = RequestLog(path)
    new, old = log.last()
    assert (new.request_id, new.attempts[0].usage_source) == (fresh, "exact")
    assert (old.model, old.output_tokens, old.usage_source, old.dropped) == ("gpt-5", 5, "missing", "seed")
    assert (old.tenant, old.pool, old.waited_us, old.resumed) == (None, None, 0, 0)
    assert (old.cost_usd, old.cost_source) == (None, None)
    [attempt] = old.attempts
    assert (attempt.target, attempt.status, attempt.key, attempt.reason) == ("openai/*", 200, 1, "first")
    assert (attempt.cause, attempt.pieces, attempt.output_tokens, attempt.cost_usd) == (None, 0, None, None)
    [sums] = [row for row in log.totals() if row.provider == "openai"]
    assert (sums.requests, sums.cache_write_tokens, sums.cost_usd, sums.unpriced) == (4, 3, 0.0, 0)


def test_a_log_of_a_newer_meseta_and_none_at_all(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE something (else_ TEXT)")
    with pytest.raises(LogError, match="holds no log of Meseta"):
        RequestLog(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {TABLES_VERSION + 1}")
    with pytest.raises(LogError, match="a newer Meseta"):
        RequestLog(path)


VERSION_2 = """
CREATE TABLE requests ( id INTEGER PRIMARY KEY, started_us INTEGER NOT NULL, listener TEXT NOT NULL,
    method TEXT NOT NULL, path TEXT NOT NULL, model_requested TEXT, model TEXT, provider TEXT, target
    TEXT, stream INTEGER NOT NULL, status INTEGER NOT NULL, code TEXT, blame TEXT, attempts INTEGER NOT
    NULL, duration_us INTEGER NOT NULL, first_byte_us INTEGER, request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL, chunks INTEGER NOT NULL, input_tokens INTEGER, cached_tokens
    INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER, usage_source TEXT, session TEXT, run TEXT,
    tags TEXT, trace_id TEXT, stages TEXT NOT NULL, snapshot TEXT NOT NULL, cache_write_tokens INTEGER,
    translated TEXT, dropped TEXT);
CREATE INDEX requests_session ON requests (session) WHERE session IS NOT NULL;
CREATE TABLE attempts ( request_id INTEGER NOT NULL, number INTEGER NOT NULL, target TEXT NOT NULL,
    provider TEXT NOT NULL, model TEXT NOT NULL, started_us INTEGER NOT NULL, connect_us INTEGER,
    first_byte_us INTEGER, duration_us INTEGER, status INTEGER, code TEXT, request_bytes INTEGER NOT
    NULL, response_bytes INTEGER NOT NULL, PRIMARY KEY (request_id, number)) WITHOUT ROWID;
CREATE TABLE rollups ( hour INTEGER NOT NULL, listener TEXT NOT NULL, provider TEXT NOT NULL, model TEXT
    NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL, usage_missing INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, duration_us INTEGER NOT NULL, request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (hour,
    listener, provider, model)) WITHOUT ROWID;
INSERT INTO requests VALUES (strftime('%s', 'now') * 1000 << 21, strftime('%s', 'now') * 1000000, 'models',
    'POST', '/v1/chat/completions', 'gpt-5', 'gpt-5', 'openai', 'openai/*', 0, 200, NULL, NULL, 1, 900, 800,
    10, 20, 0, 4, 0, 5, 0, 'missing', NULL, NULL, NULL, NULL, 'identify=1', 'abc', 3, NULL, 'seed');
INSERT INTO attempts SELECT id, 1, 'openai/*', 'openai', 'gpt-5', 10, 20, 30, 40, 200, NULL, 10, 20
    FROM requests;
INSERT INTO rollups VALUES (strftime('%s', 'now') / 3600, 'models', 'openai', 'gpt-5', 4, 0, 1, 4, 0, 5,
    0, 900, 10, 20, 3);
PRAGMA user_version = 2;
"""
"""What the Meseta before pools wrote. The upper bits of an id are the time, which tells what is too old."""


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError):
        RequestLog(tmp_path / "nowhere.db")
