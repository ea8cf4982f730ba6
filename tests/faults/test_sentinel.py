"""Three Valkeys and three Sentinels, as `deploy/` has them: what was acknowledged outlives the primary."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from skybus.bus.errors import InvalidError, UnavailableError
from skybus.client.client import Client
from skybus.queue.book import Book
from skybus.queue.redis_address import connect, read_sentinels
from skybus.queue.store import Store
from tests.faults.deployed import Deployed, deployed
from tests.integration.queue_fixtures import COUNT, StandIns, client, house, queue_process
from tests.promises import PATIENCE
from tests.system.stack import stack_up

__all__ = ["client", "house"]
STOP = {"item_type": "instruction", "name": "queue_stop"}


@pytest.fixture
async def place(data_dir: Path) -> AsyncIterator[Deployed]:
    """The Sentinels know the replicas and each other."""
    async with deployed(data_dir / "place", "valkey") as place:
        await until(
            place, "valkey", lambda redis: redis.info("replication"), lambda info: info["connected_slaves"] == 2
        )
        await place.start("sentinel0", "sentinel1", "sentinel2")
        for number in range(3):
            await until(
                place,
                "sentinel",
                lambda redis: redis.sentinel_master("skybus"),
                lambda known: (known["num-slaves"], known["num-other-sentinels"]) == (2, 2),
                number,
            )
        yield place


@pytest.fixture
def url(place: Deployed) -> str:
    return place.redis_url


def replication(redis: Redis):
    return redis.info("replication")


async def until(place: Deployed, kind: str, ask, is_so, number: int = 0) -> None:
    """Wait for something that servers do not tell by themselves."""
    async with place.redis(f"{kind}{number}") as redis, asyncio.timeout(PATIENCE):
        while True:
            with suppress(RedisError, OSError):
                if is_so(await ask(redis)):
                    return
            await asyncio.sleep(0.05)


async def until_replica(place: Deployed, number: int) -> None:
    """Wait until it has been told that it is the primary no more, and has what the primary has."""
    await until(
        place,
        "valkey",
        replication,
        lambda info: info["role"] == "slave" and info["master_link_status"] == "up",
        number,
    )


async def until_stored(store: Store, uid: str) -> None:
    """Put an item into the queue, as often as it takes; each try begins with what is stored."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(UnavailableError):
                return await insert(store, uid)
            await asyncio.sleep(0.05)


async def insert(store: Store, uid: str) -> None:
    book = await store.load()
    if uid not in uids(book):
        book.insert([{**COUNT, "item_uid": uid}])
        await store.commit(book.journal, book.revision)


def uids(book: Book) -> list[str]:
    return [item["item_uid"] for item in book.line]


async def test_the_queue_service_goes_on_with_another_primary(
    place: Deployed, url: str, nats, house: StandIns, client: Client
) -> None:
    """Nothing that it has acknowledged is lost."""
    acknowledged: list[str] = []
    enough = asyncio.Event()

    async def submit() -> None:
        while len(acknowledged) < 200:
            item = await client.add("count")
            acknowledged.append(item["item_uid"])
            enough.set()

    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        await stack.enter_async_context(queue_process(nats, SimpleNamespace(url=url)))
        await client.wait("idle")
        submitters = [asyncio.create_task(submit()) for _ in range(3)]
        try:
            while len(acknowledged) < 100:
                await wait_cleared(enough)
            before = time.monotonic()
            await place.kill("valkey0")
            await asyncio.gather(*submitters)
            print(f"a failover and 100 items took {time.monotonic() - before:.1f} s")
        finally:
            for task in submitters:
                task.cancel()
            await asyncio.wait(submitters)
        queue = [item["item_uid"] for item in (await client.queue()).items]
        assert len(queue) == len(set(queue))
        assert set(acknowledged) <= set(queue)
        assert len(queue) == len(acknowledged)
        async with connect(url) as primary:
            assert [uid.decode() for uid in await primary.zrange("sky:sim:queue", 0, -1)] == queue


async def wait_cleared(event: asyncio.Event) -> None:
    event.clear()
    await event.wait()


@pytest.mark.slow
async def test_a_stack_on_one_machine_goes_on_with_another_primary(place: Deployed, url: str, data_dir: Path) -> None:
    async with stack_up(data_dir / "stack", "--redis-url", url) as stack, stack.client() as client:
        first = await client.add_item(STOP)
        await place.kill("valkey0")
        second = await client.add_item(STOP)
        assert [item["item_uid"] for item in (await client.queue()).items] == [first["item_uid"], second["item_uid"]]


async def test_a_primary_that_was_stopped_cannot_be_written_when_it_goes_on(place: Deployed, url: str) -> None:
    async with closing(Store.at(url, "sim")) as store:
        await store.take_over()
        await until_stored(store, "before")
        old = place.process("valkey0")
        old.send_signal(signal.SIGSTOP)
        await until_stored(store, "after")

        old.send_signal(signal.SIGCONT)
        async with closing(Store(place.redis("valkey0", socket_timeout=5), "sky:sim:", copies=1)) as past_sentinels:
            past_sentinels._fence = "1"
            with pytest.raises(UnavailableError):
                await insert(past_sentinels, "on the old one")
        await until_replica(place, 0)
        await until_stored(store, "last")
        async with connect(url) as primary:
            assert await primary.zrange("sky:sim:queue", 0, -1) == [b"before", b"after", b"last"]


async def test_a_change_that_no_replica_has_is_not_acknowledged(place: Deployed, url: str) -> None:
    """Nor is it shown: it may be lost with the primary."""
    async with closing(Store.at(url, "sim")) as store:
        await store.take_over()
        await until_stored(store, "first")
        book = await store.load()
        replicas = [place.process(f"valkey{number}") for number in (1, 2)]
        for replica in replicas:
            replica.send_signal(signal.SIGSTOP)
        book.insert([{**COUNT, "item_uid": "second"}])
        with pytest.raises(UnavailableError, match="no replica|NOREPLICAS"):
            await store.commit(book.journal, book.revision, "request", b"answer")
        for asked in (store.load(), store.answered("request")):
            with pytest.raises(UnavailableError):
                await asked
        for replica in replicas:
            replica.send_signal(signal.SIGCONT)
        await until_stored(store, "third")
        assert uids(await store.load()) in (["first", "third"], ["first", "second", "third"])


@asynccontextmanager
async def closing(store: Store) -> AsyncIterator[Store]:
    try:
        yield store
    finally:
        await store.close()


def test_urls_of_sentinels() -> None:
    named = read_sentinels("redis+sentinel://ann:p%40ss@a:1,b,c:3/skybus/2")
    assert named.addresses == [("a", 1), ("b", 26379), ("c", 3)]
    assert (named.primary, named.database, named.user, named.password) == ("skybus", 2, "ann", "p@ss")
    for wrong in ("redis+sentinel://a:1", "redis+sentinel://a:x/skybus", "redis+sentinel:///skybus"):
        with pytest.raises(InvalidError):
            read_sentinels(wrong)
