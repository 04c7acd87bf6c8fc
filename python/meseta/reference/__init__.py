"""The generated pages of `docs/reference`: made from the tables and models, compared by a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.reference import commands, configuration, dialects, environment, errors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PAGES"]

PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration.page,
    "commands.md": commands.page,
    "dialects.md": dialects.page,
    "environment.md": environment.page,
    "errors.md": errors.page,
}
"""File name to the function that writes the page."""
