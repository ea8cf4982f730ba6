"""What the supervisor tells a spare process: which environment it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skybus.bus.messages import Message
from skybus.bus.settings import BusSettings
from skybus.worker.kernel_options import KernelOptions

UpdatePolicy = Literal["NEVER", "ENVIRONMENT_OPEN", "ALWAYS"]
"""When the catalogue is saved; `ALWAYS` is also whenever it changes."""


class Order(Message):
    """One JSON line on the standard input of `skybus-environment`."""

    environment_id: str
    instrument: str
    data_dir: Path
    folder: Path
    """Of this environment, below the data directory."""
    nats_url: str | None = None
    credentials_file: Path | None = None
    """By default `credentials/environment.json` in the data directory."""
    log_level: str = "info"
    kernel: KernelOptions | None = None
    """If there are such, the environment runs in an IPython kernel."""
    startup_dir: Path | None = None
    startup_script: Path | None = None
    startup_module: str | None = None
    keep_re: bool = True
    device_max_depth: int = 0
    """Levels of the device tree in the catalogue; 0 is all."""
    ignore_invalid_plans: bool | None = None
    """Leave plans out whose values or notes cannot be written, or refuse to open; if neither, list them without."""
    script_root: Path | None = None
    """Folder from which uploaded scripts import when the startup code is a module, which has none."""
    permitted_re_metadata_keys: tuple[str, ...] = ("/",)
    """Paths of the RunEngine's metadata that clients see."""
    existing_plans_and_devices: Path | None = None
    """A YAML file, or the folder of one with the reference's name, where the catalogue is saved."""
    update_existing_plans_devices: UpdatePolicy = "ENVIRONMENT_OPEN"

    def bus_settings(self) -> BusSettings:
        """Where the environment finds the bus."""
        return BusSettings(
            data_dir=self.data_dir,
            instrument=self.instrument,
            nats_url=self.nats_url,
            credentials_file=self.credentials_file,
        )
