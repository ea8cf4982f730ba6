"""A request is sent again, under the same id, until it is answered or its time is over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from skybus.bus.connection import Bus
from skybus.bus.endpoints import Endpoint, Rep, Req
from skybus.bus.errors import NotSentError, TooManyError, UnavailableError
from skybus.bus.messages import decode, encode
from skybus.bus.parts import extra_time

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_ATTEMPTS = 3
"""So many times a request is sent when nobody answers at all: who has got it may have died."""


class GaveUpError(UnavailableError):
    """There was no answer in time.

    `details["request_id"]` is what to call again with; `details["may_be_done"]` whether it may have been carried out.
    """


async def answered(
    bus: Bus,
    endpoint: Endpoint[Req, Rep],
    request: Req,
    timeout: float,  # noqa: ASYNC109 - the deadline of the request
    request_id: str,
    tell_waiting: Callable[[str], None],
) -> Rep:
    """Send a request until it is answered.

    A change is done once, since its id stays the same. What only reads is begun again each time it is sent: the second
    time it may take all that is left.
    Who waits is told why before the request is sent again. A request of megabytes gets more time. A service that has
    too many requests of this user says when to come again.

    Raises:
        GaveUpError: the time is over.
    """
    clock = asyncio.get_running_loop().time
    body = encode(request)
    extra = extra_time(len(body))
    end, longest = clock() + timeout + extra, timeout / _ATTEMPTS + extra
    may_be_done, pause = False, _FIRST_PAUSE
    while True:
        try:
            left = max(end - clock(), 0.001)
            reply = await bus.call_bytes(endpoint, body, timeout=min(left, longest), request_id=request_id)
            return decode(endpoint.reply, reply)
        except UnavailableError as error:
            may_be_done = may_be_done or (endpoint.changes and not isinstance(error, NotSentError))
            pause = min(pause * 2, _LONGEST_PAUSE)
            wait = _wait(error, pause)
            if clock() + wait >= end:
                raise _gave_up(endpoint, error, request_id, may_be_done=may_be_done) from error
            tell_waiting(error.message)
            longest = longest if endpoint.changes else timeout + extra
        await _pause(bus, wait, end - clock())


def _wait(error: UnavailableError, pause: float) -> float:
    """Choose how long to wait: at random, so that clients do not come all at once, but as long as the service asks."""
    chosen = random.uniform(pause / 2, pause)  # noqa: S311
    if isinstance(error, TooManyError):
        chosen += error.retry_after * random.uniform(1, 1.5)  # noqa: S311
    return chosen


async def _pause(bus: Bus, seconds: float, longest: float) -> None:
    """Wait, and longer if there is no connection: until there is one."""
    await asyncio.sleep(seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(longest - seconds):
            await bus.wait_connected()


def _gave_up(
    endpoint: Endpoint[Req, Rep], error: UnavailableError, request_id: str, *, may_be_done: bool
) -> GaveUpError:
    message = error.message
    if endpoint.changes:
        known = "it may have been carried out" if may_be_done else "it was not carried out"
        message = f"{message.rstrip('.')} ({endpoint.name}: {known})"
    return GaveUpError(message, **{**error.details, "request_id": request_id, "may_be_done": may_be_done})
