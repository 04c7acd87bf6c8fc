"""One plane a home: what a living process holds is kept, what a dead one left is replaced."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from meseta.control.place import (
    LONGEST_PATH,
    POINTER_NAME,
    SOCKET_NAME,
    Claim,
    address_of,
    home_of_snapshot,
    usual_home,
)
from meseta.errors import ControlError

if TYPE_CHECKING:
    from pathlib import Path


def die_there(home: Path) -> None:
    """Have another process take the home, open its socket and end without a word."""
    code = (
        "import os, socket, sys; from pathlib import Path; from meseta.control.place import Claim\n"
        "claim = Claim(Path(sys.argv[1])); s = socket.socket(socket.AF_UNIX); s.bind(str(claim.address))\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(home)], check=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A home whose path is too long for a socket."""
    return tmp_path / ("x" * LONGEST_PATH)


def test_a_home_has_one_plane(tmp_path: Path) -> None:
    home = tmp_path / "home"
    claim = Claim(home)
    assert (claim.address, mode(home)) == (home / SOCKET_NAME, 0o700)
    with pytest.raises(ControlError, match=rf"Another plane \(process {os.getpid()}\) .* MESETA_HOME"):
        Claim(home)
    claim.release()
    Claim(home).release()


def test_what_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    die_there(tmp_path)
    assert (tmp_path / SOCKET_NAME).is_socket()
    claim = Claim(tmp_path)
    assert not (tmp_path / SOCKET_NAME).exists()
    claim.release()


def test_a_long_path_has_a_pointer_to_a_short_one(deep: Path) -> None:
    claim = Claim(deep)
    assert len(os.fsencode(claim.address)) <= LONGEST_PATH
    assert address_of(deep) == claim.address
    assert (mode(claim.address.parent), mode(deep / POINTER_NAME)) == (0o700, 0o600)
    claim.release()
    assert not claim.address.parent.exists()
    assert address_of(deep) == deep / SOCKET_NAME


def test_a_dead_process_leaves_no_folder_behind_for_good(deep: Path) -> None:
    die_there(deep)
    left = address_of(deep)
    assert left.is_socket()
    Claim(deep).release()
    assert not left.parent.exists()


def test_the_runtime_directory_is_used(deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    claim = Claim(deep)
    assert claim.address.parent.parent == tmp_path
    claim.release()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ControlError, match="No such file"):
        Claim(deep)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    Claim(deep).release()


@pytest.mark.parametrize("where", ["the socket's own place", "the end of a pointer"])
def test_nothing_but_a_socket_is_removed(tmp_path: Path, where: str) -> None:
    precious = tmp_path / (SOCKET_NAME if where == "the socket's own place" else "precious")
    precious.write_text("mine")
    if where == "the end of a pointer":
        (tmp_path / POINTER_NAME).write_bytes(os.fsencode(precious))
    Claim(tmp_path).release()
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("pointer", [b"", b"\0", b"/" * 5000, b"\xff\xfe", b"relative/control.sock"])
def test_a_broken_pointer_is_no_plane(tmp_path: Path, pointer: bytes) -> None:
    (tmp_path / POINTER_NAME).write_bytes(pointer)
    address_of(tmp_path)
    claim = Claim(tmp_path)
    assert claim.address == tmp_path / SOCKET_NAME
    claim.release()


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0"])
def test_a_home_that_cannot_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ControlError, match="cannot be in"):
        Claim(tmp_path / name)


def test_a_living_socket_answers_at_its_address(tmp_path: Path) -> None:
    claim = Claim(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(claim.address))
        listener.listen()
        client.connect(str(address_of(tmp_path)))
    claim.release()
    assert not claim.address.exists()


def test_a_home_that_went_away_is_released(tmp_path: Path) -> None:
    home = tmp_path / "home"
    claim = Claim(home)
    shutil.rmtree(home)
    home.write_text("a file now")
    claim.release()
    assert home.read_text() == "a file now"


def test_the_home_is_where_the_state_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log, responses = {"path": "/state/log.db"}, {"path": "/kept/responses.db"}
    usual = usual_home(tmp_path / "etc", None)
    assert usual == tmp_path / "etc" / ".meseta"
    assert usual_home(tmp_path / "etc", "here") == tmp_path / "here"
    found = [
        str(home_of_snapshot({"log": one, "responses": other}, usual))
        for one, other in ((log, responses), (None, responses), (None, None))
    ]
    assert found == ["/state", "/kept", str(usual)]
