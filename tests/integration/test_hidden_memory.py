"""Services keep plan code, which runs as the same account, out of their memory and their environment."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.worker_fixtures import house_of, lone_worker, until_answers
from tests.servers import NatsServer, Valkey

BIN = Path(sys.executable).parent
PR_CAPBSET_DROP, CAP_SYS_PTRACE = 24, 19
HIDDEN = "from skybus.bus.hidden_memory import hide_memory; hide_memory()\n"
WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"
PROGRAM = "import os; os.execv('/bin/sh', ['/bin/sh', '-c', 'echo ready; read line'])"
LOOK = """
import sys
for name in ("environ", "mem"):
    with open(f"/proc/{sys.argv[1]}/{name}", "rb") as file:
        file.read(0)
print("in")
"""


def as_a_user() -> None:
    """Have no more rights over the processes of the account than any user; only root has more."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0)


@contextmanager
def running(*command: str | Path, **exported: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, env={**os.environ, **exported}, preexec_fn=as_a_user,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with process:
        assert process.stdout
        process.stdout.readline()  # it has begun
        yield process
        process.kill()
        process.communicate()


def look_into(process: subprocess.Popen[bytes]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(process.pid)],
        capture_output=True,
        text=True,
        preexec_fn=as_a_user,
    )
    return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2].partition(":")[0]


@pytest.mark.parametrize(
    ("code", "outcome"), [(HIDDEN + WAIT, "PermissionError"), (WAIT, "in"), (HIDDEN + PROGRAM, "in")]
)
def test_a_process_that_hides_its_memory_cannot_be_looked_into_and_what_it_starts_can(code: str, outcome: str):
    with running(sys.executable, "-c", code) as process:
        assert look_into(process) == outcome


@pytest.mark.parametrize(
    ("service", "dumpable", "outcome"),
    [
        *((service, "false", "PermissionError") for service in ("auth", "bridge", "console", "queue", "worker")),
        ("auth", "true", "in"),
    ],
)
def test_plan_code_cannot_look_into_a_service_unless_a_setting_lets_it(
    nats: NatsServer, valkey: Valkey, service: str, dumpable: str, outcome: str
):
    settings = {
        "SKYBUS_DATA_DIR": str(nats.data_dir),
        "SKYBUS_REDIS_URL": valkey.url,
        "SKYBUS_ZMQ_CONTROL_ADDR": f"ipc://{nats.data_dir}/control",
        "SKYBUS_ZMQ_INFO_ADDR": f"ipc://{nats.data_dir}/info",
        "SKYBUS_DUMPABLE": dumpable,
        "SKYBUS_SPARE": "0",
        "SKYBUS_LOG_LEVEL": "debug",
    }
    with running(BIN / f"skybus-{service}", **settings) as process:
        assert look_into(process) == outcome


async def test_plan_code_inherits_no_keys_of_services_from_its_supervisor(data_dir: Path):
    """One file of settings for all services may have them."""
    worker = lone_worker(data_dir, SKYBUS_REDIS_URL="redis://:secret@nowhere", SKYBUS_ZMQ_PRIVATE_KEY="secret")
    server = NatsServer(data_dir)
    await server.start()
    worker.start()
    try:
        async with house_of(server) as house:
            await until_answers(house)
            await house.open()
        assert b"secret" not in Path(f"/proc/{worker.environment_pid}/environ").read_bytes()
    finally:
        worker.end()
        server.stop()
