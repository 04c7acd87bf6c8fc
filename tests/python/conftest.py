"""What every test shares: no variable of the machine leaks in, and the working directory is empty."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from meseta.config.providers import PROVIDERS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("MESETA_") and name != "MESETA_UPDATE":
            monkeypatch.delenv(name)
    for provider in PROVIDERS:
        for variable in provider.variables:
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MESETA_ALLOW_DEBUG", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
