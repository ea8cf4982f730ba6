"""Changes of megabytes: how long they are kept in memory, to be made again."""

from __future__ import annotations

from skybus.queue.recent import Change, RecentChanges


def test_the_oldest_are_forgotten_when_they_have_too_many_bytes() -> None:
    changes = RecentChanges(most_bytes=250)
    for revision in (4, 5, 6):
        words = (4, "HSET", "items", "uid", b"x" * 60)
        changes.tried(Change(revision, key="", answer=b"y" * 20, size="grows", words=words))
        changes.stored(revision + 1)
    assert [change.revision for change in changes.since(5, 7)] == [5, 6]
    assert changes.since(4, 7) == []
