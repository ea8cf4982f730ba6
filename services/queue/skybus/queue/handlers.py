"""Who answers the endpoints of the queue service."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from skybus.bus.api import engine, environment, history, queue
from skybus.bus.api.internal import ITEMS_CHECK, ItemsCheck, ItemsChecked
from skybus.bus.api.items import ByClaim, Item, ItemSpec, QueueChange
from skybus.bus.api.manager import MANAGER_STOP, ManagerStop
from skybus.bus.api.status import PING, STATUS_GET, Status
from skybus.bus.connection import Bus
from skybus.bus.errors import ConflictError, InvalidError, NotFoundError, WrongStateError, error_from_wire
from skybus.bus.messages import Empty, Message, Nothing, explain
from skybus.bus.service import Handler, current_call
from skybus.queue import moves
from skybus.queue.book import Book, new_uid
from skybus.queue.keeper import Keeper
from skybus.queue.manager import Manager
from skybus.queue.states import State
from skybus.queue.status import StatusMaker
from skybus.queue.store import Store

R = TypeVar("R", bound=Message)


class QueueHandlers:
    """The public API of the queue service.

    Args:
        stack_pid: the process of `skybus up`, if it is that which runs us.
    """

    def __init__(
        self, keeper: Keeper, manager: Manager, status: StatusMaker, store: Store, bus: Bus, stack_pid: int
    ) -> None:
        self._keeper = keeper
        self._manager = manager
        self._status = status
        self._store = store
        self._bus = bus
        self._stack_pid = stack_pid

    def table(self) -> list[Handler[Any, Any]]:
        """Endpoint by endpoint."""
        return [
            Handler(PING, self.get_status),
            Handler(STATUS_GET, self.get_status),
            Handler(queue.QUEUE_GET, self.get_queue),
            Handler(queue.QUEUE_CLEAR, self.clear_queue),
            Handler(queue.QUEUE_MODE_SET, self.set_mode),
            Handler(queue.QUEUE_START, self.start_queue),
            Handler(queue.QUEUE_STOP, self.stop_queue),
            Handler(queue.QUEUE_STOP_CANCEL, self.cancel_stop),
            Handler(queue.QUEUE_AUTOSTART, self.set_autostart),
            Handler(queue.ITEM_ADD, self.add_item),
            Handler(queue.ITEM_ADD_BATCH, self.add_batch),
            Handler(queue.ITEM_GET, self.get_item),
            Handler(queue.ITEM_UPDATE, self.update_item),
            Handler(queue.ITEM_REMOVE, self.remove_item),
            Handler(queue.ITEM_REMOVE_BATCH, self.remove_batch),
            Handler(queue.ITEM_MOVE, self.move_item),
            Handler(queue.ITEM_MOVE_BATCH, self.move_batch),
            Handler(queue.ITEM_EXECUTE, self.execute_item),
            Handler(history.HISTORY_GET, self.get_history),
            Handler(history.HISTORY_CLEAR, self.clear_history),
            Handler(environment.ENVIRONMENT_OPEN, self.open_environment),
            Handler(environment.ENVIRONMENT_CLOSE, self.close_environment),
            Handler(environment.ENVIRONMENT_DESTROY, self.destroy_environment),
            Handler(engine.RE_PAUSE, self.pause),
            Handler(engine.RE_RESUME, self._goes_on("resume")),
            Handler(engine.RE_STOP, self._goes_on("stop")),
            Handler(engine.RE_ABORT, self._goes_on("abort")),
            Handler(engine.RE_HALT, self._goes_on("halt")),
            Handler(engine.RE_RUNS, self.list_runs),
            Handler(MANAGER_STOP, self.stop_stack),
        ]

    async def get_status(self, _: Empty) -> Status:
        """Say how things are."""
        return self._status.make()

    # -- reading -------------------------------------------------------------------------------------------------

    async def get_queue(self, request: queue.QueueGet) -> queue.QueuePage:
        """Read a page of the queue."""

        async def read() -> queue.QueuePage:
            book = await self._keeper.fresh()
            return queue.QueuePage.model_construct(
                items=book.line.page(request.offset, request.limit),
                running_item=book.running.shown() if book.running else {},
                plan_queue_uid=book.flags.queue_uid,
                qsize=len(book.line),
            )

        return await self._keeper.do(read)

    async def get_item(self, request: queue.ItemRef) -> queue.ItemFound:
        """Find one item."""

        async def read() -> queue.ItemFound:
            book = await self._keeper.fresh()
            return queue.ItemFound(item=book.find(moves.referred(book.line, request)))

        return await self._keeper.do(read)

    async def get_history(self, request: history.HistoryGet) -> history.HistoryPage:
        """Read a page of the history."""

        async def read() -> history.HistoryPage:
            book = await self._keeper.fresh()
            return history.HistoryPage.model_construct(
                items=await self._store.history(request.offset, request.limit),
                plan_history_uid=book.flags.history_uid,
                size=book.history_size,
            )

        return await self._keeper.do(read)

    # -- items ---------------------------------------------------------------------------------------------------

    async def add_item(self, request: queue.ItemAdd) -> queue.ItemAdded:
        """Put one item into the queue."""
        item = await self._checked(request.item, request)

        def alter(book: Book) -> queue.ItemAdded:
            book.insert([item], request.pos, request.before_uid, request.after_uid)
            return queue.ItemAdded(item=item, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)

        added = await self._change(request, alter, queue.ItemAdded)
        await self._manager.items_added()
        return added

    async def add_batch(self, request: queue.ItemAddBatch) -> queue.BatchAdded:
        """Put items into the queue, all or none."""
        items, results = await self._checked_batch(request)

        def alter(book: Book) -> queue.BatchAdded:
            if items:
                book.insert(items, request.pos, request.before_uid, request.after_uid)
            return queue.BatchAdded.model_construct(
                items=items, results=results, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid
            )

        added = await self._change(request, alter, queue.BatchAdded)
        await self._manager.items_added()
        return added

    async def update_item(self, request: queue.ItemUpdate) -> queue.ItemAdded:
        """Replace an item in its place."""
        uid = request.item.item_uid
        if uid is None:
            raise InvalidError("Item description contains no UID: item.item_uid says which item to replace")
        item = await self._checked(request.item, request)
        if not request.replace:
            item["item_uid"] = uid

        def alter(book: Book) -> queue.ItemAdded:
            book.replace(uid, item)
            return queue.ItemAdded(item=item, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)

        return await self._change(request, alter, queue.ItemAdded)

    async def remove_item(self, request: queue.ItemRemove) -> queue.ItemRemoved:
        """Take one item out."""

        def alter(book: Book) -> queue.ItemRemoved:
            (item,) = book.remove([moves.referred(book.line, request)])
            return queue.ItemRemoved(item=item, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)

        return await self._change(request, alter, queue.ItemRemoved)

    async def remove_batch(self, request: queue.ItemRemoveBatch) -> queue.ItemsMoved:
        """Take items out."""

        def alter(book: Book) -> queue.ItemsMoved:
            items = book.remove(moves.removable(book.line, request.uids, ignore_missing=request.ignore_missing))
            return _moved(book, items)

        return await self._change(request, alter, queue.ItemsMoved)

    async def move_item(self, request: queue.ItemMove) -> queue.ItemMoved:
        """Move one item."""

        def alter(book: Book) -> queue.ItemMoved:
            item = moves.move_one(book, request)
            return queue.ItemMoved(item=item, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)

        return await self._change(request, alter, queue.ItemMoved)

    async def move_batch(self, request: queue.ItemMoveBatch) -> queue.ItemsMoved:
        """Move items together."""
        return await self._change(request, lambda book: _moved(book, moves.move_many(book, request)), queue.ItemsMoved)

    async def execute_item(self, request: queue.ItemExecute) -> queue.ItemAdded:
        """Run an item past the queue."""
        item = await self._checked(request.item, request)
        await self._manager.execute(item)
        book = self._keeper.book
        return queue.ItemAdded(item=item, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)

    async def clear_queue(self, request: QueueChange) -> Nothing:
        """Empty the queue."""

        def alter(book: Book) -> Nothing:
            book.clear()
            return Nothing()

        return await self._change(request, alter, Nothing)

    # -- control -------------------------------------------------------------------------------------------------

    async def set_mode(self, request: queue.QueueModeSet) -> queue.QueueMode:
        """Change the mode of the queue."""

        def alter(book: Book) -> queue.QueueMode:
            book.set_flags(mode=_mode(book, request.mode))
            return book.flags.mode

        return await self._keeper.change(alter, queue.QueueMode, current_call().request_id)

    async def start_queue(self, _: queue.QueueControl) -> Nothing:
        """Begin to run the queue."""
        await self._manager.start_queue()
        return Nothing()

    async def stop_queue(self, _: queue.QueueControl) -> Nothing:
        """Stop the queue after the running plan."""
        await self._manager.stop_queue()
        return Nothing()

    async def cancel_stop(self, _: queue.QueueControl) -> Nothing:
        """Take a stop back."""
        await self._manager.stop_queue(cancel=True)
        return Nothing()

    async def set_autostart(self, request: queue.QueueAutostart) -> Nothing:
        """Start the queue by itself, or not."""
        await self._manager.set_autostart(enable=request.enable)
        return Nothing()

    async def clear_history(self, request: history.HistoryClear) -> Nothing:
        """Forget history, or its older part."""
        if request.size is not None and request.item_uid is not None:
            raise InvalidError("Parameters 'size' and 'item_uid' are mutually exclusive.")

        async def work() -> Nothing:
            newest = await self._history_to_keep(request)
            await self._keeper.alter(lambda book: book.keep_history(newest))
            return Nothing()

        return await self._keeper.do(work)

    async def open_environment(self, _: environment.EnvironmentControl) -> Nothing:
        """Begin to open an environment."""
        await self._manager.open_environment()
        return Nothing()

    async def close_environment(self, _: environment.EnvironmentControl) -> Nothing:
        """Begin to close the environment."""
        await self._manager.close_environment()
        return Nothing()

    async def destroy_environment(self, _: environment.EnvironmentControl) -> Nothing:
        """Kill the environment."""
        await self._manager.destroy_environment()
        return Nothing()

    async def pause(self, request: engine.RePause) -> Nothing:
        """Ask the Run Engine to pause."""
        await self._manager.pause(request.option)
        return Nothing()

    async def list_runs(self, request: engine.ReRuns) -> engine.RunList:
        """List the runs of the running plan."""
        return engine.RunList(run_list=self._manager.runs(request.option), run_list_uid=self._status.run_list_uid)

    async def stop_stack(self, request: ManagerStop) -> Nothing:
        """Have `skybus up` stop everything."""
        if not self._stack_pid:
            raise WrongStateError("this queue service was not started by `skybus up`: stop its services one by one")
        if request.option == "safe_on" and self._manager.state != State.IDLE:
            raise WrongStateError(f"RE Manager state is not idle: '{self._manager.state}'")
        os.kill(self._stack_pid, signal.SIGTERM)
        return Nothing()

    # -- below ---------------------------------------------------------------------------------------------------

    def _goes_on(self, action: str) -> Callable[[engine.ReContinue], Any]:
        async def go_on(_: engine.ReContinue) -> Nothing:
            await self._manager.go_on(action)
            return Nothing()

        return go_on

    async def _change(self, request: QueueChange, alter: Callable[[Book], R], reply: type[R]) -> R:
        def checked(book: Book) -> R:
            expected = request.expected_queue_uid
            if expected is not None and expected != book.flags.queue_uid:
                raise ConflictError("the queue has changed since you read it: read it again")
            return alter(book)

        return await self._keeper.change(checked, reply, current_call().request_id)

    async def _checked(self, spec: ItemSpec, claim: ByClaim) -> Item:
        checked = await self._check([spec.to_item()], claim)
        problem = checked.problems[0]
        if problem:
            raise error_from_wire(problem.code, problem.msg)
        return _stamped(spec, checked)

    async def _checked_batch(self, request: queue.ItemAddBatch) -> tuple[list[Item], list[queue.ItemVerdict]]:
        specs = [_spec(raw) for raw in request.items]
        good = [spec for spec in specs if isinstance(spec, ItemSpec)]
        checked = await self._check([spec.to_item() for spec in good], request)
        problems = iter(checked.problems)
        results = [_verdict(spec if isinstance(spec, str) else next(problems)) for spec in specs]
        failed = sum(not result.success for result in results)
        if failed:
            raise InvalidError(
                f"Failed to add all items: validation of {failed} out of {len(specs)} submitted items failed",
                results=[result.model_dump() for result in results],
            )
        return [_stamped(spec, checked) for spec in good], results

    async def _check(self, items: list[Item], claim: ByClaim) -> ItemsChecked:
        request = ItemsCheck.model_construct(
            requester=current_call().requester.user,
            claimed_user=claim.user,
            claimed_group=claim.user_group,
            items=items,
        )
        return await self._bus.call(ITEMS_CHECK, request)

    async def _history_to_keep(self, request: history.HistoryClear) -> int:
        if request.item_uid is None:
            return request.size or 0
        items = await self._store.history(0, None)
        for newer, item in enumerate(reversed(items)):
            if item["item_uid"] == request.item_uid:
                return newer
        raise NotFoundError(f"Item with UID {request.item_uid!r} is not found in the history.")


def _moved(book: Book, items: list[Item]) -> queue.ItemsMoved:
    return queue.ItemsMoved.model_construct(items=items, qsize=len(book.line), plan_queue_uid=book.flags.queue_uid)


def _mode(book: Book, wanted: dict[str, Any] | str) -> queue.QueueMode:
    if isinstance(wanted, str):
        return queue.QueueMode()
    try:
        return queue.QueueMode.model_validate({**book.flags.mode.model_dump(), **wanted})
    except ValidationError as error:
        known = ", ".join(queue.QueueMode.model_fields)
        raise InvalidError(f"Unsupported plan queue mode: {explain(error)}; the parameters are {known}") from None


def _spec(raw: Any) -> ItemSpec | str:
    """The item, or what is wrong with it."""
    try:
        return ItemSpec.model_validate(raw)
    except ValidationError as error:
        return explain(error)


def _verdict(problem: Any) -> queue.ItemVerdict:
    if problem is None:
        return queue.ItemVerdict(success=True)
    return queue.ItemVerdict(success=False, msg=problem if isinstance(problem, str) else problem.msg)


def _stamped(spec: ItemSpec, checked: ItemsChecked) -> Item:
    return {**spec.to_item(), "user": checked.user, "user_group": checked.user_group, "item_uid": new_uid()}
