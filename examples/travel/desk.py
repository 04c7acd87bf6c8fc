"""What the three agents share: what a traveller means, what is known about places, and how it is said.

The facts are made up and the same every time, so that the example needs neither a key nor a network.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import meseta

MODEL = "writer"
"""The model that words the answers; travel.yaml says which one that is."""
PLACES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("places.json").read_text("utf-8"))
DAYS = ("today", "tomorrow", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WORDING = """You work at a travel desk. The last message holds facts from your tables. Answer the traveller's
question with all of them, in the traveller's language, shortly, and add no facts of your own. What the facts
say nothing about, a colleague answers."""
_PLACE = re.compile(rf"\b(?:(from)\s+)?({'|'.join(map(re.escape, PLACES))})\b", re.IGNORECASE)
_DAY = re.compile(rf"\b({'|'.join(DAYS)})\b", re.IGNORECASE)
_PROPER = {name.lower(): name for name in (*PLACES, *DAYS)}

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Trip:
    """Where somebody wants to go, from where, and when, as far as the conversation says so."""

    to: str | None = None
    origin: str | None = None
    day: str = "tomorrow"

    @classmethod
    def of(cls, messages: Messages) -> Trip:
        """Read it from what the user said; what was said last counts."""
        to = origin = day = None
        for text in reversed([text_of(message) for message in messages if message.get("role") == "user"]):
            for came_from, place in _PLACE.findall(text):
                if came_from:
                    origin = origin or _PROPER[place.lower()]
                else:
                    to = to or _PROPER[place.lower()]
            found = _DAY.search(text)
            day = day or (_PROPER[found[1].lower()] if found else None)
        return cls(to, origin, day or "tomorrow")


def forecast(place: str, day: str) -> str:
    """Return the weather of one day."""
    known, dice = PLACES[place], _dice(place, day)
    degrees = known["degrees"] + dice % 7 - 3
    sky = "rain" if dice / 7 % 100 < known["rain"] * 100 else ("clouds", "sun")[dice % 2]
    return f"{place}, {day}: {sky}, {degrees} °C."


def flights(origin: str, to: str, day: str) -> str:
    """Return two flights of one day, with times and prices."""
    distance = _kilometres(PLACES[origin]["at"], PLACES[to]["at"])
    minutes = 30 + round(distance / 800 * 60)
    listed = []
    for number, leaves in enumerate((7 * 60 + 10, 16 * 60 + 45)):
        dice = _dice(origin, to, day, str(number))
        leaves += dice % 12 * 5
        price = round(40 + distance * 0.09 + dice % 60)
        takes = f"{minutes // 60} h {minutes % 60:02} min"
        listed.append(f"MS {100 + dice % 900} at {leaves // 60:02}:{leaves % 60:02} ({takes}, {price} €)")
    return f"{PLACES[origin]['airport']} to {PLACES[to]['airport']}, {day}: {' or '.join(listed)}."


def hotels(place: str) -> str:
    """Return the hotels of a place."""
    return (
        f"Hotels in {place}: "
        + ", ".join(f"{name} ({price} €)" for name, price in PLACES[place]["hotels"])
        + "."
    )


async def say(messages: Messages, facts: str) -> AsyncIterator[str]:
    """Let a model word the facts."""
    asked = [{"role": "system", "content": WORDING}, *messages, {"role": "user", "content": facts}]
    async for text in meseta.aio.stream(MODEL, asked):
        yield text


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message, whose content is a text or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


NOWHERE = f"Which city? These are known: {', '.join(PLACES)}."


def _dice(*words: str) -> int:
    return int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest()[:4])


def _kilometres(one: list[float], other: list[float]) -> float:
    (north, east), (north_, east_) = ([math.radians(degrees) for degrees in place] for place in (one, other))
    half = math.sin((north - north_) / 2) ** 2
    half += math.cos(north) * math.cos(north_) * math.sin((east - east_) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(half))
