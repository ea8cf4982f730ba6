"""Console output and Bluesky documents: what is stored, and then live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple

import structlog
from nats.aio.msg import Msg

from skybus.bus.api.console import CONSOLE_GET, ConsoleChunk, ConsoleGet
from skybus.bus.bodies import LARGEST_DOCUMENT, is_packed
from skybus.bus.connection import Bus
from skybus.bus.console_chunks import PRINTED, chunk_of
from skybus.bus.direct_get import stored_message
from skybus.bus.json_values import read_json
from skybus.bus.provenance import SUBJECT, stored_seq
from skybus.bus.tail import Page, Tail, stored_at
from skybus.client.calls import Calls
from skybus.client.events import document_body

log = structlog.get_logger()

_PAGE = 100
_EVERYTHING = "console.>"
_PATIENCE = 20.0
"""Seconds that the console service has for a page, if requests have no longer."""


class Document(NamedTuple):
    """A Bluesky document, as a callback of the RunEngine gets it."""

    name: str
    doc: dict[str, Any]


async def console(calls: Calls, request: ConsoleGet, *, follow: bool) -> AsyncGenerator[ConsoleChunk]:
    """Go through console output: what the request finds, and with `follow` all that comes after it."""
    bus, pages = calls.bus, _ConsolePages(calls, request)
    if not follow:
        page = await pages.first()
        while True:
            for chunk in page.entries:
                yield chunk
            if page.complete:
                return
            page = await pages.read(page.next_seq)
    tail = Tail(bus, bus.subjects.event(_followed(request)), chunk_of, pages.read)
    async with aclosing(tail.follow(pages.first)) as chunks:
        async for chunk in chunks:
            if chunk.printed or not request.printed:
                yield chunk


def _followed(request: ConsoleGet) -> str:
    """The topic to follow; what is printed has one for each item, so all is followed, and the rest left out."""
    if request.item_uid:
        return f"console.{PRINTED}.{request.item_uid}"
    return f"console.{request.service}" if request.service else _EVERYTHING


async def documents(bus: Bus) -> AsyncGenerator[Document]:
    """Go through the documents of all runs, from now on."""
    pages = DocumentPages(bus)
    tail = Tail(bus, bus.subjects.event("doc.>"), _stored_document, pages.read)
    async with aclosing(tail.follow()) as found:
        async for stored, document in found:
            pages.newest = max(pages.newest, stored)
            yield document


class _ConsolePages:
    """Reads the history with the filters of the request, and later what was missed of that which is followed."""

    def __init__(self, calls: Calls, request: ConsoleGet) -> None:
        self._calls = calls
        self._request = request
        self._follows_all = _followed(request) == _EVERYTHING
        self._has_history = False

    async def first(self) -> Page[ConsoleChunk]:
        return await self._get(self._request)

    async def read(self, seq: int) -> Page[ConsoleChunk]:
        request = self._request.model_copy(update={"seq": seq, "last_lines": None})
        if self._follows_all and self._has_history:
            request = request.model_copy(update={"printed": False})
        return await self._get(request)

    async def _get(self, request: ConsoleGet) -> Page[ConsoleChunk]:
        """Ask the console service, which may just be started again."""
        seconds = max(_PATIENCE, self._calls.settings.request_timeout)
        page = await self._calls.call(CONSOLE_GET, request, timeout=seconds)
        self._has_history = self._has_history or page.complete
        return Page(page.chunks, page.next_seq, page.complete)


class DocumentPages:
    """Reads missed documents one by one: people have no right to more than direct get."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._subject = bus.subjects.document("*", "*")
        self.newest = 0.0
        """When the newest document was stored that was seen."""

    async def read(self, seq: int) -> Page[tuple[float, Document]]:
        """Read from a number on; one beyond the end of a stream that was made anew means its beginning."""
        page = await self._page(seq)
        return page if page.entries or not await self._is_anew(seq) else await self._page(1)

    async def _is_anew(self, seq: int) -> bool:
        """Whether the end is before what was seen and newer: of a copy that is behind, it is older."""
        newest = await self._stored({"last_by_subj": self._subject})
        if newest is None:
            return True
        return self._seq_of(newest) < seq - 1 and stored_at(newest) > self.newest

    async def _page(self, seq: int) -> Page[tuple[float, Document]]:
        found: list[tuple[float, Document]] = []
        size = 0
        while len(found) < _PAGE and size < LARGEST_DOCUMENT:
            message = await self._stored({"seq": seq, "next_by_subj": self._subject})
            if message is None:
                return Page(found, seq, complete=True)
            seq = self._seq_of(message) + 1
            body = await asyncio.to_thread(document_body, message) if is_packed(message) else message.data
            size += len(body or b"")
            if document := _document(message, body):
                found.append(document)
        return Page(found, seq, complete=False)

    def _seq_of(self, message: Msg) -> int:
        return stored_seq(message, self._bus.subjects.docs_stream) or 0

    async def _stored(self, query: dict[str, Any]) -> Msg | None:
        return await stored_message(self._bus, self._bus.subjects.docs_stream, query)


def _stored_document(message: Msg) -> tuple[float, Document] | None:
    """When it was stored, and the document; nothing for what is none."""
    return _document(message, document_body(message))


def _document(message: Msg, body: bytes | None) -> tuple[float, Document] | None:
    subject = (message.headers or {}).get(SUBJECT, message.subject)
    try:
        doc = None if body is None else read_json(body)
    except ValueError as error:
        log.error("a document is not JSON; it is left out", subject=subject, reason=str(error))
        return None
    return (stored_at(message), Document(subject.split(".")[3], doc)) if isinstance(doc, dict) else None
