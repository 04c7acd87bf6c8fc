"""What models cost, from the data of the package genai-prices.

The package takes most of a second and some megabytes to load, so that it is loaded for the first model that
somebody asks for, by the process that resolves a file, and never by the one that serves.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from meseta.config.snapshot import Price

CATALOGUES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex_ai": "google",
    "mistral": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "together_ai": "together",
    "openrouter": "openrouter",
    "moonshotai": "moonshotai",
    "zhipu": "zhipuai",
    "azure_openai": "azure",
    "amazon_bedrock": "aws",
}
"""Our name of a provider to the name that it has in genai-prices."""

_FIELDS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}


class Prices(Protocol):
    """Somebody who knows what models cost."""

    def price(self, provider: str, model: str) -> Price | None:
        """Return what `model` costs at `provider`, or None when nobody knows."""


class PublishedPrices:
    """The list prices that genai-prices collects."""

    def price(self, provider: str, model: str) -> Price | None:
        """Return the list price of today at noon UTC; where it grows with the prompt, that of a short one."""
        catalogue = CATALOGUES.get(provider)
        if catalogue is None or model == "*":
            return None
        found = self._catalogues[catalogue].find_model(model, all_providers=list(self._catalogues.values()))
        if found is None:
            return None
        from datetime import UTC, datetime

        # Some prices depend on the hour. Replicas that start at different hours must agree.
        listed = found.get_prices(datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0))
        amounts = {name: _dollars(getattr(listed, field, None)) for name, field in _FIELDS.items()}
        if amounts["input"] is None and amounts["output"] is None:
            return None  # priced by the image, by the second, or not at all
        return {
            "input": amounts["input"],
            "cached_input": amounts["cached_input"],
            "cache_write": amounts["cache_write"],
            "output": amounts["output"],
            "source": self._source,
        }

    @cached_property
    def _catalogues(self) -> dict[str, Any]:
        from genai_prices.data import providers

        return {provider.id: provider for provider in providers}

    @cached_property
    def _source(self) -> str:
        from importlib.metadata import version

        return f"genai-prices {version('genai-prices')}"


def _dollars(price: Any) -> float | None:
    """Return dollars per million tokens of a price, which may have tiers; the first one counts."""
    base = getattr(price, "base", price)
    if base is None:
        return None
    amount = float(base)
    return amount if math.isfinite(amount) and amount >= 0 else None
