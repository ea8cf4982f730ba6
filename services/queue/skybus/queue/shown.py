"""What is shown of the book: how it was stored last, whatever is being done to it or has failed."""

from __future__ import annotations

from dataclasses import dataclass

from skybus.queue.book import Book
from skybus.queue.locks import Lock
from skybus.queue.records import Flags, Running, RunningTask


@dataclass(frozen=True)
class Shown:
    """The small parts of a book at one moment; of the queue, which may be long, only how many wait."""

    items_in_queue: int
    items_in_history: int
    running: Running | None
    tasks: dict[str, RunningTask]
    """By uid."""
    lock: Lock
    flags: Flags
    revision: int

    @classmethod
    def of(cls, book: Book) -> Shown:
        """What a book shows now; its parts are never altered, but the table of tasks is."""
        return cls(
            items_in_queue=len(book.line),
            items_in_history=book.history_size,
            running=book.running,
            tasks=dict(book.tasks),
            lock=book.lock,
            flags=book.flags,
            revision=book.revision,
        )
