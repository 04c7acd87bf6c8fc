"""Measure the embedded chooser: `PYTHONPATH=benches:python python -m choose --data FOLDER`."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from choose.sets import Case, cases
from meseta.config.embeddings import find_weights

ROOT = Path(__file__).resolve().parents[2]
NONE = "-"
HEADER = """| set | turns | right | ECE | AUROC of strangers | decided | several | p50 | p99 | fitted in |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |"""


@dataclass(frozen=True)
class Figures:
    """What one case came to."""

    right: float
    calibration_error: float
    strangers: float | None
    decided: float
    several: float
    p50: float
    p99: float
    fit_seconds: float


def score(case: Case, program: Path, threshold: float, margin: float) -> Figures:
    """Run the example of the crate on the case."""
    files = find_weights()
    if files is None:
        sys.exit("the embeddings are not installed: python -m pip install wordllama")
    weights, tokenizer = map(str, files)
    task = {
        "weights": weights,
        "tokenizer": tokenizer,
        "routes": case.routes,
        "threshold": threshold,
        "margin": margin,
    }
    text = json.dumps(task | {"turns": case.turns + case.strangers})
    done = subprocess.run([program], input=text, stdout=subprocess.PIPE, text=True, check=True)
    outcome = json.loads(done.stdout)
    rows = outcome["decisions"]
    own, strange = rows[: len(case.turns)], rows[len(case.turns) :]
    pairs = list(zip(own, case.expected, strict=True))
    single = all(len(expected) == 1 for expected in case.expected)
    hits = [([row["best"]] if single else row["chosen"]) == expected for row, expected in pairs]
    times = sorted(row["microseconds"] for row in rows)
    sure = [row["probability"] for row in own]
    return Figures(
        right=statistics.fmean(hits),
        calibration_error=calibration_error(sure, hits),
        strangers=separation(sure, [row["probability"] for row in strange]) if strange else None,
        decided=statistics.fmean(bool(row["chosen"]) for row in own),
        several=statistics.fmean(len(row["chosen"]) > 1 for row in own),
        p50=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        fit_seconds=outcome["fit_seconds"],
    )


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


def row(case: Case, figures: Figures) -> str:
    """Return a line of the table."""
    single = all(len(expected) == 1 for expected in case.expected)
    strangers = NONE if figures.strangers is None else f"{figures.strangers:.3f}"
    cells = [
        case.name,
        f"{len(case.turns):,}",
        f"{figures.right:.3f}",
        f"{figures.calibration_error:.3f}" if single else NONE,
        strangers,
        f"{figures.decided:.2f}",
        f"{figures.several:.3f}",
        f"{figures.p50:.0f} µs",
        f"{figures.p99:.0f} µs",
        f"{figures.fit_seconds:.2f} s",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="choose", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the development sets")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/examples/choose")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--margin", type=float, default=0.1)
    arguments = parser.parse_args()
    print(HEADER, flush=True)
    for case in cases(arguments.data):
        print(row(case, score(case, arguments.program, arguments.threshold, arguments.margin)), flush=True)


if __name__ == "__main__":
    main()
