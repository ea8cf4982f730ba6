"""A message counts only if it is from where it says.

A person who may only read asks for a stored message by direct get and names, as the subject of the reply, one that
others follow. Plan code may have stored the message, with headers of its own. Each test has one receiver: what was
steered to it is dropped, and what comes after that is taken.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import orjson
import pytest
import zmq
import zmq.asyncio
from rich.console import Console
from rich.live import Live

from skybus.bridge.codec import Json
from skybus.bridge.publisher import CONSOLE_TOPIC, INFO_TOPIC, InfoSocket, StatusPublisher, publish_console
from skybus.bus import headers
from skybus.bus import tail as tail_module
from skybus.bus.api.console import CONSOLE_GET, ConsoleGet
from skybus.bus.api.events import EnvironmentChanged
from skybus.bus.api.progress import PlanProgress
from skybus.bus.api.status import STATUS_GET
from skybus.bus.arrivals import Arrivals
from skybus.bus.connection import Bus
from skybus.bus.errors import DeniedError, NobodyThereError
from skybus.bus.messages import Empty, encode
from skybus.bus.provenance import LAST_SEQUENCE, SEQUENCE, STORED, STREAM, SUBJECT
from skybus.bus.streams import docs_stream, ensure_bucket, ensure_stream
from skybus.bus.tasks import end_tasks
from skybus.cli.watch_command import View
from skybus.client.client import Client
from skybus.client.engine_calls import EnvironmentFailedError
from skybus.client.streams import DocumentPages
from skybus.console.__main__ import serve
from skybus.console.settings import ConsoleSettings
from tests.integration.bus_fixtures import STATUS, CannedQueue, canned_queue, service
from tests.promises import PATIENCE
from tests.servers import NatsServer

EVENT = {headers.KIND: headers.EVENT}
LINE, DOC = "sky.sim.console.worker.-", "sky.sim.doc.start.run"
ODD = [{}, EVENT, {"Status": "503"}, {"Status": "404"}, {LAST_SEQUENCE: "0"}]
"""Headers that plan code gives what it stores."""


@dataclass
class Site:
    """A client, what it follows, and an attacker: a person who may read, with plan code that stores what is read."""

    client: Client
    people: Bus
    plans: Bus
    queue: CannedQueue

    async def prints(self, text: str) -> None:
        await self.store(LINE, text.encode())

    async def store(self, subject: str, body: bytes, head: dict[str, str] | None = None) -> int:
        reply = await self.plans.connection.request(subject, body, timeout=PATIENCE, headers=head)
        return orjson.loads(reply.data)["seq"]

    async def document(self, name: str = "run", head: dict[str, str] | None = None) -> int:
        return await self.store(DOC, orjson.dumps({"uid": name}), head)

    async def steer(self, topic: str, seq: int) -> None:
        """Have the server publish a stored document as an event, and wait until it was delivered."""
        await self.ask("$JS.API.DIRECT.GET.DOCS_sim", {"seq": seq}, topic)

    async def ask(self, subject: str, query: dict[str, object] | None, topic: str) -> None:
        """Ask for something, with an event as the subject of the reply."""
        arrived = asyncio.Event()

        async def note(_: object) -> None:
            arrived.set()

        event = self.people.subjects.event(topic)
        listening = await self.people.subscribe(event, note)
        await self.people.settle()
        await self.people.connection.publish(subject, orjson.dumps(query) if query else b"", reply=event)
        async with asyncio.timeout(PATIENCE):
            await arrived.wait()
        await self.people.unsubscribe(listening)
        await self.client.bus.settle()


@pytest.fixture
async def site(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(tail_module, "_ANNOUNCED", 0.0)
    async with (
        service(nats.make_bus("console"), serve, ConsoleSettings(data_dir=nats.data_dir)),
        canned_queue(nats) as queue,
        nats.bus("environment") as plans,
        nats.bus("bridge") as people,
        Client.connect(data_dir=nats.data_dir) as client,
    ):
        await ensure_stream(queue.bus.jetstream, docs_stream(nats.subjects))
        await ensure_bucket(queue.bus.jetstream, nats.subjects.state_bucket)
        yield Site(client, people, plans, queue)


@pytest.mark.parametrize("head", ODD)
async def test_a_document_as_console_output_silences_nobody(site: Site, head: dict[str, str]):
    numbers = [await site.document(head=head) for _ in range(5)]
    async with asyncio.timeout(PATIENCE), aclosing(site.client.console(everything=True)) as chunks:
        await site.prints("first")
        assert (await anext(chunks)).text == "first"
        await site.steer("console.worker.-", numbers[-1])
        for text in ("second", "third"):
            await site.prints(text)
            assert (await anext(chunks)).text == text


async def test_a_number_that_the_stream_does_not_have_moves_nobody(site: Site):
    """Even of one who could write all headers, such as a service."""
    head = {STREAM: "CONSOLE_sim", SUBJECT: LINE, SEQUENCE: "1000", STORED: "", LAST_SEQUENCE: "0"}
    async with asyncio.timeout(PATIENCE), aclosing(site.client.console()) as chunks:
        await site.prints("first")
        assert (await anext(chunks)).text == "first"
        for subject in ("console.worker.-", "console.worker.item"):
            await site.queue.bus.connection.publish(site.people.subjects.event(subject), b"forged", headers=head)
        await site.queue.bus.settle()
        for text in ("second", "third"):
            await site.prints(text)
            assert (await anext(chunks)).text == text


async def test_a_steered_document_silences_nobody_who_follows_one_item(site: Site):
    for _ in range(5):
        newest = await site.document()
    async with asyncio.timeout(PATIENCE), aclosing(site.client.console(item_uid="item")) as chunks:
        for text in (b"first", b"second"):
            await site.store("sky.sim.console.worker.item", text)
            assert (await anext(chunks)).text == text.decode()
            await site.steer("console.worker.item", newest)


@pytest.mark.parametrize("head", ODD)
async def test_who_follows_documents_gets_none_from_elsewhere(site: Site, head: dict[str, str]):
    for _ in range(5):
        old = await site.document("old", head)
    async with asyncio.timeout(PATIENCE), aclosing(site.client.documents()) as documents:
        first = asyncio.create_task(anext(documents))
        await asyncio.sleep(0)
        await site.client.bus.settle()
        await site.steer("doc.start.run", old)
        await site.steer("doc.stop.other", old)
        await site.document("new")
        assert (await first).doc == {"uid": "new"}


@pytest.mark.parametrize("head", ODD)
async def test_stored_headers_hide_no_document_from_who_reads_it(site: Site, head: dict[str, str]):
    seq = await site.document(head=head)
    page = await DocumentPages(site.client.bus).read(seq)
    assert [document.doc for _, document in page.entries] == [{"uid": "run"}]


@pytest.mark.parametrize("head", ODD)
async def test_stored_headers_hide_no_console_output(site: Site, head: dict[str, str]):
    for text in (b"1", b"2", b"3"):
        await site.store(LINE, text, head)
    for request in (ConsoleGet(), ConsoleGet(last_lines=5)):
        assert [chunk.text for chunk in (await site.client.call(CONSOLE_GET, request)).chunks] == ["1", "2", "3"]


@pytest.mark.parametrize("head", ODD)
@pytest.mark.parametrize("topic", ["status", "environment", "lock", "console.worker.-", "doc.start.run", "doc.x"])
async def test_a_stream_of_events_has_none_that_was_steered(site: Site, topic: str, head: dict[str, str]):
    seq = await site.document(head=head)
    async with asyncio.timeout(PATIENCE), aclosing(site.client.events()) as events:
        first = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        await site.client.bus.settle()
        await site.steer(topic, seq)
        await site.queue.bus.publish(site.people.subjects.event("item.last"), Empty())
        assert (await first).topic == "item.last"


async def test_a_batch_of_documents_is_not_published_again_by_a_request_for_it(site: Site):
    await site.document()
    query = {"seq": 1, "batch": 5, "next_by_subj": "sky.sim.doc.*.*"}
    async with asyncio.timeout(PATIENCE), aclosing(site.client.events()) as events:
        first = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        await site.client.bus.settle()
        await site.ask("$JS.API.DIRECT.GET.DOCS_sim", query, "doc.start.run")
        await site.queue.bus.publish(site.people.subjects.event("item.last"), Empty())
        assert (await first).topic == "item.last"


@pytest.mark.parametrize("ask", ["sky.sim.cmd.bridge.status.get", "sky.sim.cmd.bridge.no.such.thing"])
async def test_a_reply_of_a_service_is_no_event(site: Site, ask: str):
    async with asyncio.timeout(PATIENCE), aclosing(site.client.events("status")) as events:
        first = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        await site.client.bus.settle()
        await site.ask(ask, None, "status")
        await site.queue.push(items_in_queue=3)
        assert (await first).json()["items_in_queue"] == 3


async def test_a_document_that_looks_like_a_status_is_none(site: Site):
    forged = STATUS.model_copy(update={"revision": 1_000_000, "items_in_queue": 99})
    seq = await site.store(DOC, encode(forged), EVENT)
    async with asyncio.timeout(PATIENCE), aclosing(site.client.statuses()) as statuses:
        assert (await anext(statuses)).items_in_queue == 0
        await site.steer("status", seq)
        await site.queue.push(items_in_queue=3)
        assert (await anext(statuses)).items_in_queue == 3


async def test_a_document_that_says_why_an_environment_did_not_open_is_not_believed(site: Site, monkeypatch):
    async def fail_without_a_word() -> None:
        await site.queue.release.wait()
        await site.queue.push(manager_state="idle")

    monkeypatch.setattr(site.queue, "_opened", fail_without_a_word)
    seq = await site.store(DOC, encode(EnvironmentChanged(state="failed", msg="forged")), EVENT)
    opening = asyncio.create_task(site.client.open_environment(timeout=PATIENCE))
    async with asyncio.timeout(PATIENCE), aclosing(site.client.statuses()) as statuses:
        async for status in statuses:
            if status.manager_state == "creating_environment":
                break
    await site.steer("environment", seq)
    site.queue.release.set()
    with pytest.raises(EnvironmentFailedError, match="did not open; "):
        await opening


@pytest.mark.parametrize("head", ODD)
async def test_stored_headers_hide_no_last_value(site: Site, head: dict[str, str]):
    progress = PlanProgress(item_uid="item", done=4)
    await site.store("$KV.STATE_sim.progress", encode(progress), head)
    assert await site.client.progress() == progress


async def test_watching_goes_on_behind_progress_that_cannot_be_read(site: Site):
    await site.store("$KV.STATE_sim.progress", b"nonsense")
    topic = site.people.subjects.event("progress.item")
    with Live(console=Console(file=io.StringIO()), auto_refresh=False) as live:
        watching = asyncio.create_task(View(live).follow_progress(site.client))
        async with asyncio.timeout(PATIENCE), aclosing(site.client.events("progress.*")) as events:
            for _ in range(2):
                arrived = asyncio.create_task(anext(events))
                await asyncio.sleep(0)
                await site.client.bus.settle()
                await site.plans.connection.publish(topic, b"nonsense", headers=EVENT)
                await arrived
        assert not watching.done()
        await end_tasks([watching])


async def test_plan_code_removes_no_value_of_others(site: Site):
    await site.queue.bus.jetstream.publish("$KV.STATE_sim.environment", encode(EnvironmentChanged(state="opened")))
    reply = await site.plans.connection.request("$KV.STATE_sim.progress", b"{}", headers={"Nats-Rollup": "all"})
    assert b"rollup not permitted" in reply.data
    assert await site.client.environment() == EnvironmentChanged(state="opened")


async def test_who_waits_for_a_service_is_not_woken_by_a_document(site: Site):
    tries = 0
    asked = asyncio.Event()

    async def ask() -> None:
        nonlocal tries
        tries += 1
        asked.set()
        raise NobodyThereError

    arrivals = Arrivals(site.client.bus)
    await arrivals.watch()
    await site.client.bus.settle()
    waiting = asyncio.create_task(arrivals.when_there(ask))
    await asked.wait()
    await site.steer("service.queue", await site.document(head=EVENT))
    with pytest.raises(NobodyThereError):
        await waiting
    assert tries == 1


async def test_the_topics_of_the_bridge_carry_nothing_that_was_steered(site: Site):
    context = zmq.asyncio.Context()
    info = InfoSocket(zmq.Context.shadow(context), "tcp://127.0.0.1:0", Json())
    listening = context.socket(zmq.SUB)
    listening.connect(info.address)
    listening.subscribe("")
    bus = site.people
    publishing = [
        asyncio.create_task(publish_console(bus, info)),
        asyncio.create_task(StatusPublisher(bus, info, PATIENCE).run()),
    ]
    forged = [await site.store(DOC, encode(STATUS.model_copy(update={"items_in_queue": 99})), EVENT) for _ in range(5)]
    said = dict[bytes, list[object]]()

    async def until(topic: bytes, wanted: object) -> None:
        while wanted not in said.get(topic, []):
            received, body = await listening.recv_multipart()
            message = orjson.loads(body)["msg"]
            value = message if received == CONSOLE_TOPIC else message["status"]["items_in_queue"]
            said.setdefault(received, []).append(value)

    try:
        async with asyncio.timeout(PATIENCE):
            first = asyncio.create_task(until(CONSOLE_TOPIC, "first"))
            while not first.done():
                await site.prints("first")
                await asyncio.wait({first}, timeout=0.02)  # nothing says when 0MQ has taken the subscription
            for topic in ("console.worker.-", "status"):
                await site.steer(topic, forged[-1])
            await site.prints("second")
            await site.queue.push(items_in_queue=3)
            await until(CONSOLE_TOPIC, "second")
            await until(INFO_TOPIC, 3)
    finally:
        await end_tasks(publishing)
        info.close()
        listening.close()
        context.term()
    assert set(said[CONSOLE_TOPIC]) == {"first", "second"}
    assert set(said[INFO_TOPIC]) <= {0, 3}


async def test_what_is_steered_among_people_never_reaches_services(site: Site):
    reached = asyncio.Queue[str]()

    async def note(message) -> None:
        reached.put_nowait(message.subject)

    services = site.queue.bus
    await services.subscribe("sky.sim.int.state", note)
    await services.subscribe("sky.sim.evt.catalog", note)
    await services.subscribe("sky.sim.evt.last", note)
    await services.settle()
    seq = await site.document(head=EVENT)
    for target in ("sky.sim.int.state", "sky.sim.evt.catalog"):
        query = orjson.dumps({"seq": seq})
        await site.people.connection.publish("$JS.API.DIRECT.GET.DOCS_sim", query, reply=target)
    await site.people.call(STATUS_GET, Empty())
    await services.publish("sky.sim.evt.last", Empty())
    assert await asyncio.wait_for(reached.get(), PATIENCE) == "sky.sim.evt.last"


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.DIRECT.GET.CONSOLE_sim",
        "$JS.API.DIRECT.GET.KV_STATE_sim",
        "$JS.API.DIRECT.GET.KV_STATE_sim.$KV.STATE_sim.book.queue",
        "$JS.API.DIRECT.GET.LIFE_sim",
        "$JS.API.DIRECT.GET.OBJ_AUTH_sim",
    ],
)
async def test_people_read_by_direct_get_only_what_they_need(site: Site, subject: str):
    with pytest.raises(DeniedError, match="may not publish"):
        await site.people.request_raw(subject, b"{}")
