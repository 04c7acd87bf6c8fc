"""The life of agents with real processes, before a pretended plane."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import alive, until

from meseta.config.fleet import Live, Ready, Restart
from meseta.config.secrets import Secret
from meseta.errors import ControlError, SnapshotError
from meseta.fleet import process
from meseta.fleet.instance import QUIET_SECONDS
from meseta.fleet.scale import Traffic

from .conftest import ADDRESSES, Ship, free_ports, get, replicas

Make = Any
"""Makes a specification; see conftest.py."""


def ready(ship: Ship, *names: str) -> None:
    until(lambda: ship.plane.members == sorted(names))


def test_an_agent_is_started_placed_and_ended(ship: Ship, spec: Make) -> None:
    ship.follow(spec())
    ready(ship, "agent/weather/1")
    assert get(ship.plane.port("agent/weather/1")) == 200
    (pid,) = ship.pids("weather")
    row = ship.row("weather")
    assert (row["state"], row["ready"], row["desired"]) == ("ready", 1, 1)
    assert json.loads(json.dumps(row)) == row
    ship.plane.requests["agent/weather/1"] = 1
    assert ship.row("weather")["instances"][0]["state"] == "busy"
    ship.fleet.stop()
    assert not alive(pid)
    assert ship.fleet.rows() == []
    with pytest.raises(ControlError, match="stopped"):
        ship.fleet.restart("weather")


def test_the_environment_of_a_process(
    ship: Ship, spec: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    ship.follow(spec("--tells", env={"CITY": Secret("Oslo"), "PORT": Secret("1")}))
    ready(ship, "agent/weather/1")
    told = json.loads(next(line for line in ship.output("weather").splitlines() if line.startswith("{")))
    assert "OPENAI_API_KEY" not in told
    assert (told["CITY"], told["LC_ALL"], told["MESETA_AGENT"]) == ("Oslo", "C.UTF-8", "weather")
    assert told["PORT"] == str(ship.plane.port("agent/weather/1"))
    assert (told["MESETA_URL"], told["MESETA_HUB_URL"]) == (ADDRESSES.models, ADDRESSES.agents[0][1])
    assert told["PATH"].startswith(sys.prefix)
    digest = hashlib.sha256(told["MESETA_KEY"].encode()).hexdigest()
    assert ship.plane.placements[0].digests == {"weather": digest}, "known before anything was started"
    assert ship.plane.placements[0].instances == ()


def test_what_ends_is_started_again(ship: Ship, spec: Make) -> None:
    ship.follow(spec())
    ready(ship, "agent/weather/1")
    (first,) = ship.pids("weather")
    with pytest.raises(OSError):  # noqa: PT011
        get(ship.plane.port("agent/weather/1"), "/crash")
    until(lambda: ship.said("ended with exit code 7"))
    until(lambda: ship.row("weather")["ready"] == 1 and ship.pids("weather") != [first])
    # It was out of the plane in between, so that nothing was sent to a port where nobody was.
    counts = [len(placement.instances) for placement in ship.plane.placements]
    assert counts == [0, 1, 0, 1]


def test_a_crash_loop_is_shown_and_its_attempts_go_on(ship: Ship, spec: Make) -> None:
    ship.follow(spec("--fails"))
    row = until(lambda: next((row for row in ship.fleet.rows() if row["crash_loop"]), None))
    assert row["state"] == "failed"
    assert ship.said("That is a crash loop: 3 failures.")
    assert ship.plane.members == []
    reached = row["instances"][0]["failures"]
    until(lambda: ship.row("weather")["instances"][0]["failures"] > reached)
    until(lambda: "ended with exit code 3" in str(ship.row("weather")["instances"][0]["why"]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"command": ["no-such-program"]}, "there is no program 'no-such-program'"),
        ({"command": ["./no-such-program"]}, "there is no program"),
        ({"command": []}, "there is no program"),
        ({"cwd": "nowhere"}, "there is no directory"),
        ({"port": 65_536}, "there is no port 65536"),
    ],
)
def test_what_cannot_be_started_says_so(
    ship: Ship, spec: Make, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    if "cwd" in change:
        change = {"cwd": tmp_path / change["cwd"]}
    ship.follow(replace(spec(), **change))
    until(lambda: why in str(ship.row("weather")["instances"][0]["why"]) if ship.fleet.rows() else False)


def test_a_file_that_is_no_program(ship: Ship, spec: Make, tmp_path: Path) -> None:
    script = tmp_path / "agent.sh"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    ship.follow(spec(command=["./agent.sh"]))
    until(lambda: ship.said("its program could not be started"))
    assert "agent.sh cannot be started: No such file or directory." in ship.output("weather")


def test_ports_that_are_taken(ship: Ship, spec: Make) -> None:
    port = free_ports(2)
    with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 1)):
        ship.follow(spec(port=port))
        until(lambda: ship.said(f"ports {port} to {port + 1} are taken"))
        assert ship.plane.members == []
    ready(ship, "agent/weather/1")
    assert ship.plane.port("agent/weather/1") == port


def test_why_one_failed_ends_with_what_it_printed_and_stays(ship: Ship, spec: Make) -> None:
    ship.follow(spec("--fails", "--why"))
    why = "ended with exit code 1; it last printed: the fuel is [31mout"
    until(lambda: ship.said(f"{why}. Next attempt"))
    # Also while the next attempt is on its way.
    seen: set[str] = set()

    def look() -> bool:
        (one,) = ship.row("weather")["instances"]
        assert one["why"] == why
        seen.add(one["state"])
        return {"starting", "failed"} <= seen

    until(look)


def test_one_that_does_not_live_is_failed_while_it_ends(ship: Ship, spec: Make, tmp_path: Path) -> None:
    ship.follow(spec("--stubborn", live=Live("/health", interval_ms=30, failures=3), grace_ms=600_000))
    ready(ship, "agent/weather/1")
    (pid,) = ship.pids("weather")
    (tmp_path / "unwell").touch()
    row = until(lambda: next((row for row in ship.fleet.rows() if row["ready"] == 0), None))
    assert row["state"] == "failed"
    assert "did not show 3 times" in row["instances"][0]["why"]
    os.kill(pid, signal.SIGKILL)


def test_never_ready(ship: Ship, spec: Make) -> None:
    ship.follow(spec("--never-ready", ready=Ready("/health", timeout_ms=3_000, interval_ms=20)))
    until(lambda: ship.said("was not ready within 3 s: GET /health on port"))
    assert ship.said("answered 503")
    assert ship.plane.members == []


def test_ready_with_a_port_alone(ship: Ship, spec: Make) -> None:
    ship.follow(spec(ready=Ready(None, interval_ms=20)), spec("--deaf", agent="deaf", ready=Ready(None, 300)))
    ready(ship, "agent/weather/1")
    until(lambda: ship.said("was not ready within 0.3 s: nothing listens on port"))


def test_one_that_does_not_live_is_replaced(ship: Ship, spec: Make, tmp_path: Path) -> None:
    ship.follow(spec(live=Live("/health", interval_ms=30, failures=3)))
    ready(ship, "agent/weather/1")
    (tmp_path / "unwell").touch()
    until(lambda: ship.said("did not show 3 times in a row that it lives: GET /health on port"))
    (tmp_path / "unwell").unlink()
    until(lambda: ship.row("weather")["ready"] == 1)


def test_one_that_ignores_sigterm_is_killed(ship: Ship, spec: Make) -> None:
    ship.follow(spec("--stubborn", grace_ms=100))
    ready(ship, "agent/weather/1")
    (pid,) = ship.pids("weather")
    ship.follow()
    until(lambda: not alive(pid))
    until(lambda: ship.said("ignored SIGTERM for 0.1 s and was killed"))
    until(lambda: ship.fleet.rows() == [])
    until(lambda: ship.plane.placed == ())


def test_a_drain_waits_for_requests_and_then_for_no_longer_than_it_may(ship: Ship, spec: Make) -> None:
    ship.follow(spec(drain_ms=600_000))
    ready(ship, "agent/weather/1")
    (pid,) = ship.pids("weather")
    ship.plane.requests["agent/weather/1"] = 1
    ship.follow()
    until(lambda: ship.plane.members == [])
    assert [instance.name for instance in ship.plane.placed] == ["agent/weather/1"], "still a target"
    assert alive(pid)
    assert ship.row("weather")["state"] == "draining"
    ship.plane.requests.clear()
    until(lambda: ship.fleet.rows() == [])
    assert not alive(pid)
    ship.follow(spec(drain_ms=100))
    ready(ship, "agent/weather/1")
    ship.plane.requests["agent/weather/1"] = 1
    ship.follow()
    until(lambda: ship.said("still had requests when its time to drain was over"))
    until(lambda: ship.fleet.rows() == [])


def children(ship: Ship) -> list[int]:
    """Return what the agent with `--children` started last: in its group, out of its group, detached."""
    lines = [line for line in ship.output("weather").splitlines() if line.startswith("children")]
    pids = [int(word) for word in lines[-1].split()[1:]]
    assert len(pids) == 3
    assert all(map(alive, pids))
    return pids


def test_children_end_with_meseta(ship: Ship, spec: Make) -> None:
    ship.follow(spec("--children"))
    ready(ship, "agent/weather/1")
    pids = children(ship)
    ship.fleet.stop()
    assert not any(map(alive, pids))


@pytest.mark.parametrize("end", ["crash", "kill", "restart"])
def test_children_end_with_their_instance(ship: Ship, spec: Make, end: str) -> None:
    ship.follow(spec("--children"))
    ready(ship, "agent/weather/1")
    pids = children(ship)
    (pid,) = ship.pids("weather")
    if end == "crash":
        with pytest.raises(OSError):  # noqa: PT011
            get(ship.plane.port("agent/weather/1"), "/crash")
    elif end == "kill":
        os.kill(pid, signal.SIGKILL)
    else:
        ship.fleet.restart("weather")
    until(lambda: ship.row("weather")["ready"] == 1 and pid not in ship.pids("weather"))
    assert not any(map(alive, pids))


def test_one_whose_keeper_is_killed_is_started_again(ship: Ship, spec: Make) -> None:
    ship.follow(spec("--stubborn"))
    ready(ship, "agent/weather/1")
    (pid,) = ship.pids("weather")
    keeper = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    until(lambda: ship.said("was lost: its keeper was ended by SIGKILL"))
    until(lambda: ship.row("weather")["ready"] == 1)
    assert not alive(pid)
    assert not alive(keeper)


def test_a_keeper_that_is_held_up_is_killed(ship: Ship, spec: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_KEEPER_SECONDS", 0.1)
    ship.follow(spec(grace_ms=100))
    ready(ship, "agent/weather/1")
    (pid,) = ship.pids("weather")
    keeper = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGSTOP)
    ship.fleet.stop()
    until(lambda: not alive(pid))
    assert not alive(keeper)


def test_scale_to_zero_and_start_on_demand(ship: Ship, spec: Make) -> None:
    ship.follow(spec(replicas=replicas(0, 2), idle_ms=2_000))
    until(lambda: ship.plane.placements)
    assert ship.row("weather")["state"] == "stopped"
    ship.plane.demand.put("weather")
    ship.plane.demand.put("nobody")
    until(lambda: ship.row("weather")["instances"])
    ship.plane.work["weather"] = Traffic(waiting=1)
    ready(ship, "agent/weather/1")
    ship.plane.work["weather"] = Traffic(in_flight=0, last_request_seconds=0.0)
    ready(ship, "agent/weather/1")
    ship.plane.work["weather"] = Traffic(last_request_seconds=1000.0)
    ready(ship)
    until(lambda: ship.row("weather")["state"] == "stopped")
    ship.plane.work["weather"] = Traffic(waiting=1)
    ready(ship, "agent/weather/1")


def test_more_work_starts_more_and_less_work_fewer(ship: Ship, spec: Make) -> None:
    ship.follow(spec(replicas=replicas(1, 3, target=2)))
    ready(ship, "agent/weather/1")
    ship.plane.work["weather"] = Traffic(in_flight=5)
    ready(ship, "agent/weather/1", "agent/weather/2", "agent/weather/3")
    ship.plane.work["weather"] = Traffic(in_flight=1)
    ready(ship, "agent/weather/1")


def test_an_operator_scales(ship: Ship, spec: Make) -> None:
    ship.follow(spec())
    ready(ship, "agent/weather/1")
    ship.fleet.scale("weather", 2)
    ready(ship, "agent/weather/1", "agent/weather/2")
    assert ship.row("weather")["pinned"] == 2
    ship.fleet.scale("weather", 0)
    ready(ship)
    ship.plane.demand.put("weather")
    until(ship.plane.demand.empty)
    until(lambda: ship.row("weather")["instances"] == [])
    assert ship.row("weather")["desired"] == 0, "it was told to have none"
    ship.fleet.scale("weather", None)
    ready(ship, "agent/weather/1")
    for number in (-1, 1_001):
        with pytest.raises(ControlError, match="0 to 1000"):
            ship.fleet.scale("weather", number)
    with pytest.raises(ControlError, match="runs no agent 'wether'"):
        ship.fleet.scale("wether", 1)


def test_nobody_waits_for_one_that_will_not_come(ship: Ship, spec: Make) -> None:
    slow = Restart(base_ms=3_600_000, max_ms=3_600_000)
    ship.follow(spec("--fails", hold_ms=60_000, restart=slow), spec(agent="flights"))
    ready(ship, "agent/flights/1")
    until(lambda: ship.plane.placements[-1].absent == {"weather"})
    ship.fleet.scale("flights", 0)
    until(lambda: ship.plane.placements[-1].absent == {"weather", "flights"})
    ship.fleet.scale("flights", None)
    until(lambda: ship.plane.placements[-1].absent == {"weather"})
    # It comes soon enough for one that waits longer.
    ship.follow(spec("--fails", hold_ms=7_200_000, restart=slow), spec(agent="flights"))
    until(lambda: not ship.plane.placements[-1].absent)


def rolled(ship: Ship, generation: int, count: int) -> bool:
    row = ship.row("weather")
    now = [one for one in row["instances"] if one["generation"] == generation and one["state"] == "ready"]
    return len(now) == count == len(row["instances"])


def never_fewer(ship: Ship, since: int, count: int) -> bool:
    """Whether as many as before could be asked all the time."""
    return all(
        sum(instance.member for instance in placement.instances) >= count
        for placement in ship.plane.placements[since:]
    )


@pytest.mark.parametrize("cause", ["restart", "configuration", "code", "addresses"])
def test_a_rolling_restart_never_has_fewer_ready(ship: Ship, spec: Make, tmp_path: Path, cause: str) -> None:
    code = tmp_path / "prompt.txt"
    code.write_text("one")
    (tmp_path / "__pycache__").mkdir()
    first = spec(replicas=replicas(2), watch=["*.txt", "__pycache__/*", "[", "/absolute/*"])
    ship.follow(first)
    ready(ship, "agent/weather/1", "agent/weather/2")
    before, since = set(ship.pids("weather")), len(ship.plane.placements)
    if cause == "restart":
        assert ship.fleet.restart("weather") == 2
    elif cause == "configuration":
        ship.follow(replace(first, env={"CITY": Secret("Oslo")}))
    elif cause == "addresses":
        ship.fleet.follow([first], ADDRESSES._replace(models="http://127.0.0.1:1"))
    else:
        # Looked at before the change, so that it is one.
        until(lambda: ship.fleet._crews["weather"]._sources is not None)
        # In one step: half a change would be one of its own.
        (tmp_path / ".new").write_text("two, which is longer")
        (tmp_path / ".new").replace(code)
        until(lambda: ship.said("Files of agent weather changed"))
    until(lambda: rolled(ship, 2, 2))
    assert not before & set(ship.pids("weather"))
    assert never_fewer(ship, since - 1, 2)
    assert not any(alive(pid) for pid in before)


def test_a_guardian_that_was_killed_is_replaced(ship: Ship, spec: Make) -> None:
    ship.follow(spec("--children"))
    ready(ship, "agent/weather/1")
    guardian = ship.fleet.driver._guardian  # type: ignore[attr-defined]
    first = guardian.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: guardian.pid not in {None, first})
    pids = children(ship)
    # The last breath of Meseta, as far as the guardian can tell.
    guardian._process.stdin.close()
    until(lambda: not any(map(alive, pids)))
    until(lambda: ship.said("was ended by SIGKILL"))


def test_what_needs_no_other_process_restarts_nothing(ship: Ship, spec: Make) -> None:
    first = spec()
    ship.follow(first)
    ready(ship, "agent/weather/1")
    pids = ship.pids("weather")
    ship.follow(replace(first, drain_ms=1, live=Live(), target={"changed": True}))
    until(lambda: ship.plane.placed[0].target == {"changed": True})
    assert ship.pids("weather") == pids


def test_a_new_version_that_fails_leaves_the_old_one(ship: Ship, spec: Make) -> None:
    ship.follow(spec())
    ready(ship, "agent/weather/1")
    (pid,) = ship.pids("weather")
    since = len(ship.plane.placements)
    ship.follow(spec("--fails"))
    until(lambda: ship.said("That is a crash loop"))
    assert ship.plane.members == ["agent/weather/1"]
    assert alive(pid)
    row = ship.row("weather")
    assert (row["ready"], row["desired"]) == (1, 1)
    assert row["rollout"] == {"replaced": 0, "of": 1, "failed": True, "why": "ended with exit code 3"}
    ship.follow(spec("--tells"))
    until(lambda: rolled(ship, 3, 1))
    assert ship.row("weather")["rollout"] is None
    assert never_fewer(ship, since - 1, 1)


def test_while_the_plane_drains_nothing_is_replaced(ship: Ship, spec: Make) -> None:
    ship.follow(spec())
    ready(ship, "agent/weather/1")
    pids = ship.pids("weather")
    ship.fleet.hold()
    ship.fleet.restart("weather")
    ship.follow()
    assert ship.pids("weather") == pids
    assert ship.plane.members == ["agent/weather/1"]


def test_one_that_a_draining_plane_may_still_ask_is_not_ended(ship: Ship, spec: Make) -> None:
    ship.follow(spec())
    ready(ship, "agent/weather/1")
    (pid,) = ship.pids("weather")
    ship.plane.stopped = True
    ship.follow()
    until(lambda: ship.row("weather")["state"] == "draining")
    # It would be ended after two looks at its requests, of which it has none.
    time.sleep(5 * QUIET_SECONDS)
    assert alive(pid)
    ship.fleet.stop()
    assert not alive(pid)


def test_fixed_ports_are_the_lowest_that_are_free(ship: Ship, spec: Make) -> None:
    port = free_ports(4)
    ports = {port, port + 1, port + 2}
    with socket.create_server(("127.0.0.1", port + 3)):  # another agent's
        ship.follow(spec(port=port, replicas=replicas(2)))
        ready(ship, "agent/weather/1", "agent/weather/2")
        assert {ship.plane.port(f"agent/weather/{number}") for number in (1, 2)} == {port, port + 1}
        # Those that are replaced go on with their requests, so that all three are in use for a while.
        ship.plane.requests |= {"agent/weather/1": 1, "agent/weather/2": 1}
        ship.fleet.restart("weather")
        until(
            lambda: (
                ship.row("weather")["instances"][-1]["state"] == "ready" and len(ship.pids("weather")) == 3
            )
        )
        ship.plane.requests.clear()
        until(lambda: rolled(ship, 2, 2))
        ship.fleet.restart("weather")
        until(lambda: rolled(ship, 3, 2))
        assert not ship.said("taken")
        assert {one.port for placement in ship.plane.placements for one in placement.instances} <= ports
        with pytest.raises(ControlError, match="0 to 2 instances"):
            ship.fleet.scale("weather", 3)


def test_a_plane_that_refuses_is_told_again(ship: Ship, spec: Make) -> None:
    ship.plane.refuses = SnapshotError("No.")
    ship.follow(spec())
    until(lambda: ship.said("The plane did not take the agents' instances: No."))
    assert ship.row("weather")["instances"][0]["pid"] is None, "nothing starts before its token is known"
    ship.plane.refuses = None
    ready(ship, "agent/weather/1")


def test_an_instance_that_the_plane_does_not_know_is_not_ready(ship: Ship, spec: Make) -> None:
    ship.plane.refuses_instances = SnapshotError("Not yet.")
    ship.follow(spec())
    until(lambda: ship.said("The plane did not take the agents' instances: Not yet."))
    row = ship.row("weather")
    assert (row["state"], row["ready"], row["instances"][0]["state"]) == ("starting", 0, "starting")
    ship.plane.refuses_instances = None
    until(lambda: ship.row("weather")["ready"] == 1)
    assert ship.plane.members == ["agent/weather/1"]


def test_signals_of_a_process_are_as_a_shell_has_them(ship: Ship, spec: Make) -> None:
    # Not Python, which would change them itself.
    ship.follow(spec(command=["cat", "/proc/self/status"], restart=Restart(600_000, 600_000)))
    text = until(lambda: "SigIgn" in ship.output("weather") and ship.output("weather"))
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert int(fields["SigBlk"], 16) == 0
    assert not int(fields["SigIgn"], 16) & 1 << signal.SIGPIPE - 1
