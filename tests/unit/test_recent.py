"""Changes that can be made once more: only those that are known to be stored, and only without a gap."""

from __future__ import annotations

from skybus.queue import recent
from skybus.queue.recent import Change, RecentChanges


def change(revision: int) -> Change:
    return Change(revision, key="", answer=b"", size="small", words=[1, "DEL", f"key {revision}"])


def stored(*revisions: int) -> RecentChanges:
    changes = RecentChanges()
    for revision in revisions:
        changes.tried(change(revision))
        changes.stored(revision + 1)
    return changes


def revisions(changes: RecentChanges, since: int, until: int) -> list[int]:
    return [change.revision for change in changes.since(since, until)]


def test_what_leads_from_one_revision_to_another_is_found() -> None:
    assert revisions(stored(4, 5, 6), 5, 7) == [5, 6]


def test_with_a_gap_there_is_nothing() -> None:
    assert revisions(stored(4, 6), 4, 7) == []
    assert revisions(stored(4, 5), 3, 6) == []


def test_a_change_of_which_nothing_was_known_counts_if_it_is_found_to_be_stored() -> None:
    changes = stored(4)
    changes.tried(change(5))  # and Redis did not confirm it
    changes.stored(6)  # as it is read again
    assert revisions(changes, 4, 6) == [4, 5]
    changes.tried(change(6))
    changes.stored(6)
    assert revisions(changes, 4, 7) == []


def test_the_oldest_are_forgotten_when_there_are_too_many_words(monkeypatch) -> None:
    monkeypatch.setattr(recent, "MOST_WORDS", 6)
    assert revisions(stored(4, 5, 6), 5, 7) == [5, 6]
    assert revisions(stored(4, 5, 6), 4, 7) == []
