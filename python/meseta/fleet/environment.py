"""What the process of an agent is told: little of ours, all that its entry says, and how it calls back."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from meseta.program import search_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meseta.config.fleet import AgentSpec

INHERITED = (
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
)
"""Taken over from Meseta, with every `LC_*`; nothing else, so that no provider's key is given to an agent."""


class Addresses(NamedTuple):
    """Where the plane listens, as base URLs without `/v1`."""

    models: str | None
    """The first listener of type model."""
    agents: tuple[tuple[str, str], ...]
    """Name and URL of each listener of type agent, in the order of the file."""


def told(agent: str, key: str, addresses: Addresses) -> dict[str, str]:
    """Return what an instance needs to call back through the plane."""
    variables = {"MESETA_AGENT": agent, "MESETA_KEY": key}
    if addresses.models is not None:
        variables["MESETA_URL"] = addresses.models
    if addresses.agents:
        variables["MESETA_HUB_URL"] = addresses.agents[0][1]
        variables["MESETA_HUB_URLS"] = json.dumps(dict(addresses.agents))
    return variables


def of_process(
    spec: AgentSpec, told: Mapping[str, str], port: int, ours: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the whole environment of a process; what Meseta tells wins over the entry's `env`."""
    ours = os.environ if ours is None else ours
    variables = {name: value for name, value in ours.items() if name in INHERITED or name.startswith("LC_")}
    variables["PATH"] = search_path(variables.get("PATH"))
    # What it prints arrives when it is printed; others do not know the variable.
    variables["PYTHONUNBUFFERED"] = "1"
    variables |= {name: value.reveal() for name, value in spec.env.items()}
    return variables | dict(told) | {"PORT": str(port)}
