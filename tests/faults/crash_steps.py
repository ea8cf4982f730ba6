"""Counts the external steps of the process in which it is installed, and kills it, or a server, at one of them.

An external step is what others can see: a message to NATS, a command to Redis, a change of a file that outlives the
process. Each kind goes through one function, which is wrapped here. Nothing is counted until the test has written an
order (`Order`) beside the data directory; it names a file for the trace and maybe the step at which to die. An order is
used up by dying: it is unlinked first.

"Before" a step the process dies with what it has not sent yet still in its buffers, as a SIGKILL finds it. "After" a
step that step and all before it have left the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

from nats.aio.client import Client as Connection
from redis.asyncio.client import Pipeline, Redis

from skybus.bus.service import Service
from skybus.queue import lease_keys, store
from skybus.worker.environment.output import Output
from skybus.worker.folder import EnvironmentFolder
from skybus.worker.record import RecordFile
from skybus.worker.spool import Spool

BEFORE, AFTER = "before", "after"
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}")
_HOUSEKEEPING = re.compile(
    r"(?:send (console\.(queue|auth|worker)$"  # log lines
    r"|\$KV\.STATE_sim\.(status|book\.)"  # left for late joiners a while after a change
    r"|evt\.progress\.|\$KV\.STATE_sim\.progress"  # timed, and hints
    r"|int\.worker\.state|int\.auth\.catalog_uids|int\.environment\.state$)"  # asked every two seconds
    r"|reply to cmd\.operator\.(status|queue|history)\.get"  # the test itself wants to know
    r"|redis probe|redis renew)"
)
"""Steps that come by the clock, or because somebody looks. They are no part of an item's life: what a death beside one
of them leaves behind is what a death at the step next to it leaves."""


class Point(NamedTuple):
    """A moment at which a process can die."""

    when: str
    step: str
    number: int
    """Of this step among those of its name, from 1."""

    def __str__(self) -> str:
        return f"{self.when} {self.step} #{self.number}"


@dataclass(frozen=True)
class Order:
    """What a process is to do from now on."""

    uid: str
    trace: str
    """A file to which each point is written as it is passed."""
    point: tuple[str, str, int] | None = None
    """Where to die."""
    victim: int = 0
    """Another process, which dies in place of this one."""

    def write(self, file: Path) -> None:
        new = file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(file)


def order_file(data_dir: Path, role: str) -> Path:
    return data_dir / f"crash-{role}.json"


def read_trace(file: Path) -> list[Point]:
    """The points that were passed, in order; the last may be the one of the death."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Point(when, step, int(number)) for when, step, number in (line.split("\t") for line in lines)]


def install(role: str, data_dir: Path) -> None:
    """Count the steps of this process from now on."""
    steps = _Steps(order_file(data_dir, role))
    _wrap_reply()
    _wrap_async(Connection, "publish", steps, _name_of_message, _flush)
    _wrap_async(Redis, "execute_command", steps, _name_of_command)
    _wrap_async(Pipeline, "execute", steps, lambda *_: "redis read the book")
    _wrap(Spool, "append", steps, lambda _, record: f"spool {_subject(record.subject)}")
    _wrap(Spool, "set_delivered", steps, lambda *_: "spool is delivered")
    _wrap(RecordFile, "write", steps, lambda _, record: f"record {'an environment' if record else 'none'}")
    _wrap(Output, "set_item", steps, lambda *_: "name the item that runs")
    _wrap(Path, "write_text", steps, lambda path, _: f"write {path.name}")
    _wrap(EnvironmentFolder, "remove", steps, lambda _: "remove the environment's folder")


class _Steps:
    """Those of this process since the last order."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._uid = ""
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, name: str) -> Callable[[Callable[[], None] | None], None]:
        """Count a step that is about to be done; returns what is to be called when it is done."""
        order = self._order()
        if order is None or _HOUSEKEEPING.match(name):
            return lambda _: None
        with self._lock:
            self._counts[name] += 1
            number = self._counts[name]
        self._reach(order, Point(BEFORE, name, number))
        return lambda flush: self._reach(order, Point(AFTER, name, number), flush)

    def _order(self) -> Order | None:
        try:
            order = Order(**json.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return None
        if order.uid != self._uid:
            self._uid = order.uid
            self._counts.clear()
        return order

    def _reach(self, order: Order, point: Point, flush: Callable[[], None] | None = None) -> None:
        with Path(order.trace).open("a") as trace:
            trace.write("\t".join(map(str, point)) + "\n")
        if order.point is None or Point(*order.point) != point:
            return
        if flush:
            flush()
        self._file.unlink()
        os.kill(order.victim or os.getpid(), signal.SIGKILL)


def _wrap(cls: type, method: str, steps: _Steps, name: Callable[..., str]) -> None:
    original = getattr(cls, method)

    @wraps(original)
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        done = steps.begin(name(self, *args))
        result = original(self, *args, **kwargs)
        done(None)
        return result

    setattr(cls, method, counted)


def _wrap_async(
    cls: type, method: str, steps: _Steps, name: Callable[..., str], flush: Callable[[Any], None] | None = None
) -> None:
    original = getattr(cls, method)

    @wraps(original)
    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        done = steps.begin(name(self, *args))
        result = await original(self, *args, **kwargs)
        done((lambda: flush(self)) if flush else None)
        return result

    setattr(cls, method, counted)


_answered: ContextVar[str] = ContextVar("answered", default="something")


def _wrap_reply() -> None:
    """Note in the task that answers a request which one it is."""
    original = Service._answer

    @wraps(original)
    async def named(self: Service, what: str, request: Any, *args: Any) -> None:
        _answered.set(_subject(request.subject))
        await original(self, what, request, *args)

    Service._answer = named  # type: ignore[method-assign]


def _name_of_message(_: Connection, subject: str, *__: Any) -> str:
    return f"reply to {_answered.get()}" if subject.startswith(("_INBOX.", "_R_.")) else f"send {_subject(subject)}"


def _subject(subject: str) -> str:
    """Without the instrument, and with `*` for uids; of an acknowledgement, whose it is."""
    if subject.startswith("$JS.ACK."):
        return ".".join(subject.split(".")[:4])
    return _UID.sub("*", subject.removeprefix("sky.sim."))


_OTHER_SCRIPTS = {
    hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(): name
    for text, name in (
        (store._TAKE_OVER, "take over"),
        (lease_keys._TAKE, "take the lease"),
        (lease_keys._RENEW, "renew the lease"),
        (store._ANSWERED, "read the answer"),
        (store._MARK_READ, "mark as read"),
        (store._IS_KEPT, "see what is kept"),
        (store._PROBE, "probe"),
    )
}
"""All but the commit, by what Redis calls them."""


def _name_of_command(_: Redis, command: str, *args: Any) -> str:
    if command != "EVALSHA":
        key = str(args[0]) if args else ""
        return f"redis {command} {_UID.sub('*', key)}" if key.startswith("sky:") else f"redis {command}"
    if args[0] in _OTHER_SCRIPTS:
        return f"redis {_OTHER_SCRIPTS[args[0]]}"
    key, words = args[6], list(args[10:])
    commands = []
    while words:
        size = int(words.pop(0))
        commands.append(f"{words[0]} {_UID.sub('*', str(words[1]))}")
        del words[:size]
    return f"redis commit {', '.join(commands)}{' with the answer' if key else ''}"


def _flush(connection: Connection) -> None:
    """Write what waits in nats-py and in the transport, now."""
    writer: Any = connection._transport._io_writer  # type: ignore[union-attr]
    writer.transport.set_write_buffer_limits(high=0)  # uvloop writes at once what is above the limit
    writer.writelines(connection._pending)
    assert not writer.transport.get_write_buffer_size(), "not all could be written"
