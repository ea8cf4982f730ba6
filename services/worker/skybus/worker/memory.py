"""The end of an environment for want of memory: by its own hand, or by the kernel's, which counts what it kills."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

OUT_OF_MEMORY = 112
"""Exit code of an environment whose own machinery gets no memory."""
_LAST_WORDS = b"skybus: the environment has run out of memory and ends\n"
_OUR_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def end_without_memory() -> NoReturn:
    """End this process at once: without memory it would stay, and neither run plans nor report them."""
    os.write(2, _LAST_WORDS)
    os._exit(OUT_OF_MEMORY)


def count_memory_kills(our_group: Path = _OUR_GROUP, groups: Path = _GROUPS) -> int | None:
    """How many processes of our control group (cgroup v2) the kernel has killed for want of memory, if it says so."""
    try:
        path = next(line[4:] for line in our_group.read_text().splitlines() if line.startswith("0::/"))
        events = dict(line.split() for line in (groups / path / "memory.events").read_text().splitlines())
        return int(events["oom_kill"])
    except (OSError, StopIteration, KeyError, ValueError):
        return None
