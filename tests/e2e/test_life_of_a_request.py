"""The stages have the same names in the same order in the code, in the docs and in the log."""

from __future__ import annotations

import re
import time
from pathlib import Path

import openai

import meseta
from meseta import _core
from meseta.insight.requests import RequestLog

ROOT = Path(__file__).parents[2]
CORE = ROOT / "crates" / "meseta-core" / "src"


def test_every_stage_is_a_file() -> None:
    files = {path.stem for path in (CORE / "stages").glob("*.rs")} - {"mod"}
    assert files == set(_core.stages())


def test_the_handler_calls_them_in_order() -> None:
    """`settle` and `record` are called where every request ends: in the drop of its record."""
    walk = (CORE / "handle.rs").read_text().partition("async fn travel")[2]
    relayed = (CORE / "handle.rs").read_text().partition("async fn travel")[0]
    ended = (CORE / "trip.rs").read_text().partition("impl Drop for Trip")[2]
    called = (
        re.findall(r"\b(\w+)\(", walk) + re.findall(r"\b(\w+)\(", relayed) + re.findall(r"::(\w+)\(", ended)
    )
    names = [name for name in called if name in _core.stages()]
    assert names == _core.stages()


def test_the_page_describes_them_in_order() -> None:
    page = (ROOT / "docs" / "concepts" / "life-of-a-request.md").read_text()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == _core.stages()


def test_a_recorded_request_passed_them_in_order(plane: meseta.Plane) -> None:
    with openai.OpenAI(base_url=plane.url, api_key="unused", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="fast", messages=[{"role": "user", "content": "x"}]
        )
    assert plane.log_path is not None
    log = RequestLog(plane.log_path)
    deadline = time.monotonic() + 20
    while (row := log.find(raw.headers["x-meseta-request-id"])) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    passed = [stage.split("=") for stage in (row.stages or "").split(" ")]
    assert [name for name, _ in passed] == _core.stages()
    began = [int(microseconds) for _, microseconds in passed]
    assert began == sorted(began)
