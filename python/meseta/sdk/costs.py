"""What an answer cost at list prices."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meseta.config.prices import PublishedPrices
    from meseta.sdk.answers import Answer


def cost_of(answer: Answer) -> float | None:
    """Return US dollars, or None when it has no usage, or its `provider/model` no known price."""
    if answer.usage is None or answer.model is None or "/" not in answer.model:
        return None
    provider, model = answer.model.split("/", 1)
    price = _prices().price(provider, model)
    if price is None or price["input"] is None or price["output"] is None:
        return None
    usage = answer.usage
    cached = price["input"] if price["cached_input"] is None else price["cached_input"]
    fresh = max(0, usage.input_tokens - usage.cached_tokens)
    micros = fresh * price["input"] + usage.cached_tokens * cached + usage.output_tokens * price["output"]
    return micros / 1_000_000


@cache
def _prices() -> PublishedPrices:
    from meseta.config.prices import PublishedPrices

    return PublishedPrices()
