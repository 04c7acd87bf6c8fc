"""The judge of `make chaos` sees what is wrong, and its plan always leaves somebody well."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from chaos import page
from chaos import verdict as judging
from chaos.client import APIS, Api, Ask, Outcome, judge, unchunked
from chaos.disturb import somebody_well
from chaos.plan import RECOVERY_SECONDS, Layout, draw
from chaos.verdict import Verdict

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def events(api: Api, texts: list[str], *, end: bool = True) -> bytes:
    said: list[dict[str, Any] | str]
    if api == "chat":
        said = [{"choices": [{"delta": {"content": text}}]} for text in texts]
        said += ["[DONE]"] if end else []
    elif api == "messages":
        said = [{"type": "content_block_delta", "delta": {"text": text}} for text in texts]
        said += [{"type": "message_stop"}] if end else []
    else:
        said = [{"type": "response.output_text.delta", "delta": text} for text in texts]
        whole = {
            "output": [{"type": "message", "content": [{"text": "".join(texts)}]}],
            "status": "completed",
        }
        said += [{"type": "response.completed", "response": whole}] if end else []
    data = [event if isinstance(event, str) else json.dumps(event) for event in said]
    return "".join(f"data: {event}\n\n" for event in data).encode()


@pytest.mark.parametrize("api", APIS)
def test_a_stream_is_judged_by_its_text_and_its_end(api: Api) -> None:
    ask = Ask(1, api, stream=True, text="one two")

    def judged(body: bytes, *, whole: bool = True) -> str:
        return judge(ask, whole=whole, head=HEAD, body=body)

    right = events(api, ["one", " two"])
    assert judged(right) == ""
    assert judged(right, whole=False) == "200, cut"
    assert judged(events(api, ["one"])) == "half an answer that says it is whole"
    assert judged(events(api, ["one", " one", " two"])) == "a wrong answer"
    assert judged(events(api, ["one", " two"], end=False)) == "an answer without its end"
    assert judged(right + right) != ""
    assert judged(b"data: {\n\n").startswith("200, not in the API's form")
    error = b'data: {"type": "error", "error": {"code": "upstream.cut"}}\n\n'
    assert judged(events(api, ["one"], end=False) + error) == "200, then an error event upstream.cut"


def test_a_whole_answer_is_judged_too() -> None:
    ask = Ask(1, "chat", stream=False, text="one")
    body = {"choices": [{"message": {"content": "one"}, "finish_reason": "stop"}]}
    assert judge(ask, whole=True, head=HEAD, body=json.dumps(body).encode()) == ""
    assert judge(ask, whole=False, head=b"", body=b"") == "the connection ended without an answer"
    refused = b'{"error": {"code": "plane.overloaded"}}'
    assert judge(ask, whole=True, head=b"HTTP/1.1 503 No\r\n\r\n", body=refused) == "503 plane.overloaded"


def test_chunks_are_joined() -> None:
    assert unchunked(b"3\r\nabc\r\n1\r\n\n\r\n0\r\n\r\n") == b"abc\n"


def test_memory_that_grows_is_seen() -> None:
    flat, grown = Verdict(), Verdict()
    judging.of_memory(flat, [300, *[100] * 20])
    judging.of_memory(grown, [100] * 20 + [111] * 10)
    assert (flat.problems, len(grown.problems)) == ([], 1)


def test_an_answer_paid_for_twice_is_seen() -> None:
    record = {"body": "chaos0000001 a", "status": 200, "end": "complete"}
    other = {"body": "chaos0000002 a", "status": 200, "end": "broken"}
    once, twice, lost = Verdict(), Verdict(), Verdict()
    judging.of_providers(once, [record, other, other], {"chaos0000001": 1, "chaos0000002": 1})
    judging.of_providers(twice, [record, record], {"chaos0000001": 2})
    judging.of_providers(lost, [record, record], {"chaos0000001": 1})
    assert (once.paid_twice, twice.paid_twice, lost.paid_twice, lost.paid_and_lost) == (0, 1, 0, 1)
    assert once.problems == lost.problems == []
    assert len(twice.problems) == 1


def test_one_answer_too_few_is_seen() -> None:
    ask = Ask(1, "chat", stream=False, text="")
    verdict = Verdict()
    judging.of_clients(verdict, [Outcome(ask, "", 0.1, 1)] * 9_998 + [Outcome(ask, "503 x", 0.1, 1)] * 2)
    assert verdict.failures == {"chat: 503 x": 2}
    assert len(verdict.problems) == 1


@pytest.mark.parametrize("seed", range(50))
def test_somebody_in_the_pool_is_always_well(seed: int) -> None:
    plan = draw(seed, 180.0, 4)
    assert plan == draw(seed, 180.0, 4)
    members = set(range(4))
    unwell: dict[int, float] = {}
    for event in plan:
        if event.layout:
            members = set(event.layout.members)
        else:
            assert unwell.get(event.target, 0.0) <= event.at
            unwell[event.target] = event.at + event.seconds + RECOVERY_SECONDS
        assert members - {target for target, until in unwell.items() if until > event.at}
    assert {event.kind for event in plan} == {
        "kill",
        "stall",
        "limit",
        "slow",
        "cut",
        "fail",
        "drop",
        "reload",
    }


def test_whoever_is_the_last_one_well_in_any_file_is_left_alone() -> None:
    old, new = Layout((0, 1), (1, 1)), Layout((1, 2), (1, 1))
    assert somebody_well([old, new], {0, 2})
    assert not somebody_well([old, new], {0, 1})
    assert not somebody_well([new], {1, 2})


def test_the_page_tells_why_a_request_has_no_answer(tmp_path: Path) -> None:
    log = sqlite3.connect(tmp_path / "log.db")
    log.execute("CREATE TABLE requests (id, run)")
    log.execute("CREATE TABLE attempts (request_id, number, target, reason, code, duration_us)")
    log.execute("INSERT INTO requests VALUES (1, 'chaos0000001')")
    log.execute("INSERT INTO attempts VALUES (1, 2, 't1', 'retry', NULL, 3000)")
    log.execute("INSERT INTO attempts VALUES (1, 1, 't0', 'first', 'upstream.cut', 2000)")
    log.commit()
    log.close()
    outcomes = [
        Outcome(Ask(number, "chat", stream=True, text=""), problem, 0.1, 1)
        for number, problem in ((1, "a wrong answer"), (2, "503 x"), (3, ""))
    ]
    verdict = Verdict(unanswered=judging.unanswered(tmp_path / "log.db", outcomes))
    judging.of_clients(verdict, outcomes)
    page.write(tmp_path / "page.md", {"made": "today"}, "seed 1.", verdict)
    text = (tmp_path / "page.md").read_text()
    assert (
        "- chaos0000001 chat stream: a wrong answer: t0 (first) upstream.cut in 2 ms; t1 (retry) well in 3 ms"
        in text
    )
    assert "- chaos0000002 chat stream: 503 x: nobody was asked\n" in text
    assert page.HELD not in text
    assert "**33.3333% of the requests were answered" in text
