"""Random sequences of queue commands: the service and a model of lists agree after each of them.

Nothing is lost or doubled, what is in memory is what is in Redis, a refusal changes nothing, a uid changes if and only
if what it stands for has changed. Most sequences run on the service's parts inside this process over a real Valkey,
some on the whole service over NATS too.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, note, settings
from redis.asyncio import Redis

from skybus.bus.api.history import HISTORY_GET
from skybus.bus.api.queue import ITEM_ADD, QUEUE_CLEAR, QUEUE_GET
from skybus.bus.api.status import STATUS_GET
from skybus.bus.errors import SkybusError
from skybus.bus.streams import ensure_stream, life_stream
from skybus.client.client import Client
from tests.integration.queue_commands import COMMANDS, Command, Step, sequences
from tests.integration.queue_fixtures import StandIns
from tests.integration.queue_house import House, InProcess, OverTheBus
from tests.integration.queue_model import Item, QueueModel, Refused
from tests.promises import PATIENCE
from tests.servers import NatsServer, Valkey, running

REFUSALS = ("invalid", "not_found", "conflict", "wrong_state")
RESULT = {"exit_status", "run_uids", "scan_ids", "time_start", "time_stop", "msg", "traceback"}
ALWAYS_NEW = {"clear": "queue", "history_clear": "history"}
"""Commands after which a uid may be new although nothing was there to forget, as in the reference."""

LONG = settings(suppress_health_check=list(HealthCheck), database=None)
"""A sequence takes as long as it takes; how many there are says the profile."""


class Player:
    """Gives the same commands to the service and to the model, and compares them."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.model = QueueModel()
        self.uids = {"queue": "", "history": ""}
        self.answered: tuple[Command, dict[str, Any], str, Any] | None = None
        self.reported: Any = None
        self.numbers = itertools.count()

    async def play(self, steps: list[Step]) -> None:
        """Do all of it."""
        await self.house.open()
        await self.house.call(QUEUE_CLEAR, {})  # from now on there are uids to keep
        await self.house.settled(self.model)
        await self.look()
        for step in steps:
            before = self.model
            self.model = before.copy()
            note(f"{step.name} {step.resolved(before)}")
            if step.name in COMMANDS:
                await self.request(COMMANDS[step.name], step.resolved(before))
            else:
                await getattr(self, step.name)(**step.options)
            await self.house.settled(self.model)
            await self.compare(step.name, before)

    async def request(self, command: Command, options: dict[str, Any]) -> None:
        """Send a request; service and model accept or refuse it alike."""
        before = self.model.copy()
        try:
            expected = command.model(self.model, options)
        except Refused:
            self.model = before
            await self.is_refused(command, options)
            return
        fields, request_id = command.fields(options), f"request {next(self.numbers)}"
        reply = await self.house.call(command.endpoint, fields, request_id)
        self.read(reply, expected)
        if hasattr(reply, "qsize") and not before.autostart:
            assert reply.qsize == len(self.model.queue)
        self.answered = command, fields, request_id, reply

    async def is_refused(self, command: Command, options: dict[str, Any]) -> None:
        with pytest.raises(SkybusError) as refusal:
            await self.house.call(command.endpoint, command.fields(options))
        assert refusal.value.code in REFUSALS, refusal.value

    async def repeat(self) -> None:
        """Send the last accepted request once more."""
        if self.answered:
            command, fields, request_id, reply = self.answered
            assert await self.house.call(command.endpoint, fields, request_id) == reply

    async def stale(self, item: Item) -> None:
        """Decide on a queue that is not there any more."""
        with pytest.raises(SkybusError, match="has changed"):
            await self.house.call(ITEM_ADD, {"item": item, "expected_queue_uid": "a queue of the past"})

    async def end(self, status: str) -> None:
        """The running plan ends; if none runs, a report comes that nobody waits for."""
        running = (await self.house.stored()).running
        attempt, uid = (running["attempt"], running["item"]["item_uid"]) if running else ("unknown", "nobody")
        self.reported = self.house.ended(attempt, uid, status)
        if running:
            known = ("exit_status", "run_uids", "scan_ids", "msg", "traceback", "time_stop")
            self.model.end(status, self.reported.model_dump(include=set(known)))
        await self.house.report(self.reported)

    async def end_again(self) -> None:
        """A report is delivered twice."""
        if self.reported:
            await self.house.report(self.reported)

    async def lose(self) -> None:
        """The environment dies."""
        self.model.lose_environment({"exit_status": "failed", "run_uids": []})
        await self.house.lose()

    async def open(self) -> None:
        """An environment is opened."""
        try:
            self.model.open_environment()
        except Refused:
            with pytest.raises(SkybusError, match="already exists"):
                await self.house.open()
        else:
            await self.house.open()

    async def restart(self) -> None:
        """The queue service begins again."""
        await self.house.restart()

    def read(self, reply: Any, expected: list[Item] | None) -> None:
        """Learn the new uids from a reply, and hold its items against the model's."""
        if expected is None:
            return
        items = [reply.item] if hasattr(reply, "item") else reply.items
        assert len(items) == len(expected)
        for wanted, item in zip(expected, items, strict=True):
            self.same(wanted, item)

    async def compare(self, what: str, before: QueueModel) -> None:
        """Everything is as the model has it, and the uids are new where something is."""
        uids = dict(self.uids)
        await self.look()
        queue = (before.queue, before.running) != (self.model.queue, self.model.running)
        queue = queue or before.stopped != self.model.stopped  # put in and taken out again by autostart
        for name, is_new in (("queue", queue), ("history", before.history != self.model.history)):
            if is_new or ALWAYS_NEW.get(what) != name:
                assert (self.uids[name] != uids[name]) == is_new, f"the {name} uid after {what}"

    async def look(self) -> None:
        """Compare what the service shows and what Redis holds with the model."""
        model = self.model
        page, history = await self.house.call(QUEUE_GET, {}), await self.house.call(HISTORY_GET, {})
        status, stored = await self.house.call(STATUS_GET, {}), await self.house.stored()
        self.same_items(model.queue, page.items)
        self.same_items(model.history, history.items)
        self.same_items([model.running] if model.running else [], [page.running_item] if page.running_item else [])
        assert stored.queue == page.items
        assert stored.history == history.items
        self.same_items([model.running] if model.running else [], [stored.running["item"]] if stored.running else [])
        assert stored.flags["mode"] == status.plan_queue_mode.model_dump() == model.mode
        assert (status.items_in_queue, status.items_in_history) == (len(model.queue), len(model.history))
        assert status.running_item_uid == (model.running["item_uid"] if model.running else None)
        assert status.manager_state == ("executing_queue" if model.running else "idle")
        assert status.queue_autostart_enabled == stored.flags["autostart"] == model.autostart
        assert status.queue_stop_pending == stored.flags["stop_pending"] == model.stop_pending
        assert len({order.attempt for order in self.house.orders}) == model.begun
        self.uids = {"queue": page.plan_queue_uid, "history": history.plan_history_uid}
        assert self.uids == {"queue": status.plan_queue_uid, "history": status.plan_history_uid}

    def same_items(self, wanted: list[Item], items: list[Item]) -> None:
        assert len(items) == len(wanted), f"{items} instead of {wanted}"
        for one, item in zip(wanted, items, strict=True):
            self.same(one, item)

    def same(self, wanted: Item, item: Item) -> None:
        """An item is what the model has; of a result, what the model knows."""
        self.model.learn(wanted, item["item_uid"])
        shown = {key: value for key, value in item.items() if key not in ("result", "properties")}
        assert shown == {key: value for key, value in wanted.items() if key != "result"}
        assert ("result" in item) == ("result" in wanted)
        if "result" in item:
            assert set(item["result"]) == RESULT
            assert {key: item["result"][key] for key in wanted["result"]} == wanted["result"]


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    """Thousands of lines a second would be most of the time."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.hypothesis
@pytest.mark.timeout(1800)
def test_the_service_and_a_model_agree_after_each_of_random_commands() -> None:
    """On the service's parts over Valkey."""
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="sky") as folder, asyncio.Runner() as runner:
        valkey = Valkey(Path(folder))
        runner.run(valkey.start())
        redis = Redis.from_url(valkey.url, protocol=3)

        async def play(steps: list[Step]) -> None:
            house = InProcess(redis, f"sky:{next(numbers)}:")
            async with house.running():
                await Player(house).play(steps)

        @LONG
        @given(sequences(16))
        def agree(steps: list[Step]) -> None:
            runner.run(play(steps))

        try:
            agree()
        finally:
            runner.run(redis.aclose())
            valkey.stop()


@pytest.mark.hypothesis
@pytest.mark.timeout(300)
def test_they_agree_over_the_bus_too() -> None:
    """A few sequences on the whole service, with NATS, JetStream and Valkey started anew for each."""

    async def play(steps: list[Step]) -> None:
        with tempfile.TemporaryDirectory(prefix="sky") as folder:
            nats, valkey = NatsServer(Path(folder)), Valkey(Path(folder))
            await asyncio.gather(nats.start(), valkey.start())
            try:
                await play_on(nats, valkey, steps)
            finally:
                nats.stop()
                valkey.stop()

    async def play_on(nats: NatsServer, valkey: Valkey, steps: list[Step]) -> None:
        stand_ins = StandIns(nats.make_bus("worker"), nats.make_bus("environment"))
        stand_ins.serve()
        async with (
            running(stand_ins.services),
            running(stand_ins.environment),
            Client.connect(data_dir=nats.data_dir, connect_timeout=PATIENCE) as client,
        ):
            await ensure_stream(stand_ins.services.jetstream, life_stream(stand_ins.services.subjects))
            house = OverTheBus(nats, valkey, stand_ins, client.bus, client)
            async with house.running():
                await Player(house).play(steps)

    @settings(
        LONG, max_examples=settings.default.max_examples // 40, phases=[Phase.generate]
    )  # one takes half a second and more: no time to shrink
    @given(sequences(25))
    def agree(steps: list[Step]) -> None:
        with asyncio.Runner() as runner:
            runner.run(play(steps))

    agree()
