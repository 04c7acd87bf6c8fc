from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.watch import Watch, mark

if TYPE_CHECKING:
    from pathlib import Path


def test_changes_are_seen_once(tmp_path: Path) -> None:
    file = tmp_path / "f"
    watch = Watch({str(file): mark(str(file))})
    assert not watch.changed()
    file.write_text("a")
    assert watch.changed()
    assert not watch.changed()
    (tmp_path / "g").write_text("b")
    (tmp_path / "g").replace(file)
    assert watch.changed()
    file.unlink()
    assert watch.changed()
    assert not watch.changed()


def test_a_swapped_link_is_a_change(tmp_path: Path) -> None:
    """Kubernetes updates a mounted file by swapping a link to its folder."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("same")
    (tmp_path / "data").symlink_to("one")
    linked = str(tmp_path / "data" / "f")
    watch = Watch({linked: mark(linked)})
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(tmp_path / "data")
    assert watch.changed()


def test_follow_forgets_other_files(tmp_path: Path) -> None:
    watch = Watch({str(tmp_path / "f"): None})
    watch.follow({str(tmp_path / "g"): None})
    (tmp_path / "f").write_text("a")
    assert not watch.changed()


def test_a_change_between_reading_and_the_first_look_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("a")
    before = mark(str(file))
    file.write_text("changed")
    watch = Watch({str(file): before})
    assert watch.changed()
    assert not watch.changed()
