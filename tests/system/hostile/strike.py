"""One attack in a process of its own: `python -m tests.system.hostile.strike DATA_DIR NAME SEED`.

It prints what became of what it has sent, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path

import nats.errors
import zmq

from tests.system.hostile.attack import WRONG, Target
from tests.system.hostile.table import ATTACKS

LONGEST = 60.0
"""Seconds after which an attack is ended."""
NICE = 10
"""An attacker gets what processor time is left: it stands for a machine of its own."""
ROOT = Path(__file__).parents[3]


@dataclass
class Strike:
    """An attack that was made once."""

    name: str
    seconds: float
    outcomes: dict[str, int]

    @property
    def wrong(self) -> list[str]:
        """The outcomes that must not be."""
        return [
            f"{self.name}: {count} {outcome}" for outcome, count in self.outcomes.items() if outcome.startswith(WRONG)
        ]

    def __str__(self) -> str:
        said = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items()) or "nothing came back"
        return f"{self.name} ({ATTACKS[self.name].over}): {self.seconds:.1f} s, {said}"


async def strike(data_dir: Path, name: str, seed: str) -> Strike:
    """Make an attack in another process, and wait until it is over."""
    begin = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        "nice", "-n", str(NICE), sys.executable, "-m", "tests.system.hostile.strike", str(data_dir), name, seed,
        stdout=PIPE, stderr=PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LONGEST):
            printed, error = await process.communicate()
        outcomes = (
            json.loads(printed) if process.returncode == 0 else {f"{WRONG}the attacker failed: {_last_line(error)}": 1}
        )
    except TimeoutError:
        outcomes = {"not over in time": 1}
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return Strike(name, time.monotonic() - begin, outcomes)


def _last_line(text: bytes) -> str:
    return (text.decode(errors="replace").strip().splitlines() or ["the attacker died"])[-1][:200]


async def main(data_dir: Path, name: str, seed: str) -> None:
    target = Target(data_dir, random.Random(seed))
    try:
        await ATTACKS[name].strike(target)
    except (OSError, EOFError, TimeoutError, nats.errors.Error, zmq.ZMQError) as error:  # it was cut off
        target.outcomes[type(error).__name__] += 1
    print(json.dumps(+target.outcomes), flush=True)


if __name__ == "__main__":
    folder, which, seed = sys.argv[1:]
    asyncio.run(main(Path(folder), which, seed))
    os._exit(0)  # sockets with megabytes to send would be waited for
