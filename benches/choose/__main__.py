"""Measure the embedded chooser: `PYTHONPATH=benches:python python -m choose --data FOLDER`, or `--sets`."""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choose import folders, sets
from choose.plain import PlainMean
from meseta.config.embeddings import find_weights

if TYPE_CHECKING:
    from choose.sets import Case

ROOT = Path(__file__).resolve().parents[2]
NONE = "-"
COLUMNS = (
    *("turns", "plain mean", "right", "said", "ECE", "AUROC of strangers", "decided", "of them right"),
    *("strangers decided", "several", "p50", "p99", "fitted in"),
)
HEADER = f"| set | {' | '.join(COLUMNS)} |\n| --- |{' --: |' * len(COLUMNS)}"


@dataclass(frozen=True)
class Settings:
    """How the cases are run."""

    program: Path
    weights: Path
    tokenizer: Path
    threshold: float
    margin: float


@dataclass(frozen=True)
class Outcome:
    """What the chooser did with the turns of the cases of one question."""

    expected: list[list[int]]
    own: list[dict[str, Any]]
    strange: list[dict[str, Any]]
    plain: list[int]
    fit_seconds: float


def run(cases: list[Case], settings: Settings, plain: PlainMean) -> Outcome:
    """Run the example of the crate on each case."""
    outcome = Outcome([], [], [], [], 0.0)
    for case in cases:
        task = {
            "weights": str(settings.weights),
            "tokenizer": str(settings.tokenizer),
            "routes": case.routes,
            "threshold": settings.threshold,
            "margin": settings.margin,
            "turns": case.turns + case.strangers,
        }
        text = json.dumps(task)
        done = subprocess.run([settings.program], input=text, stdout=subprocess.PIPE, text=True, check=True)
        answer = json.loads(done.stdout)
        outcome.expected.extend(case.expected)
        outcome.own.extend(answer["decisions"][: len(case.turns)])
        outcome.strange.extend(answer["decisions"][len(case.turns) :])
        outcome.plain.extend(plain.best(case))
        outcome = replace(outcome, fit_seconds=max(outcome.fit_seconds, answer["fit_seconds"]))
    return outcome


def calibration_error(probabilities: list[float], hits: list[bool]) -> float:
    """Return the expected calibration error over ten bins of equal width."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(10)]
    for probability, hit in zip(probabilities, hits, strict=True):
        bins[min(int(probability * 10), 9)].append((probability, hit))
    gaps = (abs(sum(p for p, _ in rows) - sum(hit for _, hit in rows)) for rows in bins)
    return sum(gaps) / len(hits)


def separation(own: list[float], strange: list[float]) -> float:
    """Return how often a turn that belongs somewhere is more probable than one that does not (AUROC)."""
    pairs = sorted([(p, 1) for p in own] + [(p, 0) for p in strange])
    wins, below = 0, 0
    for _, belongs in pairs:
        wins += below if belongs else 0
        below += not belongs
    return wins / (len(own) * len(strange))


def row(name: str, outcome: Outcome) -> str:
    """Return a line of the table."""
    single = all(len(expected) == 1 for expected in outcome.expected)
    pairs = list(zip(outcome.own, outcome.expected, strict=True))
    hits = [([own["best"]] if single else own["chosen"]) == expected for own, expected in pairs]
    plain = [[best] == expected for best, expected in zip(outcome.plain, outcome.expected, strict=True)]
    sure = [own["probability"] for own in outcome.own]
    strange = [stranger["probability"] for stranger in outcome.strange]
    taken = [own["chosen"] == expected for own, expected in pairs if own["chosen"]]
    times = sorted(decided["microseconds"] for decided in outcome.own + outcome.strange)
    cells = [
        name,
        f"{len(hits):,}",
        f"{statistics.fmean(plain):.3f}" if single else NONE,
        f"{statistics.fmean(hits):.3f}",
        f"{statistics.fmean(sure):.3f}" if single else NONE,
        f"{calibration_error(sure, hits):.3f}" if single else NONE,
        f"{separation(sure, strange):.3f}" if strange else NONE,
        f"{len(taken) / len(hits):.2f}",
        f"{statistics.fmean(taken):.3f}" if taken else NONE,
        f"{statistics.fmean(bool(stranger['chosen']) for stranger in outcome.strange):.2f}"
        if strange
        else NONE,
        f"{statistics.fmean(len(own['chosen']) > 1 for own in outcome.own):.3f}",
        f"{times[len(times) // 2]:.0f} µs",
        f"{times[len(times) * 99 // 100]:.0f} µs",
        f"{outcome.fit_seconds:.2f} s",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="choose", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="the folder with the development sets")
    source.add_argument("--sets", type=Path, help="a folder of folders with known.csv and asked.csv")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/examples/choose")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--margin", type=float, default=0.1)
    arguments = parser.parse_args()
    files = find_weights()
    if files is None:
        sys.exit("the embeddings are not installed: python -m pip install wordllama")
    settings = Settings(arguments.program, *files, arguments.threshold, arguments.margin)
    cases = sets.cases(arguments.data) if arguments.data else folders.cases(arguments.sets)
    plain = PlainMean(*files)
    print(HEADER, flush=True)
    for name, draws in itertools.groupby(cases, key=lambda case: case.name):
        print(row(name, run(list(draws), settings, plain)), flush=True)


if __name__ == "__main__":
    main()
