"""Resolve a file or fetch credentials for another process: `python -m meseta.config`.

The answer is JSON on standard output. It holds secrets in clear text, so it goes to a pipe and never to a
terminal. `meseta config show` is for people.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from meseta.config.credentials import CredentialError, fetch_all, request_as_dict, request_from_dict
from meseta.privacy import close_memory


def main() -> int:
    """Answer what standard input asks for.

    `{"file", "home", "port", "online"}` resolves, `{"fetch"}` gets credentials, `{"measure"}` asks sources;
    `environment` holds the variables to do it with.
    """
    if sys.stdout.isatty():
        print("This is for meseta itself; use `meseta config show`.", file=sys.stderr)
        return 6
    close_memory()
    wish = json.load(sys.stdin)
    os.environ.update(wish.pop("environment"))
    if "fetch" in wish:
        answer = _fetch(wish["fetch"])
    elif "measure" in wish:
        answer = _measure(wish["measure"])
    else:
        answer = _resolve(wish)
    json.dump(answer, sys.stdout, ensure_ascii=True, separators=(",", ":"))
    return 0


def _resolve(wish: dict[str, Any]) -> dict[str, Any]:
    from meseta.config.problems import ConfigError
    from meseta.config.resolve import resolve_file

    try:
        resolved = resolve_file(wish["file"], home=wish["home"], port=wish["port"], online=wish["online"])
    except ConfigError as error:
        problems = [problem.as_dict() for problem in error.problems]
        return {"snapshot": None, "problems": problems, "files": {}, "leases": [], "sources": [], "fleet": []}
    return {
        "snapshot": resolved.snapshot,
        "problems": [problem.as_dict() for problem in resolved.warnings],
        "files": resolved.files,
        "leases": [
            {
                "request": request_as_dict(held.request),
                "targets": held.targets,
                "obtained": held.obtained,
                "expires": held.expires,
            }
            for held in resolved.leases
        ],
        "sources": [source.as_dict() for source in resolved.sources],
        "fleet": [agent.as_dict() for agent in resolved.fleet],
    }


def _fetch(requests: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "credentials": [
            {"error": str(outcome), "hint": outcome.hint, "missing": outcome.missing}
            if isinstance(outcome, CredentialError)
            else {"auth": outcome.auth, "expires": outcome.expires}
            for outcome in fetch_all([request_from_dict(request) for request in requests])
        ]
    }


def _measure(sources: list[dict[str, Any]]) -> dict[str, Any]:
    from meseta.config.catalogues import fetch
    from meseta.config.metrics import Source

    metrics, failed = fetch([Source(**source) for source in sources])
    return {
        "prices": metrics.prices,
        "latencies": metrics.latencies,
        "failed": {source.key: reason for source, reason in failed},
    }


if __name__ == "__main__":
    raise SystemExit(main())
