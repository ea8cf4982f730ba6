"""What JetStream knows of the book: its last revision. A Redis that comes back with less holds an older copy."""

from __future__ import annotations

from collections.abc import Callable

import nats.errors
from nats.js.errors import KeyNotFoundError

from skybus.bus.connection import Bus
from skybus.bus.errors import UnavailableError, why
from skybus.bus.identity import user_token


class Witness:
    """The last revision of the book, in the bucket of the instrument.

    Args:
        keys: what the names of the book's keys in Redis begin with: another one is another book.
        revision: of the book now.
    """

    def __init__(self, bus: Bus, keys: str, revision: Callable[[], int]) -> None:
        self._bus = bus
        self._key = f"book.{user_token(keys)}"
        self._revision = revision
        self.is_heard = False
        """Whether what it knows was looked at: only then may it be told anything else."""

    async def last(self) -> int:
        """The revision that was known last.

        Raises:
            UnavailableError: JetStream does not answer.
        """
        try:
            bucket = await self._bus.jetstream.key_value(self._bus.subjects.state_bucket)
            return int((await bucket.get(self._key)).value or b"0")
        except KeyNotFoundError:
            return 0
        except (nats.errors.Error, OSError) as error:
            raise UnavailableError(f"JetStream does not answer: {why(error)}") from error

    async def tell(self) -> None:
        """Leave the revision of now, without waiting."""
        if self.is_heard:
            await self._bus.connection.publish(self._bus.subjects.kept(self._key), self._body())

    async def make_sure(self) -> None:
        """Leave the revision of now, and see that it is stored: so it is noticed when JetStream takes nothing.

        Raises:
            UnavailableError: JetStream has not stored it.
        """
        if not self.is_heard:
            return
        try:
            await self._bus.jetstream.publish(self._bus.subjects.kept(self._key), self._body())
        except (nats.errors.Error, OSError) as error:
            reason = why(error)
            raise UnavailableError(f"JetStream stores nothing ({reason}): output and reports wait on disk") from error

    def _body(self) -> bytes:
        return str(self._revision()).encode()
