"""Requests and their attempts as the log recorded them, and totals from the rollups.

Where a provider says how many tokens a call took, those figures are kept (`exact`). Where it says nothing,
because the call was cut off or the provider never does, Meseta reckons them from what was sent and what came
back (`estimated`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from meseta.errors import LogError
from meseta.native import core

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Attempt:
    """One call to a target. Times are microseconds, sizes bytes.

    `started_us` counts from the beginning of the request.
    """

    number: int
    target: str
    provider: str
    model: str
    started_us: int
    connect_us: int | None
    """None when an open connection was used again."""
    first_byte_us: int | None
    duration_us: int | None
    status: int | None
    """The provider's; None when it gave no answer."""
    code: str | None
    """The error code, or None when the call succeeded; `upstream.hedge_lost` when another one was faster."""
    request_bytes: int
    response_bytes: int
    key: int
    """Which of the target's keys it was made with, from 1."""
    reason: str
    """Why it was made: `first`, `retry`, `fallback`, `hedge`, `resume`; `stored` to read a kept answer."""
    cause: str | None
    """Why the target could not answer, in the words of `retry` and `fallback`: `rate_limit`, `error`, ..."""
    pieces: int
    """Pieces of a streamed answer that the client got from this call."""
    input_tokens: int | None
    cached_tokens: int | None
    """Input tokens that the provider read from its prompt cache; part of `input_tokens`."""
    cache_write_tokens: int | None
    """Input tokens that the provider wrote into its prompt cache; part of `input_tokens`."""
    output_tokens: int | None
    reasoning_tokens: int | None
    """Output tokens that the client does not see; part of `output_tokens`."""
    usage_source: str | None
    """`exact`, `estimated`, or None when the call used nothing."""
    cost_usd: float | None
    """US dollars at the target's price, or None when it used nothing or the target has none."""


@dataclass(frozen=True)
class Request:
    """One request. Times are microseconds, sizes bytes; `started_us` is Unix time.

    Tokens and cost are the sums over all its attempts, each counted once.
    """

    id: int
    started_us: int
    listener: str
    method: str
    path: str
    model_requested: str | None
    model: str | None
    provider: str | None
    target: str | None
    stream: bool
    status: int
    code: str | None
    """The error code, or None when the request succeeded."""
    blame: str | None
    """`client`, `upstream` or `plane`, or None when the request succeeded."""
    attempts_made: int
    duration_us: int
    first_byte_us: int | None
    request_bytes: int
    response_bytes: int
    chunks: int
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    usage_source: str | None
    """`exact`, `estimated` when any part is, or None when nothing was used.

    In rows of a Meseta that did not estimate, `missing`.
    """
    session: str | None
    run: str | None
    tags: str | None
    trace_id: str | None
    stages: str | None
    """The stages that it passed and when each began: `identify=3 read=41 ...`, microseconds."""
    snapshot: str | None
    cache_write_tokens: int | None
    """Input tokens that the provider wrote into its prompt cache; part of `input_tokens`."""
    translated: str | None
    """The dialect of the provider where it is not the client's own, else None."""
    dropped: str | None
    """What the translation left out or changed, by the names of the client's fields, with commas between."""
    tenant: str | None
    """Who asked: the `tenant` of the key, or None where the listener asks for none."""
    pool: str | None
    """The pool that the client named, or None when it named a model."""
    waited_us: int
    """How long it stood in the queue before the plane (`admission`)."""
    resumed: int
    """How often its stream broke and another target went on with it."""
    cost_usd: float | None
    """US dollars, or None when nothing has a price; less than everything when `cost_source` is `unpriced`."""
    cost_source: str | None
    """As `usage_source`, but `unpriced` when a part has no price."""
    parent: int | None
    """The `id` of the request that it was made for, by the plane or by an agent; None for a first one."""
    root: int | None
    """The `id` of the request with which the run began; None for that one itself."""
    agent: str | None
    """The agent that was asked, where this is a hop to one."""
    caller: str | None
    """The agent that asked."""
    route: str | None
    """The preference that the conversation matched."""
    agents: str | None
    """The agents that were asked to answer it, in their order, with commas between."""
    attempts: tuple[Attempt, ...] = field(default=())

    @property
    def request_id(self) -> str:
        """The id as clients see it in `x-meseta-request-id`."""
        return f"req_{self.id & 0xFFFF_FFFF_FFFF_FFFF:016x}"


@dataclass(frozen=True)
class Decision:
    """Who was chosen for a conversation, and by which step."""

    number: int
    step: str
    """The step that chose: `rules`, `embedded`, `model`, `default`."""
    chosen: str
    """The names, in their order, with commas between."""
    why: str
    candidates: str
    """What else could have been chosen, with scores where there are any."""
    passed: str
    """The steps before it, and why each handed on."""
    duration_us: int


@dataclass(frozen=True)
class Totals:
    """Sums over whole hours for one provider and model."""

    provider: str | None
    model: str | None
    requests: int
    errors: int
    usage_missing: int
    """Requests of which at least a part of the tokens is an estimate."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    duration_us: int
    request_bytes: int
    response_bytes: int
    cache_write_tokens: int
    cost_usd: float
    """US dollars, of what has a price."""
    unpriced: int
    """Requests of which at least a part has no price."""


_ATTEMPT_COLUMNS = [part.name for part in fields(Attempt)]
_REQUEST_COLUMNS = [
    "attempts" if part.name == "attempts_made" else part.name
    for part in fields(Request)
    if part.name != "attempts"
]
_SUMS = [part.name for part in fields(Totals)][2:]
_REQUEST_ID = re.compile(r"req_([0-9a-f]{16})", re.ASCII)

TABLES_VERSION = 4
"""The version of the tables that this Meseta writes and reads."""

_BATCH = 500
"""SQLite allows a bounded number of parameters in one query."""


class RequestLog:
    """The log at one path, read-only. Safe to use while a plane writes it."""

    def __init__(self, path: str | Path) -> None:
        """Open the log; raise `meseta.errors.LogError` when there is none, or one of another version."""
        self._reader = core().LogReader(str(path))
        [[version]] = self._reader.query("PRAGMA user_version")
        if version == 0:
            raise LogError(f"The file {path} holds no log of Meseta.")
        if version < TABLES_VERSION:
            raise LogError(
                f"The log at {path} was written by an older Meseta; "
                "`meseta up` brings it up to date when it starts."
            )
        if version > TABLES_VERSION:
            raise LogError(f"The log at {path} was written by a newer Meseta; read it with that one.")

    def last(self, count: int = 20) -> list[Request]:
        """Return the newest `count` requests with their attempts, newest first."""
        order = "ORDER BY started_us DESC, id DESC LIMIT ?"
        return self._requests(order, (max(0, count),))

    def find(self, request_id: str) -> Request | None:
        """Return the request with this id (`req_` and 16 hex digits), or None; ValueError on another form."""
        match = _REQUEST_ID.fullmatch(request_id)
        if match is None:
            raise ValueError(
                "A request id is req_ and 16 lower-case hex digits, as in the header x-meseta-request-id."
            )
        number = int(match.group(1), 16)
        signed = number - (1 << 64) if number >= 1 << 63 else number
        found = self._requests("WHERE id = ?", (signed,))
        return found[0] if found else None

    def tree(self, first: int) -> list[Request]:
        """Return the request with this `id` and all that were made below it, the earliest first."""
        return self._requests("WHERE id = ?1 OR root = ?1 ORDER BY id", (first,))

    def run(self, name: str, *, most: int = 1000) -> list[Request]:
        """Return the first requests of a run, at most so many, the earliest first."""
        return self._requests("WHERE run = ? ORDER BY id LIMIT ?", (name, max(0, most)))

    def decisions(self, ids: Sequence[int]) -> dict[int, tuple[Decision, ...]]:
        """Return by request what was decided for each, in that order; nothing for who has none."""
        columns = [part.name for part in fields(Decision)]
        return {
            number: tuple(Decision(*row) for row in rows)
            for number, rows in self._grouped("decisions", columns, list(ids)).items()
        }

    def totals(self, *, since_hour: int = 0) -> list[Totals]:
        """Return sums by provider and model over the hours from `since_hour` (Unix time in hours) on."""
        sums = ", ".join(f"COALESCE(SUM({name}), 0)" for name in _SUMS)
        rows = self._reader.query(
            f"SELECT provider, model, {sums} FROM rollups WHERE hour >= ? GROUP BY provider, model "  # noqa: S608
            "ORDER BY provider, model",
            (since_hour,),
        )
        return [Totals(*row) for row in rows]

    def _requests(self, clause: str, parameters: Sequence[int | str]) -> list[Request]:
        columns = ", ".join(_REQUEST_COLUMNS)
        rows = self._reader.query(f"SELECT {columns} FROM requests {clause}", list(parameters))  # noqa: S608
        attempts = self._grouped("attempts", _ATTEMPT_COLUMNS, [row[0] for row in rows])
        return [_request(row, tuple(Attempt(*one) for one in attempts.get(row[0], ()))) for row in rows]

    def _grouped(self, table: str, columns: Sequence[str], ids: list[Any]) -> dict[int, list[Sequence[Any]]]:
        """Return rows of a table that belongs to requests, by request and in the order of their numbers."""
        named = ", ".join(columns)
        grouped: dict[int, list[Sequence[Any]]] = {}
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            marks = ", ".join("?" * len(batch))
            rows: Any = self._reader.query(
                f"SELECT request_id, {named} FROM {table} WHERE request_id IN ({marks}) "  # noqa: S608
                "ORDER BY request_id, number",
                batch,
            )
            for row in rows:
                grouped.setdefault(row[0], []).append(row[1:])
        return grouped


def _request(row: Sequence[Any], attempts: tuple[Attempt, ...]) -> Request:
    values = dict(zip(_REQUEST_COLUMNS, row, strict=True))
    values["attempts_made"] = values.pop("attempts")
    values["stream"] = bool(values["stream"])
    return Request(**values, attempts=attempts)
