"""Where the data of the embedded chooser is, if it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Weights(Protocol):
    """Somebody who knows where the weights and the tokenizer of the embedded chooser are."""

    def __call__(self) -> tuple[Path, Path] | None:
        """Return the two files, or None where they are not installed."""


def installed_weights() -> tuple[Path, Path] | None:
    """Return the files of the weights and of the tokenizer, or None where they are not installed."""
    if find_spec("meseta.config.embeddings") is None:
        return None
    from importlib import import_module

    found: tuple[Path, Path] | None = import_module("meseta.config.embeddings").find_weights()
    return found
