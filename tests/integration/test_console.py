"""The console service: what was printed, from a point on, of an item, or the last lines; and following it live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest
from nats.aio.msg import Msg

from skybus.bus import copies, headers
from skybus.bus import tail as tail_module
from skybus.bus.api.console import CONSOLE_GET, LATEST, ConsoleChunk, ConsoleGet, ConsolePage
from skybus.bus.connection import Bus
from skybus.bus.errors import InvalidError, UnavailableError
from skybus.bus.provenance import LAST_SEQUENCE, SEQUENCE, STORED, STREAM, SUBJECT
from skybus.bus.tail import Page, Tail
from skybus.client.calls import Calls
from skybus.client.settings import ClientSettings
from skybus.client.streams import console
from skybus.console.__main__ import serve
from skybus.console.chunks import last_lines
from skybus.console.settings import ConsoleSettings
from skybus.console.stored import StoredStream
from tests.integration.bus_fixtures import reconnected, service
from tests.promises import PATIENCE
from tests.servers import NatsServer, running


def published_again(number: int) -> dict[str, str]:
    """What the server writes when a stream publishes a message again."""
    where = {STREAM: "CONSOLE_sim", SUBJECT: "sky.sim.console.x"}
    return {**where, SEQUENCE: str(number), STORED: "", LAST_SEQUENCE: "0"}


def number_of(message: Msg) -> int:
    return int(message.headers[SEQUENCE])


@dataclass
class Prints:
    """Publishes output as an environment does, and asks as a person."""

    plans: Bus
    people: Bus

    async def put(self, text: str, item: str = "-", *, written: float | None = None) -> int:
        """Print a piece, and wait until it is stored."""
        head = {"Sky-Time": repr(written or time.time()), "Sky-Item": item}
        subject = self.plans.subjects.console(f"worker.{item}")
        reply = await self.plans.connection.request(subject, text.encode(), timeout=PATIENCE, headers=head)
        assert b'"seq"' in reply.data, reply.data
        return int(reply.data.partition(b'"seq":')[2].partition(b",")[0].rstrip(b"}"))

    async def put_many(self, number: int, item: str = "-") -> None:
        await asyncio.gather(*(self.put(f"{item} {i}\n", item) for i in range(number)))

    async def get(self, **fields: object) -> ConsolePage:
        return await self.people.call(CONSOLE_GET, ConsoleGet.model_validate(fields))

    async def text(self, **fields: object) -> str:
        return "".join(chunk.text for chunk in (await self.get(**fields)).chunks)


@pytest.fixture
async def prints(nats: NatsServer) -> AsyncIterator[Prints]:
    settings = ConsoleSettings(data_dir=nats.data_dir)
    async with (
        service(nats.make_bus("console"), serve, settings),
        nats.bus("environment") as plans,
        nats.bus("operator") as people,
    ):
        yield Prints(plans, people)


async def test_empty_console_has_a_place_to_go_on(prints: Prints):
    for fields in ({}, {"last_lines": 5}, {"seq": 1}, {"item_uid": "a"}, {"since": time.time()}):
        page = await prints.get(**fields)
        assert (page.chunks, page.next_seq, page.complete) == ([], 1, True), fields


async def test_chunk_says_when_where_and_during_what(prints: Prints):
    await prints.put("hello\n", "item-1", written=1_700_000_000.25)
    chunk = (await prints.get()).chunks[0]
    where = {"source": "worker", "printed": True, "item_uid": "item-1"}
    assert chunk == ConsoleChunk(seq=1, time=1_700_000_000.25, text="hello\n", **where)


async def test_output_without_headers_has_the_time_it_was_stored(prints: Prints):
    await prints.plans.connection.request(
        prints.plans.subjects.console("worker.-"), b"caf\xc3\xa9 \xff", timeout=PATIENCE
    )
    chunk = (await prints.get()).chunks[0]
    assert abs(chunk.time - time.time()) < 60
    assert (chunk.item_uid, chunk.text) == (None, "café \ufffd")


@pytest.mark.parametrize("written", ["nan", "inf", "1e300", "-1e300", "soon"])
async def test_output_that_claims_an_impossible_time_has_the_time_it_was_stored(prints: Prints, written: str):
    head = {headers.TIME: written}
    await prints.plans.connection.request(prints.plans.subjects.console("worker.-"), b"x", headers=head)
    async with aclosing(console(Calls(prints.people, ClientSettings()), ConsoleGet(seq=1), follow=True)) as chunks:
        assert abs((await anext(chunks)).time - time.time()) < 60
        await prints.plans.connection.request(prints.plans.subjects.console("worker.-"), b"y", headers=head)
        assert abs((await anext(chunks)).time - time.time()) < 60


@pytest.mark.parametrize("place", ['{"since":1e20}', '{"since":NaN}', '{"seq":1000000000000000000000000}'])
async def test_place_that_no_stream_has_is_refused(prints: Prints, place: str):
    with pytest.raises(InvalidError, match="since|seq"):
        await prints.people.call_bytes(CONSOLE_GET, place.encode())
    assert (await prints.get(since=LATEST, seq=(1 << 63) - 1)).chunks == []


async def test_pages_join_without_gap_or_repetition(prints: Prints):
    await prints.put_many(250)
    texts, seq, complete = [], 1, False
    while not complete:
        page = await prints.get(seq=seq, limit=60)
        texts += [chunk.text for chunk in page.chunks]
        seq, complete = page.next_seq, page.complete
    assert len(texts) == len(set(texts)) == 250
    assert seq == 251


async def test_page_is_bounded_in_bytes_and_large_chunk_passes(prints: Prints):
    for _ in range(3):
        await prints.put("x" * 3_000_000)
    first = await prints.get()
    assert 1 <= len(first.chunks) < 3
    assert not first.complete
    last = await prints.get(seq=3)
    assert len(last.chunks[0].text) == 3_000_000
    assert last.complete


async def test_output_of_one_item_leaves_out_the_others(prints: Prints):
    await prints.put_many(50, "a")
    await prints.put("of b\n", "b")
    await prints.put_many(50, "c")
    assert await prints.text(item_uid="b") == "of b\n"
    assert await prints.text(item_uid="b", last_lines=10) == "of b\n"
    assert await prints.text(item_uid="nobody") == ""


@pytest.mark.parametrize("uid", ["*", ">", "a.b", "a b"])
async def test_item_uid_that_would_select_other_output_is_refused(prints: Prints, uid: str):
    with pytest.raises(InvalidError, match="item_uid"):
        await prints.get(item_uid=uid)


async def test_since_leaves_out_what_was_written_before(prints: Prints):
    now = time.time()
    await prints.put("spooled\n", written=now - 100)
    await prints.put("new\n", written=now)
    assert await prints.text(since=now - 10) == "new\n"
    assert await prints.text(since=now + 60) == ""


async def test_last_lines_are_exactly_so_many(prints: Prints):
    await prints.put("".join(f"{i}\n" for i in range(100)))
    await prints.put("a\nb\nc")
    await prints.put("d\ne\n")
    assert await prints.text(last_lines=1) == "e\n"
    assert await prints.text(last_lines=2) == "cd\ne\n"
    assert await prints.text(last_lines=5) == "99\na\nb\ncd\ne\n"
    assert len((await prints.text(last_lines=1000)).splitlines()) == 104


async def test_last_lines_reach_back_over_many_chunks(prints: Prints):
    await prints.put("the very first\n", "early")
    await prints.put_many(1500)
    assert len((await prints.get(last_lines=1000)).chunks) == 1000
    assert await prints.text(last_lines=3, item_uid="early") == "the very first\n"


async def test_last_lines_exclude_a_start(prints: Prints):
    with pytest.raises(InvalidError, match="last_lines"):
        await prints.get(last_lines=3, seq=1)


async def test_expired_output_is_skipped(prints: Prints, nats: NatsServer):
    await prints.put_many(20)
    async with nats.bus("console") as bus:
        await bus.jetstream.purge_stream(nats.subjects.console_stream, seq=11)
        await bus.jetstream.delete_msg(nats.subjects.console_stream, 15)
    page = await prints.get(seq=1)
    assert [chunk.seq for chunk in page.chunks] == [11, 12, 13, 14, 16, 17, 18, 19, 20]
    assert len((await prints.get(last_lines=100)).chunks) == 9
    async with nats.bus("console") as bus:
        await bus.jetstream.purge_stream(nats.subjects.console_stream)
    assert (await prints.get(seq=3)).next_seq == 21


async def test_place_beyond_the_end_means_a_new_stream_and_its_beginning(prints: Prints):
    await prints.put("first of the new\n")
    page = await prints.get(seq=1000)
    assert (page.chunks[0].text, page.next_seq) == ("first of the new\n", 2)


async def test_following_joins_history_and_live_output(prints: Prints):
    await prints.put_many(1200)
    seen: list[int] = []
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(prints.put_many(800))
        async with aclosing(console(Calls(prints.people, ClientSettings()), ConsoleGet(seq=1), follow=True)) as chunks:
            async for chunk in chunks:
                seen.append(chunk.seq)
                if chunk.seq == 2000:
                    break
    assert seen == list(range(1, 2001))


async def test_following_goes_on_after_the_server_was_gone(nats: NatsServer):
    settings = ConsoleSettings(data_dir=nats.data_dir)
    people = nats.make_bus("operator")
    async with (
        service(nats.make_bus("console"), serve, settings) as process,
        running(people),
        nats.bus("environment") as plans,
    ):
        prints = Prints(plans, people)
        await prints.put("before\n")
        async with (
            asyncio.timeout(PATIENCE),
            aclosing(console(Calls(people, ClientSettings()), ConsoleGet(seq=1), follow=True)) as chunks,
        ):
            texts = [(await anext(chunks)).text]
            async with reconnected(plans, process.bus):
                nats.stop()
                await nats.start()
            await prints.put("while you were away\n")
            await prints.put("after\n")
            texts += [(await anext(chunks)).text for _ in range(2)]
        assert texts == ["before\n", "while you were away\n", "after\n"]


async def test_what_is_refused_is_skipped_where_nobody_waits_for_it(nats: NatsServer):
    async def read(_: int) -> Page[int]:
        raise InvalidError("no")

    async with nats.bus("console") as bus, asyncio.timeout(PATIENCE):
        subject = bus.subjects.event("console.>")
        tail = Tail(bus, subject, number_of, read, skip_unreadable=True)
        async with aclosing(tail.follow()) as numbers:
            first = asyncio.create_task(anext(numbers))
            await asyncio.sleep(0)
            for number in (1, 5):
                await bus.connection.publish(bus.subjects.event("console.x"), headers=published_again(number))
            assert [await first, await anext(numbers)] == [1, 5]


async def test_who_follows_waits_for_the_first_page_as_for_any_other(nats: NatsServer, monkeypatch):
    """As in an election: nobody can read the stream."""
    monkeypatch.setattr(tail_module, "_AGAIN", 0.0)
    refusals = [UnavailableError("an election")] * 3

    async def read(seq: int) -> Page[int]:
        if refusals:
            raise refusals.pop()
        return Page([seq, seq + 1], seq + 2, complete=True)

    async with nats.bus("console") as bus, asyncio.timeout(PATIENCE):
        tail = Tail(bus, bus.subjects.event("console.>"), number_of, read)
        async with aclosing(tail.follow(lambda: read(1))) as numbers:
            assert [await anext(numbers) for _ in range(2)] == [1, 2]


async def test_what_was_announced_is_waited_for_while_the_copy_that_is_read_is_behind(nats: NatsServer, monkeypatch):
    monkeypatch.setattr(copies, "_BEHIND", 0)
    ends = [3, 3, 3, 3, 6]

    async def read(seq: int) -> Page[int]:
        end = ends.pop(0)
        return Page(list(range(seq, end + 1)), end + 1, complete=True)

    async with nats.bus("console") as bus, asyncio.timeout(PATIENCE):
        tail = Tail(bus, bus.subjects.event("console.>"), number_of, read)
        async with aclosing(tail.follow(lambda: read(1))) as numbers:
            seen = [await anext(numbers) for _ in range(3)]
            await bus.connection.publish(bus.subjects.event("console.x"), headers=published_again(6))
            assert [*seen, *[await anext(numbers) for _ in range(3)]] == [1, 2, 3, 4, 5, 6]


async def test_what_was_not_heard_of_one_item_is_read_when_its_next_output_comes(prints: Prints, nats: NatsServer):
    """As in an election, when a leader has stored something and has not passed it on."""
    request = ConsoleGet(item_uid="a", seq=1)
    async with asyncio.timeout(PATIENCE), nats.bus("console") as bus:
        await prints.put("1", "a")
        async with aclosing(console(Calls(prints.people, ClientSettings()), request, follow=True)) as chunks:
            seen = [await anext(chunks)]
            config = (await bus.jetstream.stream_info(bus.subjects.console_stream)).config
            await bus.jetstream.update_stream(config.evolve(republish=None))
            await prints.put("2", "a")
            await bus.jetstream.update_stream(config)
            for text, item in (("3", "b"), ("4", "a"), ("5", "b"), ("6", "a")):
                await prints.put(text, item)
            seen += [await anext(chunks) for _ in range(3)]
        assert [chunk.text for chunk in seen] == ["1", "2", "4", "6"]


@pytest.mark.parametrize(
    ("texts", "number", "expected"),
    [
        (["a\nb\n"], 1, ["b\n"]),
        (["a\nb"], 1, ["b"]),
        (["a\n", "b\n", "c\n"], 2, ["b\n", "c\n"]),
        (["a\nb", "c\n"], 1, ["b", "c\n"]),
        (["a\nb", "", "c\n"], 2, ["a\nb", "", "c\n"]),
        ([], 3, []),
        (["\n\n\n"], 2, ["\n\n"]),
    ],
)
def test_lines_are_cut_from_chunks(texts: list[str], number: int, expected: list[str]):
    chunks = [ConsoleChunk(seq=i, time=0, source="worker", text=text) for i, text in enumerate(texts)]
    assert [chunk.text for chunk in last_lines(chunks, number)] == expected


async def test_a_stream_for_which_no_server_answers_is_unavailable(nats: NatsServer):
    """As during the election of its leader."""
    async with nats.bus("console") as bus:
        with pytest.raises(UnavailableError, match="no server answers"):
            await StoredStream(bus, "NOT_THERE").read("sky.sim.console.>", seq=1, batch=1, max_bytes=1000)
