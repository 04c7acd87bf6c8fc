"""Trees of requests from a log that a real plane wrote, with agents that call models and each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
import meseta
from meseta.insight import trace
from meseta.insight.requests import RequestLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONFIG = """
version: 1
listeners:
  - {{name: models, port: 0}}
  - {{name: assistant, type: agent, port: 0, agents: [{{id: front}}, {{id: back}}]}}
agents:
  - {{id: front, url: "{front}"}}
  - {{id: back, url: "{back}"}}
model_providers:
  - {{model: sim/echo, price: {{input: 1.0, output: 2.0}}}}
  - {{model: sim/other}}
chooser: {{embedded: false}}
"""
Messages = list[dict[str, Any]]


async def front(messages: Messages) -> str:
    """Ask the other agent and a model, and let one call fail."""
    both = await meseta.aio.fan_out(["agent/back", "sim/echo"], messages)
    with pytest.raises(meseta.CallError):
        await meseta.aio.call("sim/unknown", messages)
    return " and ".join(answer.text for answer in both)


async def back(messages: Messages) -> AsyncIterator[str]:
    return meseta.aio.stream("sim/other", messages)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RequestLog, str, str]:
    """A log, a run, and the id of the request with which it began."""
    monkeypatch.setenv("MESETA_HOME", str(tmp_path / "home"))
    with (
        meseta.serving(front) as one,
        meseta.serving(back) as other,
        meseta.Plane.from_text(CONFIG.format(front=one, back=other)) as plane,
    ):
        models, hub = (f"http://127.0.0.1:{listener['port']}" for listener in plane.listeners)
        with meseta.connect(models, hub=hub), meseta.run() as run:
            answer = meseta.call("agent/front", "Hello")
            meseta.call("sim/echo", "Hello")
        path = plane.log_path
    assert path is not None
    assert run.name is not None
    assert answer.request_id is not None
    return RequestLog(path), run.name, answer.request_id


def shape(tree: trace.Trace) -> Any:
    below = sorted(map(shape, tree.children), key=str)
    return (tree.name, below) if below else tree.name


def test_a_run_is_its_trees(written: tuple[RequestLog, str, str]) -> None:
    log, run, first = written
    tree, alone = trace.of_run(log, run)
    expected = (
        "assistant: front",
        [
            (
                "agent front",
                [("assistant: back", [("agent back", ["sim/other"])]), "sim/echo", "sim/unknown"],
            )
        ],
    )
    assert shape(tree) == expected
    assert tree.request.request_id == first
    assert shape(alone) == "sim/echo"
    assert trace.of_run(log, "nobody's") == []
    assert len(log.run(run, most=3)) == 3


def test_any_request_leads_to_the_whole_tree(written: tuple[RequestLog, str, str]) -> None:
    log, _, first = written
    tree = trace.of_request(log, first)
    assert tree is not None
    ids = [one.request.request_id for one in tree.walk()]
    assert len(ids) == len(set(ids)) == 7
    for one in ids:
        assert trace.of_request(log, one) == tree
    assert trace.of_request(log, "req_0000000000000001") is None
    with pytest.raises(ValueError, match="16 lower-case hex"):
        trace.of_request(log, "req")


def test_it_is_drawn_as_a_tree(written: tuple[RequestLog, str, str]) -> None:
    log, _, first = written
    tree = trace.of_request(log, first)
    assert tree is not None
    drawn = trace.rows(tree)
    assert all(len(row) == len(trace.HEAD) for row in drawn)
    names = [row[0] for row in drawn]
    assert names[:2] == ["assistant: front", "└─ agent front"]
    assert set(names[2:]) >= {"   │     └─ sim/other"} or "         └─ sim/other" in names
    statuses = {row[0].strip("│├└─ "): row[1] for row in drawn}
    assert statuses["sim/unknown"].startswith("404 ")
    # One token in and one out, at 1 and 2 dollars a million.
    costs = {row[0].strip("│├└─ "): row[5] for row in drawn}
    assert costs["sim/echo"] == "0.000003"


def test_who_asked_and_for_whom(written: tuple[RequestLog, str, str]) -> None:
    log, run, first = written
    rows = {row.id: row for row in log.run(run)}
    root = log.find(first)
    assert root is not None
    assert (root.parent, root.root, root.agents, root.agent) == (None, None, "front", None)
    hop = next(row for row in rows.values() if row.agent == "front")
    assert (hop.parent, hop.root) == (root.id, root.id)
    asked = [row for row in rows.values() if row.caller == "front"]
    assert {row.parent for row in asked} == {hop.id}
    assert {row.root for row in rows.values()} == {None, root.id}
    assert len({row.trace_id for row in rows.values()}) == 1


def test_a_log_that_leads_in_a_circle_is_still_shown(written: tuple[RequestLog, str, str]) -> None:
    log, run, _ = written
    one, two, three = (replace(row, parent=None) for row in log.run(run)[:3])
    circle = [replace(one, parent=two.id), replace(two, parent=one.id), replace(three, parent=three.id)]
    trees = trace._trees(log, circle)
    assert [len(list(tree.walk())) for tree in trees] == [2, 1]


def test_a_deep_tree_is_no_matter(written: tuple[RequestLog, str, str]) -> None:
    log, run, _ = written
    row = replace(log.run(run)[0], agents=None, model="m")
    deep = [replace(row, id=number, parent=number - 1 if number else None) for number in range(3000)]
    (tree,) = trace._trees(log, deep)
    assert len(list(tree.walk())) == len(trace.rows(tree)) == 3000
