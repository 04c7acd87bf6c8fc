"""`meseta demo`: two requests through a plane of its own, their rows in the log, then a question to agents.

No key, no network.
"""

from __future__ import annotations

import http.client
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.cli import demo_agents
from meseta.cli.terminal import DONE, FAILED, Terminal
from meseta.config.resolved import Resolved
from meseta.insight import trace
from meseta.insight.requests import Request, RequestLog
from meseta.plane import Plane, Source

if TYPE_CHECKING:
    import argparse

    from meseta.settings import Settings

MODEL = "sim/echo"
PROMPT = "Greetings from the high plain."
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    status: int
    request_id: str
    text: str
    pieces: int
    """Pieces of text in the stream; 1 for a whole answer."""
    ended: bool
    """Whether the answer came to its proper end."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print the answers and the log's rows as JSON")


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0 only when both answers and both rows of the log are right."""
    with tempfile.TemporaryDirectory(prefix="meseta-demo-") as folder:
        source = Source("the simulated provider alone", lambda: Resolved(_snapshot(folder)))
        with Plane(source, settings=settings) as plane:
            terminal.say(f"Started a plane on {plane.url}, calling the simulated provider.")
            port = plane.listeners[0]["port"]
            whole = _ask(port, stream=False)
            streamed = _ask(port, stream=True)
        # The plane is stopped, so that every record has reached the log.
        rows = [RequestLog(Path(folder) / "log.db").find(answer.request_id) for answer in (whole, streamed)]
    faults = _faults(whole, streamed, rows)
    asked = None
    if missing := demo_agents.missing():
        terminal.say(
            f"No agents are shown, because {' and '.join(missing)} is not installed (meseta[agents])."
        )
    else:
        terminal.say("Started two agents, and a plane that brings a question to both.")
        with tempfile.TemporaryDirectory(prefix="meseta-demo-") as folder:
            asked = demo_agents.ask(folder, settings)
        faults += demo_agents.faults(asked)
    if given.json:
        shown = [vars(answer) for answer in (whole, streamed)]
        log = [None if row is None else {"request_id": row.request_id, **_plain(row)} for row in rows]
        agents = None if asked is None else _plain_agents(asked)
        terminal.json({"right": not faults, "faults": faults, "answers": shown, "log": log, "agents": agents})
    else:
        _print(terminal, whole, streamed, rows)
        if asked is not None:
            _print_agents(terminal, asked)
    for fault in faults:
        terminal.fail(fault)
    if faults:
        return FAILED
    terminal.say("Everything was right. Next: `meseta up`.")
    return DONE


def _snapshot(folder: str) -> Any:
    from meseta.config.snapshot import without_file

    return without_file({}, Path(folder), port=0)


def _ask(port: int, *, stream: bool) -> Answer:
    """One chat request over real HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    body = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        response = connection.getresponse()
        content = response.read().decode("utf-8", "replace")
        request_id = response.getheader("x-meseta-request-id", "")
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        return Answer(response.status, request_id, content, 0, ended=False)
    if not stream:
        choice = json.loads(content)["choices"][0]
        return Answer(
            response.status,
            request_id,
            choice["message"]["content"],
            1,
            ended=choice["finish_reason"] == "stop",
        )
    pieces: list[str] = []
    events = [line[6:] for line in content.splitlines() if line.startswith("data: ")]
    for event in events:
        if event != "[DONE]":
            pieces += [choice["delta"].get("content") or "" for choice in json.loads(event)["choices"]]
    pieces = [piece for piece in pieces if piece]
    return Answer(response.status, request_id, "".join(pieces), len(pieces), ended=events[-1:] == ["[DONE]"])


def _faults(whole: Answer, streamed: Answer, rows: list[Request | None]) -> list[str]:
    """Everything that is not as it should be, as sentences."""
    faults = []
    for name, answer in (("whole", whole), ("streamed", streamed)):
        if answer.status != http.HTTPStatus.OK:
            faults.append(f"The {name} request was answered with status {answer.status}: {answer.text[:200]}")
        elif PROMPT not in answer.text or not answer.ended:
            faults.append(f"The {name} answer is not the echo of the prompt, or did not come to its end.")
    if whole.status == streamed.status == http.HTTPStatus.OK and streamed.pieces < 2:
        faults.append("The streamed answer came in one piece.")
    for name, row, stream in (("whole", rows[0], False), ("streamed", rows[1], True)):
        if row is None:
            faults.append(f"The log has no row for the {name} request.")
        elif row.status != http.HTTPStatus.OK or row.stream != stream or row.usage_source != "exact":
            faults.append(f"The log's row for the {name} request has the wrong status, kind or usage.")
        elif not row.attempts:
            faults.append(f"The log has no attempt for the {name} request.")
    return faults


def _print(terminal: Terminal, whole: Answer, streamed: Answer, rows: list[Request | None]) -> None:
    terminal.data(f"whole     {whole.text}")
    terminal.data(f"streamed  {streamed.text}  ({streamed.pieces} pieces)")
    terminal.data("")
    head = ("request", "model", "stream", "status", "ms", "first ms", "tokens in", "tokens out", "attempts")
    terminal.table(head, [_row(row) for row in rows if row is not None])


def _print_agents(terminal: Terminal, asked: demo_agents.Asked) -> None:
    terminal.data("")
    terminal.data(f"question  {demo_agents.QUESTION}")
    terminal.data(f"answer    {asked.text}")
    if asked.trace is not None:
        terminal.data("")
        terminal.table(trace.HEAD, trace.rows(asked.trace))


def _row(row: Request) -> tuple[str, ...]:
    return (
        row.request_id,
        # The name that clients call it by: the provider's prefix and the model.
        f"{row.provider}/{row.model}",
        "yes" if row.stream else "no",
        str(row.status),
        f"{row.duration_us / 1000:.1f}",
        "-" if row.first_byte_us is None else f"{row.first_byte_us / 1000:.1f}",
        "-" if row.input_tokens is None else str(row.input_tokens),
        "-" if row.output_tokens is None else str(row.output_tokens),
        str(row.attempts_made),
    )


def _plain_agents(asked: demo_agents.Asked) -> dict[str, Any]:
    hops = [] if asked.trace is None else list(asked.trace.walk())
    log = [{"request_id": hop.request.request_id, **_plain(hop.request)} for hop in hops]
    return {"status": asked.status, "asked": asked.agents, "text": asked.text, "log": log}


def _plain(row: Request) -> dict[str, Any]:
    values = dict(vars(row))
    values["attempts"] = [vars(attempt) for attempt in row.attempts]
    return values
