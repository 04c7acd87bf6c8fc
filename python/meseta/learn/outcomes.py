"""One pass over a dataset: every row is put to every chooser, and what came of it is kept in little space."""

from __future__ import annotations

import sys
from array import array
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meseta.learn.choosers import Choice, NoAnswerError
from meseta.learn.dataset import OUT_OF_SCOPE, DatasetError
from meseta.learn.routes import by_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from meseta.learn.choosers import Chooser
    from meseta.learn.dataset import Dataset, Row
    from meseta.learn.routes import Route
    from meseta.learn.scores import Judged

MOST_FAILURES = 20
"""Rows in a row without an answer, after which nobody seems to be there."""
MOST_SAMPLES = 50
"""Rows that are shown as examples of a change."""
MOST_UNKNOWN = 1_000
"""Labels without a route that are told apart."""
SHOWN = 160
"""Characters of a text that are shown."""


@dataclass
class Outcomes:
    """What one chooser made of every row. The lists are parallel, in the order of the dataset."""

    labels: list[tuple[str, ...]] = field(default_factory=list)
    """The routes that are right."""
    chosen: list[tuple[str, ...]] = field(default_factory=list)
    """The routes that were taken; empty when the chooser abstained or failed."""
    best: list[str] = field(default_factory=list)
    """The most probable route, taken or not; the first one taken where there are no probabilities."""
    probability: array[float] = field(default_factory=lambda: array("d"))
    """Of the best route; stays empty where the chooser tells none."""
    lead: array[float] = field(default_factory=lambda: array("d"))
    """Of the best route over the second one; stays empty where the chooser tells none."""
    seconds: array[float] = field(default_factory=lambda: array("d"))
    steps: Counter[str] = field(default_factory=Counter)
    """How many rows each step of a plane's cascade decided."""
    failures: Counter[str] = field(default_factory=Counter)
    """Why rows got no answer. Each counts as an abstention."""

    @property
    def scored(self) -> bool:
        """Whether the chooser tells probabilities."""
        return bool(self.labels) and len(self.probability) == len(self.labels)

    def taken(self) -> Counter[Judged]:
        """Count rows by what is right and what was taken."""
        return Counter(zip(self.labels, self.chosen, strict=True))

    def forced(self) -> Counter[Judged]:
        """Count rows by what is right and what is best, as if the chooser never abstained."""
        single = {name: (name,) if name else () for name in set(self.best)}
        return Counter(zip(self.labels, (single[name] for name in self.best), strict=True))

    def hits(self) -> list[bool]:
        """Whether the best route of each row is right; never where no route is."""
        return [best in labels for best, labels in zip(self.best, self.labels, strict=True)]

    def add(self, labels: tuple[str, ...], choice: Choice | None) -> None:
        """Note one row; None when there was no answer."""
        self.labels.append(labels)
        chosen = choice.chosen if choice is not None else ()
        self.chosen.append(tuple(sys.intern(name) for name in chosen))
        ranked = choice.ranked if choice is not None else None
        best = ranked[0][0] if ranked else chosen[0] if chosen else ""
        self.best.append(sys.intern(best))
        if ranked:
            self.probability.append(ranked[0][1])
            self.lead.append(ranked[0][1] - (ranked[1][1] if len(ranked) > 1 else 0.0))
        if choice is not None:
            self.seconds.append(choice.seconds)
            if choice.step is not None and (choice.step in self.steps or len(self.steps) < MOST_SAMPLES):
                self.steps[choice.step] += 1


@dataclass
class Run:
    """One pass: the outcomes of each chooser, and what happened to the rows on the way."""

    outcomes: list[Outcomes]
    spent: int = 0
    """Rows that were left out because an example says the same."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Labels that mean no route, and how many rows have them."""
    skipped: int = 0
    """Rows that were left out because of such a label."""
    changed: list[tuple[Row, tuple[str, ...], list[Choice | None]]] = field(default_factory=list)
    """The first rows of which the choosers chose differently, with the routes that are right."""


def evaluate(
    dataset: Dataset,
    routes: Sequence[Route],
    choosers: Sequence[Chooser],
    *,
    spent: frozenset[str] = frozenset(),
    others: str = "error",
    parallel: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> Run:
    """Put every row to every chooser.

    `others` says what becomes of a row with a label that means no route: `error`, `skip`, or `out-of-scope`.
    Raise DatasetError, and UnreachableError when a chooser is not there.
    """
    run = Run([Outcomes() for _ in choosers])
    missed = [0] * len(choosers)
    done = 0
    for row, labels, answers in _asked(judged(dataset, routes, spent, others, run), choosers, parallel):
        choices: list[Choice | None] = []
        for place, (outcome, answer) in enumerate(zip(run.outcomes, answers, strict=True)):
            choice = answer if isinstance(answer, Choice) else None
            missed[place] = 0 if choice is not None else missed[place] + 1
            if isinstance(answer, NoAnswerError):
                outcome.failures[str(answer)[:200] if len(outcome.failures) < MOST_SAMPLES else "other"] += 1
                if missed[place] == MOST_FAILURES:
                    raise DatasetError(
                        f"{MOST_FAILURES} rows in a row got no answer; the last one: {answer}."
                    )
            outcome.add(labels, choice)
            choices.append(choice)
        taken = [outcome.chosen[-1] for outcome in run.outcomes]
        if len(set(taken)) > 1 and len(run.changed) < MOST_SAMPLES:
            run.changed.append((row, labels, choices))
        done += 1
        progress(done)
    if done == 0:
        raise DatasetError(f"{dataset} has no row to judge.")
    return run


def judged(
    dataset: Dataset, routes: Sequence[Route], spent: frozenset[str], others: str, run: Run | None = None
) -> Iterator[tuple[Row, tuple[str, ...]]]:
    """Read the rows that are judged, with the routes that are right, and note the other ones in `run`.

    A second pass gives the same rows in the same order.
    """
    run = run if run is not None else Run([])
    names = by_label(routes)
    for row in dataset.rows():
        if row.key in spent:
            run.spent += 1
            continue
        unknown = [
            label for label in row.labels if label not in names and label.casefold() not in OUT_OF_SCOPE
        ]
        if unknown and others == "error":
            raise dataset.wrong(
                row.place,
                f"the label {unknown[0][:80]!r} is no route. `--others skip`, or `out-of-scope`, goes on.",
            )
        for label in unknown:
            run.unknown[label if len(run.unknown) < MOST_UNKNOWN else "other"] += 1
        if unknown and others == "skip":
            run.skipped += 1
            continue
        yield row, tuple(dict.fromkeys(names[label] for label in row.labels if label in names))


def _asked(
    rows: Iterator[tuple[Row, tuple[str, ...]]], choosers: Sequence[Chooser], parallel: int
) -> Iterator[tuple[Row, tuple[str, ...], list[Choice | NoAnswerError]]]:
    """Ask about the rows, in order, `parallel` of them at once, and never hold more than a few of them."""
    if parallel <= 1:
        for row, labels in rows:
            yield row, labels, [_ask(chooser, row) for chooser in choosers]
        return
    waiting: deque[tuple[Row, tuple[str, ...], list[Future[Choice | NoAnswerError]]]] = deque()
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for row, labels in rows:
                waiting.append((row, labels, [pool.submit(_ask, chooser, row) for chooser in choosers]))
                if len(waiting) > 2 * parallel:
                    first, right, answers = waiting.popleft()
                    yield first, right, [answer.result() for answer in answers]
            while waiting:
                first, right, answers = waiting.popleft()
                yield first, right, [answer.result() for answer in answers]
        finally:
            pool.shutdown(cancel_futures=True)


def _ask(chooser: Chooser, row: Row) -> Choice | NoAnswerError:
    try:
        return chooser.choose(row)
    except NoAnswerError as error:
        return error
