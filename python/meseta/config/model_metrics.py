"""What people write about where prices and latencies of models come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from meseta.config.form import Strict

Seconds = Annotated[int, Field(ge=1, le=315_360_000)]


class CostSource(Strict):
    """A catalogue of prices, for `prefer: cheapest`, for `routing_budget` and for what requests cost."""

    type: Literal["cost"]
    """`cost`."""
    provider: Literal["digitalocean", "models.dev"]
    """Whose catalogue it is."""
    url: str | None = None
    """Where it is. Default: where its publisher has it."""
    refresh_interval: Seconds | None = None
    """How often it is fetched again, in seconds. Default: never while Meseta serves."""
    model_aliases: Annotated[dict[str, str], Field(max_length=10_000)] = Field(default_factory=dict)
    """Key of the catalogue to the name of a model of this file, where they differ."""


class LatencySource(Strict):
    """A Prometheus server that knows how fast models are, for `prefer: fastest`."""

    type: Literal["latency"]
    """`latency`."""
    provider: Literal["prometheus"]
    """`prometheus`."""
    url: str
    """Where it is, such as `http://prometheus:9090`."""
    query: Annotated[str, Field(min_length=1, max_length=65_536)]
    """Instant query; the label `model_name` of each result is the name of a model, and less is better."""
    refresh_interval: Seconds | None = None
    """How often it is asked again, in seconds. Default: never while Meseta serves."""


MetricsSource = Annotated[CostSource | LatencySource, Discriminator("type")]
