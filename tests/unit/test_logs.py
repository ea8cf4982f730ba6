"""Log lines on their way into the console stream."""

from __future__ import annotations

import asyncio

from skybus.bus import logs
from skybus.bus.logs import LARGEST_BATCH, LONGEST_LINE, Lines
from tests.promises import PATIENCE


async def _lines(*texts: str) -> Lines:
    lines = Lines()
    with lines.listening() as added:
        for text in texts:
            lines.msg(text)
        await asyncio.wait_for(added.wait(), PATIENCE)
        await asyncio.sleep(0)
    return lines


async def test_lines_become_messages_of_bounded_size_in_order():
    lines = await _lines(*(f"{n} {'x' * 10_000}" for n in range(200)))
    batches = []
    while batch := lines.take():
        batches.append(batch.text)
    assert len(batches) > 1
    assert max(map(len, batches)) <= LARGEST_BATCH
    assert [line.split()[0] for line in "".join(batches).splitlines()] == [str(n) for n in range(200)]


async def test_a_huge_line_is_cut_and_says_so():
    batch = (await _lines("y" * (3 * LARGEST_BATCH))).take()
    assert batch
    assert len(batch.text) < LONGEST_LINE + 100
    assert f"({3 * LARGEST_BATCH} characters" in batch.text


async def test_the_oldest_lines_make_room_when_the_bus_is_away_for_long(monkeypatch):
    monkeypatch.setattr(logs, "KEPT_LINES", 3)
    batch = (await _lines(*"abcde")).take()
    assert batch
    assert batch.text == "c\nd\ne\n"
