"""What a service holds of bodies in parts: for a limited time, and not too much."""

from __future__ import annotations

import asyncio
import time

import pytest

from skybus.bus.errors import UnavailableError
from skybus.bus.parts import Parcel, Part
from skybus.bus.uploads import LargeReplies, Upload, Uploads
from tests.promises import PATIENCE


def upload(size: int = 10, user: str = "alice") -> Upload[str]:
    return Upload("add", user, Parcel("add", Part(0, size, size), 100))


async def test_an_upload_is_held_until_its_deadline() -> None:
    uploads = Uploads[str](100)
    uploads.begin("a", upload(), time.time() + 0.01)
    uploads.begin("b", upload(), None)
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
        uploads.begin(token, upload(100), None)
    with pytest.raises(UnavailableError, match="too many"):
        uploads.begin("c", upload(), None)
    uploads.end("a")
    uploads.begin("c", upload(), None)
    for user in "xy":
        uploads.begin(user, upload(100, user), None)
    with pytest.raises(UnavailableError, match="too many"):
        uploads.begin("z", upload(100, "z"), None)
    for token in "bcxy":
        uploads.end(token)


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
