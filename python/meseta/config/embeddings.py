"""Where the static embeddings of the embedded chooser are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "wordllama"
"""The distribution whose wheel has the files. It is never imported: that would load NumPy and look for a
network."""

_WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
_TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")


def find_weights() -> tuple[Path, Path] | None:
    """Return the absolute paths of the vectors and of their tokenizer, or None if they are not installed."""
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        folder = Path(location).resolve()
        weights, tokenizer = folder / _WEIGHTS, folder / _TOKENIZER
        if weights.is_file() and tokenizer.is_file():
            return weights, tokenizer
    return None
