"""What a service holds of bodies in parts: for a limited time, and not too much."""

from __future__ import annotations

import asyncio
import time

import pytest

from skybus.bus.errors import TooManyError, UnavailableError
from skybus.bus.parts import Parcel, Part
from skybus.bus.uploads import LargeReplies, Places, Upload, Uploads
from tests.promises import PATIENCE


def upload(size: int = 10, user: str = "alice", come: int | None = None) -> Upload[str]:
    """A request of which `come` bytes are there, by default all."""
    parcel = Parcel("add", Part(0, size, size), 100)
    parcel.add(parcel.announced, b"x" * (size if come is None else come))
    return Upload("add", user, parcel)


async def test_an_upload_is_held_until_its_deadline() -> None:
    uploads = Uploads[str](100)
    uploads.hold("a", upload(), time.time() + 0.01)
    uploads.hold("b", upload(), None)
    assert uploads.find("a", "alice").purpose == "add"
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                uploads.find("a", "alice")
            except UnavailableError:
                break
            await asyncio.sleep(0)
    assert uploads.find("b", "alice")
    uploads.end("b")


async def test_what_was_ended_leaves_room() -> None:
    uploads = Uploads[str](100)
    for token in "ab":
        uploads.hold(token, upload(100), None)
    with pytest.raises(TooManyError):
        uploads.hold("c", upload(), None)
    uploads.end("a")
    uploads.hold("c", upload(), None)
    for user in "xy":
        uploads.hold(user, upload(100, user), None)
    with pytest.raises(TooManyError):
        uploads.hold("z", upload(100, "z"), None)
    for token in "bcxy":
        uploads.end(token)


async def test_what_is_announced_takes_no_room_before_it_comes() -> None:
    uploads = Uploads[str](100)
    for token in "abcd":
        uploads.hold(token, upload(100, come=1), None)
    uploads.hold("e", upload(100), None)
    for token in "abcde":
        uploads.end(token)


async def test_an_upload_that_grows_too_large_is_held_no_longer() -> None:
    uploads = Uploads[str](100)
    growing = upload(100, come=50)
    uploads.hold("a", growing, None)
    uploads.hold("b", upload(100), None)
    uploads.hold("c", upload(50), None)
    growing.parcel.add(Part(50, 100, 100), b"x" * 50)
    with pytest.raises(TooManyError):
        uploads.hold("a", growing, None)
    with pytest.raises(UnavailableError, match="not held"):
        uploads.find("a", "alice")
    for token in "bc":
        uploads.end(token)


def test_one_user_does_not_take_all_places() -> None:
    places = Places(each=1, together=2)
    with places.take("alice"):
        with pytest.raises(TooManyError), places.take("alice"):
            pass
        with places.take("bob"), pytest.raises(TooManyError), places.take("carol"):
            pass
    with places.take("alice"):
        pass


async def test_the_oldest_reply_is_dropped_for_a_new_one() -> None:
    replies = LargeReplies(10)
    for token in "abc":
        replies.hold(token, token.encode() * 5, 5, "")
    assert [replies.part(token, "", 0, 10) is None for token in "abc"] == [True, False, False]


async def test_a_reply_is_given_in_parts_to_its_requester_alone() -> None:
    replies = LargeReplies(10)
    replies.hold("t", b"12345", 9, "alice")
    assert replies.part("t", "bob", 0, 3) is None
    assert replies.part("t", "alice", 0, 3) == (b"123", {"Sky-Part": "0 5 9", "Sky-More": "t"})
    assert replies.part("t", "alice", 3, 3) == (b"45", {"Sky-Part": "3 5 9"})
    assert replies.part("t", "alice", 3, 3) is None
