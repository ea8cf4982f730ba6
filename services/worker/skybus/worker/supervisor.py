"""The life of one environment process: opened, adopted, destroyed, and accounted for when it is gone."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from skybus.bus.api.internal import (
    WORKER_DESTROY,
    WORKER_OPEN,
    WORKER_STATE,
    EnvironmentDestroy,
    EnvironmentOpen,
    WorkerState,
)
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, SkybusError, WrongStateError
from skybus.bus.messages import Empty, Nothing
from skybus.bus.service import Handler
from skybus.worker.aftermath import Aftermath, End, open_fifo
from skybus.worker.folder import ENVIRONMENTS, EnvironmentFolder
from skybus.worker.interpreter import require_fit
from skybus.worker.memory import count_memory_kills
from skybus.worker.outbox import Outbox
from skybus.worker.processes import Watched, start_mark
from skybus.worker.record import EnvironmentRecord, RecordFile
from skybus.worker.settings import WorkerSettings
from skybus.worker.spare import Spares, give_order
from skybus.worker.spool import Spool

log = structlog.get_logger()

NEXT_SPARE = 3.0
"""Seconds after an opening until the next spare is made: the startup code has the machine for itself."""
KILL_AFTER = 2.0
"""Seconds that an environment has to end on SIGTERM."""
KILL_WAIT = 4.0
"""Seconds that the kernel has to end a process that was killed."""
DISK_PAUSE = 1.0
"""Seconds until an exit is accounted for again that the disk could not take."""
LAST_WORDS = 0.7
"""Seconds that JetStream has to take an environment's rest when we end ourselves."""

Work = Coroutine[None, None, None]


class Supervisor:
    """Starts, watches and kills.

    Args:
        start: starts a side task of the service.
    """

    def __init__(self, settings: WorkerSettings, bus: Bus, start: Callable[[Work, str], None]) -> None:
        self._settings = settings
        self._bus = bus
        self._start_task = start
        self._file = RecordFile(settings.data_dir)
        self._spares = Spares(settings.environment_python, kernel=settings.use_ipython_kernel, is_wanted=settings.spare)
        self._record: EnvironmentRecord | None = None
        self._process: Watched | None = None
        self._fifo: int | None = None
        self._last: str | None = None
        self._publishing: set[str] = set()
        self._published = asyncio.Event()
        self._context = contextvars.copy_context()

    def table(self) -> list[Handler[Any, Any]]:
        """Who answers what."""
        return [
            Handler(WORKER_OPEN, self.open),
            Handler(WORKER_DESTROY, self.destroy),
            Handler(WORKER_STATE, self.get_state),
        ]

    async def open(self, request: EnvironmentOpen) -> Nothing:
        """Start an environment; whether its startup code succeeds, it says itself."""
        if python := self._settings.environment_python:
            await require_fit(python, kernel=self._settings.use_ipython_kernel)
        if self._record is not None:
            if self._record.environment_id == request.environment_id:
                return Nothing()
            self._require_accounted()
            raise WrongStateError(f"RE Worker environment exists already: {self._record.environment_id}")
        _check_id(request.environment_id)
        folder = EnvironmentFolder.of(self._settings.data_dir, request.environment_id)
        if folder.path.exists():
            raise WrongStateError(f"The environment {request.environment_id} has existed before")
        try:
            folder.make()
            self._start(folder)
        except OSError as error:
            folder.remove()
            raise SkybusError(f"The environment cannot be started: {error}") from error
        self._spares.keep_after(NEXT_SPARE)
        return Nothing()

    async def destroy(self, request: EnvironmentDestroy) -> Nothing:
        """Kill the environment, whatever it does; answered when it is gone."""
        record, process = self._record, self._process
        if request.environment_id and request.environment_id == self._last:
            return Nothing()
        self._require_accounted()
        if record is None or process is None:
            raise WrongStateError("RE Worker environment does not exist")
        if request.environment_id not in (None, record.environment_id):
            raise WrongStateError(f"The environment is {record.environment_id}, not {request.environment_id}")
        self._remember_reason(record.model_copy(update={"destroyed": request.reason}))
        process.send_signal(signal.SIGKILL)
        await _until_gone(process)
        return Nothing()

    async def get_state(self, _request: Empty) -> WorkerState:
        """Say which environment there is; who asks is up, so the spare no longer takes time from its start."""
        self._spares.keep_after(0)
        settled = not self._publishing
        record = self._record
        if record is None:
            return WorkerState(is_settled=settled)
        return WorkerState(environment_id=record.environment_id, pid=record.pid, since=record.since, is_settled=settled)

    def take_over(self) -> None:
        """Take the environment of a former supervisor back, and finish what that one has left undone."""
        record = self._record = self._file.read()
        if record and start_mark(record.pid) == record.start_mark:
            log.info("environment taken back", environment_id=record.environment_id, pid=record.pid)
            self._watch(Watched(record.pid, None, self._on_exit))
        elif record:
            self._exited(None)
        for folder in self._folders():
            if self._record is None or folder.environment_id != self._record.environment_id:
                self._publish_rest(folder)

    def keep_spare_soon(self) -> None:
        """Have a spare process when the other services had time to start."""
        self._spares.keep_after(NEXT_SPARE)

    def end(self) -> None:
        """Leave the environment alone."""
        self._spares.end()
        if self._process:
            self._process.forget()

    async def take_down(self) -> None:
        """End the environment, and publish what it leaves behind."""
        self._spares.end()
        if self._process is None:
            return
        process = self._process
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.gone.wait(), KILL_AFTER)
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            await process.gone.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                while self._publishing:
                    self._published.clear()
                    await self._published.wait()

    # --------------------------------------------------------------------------------------------------------------

    def _start(self, folder: EnvironmentFolder) -> None:
        """Make the spare an environment; should it have died, take a new process."""
        order = self._settings.order(folder)
        for _ in range(2):
            child = self._spares.take()
            try:
                self._remember(_record_of(child.pid, folder))
            except OSError:
                child.kill()
                child.wait()
                raise
            if give_order(child, order):
                self._watch(Watched(child.pid, child, self._on_exit))
                log.info("environment started", environment_id=folder.environment_id, pid=child.pid)
                return
            log.warning("a spare process had ended", exit_code=child.wait())
        self._remember(None)
        folder.remove()
        raise SkybusError("The environment process ends at once; see the log of the worker")

    def _watch(self, process: Watched) -> None:
        assert self._record
        self._process = process
        self._fifo = open_fifo(EnvironmentFolder.of(self._settings.data_dir, self._record.environment_id))

    def _on_exit(self, exit_code: int | None) -> None:
        """Deal with an exit apart from the request that once opened the environment: the log would name that."""
        self._context.copy().run(self._exited, exit_code)

    def _exited(self, exit_code: int | None) -> None:
        """The process is gone: account for it, then forget it."""
        record = self._record
        assert record
        folder = EnvironmentFolder.of(self._settings.data_dir, record.environment_id)
        end = End(
            exit_code,
            destroyed=record.destroyed,
            memory_kill=count_memory_kills() != record.memory_kills,
        )
        aftermath = Aftermath(folder, self._bus.subjects, self._fifo, end)
        if self._fifo is not None:
            os.close(self._fifo)
        self._process = self._fifo = None
        try:
            self._account(aftermath)
        except OSError as error:
            log.error("the end of the environment waits for the disk", reason=str(error))
            self._account_later(aftermath)

    def _account_later(self, aftermath: Aftermath) -> None:
        asyncio.get_running_loop().call_later(DISK_PAUSE, self._account_again, aftermath)

    def _account_again(self, aftermath: Aftermath) -> None:
        try:
            self._account(aftermath)
        except OSError:
            self._account_later(aftermath)

    def _account(self, aftermath: Aftermath) -> None:
        exited = aftermath.write()
        log.info("environment gone", environment_id=exited.environment_id, reason=exited.msg)
        self._last = exited.environment_id
        self._remember(None)
        self._publish_rest(aftermath.folder)
        self._spares.keep_after(0)

    def _require_accounted(self) -> None:
        """Refuse what is asked of an environment that is gone, as long as the disk has no room to say so."""
        if self._record and not self._process:
            environment_id = self._record.environment_id
            raise WrongStateError(f"The environment {environment_id} is gone, but its end waits for room on the disk")

    def _publish_rest(self, folder: EnvironmentFolder) -> None:
        self._publishing.add(folder.environment_id)
        self._start_task(self._publish(folder), f"rest of {folder.environment_id}")

    async def _publish(self, folder: EnvironmentFolder) -> None:
        """Deliver what is in the spool of a dead environment, then drop its folder."""
        spool = Spool(folder.spool)
        try:
            await Outbox(spool, self._bus, folder.undelivered).run_until_delivered()
        finally:
            spool.close()
        folder.remove()
        self._publishing.discard(folder.environment_id)
        self._published.set()

    def _remember(self, record: EnvironmentRecord | None) -> None:
        self._file.write(record)
        self._record = record

    def _remember_reason(self, record: EnvironmentRecord) -> None:
        """Remember why it is to die; if the disk has no room, as long as we live."""
        self._record = record
        with suppress(OSError):
            self._file.write(record)

    def _folders(self) -> Iterator[EnvironmentFolder]:
        root: Path = self._settings.data_dir / ENVIRONMENTS
        return (EnvironmentFolder(path) for path in sorted(root.glob("*")) if (path / "spool").is_dir())


async def _until_gone(process: Watched) -> None:
    try:
        async with asyncio.timeout(KILL_WAIT):
            await process.gone.wait()
    except TimeoutError:
        raise SkybusError(f"The environment process {process.pid} was killed but does not end") from None


def _record_of(pid: int, folder: EnvironmentFolder) -> EnvironmentRecord:
    return EnvironmentRecord(
        environment_id=folder.environment_id,
        pid=pid,
        start_mark=start_mark(pid) or "",
        since=time.time(),
        memory_kills=count_memory_kills(),
    )


def _check_id(environment_id: str) -> None:
    if not environment_id or not all(char.isalnum() or char in "-_" for char in environment_id):
        raise InvalidError(f"environment_id {environment_id!r}: letters, digits, '-' and '_' only")
