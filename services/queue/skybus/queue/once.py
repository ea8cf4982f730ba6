"""A request that changes something is done once and answered alike, also by the next queue service (design, section 4).

What a request changes in the book is stored in one step with its answer: `Keeper.answer_once`. One that asks the
environment for something is written down before that is done; a service that finds it so, and no answer, looks whether
it has been done.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from skybus.bus.api import engine, environment, manager
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.messages import Message
from skybus.bus.same_request import require_same
from skybus.bus.service import (
    TELL_AFTER,
    Handler,
    current_call,
    current_deadline,
    log_by_itself,
    log_nothing,
    log_outcome,
)
from skybus.queue.answer_room import forgotten
from skybus.queue.kept_answers import Asked, filled, lacks_parts
from skybus.queue.records import Command
from skybus.queue.remembered import Remembered
from skybus.queue.situation import Situation
from skybus.queue.states import State
from skybus.queue.store import AnsweredBefore, Store

if TYPE_CHECKING:
    from skybus.queue.keeper import Keeper

log = structlog.get_logger()


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


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)
_start: ContextVar[Start | None] = ContextVar("start", default=None)


def current_asked() -> Asked | None:
    """The request that is being answered; nothing where nobody asks."""
    return _asked.get()


def current_key() -> str:
    """Under what the answer to the request that is being answered is stored; empty where nobody asks."""
    asked = _asked.get()
    return asked.key if asked else ""


def current_start() -> Start | None:
    """The beginning of the request that is being answered."""
    return _start.get()


Work = Callable[[], Awaitable[Any]]
IsDone = Callable[[], bool] | None


@dataclass(frozen=True)
class _UnderWay:
    """A request that is being carried out."""

    asked: Asked
    doing: asyncio.Task[Message]


class Once:
    """Answers requests that were answered before as they were answered then."""

    def __init__(self, store: Store, keeper: Keeper, situation: Situation) -> None:
        self._store = store
        self._keeper = keeper
        self._now = situation
        self._under_way: dict[str, _UnderWay] = {}
        self._remembered = Remembered()

    def handlers(self, handlers: Iterable[Handler[Any, Any]]) -> list[Handler[Any, Any]]:
        """Have the handlers of endpoints that change something do each request once."""
        return [self._handler(handler) if handler.endpoint.changes else handler for handler in handlers]

    async def answer(self, asked: Asked, work: Work, is_done: IsDone = None) -> Message:
        """Do a request, wait for it if it is being done, or say again what was said.

        Args:
            asked: the request.
            work: does it.
            is_done: for what acts beyond the book, whether it has been done.

        Raises:
            ConflictError: another request has the same id.
        """
        if remembered := self._remembered.get(asked):
            log_nothing()
            return remembered
        try:
            answer = await self._in_time(self._doing(asked, work, is_done), asked.endpoint)
        except SkybusError:
            log_nothing()
            raise
        log_nothing()
        self._remembered.add(asked, answer)
        return answer

    def _doing(self, asked: Asked, work: Work, is_done: IsDone) -> asyncio.Task[Message]:
        """Begin a request, unless it is under way."""
        if under_way := self._under_way.get(asked.key):
            require_same(asked.endpoint, asked.digest, under_way.asked.digest)
            return under_way.doing
        doing = asyncio.create_task(self._logged(asked, self._answer(asked, work, is_done)))
        self._under_way[asked.key] = _UnderWay(asked, doing)
        doing.add_done_callback(partial(self._ended, asked.key))
        return doing

    async def _logged(self, asked: Asked, doing: Coroutine[Any, Any, Message]) -> Message:
        """Log what becomes of a request when it is known, also when nobody waits for the answer any more."""
        log_by_itself()
        try:
            answer = await doing
        except SkybusError as error:
            log_outcome(asked.endpoint, asked.request, error)
            raise
        log_outcome(asked.endpoint, asked.request, answer)
        return answer

    def _ended(self, key: str, doing: asyncio.Task[Message]) -> None:
        del self._under_way[key]
        if not doing.cancelled() and (error := doing.exception()):
            log.debug("a request was not done", key=key, reason=str(error))

    async def _in_time(self, doing: asyncio.Task[Message], endpoint: Endpoint[Any, Any]) -> Message:
        """Wait for an answer, and tell what it waits for before the requester's time is over."""
        deadline = current_deadline()
        left = None if deadline is None else (deadline - time.time()) * TELL_AFTER
        done, _ = await asyncio.wait({doing}, timeout=left)
        if not done:
            why = "Redis does not answer" if self._keeper.is_busy else "it takes longer than the request waits"
            raise UnavailableError(f"{endpoint.name} is not done yet: {why}")
        return doing.result()

    def _handler(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        endpoint, judge = handler.endpoint, ACTS.get(handler.endpoint.name)

        async def answer(request: Any) -> Any:
            call = current_call()
            key = call.key(endpoint)
            if not key:
                return await handler.answer(request)
            is_done = partial(judge, self._now, request) if judge else None
            asked = Asked(key, endpoint, request, call.digest)
            return await self.answer(asked, lambda: handler.answer(request), is_done)

        return dataclasses.replace(handler, answer=answer)

    async def _answer(self, asked: Asked, work: Work, is_done: IsDone) -> Message:
        _asked.set(asked)
        _start.set(Start(current_deadline()))
        try:
            return await (self._act(asked, work, is_done) if is_done else work())
        except AnsweredBefore as before:
            return await self._said(asked, before.answer) or asked.endpoint.reply()
        except UnavailableError:
            raise
        except SkybusError:
            answer = await self._said(asked, await self._store.answered(asked.key))
            if answer is None:
                raise
            return answer  # it is impossible because it is done

    async def _said(self, asked: Asked, kept: bytes | None) -> Message | None:
        """What was answered, if that is known."""
        answer = None if kept is None else asked.answer(kept)
        if answer is None:
            return None
        log_nothing()
        if not lacks_parts(answer):
            return answer
        return filled(answer, (await self._keeper.do(self._keeper.fresh)).line)

    async def _act(self, asked: Asked, work: Work, is_done: Callable[[], bool]) -> Message:
        try:
            was_begun = await self._keeper.do(lambda: self._begin(asked))
        except UnavailableError as error:
            log.warning("a request is not written down, and is done all the same", key=asked.key, reason=error.message)
            return await work()
        # of what a former service has done it is known that it was done, and no more
        answer = asked.endpoint.reply() if was_begun and is_done() else await self._try(asked.key, work)
        await self._write(asked.key, self._store.written(asked.key, asked.kept(answer)))
        return answer

    async def _begin(self, asked: Asked) -> bool:
        """Write down that a request is begun; returns whether that was written down before."""
        kept = await self._store.answered(asked.key)
        if kept is None:
            command = self._store.written(asked.key, asked.begun())
            await self._keeper.alter(lambda book: book.journal.append(command))
        elif asked.answer(kept):
            raise AnsweredBefore(kept)
        return kept is not None

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
