"""Messages of megabytes are written in pieces and read in a thread, as small ones are written and read at once."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import orjson
import pytest

from skybus.bus.api.queue import ItemAddBatch, QueuePage
from skybus.bus.errors import InvalidError
from skybus.bus.large_bodies import LARGE, is_large, pieces, read, write
from skybus.bus.messages import decode_request, encode

LONG_TEXT = "ä" * LARGE
ITEM = {"name": "count", "args": [["det1", 'a "text"']], "kwargs": {"num": 2**70, "delay": 0.1}}


def page(items: list[Any], running: dict[str, Any]) -> QueuePage:
    return QueuePage.model_construct(items=items, running_item=running, plan_queue_uid="u", qsize=len(items))


LARGE_ONES = [
    page([{**ITEM, "item_uid": str(n)} for n in range(10_000)], {}),
    page([{"args": [[n / 7 for n in range(50_000)], {}]}, {}], {"deep": [[{"list": list(range(50_000))}]]}),
    page([{"meta": {"text": LONG_TEXT, 'the "key"': 1, "another": LONG_TEXT}}], {1: [LONG_TEXT, [], {}, None]}),
    page([], {"": {str(n): [True, None] for n in range(50_000)}}),
]


@pytest.mark.parametrize("message", LARGE_ONES)
async def test_a_large_message_is_written_as_a_small_one_is(message: QueuePage) -> None:
    assert is_large(message)
    assert orjson.loads(await write(message)) == orjson.loads(encode(message))


def test_no_piece_is_much_larger_than_the_others_so_that_other_threads_run_between_them() -> None:
    written = list(pieces(LARGE_ONES[0]))
    assert max(map(len, written)) < 2 * LARGE
    assert len(written) > sum(map(len, written)) / (2 * LARGE)


async def test_integers_beyond_64_bits_are_kept() -> None:
    body = await write(LARGE_ONES[0])
    assert body.count(str(2**70).encode()) == 10_000


async def test_what_is_too_deep_for_json_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(InvalidError):
        await write(page(deep, {}))


async def test_a_large_request_is_read_beside_the_event_loop_and_without_garbage_collections() -> None:
    seen: list[tuple[bool, bool]] = []

    def decode(cls: type[ItemAddBatch], body: bytes) -> ItemAddBatch:
        seen.append((threading.current_thread() is threading.main_thread(), gc.isenabled()))
        return decode_request(cls, body)

    body = orjson.dumps({"items": LARGE_ONES[1].items})
    both = await asyncio.gather(read(decode, ItemAddBatch, body), read(decode, ItemAddBatch, body))
    assert [request.items for request in both] == [LARGE_ONES[1].items] * 2
    await read(decode, ItemAddBatch, b'{"items":[]}')
    assert seen == [(False, False), (False, False), (True, True)]


async def test_a_large_request_that_is_wrong_is_refused_as_a_small_one_is() -> None:
    with pytest.raises(InvalidError, match="unsupported parameter 'more'"):
        await read(decode_request, ItemAddBatch, orjson.dumps({"items": [], "more": LONG_TEXT}))
    assert gc.isenabled()
