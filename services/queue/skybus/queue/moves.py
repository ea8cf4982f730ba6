"""Which items a request means and where they go: the reference's rules of positions and uids."""

from __future__ import annotations

from skybus.bus.api.items import Item
from skybus.bus.api.queue import ItemMove, ItemMoveBatch, ItemRef
from skybus.bus.errors import InvalidError, NotFoundError
from skybus.queue.book import Book
from skybus.queue.line import Line


def referred(line: Line, request: ItemRef) -> str:
    """The uid of the item that a request names; by default the last."""
    if request.uid is not None and request.pos is not None:
        raise InvalidError("Ambiguous parameters: plan position and UID is specified")
    return request.uid if request.uid is not None else line.uid_at("back" if request.pos is None else request.pos)


def removable(line: Line, uids: list[str], *, ignore_missing: bool) -> list[str]:
    """Those of the uids that can be taken out."""
    if not ignore_missing:
        _require_unique_and_present(line, uids)
    return [uid for uid in dict.fromkeys(uids) if uid in line]


def move_one(book: Book, request: ItemMove) -> Item:
    """Move one item to a position, or before or after another."""
    line = book.line
    source = _source(book, request)
    index = line.index(source)
    reference = request.before_uid if request.before_uid is not None else request.after_uid
    if reference is not None:
        book.find(reference)
    if reference == source:
        return line.item(source)
    target = _target(line, request, index)
    if target == index:
        return line.item(source)
    return book.move([source], target)[0]


def move_many(book: Book, request: ItemMoveBatch) -> list[Item]:
    """Move items together."""
    given = [name for name in ("pos_dest", "before_uid", "after_uid") if getattr(request, name) is not None]
    if len(given) != 1:
        raise InvalidError(
            "Destination for the batch is not specified: use parameters 'pos_dest', 'before_uid' or 'after_uid'"
            if not given
            else f"more than one mutually exclusive parameter: {', '.join(given)}"
        )
    line = book.line
    _require_unique_and_present(line, request.uids)
    uids = sorted(request.uids, key=line.index) if request.reorder else request.uids
    if not uids:
        return []
    return book.move(uids, _batch_target(line, request, uids))


def _source(book: Book, request: ItemMove) -> str:
    if request.pos is None and request.uid is None:
        raise InvalidError("Source position or UID is not specified.")
    if request.pos is not None and request.uid is not None:
        raise InvalidError("Ambiguous parameters: Both position and uid is specified for the source plan.")
    given = [name for name in ("pos_dest", "before_uid", "after_uid") if getattr(request, name) is not None]
    if len(given) != 1:
        raise InvalidError(
            "Destination position or UID is not specified." if not given else f"Ambiguous parameters: {given}"
        )
    if request.uid is not None:
        book.find(request.uid)
        return request.uid
    assert request.pos is not None
    return book.line.uid_at(request.pos)


def _target(line: Line, request: ItemMove, index: int) -> int:
    """Where the item goes, counted in the queue without it."""
    if request.pos_dest is not None:
        return line.index(line.uid_at(request.pos_dest))
    if request.before_uid is not None:
        place = line.index(request.before_uid)
    else:
        place = line.index(str(request.after_uid)) + 1
    return place - 1 if index < place else place


def _batch_target(line: Line, request: ItemMoveBatch, uids: list[str]) -> int:
    if request.pos_dest is not None:
        return 0 if request.pos_dest == "front" else len(line) - len(uids)
    reference, name = (
        (request.before_uid, "before_uid") if request.before_uid is not None else (request.after_uid, "after_uid")
    )
    assert reference is not None
    if reference in uids:
        raise InvalidError(f"Parameter {name!r}: item with UID '{reference}' is in the batch")
    place = line.index(reference) + (1 if name == "after_uid" else 0)
    return place - sum(1 for uid in uids if line.index(uid) < place)


def _require_unique_and_present(line: Line, uids: list[str]) -> None:
    repeated = len(uids) - len(set(uids))
    if repeated:
        raise InvalidError(f"The list of contains repeated UIDs ({repeated} UIDs)")
    missing = [uid for uid in uids if uid not in line]
    if missing:
        raise NotFoundError(f"The queue does not contain items with the following UIDs: {missing}")
