"""Resolve one file for another process: `python -m meseta.config`, the answer as JSON on standard output.

The answer holds secrets in clear text, so it goes to a pipe and never to a terminal. `meseta config show` is
for people.
"""

from __future__ import annotations

import json
import sys

from meseta.config.problems import ConfigError
from meseta.config.resolve import resolve_file


def main() -> int:
    """Read `{"file", "home", "port"}` from standard input and answer `{"snapshot", "problems", "files"}`."""
    if sys.stdout.isatty():
        print("This is for meseta itself; use `meseta config show`.", file=sys.stderr)
        return 6
    wish = json.load(sys.stdin)
    answer: dict[str, object]
    try:
        resolved = resolve_file(wish["file"], home=wish["home"], port=wish["port"])
    except ConfigError as error:
        answer = {
            "snapshot": None,
            "problems": [problem.as_dict() for problem in error.problems],
            "files": {},
        }
    else:
        answer = {
            "snapshot": resolved.snapshot,
            "problems": [problem.as_dict() for problem in resolved.warnings],
            "files": resolved.files,
        }
    json.dump(answer, sys.stdout, ensure_ascii=True, separators=(",", ":"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
