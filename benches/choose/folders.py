"""Sets in folders of CSV: any collection of turns with labels can be written so.

`known.csv` and `asked.csv` have the columns `text` and `label`. A turn that is asked and has no label belongs
to no route; one whose label is `one|other` asks for both. `routes.csv`, if there is one, says how a label is
named and described (`label`, `name`, `description`), and `domains.csv` which labels make one route by their
list (`label`, `domain`).
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from choose.sets import Case, Route

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTS = (0, 1, 3, 10)
"""Of examples that each route is given."""
MAX_TURNS = 3000
FEW = 6
"""Routes of a small collection, of which draws are made: what most files have."""
DRAWS = 4
TURNS_OF_A_DRAW = 120


@dataclass(frozen=True)
class _Folder:
    name: str
    known: dict[str, list[str]]
    asked: list[tuple[str, list[str]]]
    described: dict[str, tuple[str, str]]
    domain_of: dict[str, str]

    @property
    def labels(self) -> list[str]:
        return sorted(self.known)

    def route(self, label: str, count: int) -> Route:
        name, description = self.described.get(label, (label, ""))
        texts = self.known[label]
        return (name, description, random.Random(f"7{label}").sample(texts, min(count, len(texts))))

    def case(self, question: str, labels: list[str], count: int, turns: list[tuple[str, list[str]]]) -> Case:
        """Make a case of some labels; to it, turns of none of them are strangers."""
        place = {label: at for at, label in enumerate(labels)}
        own = [(text, of) for text, of in turns if of and all(label in place for label in of)]
        return Case(
            f"{self.name}, {question}",
            [self.route(label, count) for label in labels],
            [text for text, _ in own],
            [[place[label] for label in of] for _, of in own],
            [text for text, of in turns if not any(label in place for label in of)],
        )


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _read(folder: Path) -> _Folder:
    known: dict[str, list[str]] = {}
    for row in _rows(folder / "known.csv"):
        known.setdefault(row["label"], []).append(row["text"])
    asked = [
        (row["text"], [label for label in row["label"].split("|") if label])
        for row in _rows(folder / "asked.csv")
    ]
    if len(asked) > MAX_TURNS:
        asked = random.Random(5).sample(asked, MAX_TURNS)
    return _Folder(
        folder.name,
        known,
        asked,
        {row["label"]: (row["name"], row["description"]) for row in _rows(folder / "routes.csv")},
        {row["label"]: row["domain"] for row in _rows(folder / "domains.csv")},
    )


def _of(folder: _Folder) -> Iterator[Case]:
    labels = folder.labels
    has_strangers = any(not of for _, of in folder.asked)
    few_words = "as described" if folder.described else "names only"
    for count in COUNTS:
        question = f"examples: {count}" if count else few_words
        yield folder.case(question, labels, count, folder.asked)
        if not has_strangers and len(labels) > FEW and count in (0, 10):
            kept = sorted(random.Random(9).sample(labels, len(labels) * 3 // 4))
            yield folder.case(f"three of four routes, {question}", kept, count, folder.asked)
    for count in (0, 5):
        if len(labels) <= FEW:
            continue
        for draw in range(DRAWS):
            dice = random.Random(100 + draw)
            kept = dice.sample(labels, FEW)
            own = [turn for turn in folder.asked if turn[1] and turn[1][0] in kept]
            others = [turn for turn in folder.asked if not turn[1] or turn[1][0] not in kept]
            turns = dice.sample(own, min(TURNS_OF_A_DRAW, len(own)))
            turns += dice.sample(others, min(len(turns), len(others)))
            yield folder.case(
                f"draws of {FEW} routes, {f'examples: {count}' if count else few_words}", kept, count, turns
            )
    if folder.domain_of:
        yield _by_lists(folder)


def _by_lists(folder: _Folder) -> Case:
    domains = sorted(set(folder.domain_of.values()))
    members = {
        name: [label for label in folder.labels if folder.domain_of.get(label) == name] for name in domains
    }
    routes: list[Route] = [(name, "Handles: " + ", ".join(members[name]), []) for name in domains]
    own = [(text, domains.index(folder.domain_of[of[0]])) for text, of in folder.asked if of]
    strangers = [text for text, of in folder.asked if not of]
    name = f"{folder.name}, {len(domains)} domains by their lists"
    return Case(name, routes, [text for text, _ in own], [[at] for _, at in own], strangers)


def cases(folder: Path) -> Iterator[Case]:
    """Every case of every set in the folder. Those of one name are draws of one question."""
    for path in sorted(path for path in folder.iterdir() if (path / "known.csv").is_file()):
        of_set = _read(path)
        if any(len(of) > 1 for _, of in of_set.asked):
            yield of_set.case("several requests, examples: 10", of_set.labels, 10, of_set.asked)
        else:
            yield from _of(of_set)
