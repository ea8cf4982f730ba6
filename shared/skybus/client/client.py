"""The client: an instrument's queue, its worker and what they say, for people and programs.

```python
async with Client.connect() as client:
    await client.open_environment()
    await client.add("count", ["det1"], num=5)
    await client.start()
    await client.wait("queue_drained")
```
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from skybus.bus.api.catalog import (
    DEVICES_ALLOWED,
    PLANS_ALLOWED,
    PLANS_SCHEMAS,
    PLANS_SKIPPED,
    GroupQuery,
    PlanSchemasGet,
)
from skybus.bus.api.console import ConsoleChunk, ConsoleGet
from skybus.bus.api.events import EnvironmentChanged
from skybus.bus.api.progress import KEPT_PROGRESS, PlanProgress
from skybus.bus.api.status import Status
from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError
from skybus.bus.tasks import end_tasks
from skybus.client.backups import BackupCalls
from skybus.client.engine_calls import EngineCalls
from skybus.client.events import Event, events, last_value
from skybus.client.queue_calls import QueueCalls, made
from skybus.client.settings import ClientSettings, settings_of
from skybus.client.streams import Document, console, documents
from skybus.client.task_calls import TaskCalls


class Client(QueueCalls, EngineCalls, TaskCalls, BackupCalls):
    """A connection to one instrument; see the module for how it is used."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, **settings: Any) -> AsyncIterator[Client]:
        """Connect for the time of the block; the settings are those of `ClientSettings`.

        Raises:
            UnavailableError: nothing runs there, or it does not let us in.
            InvalidError: a setting cannot be right.
        """
        _quiet_logs()
        chosen = settings_of(settings)
        subjects, access = chosen.subjects(), chosen.my_access()
        bus = Bus(f"skybus-client-{chosen.user}", subjects, chosen.my_access)
        task = asyncio.create_task(bus.run(), name="bus")
        try:
            await _wait_connected(bus, access.url, chosen)
            yield cls(bus, chosen)
        finally:
            await end_tasks([task])

    async def plans(self, *, user_group: str | None = None) -> dict[str, Any]:
        """List the plans that we may run, or those of a group."""
        return (await self.call(PLANS_ALLOWED, made(GroupQuery, user_group=user_group))).plans

    async def skipped_plans(self, *, user_group: str | None = None) -> dict[str, str]:
        """Say what looks like a plan and cannot be run by us, or by a group, and why."""
        return (await self.call(PLANS_SKIPPED, made(GroupQuery, user_group=user_group))).skipped

    async def devices(self, *, user_group: str | None = None) -> dict[str, Any]:
        """List the devices that we may use, or those of a group."""
        return (await self.call(DEVICES_ALLOWED, made(GroupQuery, user_group=user_group))).devices

    async def plan_schema(self, plan: str, *, user_group: str | None = None) -> dict[str, Any]:
        """Describe the parameters of a plan as JSON Schema, with the names that we, or a group, may use."""
        request = made(PlanSchemasGet, names=[plan], user_group=user_group)
        return (await self.call(PLANS_SCHEMAS, request)).document(plan)

    def statuses(self) -> AsyncGenerator[Status]:
        """Go through the status of now and each that follows."""
        return self._watch.changes()

    def events(self, topic: str = ">") -> AsyncGenerator[Event]:
        """Go through the events of a topic as they come; `*` stands for one token, `>` for all that follow."""
        return events(self.bus, topic)

    async def progress(self) -> PlanProgress | None:
        """How far the plan is that runs, or that ran last; `events("progress.*")` tells of what follows."""
        return await last_value(self.bus, KEPT_PROGRESS, PlanProgress)

    async def environment(self) -> EnvironmentChanged | None:
        """What has become of the environment last, and what it is made of if it is open."""
        return await last_value(self.bus, "environment", EnvironmentChanged)

    def console(
        self,
        *,
        last: int | None = None,
        since: float | None = None,
        item_uid: str | None = None,
        service: str | None = None,
        everything: bool = False,
        max_bytes: int | None = None,
        follow: bool = True,
    ) -> AsyncGenerator[ConsoleChunk]:
        """Go through what the environment prints, and with `follow` go on live, without a gap or a repetition.

        Args:
            last: begin with so many of the last lines.
            since: begin at a time, unix seconds.
            item_uid: only what was printed while this item was running.
            service: instead, what this service logs; `worker` is the one that starts the environment.
            everything: also what the services log.
            max_bytes: of the text that is read at once; of `last` lines there are not more.
            follow: go on with what is printed from now on.
        """
        printed = not (everything or service)
        chosen = {"item_uid": item_uid, "service": service, "printed": printed, "max_bytes": max_bytes}
        return console(self, made(ConsoleGet, last_lines=last, since=since, **chosen), follow=follow)

    def documents(self) -> AsyncGenerator[Document]:
        """Go through the Bluesky documents of all runs, from now on."""
        return documents(self.bus)


async def _wait_connected(bus: Bus, url: str, settings: ClientSettings) -> None:
    try:
        async with asyncio.timeout(settings.connect_timeout):
            await bus.wait_connected()
    except TimeoutError:
        raise UnavailableError(
            f"no connection to {url} as {settings.user!r} ({bus.why_not}): is it running? `skybus up` starts it"
        ) from None


def _quiet_logs() -> None:
    """Keep the log of the connection out of a program that has not asked for logs."""
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
