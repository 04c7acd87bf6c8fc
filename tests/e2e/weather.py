"""The conversation that every client and framework plays: a question, two calls at once, and the answer."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

QUESTION = "Compare the weather of Oslo and Rome."
DEGREES = {"Oslo": "4 degrees", "Rome": "19 degrees"}
ANSWER: dict[str, Any] = {
    "content": [{"text": "Rome is fifteen degrees warmer."}],
    "usage": {"input": 100, "cached": 40, "output": 30, "reasoning": 12},
}


def calls(*before: dict[str, Any]) -> dict[str, Any]:
    """Return a reply of two calls, with what the model says before them."""
    cities = [("Oslo", "call_oslo"), ("Rome", "call_rome")]
    content = [{"tool": "weather", "arguments": {"city": city}, "id": call} for city, call in cities]
    return {"content": [*before, *content], "usage": {"input": 60, "output": 20}}


CALLS = calls({"text": "I look it up."})


class Forecast(BaseModel):
    """What is to come."""

    city: str
    degrees: int
