"""The bounded files of what agents print, and reading them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from meseta.fleet.output import Follower, Output, file_of, folder_of, numbers, older, tail


def test_the_files_never_hold_more_than_they_may(tmp_path: Path) -> None:
    file = file_of(tmp_path, "weather", 1)
    output = Output(file, 1_000)
    for number in range(1_000):
        output.write(f"line {number}\n".encode())
        assert sum(entry.stat().st_size for entry in file.parent.iterdir()) <= 1_000
    output.write(b"x" * 10_000)
    output.write(b"\nlast\n")
    output.close()
    assert sum(entry.stat().st_size for entry in file.parent.iterdir()) <= 1_000
    assert tail(file, 1) == b"last\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    again = Output(file, 1_000)
    again.write(b"more\n")
    again.close()
    assert tail(file, 2) == b"last\nmore\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = file_of(tmp_path, "weather", 1)
    file.parent.mkdir(parents=True)
    file.symlink_to(victim)
    output = Output(file, 1_000)
    output.write(b"overwritten")
    output.close()
    assert victim.read_text() == "precious"


def test_a_place_that_cannot_be_written_loses_output_alone(tmp_path: Path) -> None:
    (tmp_path / "agents").write_text("a file")
    output = Output(file_of(tmp_path, "weather", 1), 1_000)
    output.write(b"lost")
    output.close()


@pytest.mark.parametrize("agent", ["", ".", "..", "a/b", "a\0b"])
def test_an_id_leads_nowhere_else(tmp_path: Path, agent: str) -> None:
    with pytest.raises(ValueError, match="is not the id of an agent"):
        folder_of(tmp_path, agent)


def test_the_tail_reaches_over_both_files(tmp_path: Path) -> None:
    file = tmp_path / "1.log"
    older(file).write_text("".join(f"{number}\n" for number in range(100_000)))
    file.write_text("new 1\nnew 2\nbegun")
    assert tail(file, 2) == b"new 2\nbegun"
    assert tail(file, 4) == b"99999\nnew 1\nnew 2\nbegun"
    assert tail(file, 20_003).splitlines()[0] == b"80000"
    assert tail(file, 0) == b""
    assert tail(tmp_path / "2.log", 5) == b""


def test_numbers(tmp_path: Path) -> None:
    assert numbers(tmp_path, "weather") == []
    folder = folder_of(tmp_path, "weather")
    folder.mkdir(parents=True)
    for name in ("10.log", "2.log", "2.log.1", "x.log", "3.txt"):
        (folder / name).touch()
    assert numbers(tmp_path, "weather") == [2, 10]


def test_a_follower_misses_nothing_when_the_file_is_exchanged(tmp_path: Path) -> None:
    file = file_of(tmp_path, "weather", 1)
    output = Output(file, 40)
    output.write(b"before\n")
    follower = Follower(file, at_end=True)
    assert list(follower.read()) == []
    output.write(b"a" * 10)
    assert b"".join(follower.read()) == b"a" * 10
    output.write(b"b" * 10)
    output.write(b"c" * 5)
    assert b"".join(follower.read()) == b"b" * 10 + b"c" * 5
    assert list(follower.read()) == []
    file.unlink()
    assert list(follower.read()) == []
    output.close()
    from_its_beginning = Follower(file, at_end=False)
    Output(file, 40).write(b"new\n")
    assert b"".join(from_its_beginning.read()) == b"new\n"
