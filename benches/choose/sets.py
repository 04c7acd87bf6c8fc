"""The sets: routes as people would write them, and turns whose route is known."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Route = tuple[str, str, list[str]]
"""Name, description, examples."""


@dataclass(frozen=True)
class Case:
    """Turns, and the routes to which they should be brought."""

    name: str
    routes: list[Route]
    turns: list[str]
    expected: list[list[int]]
    strangers: list[str] = field(default_factory=list)
    """Turns that belong to none of the routes."""


@dataclass(frozen=True)
class _Intents:
    names: list[str]
    known: list[list[str]]
    asked: list[tuple[str, int]]

    def with_examples(self, count: int, seed: int) -> list[Route]:
        dice = random.Random(seed)
        picked = [dice.sample(texts, min(count, len(texts))) for texts in self.known]
        return [(name, "", examples) for name, examples in zip(self.names, picked, strict=True)]


def _clinc(folder: Path) -> tuple[_Intents, list[str]]:
    data = json.loads((folder / "clinc150_train_val.json").read_text())
    names = sorted({label for _, label in data["train"]})
    place = {name: at for at, name in enumerate(names)}
    known: list[list[str]] = [[] for _ in names]
    for text, label in data["train"]:
        known[place[label]].append(text)
    asked = [(text, place[label]) for text, label in data["val"]]
    strangers = [text for text, _ in data["oos_val"] + data["oos_train"]]
    return _Intents(names, known, asked), strangers


def _banking(folder: Path) -> _Intents:
    """Half of the train part is known and the other half asked: the test part is for judging."""
    with (folder / "banking77_train.csv").open(newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    names = sorted({label for _, label in rows})
    texts = {name: [text for text, label in rows if label == name] for name in names}
    dice = random.Random(0)
    for of_name in texts.values():
        dice.shuffle(of_name)
    known = [texts[name][: len(texts[name]) // 2] for name in names]
    asked = [(text, at) for at, name in enumerate(names) for text in texts[name][len(texts[name]) // 2 :]]
    return _Intents(names, known, asked)


def _single(name: str, routes: list[Route], asked: list[tuple[str, int]], strangers: list[str]) -> Case:
    return Case(name, routes, [text for text, _ in asked], [[at] for _, at in asked], strangers)


def _double(name: str, routes: list[Route], asked: list[tuple[str, int]], joint: str) -> Case:
    """Two turns for different routes, said as one."""
    dice = random.Random(7)
    turns: list[str] = []
    expected: list[list[int]] = []
    while len(turns) < 600:
        (first, one), (second, other) = dice.choice(asked), dice.choice(asked)
        if one != other:
            turns.append(first.rstrip(" ?.!") + joint + second)
            expected.append([one, other])
    return Case(name, routes, turns, expected)


def cases(folder: Path) -> Iterator[Case]:
    """Every case, from the folder with the development sets."""
    clinc, strangers = _clinc(folder)
    yield _single("CLINC150, names only", clinc.with_examples(0, 0), clinc.asked, strangers)
    for count in (1, 3):
        routes = clinc.with_examples(count, 7)
        yield _single(f"CLINC150, examples: {count}", routes, clinc.asked, strangers)
    for seed in (0, 1, 2):
        routes = clinc.with_examples(10, seed)
        yield _single(f"CLINC150, examples: 10, draw {seed}", routes, clinc.asked, strangers)

    intents_of = json.loads((folder / "clinc150_domains.json").read_text())
    domains = sorted(intents_of)
    domain_of = {intent: at for at, domain in enumerate(domains) for intent in intents_of[domain]}
    lists: list[Route] = [(domain, "Handles: " + ", ".join(intents_of[domain]), []) for domain in domains]
    asked = [(text, domain_of[clinc.names[at]]) for text, at in clinc.asked]
    yield _single("CLINC150, 10 domains by their lists", lists, asked, strangers)

    banking = _banking(folder)
    yield _single("BANKING77, names only", banking.with_examples(0, 0), banking.asked, [])
    for count in (1, 3, 10):
        yield _single(f"BANKING77, examples: {count}", banking.with_examples(count, 7), banking.asked, [])

    ten = random.Random(2).sample(range(len(clinc.names)), 10)
    few: list[Route] = [(clinc.names[at], "", clinc.known[at][:5]) for at in ten]
    of_ten = [(text, ten.index(at)) for text, at in clinc.asked if at in ten]
    yield _double("two requests, 10 routes, examples: 5", few, of_ten, " and then ")
    yield _double("two sentences, 10 routes, examples: 5", few, of_ten, ". ")
    yield _double(
        "two requests, 150 routes, examples: 10", clinc.with_examples(10, 0), clinc.asked, " and then "
    )
