"""Console output and Bluesky documents: what is stored, and then live."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple

import orjson
from nats.aio.msg import Msg

from skybus.bus.api.console import CONSOLE_GET, ConsoleChunk, ConsoleGet
from skybus.bus.bodies import body_of
from skybus.bus.connection import Bus
from skybus.bus.console_chunks import chunk_of
from skybus.bus.copies import Looks
from skybus.bus.tail import Page, Tail, sequence_of
from skybus.client.calls import Calls

_PAGE = 100
_PATIENCE = 20.0
"""Seconds that the console service has for a page."""


class Document(NamedTuple):
    """A Bluesky document, as a callback of the RunEngine gets it."""

    name: str
    doc: dict[str, Any]


async def console(calls: Calls, request: ConsoleGet, *, follow: bool) -> AsyncGenerator[ConsoleChunk]:
    """Go through console output: what the request finds, and with `follow` all that comes after it."""
    bus, pages = calls.bus, _ConsolePages(calls, request)
    subject = f"console.worker.{request.item_uid}" if request.item_uid else "console.>"
    if not follow:
        page = await pages.first()
        while True:
            for chunk in page.entries:
                yield chunk
            if page.complete:
                return
            page = await pages.read(page.next_seq)
    tail = Tail(bus, bus.subjects.event(subject), chunk_of, pages.read, is_whole=request.item_uid is None)
    async with aclosing(tail.follow(pages.first)) as chunks:
        async for chunk in chunks:
            yield chunk


async def documents(bus: Bus) -> AsyncGenerator[Document]:
    """Go through the documents of all runs, from now on."""
    subject = bus.subjects.document("*", "*")
    tail = Tail(bus, bus.subjects.event("doc.>"), _document_of, lambda seq: _documents_from(bus, subject, seq))
    async with aclosing(tail.follow()) as found:
        async for document in found:
            yield document


class _ConsolePages:
    def __init__(self, calls: Calls, request: ConsoleGet) -> None:
        self._calls = calls
        self._request = request

    async def first(self) -> Page[ConsoleChunk]:
        return await self._get(self._request)

    async def read(self, seq: int) -> Page[ConsoleChunk]:
        return await self._get(ConsoleGet(seq=seq, item_uid=self._request.item_uid, since=self._request.since))

    async def _get(self, request: ConsoleGet) -> Page[ConsoleChunk]:
        """Ask the console service, which may just be started again."""
        page = await self._calls.call(CONSOLE_GET, request, timeout=_PATIENCE)
        return Page(page.chunks, page.next_seq, page.complete)


async def _documents_from(bus: Bus, subject: str, seq: int) -> Page[Document]:
    """Read missed documents; a number beyond the end means that the stream was made anew."""
    page = await _documents_page(bus, subject, seq)
    if page.entries or not await _is_beyond(bus, subject, seq):
        return page
    return await _documents_page(bus, subject, 1)


async def _is_beyond(bus: Bus, subject: str, seq: int) -> bool:
    """Whether documents up to a number have never been stored; the copy that is asked may be behind."""
    async for _ in Looks():
        newest = sequence_of(await _stored(bus, {"last_by_subj": subject})) or 0
        if newest >= seq - 1:
            return False
    return True


async def _documents_page(bus: Bus, subject: str, seq: int) -> Page[Document]:
    """Read documents one by one: people have no right to more than direct get."""
    found: list[Document] = []
    while len(found) < _PAGE:
        message = await _stored(bus, {"seq": seq, "next_by_subj": subject})
        stored = sequence_of(message)
        if stored is None:
            return Page(found, seq, complete=True)
        found.append(_document_of(message))
        seq = stored + 1
    return Page(found, seq, complete=False)


async def _stored(bus: Bus, query: dict[str, Any]) -> Msg:
    return await bus.request_raw(f"$JS.API.DIRECT.GET.{bus.subjects.docs_stream}", orjson.dumps(query))


def _document_of(message: Msg) -> Document:
    name = (message.headers or {}).get("Nats-Subject", message.subject).split(".doc.")[1].split(".")[0]
    return Document(name, orjson.loads(body_of(message)))
