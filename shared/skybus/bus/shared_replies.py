"""Replies that many ask for at once, such as all monitors after a change: each is made, written and stored once.

A handler returns the same `Shared` to all who ask for the same; the service writes it for the first of them, and the
others wait for that. Of a large one only its place in the object store is kept. So memory is bounded by the number of
replies that are shared, each of them smaller than a message.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from nats.aio.client import Client as Connection

from skybus.bus.connection import Bus
from skybus.bus.large_bodies import write, write_made
from skybus.bus.messages import Message
from skybus.bus.tasks import end_tasks

AT_ONCE = 8
"""Replies that one `Sharing` holds."""
LONG = 100
"""Items of a reply that is made in a thread."""
KEPT = 20.0
"""Seconds for which a reply is shared: a part of the time for which the object store has it."""

Rep = TypeVar("Rep", bound=Message)
Sent = tuple[bytes, dict[str, str]]
"""The body of a reply, and its headers."""


class Shared(Generic[Rep]):
    """A reply for all who ask for it."""

    def __init__(self, make: Callable[[], Rep], *, is_long: bool) -> None:
        self.make = make
        """Makes it, of values that nobody changes."""
        self.is_long = is_long
        """Whether it is made in a thread."""

    async def written(self) -> bytes:
        """The reply as JSON."""
        return await (write_made(self.make) if self.is_long else write(self.make()))


class Sharing(Generic[Rep]):
    """The replies of one endpoint to those who ask at about the same time."""

    def __init__(self) -> None:
        self._version: Hashable = None
        self._replies: dict[Hashable, tuple[Shared[Rep], asyncio.TimerHandle]] = {}

    def of(self, version: Hashable, question: Hashable) -> Shared[Rep] | None:
        """The reply that is shared by all who ask the same question.

        Args:
            version: of what the replies show; those of an earlier one are shared no more.
            question: all that the reply depends on besides.
        """
        if version != self._version:
            self._version = version
            for earlier in list(self._replies):
                self._end(earlier)
        shared, _ = self._replies.get(question, (None, None))
        return shared

    def share(self, question: Hashable, make: Callable[[], Rep], *, is_long: bool) -> Shared[Rep]:
        """Share a reply, of the version that was asked for last."""
        while len(self._replies) >= AT_ONCE:
            self._end(next(iter(self._replies)))
        shared = Shared(make, is_long=is_long)
        self._replies[question] = shared, asyncio.get_running_loop().call_later(KEPT, self._end, question)
        return shared

    def _end(self, question: Hashable) -> None:
        _, timer = self._replies.pop(question)
        timer.cancel()


class SharedReplies:
    """What a service sends of the replies that are shared."""

    def __init__(self, bus: Bus) -> None:
        self._sent = WeakKeyDictionary[Shared[Any], asyncio.Task[Sent]]()
        bus.on_connect.append(self._forget)

    async def sent(self, shared: Shared[Any], send: Callable[[], Awaitable[Sent]]) -> Sent:
        """Return what is sent for a reply: `send` makes it once, and no requester's deadline ends it."""
        sending = self._sent.get(shared)
        if sending is None:
            sending = asyncio.create_task(_awaited(send), context=contextvars.Context())
            self._sent[shared] = sending
            sending.add_done_callback(lambda done: self._ended(shared, done))
        return await asyncio.shield(sending)

    def _ended(self, shared: Shared[Any], sending: asyncio.Task[Sent]) -> None:
        if sending.cancelled() or sending.exception():
            self._sent.pop(shared, None)

    async def end(self) -> None:
        """End what is being made."""
        await end_tasks(self._sent.values())

    async def _forget(self, _: Connection) -> None:
        self._sent.clear()  # it may be another server


async def _awaited(send: Callable[[], Awaitable[Sent]]) -> Sent:
    return await send()
