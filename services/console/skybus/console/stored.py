"""Reading a stream by direct get, many messages with one request (NATS ADR-31)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import nats.errors
import orjson
from nats.aio.msg import Msg
from nats.js.api import StreamState

from skybus.bus.connection import Bus
from skybus.bus.copies import Looks
from skybus.bus.errors import SkybusError, UnavailableError

_TIMEOUT = 5.0
_NOT_FOUND, _END = "404", "204"


@dataclass(frozen=True)
class Batch:
    """Messages in the order of the stream."""

    messages: list[Msg]
    pending: int
    """So many more match."""


@dataclass
class StoredStream:
    """A stream that allows direct get."""

    bus: Bus
    name: str

    async def read(
        self, subject: str, *, seq: int | None = None, since: float | None = None, batch: int, max_bytes: int
    ) -> Batch:
        """Read from a sequence number or a time (unix s) on; the subject may have wildcards."""
        start = {"start_time": _rfc3339(since)} if since is not None and seq is None else {"seq": seq or 1}
        return await self._ask({**start, "next_by_subj": subject, "batch": batch, "max_bytes": max_bytes})

    async def last(self, subject: str) -> Msg | None:
        """The newest message under a subject."""
        found = await self._ask({"last_by_subj": subject})
        return found.messages[0] if found.messages else None

    async def end(self, at_least: int = 0) -> int:
        """The newest sequence number that was given out, when the copy that is read has got so far.

        Args:
            at_least: what was known of it. A server that was stopped while it led the stream goes on with what it knew
                then, for a moment; only if the end stays below, the stream was made anew.

        Raises:
            UnavailableError: the copy stays behind, or nobody leads the stream.
        """
        state = await self._state()
        if self.bus.replicas == 1:
            return state.last_seq
        async for _ in Looks():
            if state.last_seq >= at_least:
                break
            state = await self._state()
        async for _ in Looks():
            if await self._is_read(state):
                return state.last_seq
        raise UnavailableError(f"the copy of the stream {self.name} that is read is behind")

    async def _is_read(self, state: StreamState) -> bool:
        """Whether the copy that is read has what is there."""
        return not state.messages or bool((await self._ask({"seq": state.last_seq})).messages)

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
        while True:
            message: Msg = await next_message(timeout=_TIMEOUT)
            head = message.headers or {}
            status = head.get("Status")
            if status is None:
                messages.append(message)
                if is_batch:
                    continue
                return Batch(messages, 0)
            if status in (_NOT_FOUND, _END):
                return Batch(messages, int(head.get("Nats-Num-Pending", 0)))
            raise SkybusError(f"the stream {self.name} refuses to be read: {status} {head.get('Description', '')}")


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
