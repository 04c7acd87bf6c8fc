"""The programs in the guide run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import meseta
from meseta.settings import Settings

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "python-sdk.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
CONFIG = """
version: 1
listeners: [{name: models, type: model, port: 12000}]
model_providers: [{model: sim/*}]
"""


def agent(messages: list[dict[str, Any]], context: meseta.Context) -> str:
    return f"{context.headers['x-meseta-agent']} says so."


def test_blocks_are_found() -> None:
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("block", BLOCKS)
def test_programs_of_the_guide(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    settings = Settings.from_environment({"MESETA_HOME": str(tmp_path), "MESETA_WORKERS": "2"})
    names: dict[str, Any] = {"__name__": "guide"}
    with (
        meseta.Plane.from_text(CONFIG, port=0, settings=settings) as plane,
        meseta.serving(agent) as hub,
        meseta.connect(plane.url, hub=hub),
    ):
        monkeypatch.setenv("MESETA_URL", plane.url)
        try:
            exec(block, names)
            if "greeter" in names:
                with meseta.serving(names["greeter"]) as url, meseta.connect(plane.url, hub=url):
                    assert meseta.call("agent/greeter", "Hello").text == "I asked a model: Hello"
        finally:
            if "connection" in names:
                names["client"].close()
                names["connection"].close()
    if "outcome" in names:
        assert [answer.text for answer in names["both"]] == ["weather says so.", "flights says so."]
        assert len(names["first"]) == 1
        assert names["last"].to == "agent/flights"
        assert names["outcome"].steps
