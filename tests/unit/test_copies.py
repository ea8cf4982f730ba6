"""A copy of a stream that is behind is waited for.

How far a real copy is behind cannot be had at will, so the copies here are canned.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js.api import StreamState

from skybus.bus import copies
from skybus.bus.errors import UnavailableError
from skybus.console.stored import Batch, StoredStream


class Copy(StoredStream):
    """One of three copies: what its leader says is the end, and what it has itself, one after the other."""

    def __init__(self, ends: list[int], held: list[int]) -> None:
        super().__init__(SimpleNamespace(replicas=3), "CONSOLE_sim")  # pyright: ignore[reportArgumentType]
        self._ends, self._held = ends, held

    async def _state(self) -> StreamState:
        end = self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]
        return StreamState(messages=end, bytes=0, first_seq=1, last_seq=end, consumer_count=0)

    async def _ask(self, query: dict[str, Any]) -> Batch:
        held = self._held.pop(0) if len(self._held) > 1 else self._held[0]
        return Batch([Msg(_client=None)] if query["seq"] <= held else [], 0)  # pyright: ignore[reportArgumentType]


async def test_the_end_is_told_when_the_copy_that_is_read_has_got_so_far():
    held = [10, 10, 12]
    assert await Copy([12], held).end() == 12
    assert held == [12]


async def test_a_copy_that_stays_behind_is_not_read(monkeypatch):
    monkeypatch.setattr(copies, "_BEHIND", 0)
    with pytest.raises(UnavailableError, match="behind"):
        await Copy([12], [10]).end()


async def test_a_leader_that_does_not_know_yet_that_it_is_none_is_asked_again():
    assert await Copy([5, 5, 12], [12]).end(at_least=9) == 12


async def test_an_end_that_stays_before_what_was_known_is_that_of_a_new_stream():
    assert await Copy([5], [12]).end(at_least=9) == 5
