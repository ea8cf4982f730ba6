"""Measures a beamline of 13 000 devices and 500 plans: open, lists, checks, memory; skybus and the reference."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import processes
from sides import Reference, Side, Skybus
from zmq_client import USER, Client

from skybus.bus.api.catalog import PLANS_SCHEMAS, PlanSchemasGet
from skybus.client.client import Client as NatsClient

STARTUP = '''"""A large beamline: half of it single signals, the rest motors and devices that are made of motors."""

from bluesky import RunEngine
from bluesky.plan_stubs import null
from bluesky.protocols import Movable, Readable
from bluesky_queueserver import parameter_annotation_decorator
from ophyd import Component, Device, Signal

RE = RunEngine({{}})


class Motor(Signal):
    """A signal that is moved."""


class Axis(Device):
    readback = Component(Signal, value=0.0)
    setpoint = Component(Motor, value=0.0)
    velocity = Component(Signal, value=1.0, kind="config")


class Stage(Device):
    x, y, z = Component(Axis), Component(Axis), Component(Axis)


for number in range({devices}):
    make = (Signal, Signal, Axis, Stage)[number % 4]
    name = f"{{make.__name__.lower()}}_{{number}}"
    globals()[name] = make(name=name)


def make_plan(number):
    def plan(detectors: list[Readable], motor: Movable, start: float, stop: float, num: int = 10):
        """Scan a motor and read detectors.

        Parameters
        ----------
        detectors : list
            What is read at each point.
        motor : Movable
            What is moved.
        start, stop : float
            Where it begins and ends.
        num : int
            Number of points.
        """
        yield from null()

    plan.__name__ = f"plan_{{number}}"
    if number % 25 == 0:
        notes = {{"annotation": "Stages", "devices": {{"Stages": [f":^stage_.*{{number % 10}}$"]}}}}
        return parameter_annotation_decorator({{"parameters": {{"motor": notes}}}})(plan)
    return plan


for number in range({plans}):
    globals()[f"plan_{{number}}"] = make_plan(number)
'''


def main() -> None:
    """Measure both sides, or one of them, and print what was found."""
    options = _parse()
    processes.adopt_orphans()
    processes.exit_on_signals()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        startup = Path(folder) / "00-large.py"
        startup.write_text(STARTUP.format(devices=options.devices, plans=options.plans))
        for make in (Reference, Skybus):
            if options.side in (None, make.name):
                found[make.name] = _measure(make(), Path(folder), options)
    for name in dict.fromkeys(key for side in found.values() for key in side):
        print(f"{name:48}" + "".join(f"{side.get(name, '-'):>16}" for side in found.values()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _measure(side: Side, startup_dir: Path, options: argparse.Namespace) -> dict[str, Any]:
    print(f"{side.name} ...", file=sys.stderr)
    side.startup_dir = startup_dir
    try:
        side.start()
        found: dict[str, Any] = {"": side.name}
        found |= _measure_0mq(side.client, options)
        if isinstance(side, Skybus):
            found |= asyncio.run(_measure_nats(side.data_dir))
        memory = processes.memory()
        found |= {f"memory of {name}, MB": round(size) for name, size in sorted(memory.items()) if size > 30}
        found["memory of all processes, MB"] = round(sum(memory.values()))
    finally:
        side.stop()
    return found


def _measure_0mq(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    group = {"user_group": "primary"}
    opening = time.perf_counter()
    client.call("environment_open")
    while not client.status()["worker_environment_exists"]:  # the reference may publish nothing for many seconds
        time.sleep(0.02)
    opened = time.perf_counter() - opening
    devices = json.loads(client.exchange("devices_allowed", group, 120))["devices_allowed"]
    while len(devices) < options.devices:  # the manager says that it is open before it has the lists
        devices = json.loads(client.exchange("devices_allowed", group, 120))["devices_allowed"]
    listed = time.perf_counter() - opening
    items = [_item(devices, number) for number in range(100)]
    return {
        "open, s": round(opened, 2),
        "open until the lists are there, s": round(listed, 2),
        "devices_allowed over 0MQ, ms": round(min(client.time_call("devices_allowed", group) for _ in range(3))),
        "devices_allowed, MB": round(len(client.exchange("devices_allowed", group)) / 1e6, 1),
        "plans_allowed over 0MQ, ms": round(min(client.time_call("plans_allowed", group) for _ in range(3))),
        "queue_item_add, ms": round(client.time_call("queue_item_add", {"item": items[0], **USER}), 1),
        "queue_item_add_batch of 100, ms": round(client.time_call("queue_item_add_batch", {"items": items, **USER})),
    }


async def _measure_nats(data_dir: Path) -> dict[str, Any]:
    async with NatsClient.connect(data_dir=data_dir) as client:
        devices, listed = await _timed(client.devices(user_group="primary"))
        _, validated = await _timed(client.validate([_item(devices, number) for number in range(100)]))
        _, one = await _timed(client.plan_schema("plan_1", user_group="primary"))
        every, all_of_them = await _timed(client.call(PLANS_SCHEMAS, PlanSchemasGet(user_group="primary"), timeout=60))
        return {
            "devices.allowed over NATS, ms": round(listed),
            "queue.item.validate of 100, ms": round(validated),
            "plans.schemas of one plan, ms": round(one),
            "plans.schemas of all plans, ms": round(all_of_them),
            "plans.schemas of all plans, MB": round(len(every.model_dump_json()) / 1e6, 1),
        }


async def _timed(work: Awaitable[Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return await work, 1000 * (time.perf_counter() - started)


def _item(devices: dict[str, Any], number: int) -> dict[str, Any]:
    stage = [name for name in devices if name.startswith("stage")][number]
    signals = [f"signal_{4 * number}", f"{stage}.x.readback"]
    return {"item_type": "plan", "name": f"plan_{number % 24 + 1}", "args": [signals, f"{stage}.y", 0, 1.5]}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=13_000)
    parser.add_argument("--plans", type=int, default=500)
    parser.add_argument("--side", choices=[Reference.name, Skybus.name], help="by default both")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
