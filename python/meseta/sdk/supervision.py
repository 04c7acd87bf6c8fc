"""Choosing whom to ask again and again, until the question is answered or a budget is spent."""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from meseta.sdk.answers import Answer, Message, messages_of, text_of
from meseta.sdk.failures import CallError
from meseta.sdk.scopes import Entered, current, within
from meseta.sdk.sequence import before_last_words, said_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meseta.sdk.parallel import Caller

Chooser = Callable[[list[Message]], "str | Awaitable[str | None] | None"]
"""Names whom to ask next, out of the conversation so far, or None when it is answered."""
Ended = Literal["done", "steps", "seconds", "usd", "failed"]

CHOICE_SECONDS = 30.0
FINAL_SECONDS = 60.0
"""For the last answer, when the budget of seconds has ended the loop."""
_SEEN_CHARACTERS = 24_000
"""Of the conversation, for the model that chooses; the end of it counts."""
_MISTAKES = frozenset({400, 401, 403, 404})
"""Statuses of the model that chooses which no other try changes: its name or its key is wrong."""
_FAILURES = 2
"""After so many an agent is not asked again."""
_OBJECT = re.compile(r"\{[^{}]*\}")

_CHOOSE = """You direct a conversation between a user and several agents. You never answer the user yourself.
The agents, each with what it is good for:
{agents}

Read the conversation. If what the agents have said answers the user, reply {{"next": null}}. Otherwise reply
with the one agent that should speak next, such as {{"next": {example}}}. Reply with that JSON alone."""
_FINISH = (
    "Answer my question now, as well as what was said above allows. Nobody else can be asked. "
    "Say plainly what is missing."
)


@dataclass(frozen=True)
class Step:
    """One that was asked: its answer, or why there is none."""

    to: str
    answer: Answer | None
    error: CallError | None = None


@dataclass
class Outcome:
    """How a supervised conversation went."""

    answer: Answer
    steps: list[Step]
    ended: Ended
    """`done`, or the budget that ended it; `failed` when no agent was left that could answer."""
    spent_usd: float = 0.0
    """US dollars at list prices, for the answers that have one. What agents spend themselves is not in it."""
    unpriced: int = 0
    """Answers of which nobody here knows what they cost: every agent's, and models without a list price."""
    unchosen: CallError | None = None
    """Why the model that chooses did not, the last time that it failed; the first agent was asked then, or
    after an answer nobody."""


@dataclass
class _Work:
    """A conversation under way."""

    call: Caller
    agents: Mapping[str, str]
    by: str | Chooser
    usd: float | None
    asked: list[Message]
    said: list[Message] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    spent_usd: float = 0.0
    unpriced: int = 0
    unchosen: CallError | None = None

    @property
    def thread(self) -> list[Message]:
        """All that was said, in the order in which it was."""
        return [*self.asked, *self.said]

    @property
    def left(self) -> list[str]:
        return [name for name in self.agents if self.failed.get(name, 0) < _FAILURES]

    @property
    def last(self) -> Answer | None:
        return next((step.answer for step in reversed(self.steps) if step.answer is not None), None)

    async def choose(self) -> str | None:
        """Return whom to ask. A choice that fails means the first agent, and after an answer the end.

        Raises CallError when it will always fail: the model is not there, or may not be asked.
        """
        default = self.left[0] if self.last is None else None
        if not isinstance(self.by, str):
            chosen = self.by(self.thread)
            chosen = await chosen if inspect.isawaitable(chosen) else chosen
            if chosen is not None and chosen not in self.agents:
                raise ValueError(f"The choice {chosen!r} is none of {', '.join(self.agents)}.")
        else:
            try:
                answer = await self.call(
                    self.by,
                    prompt({name: self.agents[name] for name in self.left}, self.thread),
                    seconds=CHOICE_SECONDS,
                )
            except CallError as error:
                if error.status in _MISTAKES:
                    raise
                self.unchosen = error
                return default
            self.count(answer)
            chosen = read_choice(answer.text, self.left)
        return chosen if chosen in self.left else default

    async def ask(self, name: str) -> None:
        """Let one agent speak, and put what it said, or that it did not, into the conversation."""
        try:
            answer = await self.call(name, before_last_words(self.asked, self.said))
        except CallError as error:
            self.failed[name] = self.failed.get(name, 0) + 1
            self.steps.append(Step(name, None, error))
            return
        self.count(answer)
        self.steps.append(Step(name, answer))
        self.said.append(said_by(name, answer.text))

    def count(self, answer: Answer) -> None:
        if self.usd is None:
            return
        from meseta.sdk.costs import cost_of

        cost = cost_of(answer)
        if cost is None:
            self.unpriced += 1
        else:
            self.spent_usd += cost


async def supervise_by(
    call: Caller,
    agents: Mapping[str, str],
    messages: str | Sequence[Message],
    *,
    by: str | Chooser,
    steps: int,
    seconds: float | None,
    usd: float | None,
    final: str | None,
) -> Outcome:
    """Lead the conversation with `call`; `meseta.sdk.aio.Client.supervise` says the rest."""
    if not agents or steps < 1:
        raise ValueError("To supervise takes at least one agent and one step.")
    if usd is not None and not usd > 0:
        raise ValueError("usd is a budget of more than nothing; leave it out for none.")
    work = _Work(call, agents, by, usd, messages_of(messages))
    until = None if seconds is None else time.monotonic() + seconds
    with Entered(current() if seconds is None else within(current(), seconds)):
        ended = await _loop(work, steps, until)
    answer = await _finish(work, ended, final)
    return Outcome(answer, work.steps, ended, work.spent_usd, work.unpriced, work.unchosen)


async def _loop(work: _Work, steps: int, until: float | None) -> Ended:
    while True:
        if not work.left:
            return "failed"
        if len(work.steps) >= steps:
            return "steps"
        if until is not None and time.monotonic() >= until:
            return "seconds"
        if work.usd is not None and work.spent_usd >= work.usd:
            return "usd"
        name = await work.choose()
        if until is not None and time.monotonic() >= until:
            return "seconds"
        if name is None:
            return "done"
        await work.ask(name)


async def _finish(work: _Work, ended: Ended, final: str | None) -> Answer:
    last = work.last
    writer = final or (work.by if isinstance(work.by, str) else None)
    if writer is not None and (final is not None or last is None or ended != "done"):
        try:
            answer = await work.call(
                writer, [*work.thread, {"role": "user", "content": _FINISH}], seconds=FINAL_SECONDS
            )
        except CallError:
            if last is None:
                raise
        else:
            work.count(answer)
            return answer
    if last is not None:
        return last
    errors = [step.error for step in work.steps if step.error is not None]
    raise (
        errors[-1]
        if errors
        else CallError(
            "The seconds were over before anybody was asked.",
            to=next(iter(work.agents)),
            code="call.timed_out",
        )
    )


def prompt(agents: Mapping[str, str], thread: Sequence[Message]) -> list[Message]:
    """Return what a model is asked with that has to choose. What was said stands in one message as data."""
    listed = "\n".join(f"- {name}: {description}" for name, description in agents.items())
    said = "\n".join(
        f"[{message.get('name') or message.get('role')}] {text_of(message.get('content'))}"
        for message in thread
    )
    return [
        {"role": "system", "content": _CHOOSE.format(agents=listed, example=json.dumps(next(iter(agents))))},
        {"role": "user", "content": f"The conversation:\n{said[-_SEEN_CHARACTERS:]}\n\nWho is next?"},
    ]


def read_choice(text: str, names: Sequence[str]) -> str | None:
    """Return the name in a model's reply: in its JSON, else the only name that the reply mentions."""
    for found in _OBJECT.findall(text):
        try:
            document = json.loads(found)
        except ValueError:
            continue
        if "next" in document:
            return document["next"] if document["next"] in names else None
    mentioned = [name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]
    return mentioned[0] if len(mentioned) == 1 else None
