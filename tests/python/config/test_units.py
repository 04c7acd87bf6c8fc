from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meseta.config.units import (
    DURATION_PATTERN,
    DURATION_UNITS,
    LONGEST_MS,
    SIZE_PATTERN,
    SIZE_UNITS,
    format_duration,
    format_size,
    parse_duration_ms,
    parse_size_bytes,
)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500ms", 500), ("2s", 2_000), ("1.5h", 5_400_000), ("7d", 604_800_000), ("0s", 0), ("0.1ms", 1)],
)
def test_duration(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("2GB", 2_000_000_000), ("32MiB", 33_554_432), ("1.5KiB", 1_536)]
)
def test_size(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize(
    "text", [5, 5.0, "5", "", "s", "5 s", "-5s", "5S", "1e3s", "٣s", None, True, "5s\n", []]
)
def test_not_a_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        parse_duration_ms(text)


def test_a_bare_number_is_told_how_to_be_a_duration() -> None:
    with pytest.raises(ValueError, match=r"write 30s"):
        parse_duration_ms("30")


@given(st.integers(0, 10**9), st.sampled_from(sorted(DURATION_UNITS)))
def test_every_whole_duration_is_exact_or_too_long(number: int, unit: str) -> None:
    exact = number * DURATION_UNITS[unit]
    if exact > LONGEST_MS:
        with pytest.raises(ValueError, match="larger"):
            parse_duration_ms(f"{number}{unit}")
    else:
        assert parse_duration_ms(f"{number}{unit}") == exact


@given(st.integers(0, LONGEST_MS))
def test_a_duration_survives_being_shown(milliseconds: int) -> None:
    assert parse_duration_ms(format_duration(milliseconds)) == milliseconds


@given(st.integers(0, 10**11))
def test_a_size_survives_being_shown(size: int) -> None:
    assert parse_size_bytes(format_size(size)) == size


@given(st.text(max_size=30))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        parse_duration_ms(text)
    except ValueError:
        return
    assert re.fullmatch(DURATION_PATTERN, text)


@given(st.from_regex(SIZE_PATTERN, fullmatch=True))
def test_the_pattern_of_the_schema_and_the_parser_agree(text: str) -> None:
    unit = text.lstrip("0123456789.")
    assert unit in SIZE_UNITS
    try:
        parse_size_bytes(text)
    except ValueError as error:
        assert "larger" in str(error)  # noqa: PT017 (any other message would be the defect)
