"""The routes to choose from: those of a configuration, of a file of their own, or the labels of a dataset."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.learn.dataset import OUT_OF_SCOPE, DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from meseta.learn.dataset import Dataset

LARGEST_FILE = 16 * 1024 * 1024
"""Bytes of a file of routes."""


@dataclass(frozen=True)
class Route:
    """What can be chosen, and what is said of it."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Labels of the dataset that mean this route, beside its name."""


@dataclass(frozen=True)
class Split:
    """Routes with examples out of a dataset, and the rows that were spent on them."""

    routes: list[Route]
    keys: frozenset[str]
    """`Row.key` of every row that is an example, so that no other row that says the same is judged."""


def of_document(document: Mapping[str, Any], listener: str | None = None) -> list[Route]:
    """Return the routes of a resolved configuration: of an agent listener, else of the model preferences.

    Raise DatasetError when there are none, or when it is not clear which are meant.
    """
    agents = {
        entry["name"]: entry["orchestration"]["agents"]
        for entry in document["listeners"]
        if entry.get("orchestration")
    }
    preferences = document.get("preferences") or []
    if listener is not None:
        if listener not in agents:
            known = ", ".join(agents) or "none"
            raise DatasetError(f"There is no listener {listener!r} of type agent; there is: {known}.")
        found = agents[listener]
    elif preferences:
        found = preferences
    elif len(agents) == 1:
        found = next(iter(agents.values()))
    else:
        what = (
            f"the agents of several listeners ({', '.join(agents)})" if agents else "nothing to choose from"
        )
        hint = (
            "Name one with --listener."
            if agents
            else "It needs `routing_preferences` or a listener of type agent."
        )
        raise DatasetError(f"The configuration has {what}. {hint}")
    return [
        Route(
            entry.get("name") or entry["id"],
            entry.get("description") or "",
            tuple(entry.get("examples") or ()),
        )
        for entry in found
    ]


def of_file(path: Path) -> list[Route]:
    """Read a JSON file: a list of routes, or an object from each route to the labels that mean it.

    Raise DatasetError when it is neither. The labels of the second form are listed in the description too.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        tree = json.loads(content) if len(content) <= LARGEST_FILE else None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON: {error}.") from None
    if isinstance(tree, dict) and all(_is_texts(labels) for labels in tree.values()):
        return [
            Route(
                name,
                f"Handles: {', '.join(label.replace('_', ' ') for label in labels)}",
                labels=tuple(labels),
            )
            for name, labels in tree.items()
        ]
    if isinstance(tree, list) and tree and all(_is_route(entry) for entry in tree):
        return [
            Route(
                entry["name"],
                entry.get("description") or "",
                tuple(entry.get("examples") or ()),
                tuple(entry.get("labels") or ()),
            )
            for entry in tree
        ]
    raise DatasetError(
        f"{path}: write a list of objects with `name` and perhaps `description`, `examples` and `labels`, or "
        "an object from the name of each route to a list of labels."
    )


def of_labels(datasets: Iterable[Dataset]) -> list[Route]:
    """Return a route for each label, in the order of appearance; its name is all that is said of it."""
    labels = dict.fromkeys(label for dataset in datasets for row in dataset.rows() for label in row.labels)
    return [Route(label) for label in labels if label.casefold() not in OUT_OF_SCOPE]


def with_examples(routes: Sequence[Route], source: Dataset, most: int, seed: int) -> Split:
    """Give each route up to `most` more examples, drawn from the rows of `source` that are its alone."""
    names = by_label(routes)
    draw = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    taken: dict[str, dict[str, str]] = {route.name: {} for route in routes}
    seen: dict[str, int] = {}
    for row in source.rows():
        name = names.get(row.labels[0]) if len(row.labels) == 1 else None
        if name is None or row.thread or row.key in taken[name]:
            continue
        # Reservoir sampling: every row of a route has the same chance, and only the sample is kept.
        seen[name] = seen.get(name, 0) + 1
        kept = taken[name]
        if len(kept) < most:
            kept[row.key] = row.turn
        elif draw.randrange(seen[name]) < most:
            del kept[draw.choice(list(kept))]
            kept[row.key] = row.turn
    return Split(
        [replace(route, examples=(*route.examples, *taken[route.name].values())) for route in routes],
        frozenset(key for kept in taken.values() for key in kept),
    )


def by_label(routes: Sequence[Route]) -> dict[str, str]:
    """Return the name of the route that each label means; a route's own name wins."""
    table = {label: route.name for route in routes for label in route.labels}
    return table | {route.name: route.name for route in routes}


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_route(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("description") or "", str)
        and _is_texts(value.get("examples") or [])
        and _is_texts(value.get("labels") or [])
    )
