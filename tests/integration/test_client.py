"""The client: finding the stack, waiting by events, and the command line on top of it.

The queue service is the canned one of bus_fixtures; NATS, the console service and the stream are real.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from skybus.bus import headers
from skybus.bus.api.health import Absence
from skybus.bus.api.items import ItemSpec
from skybus.bus.api.queue import ITEM_ADD, QUEUE_GET, ItemAdd, QueueGet
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, UnavailableError, WrongStateError
from skybus.bus.messages import encode
from skybus.bus.streams import docs_stream, ensure_stream
from skybus.bus.tail import Page
from skybus.cli.engine_commands import pause
from skybus.cli.output import Output
from skybus.client import status as status_module
from skybus.client.client import Client
from skybus.client.engine_calls import EnvironmentFailedError
from skybus.client.retries import GaveUpError
from skybus.client.streams import Document, DocumentPages
from skybus.console.__main__ import serve
from skybus.console.settings import ConsoleSettings
from tests.integration.bus_fixtures import CannedQueue, canned_queue, reconnected, service
from tests.promises import PATIENCE
from tests.servers import NatsServer

COUNT = ItemSpec(item_type="plan", name="count")


@pytest.fixture
async def queue(nats: NatsServer) -> AsyncIterator[CannedQueue]:
    async with canned_queue(nats) as queue:
        yield queue


@pytest.fixture
async def client(nats: NatsServer, queue: CannedQueue) -> AsyncIterator[Client]:
    async with Client.connect(data_dir=nats.data_dir, connect_timeout=PATIENCE) as client:
        yield client


async def test_client_finds_stack_and_credentials_by_itself(client: Client, queue: CannedQueue):
    assert await client.status() == queue.status
    assert (await client.call(QUEUE_GET, QueueGet(limit=1))).qsize == 0
    item = await client.add("count", ["det1"], num=3)
    assert (item["args"], item["kwargs"], item["item_type"]) == ([["det1"]], {"num": 3}, "plan")
    assert queue.users == ["operator"]


async def test_connecting_to_nothing_says_how_to_start_it(tmp_path: Path):
    with pytest.raises(UnavailableError, match="skybus up"):
        async with Client.connect(data_dir=tmp_path):
            pass


async def test_connecting_to_a_server_that_is_gone_says_how_to_start_it(nats: NatsServer):
    nats.stop()
    with pytest.raises(UnavailableError, match=f"{nats.port}.*skybus up"):
        async with Client.connect(data_dir=nats.data_dir, connect_timeout=0.3):
            pass


@pytest.mark.parametrize("name", ["", "a/b", "..", " ann", "a\nb", "x" * 200])
async def test_impossible_user_name_is_refused_by_name(nats: NatsServer, name: str):
    with pytest.raises(InvalidError, match="user name"):
        async with Client.connect(data_dir=nats.data_dir, user=name):
            pass


async def test_user_without_credentials_is_named(nats: NatsServer):
    with pytest.raises(UnavailableError, match=r"'ann\.other of x'"):
        async with Client.connect(data_dir=nats.data_dir, user="ann.other of x"):
            pass


async def test_unknown_setting_and_condition_are_refused(nats: NatsServer, client: Client):
    with pytest.raises(InvalidError, match="colour"):
        async with Client.connect(data_dir=nats.data_dir, colour="red"):
            pass
    with pytest.raises(InvalidError, match="queue_drained"):
        await client.wait("hungry")


async def test_wait_ends_with_the_status_that_was_pushed(client: Client, queue: CannedQueue):
    waiting = asyncio.create_task(client.wait("paused", PATIENCE))
    statuses = client.statuses()
    assert (await anext(statuses)).manager_state == "idle"
    await queue.push(manager_state="executing_queue")
    await queue.push(manager_state="paused")
    assert (await waiting).manager_state == "paused"
    assert (await anext(statuses)).manager_state == "executing_queue"
    await statuses.aclose()


async def test_wait_for_what_is_so_already_ends_at_once(client: Client):
    assert (await client.wait(lambda status: status.items_in_queue == 0, PATIENCE)).manager_state == "idle"


async def test_wait_gives_up_after_its_time(client: Client):
    with pytest.raises(TimeoutError, match=r"'paused' was not reached within 0\.05 s"):
        await client.wait("paused", 0.05)


async def test_wait_goes_on_after_the_server_was_gone(client: Client, queue: CannedQueue, nats: NatsServer):
    waiting = asyncio.create_task(client.wait("paused", PATIENCE))
    async with aclosing(client.statuses()) as statuses:
        await anext(statuses)
        nats.stop()
        queue.status = queue.status.model_copy(update={"manager_state": "paused", "revision": 99})
        await nats.start()
        assert (await waiting).revision == 99


async def test_status_of_a_service_that_counts_anew_is_taken(client: Client, queue: CannedQueue):
    async with asyncio.timeout(PATIENCE), aclosing(client.statuses()) as statuses:
        await queue.push(revision=1000)
        await anext(statuses)
        queue.status = queue.status.model_copy(update={"revision": 5})
        await queue.push(items_in_queue=3)
        async for status in statuses:
            if status.items_in_queue == 3:
                break


async def test_a_change_waits_for_a_server_that_was_gone(client: Client, queue: CannedQueue, nats: NatsServer):
    async with asyncio.timeout(PATIENCE), reconnected(client.bus, queue.bus):
        nats.stop()
        adding = asyncio.create_task(client.add("count"))
        assert await asyncio.wait({adding}, timeout=0.2) == (set(), {adding})
        await nats.start()
    assert (await adding)["item_uid"] == "uid-0"
    assert len(queue.items) == 1


async def test_a_change_is_sent_again_under_the_same_id_when_nobody_answers(client: Client, queue: CannedQueue):
    told: list[str] = []
    client.tell_waiting = told.append
    queue.swallows = 1
    await client.call(ITEM_ADD, ItemAdd(item=COUNT), timeout=3)
    assert ["no answer" in why for why in told] == [True]
    assert len(queue.request_ids) == 2
    assert len(set(queue.request_ids)) == 1


async def test_who_gives_up_says_what_is_known(client: Client, queue: CannedQueue, nats: NatsServer):
    queue.swallows = 10
    with pytest.raises(GaveUpError, match=r"queue\.item\.add: it may have been carried out") as unanswered:
        await client.call(ITEM_ADD, ItemAdd(item=COUNT), timeout=0.3)
    assert unanswered.value.details == {"request_id": queue.request_ids[0], "may_be_done": True}
    queue.swallows = 0
    await client.call(ITEM_ADD, ItemAdd(item=COUNT), request_id=queue.request_ids[0])
    assert len(set(queue.request_ids)) == 1
    gone = asyncio.Event()
    client.bus.on_disconnect.append(gone.set)
    nats.stop()
    await gone.wait()
    with pytest.raises(GaveUpError, match="it was not carried out") as unsent:
        await client.call(ITEM_ADD, ItemAdd(item=COUNT), timeout=0.3)
    assert not unsent.value.details["may_be_done"]
    with pytest.raises(GaveUpError, match="not connected to NATS"):
        await client.call(QUEUE_GET, QueueGet(), timeout=0.3)


async def test_a_request_whose_deadline_is_past_is_not_carried_out(client: Client, queue: CannedQueue):
    subject = ITEM_ADD.subject(client.bus.subjects, client.bus.user)
    for deadline, is_refused in ((time.time() - 1, True), (time.time() + 60, False)):
        head = {headers.REQUEST_ID: "1", headers.DEADLINE: str(int(deadline * 1000))}
        body = encode(ItemAdd(item=COUNT))
        reply = await client.bus.connection.request(subject, body, headers=head, timeout=PATIENCE)
        assert ((reply.headers or {}).get(headers.ERROR_CODE) == "unavailable") == is_refused
        assert bool(queue.items) != is_refused


async def test_opening_waits_until_the_environment_is_there(client: Client, queue: CannedQueue):
    opening = asyncio.create_task(client.open_environment(timeout=PATIENCE))
    await client.wait(lambda status: status.manager_state == "creating_environment", PATIENCE)
    assert not opening.done()
    queue.release.set()
    await opening
    assert (await client.status()).worker_environment_exists
    with pytest.raises(WrongStateError, match="already exists"):
        await client.open_environment()


async def test_pause_of_a_plan_that_ends_first_does_not_claim_a_pause(client: Client, queue: CannedQueue, capsys):
    await pause(client, Output(as_json=False), wait=True)
    assert "over" in capsys.readouterr().out


async def test_environment_that_does_not_open_says_why(client: Client, queue: CannedQueue):
    queue.opens = False
    queue.release.set()
    with pytest.raises(EnvironmentFailedError, match="no motor.*skybus console"):
        await client.open_environment(timeout=PATIENCE)


async def test_events_are_events_and_no_answers_that_were_steered_here(client: Client, queue: CannedQueue):
    async with asyncio.timeout(PATIENCE), aclosing(client.events("status")) as events:
        first = asyncio.create_task(anext(events))
        await client.status()
        subject = queue.bus.subjects.event("status")
        await queue.bus.connection.publish(subject, b"{}", headers={headers.KIND: headers.REPLY})
        await queue.bus.connection.publish(subject, b"{}")
        await queue.bus.connection.publish(subject, b"{}", headers={"Nats-Sequence": "7"})
        await queue.push(items_in_queue=4)
        event = await first
        assert (event.topic, event.json()["items_in_queue"]) == ("status", 4)


async def test_console_begins_with_the_last_lines_and_goes_on_live(client: Client, nats: NatsServer):
    settings = ConsoleSettings(data_dir=nats.data_dir)
    async with service(nats.make_bus("console"), serve, settings), nats.bus("environment") as plans:
        subject = plans.subjects.console("worker.item")
        for text in (b"one\n", b"two\nthree\n"):
            await plans.connection.request(subject, text, timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE), aclosing(client.console(last=2)) as chunks:
            assert (await anext(chunks)).text == "two\nthree\n"
            await plans.connection.request(subject, b"four\n", timeout=PATIENCE, headers={headers.TIME: "12.5"})
            chunk = await anext(chunks)
            assert (chunk.text, chunk.time, chunk.source, chunk.item_uid) == ("four\n", 12.5, "worker", "item")
        stored = [chunk.text async for chunk in client.console(item_uid="item", follow=False)]
        assert stored == ["one\n", "two\nthree\n", "four\n"]


async def publish_documents(plans: Bus, *numbers: int) -> None:
    subject = plans.subjects.document("event", "run-1")
    for number in numbers:
        await plans.connection.request(subject, b'{"seq_num": %d}' % number, timeout=PATIENCE)


async def numbers_of(documents: AsyncGenerator[Document], number: int) -> list[int]:
    """See the next documents."""
    return [(await anext(documents)).doc["seq_num"] for _ in range(number)]


async def test_documents_go_on_after_the_server_was_gone(client: Client, nats: NatsServer):
    async with asyncio.timeout(PATIENCE), nats.bus("queue") as bus, nats.bus("environment") as plans:
        await ensure_stream(bus.jetstream, docs_stream(bus.subjects))
        async with aclosing(client.documents()) as documents:
            first = asyncio.create_task(anext(documents))
            await client.status()
            await publish_documents(plans, 1)
            assert await first == ("event", {"seq_num": 1})
            async with reconnected(plans):
                nats.stop()
                await nats.start()
            await publish_documents(plans, 2, 3)
            assert await numbers_of(documents, 2) == [2, 3]


async def test_documents_of_a_stream_that_was_made_anew_are_seen_from_its_first(client: Client, nats: NatsServer):
    async with asyncio.timeout(PATIENCE), nats.bus("queue") as bus, nats.bus("environment") as plans:
        await ensure_stream(bus.jetstream, docs_stream(bus.subjects))
        async with aclosing(client.documents()) as documents:
            first = asyncio.create_task(anext(documents))
            await client.status()
            await publish_documents(plans, 1, 2, 3)
            assert [(await first).doc["seq_num"], *await numbers_of(documents, 2)] == [1, 2, 3]
            async with reconnected(bus, plans):
                nats.stop()
                shutil.rmtree(nats.data_dir / "jetstream")
                await nats.start()
            await ensure_stream(bus.jetstream, docs_stream(bus.subjects))
            await publish_documents(plans, 4, 5)
            assert await numbers_of(documents, 2) == [4, 5]


async def test_documents_of_a_copy_that_lacks_the_newest_are_not_read_again(client: Client, nats: NatsServer):
    async with asyncio.timeout(PATIENCE), nats.bus("queue") as bus, nats.bus("environment") as plans:
        stream = docs_stream(bus.subjects)
        await ensure_stream(bus.jetstream, stream)
        await publish_documents(plans, 1, 2, 3)
        pages = DocumentPages(client.bus)
        times = [stored for stored, _ in (await pages.read(1)).entries]
        for seq in (2, 3):  # as a copy that is behind looks
            await bus.jetstream.delete_msg(stream.name or "", seq)
        pages.newest = times[-1]
        assert await pages.read(4) == Page([], 4, complete=True)
        pages.newest = times[0] - 1  # what is there was stored after what was seen: the stream is another one
        assert await pages.read(4) == Page([(times[0], Document("event", {"seq_num": 1}))], 2, complete=True)
        await bus.jetstream.purge_stream(stream.name or "")
        assert (await pages.read(4)).next_seq == 1


async def test_an_error_instead_of_the_status_comes_to_who_waits(client: Client, queue: CannedQueue):
    queue.refuses_status = WrongStateError("not now")
    with pytest.raises(WrongStateError, match="not now"):
        await client.wait("paused", PATIENCE)


async def test_a_slow_reader_gets_the_newest_statuses(client: Client, queue: CannedQueue, monkeypatch):
    monkeypatch.setattr(status_module, "_WAITING", 3)
    async with asyncio.timeout(PATIENCE), aclosing(client.statuses()) as statuses:
        await anext(statuses)
        async with aclosing(client.statuses()) as quick:
            await anext(quick)
            for number in range(1, 11):
                await queue.push(items_in_queue=number)
                assert (await anext(quick)).items_in_queue == number
        assert [(await anext(statuses)).items_in_queue for _ in range(3)] == [8, 9, 10]


async def skybus(nats: NatsServer | Path, *words: str) -> tuple[int, str, str]:
    data_dir = nats.data_dir if isinstance(nats, NatsServer) else nats
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "skybus"),
        *words,
        env={**os.environ, "SKYBUS_DATA_DIR": str(data_dir), "TERM": "dumb"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_command_line_adds_and_lists(nats: NatsServer, queue: CannedQueue):
    code, out, errors = await skybus(nats, "queue", "add", "count", '["det1","det2"]', "num=10", "delay=0.5", "--json")
    assert (code, errors) == (0, "")
    assert json.loads(out)["kwargs"] == {"num": 10, "delay": 0.5}
    (code, out, _), (_, status, _) = await asyncio.gather(skybus(nats, "queue", "list"), skybus(nats, "status"))
    assert code == 0
    assert "[det1, det2], num=10, delay=0.5" in out
    assert "\x1b" not in out + status
    assert "idle" in status


async def test_command_line_errors_are_one_line_with_the_next_step(
    nats: NatsServer, queue: CannedQueue, tmp_path: Path
):
    refused, nothing, usage = await asyncio.gather(
        skybus(nats, "queue", "add", "unknown"), skybus(tmp_path, "status"), skybus(nats, "queue", "autostart", "maybe")
    )
    assert (refused[0], refused[1], refused[2].count("\n")) == (1, "", 1)
    assert "`skybus plans`" in refused[2]
    assert (nothing[0], nothing[2].count("\n")) == (1, 1)
    assert "`skybus up`" in nothing[2]
    assert usage[0] == 2
    assert "'maybe' is neither 'on' nor 'off'" in usage[2]


async def test_doctor_says_what_is_missing_and_since_when(nats: NatsServer, queue: CannedQueue):
    queue.missing = {
        "redis": Absence(why="Redis does not answer", since=0.5),
        "auth": Absence(why="no service answers", since=1.5),
    }
    code, out, _ = await skybus(nats, "doctor", "--json")
    found = {finding["part"]: finding for finding in json.loads(out)}
    assert code == 1
    assert {part: finding["is_well"] for part, finding in found.items()} == {
        "queue": True, "auth": False, "console": False, "redis": False, "worker": False, "clocks": True,
    }  # fmt: skip
    assert (found["auth"]["since"], found["redis"]["since"], found["console"]["since"]) == (1.5, 0.5, None)
    assert "no service answers" in found["console"]["what"]
