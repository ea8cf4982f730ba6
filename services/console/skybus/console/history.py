"""Answering what was printed: pages of the console stream, and its last lines."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import NamedTuple

from nats.aio.msg import Msg

from skybus.bus.api.console import CONSOLE_GET, MOST_BYTES, PAGE_BYTES, ConsoleChunk, ConsoleGet, ConsolePage
from skybus.bus.console_chunks import PRINTED
from skybus.bus.errors import InvalidError
from skybus.bus.service import Handler
from skybus.bus.subjects import Subjects
from skybus.console.chunks import chunks_before, count_breaks, first_chunks, last_bytes, last_lines, size_of
from skybus.console.stored import End, StoredStream

_SMALLEST_WINDOW, _FIRST_WINDOW, _GROWTH = 8, 128, 4
"""Messages that are read first, of few lines as many as lines are wanted; each window after has so many times more."""
_TOKEN = re.compile(r"[^\s.*>]+")


class _Window(NamedTuple):
    """Messages between two numbers of the stream."""

    messages: list[Msg]
    is_cut: bool
    """Whether the first ones were left out."""


class ConsoleHistory:
    """What the console stream still has."""

    def __init__(self, stream: StoredStream, subjects: Subjects) -> None:
        self._stream = stream
        self._subjects = subjects

    def table(self) -> list[Handler[ConsoleGet, ConsolePage]]:
        """Who answers what."""
        return [Handler(CONSOLE_GET, self.get)]

    async def get(self, request: ConsoleGet) -> ConsolePage:
        """Read console output."""
        subject = self._filter(request)
        if request.last_lines is None:
            return await self._page(subject, request)
        if request.since is not None or request.seq is not None:
            raise InvalidError("'last_lines' goes with neither 'since' nor 'seq'")
        return await self._last(subject, request, request.last_lines)

    def _filter(self, request: ConsoleGet) -> str:
        """The subject that has what is asked for, and nothing else."""
        item_uid, service = request.item_uid, request.service
        if service and (item_uid or request.printed):
            raise InvalidError("'service' goes with neither 'item_uid' nor 'printed': no service logs for an item")
        if item_uid is not None and not _TOKEN.fullmatch(item_uid):
            raise InvalidError(f"item_uid {item_uid!r} cannot be that of an item")
        if service:
            return self._subjects.console(service)
        if item_uid or request.printed:
            return self._subjects.console(f"{PRINTED}.{item_uid or '*'}")
        return self._subjects.console(">")

    async def _page(self, subject: str, request: ConsoleGet) -> ConsolePage:
        found = await self._read(subject, request)
        is_sure = found.next_seq > 0 and self._stream.is_single
        return found if is_sure or not found.complete else await self._page_at_end(subject, request)

    async def _page_at_end(self, subject: str, request: ConsoleGet) -> ConsolePage:
        """Read again, now knowing where the end is; a number beyond it means that the stream was made anew."""
        seq = request.seq or 1
        end = await self._stream.end(at_least=seq - 1)
        wanted = request.model_copy(update={"seq": 1}) if seq > end.seq + 1 else request
        found = await self._read(subject, wanted, await self._reach(end, request))
        return found if found.next_seq else ConsolePage(chunks=[], next_seq=end.seq + 1, complete=True)

    async def _reach(self, end: End, request: ConsoleGet) -> int:
        """How far the copy that answers must be.

        An answer that leaves something out does not show that; the copy is looked at before, which as a rule is the
        same that answers then.
        """
        if not (request.item_uid or request.printed or request.service):
            return end.newest
        await self._stream.last(self._subjects.console(">"), end.newest)
        return 0

    async def _read(self, subject: str, request: ConsoleGet, until: int = 0) -> ConsolePage:
        """Read a page; `next_seq` is 0 if nothing is there."""
        most = request.max_bytes or PAGE_BYTES
        batch = await self._stream.read(
            subject, seq=request.seq, since=request.since, batch=request.limit, max_bytes=most, until=until
        )
        chunks = await asyncio.to_thread(first_chunks, batch.messages, most)
        next_seq = chunks[-1].seq + 1 if chunks else 0
        wanted = [chunk for chunk in chunks if request.since is None or chunk.time >= request.since]
        is_all = batch.pending == 0 and len(chunks) == len(batch.messages)
        return ConsolePage(chunks=wanted, next_seq=next_seq, complete=is_all)

    async def _last(self, subject: str, request: ConsoleGet, number: int) -> ConsolePage:
        end_of_all = await self._stream.end()
        newest = await self._stream.last(subject, await self._reach(end_of_all, request))
        if newest is None:
            return ConsolePage(chunks=[], next_seq=end_of_all.seq + 1, complete=True)
        end = self._stream.seq_of(newest)
        most = request.max_bytes or MOST_BYTES
        chunks = await self._backwards(subject, end, number, most)
        return ConsolePage(chunks=last_bytes(last_lines(chunks, number), most), next_seq=end + 1, complete=True)

    async def _backwards(self, subject: str, end: int, number: int, most: int) -> list[ConsoleChunk]:
        """Read windows from the end on, each larger than the one before, until there are enough lines or bytes."""
        chunks: list[ConsoleChunk] = []
        window = min(max(number, _SMALLEST_WINDOW), _FIRST_WINDOW)
        while end > 0 and count_breaks(chunks) <= number and size_of(chunks) < most:
            start = max(1, end - window + 1)
            found = await self._window(subject, start, end, most)
            chunks = await asyncio.to_thread(chunks_before, chunks, found.messages, number, most)
            end, window = 0 if found.is_cut else start - 1, window * _GROWTH
        return chunks

    async def _window(self, subject: str, start: int, end: int, most: int) -> _Window:
        """Read the messages between two numbers; of those that have more than `most` bytes together, the last."""
        messages, size, is_cut = deque[Msg](), 0, False
        while start <= end:
            batch = await self._stream.read(
                subject, seq=start, batch=min(end - start + 1, 1000), max_bytes=PAGE_BYTES, until=end
            )
            found = [message for message in batch.messages if self._stream.seq_of(message) <= end]
            messages += found
            size += sum(len(message.data) for message in found)
            while messages and size - len(messages[0].data) >= most:
                size -= len(messages.popleft().data)
                is_cut = True
            if not batch.messages or batch.pending == 0:
                break
            start = batch.end + 1
        return _Window(list(messages), is_cut)
