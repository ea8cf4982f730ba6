"""A copy of the console stream that is behind is not believed.

How far a real copy is behind cannot be had at will, so the copies here are canned: each question may go to another one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js.api import StreamState

from skybus.bus import copies
from skybus.bus.api.console import ConsoleGet
from skybus.bus.errors import UnavailableError
from skybus.bus.provenance import SEQUENCE, STORED, STREAM
from skybus.bus.subjects import Subjects
from skybus.console.history import ConsoleHistory
from skybus.console.stored import Batch, StoredStream

SUBJECTS = Subjects("sim")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Copies(StoredStream):
    """The ends that a leader says and those of the copies that answer, one after the other."""

    def __init__(self, ends: list[int], held: list[int]) -> None:
        super().__init__(SimpleNamespace(replicas=3), SUBJECTS.console_stream)  # pyright: ignore[reportArgumentType]
        self._ends, self._held = ends, held

    async def _state(self) -> StreamState:
        end = next_of(self._ends)
        return StreamState(messages=end, bytes=0, first_seq=1, last_seq=end, consumer_count=0)

    async def _ask(self, query: dict[str, Any]) -> Batch:
        held = next_of(self._held)
        if "last_by_subj" in query:
            return Batch([stored(held)], 0, held)
        first = query.get("seq") or second_of(query["start_time"])
        found = [stored(seq) for seq in range(first, held + 1)][: query["batch"]]
        return Batch(found, max(held + 1 - first - len(found), 0), first + len(found) - 1 if found else 0)


def second_of(time: str) -> int:
    return round((datetime.fromisoformat(time) - BEGIN).total_seconds())


def next_of(values: list[int]) -> int:
    """The last one stays."""
    return values.pop(0) if len(values) > 1 else values[0]


def stored(seq: int) -> Msg:
    """One each second."""
    time = (BEGIN + timedelta(seconds=seq)).isoformat()
    head = {STREAM: SUBJECTS.console_stream, SEQUENCE: str(seq), STORED: time}
    return Msg(_client=None, subject=SUBJECTS.console("worker.-"), data=b"line\n", headers=head)  # pyright: ignore[reportArgumentType]


async def read(ends: list[int], held: list[int], **fields: object) -> tuple[list[int], int]:
    """Numbers of a page, and where to go on."""
    page = await ConsoleHistory(Copies(ends, held), SUBJECTS).get(ConsoleGet.model_validate(fields))
    return [chunk.seq for chunk in page.chunks], page.next_seq


async def test_a_page_has_all_that_the_leader_has():
    assert await read([12], [10, 10, 9, 12], seq=9) == ([9, 10, 11, 12], 13)
    assert await read([12], [10, 10, 10, 12], seq=11) == ([11, 12], 13)
    assert await read([], [10], seq=1, limit=4) == ([1, 2, 3, 4], 5)  # the leader is not asked
    assert await read([12], [11], seq=13) == ([], 13)


async def test_nothing_new_is_believed_of_a_copy_that_is_not_behind():
    assert await read([12], [10, 10, 10, 12], since=2e9) == ([], 13)


async def test_what_one_copy_lacks_is_read_from_another_one_that_has_something_as_new():
    assert await read([12], [10, 10, 12, 12], since=BEGIN.timestamp() + 11) == ([11, 12], 13)


async def test_the_last_lines_are_those_of_the_leader():
    assert await read([12], [10, 12, 11, 12], last_lines=5) == ([8, 9, 10, 11, 12], 13)


@pytest.mark.parametrize("place", [{"seq": 11}, {"since": 2e9}, {"last_lines": 5}])
async def test_copies_that_stay_behind_are_not_read(monkeypatch, place: dict[str, int]):
    monkeypatch.setattr(copies, "_BEHIND", 0)
    with pytest.raises(UnavailableError, match="behind"):
        await read([12], [10], **place)


async def test_a_leader_that_does_not_know_yet_that_it_is_none_is_asked_again():
    assert await read([5, 5, 12], [12], seq=10) == ([10, 11, 12], 13)


async def test_an_end_that_stays_before_what_was_known_is_that_of_a_new_stream(monkeypatch):
    monkeypatch.setattr(copies, "_BEHIND", 0)
    assert await read([2], [2], seq=10) == ([1, 2], 3)
