"""Attacks of a person who has a password, over NATS."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from nats.aio.client import Client as Connection

from tests.system.hostile.attack import PATIENCE, PERSON, WRONG, Attack, Over, Target, as_json, dial, item, login

HOLD = 5.0
"""Seconds that connections are held."""


def text(size: int) -> str:
    """Characters that do not compress."""
    return base64.b64encode(os.urandom(size * 3 // 4)).decode()


@asynccontextmanager
async def queued(target: Target, connection: Connection, items: list[dict[str, Any]], each: int) -> AsyncIterator[None]:
    """Have items in the queue, added so many at once, and take them out in the end."""
    uids: list[str] = []
    try:
        for some in _batched(items, each):
            answer = await target.ask(connection, "queue.item.add_batch", as_json({"items": some}))
            uids += [added["item_uid"] for added in (answer or {}).get("items", [])]
        yield
    finally:
        for some in _batched(uids, 1000):
            await target.ask(connection, "queue.item.remove_batch", as_json({"uids": some}))


def _batched(values: list[Any], size: int) -> list[list[Any]]:
    return [values[begin : begin + size] for begin in range(0, len(values), size)]


class PersonAttack(Attack):
    """An attack with a person's password."""

    over = Over.PERSON


class ReadersOfALargeQueue(PersonAttack):
    """30 readers of a queue of 20 000 items, each time that it has changed."""

    name = "readers of a large queue"

    async def strike(self, target: Target) -> None:
        async with target.person() as connection, queued(target, connection, [item()] * 20_000, 1000):
            for _ in range(3):
                async with queued(target, connection, [item()], 1):
                    await target.ask_all(connection, "queue.get", [b"{}"] * 30)


class ReadersOfLargeItems(PersonAttack):
    """6 readers of 60 MB of items, each time that the queue has changed."""

    name = "readers of large items"

    async def strike(self, target: Target) -> None:
        items = [item(meta={"note": text(1_500_000)}) for _ in range(40)]
        async with target.person() as connection, queued(target, connection, items, 1):
            for _ in range(3):
                async with queued(target, connection, [item()], 1):
                    await target.ask_all(connection, "queue.get", [b"{}"] * 6)


class LargeRequests(PersonAttack):
    """100 requests of 3.7 MB at once."""

    name = "large requests"

    async def strike(self, target: Target) -> None:
        body = as_json({"items": [item(meta={"note": text(3_700_000)})]})
        async with target.person() as connection:
            await target.ask_all(connection, "queue.item.validate", [body] * 100)


class UnfinishedRequests(PersonAttack):
    """The first 4 MB of requests of 60 MB, and never the rest."""

    name = "unfinished requests"

    async def strike(self, target: Target) -> None:
        body, head = os.urandom(4_000_000), {"Sky-Part": f"0 {60 << 20} {60 << 20}"}
        async with target.person() as connection:
            await target.ask_all(connection, "queue.item.add", [body] * 60, head)


class LongLists(PersonAttack):
    """20 requests at once to validate 10 000 items, and lists of half a million `{}`."""

    name = "long lists"

    async def strike(self, target: Target) -> None:
        empty = b'{"items":[' + b",".join([b"{}"] * 500_000) + b"]}"
        async with target.person() as connection:
            await target.ask_all(connection, "queue.item.validate", [as_json({"items": [item()] * 10_000})] * 20)
            for endpoint in ("queue.item.validate", "queue.item.add_batch", "queue.item.remove_batch"):
                await target.ask_all(connection, endpoint, [empty] * 3)


class ManyLargeAnswers(PersonAttack):
    """300 adds of 60 kB, whose answers are kept for those who ask again."""

    name = "many large answers"

    async def strike(self, target: Target) -> None:
        uids: list[str] = []
        async with target.person() as connection:
            for number in range(300):
                body = as_json({"item": item(meta={"note": text(60_000)})})
                answer = await target.ask(
                    connection, "queue.item.add", body, {"Sky-Request-Id": f"{time.time()}{number}"}
                )
                uids += [answer["item"]["item_uid"]] if answer else []
            await target.ask(connection, "queue.item.remove_batch", as_json({"uids": uids}))


class ReusedIds(PersonAttack):
    """The id of a request with another body, and ids that cannot be."""

    name = "reused request ids"

    async def strike(self, target: Target) -> None:
        async with target.person() as connection:
            for _ in range(50):
                known, uids = {"Sky-Request-Id": f"again {target.random.random()}"}, set[str]()
                for number in range(3):
                    body = as_json({"item": item(meta={"number": number})})
                    if answer := await target.ask(connection, "queue.item.add", body, known):
                        uids.add(answer["item"]["item_uid"])
                        is_other = answer["item"]["meta"] != {"number": number}
                        target.outcomes[f"{WRONG}answered as another request"] += is_other
                await target.ask(connection, "queue.item.remove_batch", as_json({"uids": list(uids)}))
            for odd in ("x" * 100_000, "\x1b[2J", "a b.c>*"):
                await target.ask(connection, "queue.clear_nothing", b"{}", {"Sky-Request-Id": odd})


class Escapes(PersonAttack):
    """Escape and OSC sequences in arguments, names and metadata."""

    name = "escapes in names"

    async def strike(self, target: Target) -> None:
        evil = "\x1b]0;owned\x07\x1b[2J\x1b]52;c;cm0gLXJmIH4=\x07\u202e\x9b31m"
        items = [item(name=evil), item(args=[evil]), item(kwargs={evil: evil}), item(meta={evil: evil})]
        async with target.person() as connection:
            for each in items * 10:
                async with queued(target, connection, [each], 1):
                    await target.ask(connection, "queue.get", b'{"limit": 20}')
                await target.ask(connection, "queue.item.remove", as_json({"uid": evil}))


class OddNumbers(PersonAttack):
    """NaN, infinity, 1e400, integers beyond 64 bits, and such of 4 000 digits."""

    name = "odd numbers"

    async def strike(self, target: Target) -> None:
        numbers = [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"1" * 30, str(2**70).encode(), b"9" * 4000]
        async with target.person() as connection:
            for number in numbers * 3:
                await self._add(target, connection, number)
                await target.ask(connection, "queue.get", b'{"offset": %s, "limit": %s}' % (number, number))
                await target.ask(connection, "console.get", b'{"since": %s}' % number)

    async def _add(self, target: Target, connection: Connection, number: bytes) -> None:
        """Add an item with the number; it is refused, or comes back as it was."""
        body = b'{"item": {"item_type": "plan", "name": "paced", "meta": {"number": %s}}}'
        if answer := await target.ask(connection, "queue.item.add", body % number):
            await target.ask(connection, "queue.item.remove", as_json({"uid": answer["item"]["item_uid"]}))
            kept = repr(answer["item"]["meta"]["number"])
            target.outcomes[f"{WRONG}{number.decode()} became {kept}"] += kept != repr(json.loads(number))


class WrongDeadlines(PersonAttack):
    """Deadlines of another century, and such as are no numbers."""

    name = "wrong deadlines"

    async def strike(self, target: Target) -> None:
        values = ["0", "-1", "1e3", "9" * 15, "9" * 4000, "NaN", "\u0663", "", str(int(time.time() * 1000) - 1)]
        async with target.person() as connection:
            for value in values * 10:
                with suppress(ValueError):  # nats-py does not send every header
                    await target.ask(connection, "status.get", b"{}", {"Sky-Deadline": value})
            short = {"Sky-Deadline": str(int(time.time() * 1000) + 300)}
            await target.ask_all(connection, "queue.get", [b"{}"] * 200, short)


class DeepJson(PersonAttack):
    """Arrays in arrays, a million deep, and objects alike."""

    name = "deep JSON"

    async def strike(self, target: Target) -> None:
        bodies = [
            b"[" * 1_000_000,
            b'{"a":' * 500_000,
            b'{"items":[{"args":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        ]
        async with target.person() as connection:
            for endpoint in ("queue.item.validate", "queue.item.add", "permissions.set", "function.execute"):
                await target.ask_all(connection, endpoint, bodies * 3)


class Garbage(PersonAttack):
    """Random bytes to each endpoint, with random headers."""

    name = "garbage to every endpoint"
    ENDPOINTS = (
        "status.get", "queue.get", "queue.item.add", "queue.item.validate", "queue.item.move_batch", "history.get",
        "console.get", "permissions.set", "plans.schemas", "task.status", "lock.info", "restore.begin", "nothing.there",
    )  # fmt: skip

    async def strike(self, target: Target) -> None:
        async with target.person() as connection:
            for endpoint in self.ENDPOINTS:
                bodies = [target.random.randbytes(target.random.randrange(100_000)) for _ in range(10)]
                head = {"Sky-Part": "0 1 1", "traceparent": "00-\x00", "Sky-Kind": "event"}
                for some in (None, head):
                    await target.ask_all(connection, endpoint, bodies, some)


class ManyHeaders(PersonAttack):
    """Requests with 200 000 headers, and with one of 3 MB."""

    name = "many headers"

    async def strike(self, target: Target) -> None:
        many = b"".join(b"h%d: x\r\n" % number for number in range(200_000))
        async with _Raw(target) as raw:
            for lines in (many, b"traceparent: " + b"0" * 3_000_000 + b"\r\n") * 5:
                raw.request("status.get", b"NATS/1.0\r\n" + lines + b"\r\n", b"{}")
                await raw.wait(0.5)


class SteeredReplies(PersonAttack):
    """Answers of direct get and of services, sent to the topics that others follow.

    As after some weeks, the stream of documents is longer than that of the console.
    """

    name = "steered replies"

    async def strike(self, target: Target) -> None:
        inst = target.listen.instrument
        topics = ("console.worker.-", "console.queue", "doc.event.x", "doc.stop.x", "status", "environment", "item.x")
        streams = (f"KV_STATE_{inst}", f"CONSOLE_{inst}", f"DOCS_{inst}", f"OBJ_BLOB_{inst}")
        async with target.plan_code() as plan:
            for number in range(3000):
                await plan.publish(f"sky.{inst}.doc.start.old-{number}", b"{}")
            await plan.flush(PATIENCE)
        async with target.person() as connection:
            for topic in topics:
                reply = f"sky.{inst}.evt.{topic}"
                for stream in streams:
                    for query in ({"last_by_subj": ">"}, {"seq": 1, "batch": 20}, {"seq": 10**9}):
                        await connection.publish(f"$JS.API.DIRECT.GET.{stream}", as_json(query), reply=reply)
                for endpoint in ("status.get", "queue.get", "console.get", "history.get"):
                    await connection.publish(f"sky.{inst}.cmd.{PERSON}.{endpoint}", b"{}", reply=reply)
            await target.ask(connection, "ping")


class ManySubscriptions(PersonAttack):
    """Three connections with 30 000 subscriptions each."""

    name = "many subscriptions"

    async def strike(self, target: Target) -> None:
        lines = b"".join(b"SUB sky.sim.evt.item.%d %d\r\n" % (number, number + 10) for number in range(30_000))
        async with _Raw(target) as one, _Raw(target) as two, _Raw(target) as three:
            for raw in (one, two, three):
                raw.send(lines)
                await raw.wait(0.5)
            await three.wait(HOLD)


class ConnectionStorm(PersonAttack):
    """600 connections that log in and leave, half of them with a wrong password."""

    name = "connection storm"

    async def strike(self, target: Target) -> None:
        for number in range(600):
            with suppress(OSError), dial(target.nats) as sock:
                sock.sendall(login(target, "wrong" if number % 2 else None) + b"PING\r\n")
                target.outcomes["connected"] += 1


class HalfOpenConnections(PersonAttack):
    """500 connections that say nothing, or the half of something, and are held."""

    name = "half-open connections"

    async def strike(self, target: Target) -> None:
        held: list[socket.socket] = []
        for number in range(500):
            with suppress(OSError):
                held.append(dial(target.nats))
                held[-1].sendall((b"", b"CONN", login(target)[:40])[number % 3])
        target.outcomes["held"] = len(held)
        await asyncio.sleep(HOLD)  # the attack itself
        for sock in held:
            sock.close()


class NoiseOnNats(PersonAttack):
    """Random bytes, HTTP and broken commands on the NATS socket."""

    name = "noise on the NATS socket"

    async def strike(self, target: Target) -> None:
        known = login(target)
        noises = [
            target.random.randbytes(100_000),
            b"GET / HTTP/1.1\r\n\r\n",
            known + b"PUB x 99999999999\r\n",
            known + b"HPUB sky.sim.cmd.mallory.ping 5 2\r\nx\r\n",
            known + b"SUB " + b"a." * 100_000 + b" 1\r\n",
            b"CONNECT " + b'{"a":' * 100_000 + b"\r\n",
        ]
        for noise in noises * 20:
            with suppress(OSError), dial(target.nats) as sock:
                sock.sendall(noise)
                target.outcomes["sent"] += 1


class NobodyReads(PersonAttack):
    """10 connections that ask for the whole console again and again, and read nothing."""

    name = "answers that nobody reads"

    async def strike(self, target: Target) -> None:
        inst = target.listen.instrument
        query = as_json({"seq": 1, "batch": 1000, "max_bytes": 8 << 20})
        asked = b"PUB $JS.API.DIRECT.GET.CONSOLE_%s _INBOX.%s.x %d\r\n%s\r\n" % (
            inst.encode(), PERSON.encode(), len(query), query,
        )  # fmt: skip
        held = [dial(target.nats) for _ in range(10)]
        for sock in held:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(login(target) + b"SUB _INBOX.%s.> 1\r\nSUB sky.*.evt.> 2\r\n" % PERSON.encode() + asked * 300)
        await asyncio.sleep(HOLD)  # the attack itself
        for sock in held:
            sock.close()


class LargePages(PersonAttack):
    """30 requests at once for the largest pages of the console and the history, and the longest lists of plans."""

    name = "large pages"

    async def strike(self, target: Target) -> None:
        async with target.person() as connection:
            for endpoint, body in (
                ("console.get", {"last_lines": 100_000, "max_bytes": 32 << 20}),
                ("console.get", {"seq": 1, "limit": 10_000, "max_bytes": 32 << 20}),
                ("history.get", {}),
                ("plans.allowed", {}),
                ("devices.allowed", {}),
                ("task.status", {"task_uids": ["x"] * 100_000}),
            ):
                await target.ask_all(connection, endpoint, [as_json(body)] * 30)


class ManySmallRequests(PersonAttack):
    """20 000 small requests, 2 000 of them at once."""

    name = "many small requests"

    async def strike(self, target: Target) -> None:
        async with target.person() as connection:
            for _ in range(10):
                await target.ask_all(connection, "status.get", [b"{}"] * 2000)


class RefusedCommands(PersonAttack):
    """10 000 commands that are refused, each with a line in logs and on the console."""

    name = "refused commands"

    async def strike(self, target: Target) -> None:
        async with target.person() as connection:
            for number in range(20):
                body = as_json({"uid": f"{number} " + "x" * 2000})
                await target.ask_all(connection, "queue.item.remove", [body] * 500)


class _Raw:
    """A connection of the person without a library."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def __aenter__(self) -> _Raw:
        self._reader, self._writer = await asyncio.open_connection(*self._target.nats)
        self.send(login(self._target) + b"SUB _INBOX.%s.> 1\r\n" % PERSON.encode())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def request(self, endpoint: str, head: bytes, body: bytes) -> None:
        subject = f"sky.{self._target.listen.instrument}.cmd.{PERSON}.{endpoint} _INBOX.{PERSON}.x"
        self.send(b"HPUB %s %d %d\r\n%s%s\r\n" % (subject.encode(), len(head), len(head) + len(body), head, body))

    async def wait(self, seconds: float) -> None:
        """Read for some seconds what comes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self._reader.read(1 << 16):
                    self._target.outcomes["errors"] += data.count(b"-ERR")
                    self._target.outcomes["answers"] += data.count(b"MSG ")
                self._target.outcomes["cut off"] += 1


PERSON_ATTACKS: list[Callable[[], Attack]] = [
    ReadersOfALargeQueue, ReadersOfLargeItems, LargeRequests, UnfinishedRequests, LongLists, ManyLargeAnswers,
    ReusedIds, Escapes, OddNumbers, WrongDeadlines, DeepJson, Garbage, ManyHeaders, SteeredReplies, ManySubscriptions,
    ConnectionStorm, HalfOpenConnections, NoiseOnNats, NobodyReads, LargePages, ManySmallRequests,
    RefusedCommands,
]  # fmt: skip
