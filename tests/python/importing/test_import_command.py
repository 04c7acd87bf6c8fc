"""`meseta import` as people run it, and `meseta check` on what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meseta.cli.main import main

FILES = Path(__file__).parent / "files"


@pytest.mark.parametrize(
    ("verb", "name"), [("litellm", "litellm-everything.yaml"), ("plano", "plano-agents.yaml")]
)
def test_what_is_written_passes_the_check(
    verb: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["import", verb, str(FILES / name), "-o", "meseta.yaml"]) == 0
    assert main(["import", verb, str(FILES / name), "-o", "meseta.yaml"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["import", verb, str(FILES / name), "--json", "-o", "meseta.yaml", "--force"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] == Path("meseta.yaml").read_text()
    for variable in answer["variables"]:
        monkeypatch.setenv(variable, "value")
    assert main(["check", "meseta.yaml"]) == 0
    assert "is valid" in capsys.readouterr().out


def test_notes_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "litellm", str(FILES / "litellm-everything.yaml")]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("version: 1\n")
    assert (
        "litellm-everything.yaml:97: dropped: `some_new_setting` has no counterpart in Meseta.\n" in told.err
    )
    assert "The new file refers to these variables: ANTHROPIC_API_KEY," in told.err


def test_what_people_must_decide(capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.yaml").write_text(
        "version: v0.4.0\nlisteners: [{type: model, name: llm, port: 12000}]\n"
        "model_providers: [{model: ollama/*}]\nmodel_aliases: {fast: {target: nowhere}}\n"
    )
    assert main(["import", "plano", "old.yaml"]) == 3
    assert "error[config.unknown_reference]" in capsys.readouterr().err
    assert main(["import", "plano", "no.yaml"]) == 3
    assert "config.not_found" in capsys.readouterr().err
