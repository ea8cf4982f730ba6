"""What plans print and what services log are read apart, whole and in order, and no answer is larger than asked for."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from skybus.bus import headers
from skybus.bus.api.console import CONSOLE_GET, MOST_BYTES, ConsoleChunk, ConsoleGet, ConsolePage
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError
from skybus.client.client import Client
from skybus.console.__main__ import serve
from skybus.console.chunks import last_bytes, size_of
from skybus.console.settings import ConsoleSettings
from tests.integration.bus_fixtures import service
from tests.promises import PATIENCE
from tests.servers import NatsServer


@dataclass
class Sources:
    """Prints as an environment, logs as a service, and reads as a person."""

    plans: Bus
    services: Bus
    client: Client

    async def prints(self, text: str, item: str = "-") -> None:
        await self.plans.connection.request(
            self.plans.subjects.console(f"worker.{item}"), text.encode(), timeout=PATIENCE
        )

    async def logs(self, text: str, name: str = "queue") -> None:
        await self.services.connection.request(self.services.subjects.console(name), text.encode(), timeout=PATIENCE)

    async def get(self, **fields: object) -> ConsolePage:
        return await self.client.call(CONSOLE_GET, ConsoleGet.model_validate(fields))

    async def texts(self, **fields: object) -> list[str]:
        return [chunk.text for chunk in (await self.get(**fields)).chunks]


@pytest.fixture
async def sources(nats: NatsServer) -> AsyncIterator[Sources]:
    async with (
        service(nats.make_bus("console"), serve, ConsoleSettings(data_dir=nats.data_dir)),
        nats.bus("environment") as plans,
        nats.bus("queue") as services,
        Client.connect(data_dir=nats.data_dir) as client,
    ):
        yield Sources(plans, services, client)


async def fill(sources: Sources) -> None:
    await sources.prints("opened\n")
    await sources.logs("added\n")
    await sources.prints("of a\n", "a")
    await sources.logs("started\n", "worker")
    await sources.logs("taken\n", "auth")
    await sources.prints("of b\n", "b")
    await sources.logs("finished\n")


async def take(chunks: AsyncGenerator[ConsoleChunk], number: int) -> list[str]:
    return [(await anext(chunks)).text for _ in range(number)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"printed": True}, ["opened\n", "of a\n", "of b\n"]),
        ({"printed": True, "item_uid": "a"}, ["of a\n"]),
        ({"service": "queue"}, ["added\n", "finished\n"]),
        ({"service": "worker"}, ["started\n"]),
        ({"service": "nobody"}, []),
        ({"printed": True, "last_lines": 2}, ["of a\n", "of b\n"]),
        ({"service": "queue", "last_lines": 1}, ["finished\n"]),
        ({"printed": True, "seq": 2, "limit": 1}, ["of a\n"]),
        ({}, ["opened\n", "added\n", "of a\n", "started\n", "taken\n", "of b\n", "finished\n"]),
    ],
)
async def test_a_filter_leaves_out_all_else(sources: Sources, fields: dict[str, object], expected: list[str]):
    await fill(sources)
    assert await sources.texts(**fields) == expected


@pytest.mark.parametrize("name", ["*", ">", "worker.a", "a b", ""])
async def test_a_service_that_would_select_more_is_refused(sources: Sources, name: str):
    with pytest.raises(InvalidError, match="service"):
        await sources.client.bus.call_bytes(CONSOLE_GET, b'{"service": "%s"}' % name.encode())
    with pytest.raises(InvalidError, match="service"):
        sources.client.console(service=name)


@pytest.mark.parametrize("other", [{"item_uid": "a"}, {"printed": True}])
async def test_a_service_prints_for_no_item(sources: Sources, other: dict[str, object]):
    with pytest.raises(InvalidError, match="'service' goes with neither"):
        await sources.get(service="queue", **other)


async def test_the_client_shows_what_is_printed_unless_more_is_asked_for(sources: Sources):
    await fill(sources)

    async def stored(**options: object) -> list[str]:
        return [chunk.text async for chunk in sources.client.console(follow=False, **options)]  # type: ignore[arg-type]

    assert await stored() == ["opened\n", "of a\n", "of b\n"]
    assert await stored(service="queue") == ["added\n", "finished\n"]
    assert {"of a\n", "added\n", "taken\n"} <= set(await stored(everything=True))


@pytest.mark.parametrize("options", [{}, {"last": 1000}, {"since": 0.0}])
async def test_following_what_is_printed_joins_history_and_live_output(sources: Sources, options: dict[str, float]):
    async def write(begin: int, end: int) -> None:
        for number in range(begin, end):
            await sources.prints(f"{number}\n", f"item-{number % 3}")
            await sources.logs("between\n")

    await write(0, 150)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(write(150, 300))
        async with aclosing(sources.client.console(**options)) as chunks:  # type: ignore[arg-type]
            assert await take(chunks, 300) == [f"{number}\n" for number in range(300)]


async def test_what_was_not_heard_of_several_items_is_read_when_anything_comes(sources: Sources, nats: NatsServer):
    """As in an election, when a leader has stored something and has not passed it on."""
    async with asyncio.timeout(PATIENCE), nats.bus("console") as bus, aclosing(sources.client.console()) as chunks:
        await sources.prints("1", "a")
        seen = await take(chunks, 1)
        config = (await bus.jetstream.stream_info(bus.subjects.console_stream)).config
        await bus.jetstream.update_stream(config.evolve(republish=None))
        await sources.prints("2", "a")
        await sources.logs("not asked for")
        await sources.prints("3", "b")
        await bus.jetstream.update_stream(config)
        await sources.prints("4", "c")
        await sources.prints("5", "a")
        assert seen + await take(chunks, 4) == ["1", "2", "3", "4", "5"]


async def test_pages_bounded_in_bytes_join_without_gap_or_repetition(sources: Sources):
    for number in range(40):
        await sources.prints(f"{number:03} {'x' * (number * 10)}\n")
        await sources.logs("between\n")
    texts, seq, complete = [], 1, False
    while not complete:
        page = await sources.get(printed=True, seq=seq, max_bytes=600)
        assert size_of(page.chunks) <= 600
        texts += [chunk.text for chunk in page.chunks]
        seq, complete = page.next_seq, page.complete
    assert [int(text[:3]) for text in texts] == list(range(40))


async def test_a_bound_counts_what_is_stored_compressed_as_it_is_read(sources: Sources):
    body, head = zlib.compress(b"y" * 9_000), {headers.ENCODING: "zlib"}
    for _ in range(3):
        subject = sources.plans.subjects.console("worker.-")
        await sources.plans.connection.request(subject, body, timeout=PATIENCE, headers=head)
    first = await sources.get(printed=True, max_bytes=20_000)
    assert ([len(chunk.text) for chunk in first.chunks], first.complete) == ([9_000] * 2, False)
    rest = await sources.get(printed=True, max_bytes=1, seq=first.next_seq)
    assert ([len(chunk.text) for chunk in rest.chunks], rest.complete) == ([9_000], True)


async def test_last_lines_are_bounded_in_bytes_at_the_end_of_a_line(sources: Sources):
    await sources.prints("a long first line\nsecond\n")
    await sources.logs("between\n")
    await sources.prints("third\nfourth\n")
    assert "".join(await sources.texts(printed=True, last_lines=4, max_bytes=20)) == "second\nthird\nfourth\n"
    assert "".join(await sources.texts(printed=True, last_lines=4, max_bytes=19)) == "third\nfourth\n"


@pytest.mark.parametrize("number", [0, -1, MOST_BYTES + 1])
async def test_a_bound_beyond_the_bounds_is_refused(sources: Sources, number: int):
    with pytest.raises(InvalidError, match="max_bytes"):
        await sources.client.bus.call_bytes(CONSOLE_GET, b'{"max_bytes": %d}' % number)


def test_of_a_line_that_is_too_long_its_end_is_shown():
    chunks = [ConsoleChunk(seq=i, time=0, source="worker", text=text) for i, text in enumerate(["abc", "d\u00e9f"])]
    assert [chunk.text for chunk in last_bytes(chunks, 3)] == ["\u00e9f"]
    assert [chunk.text for chunk in last_bytes(chunks, 2)] == ["f"]
