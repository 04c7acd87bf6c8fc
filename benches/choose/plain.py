"""What the chooser is held against: the mean of the vectors of a text, and the nearest mean of a route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from choose.sets import Case

Matrix = np.ndarray[Any, np.dtype[np.float32]]


class PlainMean:
    """The same vectors as the chooser's, of all tokens of a text and with equal weight."""

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        (table,) = load_file(weights).values()
        self._table: Matrix = table.astype(np.float32)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))

    def best(self, case: Case) -> list[int]:
        """Return for each turn the route whose name, description and examples have the nearest mean."""
        routes = [
            self._means([f"{name} {description}".replace("_", " "), *examples]).sum(axis=0)
            for name, description, examples in case.routes
        ]
        means = _unit(np.stack(routes))
        return [int(best) for best in (self._means(case.turns) @ means.T).argmax(axis=1)]

    def _means(self, texts: list[str]) -> Matrix:
        tokens = [text.ids for text in self._tokenizer.encode_batch(texts, add_special_tokens=False)]
        return _unit(np.stack([self._table[ids].sum(axis=0) for ids in tokens]))


def _unit(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), dtype=np.float32)
