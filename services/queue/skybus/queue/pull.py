"""Asking a consumer of a stream for messages.

A message of a consumer is known by its reply subject, where it is acknowledged. nats-py looks for a header `Status`
instead, which plan code may give a report: it would come again for ever, and keep all others waiting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats.errors
import orjson
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from skybus.bus.errors import UnavailableError
from skybus.bus.provenance import description_of, status_of

_ACKNOWLEDGED_AT = "$JS.ACK."
_NOTHING = ("404", "408")
_EARLIER = 0.1
"""Seconds by which the server gives up before we do."""


class Pull:
    """Asks on one connection."""

    def __init__(self, connection: Connection, place: str, inbox: str, answers: Subscription) -> None:
        self._connection = connection
        self._place = place
        self._inbox = inbox
        self._answers = answers

    async def fetch(self, number: int, seconds: float) -> list[Msg]:
        """Wait for so many messages at the most, and return what has come when there are no more.

        Raises:
            UnavailableError: the consumer is gone.
        """
        query = {"batch": number, "expires": int((seconds - _EARLIER) * 1e9)}
        await self._connection.publish(self._place, orjson.dumps(query), reply=self._inbox)
        found: list[Msg] = []
        while len(found) < number:
            try:
                message = await self._answers.next_msg(seconds)
            except nats.errors.TimeoutError:
                break
            if message.reply.startswith(_ACKNOWLEDGED_AT):
                found.append(message)
            elif status_of(message) in _NOTHING:
                break
            else:
                raise UnavailableError(f"the consumer gives nothing: {status_of(message)} {description_of(message)}")
        return found


@asynccontextmanager
async def pulling(connection: Connection, stream: str, consumer: str) -> AsyncIterator[Pull]:
    """Ask a consumer for the time of the block."""
    inbox = connection.new_inbox()
    answers = await connection.subscribe(inbox)
    try:
        yield Pull(connection, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", inbox, answers)
    finally:
        if not connection.is_closed:
            await answers.unsubscribe()
