"""Which items a request means and where they go: the reference's rules of positions and uids."""

from __future__ import annotations

from skybus.bus.api.items import Item
from skybus.bus.api.queue import ItemMove, ItemMoveBatch, ItemRef
from skybus.bus.errors import ConflictError, InvalidError, NotFoundError
from skybus.queue.book import Book
from skybus.queue.line import Line, Position


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
    _require_one_of_each(request)
    line = book.line
    reference = request.before_uid if request.before_uid is not None else request.after_uid
    source = _found(book, "Source", request.uid, request.pos)
    destination = _found(book, "Destination", reference, request.pos_dest)
    if destination == source:
        return line.item(source)
    index, place = line.index(source), line.index(destination)
    target = place if reference is None else _beside(place, index, is_behind=request.after_uid is not None)
    return line.item(source) if target == index else book.move([source], target)[0]


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


def _require_one_of_each(request: ItemMove) -> None:
    if request.pos is None and request.uid is None:
        raise InvalidError("Source position or UID is not specified.")
    if request.pos is not None and request.uid is not None:
        raise InvalidError("Ambiguous parameters: Both position and uid is specified for the source plan.")
    given = [name for name in ("pos_dest", "before_uid", "after_uid") if getattr(request, name) is not None]
    if len(given) != 1:
        raise InvalidError(
            "Destination position or UID is not specified." if not given else f"Ambiguous parameters: {given}"
        )


def _found(book: Book, what: str, uid: str | None, pos: Position | None) -> str:
    """The uid of one end of a move."""
    try:
        if uid is None:
            return book.line.uid_at("back" if pos is None else pos)
        book.find(uid)
        return uid
    except (NotFoundError, ConflictError) as error:
        named = f"position {pos}" if uid is None else f"UID '{uid}'"
        raise type(error)(f"{what} plan ({named}) was not found: {error.message}") from None


def _beside(place: int, index: int, *, is_behind: bool) -> int:
    """Before or behind another item, counted in the queue without the one that moves."""
    place += is_behind
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
