"""Which configuration a command means when none is named."""

from __future__ import annotations

from pathlib import Path

USUAL = ("meseta.yaml", "config.yaml", "plano_config.yaml")
"""Looked for in the working directory, in this order."""


def usual_file() -> str | None:
    """Return the first usual file that exists, or None."""
    return next((name for name in USUAL if Path(name).is_file()), None)


def required_file(given: str | None) -> str:
    """Return the file that was named, or a usual one; raise ConfigError when there is neither."""
    found = given or usual_file()
    if found is None:
        from meseta.config.problems import ConfigError, Problem

        message = f"There is no {', '.join(USUAL[:-1])} or {USUAL[-1]} here."
        raise ConfigError([Problem("config.not_found", message, hint="Name the file.")])
    return found
