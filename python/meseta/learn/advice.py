"""Which descriptions to sharpen: routes that are mistaken for others, and words that tell them apart."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meseta.learn.outcomes import SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from meseta.learn.dataset import Row
    from meseta.learn.outcomes import Outcomes
    from meseta.learn.routes import Route

MOST_WORDS = 5
MOST_ROWS = 3
TELLING = math.log(2)
"""A word tells two routes apart when it is at least twice as frequent in the mistaken rows."""

_WORD = re.compile(r"[^\W\d_]{2,40}(?:'[^\W\d_]{1,3}|[^\W\d_])")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        about and any are but can could did does for from get give had has have how into its just let like may
        many much need not now off one our out over please she should some tell than that the their them then
        there these they this those was want were what when where which who why will with would you your
        """,
    )
)
"""Words that say nothing of what is wanted."""


@dataclass(frozen=True)
class Confusion:
    """One route whose rows go to another one."""

    right: str
    chosen: str
    count: int
    share: float
    """Of the rows of the right route."""
    words: tuple[str, ...]
    """Words of these rows that the right route's text lacks, and that are rare in rows of the other one."""
    rows: tuple[str, ...]
    """Some of the rows."""


@dataclass
class _Seen:
    rows: int = 0
    words: Counter[str] = field(default_factory=Counter)
    """In how many of the rows each word is."""
    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.rows += 1
        self.words.update(_words(text))
        if len(self.texts) < MOST_ROWS:
            self.texts.append(shortened(text))


def confusions(
    rows: Iterable[tuple[Row, tuple[str, ...]]],
    outcomes: Outcomes,
    pairs: Mapping[tuple[str, str], int],
    routes: Sequence[Route],
) -> list[Confusion]:
    """Explain the pairs (right route, chosen route) by a second pass over the judged rows."""
    mistaken = {pair: _Seen() for pair in pairs}
    others = {chosen: _Seen() for _, chosen in pairs}
    wanted: Counter[str] = Counter()
    for (row, labels), best in zip(rows, outcomes.best, strict=True):
        if len(labels) != 1:
            continue
        wanted[labels[0]] += 1
        if (labels[0], best) in mistaken:
            mistaken[labels[0], best].add(row.turn)
        if labels[0] in others:
            others[labels[0]].add(row.turn)
    said = {
        route.name: _words(" ".join((route.name, route.description, *route.examples)).replace("_", " "))
        for route in routes
    }
    return [
        Confusion(
            right,
            chosen,
            count,
            count / max(wanted[right], 1),
            _telling(mistaken[right, chosen], others[chosen], said.get(right, set())),
            tuple(mistaken[right, chosen].texts),
        )
        for (right, chosen), count in pairs.items()
    ]


def shortened(text: str) -> str:
    """Return a text on one line, not longer than what is shown, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text[: 4 * SHOWN])
    line = " ".join(line.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def _telling(mistaken: _Seen, other: _Seen, said: set[str]) -> tuple[str, ...]:
    scores = {}
    for word, count in mistaken.words.items():
        here = (count + 0.5) / (mistaken.rows + 1)
        there = (other.words[word] + 0.5) / (other.rows + 1)
        # A word of one row among many is chance.
        if word not in said and (count > 1 or mistaken.rows < MOST_ROWS) and math.log(here / there) > TELLING:
            scores[word] = math.log(here / there) * count
    return tuple(sorted(scores, key=lambda word: (-scores[word], word))[:MOST_WORDS])


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold())) - _COMMON
