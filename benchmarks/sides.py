"""The two sides of a comparison: how each is started, reached and stopped."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path

import processes
from reference_venv import ensure_venv, valkey_server
from zmq_client import Client

HERE = Path(__file__).parent
STARTUP_DIR = HERE / "startup"
PERMISSIONS = STARTUP_DIR / "user_group_permissions.yaml"


class Side:
    """A server that speaks the 0MQ API; subclasses know how to start it."""

    name = ""
    turnaround_plans = 50
    turnaround_rounds = 5
    large_queue = 100_000
    """How many items a queue holds that is called large."""

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.startup_dir = STARTUP_DIR
        self.starts = True
        """Whether the last start succeeded: nothing more can be measured of a side that does not start."""
        self.remarks: dict[str, str] = {}
        """What has to be said about a figure, by its name."""
        self._mark = f"{self.name}-{os.getpid()}"
        self._running: list[subprocess.Popen[bytes]] = []
        self._client: Client | None = None
        self._folder: Path | None = None

    @property
    def client(self) -> Client:
        """The client of the running server; it is started if need be."""
        if self._client is None:
            self.start()
        assert self._client
        return self._client

    def start(self, *, publish: bool = True) -> float:
        """Start from nothing and return the milliseconds until it is ready.

        Without `publish` the server may leave its info socket away; only the reference knows that option.
        """
        self.stop()
        self.starts = False
        self._folder = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-"))
        control, info = (f"tcp://127.0.0.1:{processes.free_port()}" for _ in range(2))
        self._client = Client(control, info)
        started = time.perf_counter()
        self._launch(control, info, self._folder, publish)
        self._await_ready_line()
        self._client.wait_until_answering(60, self._assert_alive)
        self.starts = True
        return 1000 * (time.perf_counter() - started)

    def stop(self) -> None:
        """End every process of this side and remove what they wrote."""
        with processes.uninterrupted():
            self._stop()

    def run_bare(self, plans: int, pauses: int) -> dict[str, list[float]]:
        """Run bare.py in this side's virtual environment."""
        command = [self.venv / "bin" / "python", HERE / "bare.py", self.startup_dir]
        command += ["--plans", str(plans), "--pauses", str(pauses)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"bare.py failed: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    @cached_property
    def bare(self) -> dict[str, list[float]]:
        """The samples of the bare loop, in milliseconds."""
        return self.run_bare(plans=50, pauses=5)

    def settle(self) -> None:
        """Wait until the server has come to rest: its processes use next to no time."""
        deadline = time.perf_counter() + 10
        while processes.busy_share(self._mark, over=0.3) > 0.1 and time.perf_counter() < deadline:
            pass

    def log_tail(self) -> str:
        """Return the last lines that the processes of this side wrote."""
        if self._folder is None:
            return ""
        logs = sorted(self._folder.rglob("*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in logs)

    def _stop(self) -> None:
        if self._client:
            self._client.close()
        for process in reversed(self._running):
            processes.stop(process, grace=10)
        if left := processes.kill_descendants(self._mark.encode()):
            print(f"{self.name}: {len(left)} processes outlived the stop and were killed", file=sys.stderr)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._client, self._folder, self._running = None, None, []

    def _launch(self, control: str, info: str, folder: Path, publish: bool) -> None:
        raise NotImplementedError

    def _await_ready_line(self) -> None:
        """Wait until the server has said that it is ready, if it says so."""

    def _spawn(self, command: list[str | Path], log: Path) -> None:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("QSERVER_", "SKYBUS_"))}
        self._running.append(processes.start(command, log, env | {"BENCHMARK_SIDE": self._mark}))

    def _assert_alive(self) -> None:
        for process in self._running:
            if process.poll() is not None:
                raise RuntimeError(f"a process ended with {process.returncode} before all was ready")


class Reference(Side):
    """The Bluesky Queue Server from PyPI, in its own virtual environment, with a Valkey server as its Redis."""

    name = "reference"
    turnaround_plans = 10  # Each takes half a second.
    turnaround_rounds = 3
    large_queue = 10_000  # 100 000 items would take minutes to add.

    def __init__(self) -> None:
        super().__init__(ensure_venv())
        self._valkey = valkey_server(self.venv)

    def _launch(self, control: str, info: str, folder: Path, publish: bool) -> None:
        port = str(processes.free_port())
        redis = [self._valkey, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._spawn([*redis, "--dir", folder], folder / "redis.log")
        manager: list[str | Path] = [self.venv / "bin" / "start-re-manager", "--redis-addr", f"127.0.0.1:{port}"]
        manager += ["--startup-dir", self.startup_dir, "--user-group-permissions", PERMISSIONS]
        manager += ["--existing-plans-devices", folder, "--console-output", "OFF"]
        manager += ["--zmq-control-addr", control, "--zmq-info-addr", info]
        manager += ["--zmq-publish-console", "ON" if publish else "OFF"]
        self._spawn(manager, folder / "manager.log")


class Skybus(Side):
    """skybus as `skybus up` starts it, NATS and Valkey included, spoken to through its bridge."""

    name = "skybus"
    ready = b"ready"
    """How the line begins that says that everything is up."""

    def __init__(self) -> None:
        super().__init__(HERE.parent / ".venv")

    @property
    def data_dir(self) -> Path:
        """Where the running skybus keeps its files."""
        assert self._folder
        return self._folder / "data"

    def _launch(self, control: str, info: str, folder: Path, publish: bool) -> None:
        command: list[str | Path] = [self.venv / "bin" / "skybus", "up", "--data-dir", self.data_dir]
        command += ["--startup-dir", self.startup_dir, "--user-group-permissions", PERMISSIONS]
        command += ["--zmq-control-addr", control, "--zmq-info-addr", info]
        self._spawn(command, folder / "up.log")

    def _await_ready_line(self) -> None:
        assert self._folder
        deadline = time.perf_counter() + 60
        while time.perf_counter() < deadline:
            self._assert_alive()
            if any(line.startswith(self.ready) for line in (self._folder / "up.log").read_bytes().splitlines()):
                return
            time.sleep(0.01)  # a closer look would take time from what is measured
        raise TimeoutError("skybus up never said that it is ready")
