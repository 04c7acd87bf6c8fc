"""Resolve a file in a short-lived child process, so that this one never loads pydantic and ruamel.yaml.

Both together hold about 15 MiB for as long as the process lives. Secrets come back through a pipe; they never
stand in an argument, a variable or a file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meseta.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from meseta.config.snapshot import Snapshot
    from meseta.watch import Mark

LONGEST_SECONDS = 120
"""A child that takes longer is stuck, for instance on a key file that is a pipe nobody writes to."""


@dataclass(frozen=True)
class Answer:
    """What the child found; the same fields as `resolve.Resolved`."""

    snapshot: Snapshot = field(repr=False)
    warnings: list[Problem]
    files: dict[str, Mark]


def resolve_in_child(path: str | Path, *, home: str | None = None, port: int | None = None) -> Answer:
    """Like `resolve_file` with this process's environment; raise ConfigError with every mistake."""
    # -P: a module in the working directory must not be taken for one of ours.
    command = [sys.executable, "-P", "-m", "meseta.config"]
    wish = json.dumps({"file": str(path), "home": home, "port": port})
    try:
        done = subprocess.run(
            command, input=wish, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _broken(path, f"it took longer than {LONGEST_SECONDS} seconds") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise _broken(path, last[0])
    answer = json.loads(done.stdout)
    problems = [Problem(**problem) for problem in answer["problems"]]
    if answer["snapshot"] is None:
        raise ConfigError(problems)
    files = {file: None if look is None else tuple(look) for file, look in answer["files"].items()}
    return Answer(answer["snapshot"], problems, files)


def _broken(path: str | Path, reason: str) -> ConfigError:
    return ConfigError([Problem("config.not_found", f"The file could not be resolved: {reason}.", str(path))])
