"""What a service has in hand of one user, and of all, is bounded."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from skybus.bus.errors import TooManyError
from skybus.bus.in_flight import USERS, InFlight, Share


def test_the_requests_of_one_user_leave_room_for_others() -> None:
    hand = InFlight(Share(requests=2, bytes=100))
    with hand.take("alice", 1), hand.take("alice", 1):
        with pytest.raises(
            TooManyError, match="'alice' has 2 requests of 2 bytes in hand here, .* come again in 1 s"
        ) as no:
            hand.take("alice", 1).__enter__()
        assert no.value.retry_after == 1
        with hand.take("bob", 1):
            pass
    with hand.take("alice", 1):
        pass


def test_the_bytes_of_one_user_are_bounded_but_one_request_is_always_taken() -> None:
    hand = InFlight(Share(requests=10, bytes=100))
    with hand.take("alice", 1000), pytest.raises(TooManyError), hand.take("alice", 1):
        pass
    with hand.take("alice", 60), hand.take("alice", 40), pytest.raises(TooManyError), hand.take("alice", 1):
        pass


def test_all_users_together_are_bounded() -> None:
    hand = InFlight(Share(requests=10, bytes=100))
    with ExitStack() as taken:
        for number in range(USERS):
            taken.enter_context(hand.take(f"user {number}", 100))
        with pytest.raises(TooManyError, match="all users together have"), hand.take("alice", 1):
            pass
