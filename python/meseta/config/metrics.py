"""Prices and latencies from elsewhere: which sources a file names, and how a snapshot gets what they say.

Standard library only: the long-running process puts what was fetched again into the snapshot in force.
"""

from __future__ import annotations

import copy
import json
import math
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from meseta.config.providers import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from meseta.config.snapshot import Price, Snapshot, Target

FILE_NAME = "metrics.json"
"""What was fetched last, in the directory of the log: it counts until something newer is there."""

LARGEST_FILE = 67_108_864
"""Bytes; a larger one is not ours."""

OWN_PRICE = "config"
"""The `source` of a price that stands in the file, which nothing replaces."""


@dataclass(frozen=True)
class Source:
    """Where prices or latencies come from."""

    kind: Literal["cost", "latency"]
    provider: str
    url: str
    query: str = ""
    """Of Prometheus."""
    refresh_seconds: int | None = None
    aliases: dict[str, str] = field(default_factory=dict, hash=False)
    """Key of the catalogue to the name of a model."""

    @property
    def key(self) -> str:
        """What tells it apart from others; where it is and what it is asked."""
        return json.dumps([self.kind, self.provider, self.url, self.query])

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


class SourceError(Exception):
    """A source gave nothing that can be used; `str()` says why, as part of a sentence."""


Rates = dict[str, float | None]
"""`input`, `output`, `cached_input` and `cache_write`, in US dollars per million tokens."""


@dataclass
class Metrics:
    """What sources said, by the key of the source."""

    prices: dict[str, dict[str, Rates]] = field(default_factory=dict)
    """By key of the catalogue."""
    latencies: dict[str, dict[str, float]] = field(default_factory=dict)
    """By name of a model."""

    def take(self, newer: Metrics) -> None:
        """Replace what a source said before; what a source did not say again stays."""
        self.prices.update(newer.prices)
        self.latencies.update(newer.latencies)


def apply(snapshot: Snapshot, sources: Sequence[Source], metrics: Metrics) -> Snapshot:
    """Return the snapshot with the prices and latencies of these sources."""
    filled = copy.deepcopy(snapshot)
    for source in sources:
        if source.kind == "cost" and source.key in metrics.prices:
            rates = metrics.prices[source.key]
            for target in filled["targets"]:
                price = _price(target, source, rates)
                if price is not None:
                    target["price"] = price
        elif source.kind == "latency" and source.key in metrics.latencies:
            filled["latencies"] = _latencies(filled, metrics.latencies[source.key])
    return filled


def _price(target: Target, source: Source, rates: Mapping[str, Rates]) -> Price | None:
    own = target["price"] is not None and target["price"]["source"] == OWN_PRICE
    if own or target["model"] == "*":
        return None
    named = {target["name"], f"{target['provider']}/{target['model']}", target["model"]}
    keys = [key for key, name in source.aliases.items() if name in named]
    if _is_the_provider(target):
        keys += [
            f"{MODELS_DEV.get(target['provider'], target['provider'])}/{target['model']}",
            target["model"],
        ]
    for key in keys:
        if key in rates:
            found = rates[key]
            return {
                "input": found.get("input"),
                "cached_input": found.get("cached_input"),
                "cache_write": found.get("cache_write"),
                "output": found.get("output"),
                "source": source.provider,
            }
    return None


def _is_the_provider(target: Target) -> bool:
    """Whether a target is the provider itself. A server that only speaks its API has prices of its own."""
    row = BY_NAME.get(target["provider"])
    if row is None:
        return False
    host = urlsplit(target["base_url"]).hostname
    return row.base_url is None or urlsplit(row.base_url).hostname == host


MODELS_DEV = {
    "gemini": "google",
    "vertex_ai": "google-vertex",
    "together_ai": "togetherai",
    "zhipu": "zhipuai",
    "qwen": "alibaba",
    "azure_openai": "azure",
    "amazon_bedrock": "amazon-bedrock",
}
"""Our name of a provider to the one of models.dev, where they differ."""


def _latencies(snapshot: Snapshot, measured: Mapping[str, float]) -> dict[str, float]:
    """Return the latencies of the names that clients and preferences may use."""
    found: dict[str, float] = {}
    for target in snapshot["targets"]:
        for name in (target["name"], f"{target['provider']}/{target['model']}", target["model"]):
            if name in measured:
                found[target["name"]] = measured[name]
                break
    for name, target_name in snapshot["names"].items():
        if name in measured:
            found[name] = measured[name]
        elif target_name in found:
            found[name] = found[target_name]
    for pool in snapshot["pools"]:
        members = [found[member["target"]] for member in pool["members"] if member["target"] in found]
        if pool["name"] in measured:
            found[pool["name"]] = measured[pool["name"]]
        elif members:
            found[pool["name"]] = min(members)
    return found


def load(folder: Path) -> Metrics:
    """Return what was kept in `folder`; nothing where there is no such file or it is damaged."""
    try:
        with (folder / FILE_NAME).open("rb") as stream:
            plain = json.loads(stream.read(LARGEST_FILE))
        return Metrics(
            {str(key): _rates_of(rates) for key, rates in plain["prices"].items()},
            {str(key): _numbers_of(numbers) for key, numbers in plain["latencies"].items()},
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return Metrics()


def save(folder: Path, metrics: Metrics) -> None:
    """Keep what was fetched; a directory that cannot be written keeps nothing, which is no mistake."""
    written = folder / f"{FILE_NAME}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(asdict(metrics), stream)
        written.replace(folder / FILE_NAME)
    except OSError:
        with suppress(OSError):
            written.unlink(missing_ok=True)


def amount(value: object) -> float | None:
    """Return a number that can be a price or a latency, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value)
    return number if math.isfinite(number) and 0 <= number <= 1e12 else None


def _rates_of(plain: dict[str, dict[str, object]]) -> dict[str, Rates]:
    return {
        str(model): {str(name): amount(value) for name, value in rates.items()}
        for model, rates in plain.items()
    }


def _numbers_of(plain: dict[str, object]) -> dict[str, float]:
    found = {str(name): amount(value) for name, value in plain.items()}
    return {name: value for name, value in found.items() if value is not None}
