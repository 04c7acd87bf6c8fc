"""Queries over a log that a real plane wrote."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from meseta import Plane
from meseta.errors import LogError
from meseta.insight.requests import RequestLog

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
version: 1
listeners: [{name: models, port: 0}]
model_providers: [{model: sim/*}]
"""


def ask(url: str, model: str) -> str:
    """Send one request and return its id."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    request = urllib.request.Request(f"{url}/chat/completions", body, {"content-type": "application/json"})
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


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError):
        RequestLog(tmp_path / "nowhere.db")
