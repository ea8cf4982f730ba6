"""What unpacks is bounded before it is unpacked: console output, documents, reports, lists of plans and devices."""

from __future__ import annotations

import asyncio
import base64
import os
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

import orjson
import pytest

from skybus.auth.catalogue import PackedCatalogue, unpack_catalogue
from skybus.auth.permissions import UserGroupPermissions
from skybus.bus import headers
from skybus.bus.api.console import CONSOLE_GET, ConsoleGet, ConsolePage
from skybus.bus.api.internal import CATALOG_REFRESH, CatalogBytes, CatalogPart
from skybus.bus.bodies import LARGEST_CATALOGUE, LARGEST_CHUNK, LARGEST_DOCUMENT, LARGEST_PACKED_CATALOGUE
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, SkybusError, UnavailableError
from skybus.bus.messages import Empty
from skybus.bus.packing import unpack_at_most, unpack_start
from skybus.bus.service import Service
from skybus.bus.streams import docs_stream, ensure_stream
from skybus.client.client import Client
from skybus.client.streams import DocumentPages
from skybus.console.__main__ import serve
from skybus.console.settings import ConsoleSettings
from tests.bombs import bomb
from tests.integration.auth_fixtures import StandInEnvironment, auth
from tests.integration.auth_fixtures import queue_service as queue_side
from tests.integration.bus_fixtures import service
from tests.integration.queue_fixtures import StandIns, client, house, opened, queue_service
from tests.integration.test_large_reports import report_of
from tests.promises import PATIENCE
from tests.servers import NatsServer, running

__all__ = ["client", "house"]

MEGABYTE = 1 << 20
ZLIB = {headers.ENCODING: "zlib"}
LINE = "sky.sim.console.worker.-"
BOMB = bomb(250)
"""0.25 MB that are 250 MB."""


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    """Everything in this process, services included, takes no more than so much memory on top."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


def test_no_more_is_unpacked_than_is_wanted() -> None:
    with at_most(5):
        start = unpack_start(BOMB, MEGABYTE)
        assert (len(start.body), start.has_more) == (MEGABYTE, True)
        with pytest.raises(InvalidError, match="more than 1,048,576 bytes"):
            unpack_at_most(BOMB, MEGABYTE)


@dataclass
class Site:
    """Plan code, and a person who reads what it sends."""

    plans: Bus
    services: Bus
    client: Client

    async def store(self, subject: str, body: bytes, head: dict[str, str] | None = None) -> int:
        reply = await self.plans.connection.request(subject, body, timeout=PATIENCE, headers=head)
        return orjson.loads(reply.data)["seq"]

    async def get(self, **fields: object) -> ConsolePage:
        return await self.client.call(CONSOLE_GET, ConsoleGet.model_validate(fields), timeout=PATIENCE)


@pytest.fixture
async def site(nats: NatsServer) -> AsyncIterator[Site]:
    async with (
        service(nats.make_bus("console"), serve, ConsoleSettings(data_dir=nats.data_dir)),
        nats.bus("environment") as plans,
        nats.bus("queue") as services,
        Client.connect(data_dir=nats.data_dir) as client,
    ):
        await ensure_stream(services.jetstream, docs_stream(nats.subjects))
        yield Site(plans, services, client)


async def test_a_piece_of_output_is_cut_with_a_note(site: Site) -> None:
    await site.store(LINE, BOMB, ZLIB)
    await site.store(LINE, b"after\n")
    with at_most(80):
        first = await site.get(seq=1)
        ((chunk,), rest) = first.chunks, await site.get(seq=first.next_seq)
        assert len(chunk.text) < LARGEST_CHUNK + 200
        assert chunk.text.endswith("[skybus: cut here, a piece of output has at most 4,194,304 bytes]\n")
        assert [chunk.text for chunk in rest.chunks] == ["after\n"]


@pytest.mark.parametrize("fields", [{"seq": 1}, {"last_lines": 1}, {"last_lines": 100_000, "max_bytes": 2 * MEGABYTE}])
async def test_pages_count_what_they_unpack(site: Site, fields: dict[str, int]) -> None:
    for _ in range(40):
        await site.store(LINE, BOMB, ZLIB)
    await site.store(LINE, b"the last line\n")
    with at_most(80):
        page = await site.get(**fields)
        assert sum(len(chunk.text) for chunk in page.chunks) <= LARGEST_CHUNK + 200
        if "last_lines" in fields:
            assert page.chunks[-1].text == "the last line\n"


async def test_the_last_lines_are_found_behind_much_that_is_not_compressed(site: Site) -> None:
    for _ in range(12):
        await site.store(LINE, os.urandom(MEGABYTE).hex().encode() + b"\n")
    await site.store(LINE, b"last\n")
    with at_most(60):
        page = await site.get(last_lines=4, max_bytes=3 * MEGABYTE)
        assert [len(chunk.text) for chunk in page.chunks] == [2 * MEGABYTE + 1, 5]


async def test_who_follows_gets_each_piece_cut(site: Site) -> None:
    with at_most(120):
        async with asyncio.timeout(PATIENCE), aclosing(site.client.console()) as chunks:
            await site.store(LINE, b"first\n")
            assert (await anext(chunks)).text == "first\n"
            for _ in range(8):
                await site.store(LINE, BOMB, ZLIB)
            await site.store(LINE, b"last\n")
            sizes = [len((await anext(chunks)).text) for _ in range(9)]
    assert max(sizes[:8]) < LARGEST_CHUNK + 200
    assert sizes[8] == len("last\n")


@pytest.mark.parametrize(
    ("body", "head"),
    [(BOMB, ZLIB), (b"no zlib", ZLIB), (b"no JSON", None), (b"[1]", None), (zlib.compress(b"{}")[:-3], ZLIB)],
    ids=["too large", "not compressed", "no JSON", "no document", "cut off"],
)
async def test_a_document_that_is_none_is_left_out(site: Site, body: bytes, head: dict[str, str] | None) -> None:
    subject = "sky.sim.doc.start.run"
    with at_most(2 * LARGEST_DOCUMENT // MEGABYTE + 20):
        async with asyncio.timeout(PATIENCE), aclosing(site.client.documents()) as documents:
            first = asyncio.create_task(anext(documents))
            await asyncio.sleep(0)
            await site.client.bus.settle()
            await site.store(subject, body, head)
            await site.store(subject, b'{"uid": "run"}')
            assert (await first).doc == {"uid": "run"}
        page = await DocumentPages(site.client.bus).read(1)
        assert [document.doc for _, document in page.entries] == [{"uid": "run"}]


async def test_a_report_too_large_keeps_no_other_waiting(nats, valkey, house: StandIns, client) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        subjects, connection = house.environment.subjects, house.environment.connection
        with at_most(200):
            await connection.request(subjects.life("task"), BOMB, timeout=PATIENCE, headers=ZLIB)
            part = {headers.PART: f"0 {len(BOMB)} {250 * MEGABYTE}"}
            await connection.request(subjects.life("task"), BOMB, timeout=PATIENCE, headers=part)
            uid = await client.run_function("give")
            await house.report("task", report_of(await house.tasks.get(), house, 3))
            assert await client.wait_task(uid, PATIENCE) == 3


class EndlessCatalogue(StandInEnvironment):
    """Plan code that has put itself in the place of what answers for the environment."""

    async def get_part(self, request: CatalogPart) -> CatalogBytes:
        part = base64.b64encode(bytes(MEGABYTE)).decode()
        return CatalogBytes(catalog_uid=self.catalog_uid, parts=1_000_000, data=part)


async def test_a_catalogue_too_large_is_refused(nats: NatsServer) -> None:
    stand_in = EndlessCatalogue(nats.make_bus("environment"))
    Service(stand_in.bus, "environment", stand_in.table())
    async with queue_side(nats) as queue, auth(nats), running(stand_in.bus):
        with pytest.raises(UnavailableError, match=f"more than {LARGEST_PACKED_CATALOGUE:,} bytes"):
            await queue.bus.call(CATALOG_REFRESH, Empty(), timeout=PATIENCE)


def test_lists_that_unpack_to_too_much_are_refused() -> None:
    with at_most(2 * LARGEST_CATALOGUE // MEGABYTE + 20), pytest.raises(SkybusError, match="67,108,864 bytes"):
        unpack_catalogue(UserGroupPermissions(user_groups={"root": {}}), PackedCatalogue("uid", BOMB))
