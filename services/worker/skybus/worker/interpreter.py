"""The Python in which environments run: the one of the services, or that of another virtual environment.

The other one needs `skybus[worker]` of our version (and `skybus[ipython]` for kernels): both sides speak one protocol,
and what is compiled fits only the Python that it was made for.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE

from skybus.bus.errors import SkybusError
from skybus.bus.messages import Message, decode
from skybus.bus.version import VERSION

NEEDED = (
    "bluesky", "nats", "numpy", "opentelemetry", "ophyd", "orjson", "platformdirs", "pydantic", "pydantic_settings",
    "skybus.worker.environment", "structlog", "yaml",
)  # fmt: skip
"""Modules without which there is no environment."""
NEEDED_BY_KERNEL = ("ipykernel",)
OLDEST = (3, 11)
PATIENCE = 20.0
"""Seconds that the interpreter has to say what it has."""

_PROBE = """
import json, sys
from importlib import metadata, util

def is_there(name):
    try:
        return util.find_spec(name) is not None
    except ImportError:
        return False

try:
    skybus = metadata.version("skybus")
except metadata.PackageNotFoundError:
    skybus = None
missing = [name for name in sys.argv[1:] if not is_there(name)]
print(json.dumps({"python": sys.version_info[:2], "skybus": skybus, "missing": missing}))
"""


class InterpreterError(SkybusError):
    """The Python that was chosen for environments cannot run one."""


class _Found(Message):
    python: tuple[int, int]
    skybus: str | None
    missing: list[str]


async def require_fit(python: Path, *, kernel: bool) -> None:
    """Make sure that an interpreter can run environments.

    Raises:
        InterpreterError: it cannot; the message says what it lacks.
    """
    needed = (*NEEDED, *NEEDED_BY_KERNEL) if kernel else NEEDED
    if problem := _problem(decode(_Found, await _ask(python, needed))):
        raise InterpreterError(f"{python} cannot run an environment: {problem}")


def environment_command(python: Path | None) -> list[str]:
    """How a process is started that becomes an environment."""
    interpreter = python or Path(sys.executable)
    script = interpreter.with_name("skybus-environment")  # `ps` shows it by this name
    return [str(script)] if script.exists() else [str(interpreter), "-m", "skybus.worker.environment"]


async def _ask(python: Path, needed: tuple[str, ...]) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(
            str(python), "-c", _PROBE, *needed, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
    except OSError as error:
        raise InterpreterError(f"{python} cannot be started: {error.strerror}") from None
    try:
        async with asyncio.timeout(PATIENCE):
            said, complained = await process.communicate()
    except TimeoutError:
        process.kill()
        raise InterpreterError(f"{python} does not answer within {PATIENCE:g} s") from None
    if process.returncode:
        last = complained.decode(errors="replace").strip().rpartition("\n")[2]
        raise InterpreterError(f"{python} does not work, it ends with {process.returncode}: {last}")
    return said


def _problem(found: _Found) -> str | None:
    if found.python < OLDEST:
        return f"it is Python {_dotted(found.python)}, {_dotted(OLDEST)} or newer is needed"
    if found.missing:
        return f"it lacks {', '.join(found.missing)}; `{_install(found.missing)}` in its virtual environment helps"
    if found.skybus != VERSION:
        return f"it has skybus {found.skybus or 'without a version'}, the services have {VERSION}"
    return None


def _install(missing: list[str]) -> str:
    extras = "worker,ipython" if set(missing) & set(NEEDED_BY_KERNEL) else "worker"
    return f"pip install 'skybus[{extras}]=={VERSION}'"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)
