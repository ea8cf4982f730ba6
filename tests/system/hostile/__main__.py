"""`python -m tests.system.hostile [--each] [NAME …]` attacks a stack and prints what came of it.

With `--each` every attack gets a stack of its own; SKYBUS_HOSTILE_SECONDS says how long the attacks go on.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.seed import SEED
from tests.system.hostile.siege import AT_ONCE, SECONDS, Outcome, Siege
from tests.system.hostile.table import ATTACKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", action="store_true", help="one attack after the other, each on a stack of its own")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"by default all of: {', '.join(ATTACKS)}")
    options = parser.parse_args()
    if unknown := set(options.names) - ATTACKS.keys():
        parser.error(f"no such attacks: {', '.join(unknown)}")
    names = options.names or list(ATTACKS)
    print(f"seed {SEED} (SKYBUS_TEST_SEED)")
    for some in [[name] for name in names] if options.each else [names]:
        show(some, hold(some, 1 if options.each else AT_ONCE))


def hold(names: Sequence[str], at_once: int) -> Outcome:
    """Attack a new stack."""
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        return asyncio.run(Siege(names, SECONDS, at_once, SEED).hold(Path(folder)))


def show(names: Sequence[str], outcome: Outcome) -> None:
    """Print the figures, and what must not be."""
    print(f"\n== {names[0] if len(names) == 1 else f'{len(names)} attacks'}")
    print(*outcome.strikes, *outcome.lines(), sep="\n")
    print(*(f"FAULT {fault[:300]}" for fault in outcome.faults()), sep="\n", flush=True)


if __name__ == "__main__":
    main()
