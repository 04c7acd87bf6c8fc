"""The dated page of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos import verdict as judging
from chaos.world import BUDGET, HEALTH, RETRY

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.verdict import Verdict

HELD = "Everything held that [benches/README.md](../README.md#chaos) demands."
METHOD = f"""\
Method: [benches/README.md](../README.md#chaos). The pool retries with `{RETRY}`, each target has
`health: {HEALTH}`: a run is short, so what is ill rests for seconds and not for minutes. The file says
`retry_budget: {BUDGET}`, where 20 is the default: three of four targets may be ill at once, and until
that is known a request may take three calls more. Memory is judged by the medians of its first and last
third: a single sample depends on what is under way in that moment."""


def write(path: Path, facts: dict[str, str], happened: str, verdict: Verdict) -> None:
    """Write it."""
    machine = [f"| {name} | {value} |" for name, value in facts.items()]
    problems = [f"- **{problem}**" for problem in verdict.problems] or [HELD]
    told = [f"- {line}" for line in verdict.unanswered]
    parts = [
        f"# Chaos run of {facts['made']}",
        happened,
        "\n".join(["| machine | |", "|---|---|", *machine]),
        judging.table(verdict),
        "\n".join(problems),
        *(["## Requests without an answer", "\n".join(told)] if told else []),
        METHOD,
    ]
    path.write_text("\n\n".join(parts) + "\n")
