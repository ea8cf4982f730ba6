"""Attacks of anybody who reaches the 0MQ ports."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import zmq

from tests.system.hostile.attack import Attack, Over, Target, as_json, dial, item
from tests.system.hostile.person_attacks import HOLD, text

WHO = {"user": "mallory", "user_group": "primary"}
GREETING = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL".ljust(64, b"\x00")
"""How a 0MQ peer begins (ZMTP 3.0)."""
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
"""How it goes on."""
EVIL = (
    "^((((([a-z_]+)+)+)+)+)+[0-9]$",
    "^(a|a)*$",
    "(.*)*(.*)*(.*)*x",
    "^(\\w+\\s?)*$",
    "(?=(a+)+b)",
    "a{65535}{65535}",
)
"""Patterns that take an engine which tries all ways for ever."""


def request(method: str, **params: Any) -> bytes:
    return as_json({"method": method, "params": params})


class ZmqAttack(Attack):
    """An attack of a 0MQ client."""

    over = Over.ZMQ


class Batches(ZmqAttack):
    """150 batches of 3.7 MB at once."""

    name = "batches over 0MQ"

    async def strike(self, target: Target) -> None:
        items = [item(meta={"note": text(3_700)})] * 1000
        await target.ask_zmq([request("queue_item_add_batch", items=[*items, {}], **WHO)] * 150)


class EndlessMultipart(ZmqAttack):
    """60 frames of 20 MB of a message that never ends, written by hand: libzmq sends whole messages only."""

    name = "endless multipart"

    async def strike(self, target: Target) -> None:
        frame = b"\x03" + (20_000_000).to_bytes(8) + os.urandom(20_000_000)
        reader, writer = await asyncio.open_connection(*target.control)
        writer.write(GREETING + READY)
        try:
            async with asyncio.timeout(20):
                await reader.readuntil(b"READY")
                writer.write(b"\x01\x00")
                for _ in range(60):
                    writer.write(frame)
                    await writer.drain()
                    target.outcomes["frames"] += 1
                await asyncio.sleep(HOLD)  # the attack itself
        finally:
            writer.transport.abort()


class EmptyObjects(ZmqAttack):
    """60 MB of `[{},{},…]`, and other bodies that are small only as text."""

    name = "sixty megabytes of empty objects"

    async def strike(self, target: Target) -> None:
        for piece in (b"{}", b"[]", b"0", b'{"a":0}'):
            number = 60_000_000 // (len(piece) + 1)
            items = b",".join([piece] * number)
            await target.ask_zmq([b'{"method":"queue_item_add_batch","params":{"items":[' + items + b"]}}"])


class EvilPatterns(ZmqAttack):
    """Permissions whose patterns take for ever."""

    name = "evil patterns"

    async def strike(self, target: Target) -> None:
        everything = {"allowed_plans": [None], "allowed_devices": [None], "allowed_functions": [None]}
        usual = {"root": everything, "primary": everything}
        for pattern in EVIL:
            evil = {"allowed_plans": [f":{pattern}"], "allowed_devices": [f":{pattern}:?{pattern}"]}
            permissions = {"user_groups": {**usual, "evil": evil}}
            await target.ask_zmq([request("permissions_set", user_group_permissions=permissions)])
        await target.ask_zmq([request("permissions_set", user_group_permissions={"user_groups": usual})])


class LargePermissions(ZmqAttack):
    """Permissions with 5 000 groups, and with lists of 200 000 patterns."""

    name = "large permissions"

    async def strike(self, target: Target) -> None:
        everything = {"allowed_plans": [None], "allowed_devices": [None], "allowed_functions": [None]}
        usual = {"root": everything, "primary": everything}
        groups = {f"group{number}": {"allowed_plans": [":^paced"]} for number in range(5_000)}
        long = {"allowed_plans": [f":^a{number}" for number in range(200_000)]}
        for more in (groups, {"long": long}, {"wide": {"allowed_plans": [":" + "a?" * 50_000]}}, {}):
            permissions = {"user_groups": {**usual, **more}}
            await target.ask_zmq([request("permissions_set", user_group_permissions=permissions)])


class NoiseOnZmq(ZmqAttack):
    """Random bytes, HTTP and broken handshakes on both sockets."""

    name = "noise on the 0MQ sockets"

    async def strike(self, target: Target) -> None:
        noises = [
            target.random.randbytes(100_000),
            b"GET / HTTP/1.1\r\n\r\n",
            GREETING + b"\x04\xff",
            GREETING + b"\x04\x26\x05READY" + b"\xff" * 40,
            GREETING + b"\x02" + b"\x7f" + b"\xff" * 7 + b"x" * 100_000,
        ]
        for noise in noises * 20:
            for address in (target.control, target.info):
                with suppress(OSError), dial(address) as sock:
                    sock.sendall(noise)
                    target.outcomes["sent"] += 1


class HalfOpenZmq(ZmqAttack):
    """600 connections to both sockets that send a half of a greeting, and are held."""

    name = "half-open 0MQ connections"

    async def strike(self, target: Target) -> None:
        held: list[socket.socket] = []
        for number in range(600):
            with suppress(OSError):
                held.append(dial((target.control, target.info)[number % 2]))
                held[-1].sendall(GREETING[: number % 64])
        target.outcomes["held"] = len(held)
        await asyncio.sleep(HOLD)  # the attack itself
        for sock in held:
            sock.close()


class ZmqStorm(ZmqAttack):
    """400 clients that connect, ask and leave without the answer."""

    name = "0MQ connection storm"

    async def strike(self, target: Target) -> None:
        for _ in range(400):
            with target.zmq(zmq.DEALER, linger=50) as sock:
                await sock.send_multipart([b"", request("status")])
                target.outcomes["sent"] += 1


class AnswersNobodyReads(ZmqAttack):
    """20 clients that ask for all plans and devices 2 000 times, and read nothing."""

    name = "0MQ answers that nobody reads"

    async def strike(self, target: Target) -> None:
        with ExitStack() as stack:
            socks = [stack.enter_context(target.zmq(zmq.DEALER, rcvhwm=1, sndhwm=0, rcvbuf=4096)) for _ in range(20)]
            for sock in socks:
                for method in ("plans_existing", "devices_existing") * 1000:
                    await sock.send_multipart([b"", request(method)])
            await asyncio.sleep(2 * HOLD)  # the attack itself


class SubscribersWhoDoNotRead(ZmqAttack):
    """20 subscribers of the info socket that read nothing, while 500 refused commands are announced there."""

    name = "0MQ subscribers who do not read"

    async def strike(self, target: Target) -> None:
        with ExitStack() as stack:
            for _ in range(20):
                sock = stack.enter_context(target.zmq(zmq.SUB, target.listen.zmq_info, rcvhwm=1, rcvbuf=4096))
                sock.subscribe(b"")
            await target.ask_zmq([request("queue_item_remove", uid="x" * 100_000)] * 500)
            await asyncio.sleep(HOLD)  # the attack itself


class ManyTopics(ZmqAttack):
    """2 000 subscriptions of 4 000 random bytes on the info socket, by each of three clients."""

    name = "many 0MQ subscriptions"

    async def strike(self, target: Target) -> None:
        with ExitStack() as stack:
            for _ in range(3):
                sock = stack.enter_context(target.zmq(zmq.XSUB, target.listen.zmq_info, sndhwm=0))
                for _ in range(2000):
                    await sock.send(b"\x01" + os.urandom(4000))
                    target.outcomes["subscriptions"] += 1
            await asyncio.sleep(HOLD)  # the attack itself


class GarbageRequests(ZmqAttack):
    """Requests that are none: bytes, depth, odd numbers, long names, many parts."""

    name = "garbage over 0MQ"

    async def strike(self, target: Target) -> None:
        evil = "\x1b]0;owned\x07\x1b[2J"
        odd = item(kwargs={"num": float("nan"), "period": 2**70})
        await target.ask_zmq([
            target.random.randbytes(10_000), b"[" * 1_000_000, b'{"a":' * 500_000, b"9" * 5_000_000,
            json.dumps({"method": evil}).encode(), request("status", **{evil: evil}),
            request("queue_item_add", item=odd, **WHO),
            request("queue_item_add", item=item(), user=evil, user_group=evil),
            request("queue_get", user="x" * 5_000_000), request("task_status", task_uid=["x"] * 500_000),
            *[request("ping")] * 2000,
        ])  # fmt: skip
        with target.zmq(zmq.DEALER, linger=1000) as sock:
            await sock.send_multipart([b"x"] * 10_000)
            await sock.send_multipart([b""] * 10_000)


ZMQ_ATTACKS: list[Callable[[], Attack]] = [
    Batches, EndlessMultipart, EmptyObjects, EvilPatterns, LargePermissions, NoiseOnZmq, HalfOpenZmq, ZmqStorm,
    AnswersNobodyReads, SubscribersWhoDoNotRead, ManyTopics, GarbageRequests,
]  # fmt: skip
