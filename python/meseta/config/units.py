"""Durations and sizes as people write them: a number and its unit, always both."""

from __future__ import annotations

import re
from decimal import Decimal

DURATION_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""Milliseconds in each unit of time."""

SIZE_UNITS = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
"""Bytes in each unit of size."""

DURATION_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,6})?(ms|s|m|h|d)$"
SIZE_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,6})?(B|[KMGT]i?B)$"

LONGEST_MS = 3650 * DURATION_UNITS["d"]
LARGEST_BYTES = 2**60

_QUANTITY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([A-Za-z]+)", re.ASCII)


def parse_duration_ms(text: object) -> int:
    """Milliseconds in a duration such as `500ms`, `2s`, `5m`, `1.5h` or `7d`; raise ValueError otherwise.

    A fraction of a millisecond is rounded up, so that a positive duration never becomes zero.
    """
    return _parse(text, "duration", DURATION_UNITS, LONGEST_MS, "2s, 500ms or 5m", "s")


def parse_size_bytes(text: object) -> int:
    """Bytes in a size such as `32MiB` or `2GB` (`KB` is 1000, `KiB` is 1024); raise ValueError otherwise."""
    return _parse(text, "size", SIZE_UNITS, LARGEST_BYTES, "32MiB or 2GB", "MiB")


def format_duration(milliseconds: int) -> str:
    """Return the shortest exact text for a duration: 90000 → `90s`."""
    return _format(milliseconds, DURATION_UNITS)


def format_size(size: int) -> str:
    """Return the shortest exact text for a number of bytes: 33554432 → `32MiB`."""
    return _format(size, SIZE_UNITS)


def _parse(text: object, noun: str, units: dict[str, int], largest: int, examples: str, likely: str) -> int:
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(f"A {noun} is text such as {examples}.")
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        bare = isinstance(text, (int, float)) or re.fullmatch(r"[0-9]{1,12}", text)
        if bare:
            raise ValueError(
                f"A {noun} needs a unit: write {text}{likely} if you mean that (such as {examples})."
            )
        raise ValueError(f"A {noun} is a number and a unit, such as {examples}.")
    number, unit = match.groups()
    if unit not in units:
        raise ValueError(f"{unit!r} is not a unit of {noun}; the units are {', '.join(units)}.")
    exact = Decimal(number) * units[unit]
    whole = int(exact) + (exact != int(exact))
    if whole > largest:
        raise ValueError(
            f"This {noun} is larger than the largest that is allowed, {_format(largest, units)}."
        )
    return whole


def _format(amount: int, units: dict[str, int]) -> str:
    exact = [(unit, amount // size) for unit, size in units.items() if amount % size == 0 and amount >= size]
    if not exact:
        return f"{amount}{next(iter(units))}"
    unit, count = min(exact, key=lambda pair: pair[1])
    return f"{count}{unit}"
