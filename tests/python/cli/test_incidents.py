"""What `meseta up` says of targets that stop and begin to answer, look by look."""

from __future__ import annotations

from typing import Any

from meseta.cli.incidents import CHOOSER_SECONDS, MOST_LINES, Incidents


def target(name: str, state: str, failures: int = 0, cause: str | None = None) -> dict[str, Any]:
    return {"name": name, "state": state, "failures": failures, "cause": cause}


def test_each_change_is_said_once() -> None:
    incidents = Incidents()
    well = [target("openai/gpt", "ready"), target("agent/weather/2", "ready")]
    assert incidents.look(well, {}) == []
    ill = [target("openai/gpt", "limited"), target("agent/weather/2", "resting", 5, "error")]
    line = "Instance 2 of the agent weather rests after 5 failures in a row (error)."
    assert incidents.look(ill, {}) == [(line, "warn")]
    for state in ("resting", "trial", "resting"):
        assert incidents.look([ill[0], target("agent/weather/2", state, 6, "error")], {}) == []
    back = [well[0], target("agent/weather/2", "ramping")]
    assert incidents.look(back, {}) == [("Instance 2 of the agent weather is back.", "info")]
    assert incidents.look(well, {}) == []
    alone = [target("openai/gpt", "resting", 1, "timeout\x1b[2J")]
    [(said, level)] = incidents.look(alone, {})
    assert (said.startswith("The target openai/gpt rests (timeout"), "\x1b" in said, level) == (
        True,
        False,
        "warn",
    )
    assert incidents.look([], {}) == [], "nobody comes back by leaving the configuration"


def test_many_at_once_are_counted() -> None:
    rows = [target(f"t{number}", "resting") for number in range(MOST_LINES + 5)]
    said = Incidents().look(rows, {})
    assert len(said) == MOST_LINES + 1
    assert said[-1] == ("5 more changed; `meseta health` shows all.", "warn")


def test_choices_that_fail_are_said_now_and_then() -> None:
    now = [0.0]
    incidents = Incidents(lambda: now[0])
    assert incidents.look([], {"model.chosen": 9, "embedded.abstained": 4}) == []
    [(said, level)] = incidents.look([], {"model.failed": 3, "model.late": 1})
    assert said.startswith("The chooser's model could not choose 4 times;")
    assert said.endswith("Since the start: failed 3, late 1.")
    assert level == "warn"
    assert incidents.look([], {"model.failed": 30}) == []
    now[0] = CHOOSER_SECONDS
    [(said, _)] = incidents.look([], {"model.failed": 30, "model.late": 1})
    assert "could not choose 27 times" in said
    now[0] = 2 * CHOOSER_SECONDS
    assert incidents.look([], {"model.failed": 30, "model.late": 1}) == []
