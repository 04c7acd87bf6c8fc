"""What can be asked of a running plane: the table of verbs."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from meseta.config.problems import ConfigError
from meseta.errors import ControlError, MesetaError
from meseta.native import core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from meseta.config.problems import Problem
    from meseta.config.snapshot import Snapshot
    from meseta.control.changes import Comparison


class Life(NamedTuple):
    """What a plane remembers of itself; times are seconds since 1970."""

    started: float
    since: float
    """When the snapshot in force was put there."""
    refused: tuple[float, str] | None
    """When and why the last reload was refused; None after one that was not."""
    draining: bool


class Steered(Protocol):
    """What the verbs need of a plane."""

    @property
    def source(self) -> str:
        """What the configuration was read from."""

    @property
    def file(self) -> Path | None:
        """The absolute path of the file, when there is one."""

    @property
    def home(self) -> Path:
        """The directory of the log and of state."""

    @property
    def log_path(self) -> str | None:
        """The file of the log."""

    @property
    def snapshot(self) -> Snapshot:
        """The configuration in force, without its secrets."""

    @property
    def life(self) -> Life:
        """When it started, and what became of its reloads."""

    def stats(self) -> dict[str, Any]:
        """Return the counters."""

    def health(self) -> list[dict[str, Any]]:
        """Return the state of every target."""

    def reset_health(self, target: str | None = None) -> int:
        """Forget the failures of one target or of all."""

    def agents(self) -> list[dict[str, Any]]:
        """Return the state of every agent and of its instances."""

    def restart_agent(self, agent: str) -> int:
        """Replace the instances of an agent; return how many there should be."""

    def scale_agent(self, agent: str, number: int | None) -> None:
        """Have so many instances of an agent; None goes back to what the file says."""

    def reload(self) -> list[Problem]:
        """Read the configuration again."""

    def compare(self, file: str) -> Comparison:
        """Say what `file` would change."""


class Verb(NamedTuple):
    """A verb: what it does, the names of its optional text parameters, and one line about it."""

    act: Callable[[Steered, Mapping[str, str]], Any]
    parameters: tuple[str, ...]
    about: str

    def answer(self, plane: Steered, given: Mapping[str, str]) -> dict[str, Any]:
        """Do it; whatever goes wrong becomes an answer too."""
        try:
            return {"ok": True, "result": self.act(plane, given)}
        except ConfigError as error:
            return refusal(error.code, "The configuration cannot be used.", error.problems)
        except MesetaError as error:
            return refusal(error.code, str(error))
        except Exception as error:
            return refusal("control.failed", f"{type(error).__name__}: {error}")


def refusal(code: str, message: str, problems: list[Problem] | None = None) -> dict[str, Any]:
    """Return the answer that says why not."""
    listed = [problem.as_dict() for problem in problems or []]
    return {"ok": False, "error": {"code": code, "message": message, "problems": listed}}


def _status(plane: Steered, _given: Mapping[str, str]) -> dict[str, Any]:
    stats, life = plane.stats(), plane.life
    return {
        "version": core().build_info()["version"],
        "pid": os.getpid(),
        "home": str(plane.home),
        "source": plane.source,
        "file": None if plane.file is None else str(plane.file),
        "state": "draining" if life.draining else "serving",
        "started": round(life.started, 3),
        "snapshot": stats["snapshot"],
        "since": round(life.since, 3),
        "refused_reload": None
        if life.refused is None
        else {"at": round(life.refused[0], 3), "message": life.refused[1]},
        "log": plane.log_path,
        "listeners": stats["listeners"],
        "agents": plane.agents(),
        "stats": stats,
    }


def _health(plane: Steered, given: Mapping[str, str]) -> dict[str, Any]:
    rows = plane.health()
    target = given.get("target")
    if target is not None:
        rows = [row for row in rows if row["name"] == target]
        if not rows:
            raise _unknown(plane, target)
    return {"at": round(time.time(), 3), "targets": rows}


def _reset(plane: Steered, given: Mapping[str, str]) -> dict[str, int]:
    target = given.get("target")
    if target is not None and target not in _targets(plane):
        raise _unknown(plane, target)
    return {"reset": plane.reset_health(target)}


def _reload(plane: Steered, _given: Mapping[str, str]) -> dict[str, Any]:
    before = plane.stats()["snapshot"]
    warnings = plane.reload()
    after = plane.stats()["snapshot"]
    return {
        "source": plane.source,
        "snapshot": after,
        "changed": after != before,
        "warnings": [warning.as_dict() for warning in warnings],
    }


def _agents(plane: Steered, given: Mapping[str, str]) -> dict[str, Any]:
    rows = [_agent(plane, given)] if "agent" in given else plane.agents()
    return {"at": round(time.time(), 3), "agents": rows}


def _restart_agent(plane: Steered, given: Mapping[str, str]) -> dict[str, Any]:
    row = _agent(plane, given)
    return {"agent": row["id"], "instances": plane.restart_agent(row["id"])}


def _scale_agent(plane: Steered, given: Mapping[str, str]) -> dict[str, Any]:
    row = _agent(plane, given)
    written = given.get("replicas", "")
    if written != "auto" and not (written.isascii() and written.isdigit() and len(written) <= 4):
        raise ControlError("`replicas` is a number, or `auto` for what the file says.")
    number = None if written == "auto" else int(written)
    plane.scale_agent(row["id"], number)
    return {"agent": row["id"], "replicas": number}


def _agent(plane: Steered, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the row of the agent that is meant."""
    rows = plane.agents()
    name = given.get("agent")
    if name is None:
        raise ControlError("This needs the id of an `agent`.")
    for row in rows:
        if row["id"] == name:
            return row
    near = get_close_matches(name, [row["id"] for row in rows], n=1)
    hint = f" Did you mean `{near[0]}`?" if near else " `meseta agents list` shows those that there are."
    raise ControlError(f"There is no agent {name[:80]!r}.{hint}")


def _diff(plane: Steered, given: Mapping[str, str]) -> dict[str, Any]:
    if "file" not in given:
        raise ControlError("`diff` needs the path of a `file`.")
    return asdict(plane.compare(given["file"]))


def _targets(plane: Steered) -> list[str]:
    return [target["name"] for target in plane.snapshot["targets"]]


def _unknown(plane: Steered, target: str) -> ControlError:
    near = get_close_matches(target, _targets(plane), n=1)
    hint = f" Did you mean `{near[0]}`?" if near else " `meseta health` lists what there is."
    return ControlError(f"There is no target {target!r}.{hint}")


VERBS = {
    "status": Verb(_status, (), "what it serves, since when, and its counters"),
    "health": Verb(_health, ("target",), "the state of every target, or of one"),
    "reset": Verb(_reset, ("target",), "forget the failures of every target, or of one"),
    "reload": Verb(_reload, (), "read the configuration again; the answer says whether it was taken"),
    "configuration": Verb(
        lambda plane, _: plane.snapshot, (), "the configuration in force, without its secrets"
    ),
    "agents.list": Verb(_agents, ("agent",), "the state of every agent and its instances, or of one"),
    "agents.restart": Verb(
        _restart_agent, ("agent",), "replace the instances of `agent`, one after the other"
    ),
    "agents.scale": Verb(
        _scale_agent, ("agent", "replicas"), "have so many `replicas` of `agent`; `auto` heeds the file again"
    ),
    "diff": Verb(_diff, ("file",), "what `file` would change if it were in force"),
    "admission": Verb(
        lambda plane, _: plane.stats().get("admission"), (), "who waits and who is served; null when off"
    ),
    "shared": Verb(
        lambda plane, _: plane.stats().get("shared"), (), "how the shared store does; null when there is none"
    ),
}
