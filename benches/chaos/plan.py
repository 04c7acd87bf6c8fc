"""What goes wrong and when: drawn from a seed before the run, so that a run can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "stall", "limit", "slow", "cut", "fail", "drop", "reload"]

RELOAD_SECONDS = 5.0
RECOVERY_SECONDS = 2.0
"""A target that was disturbed counts as unwell for this long after."""

ORDERS: dict[Kind, list[tuple[str, float]]] = {
    "limit": [("status=429;retry-after=1;limit=requests:0/1s", 1.0), ("refuse=quota", 0.5)],
    "slow": [("first=1s", 0.5), ("pace=60ms", 1.0), ("preamble_then=2500ms", 0.3)],
    "cut": [
        ("cut=rst@6", 0.5),
        ("cut=fin@preamble", 0.5),
        ("cut=frame@9", 0.7),
        ("error=sse@4", 0.7),
        ("stall=5", 0.2),
    ],
    "fail": [("status=500", 1.0), ("status=503;retry-after=1", 0.5), ("refuse=overloaded", 1.0)],
    "drop": [("drop=rst", 1.0), ("drop=fin", 0.5), ("garbage=json", 0.3), ("garbage=http", 0.3)],
}
"""Directives of the simulator, and for which share of its requests."""


@dataclass(frozen=True)
class Layout:
    """What one version of the file says: the members of the pool in their order, and their weights."""

    members: tuple[int, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True)
class Event:
    """One thing that happens to one target, or to the file."""

    at: float
    kind: Kind
    target: int = -1
    seconds: float = 0.0
    directives: str = ""
    share: float = 1.0
    layout: Layout | None = None


def draw(seed: int, duration: float, targets: int) -> list[Event]:
    """Draw a plan in which, at every moment, one member of the pool at least is well."""
    dice = random.Random(seed)
    unwell: dict[int, float] = {}
    layout = Layout(tuple(range(targets)), (1,) * targets)
    events: list[Event] = []
    now, reload_at, last = 1.0, RELOAD_SECONDS, duration - RECOVERY_SECONDS
    while now < last:
        if reload_at <= now:
            layout = _layout(dice, targets, {target for target, until in unwell.items() if until > reload_at})
            events.append(Event(reload_at, "reload", layout=layout))
            reload_at += RELOAD_SECONDS
        well = [target for target in range(targets) if unwell.get(target, 0.0) <= now]
        members = [target for target in well if target in layout.members]
        # A target outside of the pool may be disturbed at any time; of those inside, one must stay.
        open_to = [target for target in well if target not in members or len(members) > 1]
        if open_to and len(well) > 1:
            event = _disturbance(dice, now, dice.choice(open_to), last)
            unwell[event.target] = event.at + event.seconds + RECOVERY_SECONDS
            events.append(event)
        now += dice.uniform(0.7, 2.2)
    return sorted(events, key=lambda event: event.at)


def _layout(dice: random.Random, targets: int, unwell: set[int]) -> Layout:
    members = list(range(targets))
    dice.shuffle(members)
    # One may go, if somebody who is well stays however long those that are not take.
    if dice.random() < 0.5:
        gone = members[-1]
        if set(members) - {gone} - unwell:
            members.remove(gone)
    return Layout(tuple(members), tuple(dice.randint(1, 5) for _ in members))


def _disturbance(dice: random.Random, now: float, target: int, last: float) -> Event:
    kinds: list[Kind] = ["kill", "stall", "limit", "slow", "cut", "fail", "drop"]
    kind = dice.choices(kinds, weights=[3, 2, 2, 2, 3, 2, 2])[0]
    seconds = min(dice.uniform(1.5, 6.0), max(last - now, 0.5))
    directives, share = dice.choice(ORDERS[kind]) if kind in ORDERS else ("", 1.0)
    return Event(now, kind, target, seconds, directives, share)
