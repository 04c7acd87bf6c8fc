"""What a target costs, and what its provider keeps of a prompt: as known, or as the file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meseta.config.prompt_caches import is_compatible, prompt_cache

if TYPE_CHECKING:
    from meseta.config import providers
    from meseta.config.model import Provider
    from meseta.config.prices import Prices
    from meseta.config.snapshot import Price, Target


@dataclass(frozen=True)
class Economics:
    """Fills in the price and the prompt cache of the targets of one entry."""

    row: providers.Provider
    """How the entry is asked."""
    written: Provider | None
    """The entry, if it is one that may say something about this."""
    prices: Prices

    def fill(self, target: Target) -> None:
        """Fill them in for the model of this target."""
        target["price"] = self._price(target)
        target["prompt_cache"] = prompt_cache(self.row, target["model"], target["dialects"][0])
        if self.written is not None:
            wish = self.written.prompt_cache
            if wish.window is not None:
                target["prompt_cache"]["window_ms"] = wish.window
            if wish.minimum_tokens is not None:
                target["prompt_cache"]["minimum_tokens"] = wish.minimum_tokens

    def _price(self, target: Target) -> Price | None:
        if self.written is not None and self.written.price is not None:
            wish = self.written.price
            return {
                "input": wish.input,
                "cached_input": wish.cached_input,
                "cache_write": wish.cache_write,
                "output": wish.output,
                "source": "config",
            }
        # Whoever speaks a provider's API without being it has prices of its own.
        if is_compatible(self.row) or self.row.name != target["provider"]:
            return None
        return self.prices.price(target["provider"], target["model"])
