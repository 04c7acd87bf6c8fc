"""The stages have the same names in the same order in the code, in the docs and in the log."""

from __future__ import annotations

import re
import time
from pathlib import Path

import openai

import meseta
from meseta import _core
from meseta.insight.requests import RequestLog
from meseta.settings import Settings

ROOT = Path(__file__).parents[2]
CORE = ROOT / "crates" / "meseta-core" / "src"


def test_every_stage_is_a_file() -> None:
    files = {path.stem for path in (CORE / "stages").glob("*.rs")} - {"mod"}
    assert files == set(_core.stages())


def test_the_handler_calls_them_in_order() -> None:
    """`settle` and `record` are called where every request ends: in the drop of its record."""
    handler = (CORE / "handle.rs").read_text()
    # A stage may have another name for the way into it: `send` begins with `hedge`.
    stages = {
        name: stage
        for stage, one, several in re.findall(
            r"^use crate::stages::(\w+)::(?:(\w+)|\{(.*)\});$", handler, re.M
        )
        for name in (one or several).split(", ")
        if name.islower() and name != "discard"
    }
    begun, _, walk = handler.partition("async fn travel")
    ended = (CORE / "trip.rs").read_text().partition("impl Drop for Trip")[2]
    called = [
        stages[name]
        for part in (walk, begun.partition("async fn handle")[2])
        for name in re.findall(r"(?<![\w:.])(\w+)\(", part)
        if name in stages
    ]
    assert called + re.findall(r"::(\w+)\(self\)", ended) == _core.stages()


def test_the_page_describes_them_in_order() -> None:
    page = (ROOT / "docs" / "concepts" / "life-of-a-request.md").read_text()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == _core.stages()


def passed(plane: meseta.Plane, model: str = "fast") -> list[str]:
    """The stages of one request, after a look at their times."""
    with openai.OpenAI(base_url=plane.url, api_key="unused", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "x"}]
        )
    assert plane.log_path is not None
    log = RequestLog(plane.log_path)
    deadline = time.monotonic() + 60
    while (row := log.find(raw.headers["x-meseta-request-id"])) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    stages = [stage.split("=") for stage in (row.stages or "").split(" ")]
    began = [int(microseconds) for _, microseconds in stages]
    assert began == sorted(began)
    return [name for name, _ in stages]


def test_a_recorded_request_passed_them_in_order(plane: meseta.Plane) -> None:
    assert passed(plane) == [stage for stage in _core.stages() if stage != "orchestrate"]


def test_nobody_is_admitted_where_nothing_is_limited(tmp_path: Path) -> None:
    settings = Settings.from_environment({"MESETA_HOME": str(tmp_path), "MESETA_WORKERS": "1"})
    text = "version: 1\nmodel_providers: [{model: sim/*}]\n"
    with meseta.Plane.from_text(text, port=0, settings=settings) as plane:
        assert passed(plane, "sim/echo") == [
            stage for stage in _core.stages() if stage not in {"admit", "orchestrate"}
        ]
