"""The key that signs what agents are told."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from meseta.context_key import NAME, context_key

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    key = context_key(home)
    assert key is not None
    assert len(bytes.fromhex(key)) == 32
    assert context_key(home) == key
    assert stat.S_IMODE((home / NAME).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [NAME]


def test_what_is_no_key_is_not_taken_and_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("short")
    assert context_key(tmp_path) is None
    assert (tmp_path / NAME).read_text() == "short"
