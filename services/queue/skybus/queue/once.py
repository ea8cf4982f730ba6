"""A request that changes something is done once and answered alike, also by the next queue service (design, section 4).

What a request changes in the book is stored in one step with its answer: `Keeper.answer_once`. One that asks the
environment for something is written down before that is done; a service that finds it so, and no answer, looks whether
it has been done.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from skybus.bus.api import engine, environment, manager
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.large_bodies import is_large
from skybus.bus.messages import Message, decode, encode
from skybus.bus.service import (
    TELL_AFTER,
    Handler,
    current_call,
    current_deadline,
    log_by_itself,
    log_nothing,
    log_outcome,
)
from skybus.queue.records import Command
from skybus.queue.situation import Situation
from skybus.queue.states import State
from skybus.queue.store import ANSWER_KEPT, AnsweredBefore, Store

if TYPE_CHECKING:
    from skybus.queue.keeper import Keeper

log = structlog.get_logger()

REMEMBERED = 1000
"""Answers kept in memory, so that a request that is repeated soon need not be found in Redis."""
LARGE = 65_536
"""Bytes; an answer that has more is kept in Redis only."""
_BEGUN = b""
"""In the place of an answer: the request was begun."""


Judge = Callable[[Situation, Any], bool]
"""Given where the manager stands and the request."""


def _is_opened(now: Situation, _request: Any) -> bool:
    return now.environment_id is not None


def _is_closed(now: Situation, _request: Any) -> bool:
    return now.environment_id is None or now.state in (State.CLOSING_ENVIRONMENT, State.DESTROYING_ENVIRONMENT)


def _is_paused(now: Situation, _request: Any) -> bool:
    return now.state == State.PAUSED or now.pause_pending


def _has_gone_on(now: Situation, _request: Any) -> bool:
    return now.state != State.PAUSED


def _is_aborted(now: Situation, request: engine.ReAbort) -> bool:
    if request.now:
        return now.state not in (State.EXECUTING_QUEUE, State.PAUSED)
    return _has_gone_on(now, request)


ACTS: dict[str, Judge] = {
    environment.ENVIRONMENT_OPEN.name: _is_opened,
    environment.ENVIRONMENT_CLOSE.name: _is_closed,
    environment.ENVIRONMENT_DESTROY.name: _is_closed,
    engine.RE_PAUSE.name: _is_paused,
    engine.RE_RESUME.name: _has_gone_on,
    engine.RE_STOP.name: _has_gone_on,
    engine.RE_ABORT.name: _is_aborted,
    engine.RE_HALT.name: _has_gone_on,
    engine.KERNEL_INTERRUPT.name: lambda *_: True,  # a second Ctrl-C could hit something else
    manager.MANAGER_TEST.name: lambda *_: False,
}
"""Endpoints that act beyond the book: whether one was done that was begun, and of which no end was written down."""


@dataclass
class Start:
    """The beginning of a request: it must be in time, and then all of it is done."""

    deadline: float | None
    """Unix seconds."""
    is_made: bool = False

    def make(self) -> None:
        """Begin, if that has not been done.

        Raises:
            UnavailableError: it is too late.
        """
        if not self.is_made and self.deadline is not None and time.time() > self.deadline:
            raise UnavailableError("the turn of the request came after its deadline, it was not carried out")
        self.is_made = True


_key: ContextVar[str] = ContextVar("key", default="")
_start: ContextVar[Start | None] = ContextVar("start", default=None)


def current_key() -> str:
    """Under what the answer to the request that is being answered is stored; empty where nobody asks."""
    return _key.get()


def current_start() -> Start | None:
    """The beginning of the request that is being answered."""
    return _start.get()


def forgotten(key: str) -> Command:
    """Forgets the answer to a request: what it has begun is taken back."""
    return ("DEL", f"answer:{key}")


def _written(key: str, answer: bytes) -> Command:
    return ("SET", f"answer:{key}", answer, "EX", ANSWER_KEPT)


Work = Callable[[], Awaitable[Any]]
IsDone = Callable[[], bool] | None


class Once:
    """Answers requests that were answered before as they were answered then."""

    def __init__(self, store: Store, keeper: Keeper, situation: Situation) -> None:
        self._store = store
        self._keeper = keeper
        self._now = situation
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._answers: OrderedDict[str, Message] = OrderedDict()

    def handlers(self, handlers: Iterable[Handler[Any, Any]]) -> list[Handler[Any, Any]]:
        """Have the handlers of endpoints that change something do each request once."""
        return [self._handler(handler) if handler.endpoint.changes else handler for handler in handlers]

    async def answer(
        self,
        key: str,
        endpoint: Endpoint[Any, Any],
        work: Work,
        is_done: IsDone = None,
        request: Message | None = None,
    ) -> Message:
        """Do a request, wait for it if it is being done, or say again what was said.

        Args:
            key: under what its answer is stored.
            endpoint: that was called.
            work: does it.
            is_done: for what acts beyond the book, whether it has been done.
            request: for the line that it leaves in the log.
        """
        if key in self._answers:
            log_nothing()
            return self._answers[key]
        running = self._running.get(key)
        if running is None:
            doing = self._logged(endpoint, request, self._answer(key, endpoint, work, is_done))
            running = self._running[key] = asyncio.create_task(doing)
            running.add_done_callback(partial(self._ended, key))
        try:
            answer = await self._in_time(running, endpoint)
        except SkybusError:
            log_nothing()
            raise
        log_nothing()
        self._remember(key, answer)
        return answer

    async def _logged(
        self, endpoint: Endpoint[Any, Any], request: Message | None, doing: Coroutine[Any, Any, Message]
    ) -> Message:
        """Log what becomes of a request when it is known, also when nobody waits for the answer any more."""
        log_by_itself()
        try:
            answer = await doing
        except SkybusError as error:
            log_outcome(endpoint, request, error)
            raise
        log_outcome(endpoint, request, answer)
        return answer

    def _remember(self, key: str, answer: Message) -> None:
        if is_large(answer, LARGE):
            return
        self._answers[key] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    def _ended(self, key: str, running: asyncio.Task[Message]) -> None:
        del self._running[key]
        if not running.cancelled() and (error := running.exception()):
            log.debug("a request was not done", key=key, reason=str(error))

    async def _in_time(self, running: asyncio.Task[Message], endpoint: Endpoint[Any, Any]) -> Message:
        """Wait for an answer, and tell what it waits for before the requester's time is over."""
        deadline = current_deadline()
        left = None if deadline is None else (deadline - time.time()) * TELL_AFTER
        done, _ = await asyncio.wait({running}, timeout=left)
        if not done:
            why = "Redis does not answer" if self._keeper.is_busy else "it takes longer than the request waits"
            raise UnavailableError(f"{endpoint.name} is not done yet: {why}")
        return running.result()

    def _handler(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        endpoint, judge = handler.endpoint, ACTS.get(handler.endpoint.name)

        async def answer(request: Any) -> Any:
            key = current_call().key(handler.endpoint)
            if not key:
                return await handler.answer(request)
            is_done = partial(judge, self._now, request) if judge else None
            return await self.answer(key, endpoint, lambda: handler.answer(request), is_done, request)

        return dataclasses.replace(handler, answer=answer)

    async def _answer(self, key: str, endpoint: Endpoint[Any, Any], work: Work, is_done: IsDone) -> Message:
        _key.set(key)
        _start.set(Start(current_deadline()))
        try:
            return await (self._act(key, endpoint, work, is_done) if is_done else work())
        except AnsweredBefore as before:
            log_nothing()
            return decode(endpoint.reply, before.answer)
        except UnavailableError:
            raise
        except SkybusError:
            answer = await self._store.answered(key)  # it may be impossible because it is done
            if not answer:
                raise
            log_nothing()
            return decode(endpoint.reply, answer)

    async def _act(self, key: str, endpoint: Endpoint[Any, Any], work: Work, is_done: Callable[[], bool]) -> Message:
        try:
            was_begun = await self._keeper.do(lambda: self._begin(key))
        except UnavailableError as error:
            log.warning("a request is not written down, and is done all the same", key=key, reason=error.message)
            return await work()
        # of what a former service has done it is known that it was done, and no more
        answer = endpoint.reply() if was_begun and is_done() else await self._try(key, work)
        await self._write(key, _written(key, encode(answer)))
        return answer

    async def _begin(self, key: str) -> bool:
        """Write down that a request is begun; returns whether that was written down before."""
        answer = await self._store.answered(key)
        if answer:
            raise AnsweredBefore(answer)
        if answer is None:
            await self._keeper.alter(lambda book: book.journal.append(_written(key, _BEGUN)))
        return answer is not None

    async def _try(self, key: str, work: Work) -> Message:
        try:
            return await work()
        except UnavailableError:
            raise  # it may have been done: it stays written down
        except SkybusError:
            await self._write(key, forgotten(key))
            raise

    async def _write(self, key: str, command: Command) -> None:
        try:
            await self._keeper.do(lambda: self._keeper.alter(lambda book: book.journal.append(command)))
        except UnavailableError as error:
            log.warning("what came of a request is not written down", key=key, reason=error.message)
