"""fan_out, chain and supervise over agents: who is asked, with what, who is cancelled, and when it ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.sdk.conftest import Asked, Gateway, Told, completion

import meseta
from meseta.sdk import supervision
from meseta.sdk.answers import Answer, Usage
from meseta.sdk.costs import cost_of
from meseta.sdk.supervision import prompt, read_choice

if TYPE_CHECKING:
    from collections.abc import Callable

Messages = list[dict[str, Any]]
REFUSED = Told(503, body=b'{"error": {"message": "Not now.", "code": "agent.down"}}')
AGENTS = {"agent/weather": "Forecasts for any city.", "agent/flights": "Finds flights."}


@pytest.fixture
def hub(gateway: Gateway) -> Iterator[Gateway]:
    """Both listeners at once."""
    with meseta.connect(gateway.url, hub=gateway.url):
        yield gateway


def by_name(**replies: Told | str) -> Callable[[Asked], Told]:
    """Answer as agent or model of that name."""

    def reply(asked: Asked) -> Told:
        told = replies[asked.document["model"].replace("-", "_")]
        return completion(told) if isinstance(told, str) else told

    return reply


def test_all_in_the_order_asked(hub: Gateway) -> None:
    hub.reply = by_name(weather="Rain.", flights="Two flights.")
    answers = meseta.fan_out(["agent/weather", "agent/flights"], "Oslo on Friday?", seconds=60)
    assert [(answer.to, answer.text) for answer in answers] == [
        ("agent/weather", "Rain."),
        ("agent/flights", "Two flights."),
    ]
    assert {asked.headers["x-meseta-agent"] for asked in hub.asked} == {"weather", "flights"}
    assert all("x-meseta-deadline" in asked.headers for asked in hub.asked)


def test_each_may_be_asked_something_else(hub: Gateway) -> None:
    hub.reply = lambda asked: completion(
        f"{asked.document['messages'][0]['content']} {asked.document.get('top_p')}"
    )
    asks: list[str | meseta.Ask] = [meseta.Ask("m", "one"), meseta.Ask("m", "two", {"top_p": 1}), "m"]
    assert [answer.text for answer in meseta.fan_out(asks, "three")] == ["one None", "two 1", "three None"]


def test_one_failure_is_too_many_for_all(hub: Gateway) -> None:
    hub.reply = by_name(weather="Rain.", flights=REFUSED)
    with pytest.raises(meseta.FanOutError, match="agent/flights: Not now") as raised:
        meseta.fan_out(["agent/weather", "agent/flights"], "Oslo?")
    assert [(error.to, error.code) for error in raised.value.errors] == [("agent/flights", "agent.down")]


@pytest.mark.parametrize("wait", ["first", 1, 2])
def test_the_rest_is_cancelled(wait: Any) -> None:
    cancelled, begun = threading.Event(), threading.Event()

    async def answer(messages: Messages, context: meseta.Context) -> str:
        if context.request["model"] != "slow":
            return f"from {context.request['model']}"
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            cancelled.set()
        return "late"

    async def one_of_three(messages: Messages, context: meseta.Context) -> str:
        if context.request["model"] != "slow":
            # Nobody is cancelled before it has begun.
            await asyncio.to_thread(begun.wait, 120)
        return await answer(messages, context)

    with meseta.serving(one_of_three) as url:
        with meseta.connect(url):
            answers = meseta.fan_out(["slow", "a", "b"], "Go", wait=wait)
        assert cancelled.wait(120)
    assert len(answers) == (2 if wait == 2 else 1)
    assert {answer.to for answer in answers} <= {"a", "b"}


def test_failures_are_no_matter_while_enough_answer(hub: Gateway) -> None:
    hub.reply = by_name(a=REFUSED, b="yes", c=REFUSED)
    assert [answer.to for answer in meseta.fan_out(["a", "b", "c"], "Go", wait="first")] == ["b"]
    with pytest.raises(meseta.FanOutError, match="2 of 3 had to answer, and 2 have failed") as raised:
        meseta.fan_out(["a", "b", "c"], "Go", wait=2)
    assert {error.to for error in raised.value.errors} == {"a", "c"}


def test_cancelling_a_fan_out_cancels_everybody() -> None:
    count, all_begun, ended = threading.Lock(), threading.Event(), threading.Semaphore(0)
    begun = 0

    async def endless(_: Messages) -> str:
        nonlocal begun
        with count:
            begun += 1
            if begun == 3:
                all_begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.release()
        return ""

    async def work() -> None:
        task = asyncio.create_task(meseta.aio.fan_out(["a", "b", "c"], "Go"))
        assert await asyncio.to_thread(all_begun.wait, 120)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with meseta.serving(endless) as url, meseta.connect(url):
        asyncio.run(work())
        assert all(ended.acquire(timeout=120) for _ in range(3))


@pytest.mark.parametrize(
    ("to", "wait"), [([], "all"), (["m"], 2), (["m"], 0), (["m"], "some"), (["m"] * 257, "all")]
)
def test_what_cannot_be_waited_for(to: list[str], wait: Any) -> None:
    with pytest.raises(ValueError, match="asked"):
        meseta.fan_out(to, "Go", wait=wait)


def test_another_exception_is_not_hidden(hub: Gateway) -> None:
    with pytest.raises(ValueError, match="whom"):
        meseta.fan_out(["", "m"], "Go", wait="all")


def test_a_chain(hub: Gateway) -> None:
    hub.reply = by_name(weather="Rain.", flights="Stay at home.")
    answers = meseta.chain(["agent/weather", "agent/flights"], "Shall I fly to Oslo?")
    assert [answer.text for answer in answers] == ["Rain.", "Stay at home."]
    question = {"role": "user", "content": "Shall I fly to Oslo?"}
    assert hub.asked[0].document["messages"] == [question]
    named = {"role": "assistant", "name": "weather", "content": "Rain."}
    assert hub.asked[1].document["messages"] == [named, question]


def test_a_chain_goes_on_from_a_conversation(hub: Gateway) -> None:
    hub.reply = by_name(a="One.", b="Two.", c="Three.")
    before: Messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Go"},
    ]
    meseta.chain(["a", "b", "c"], before)
    told = [message["content"] for message in hub.asked[2].document["messages"]]
    assert told == ["Be brief.", "Hello", "Hello!", "One.", "Two.", "Go"]
    hub.asked.clear()
    meseta.chain(["a", "b"], before[:1])
    assert [message["content"] for message in hub.asked[1].document["messages"]] == ["Be brief.", "One."]
    assert len(before) == 4, "the caller's own list is as it was"


def test_a_chain_ends_with_a_failure(hub: Gateway) -> None:
    hub.reply = by_name(weather=REFUSED)
    with pytest.raises(meseta.CallError, match="Not now"):
        meseta.chain(["agent/weather", "agent/flights"], "Oslo?")
    assert len(hub.asked) == 1
    with pytest.raises(ValueError, match="list"):
        meseta.chain("agent/weather", "Oslo?")


def test_names_of_models_in_a_chain_are_made_fit(hub: Gateway) -> None:
    meseta.chain(["openai/gpt 5.1", "m"], "Go")
    assert hub.asked[1].document["messages"][0]["name"] == "openai_gpt_5_1"


class Chooser:
    """A model that chooses as it is told to, before agents who answer with their name."""

    def __init__(self, *choices: str | Told) -> None:
        self.choices = list(choices)
        self.finals: list[Messages] = []

    def __call__(self, asked: Asked) -> Told:
        document = asked.document
        if document["model"] == "writer" or "Nobody else can be asked" in document["messages"][-1]["content"]:
            self.finals.append(document["messages"])
            return completion("The last word.")
        if document["model"] != "chooser":
            return completion(f"{document['model']} says so.")
        choice = self.choices.pop(0)
        return completion(choice) if isinstance(choice, str) else choice


def choice(name: str | None) -> str:
    return f"Sure!\n```json\n{json.dumps({'next': name})}\n```"


def test_until_it_is_done(hub: Gateway) -> None:
    hub.reply = chooser = Chooser(choice("agent/flights"), choice("agent/weather"), choice(None))
    outcome = meseta.supervise(AGENTS, "Oslo?", by="chooser")
    assert [(step.to, str(step.answer)) for step in outcome.steps] == [
        ("agent/flights", "flights says so."),
        ("agent/weather", "weather says so."),
    ]
    assert (outcome.ended, outcome.answer.text, chooser.finals) == ("done", "weather says so.", [])
    models = [asked.document["model"] for asked in hub.asked]
    assert models == ["chooser", "flights", "chooser", "weather", "chooser"]
    told = hub.asked[2].document["messages"]
    assert "[flights] flights says so." in told[1]["content"]
    assert all(f"- {name}: {text}" in told[0]["content"] for name, text in AGENTS.items())


def test_a_budget_of_steps_forces_the_last_answer(hub: Gateway) -> None:
    hub.reply = chooser = Chooser(*[choice("agent/weather")] * 5)
    outcome = meseta.supervise(AGENTS, "Oslo?", by="chooser", steps=2)
    assert (outcome.ended, len(outcome.steps), outcome.answer.text) == ("steps", 2, "The last word.")
    (final,) = chooser.finals
    assert [message.get("name") for message in final] == [None, "weather", "weather", None]


def test_a_writer_always_has_the_last_word(hub: Gateway) -> None:
    hub.reply = Chooser(choice("agent/weather"), choice(None))
    outcome = meseta.supervise(AGENTS, "Oslo?", by="chooser", final="writer")
    assert (outcome.ended, outcome.answer.to, outcome.answer.text) == ("done", "writer", "The last word.")


def test_a_budget_of_seconds() -> None:
    async def slow(messages: Messages, context: meseta.Context) -> str:
        if "Nobody else can be asked" in messages[-1]["content"]:
            return "The last word."
        await asyncio.sleep(600)
        return "late"

    with meseta.serving(slow) as url, meseta.connect(url, hub=url):
        outcome = meseta.supervise(
            AGENTS, "Oslo?", by=lambda thread: "agent/weather", seconds=1, final="writer"
        )
    assert (outcome.ended, outcome.answer.text) == ("seconds", "The last word.")
    (step,) = outcome.steps
    assert step.error is not None
    assert step.error.code in ("agent.deadline", "call.timed_out")


def test_a_budget_of_dollars(hub: Gateway) -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000}

    def reply(asked: Asked) -> Told:
        told = completion("Rain.", usage=usage)
        priced = ("x-meseta-model", "openai/gpt-4o-mini")
        return told._replace(headers=(*told.headers, priced)) if asked.document["model"] == "fast" else told

    hub.reply = reply
    agents = {"agent/weather": "Forecasts.", "fast": "Anything."}
    names = iter(["agent/weather", "fast", "fast", "fast", "fast"])
    outcome = meseta.supervise(agents, "Oslo?", by=lambda thread: next(names), usd=1.0, steps=9)
    # A million tokens in and out are 0.75 dollars there: the second of them is over the budget.
    assert (outcome.ended, len(outcome.steps), outcome.unpriced) == ("usd", 3, 1)
    assert outcome.spent_usd == pytest.approx(1.5)
    assert outcome.answer.text == "Rain."


def test_prices() -> None:
    usage = Usage(1_000_000, 1_000_000, cached_tokens=1_000_000)
    answer = Answer("m", "", {}, model="openai/gpt-4o-mini", usage=usage)
    assert cost_of(answer) == pytest.approx(0.675)
    for unknown in ("gpt-4o-mini", "nobody/x", "openai/never-heard-of-it", None):
        assert cost_of(Answer("m", "", {}, model=unknown, usage=usage)) is None
    assert cost_of(Answer("m", "", {}, model="openai/gpt-4o-mini")) is None


@pytest.mark.parametrize(
    "broken", [REFUSED, "I have no idea.", "", choice("agent/nobody"), Told(body=b"<html>")]
)
def test_a_choice_that_fails_is_the_first_agent_and_then_the_end(hub: Gateway, broken: Any) -> None:
    hub.reply = Chooser(broken, broken)
    outcome = meseta.supervise(AGENTS, "Oslo?", by="chooser")
    assert ([step.to for step in outcome.steps], outcome.ended) == (["agent/weather"], "done")


def test_why_nobody_was_chosen_is_told_and_a_mistake_is_raised(hub: Gateway) -> None:
    hub.reply = Chooser(REFUSED, choice("agent/flights"), choice(None))
    assert meseta.supervise(AGENTS, "Oslo?", by="chooser").unchosen is not None
    unknown = Told(status=404, body=json.dumps({"error": {"message": "No such model."}}).encode())
    hub.reply = Chooser(unknown)
    with pytest.raises(meseta.CallError, match="No such model"):
        meseta.supervise(AGENTS, "Oslo?", by="chooser")


def test_an_agent_that_fails_twice_is_not_asked_again(hub: Gateway) -> None:
    chooser = Chooser(*[choice("agent/weather")] * 2, choice("agent/weather"), choice(None))
    hub.reply = lambda asked: REFUSED if asked.document["model"] == "weather" else chooser(asked)
    outcome = meseta.supervise(AGENTS, "Oslo?", by="chooser")
    assert [(step.to, step.error is not None) for step in outcome.steps] == [
        ("agent/weather", True),
        ("agent/weather", True),
        ("agent/flights", False),
    ]
    listed = hub.asked[4].document["messages"][0]["content"]
    assert "agent/weather" not in listed


def test_when_nobody_answers(hub: Gateway) -> None:
    hub.reply = lambda asked: REFUSED
    with pytest.raises(meseta.CallError, match="Not now"):
        meseta.supervise(AGENTS, "Oslo?", by=lambda thread: "agent/weather")
    with pytest.raises(meseta.CallError, match="Not now"):
        meseta.supervise(AGENTS, "Oslo?", by="chooser")


def test_a_function_may_choose_and_may_be_asynchronous(hub: Gateway) -> None:
    async def choose(thread: Messages) -> str | None:
        await asyncio.sleep(0)
        return "agent/flights" if len(thread) == 1 else None

    outcome = asyncio.run(meseta.aio.supervise(AGENTS, "Oslo?", by=choose))
    assert [step.to for step in outcome.steps] == ["agent/flights"]
    with pytest.raises(ValueError, match="none of"):
        meseta.supervise(AGENTS, "Oslo?", by=lambda thread: "agent/nobody")


@pytest.mark.parametrize("more", [{"agents": {}}, {"steps": 0}, {"usd": 0}, {"seconds": 0}])
def test_what_is_no_budget(hub: Gateway, more: dict[str, Any]) -> None:
    given = {"agents": AGENTS, "messages": "Oslo?", "by": lambda thread: None, **more}
    with pytest.raises(ValueError, match=r"budget|at least one|seconds"):
        meseta.supervise(**given)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"next": "agent/weather"}', "agent/weather"),
        ('thinking {"a": 1} then {"next": "agent/flights"}', "agent/flights"),
        ('{"next": null}', None),
        ('{"next": ["agent/weather"]}', None),
        ('{"next": "agent/weather"', "agent/weather"),
        ("I choose agent/flights.", "agent/flights"),
        ("agent/weather or agent/flights", None),
        ("agent/weather-two", None),
        ("{" * 10_000, None),
    ],
)
def test_choices_are_read_with_patience(text: str, expected: str | None) -> None:
    assert read_choice(text, list(AGENTS)) == expected


def test_a_long_conversation_is_cut_at_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_SEEN_CHARACTERS", 50)
    thread: Messages = [
        {"role": "user", "content": "x" * 100},
        {"role": "user", "content": [{"text": "the end"}]},
    ]
    asked = prompt(AGENTS, thread)[1]["content"]
    assert "the end" in asked
    assert asked.count("x") <= 50
