"""How the environment tells others: console, documents and reports through the outbox, progress as events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import nats.errors
import structlog

from skybus.bus.api.internal import EnvironmentOpened, PlanReport, TaskReport
from skybus.bus.api.progress import KEPT_PROGRESS, PlanProgress, progress_topic
from skybus.bus.connection import Bus
from skybus.bus.errors import SkybusError
from skybus.bus.messages import encode
from skybus.worker.console_message import console_message
from skybus.worker.environment.attempt import Attempt
from skybus.worker.environment.documents import DocumentSender
from skybus.worker.environment.engine import OnDocument
from skybus.worker.environment.progress import ProgressMeter
from skybus.worker.outbox import Outbox
from skybus.worker.run_notes import RunNotes

log = structlog.get_logger()


class Telling:
    """The voice of an environment."""

    def __init__(
        self, environment_id: str, outbox: Outbox, notes: RunNotes, bus: Bus, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._environment_id = environment_id
        self._outbox = outbox
        self._notes = notes
        self._bus = bus
        self._loop = loop
        self._chunks = count()
        self._repeats = count(1)
        self._publishing: set[asyncio.Task[None]] = set()

    def console(self, text: str, item_uid: str | None) -> None:
        """Send a piece of output; called in any thread."""
        subject, body, head = console_message(self._bus.subjects, text, item_uid)
        self._outbox.put(subject, body, f"{self._environment_id}:{next(self._chunks)}", head)

    def report(self, report: PlanReport, *, again: bool = False) -> None:
        """Send how a plan has ended."""
        message_id = self._message_id(report.attempt, again=again)
        self._outbox.put(self._bus.subjects.life("report"), encode(report), message_id, {}, durable=True)

    def task_report(self, report: TaskReport, *, again: bool = False) -> None:
        """Send how a task has ended."""
        message_id = self._message_id(report.task_uid, again=again)
        self._outbox.put(self._bus.subjects.life("task"), encode(report), message_id, {}, durable=True)

    def opened(self, opened: EnvironmentOpened) -> None:
        """Send that the startup code has run, or has failed."""
        subject, message_id = self._bus.subjects.life("opened"), f"opened:{self._environment_id}"
        self._outbox.put(subject, encode(opened), message_id, {}, durable=True)

    def progress_meter(self, item_uid: str) -> ProgressMeter:
        """A meter that publishes."""
        return ProgressMeter(item_uid, self._loop, self._progress)

    def document_sender(
        self, attempt: Attempt, progress: ProgressMeter, runs_changed: Callable[[], None]
    ) -> OnDocument:
        """What is to be done with each document of an attempt, in the thread of the RunEngine."""

        def too_large(warning: str) -> None:
            attempt.warn(warning)
            self.console(f"{warning[0].upper()}{warning[1:]}\n", attempt.item_uid)

        sender = DocumentSender(self._outbox, self._bus, too_large)
        self._notes.begin(attempt.uid)

        def note_run(name: str, document: Mapping[str, Any]) -> None:
            if attempt.runs.take(name, document):
                if name == "start":
                    self._notes.add(attempt.runs.newest)
                self._loop.call_soon_threadsafe(runs_changed)

        def on_document(name: str, document: Mapping[str, Any]) -> None:
            for receive in (sender.send, progress.take, note_run):
                try:
                    receive(name, document)
                except Exception:  # what authors put into documents must not end their plans
                    log.exception("a document could not be read", name=name)

        return on_document

    def _message_id(self, uid: str, *, again: bool) -> str:
        """Another one for a report that somebody misses: JetStream would drop it as one that it has had."""
        return f"{uid}:{next(self._repeats)}" if again else uid

    def _progress(self, progress: PlanProgress) -> None:
        if self._bus.is_connected:
            task = asyncio.ensure_future(self._publish(progress))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)

    async def _publish(self, progress: PlanProgress) -> None:
        with suppress(nats.errors.Error, OSError, SkybusError):  # a hint; the next one follows
            await self._bus.publish(self._bus.subjects.event(progress_topic(progress.item_uid)), progress)
            await self._bus.connection.publish(self._bus.subjects.kept(KEPT_PROGRESS), encode(progress))
