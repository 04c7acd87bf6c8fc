"""The cases of `tests/configs`: what people write above the rule, what comes of it below."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meseta.config import ConfigError, load_bytes, resolve_loaded

if TYPE_CHECKING:
    from meseta.config.snapshot import Price

FOLDER = Path(__file__).parents[2] / "configs"
CASES = sorted(FOLDER.glob("*.txt"))
RULE = "-" * 20 + "\n"
ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-openai",
    "ANTHROPIC_API_KEY": "sk-anthropic",
    "AZURE_OPENAI_API_KEY": "azure-key",
    "TEAM_KEY": "team-key",
    "OTHER_KEY": "other-key",
    "AWS_ID": "AKIAEXAMPLE",
    "AWS_SECRET": "aws-secret",
    "AWS_TOKEN": "aws-token",
    "EMPTY": "",
    "CONTROL": "a\nb",
}


class FixedPrices:
    """Prices that no release of anybody's price list changes."""

    def price(self, provider: str, model: str) -> Price | None:
        if (provider, model) != ("openai", "gpt-4o"):
            return None
        return {"input": 2.5, "cached_input": 1.25, "cache_write": None, "output": 10.0, "source": "list 1"}


def no_weights() -> None:
    """The embedded chooser is not installed, because the plane would load its data from the documents."""


def outcome(written: str) -> str:
    """Everything below the first rule."""
    try:
        loaded = load_bytes(written.encode(), "meseta.yaml", FOLDER)
        resolved = resolve_loaded(loaded, environment=ENVIRONMENT, prices=FixedPrices(), weights=no_weights)
    except ConfigError as error:
        text = "".join(f"{problem}\n" for problem in error.problems)
    else:
        text = json.dumps(resolved.snapshot, indent=2) + "\n"
        if resolved.warnings:
            text += RULE + "".join(f"{warning}\n" for warning in resolved.warnings)
    return text.replace(str(FOLDER), "/HOME")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case(case: Path) -> None:
    written, expected = case.read_text("utf-8").split(RULE, 1)
    found = outcome(written)
    if os.environ.get("MESETA_UPDATE") == "1":
        case.write_text(written + RULE + found, "utf-8")
        expected = found
    assert found == expected
    assert found.startswith("{") == case.name.startswith("ok-")


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name.startswith("bad-")], ids=lambda case: case.stem
)
def test_no_secret_in_a_message(case: Path) -> None:
    below = case.read_text("utf-8").split(RULE, 1)[1]
    for value in [
        *ENVIRONMENT.values(),
        "sk-acme-from-file",
        "lines-that-are-secret",
        "12345",
        "user:secret",
    ]:
        assert not value or value not in below


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40
