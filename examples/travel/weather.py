"""The weather agent."""

from collections.abc import AsyncIterator

from desk import NOWHERE, Messages, Trip, forecast, say

import meseta


@meseta.agent
def weather(messages: Messages) -> AsyncIterator[str]:
    """Tell the weather at the traveller's destination."""
    trip = Trip.of(messages)
    return say(messages, forecast(trip.to, trip.day) if trip.to else NOWHERE)


if __name__ == "__main__":
    meseta.serve(weather)
