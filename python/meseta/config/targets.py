"""Provider entries to targets: where each one goes, with which credential and which limits."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meseta.config.access import AccessBuilder
from meseta.config.calls import CallSettings
from meseta.config.economics import Economics
from meseta.config.headers import check_header
from meseta.config.model import PlanoProvider, Provider
from meseta.config.places import Place, PlaceFinder
from meseta.config.providers import BEDROCK, BY_NAME, VERTEX
from meseta.config.sections import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meseta.config import snapshot
    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.prices import Prices
    from meseta.config.problems import Problem

AGENT = "agent"
"""The provider of the targets of agents, and how the names of those and of their pools begin."""

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NAME = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """A target and what naming needs to know about the entry that it comes from."""

    target: snapshot.Target
    path: KeyPath
    written: str
    """The `model` of the entry."""
    named: bool
    """Whether the entry has a `name` of its own."""
    default: bool
    economics: Economics

    def concrete(self, name: str, model: str) -> snapshot.Target:
        """Return a target for one model behind this wildcard."""
        target = copy.deepcopy(self.target)
        target["name"], target["model"] = name, model
        self.economics.fill(target)
        return target

    @property
    def wildcard(self) -> bool:
        """Whether the entry stands for every model of its provider."""
        return self.target["model"] == "*"


def is_usable_name(name: str) -> bool:
    """Whether a name can travel in a header: visible ASCII, spaces only inside, at most 256 characters."""
    return _NAME.fullmatch(name) is not None


class TargetBuilder:
    """Turns entries into targets and collects what is wrong with them."""

    def __init__(
        self, loaded: Loaded, environment: Mapping[str, str], simulator_url: str, prices: Prices
    ) -> None:
        self.loaded = loaded
        self.prices = prices
        self.access = AccessBuilder(loaded, environment)
        self.places = PlaceFinder(self.access, simulator_url)
        self.problems: list[Problem] = []
        self.calls = CallSettings(loaded, self.problems)

    def build(self, entry: PlanoProvider, path: KeyPath, total_ms: int | None) -> Entry | None:
        """Return the target of one entry, or None when it is wrong; `total_ms` caps the whole call."""
        before = self._errors()
        provider, slash, model = entry.model.partition("/")
        if not slash or not provider or not model:
            self._error("config.invalid_value", (*path, "model"), *_no_slash(entry.model))
            return None
        if _PREFIX.fullmatch(provider) is None or not is_usable_name(entry.model):
            message = (
                "`model` must be ASCII without control characters, and its provider letters, digits, - and _."
            )
            self._error("config.invalid_value", (*path, "model"), message)
            return None
        if provider == AGENT or (entry.name or "").startswith(f"{AGENT}/"):
            message = f"Names that begin with {AGENT}/ are those of agents."
            key = "model" if provider == AGENT else "name"
            self._error("config.conflict", (*path, key), message, "Choose another one.")
        if "*" in model and model != "*":
            message = "A wildcard is the whole model id: write `provider/*`."
            self._error("config.invalid_value", (*path, "model"), message)
        if entry.name is not None and not is_usable_name(entry.name):
            message = "`name` must be ASCII without control characters or outer spaces, and not empty."
            self._error("config.invalid_value", (*path, "name"), message)
        if entry.default and model == "*":
            message = "A wildcard cannot be the default, because it names no model."
            self._error("config.conflict", (*path, "default"), message)
        place = self.places.find(entry, path, provider)
        target = place.target(entry.name or entry.model, provider, model)
        target["headers"] = self._headers(entry, path)
        target["credentials"] = self.access.build(entry, path, place.row, target["headers"])
        economics = Economics(place.row, entry if isinstance(entry, Provider) else None, self.prices)
        economics.fill(target)
        if isinstance(entry, Provider):
            self._version_1(entry, path, target)
            self._protection(entry, path, target)
            self._check_probe(entry, (*path, "probe"), target, place)
        if total_ms is not None:
            limits = target["timeouts"]
            target["timeouts"] = {name: min(limit, total_ms) for name, limit in limits.items()}
            target["timeouts"]["total_ms"] = total_ms
        self._collect()
        if self._errors() > before:
            return None
        return Entry(target, path, entry.model, entry.name is not None, entry.default, economics)

    def _headers(self, entry: PlanoProvider, path: KeyPath) -> dict[str, str]:
        headers = self.calls.headers(entry.headers, (*path, "headers"))
        if entry.http_host is not None:
            if not entry.http_host or check_header("x-host", entry.http_host) or " " in entry.http_host:
                self._error("config.invalid_value", (*path, "http_host"), "`http_host` must be a host name.")
            headers["host"] = entry.http_host
        return headers

    def _version_1(self, entry: Provider, path: KeyPath, target: snapshot.Target) -> None:
        target["http_version"] = entry.http_version
        target["max_output_tokens"] = entry.max_output_tokens
        target["ask_stream_usage"] = entry.ask_stream_usage
        target["timeouts"] = self.calls.timeouts(entry.timeouts)
        forwarded = self.calls.forwarded(
            entry.forward_headers,
            (*path, "forward_headers"),
            target["forward_headers"],
            "`passthrough_auth` is for the client's own key.",
        )
        target["forward_headers"] = forwarded

    def _protection(self, entry: Provider, path: KeyPath, target: snapshot.Target) -> None:
        """Take over what keeps the target from being asked too much, or while it cannot answer."""
        target["limits"] = self.calls.limits(entry.limits, (*path, "limits"))
        target["health"] = self.calls.health(entry.health, (*path, "health"))
        target["probe"] = self.calls.probe(entry.probe, (*path, "probe"))
        if entry.price is not None and target["model"] == "*":
            message = "A wildcard has no price, because its models differ in theirs."
            hint = "Write an entry with the model's own name and its `price`."
            self._error("config.conflict", (*path, "price"), message, hint, key=True)

    def _check_probe(self, entry: Provider, path: KeyPath, target: snapshot.Target, place: Place) -> None:
        probe = entry.probe
        if probe is None or probe.kind == "connect":
            return
        here = (*path, "kind")
        if target["credentials"][0]["type"] == "passthrough":
            message = "A probe has no client, whose credential `passthrough_auth` would send."
            self._error("config.conflict", here, message, "Write `kind: connect`.")
        elif probe.kind == "completion" and target["model"] == "*":
            message = "A wildcard names no model that a probe could ask."
            self._error("config.conflict", here, message, "Write `kind: connect` or `kind: models`.")
        elif probe.kind == "models" and (
            place.row.name in {BEDROCK, VERTEX} or place.api_version is not None
        ):
            message = f"{target['provider']} lists its models at another address."
            self._error("config.conflict", here, message, "Write `kind: connect` or `kind: completion`.")

    def _collect(self) -> None:
        """Take over what was found wrong about place and access; both may have asked the same question."""
        self.problems += [
            problem for problem in dict.fromkeys(self.access.problems) if problem not in self.problems
        ]
        self.access.problems.clear()

    def _errors(self) -> int:
        return sum(problem.severity == "error" for problem in self.problems)

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint, key=key))


def _no_slash(model: str) -> tuple[str, str]:
    near = nearest(model.strip("/"), BY_NAME)
    hint = f"Write `{near}/*` for every model of {near}." if near else "Write it such as openai/gpt-5-mini."
    return "`model` must be `provider/model` or `provider/*`.", hint
