"""Resolve a file, or fetch credentials, in a short-lived child process, which takes its libraries with it.

pydantic and ruamel.yaml alone hold about 15 MiB for as long as a process lives. Secrets travel through pipes;
they never stand in an argument, a variable or a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from meseta.config.credentials import Credential, CredentialError, Lease, request_as_dict, request_from_dict
from meseta.config.fleet import AgentSpec
from meseta.config.metrics import Metrics, Source
from meseta.config.problems import ConfigError, Problem
from meseta.config.resolved import Resolved

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from meseta.config.credentials import Request

LONGEST_SECONDS = 120
"""A child that takes longer is stuck, for instance on a key file that is a pipe nobody writes to."""


def resolve_in_child(
    path: str | Path, *, home: str | None = None, port: int | None = None, online: bool = False
) -> Resolved:
    """Like `resolve_file` with this process's environment; raise ConfigError with every mistake."""
    try:
        answer = _ask({"file": str(path), "home": home, "port": port, "online": online})
    except _ChildError as error:
        message = f"The file could not be resolved: {error}."
        raise ConfigError([Problem("config.not_found", message, str(path))]) from None
    problems = [Problem(**problem) for problem in answer["problems"]]
    if answer["snapshot"] is None:
        raise ConfigError(problems)
    files = {file: None if look is None else tuple(look) for file, look in answer["files"].items()}
    leases = [
        Lease(request_from_dict(held["request"]), tuple(held["targets"]), held["obtained"], held["expires"])
        for held in answer["leases"]
    ]
    fleet = [AgentSpec.from_dict(agent) for agent in answer["fleet"]]
    sources = [Source(**source) for source in answer["sources"]]
    return Resolved(answer["snapshot"], problems, files, leases, sources, fleet)


def fetch_in_child(requests: Sequence[Request]) -> list[Credential | CredentialError]:
    """Like `credentials.fetch_all`, in a process that ends afterwards."""
    try:
        answer = _ask({"fetch": [request_as_dict(request) for request in requests]})
    except _ChildError as error:
        return [CredentialError(f"It could not be fetched: {error}.") for _ in requests]
    return [
        Credential(outcome["auth"], outcome["expires"])
        if "auth" in outcome
        else CredentialError(outcome["error"], outcome["hint"], missing=outcome["missing"])
        for outcome in answer["credentials"]
    ]


def measure_in_child(sources: Sequence[Source]) -> tuple[Metrics, dict[str, str]]:
    """Like `catalogues.fetch`, in a process that ends afterwards; the failures by the key of the source."""
    try:
        answer = _ask({"measure": [source.as_dict() for source in sources]})
    except _ChildError as error:
        return Metrics(), {source.key: str(error) for source in sources}
    return Metrics(answer["prices"], answer["latencies"]), answer["failed"]


def _of_interpreter(variable: str) -> bool:
    """Whether Python or the loader reads the variable before our first line runs."""
    return variable in {"HOME", "LANG"} or variable.startswith(("PYTHON", "LD_", "DYLD_", "LC_"))


class _ChildError(Exception):
    """The child did not answer; `str()` says why, as part of a sentence."""


def _ask(wish: dict[str, Any]) -> dict[str, Any]:
    # -P: a module in the working directory must not be taken for one of ours.
    command = [sys.executable, "-P", "-m", "meseta.config"]
    ours = dict(os.environ)
    # Others of this user can read with what a process was started, so the rest goes through the pipe as well.
    bare = {variable: value for variable, value in ours.items() if _of_interpreter(variable)}
    try:
        done = subprocess.run(
            command,
            input=json.dumps({**wish, "environment": ours}),
            env=bare,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _ChildError(f"it took longer than {LONGEST_SECONDS} seconds") from None
    except OSError as error:
        raise _ChildError(f"no process could be started ({error.strerror})") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise _ChildError(last[0])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
