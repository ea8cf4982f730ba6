"""Who answers the endpoints of a restore: it is brought in parts, and done in one step or not at all."""

from __future__ import annotations

from typing import Any

from skybus.bus.api import backup as api
from skybus.bus.errors import ConflictError, InvalidError, NotFoundError, WrongStateError
from skybus.bus.service import Handler, current_call
from skybus.queue import staging
from skybus.queue.book import Book
from skybus.queue.item_check import ItemCheck
from skybus.queue.keeper import Keeper
from skybus.queue.situation import Situation
from skybus.queue.staging import Staged
from skybus.queue.states import State

DEED = "put a backup in the place of queue and history"


class RestoreHandlers:
    """Takes what is brought, and puts it in the place of queue and history."""

    def __init__(self, keeper: Keeper, situation: Situation, check: ItemCheck) -> None:
        self._keeper = keeper
        self._now = situation
        self._check = check
        self._staged: Staged | None = None

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [
            Handler(api.RESTORE_BEGIN, self.begin),
            Handler(api.RESTORE_ADD, self.add),
            Handler(api.RESTORE_FINISH, self.finish),
        ]

    async def begin(self, request: api.RestoreBegin) -> api.RestoreBegun:
        """See that a restore is possible, and forget what another one has brought."""
        await self._check.require_root(DEED)
        staged = Staged(user=current_call().requester.user, may_replace=request.replace)

        def alter(book: Book) -> api.RestoreBegun:
            self._require_rest(book, staged)
            staging.forget(book)
            self._staged = None
            return api.RestoreBegun(restore_id=staged.restore_id)

        begun = await self._keeper.change(alter)
        self._staged = staged
        return begun

    async def add(self, request: api.RestoreAdd) -> api.RestoreAdded:
        """Put items aside."""
        user = current_call().requester.user
        return await self._keeper.do(lambda: self._add(request, user))

    async def finish(self, request: api.RestoreFinish) -> api.Restored:
        """Make what was brought the queue and the history."""
        await self._check.require_root(DEED)
        user = current_call().requester.user

        def alter(book: Book) -> api.Restored:
            staged = self._require_staged(request.restore_id, user)
            _require_all(request, staged)
            self._require_rest(book, staged)
            _require_seen(request, book)
            staging.put_in_place(book, staged, request.mode)
            if request.running_item:
                staging.lose_running(book, request.running_item, request.picture_time)
            self._staged = None
            return _restored(book)

        return await self._keeper.change(alter)

    async def _add(self, request: api.RestoreAdd, user: str) -> api.RestoreAdded:
        staged = self._require_staged(request.restore_id, user)
        slots = staged.next_slots(request.queue)
        staging.require_filed(request.history)
        added = api.RestoreAdded(
            items_in_queue=len(staged.slots) + len(slots),
            items_in_history=staged.history_size + len(request.history),
        )
        self._staged = None  # unless it is known to be in Redis, it is not known what is there
        await self._keeper.answer_once(lambda book: staging.bring(book, slots, request.history), lambda _: added)
        staged.take(slots, len(request.history))
        self._staged = staged
        return added

    def _require_staged(self, restore_id: str, user: str) -> Staged:
        staged = self._staged
        if staged is None or (staged.restore_id, staged.user) != (restore_id, user):
            raise NotFoundError("this restore cannot go on, and nothing was changed: begin it anew")
        return staged

    def _require_rest(self, book: Book, staged: Staged) -> None:
        if self._now.state != State.IDLE or book.running:
            raise WrongStateError(
                f"queue and history can be replaced in the state 'idle' only, not '{self._now.state}'"
            )
        if (len(book.line) or book.history_size) and not staged.may_replace:
            raise ConflictError(
                f"there are {len(book.line)} items in the queue and {book.history_size} in the history already"
            )


def _require_all(request: api.RestoreFinish, staged: Staged) -> None:
    wanted, there = (request.items_in_queue, request.items_in_history), (len(staged.slots), staged.history_size)
    if wanted != there:
        raise InvalidError(f"of {wanted[0]} and {wanted[1]} items for queue and history {there[0]} and {there[1]} came")


def _require_seen(request: api.RestoreFinish, book: Book) -> None:
    seen = (request.expected_queue_uid, book.flags.queue_uid), (request.expected_history_uid, book.flags.history_uid)
    if any(expected is not None and expected != uid for expected, uid in seen):
        raise ConflictError("queue or history have changed since you read them: read them again")


def _restored(book: Book) -> api.Restored:
    return api.Restored(
        items_in_queue=len(book.line),
        items_in_history=book.history_size,
        plan_queue_uid=book.flags.queue_uid,
        plan_history_uid=book.flags.history_uid,
    )
