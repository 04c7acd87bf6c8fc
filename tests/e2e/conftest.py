"""A plane with the simulated provider behind it, as users run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import meseta
from meseta.settings import Settings

CONFIG = """
version: 1
listeners:
  - {name: models, type: model, port: 12000}
model_providers:
  - {model: sim/*}
model_aliases: {fast: {target: sim/echo}}
"""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[meseta.Plane]:
    """Serve `CONFIG` on a free port, with the log in the test's own directory."""
    settings = Settings.from_environment({"MESETA_HOME": str(tmp_path), "MESETA_WORKERS": "2"})
    with meseta.Plane.from_text(CONFIG, port=0, settings=settings) as plane:
        yield plane
