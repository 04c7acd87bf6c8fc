from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.config.environment import gather, read_dotenv

if TYPE_CHECKING:
    from pathlib import Path


def test_forms(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# comment\nA=1\nexport B = two words \nC='a # b'\nD=\"x\" # y\nE=v # "
        "note\nF=\nnonsense\n1G=x\nH=a=b\nI=a#b\n"
    )
    assert read_dotenv(tmp_path / ".env") == {
        "A": "1",
        "B": "two words",
        "C": "a # b",
        "D": "x",
        "E": "v",
        "F": "",
        "H": "a=b",
        "I": "a#b",
    }


def test_the_process_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\n")
    assert gather(tmp_path, {"A": "process"}) == {"A": "process", "B": "file"}


def test_what_cannot_be_read_is_an_empty_table(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / "missing") == {}
    assert read_dotenv(tmp_path) == {}
    (tmp_path / "large").write_bytes(b"A=1\n" * 500_000)
    assert read_dotenv(tmp_path / "large") == {}
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\0A=1\nB=2\n")
    assert read_dotenv(tmp_path / "bytes")["B"] == "2"
