"""Fetch what a source of prices or latencies says. This opens sockets; nothing else of `config` does.

Forms: https://models.dev/api.json, the model catalogue of DigitalOcean's API, and Prometheus's
`/api/v1/query`.
"""

from __future__ import annotations

import json
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from meseta.config.metrics import Metrics, Rates, Source, SourceError, amount

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Get = Callable[[str], bytes]
    """Fetches an address; raises SourceError."""

DEFAULT_URLS = {
    "models.dev": "https://models.dev/api.json",
    "digitalocean": "https://api.digitalocean.com/v2/gen-ai/models/catalog",
}

LONGEST_SECONDS = 10.0
"""Of one step: connecting, or waiting for the next bytes."""

WHOLE_SECONDS = 30.0
"""Of the whole answer."""

CHUNK_BYTES = 65_536
LARGEST_BYTES = 67_108_864
MOST_MODELS = 100_000
LONGEST_NAME = 512
PER_MILLION = 1_000_000.0


def get(url: str) -> bytes:
    """Fetch an address of http or https."""
    if not url.startswith(("http://", "https://")):
        raise SourceError("its address is neither http nor https")
    try:
        request = Request(url, headers={"accept": "application/json", "user-agent": "meseta"})  # noqa: S310
        with urlopen(request, timeout=LONGEST_SECONDS) as answer:  # noqa: S310 (checked above)
            body = _read(answer)
    except HTTPError as error:
        raise SourceError(f"it answered with status {error.code}") from None
    except URLError as error:
        raise SourceError(str(error.reason)) from None
    except (OSError, ValueError, HTTPException) as error:
        raise SourceError(str(error) or type(error).__name__) from None
    return body


def _read(answer: Any) -> bytes:
    """Return the whole answer; raise SourceError when it is too large or never ends."""
    deadline = time.monotonic() + WHOLE_SECONDS
    body = bytearray()
    while piece := answer.read(CHUNK_BYTES):
        body += piece
        if len(body) > LARGEST_BYTES:
            raise SourceError("its answer is larger than 64 MiB")
        if time.monotonic() > deadline:
            raise SourceError(f"its answer took longer than {WHOLE_SECONDS:.0f} seconds")
    return bytes(body)


def fetch(sources: Sequence[Source], get: Get = get) -> tuple[Metrics, list[tuple[Source, str]]]:
    """Return what the sources say, and for each that failed why."""
    metrics = Metrics()
    failed = []
    for source in sources:
        try:
            if source.kind == "latency":
                metrics.latencies[source.key] = latencies(_json(get(_query(source))))
            else:
                metrics.prices[source.key] = prices(source.provider, _json(get(source.url)))
        except SourceError as error:
            failed.append((source, str(error)))
    return metrics, failed


def prices(provider: str, plain: Any) -> dict[str, Rates]:
    """Return the prices of a catalogue by its keys."""
    found = _digitalocean(plain) if provider == "digitalocean" else _models_dev(plain)
    if not found:
        raise SourceError("its answer has no price of any model")
    return found


def latencies(plain: Any) -> dict[str, float]:
    """Return the values of an instant query by the label `model_name`."""
    if not isinstance(plain, dict) or plain.get("status", "success") != "success":
        reason = plain.get("error") if isinstance(plain, dict) else None
        raise SourceError(str(reason)[:200] if isinstance(reason, str) else "its answer is no result")
    results = _dict(plain.get("data")).get("result")
    found: dict[str, float] = {}
    for result in results[:MOST_MODELS] if isinstance(results, list) else []:
        name = _dict(_dict(result).get("metric")).get("model_name")
        value = _dict(result).get("value")
        number = _number(value[1]) if isinstance(value, list) and len(value) == 2 else None
        if isinstance(name, str) and len(name) <= LONGEST_NAME and number is not None:
            found[name] = number
    if not found:
        # Prometheus says so of a query whose series are gone, and what it said before is better than nothing.
        raise SourceError("its answer has no latency of any model")
    return found


def _models_dev(plain: Any) -> dict[str, Rates]:
    found: dict[str, Rates] = {}
    bare: dict[str, list[Rates]] = {}
    for provider, entry in _dict(plain).items():
        for model, described in _dict(_dict(entry).get("models")).items():
            cost = _dict(_dict(described).get("cost"))
            rates: Rates = {
                "input": amount(cost.get("input")),
                "output": amount(cost.get("output")),
                "cached_input": amount(cost.get("cache_read")),
                "cache_write": amount(cost.get("cache_write")),
            }
            if rates["input"] is None or rates["output"] is None or len(model) > LONGEST_NAME:
                continue
            if len(found) >= MOST_MODELS:
                raise SourceError(f"its answer has more than {MOST_MODELS:,} models")
            found[f"{provider}/{model}"] = rates
            bare.setdefault(model, []).append(rates)
    # A model id alone is a key only where everybody who sells the model asks the same.
    return {**{model: all_[0] for model, all_ in bare.items() if _agree(all_)}, **found}


def _agree(rates: list[Rates]) -> bool:
    return all(one == rates[0] for one in rates)


def _digitalocean(plain: Any) -> dict[str, Rates]:
    """Return the prices of the catalogue, whose amounts are per token whatever their names say."""
    found: dict[str, Rates] = {}
    entries = _dict(plain).get("data")
    for entry in entries[:MOST_MODELS] if isinstance(entries, list) else []:
        model, cost = _dict(entry).get("model_id"), _dict(_dict(entry).get("pricing"))
        cached = amount(cost.get("cache_read_input_price_per_million"))
        if cached is None:
            cached = amount(cost.get("input_cache_read"))
        paid = amount(cost.get("input_price_per_million"))
        answered = amount(cost.get("output_price_per_million"))
        if isinstance(model, str) and len(model) <= LONGEST_NAME and (paid or answered):
            found[model] = {
                "input": _million(paid),
                "output": _million(answered),
                "cached_input": _million(cached),
                "cache_write": None,
            }
    return found


def _million(per_token: float | None) -> float | None:
    return None if per_token is None else per_token * PER_MILLION


def _query(source: Source) -> str:
    return f"{source.url.rstrip('/')}/api/v1/query?{urlencode({'query': source.query})}"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise SourceError("its answer is not JSON") from None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(text: Any) -> float | None:
    try:
        return amount(float(text))
    except (TypeError, ValueError):
        return None
