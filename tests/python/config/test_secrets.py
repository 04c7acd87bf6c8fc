from __future__ import annotations

import copy
import json
import logging
import pickle
from pathlib import Path

import pytest

from meseta.config import load_bytes
from meseta.config.model import File
from meseta.config.secrets import Secret, SecretError, SecretReference

HERE = Path()


def test_a_secret_cannot_be_shown(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("sk-value")
    logging.getLogger().warning("%s %r", secret, secret)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", repr([secret]), caplog.text, str(vars)]
    assert all("sk-value" not in text for text in shown)
    assert secret.reveal() == "sk-value"


def test_a_secret_cannot_be_serialised() -> None:
    secret = Secret("sk-value")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            attempt(secret)


def test_a_model_does_not_show_its_literal_key() -> None:
    loaded = load_bytes(b"version: 1\nmodel_providers: [{model: openai/a, access_key: sk-value}]\n")
    assert isinstance(loaded.config, File)
    assert "sk-value" not in repr(loaded.config)
    assert "sk-value" not in loaded.config.model_dump_json()
    assert "sk-value" not in str(loaded.config.model_dump())


@pytest.mark.parametrize("text", ["$NAME", "${NAME}"])
def test_a_variable_is_expanded(text: str) -> None:
    assert SecretReference.parse(text).resolve({"NAME": " sk-1 \n"}, HERE) == Secret("sk-1")


@pytest.mark.parametrize(
    "text", ["$1", "$", "${}", "${A", "x${A}", "$A B", "$A-B", "file:", "", "é", "a\nb", 5, None]
)
def test_what_is_not_a_secret(text: object) -> None:
    with pytest.raises(SecretError):
        SecretReference.parse(text)


def test_a_dollar_inside_a_literal_is_a_dollar() -> None:
    assert SecretReference.parse("pa$$word").resolve({}, HERE) == Secret("pa$$word")


def test_none_is_no_secret() -> None:
    assert SecretReference.parse("none").resolve({}, HERE) is None


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-2\n")
    assert SecretReference.parse("file:key").resolve({}, tmp_path) == Secret("sk-2")
    assert SecretReference.parse(f"file:{tmp_path}/key").resolve({}, HERE) == Secret("sk-2")
    with pytest.raises(SecretError, match="cannot be read"):
        SecretReference.parse("file:.").resolve({}, tmp_path)
    (tmp_path / "key").write_bytes(b"x" * 70_000)
    with pytest.raises(SecretError, match="64 KiB"):
        SecretReference.parse("file:key").resolve({}, tmp_path)
