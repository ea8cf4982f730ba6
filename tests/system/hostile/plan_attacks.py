"""Attacks of plan code, with the credentials of the environment that it can read."""

from __future__ import annotations

import asyncio
import os
import uuid
import zlib
from collections.abc import Callable
from functools import cache

from nats.aio.client import Client as Connection

from tests.system.hostile.attack import Attack, Over, Target, as_json

_PACKED = {"Sky-Encoding": "zlib"}


@cache
def bomb(size: int = 250_000_000) -> bytes:
    """A JSON object of so many bytes, compressed to a thousandth of them."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(b'{"uid": "x", "msg": "')]
    parts += [packer.compress(b"x" * 1_000_000) for _ in range(size // 1_000_000)]
    return b"".join([*parts, packer.compress(b'"}\n'), packer.flush()])


class PlanAttack(Attack):
    """An attack with the credentials of plan code."""

    over = Over.PLAN

    async def strike(self, target: Target) -> None:
        async with target.plan_code() as connection:
            await self.publish(target, connection)
            await connection.flush(30)

    async def publish(self, target: Target, connection: Connection) -> None:
        """Publish what the attack consists of."""
        raise NotImplementedError


class ConsoleBombs(PlanAttack):
    """20 chunks of console output of 250 kB that unpack to 250 MB."""

    name = "bombs in the console"

    async def publish(self, target: Target, connection: Connection) -> None:
        for _ in range(20):
            await connection.publish(f"sky.{target.listen.instrument}.console.worker.-", bomb(), headers=_PACKED)


class DocumentBombs(PlanAttack):
    """20 documents of 250 kB that unpack to 250 MB."""

    name = "bombs in documents"

    async def publish(self, target: Target, connection: Connection) -> None:
        for _ in range(20):
            subject = f"sky.{target.listen.instrument}.doc.event.{uuid.uuid4()}"
            await connection.publish(subject, bomb(), headers=_PACKED)


class ReportBombs(PlanAttack):
    """Reports of plans that unpack to 250 MB, reports in parts that never end, and reports that are none."""

    name = "bombs in reports"

    async def publish(self, target: Target, connection: Connection) -> None:
        life = f"sky.{target.listen.instrument}.int.life"
        for number in range(10):
            await connection.publish(f"{life}.report", bomb(), headers=_PACKED)
            await connection.publish(f"{life}.report", os.urandom(3_000_000))
            head = {"Sky-Part": f"0 {1 << 40} {1 << 40}"}
            await connection.publish(f"{life}.part.{number}", os.urandom(3_000_000), headers=head)
            await connection.publish(f"{life}.report", as_json({"kind": "report", "attempt": "\x1b[2J", "msg": "x"}))


class ManyReports(PlanAttack):
    """20 000 reports of attempts that nobody knows."""

    name = "reports of unknown attempts"

    async def publish(self, target: Target, connection: Connection) -> None:
        report = {"kind": "report", "environment_id": "x", "item_uid": "x", "exit_status": "completed"}
        times = {"time_start": 0, "time_stop": 1, "msg": "x" * 300}
        for number in range(20_000):
            body = as_json({**report, **times, "attempt": f"unknown {number}"})
            await connection.publish(f"sky.{target.listen.instrument}.int.life.report", body)
            if number % 500 == 0:
                await asyncio.sleep(0)


class ConsoleFlood(PlanAttack):
    """200 MB of console output as fast as it goes, in lines, in long lines, and in what is no text."""

    name = "console flood"

    async def publish(self, target: Target, connection: Connection) -> None:
        subject = f"sky.{target.listen.instrument}.console.worker.-"
        pieces = (b"a line\n" * 100_000, b"x" * 1_000_000, os.urandom(500_000), b"\x1b]0;owned\x07\x1b[2J" * 30_000)
        for number in range(300):
            await connection.publish(subject, pieces[number % len(pieces)])
            await asyncio.sleep(0)


class OddConsole(PlanAttack):
    """Chunks with headers that cannot be right."""

    name = "odd console chunks"

    async def publish(self, target: Target, connection: Connection) -> None:
        heads = [
            {"Sky-Time": "NaN"}, {"Sky-Time": "1e400"}, {"Sky-Time": "-1"}, {"Sky-Encoding": "zlib"},
            {"Sky-Encoding": "stub"}, {"Sky-Item": "x" * 100_000}, {"Sky-Kind": "event"},
            {"Nats-Sequence": "999999999"},
            {"Nats-Subject": "sky.sim"}, {"Nats-Last-Sequence": "999999999"}, {"Nats-Subject": "x"}, {"Nats-TTL": "1"},
        ]  # fmt: skip
        for head in heads * 20:
            for source in ("-", "a-b", "x" * 200, "a.b.c"):
                subject = f"sky.{target.listen.instrument}.console.worker.{source}"
                await connection.publish(subject, b"\xff\xfe odd\n", headers=head)


class OddProgress(PlanAttack):
    """Progress and states that cannot be right, and of 3 MB."""

    name = "odd progress and states"

    async def publish(self, target: Target, connection: Connection) -> None:
        inst = target.listen.instrument
        bodies = [b"", b"[]", b"NaN", os.urandom(1000), as_json({"revision": 2**70}), as_json({"x": "y" * 3_000_000})]
        for body in bodies * 10:
            for subject in (f"$KV.STATE_{inst}.progress", f"sky.{inst}.evt.progress.x", f"sky.{inst}.int.state"):
                await connection.publish(subject, body, headers={"Sky-Kind": "event"})


class ManyRuns(PlanAttack):
    """50 000 documents, each of a run of its own."""

    name = "documents of many runs"

    async def publish(self, target: Target, connection: Connection) -> None:
        inst = target.listen.instrument
        for number in range(50_000):
            uid = uuid.uuid4()
            await connection.publish(f"sky.{inst}.doc.start.{uid}", as_json({"uid": str(uid), "time": number}))
            if number % 500 == 0:
                await asyncio.sleep(0)


PLAN_ATTACKS: list[Callable[[], Attack]] = [
    ConsoleBombs, DocumentBombs, ReportBombs, ManyReports, ConsoleFlood, OddConsole, OddProgress, ManyRuns,
]  # fmt: skip
