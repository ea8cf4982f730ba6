"""Reading a stream by direct get, many messages with one request (NATS ADR-31)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import nats.errors
import orjson
from nats.aio.msg import Msg
from nats.js.api import StreamState

from skybus.bus.connection import Bus
from skybus.bus.copies import Looks
from skybus.bus.errors import SkybusError, UnavailableError
from skybus.bus.provenance import PENDING, description_of, is_no_responders, status_of, stored_seq
from skybus.bus.tail import stored_at

_TIMEOUT = 5.0
_NOT_FOUND, _END = "404", "204"


@dataclass(frozen=True)
class Batch:
    """Messages in the order of the stream."""

    messages: list[Msg]
    pending: int
    """So many more match."""
    end: int
    """The sequence number of the last one, 0 if there is none."""


class End(NamedTuple):
    """How far a stream is."""

    seq: int
    """The newest sequence number that was given out, whether or not its message is still there."""
    newest: int
    """That which every copy must have; 0 if there is nothing, or only one copy."""


@dataclass
class StoredStream:
    """A stream that allows direct get."""

    bus: Bus
    name: str

    @property
    def is_single(self) -> bool:
        """Whether there is one copy, which is never behind."""
        return self.bus.replicas == 1

    def seq_of(self, message: Msg) -> int:
        """The sequence number of a message that was read."""
        return stored_seq(message, self.name) or 0

    async def end(self, at_least: int = 0) -> End:
        """How far the stream is, as its leader says.

        Args:
            at_least: what was known of it. A server that was stopped while it led the stream goes on with what it knew
                then, for a moment; only if the end stays below, the stream was made anew.

        Raises:
            UnavailableError: nobody leads the stream.
        """
        state = await self._state()
        if self.is_single:
            return End(state.last_seq, 0)
        async for _ in Looks():
            if state.last_seq >= at_least:
                break
            state = await self._state()
        return End(state.last_seq, state.last_seq if state.messages else 0)

    async def read(
        self,
        subject: str,
        *,
        seq: int | None = None,
        since: float | None = None,
        batch: int,
        max_bytes: int,
        until: int = 0,
    ) -> Batch:
        """Read from a sequence number or a time (unix s) on.

        Each question may go to another copy, so it is the answer that must show how far the copy is.

        Args:
            subject: may have wildcards.
            seq: if it is not the time that counts.
            since: compared with the time of storing.
            batch: so many messages at the most.
            max_bytes: of all, but there is one at least.
            until: the message with this number is there: a copy without it is asked again.

        Raises:
            UnavailableError: no copy has got so far.
        """
        start = {"start_time": _rfc3339(since)} if since is not None and seq is None else {"seq": seq or 1}
        async for _ in Looks():
            found = await self._ask({**start, "next_by_subj": subject, "batch": batch, "max_bytes": max_bytes})
            if found.pending or found.end >= until or (seq or 0) > until:
                return found
            if since is not None and seq is None and not found.messages:
                newest = await self.last(subject, until)
                if newest and stored_at(newest) < since:
                    return found
        raise self._behind()

    async def last(self, subject: str, until: int = 0) -> Msg | None:
        """The newest message under a subject; `until` as in `read`."""
        async for _ in Looks():
            found = await self._ask({"last_by_subj": subject})
            if found.end >= until:
                return found.messages[0] if found.messages else None
        raise self._behind()

    def _behind(self) -> UnavailableError:
        return UnavailableError(f"the copies of the stream {self.name} that can be read are behind")

    async def _state(self) -> StreamState:
        try:
            return (await self.bus.jetstream.stream_info(self.name)).state
        except (nats.errors.Error, TimeoutError):
            raise UnavailableError(f"the stream {self.name} cannot be read now") from None

    async def _ask(self, query: dict[str, Any]) -> Batch:
        connection = self.bus.connection
        inbox = connection.new_inbox()
        answers = await connection.subscribe(inbox)
        try:
            await connection.publish(f"$JS.API.DIRECT.GET.{self.name}", orjson.dumps(query), reply=inbox)
            return await self._collect(answers.next_msg, is_batch="batch" in query)
        except (nats.errors.Error, TimeoutError):
            raise UnavailableError(f"the stream {self.name} cannot be read now") from None
        finally:
            if not connection.is_closed:
                await answers.unsubscribe()

    async def _collect(self, next_message: Any, *, is_batch: bool) -> Batch:
        messages: list[Msg] = []
        end = 0
        while True:
            message: Msg = await next_message(timeout=_TIMEOUT)
            status = status_of(message)
            if seq := stored_seq(message, self.name):
                messages.append(message)
                end = seq
                if not is_batch:
                    return Batch(messages, 0, end)
            elif status in (_NOT_FOUND, _END):
                return Batch(messages, int((message.headers or {}).get(PENDING, 0)), end)
            elif is_no_responders(message):  # the servers elect a leader of the stream
                raise UnavailableError(f"the stream {self.name} cannot be read now: no server answers for it")
            elif status:
                raise SkybusError(f"the stream {self.name} refuses to be read: {status} {description_of(message)}")


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
