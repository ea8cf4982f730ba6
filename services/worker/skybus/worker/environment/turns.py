"""Whose turn it is in the main thread. Everything here runs in the asyncio thread."""

from __future__ import annotations

from collections.abc import Callable

Then = Callable[[], None]


class Turns:
    """Without an IPython kernel the main thread is always ours."""

    def opened(self) -> None:
        """The startup code has run."""

    @property
    def is_ours(self) -> bool:
        """Whether what happens in the main thread is what we have ordered."""
        return True

    async def take(self) -> None:
        """Get the main thread, or keep it, for a short while; the orders that follow are done.

        Raises:
            WrongStateError: somebody else has it.
        """

    def begin(self) -> None:
        """Keep the main thread as long as what was ordered takes."""

    def end(self) -> None:
        """Keep the main thread for a short while more."""

    def give_back(self, then: Then) -> None:
        """Let others have the main thread, and do something when they can have it."""
        then()
