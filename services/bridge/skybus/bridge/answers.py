"""From a request of a 0MQ client to its reply: read, check, ask the endpoint, write."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import structlog

from skybus.bridge.checks import check_unsupported
from skybus.bridge.codec import Codec, Json
from skybus.bridge.limits import NO_LIMITS, Limits
from skybus.bridge.method import Method
from skybus.bridge.methods import METHODS, TAKES_ANYTHING
from skybus.bus.api.queue import QUEUE_GET, QueueGet
from skybus.bus.arrivals import Arrivals
from skybus.bus.command_lines import LONGEST_REASON, words_of
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, SkybusError, TooLargeError, TooManyError, UnavailableError
from skybus.bus.large_json import EXPANSION, LARGE
from skybus.bus.logs import printable
from skybus.bus.messages import brief
from skybus.bus.packing import too_large

log = structlog.get_logger()

_JSON = Json()
_KEYS = ("method", "params")
_SHOWN = 200
_SHORTEST_PAUSE = 0.1

T = TypeVar("T")


def say_nothing(_: str) -> None:
    """Stands for a console that is not published."""


class Answers:
    """Answers requests by asking the services.

    Args:
        say: publishes a line of console output that only 0MQ subscribers see.
        limits: what clients may do.
    """

    def __init__(
        self,
        bus: Bus,
        arrivals: Arrivals,
        codec: Codec,
        timeout: float,
        say: Callable[[str], None] = say_nothing,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._bus = bus
        self._arrivals = arrivals
        self._codec = codec
        self._timeout = timeout
        self._say = say
        self._limits = limits
        self._large = asyncio.Lock()

    async def answer(self, parts: list[bytes], peer: str = "") -> bytes | None:
        """Answer a request, given as the parts of its message; or, for a few methods without their service, do not."""
        try:
            self._limits.require_peer(peer)
            return await self._answer(parts)
        except SkybusError as error:
            log.debug("request refused", reason=error.message)
            return self._refuse(error.message)
        except Exception:
            log.exception("a request failed inside the bridge")
            return self._refuse("the request failed inside the bridge; see its log")

    async def _answer(self, parts: list[bytes]) -> bytes | None:
        if len(parts) != 1:
            raise InvalidError(f"Failed to decode the request: one message part is expected, not {len(parts)}")
        if len(parts[0]) > self._bus.max_request:
            raise TooLargeError(too_large("the request", len(parts[0]), self._bus.max_request))
        is_large = len(parts[0]) >= LARGE
        request, is_odd = await self._beside(self._read, parts[0], is_large=is_large)
        method, params = _split(request)
        if method.announced:
            self._say(method.announced)
        try:
            reply, is_odd = await self._ask(method, params, is_odd=is_odd, is_large=is_large)
        except SkybusError as error:
            log.debug("request refused", method=method.name, code=error.code, reason=error.message)
            is_away = isinstance(error, UnavailableError) and not isinstance(error, TooManyError)
            if method.is_silent_without_service and is_away:
                return None
            reply = method.refusal(error, params)
            if method.names_encoding:
                reply["msg"] = reply["msg"].replace(Json.name, self._codec.name)
            if method.needs_queue_size:
                reply["qsize"] = await self._queue_size()
        return self._codec.dumps(reply, is_odd=is_odd)

    async def _beside(self, work: Callable[..., T], *args: Any, is_large: bool, **kwargs: Any) -> T:
        """Do what takes long for a large request in a thread, for one request after the other."""
        if not is_large:
            return work(*args, **kwargs)
        async with self._large:
            return await asyncio.to_thread(work, *args, **kwargs)

    def _read(self, data: bytes) -> tuple[Any, bool]:
        try:
            if len(data) < LARGE:
                return self._codec.loads(data)
            return self._codec.loads_large(data, EXPANSION * self._bus.max_request)
        except TooLargeError:
            raise
        except InvalidError as error:
            raise InvalidError(f"Failed to decode the request: {error.message}") from None

    async def _ask(
        self, method: Method, params: Mapping[str, Any], *, is_odd: bool, is_large: bool
    ) -> tuple[dict[str, Any], bool]:
        try:
            self._limits.require(method, params)
            body = await self._beside(_body, method, params, is_odd=is_odd, is_large=is_large)
        except SkybusError as error:
            self._say_refused(method, error)
            raise
        read = _JSON.loads if method.to_reply else self._codec.loads_fields
        answer = read(await self._call(method, body))
        return method.reply(answer.value, params), answer.is_odd

    def _say_refused(self, method: Method, error: SkybusError) -> None:
        """What does not get to a service leaves its line here."""
        if method.endpoint.changes:
            reason = printable(" ".join(error.message.split()), LONGEST_REASON)
            log.info(words_of(method.endpoint).refused, method=method.name, reason=reason)
            self._say(f"{words_of(method.endpoint).refused}: {reason}")

    async def _call(self, method: Method, body: bytes) -> bytes:
        """Ask the service, and ask again while it has too many requests: all 0MQ clients are one user for it."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._timeout
        while True:
            call = partial(self._bus.call_bytes, method.endpoint, body, timeout=end - clock())
            try:
                return await self._when_there(method, call, end - clock())
            except TooManyError as error:
                pause = max(error.retry_after, _SHORTEST_PAUSE) * random.uniform(0.5, 1.5)  # noqa: S311
                if clock() + pause >= end:
                    raise
                await asyncio.sleep(pause)

    async def _when_there(self, method: Method, call: Callable[[], Awaitable[bytes]], seconds: float) -> bytes:
        """Ask a service that may just be starting, unless the request ends it.

        Where there would be silence, nobody says that the bridge itself is just starting: so it connects first.
        """
        if method.is_silent_without_service and method.endpoint.changes:
            return await call()
        if method.is_silent_without_service:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bus.wait_connected(), seconds)
        return await self._arrivals.when_there(call)

    async def _queue_size(self) -> int | None:
        try:
            page = await self._bus.call(QUEUE_GET, QueueGet(limit=0))
        except SkybusError:
            return None
        return page.qsize

    def _refuse(self, message: str) -> bytes:
        return self._codec.dumps({"success": False, "msg": message})


def _body(method: Method, params: Mapping[str, Any], *, is_odd: bool) -> bytes:
    """The request to the endpoint.

    Raises:
        InvalidError: the parameters cannot be right.
    """
    if method.name in TAKES_ANYTHING:
        return b""
    check_unsupported(params, method.params)
    for check in method.checks:
        check(params)
    return _JSON.dumps(method.to_request(params), is_odd=is_odd)


def _split(request: Any) -> tuple[Method, Mapping[str, Any]]:
    """Find the method that is asked for, and its parameters."""
    if not isinstance(request, dict):
        raise InvalidError(f"Incorrect request type: {type(request)}, a dictionary is expected")
    if "method" not in request:
        raise InvalidError(f"Invalid request format: method is not specified: {_short(request)}")
    if extra := [key for key in request if key not in _KEYS]:
        raise InvalidError(f"Request contains unexpected keys {_short(extra)}; allowed are {_KEYS}")
    name = request["method"]
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None:
        raise InvalidError(f"Unknown method {_short(name)}")
    params = request.get("params") or {}
    if not isinstance(params, dict):
        raise InvalidError(f"{name}: 'params' must be a dictionary, not {_short(params)}")
    return method, params


def _short(value: Any) -> str:
    return brief(value, _SHOWN)
