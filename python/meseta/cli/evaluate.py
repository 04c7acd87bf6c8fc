"""`meseta eval routing`: how well a configuration chooses, on rows whose route is known."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.cli.terminal import CANNOT_CONNECT, DONE, FAILED, USAGE, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.learn.choosers import Chooser
    from meseta.learn.dataset import Dataset
    from meseta.learn.outcomes import Run
    from meseta.learn.report import Comparison, Report
    from meseta.learn.routes import Route, Split
    from meseta.settings import Settings

CONFUSED_PAIRS = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb `routing`."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    routing = verbs.add_parser(
        "routing",
        help="measure how well routes are chosen",
        description="Measure how well routes are chosen, on a .jsonl, .json, .csv or .tsv file of texts with "
        "their routes. Without --config and --routes the labels of the file are the routes.",
    )
    add = routing.add_argument
    add("dataset", metavar="DATASET", help="the rows; FILE.json#PART,PART reads only these lists of the file")
    add("--config", metavar="FILE", help="the configuration whose routes and chooser are evaluated")
    add("--against", metavar="FILE", help="a second configuration, to be compared with the first one")
    add(
        "--listener",
        metavar="NAME",
        help="choose among the agents of this listener (default: model preferences)",
    )
    add(
        "--routes",
        metavar="FILE",
        help="routes as JSON: a list of objects, or an object from route to labels",
    )
    add(
        "--chooser",
        choices=("embedded", "model", "cascade"),
        default=None,
        help="who chooses (default: embedded)",
    )
    add("--url", metavar="URL", help="ask the plane that runs there for its decisions (--chooser cascade)")
    add("--key", metavar="VARIABLE", help="environment variable with the key of that plane")
    add("--model", metavar="NAME", help="the model that requests for a decision name")
    add("--threshold", type=_part, metavar="P", help="probability below which the embedded chooser abstains")
    add("--margin", type=_part, metavar="P", help="lead over the second route below which it abstains")
    add(
        "--precision",
        type=_part,
        metavar="P",
        help="suggest a threshold for this precision (default: 0.9, 0.95, 0.99)",
    )
    add("--examples", type=_count, default=0, metavar="N", help="give each route N examples out of the data")
    add("--examples-from", metavar="DATASET", help="where those examples come from (default: DATASET)")
    add("--seed", type=int, default=0, metavar="N", help="which examples are drawn (default: 0)")
    add(
        "--others",
        choices=("error", "skip", "out-of-scope"),
        default="error",
        help="what becomes of rows whose label is no route (default: error)",
    )
    add("--parallel", type=_count, default=4, metavar="N", help="requests at once to a plane (default: 4)")
    add("--plot", metavar="FILE", help="write reliability and risk against coverage as SVG")
    add("--json", action="store_true", help="print everything as JSON")


@dataclass(frozen=True)
class _Side:
    """One of the two that are compared, or the only one."""

    name: str
    routes: list[Route]
    chooser: Chooser


def run(given: argparse.Namespace, terminal: Terminal, settings: Settings) -> int:
    """Exit code 0 when the evaluation ran, whatever it found."""
    from meseta.learn.choosers import UnreachableError
    from meseta.learn.dataset import DatasetError

    wrong = _wrong_usage(given)
    if wrong:
        terminal.fail(wrong)
        return USAGE
    try:
        with ExitStack() as stack:
            return _evaluate(given, terminal, settings, stack)
    except DatasetError as error:
        terminal.fail(str(error))
        return FAILED
    except UnreachableError as error:
        terminal.fail(str(error), "Start it with `meseta up`, or leave --url out.")
        return CANNOT_CONNECT


def _wrong_usage(given: argparse.Namespace) -> str:
    if given.config and given.routes:
        return "`--config` and `--routes` both say what the routes are; give one of them."
    if given.against and not given.config:
        return "`--against` compares with a configuration; name the first one with --config."
    if given.url and (given.against or given.chooser in {"embedded", "model"}):
        return "A plane at --url decides by its whole cascade: no --against, and no other --chooser."
    if given.chooser in {"model", "cascade"} and not (given.config or given.url):
        return f"`--chooser {given.chooser}` needs --config, or --url of a plane that runs."
    if given.key and (not given.url or given.key not in os.environ):
        return "`--key` names an environment variable that is set, and goes with --url."
    if given.examples_from and not given.examples:
        return "`--examples-from` goes with --examples."
    if given.examples and (given.url or given.chooser in {"model", "cascade"}):
        return "`--examples` are for the embedded chooser; a plane has those of its configuration."
    return ""


def _evaluate(given: argparse.Namespace, terminal: Terminal, settings: Settings, stack: ExitStack) -> int:
    from meseta.learn import report as reports
    from meseta.learn.dataset import Dataset
    from meseta.learn.outcomes import evaluate

    dataset = Dataset.named(given.dataset)
    spent: set[str] = set()
    files = [given.config, given.against] if given.against else [given.config]
    sides = [_side(given, file, dataset, settings, stack, spent) for file in files]
    # The second configuration may have routes that the first one lacks.
    routes = list({route.name: route for side in reversed(sides) for route in side.routes}.values())
    bar = _progress(dataset)
    try:
        found = evaluate(
            dataset,
            routes,
            [side.chooser for side in sides],
            spent=frozenset(spent),
            others=given.others,
            parallel=given.parallel if given.url or given.chooser in {"model", "cascade"} else 1,
            progress=bar,
        )
    finally:
        bar.end()
    _tell(found, terminal)
    precisions = (given.precision,) if given.precision is not None else reports.PRECISIONS
    names = [route.name for route in routes]
    summed = [
        reports.report(outcomes, names, _confusions(given, dataset, routes, spent, found, place), precisions)
        for place, outcomes in enumerate(found.outcomes)
    ]
    first, second = found.outcomes[0], found.outcomes[-1]
    compared = reports.compare(first, second, names) if len(sides) == 2 else None
    if given.plot:
        from meseta.learn.drawing import draw

        named = [(side.name, summary) for side, summary in zip(sides, summed, strict=True)]
        Path(given.plot).write_text(draw(named), "utf-8")
        terminal.say(f"Wrote {given.plot}.")
    if given.json:
        terminal.json(_as_json(given, found, summed, compared))
    else:
        _print(terminal, sides, found, summed, compared)
    return DONE


def _side(
    given: argparse.Namespace,
    file: str | None,
    dataset: Dataset,
    settings: Settings,
    stack: ExitStack,
    spent: set[str],
) -> _Side:
    from meseta.learn import routes as known
    from meseta.learn import setup
    from meseta.learn.dataset import Dataset

    name = file or given.routes or str(dataset)
    if file is not None and given.chooser in {"model", "cascade"} and not given.url:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="meseta-eval-"))
        own = setup.plane_of(file, given.listener, only_model=given.chooser == "model", home=home)
        url, document = stack.enter_context(own)
        routes = known.of_document(document, given.listener)
        asked = stack.enter_context(closing(setup.decider(url, document, given.model, None)))
        return _Side(name, routes, asked)
    resolved = setup.document_of(file, settings.home) if file is not None else None
    if resolved is not None:
        routes = known.of_document(resolved, given.listener)
    elif given.routes:
        routes = known.of_file(Path(given.routes))
    else:
        routes = known.of_labels([dataset])
    if given.url:
        key = os.environ[given.key] if given.key else None
        asked = stack.enter_context(closing(setup.decider(given.url, resolved, given.model, key)))
        return _Side(given.url, routes, asked)
    if given.examples:
        source = Dataset.named(given.examples_from) if given.examples_from else dataset
        split: Split = known.with_examples(routes, source, given.examples, given.seed)
        routes = split.routes
        spent |= split.keys
    return _Side(name, routes, setup.embedded(resolved, routes, given.threshold, given.margin))


def _progress(dataset: Dataset) -> Any:
    from meseta.cli.progress import Progress

    # Counting reads the file once more, which is for people who look at a bar.
    return Progress("choosing", sum(1 for _ in dataset.rows()) if sys.stderr.isatty() else 0)


def _confusions(
    given: argparse.Namespace,
    dataset: Dataset,
    routes: Sequence[Route],
    spent: set[str],
    found: Run,
    place: int,
) -> list[Any]:
    from meseta.learn.advice import confusions
    from meseta.learn.outcomes import judged
    from meseta.learn.scores import confusion

    outcomes = found.outcomes[place]
    pairs = dict(confusion(outcomes.forced()).most_common(CONFUSED_PAIRS))
    rows = judged(dataset, routes, frozenset(spent), given.others)
    return confusions(rows, outcomes, pairs, [replace(route, labels=()) for route in routes])


def _tell(found: Run, terminal: Terminal) -> None:
    if found.spent:
        terminal.say(f"{found.spent} rows are not judged, because an example says the same.")
    if found.unknown:
        shown = ", ".join(f"{label} ({count})" for label, count in found.unknown.most_common(5))
        terminal.warn(f"{len(found.unknown)} labels mean no route: {shown}.")


def _as_json(
    given: argparse.Namespace, found: Run, summed: Sequence[Report], compared: Comparison | None
) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "dataset": given.dataset,
        "not_judged": {"said_by_an_example": found.spent, "label_without_route": found.skipped},
        "report": summed[0].as_dict(),
    }
    if compared is not None:
        changes = [
            {
                "place": row.place,
                "right": right,
                "chosen": [None if choice is None else choice.chosen for choice in choices],
                "text": row.turn,
            }
            for row, right, choices in found.changed
        ]
        tree |= {"against": summed[1].as_dict(), "comparison": compared.as_dict(), "changes": changes}
    return tree


def _print(
    terminal: Terminal,
    sides: Sequence[_Side],
    found: Run,
    summed: Sequence[Report],
    compared: Comparison | None,
) -> None:
    from meseta.learn import text

    for number, (side, summary) in enumerate(zip(sides, summed, strict=True)):
        terminal.data(terminal.style(("\n" if number else "") + side.name, "bold", sys.stdout))
        terminal.table(*text.overview(summary))
    if compared is not None:
        terminal.data("")
        terminal.table(*text.comparison(compared))
        terminal.data("")
        terminal.table(*text.changes(found.changed))
        return
    summary = summed[0]
    for table in (text.routes(summary), text.suggestions(summary)):
        if table[1]:
            terminal.data("")
            terminal.table(*table)
    lines = list(text.sharpen(summary))
    if lines:
        terminal.data(terminal.style("\nmost confused", "bold", sys.stdout))
        for line in lines:
            terminal.data(line)


def _part(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 9999")
    return int(text)
