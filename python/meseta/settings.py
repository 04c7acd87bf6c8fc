"""The machine's own settings: one table of environment variables, standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meseta.config.units import parse_duration_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_LEVELS = ("debug", "info", "warn", "error")


@dataclass(frozen=True)
class Setting:
    """One environment variable: its name, the default as people read it, and what it does."""

    name: str
    default: str
    description: str


SETTINGS = (
    Setting(
        "MESETA_HOME",
        ".meseta beside the file",
        "Directory of the log and of state, relative to the working directory, when the configuration has no "
        "`store.path`. With no configuration file the default is `.meseta` in the working directory.",
    ),
    Setting(
        "MESETA_WORKERS",
        "one per core",
        "Worker threads of the data plane, a whole number from 1 to 1024. The default counts the cores that "
        "this process may use.",
    ),
    Setting(
        "MESETA_LOG",
        "info",
        "How much Meseta says on standard error: `debug`, `info`, `warn` or `error`. `debug` also shows "
        "Python "
        "tracebacks.",
    ),
    Setting(
        "MESETA_DRAIN",
        "30s",
        "How long requests in flight may take to finish after SIGTERM or SIGINT, a duration such as `30s` or "
        "`5m`; `0s` stops at once. `meseta up --drain` wins over it.",
    ),
    Setting(
        "MESETA_CONTROL",
        "on",
        "Whether `meseta up` opens the control socket in its home, which `meseta status`, `health`, `reload` "
        "and `config diff` ask: `on` or `off`.",
    ),
    Setting(
        "MESETA_ALLOW_DEBUG",
        "0",
        "`1` silences the warning that the native module is a debug build.",
    ),
)


FOR_AGENTS = (
    Setting(
        "MESETA_URL",
        "http://127.0.0.1:12000",
        "Where models are called. `meseta.connect()` reads it; an agent that Meseta runs has it set.",
    ),
    Setting(
        "MESETA_HUB_URL",
        "none",
        "Where agents are called: the first listener of type `agent`.",
    ),
    Setting(
        "MESETA_HUB_URLS",
        "none",
        "All listeners of type `agent`, a JSON object of names and URLs. Set for agents that Meseta runs.",
    ),
    Setting(
        "MESETA_KEY",
        "none",
        "The key to send to them. An agent that Meseta runs has one of its own, by which its calls are known "
        "as the agent's.",
    ),
    Setting("MESETA_AGENT", "none", "The id of the agent. Set for agents that Meseta runs."),
    Setting(
        "MESETA_FLEET",
        "none",
        "Marks the processes that belong to one Meseta, so that none is left over. Set for agents that "
        "Meseta runs.",
    ),
)
"""What programs that call Meseta read, and what agents that Meseta runs find."""


class SettingError(ValueError):
    """A setting in the environment has a value that cannot be used; `str()` is a full sentence."""


@dataclass(frozen=True)
class Settings:
    """The settings of this process, read once at start."""

    home: str | None
    """MESETA_HOME, or None for the default."""
    workers: int
    """Worker threads of the plane, at least 1."""
    log: str
    """One of LOG_LEVELS."""
    drain_seconds: float
    """Longest time to wait for requests in flight, in seconds."""
    control: bool = True
    """Whether `meseta up` opens its control socket."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the table from `environment` (default: this process's); raise SettingError on a bad value."""
        values = os.environ if environment is None else environment
        log = values.get("MESETA_LOG") or "info"
        if log not in LOG_LEVELS:
            raise SettingError(f"MESETA_LOG is {log!r}; write one of {', '.join(LOG_LEVELS)}.")
        drain = values.get("MESETA_DRAIN") or "30s"
        try:
            drain_seconds = parse_duration_ms(drain) / 1000
        except ValueError as error:
            raise SettingError(f"MESETA_DRAIN: {error}") from None
        control = values.get("MESETA_CONTROL") or "on"
        if control not in {"on", "off"}:
            raise SettingError(f"MESETA_CONTROL is {control!r}; write on or off.")
        return cls(
            values.get("MESETA_HOME") or None,
            _workers(values.get("MESETA_WORKERS")),
            log,
            drain_seconds,
            control == "on",
        )


def _workers(text: str | None) -> int:
    if not text:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 1024 and len(text) <= 6):
        raise SettingError(f"MESETA_WORKERS is {text!r}; write a whole number from 1 to 1024.")
    return int(text)
