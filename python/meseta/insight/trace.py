"""Runs as trees: the request with which each began, the hops to agents, and what agents asked in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meseta.insight.requests import Decision, Request, RequestLog

HEAD = ("request", "status", "ms", "tokens in", "tokens out", "usd")
"""The columns of `rows`."""


@dataclass(frozen=True)
class Trace:
    """One request and what was asked because of it, the earliest first."""

    request: Request
    decisions: tuple[Decision, ...]
    children: tuple[Trace, ...]

    def walk(self) -> Iterator[Trace]:
        """Give this one and all below it, each before its children."""
        # A loop and no recursion: how deep agents go is not ours to say.
        waiting = [self]
        while waiting:
            one = waiting.pop()
            yield one
            waiting.extend(reversed(one.children))

    @property
    def name(self) -> str:
        """Who was asked: an agent, a model, or the listener that asked agents."""
        request = self.request
        if request.agent is not None:
            return f"agent {request.agent}"
        if request.agents is not None:
            return f"{request.listener}: {request.agents.replace(',', ', ')}"
        if request.model is None:
            return request.model_requested or request.path
        return f"{request.provider}/{request.model}"


def of_request(log: RequestLog, request_id: str) -> Trace | None:
    """Return the whole tree that a request belongs to, or None when the log has no such request.

    Raises ValueError when `request_id` is not in the form of `x-meseta-request-id`.
    """
    found = log.find(request_id)
    if found is None:
        return None
    trees = _trees(log, log.tree(found.id if found.root is None else found.root))
    return next((tree for tree in trees if any(one.request.id == found.id for one in tree.walk())), None)


def of_run(log: RequestLog, run: str) -> list[Trace]:
    """Return the trees of a run (`x-meseta-run`), the earliest first: a program may begin several."""
    return _trees(log, log.run(run))


def rows(trace: Trace) -> list[tuple[str, ...]]:
    """Return the lines of a table with `HEAD`, in which the first column draws the tree."""
    drawn: list[tuple[str, ...]] = []
    waiting = [(trace, "", "")]
    while waiting:
        one, before, below = waiting.pop()
        drawn.append((before + one.name, *_numbers(one.request)))
        last = len(one.children) - 1
        waiting.extend(
            (child, below + ("└─ " if at == last else "├─ "), below + ("   " if at == last else "│  "))
            for at, child in reversed(list(enumerate(one.children)))
        )
    return drawn


def _numbers(request: Request) -> tuple[str, ...]:
    # What was reckoned for a hop would count the tokens below it once more.
    counted = request.agent is None or request.usage_source == "exact"
    tokens = (request.input_tokens, request.output_tokens) if counted else (None, None)
    return (
        str(request.status) if request.code is None else f"{request.status} {request.code}",
        f"{request.duration_us / 1000:.1f}",
        *("-" if count is None else str(count) for count in tokens),
        "-" if request.cost_usd is None else f"{request.cost_usd:.6f}",
    )


def _trees(log: RequestLog, requests: Sequence[Request]) -> list[Trace]:
    """Join requests to trees. One whose parent is not among them begins a tree of its own."""
    decisions = log.decisions([request.id for request in requests])
    place = {request.id: at for at, request in enumerate(requests)}
    below: list[list[int]] = [[] for _ in requests]
    first: list[int] = []
    for at, request in enumerate(requests):
        parent = None if request.parent is None else place.get(request.parent)
        # Ids rise, so a parent comes first. A log that says otherwise must not lead in a circle.
        if parent is None or parent >= at:
            first.append(at)
        else:
            below[parent].append(at)
    built: dict[int, Trace] = {}
    for at in reversed(range(len(requests))):
        request = requests[at]
        children = tuple(built[child] for child in below[at])
        built[at] = Trace(request, decisions.get(request.id, ()), children)
    return [built[at] for at in first]
