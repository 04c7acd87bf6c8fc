"""The next step from the instances that there are to those that there should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Seen(NamedTuple):
    """An instance as far as the plan goes."""

    number: int
    current: bool
    """Whether it has the code and the settings that are in force."""
    ready: bool
    """Whether it can answer."""
    retiring: bool = False
    """Whether it was told to end."""


class Step(NamedTuple):
    """What to do now."""

    start: list[int]
    """Numbers of new instances."""
    retire: list[int]
    """Numbers of instances that are to drain and end."""


def step(seen: Sequence[Seen], desired: int, most: int | None = None) -> Step:
    """Return what brings the instances closer to `desired` ones that are current.

    Never are fewer ready than before or than desired, whichever is less: the old ones go as new ones become
    ready, one more at a time. An old one that cannot answer is in nobody's way and goes at once. There are
    never more than `most` of them, those included that drain.
    """
    staying = [one for one in seen if not one.retiring]
    if desired <= 0:
        return Step([], [one.number for one in staying])
    current = [one for one in staying if one.current]
    old = [one for one in staying if not one.current]
    # Those that cannot answer go first, then the youngest.
    order = sorted(current, key=lambda one: (one.ready, -one.number))
    excess = order[: max(0, len(current) - desired)]
    kept = order[len(excess) :]
    old_ready = [one for one in old if one.ready]
    surplus = len(old_ready) + sum(one.ready for one in kept) - desired
    retire = [*excess, *(one for one in old if not one.ready), *old_ready[: max(0, surplus)]]
    missing = desired - len(kept)
    if old_ready and missing > 0:
        # Beside those that still answer, one new one at a time.
        rising = any(not one.ready for one in kept)
        missing = max(desired - len(kept) - len(old_ready), 0 if rising else 1)
    # Old ones may take long to drain; meanwhile there are never more than two for each.
    bound = 2 * desired + 1 if most is None else min(most, 2 * desired + 1)
    missing = max(0, min(missing, bound - len(seen)))
    return Step(_lowest_free({one.number for one in seen}, missing), [one.number for one in retire])


def _lowest_free(taken: set[int], count: int) -> list[int]:
    found: list[int] = []
    number = 1
    while len(found) < count:
        if number not in taken:
            found.append(number)
        number += 1
    return found
