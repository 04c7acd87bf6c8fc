"""Sets in folders of CSV as `benches/choose` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from choose import folders

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, **files: str) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)


def test_turns_strangers_and_descriptions(tmp_path: Path) -> None:
    write(
        tmp_path / "travel",
        known='text,label\nwill it rain,weather\nhow warm is it,weather\n"fly, please",flights\n',
        asked="text,label\nis it windy,weather\na plane to rome,flights\nsing a song,\n",
        routes="label,name,description\nweather,forecasts,Says what comes.\n",
        domains="label,domain\nweather,outside\nflights,outside\n",
    )
    cases = {case.name: case for case in folders.cases(tmp_path)}
    one = cases["travel, examples: 1"]
    assert one.routes[0] == ("flights", "", ["fly, please"])
    assert one.routes[1][:2] == ("forecasts", "Says what comes.")
    assert [len(examples) for _, _, examples in cases["travel, examples: 10"].routes] == [1, 2]
    assert (one.turns, one.expected) == (["is it windy", "a plane to rome"], [[1], [0]])
    assert one.strangers == ["sing a song"]
    lists = cases["travel, 1 domains by their lists"]
    assert lists.routes == [("outside", "Handles: flights, weather", [])]
    assert lists.expected == [[0], [0]]


def test_routes_that_are_left_out_make_strangers(tmp_path: Path) -> None:
    labels = [f"route {at}" for at in range(8)]
    rows = "".join(f"say {label},{label}\n" for label in labels)
    write(tmp_path / "eight", known=f"text,label\n{rows}", asked=f"text,label\n{rows}")
    cases = list(folders.cases(tmp_path))
    left_out = next(case for case in cases if case.name == "eight, three of four routes, names only")
    assert (len(left_out.routes), len(left_out.turns), len(left_out.strangers)) == (6, 6, 2)
    draws = [case for case in cases if case.name == "eight, draws of 6 routes, names only"]
    assert len(draws) == folders.DRAWS
    assert all(len(case.turns) == 6 and len(case.strangers) == 2 for case in draws)


def test_several_requests_keep_their_order(tmp_path: Path) -> None:
    write(
        tmp_path / "mixed",
        known="text,label\nplay,music\nrain,weather\n",
        asked="text,label\nwill it rain and play a song,weather|music\nplay,music\n",
    )
    (case,) = folders.cases(tmp_path)
    assert case.expected == [[1, 0], [0]]
    assert case.strangers == []
