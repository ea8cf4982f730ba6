"""Settings of the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from skybus.bus import room
from skybus.worker.folder import EnvironmentFolder
from skybus.worker.kernel_settings import KernelSettings
from skybus.worker.order import Order, UpdatePolicy
from skybus.worker.profiles import startup_folder

BUILT_IN_PROFILE = Path(__file__).parent / "profile_sim"


class WorkerSettings(KernelSettings):
    """Settings, each from the environment variable `SKYBUS_...`.

    At most one of `startup_dir`, `startup_script` and `startup_module` says where startup code comes from, or else
    `startup_profile`; by default it is a simulated beamline. In an IPython kernel the startup folder is run in any
    case, before the script or the module.
    """

    startup_dir: Path | None = None
    startup_script: Path | None = None
    startup_module: str | None = None
    sim_profile: Path | None = None
    """Another directory than the built-in simulated one."""
    keep_re: bool = True
    device_max_depth: int = 0
    """Levels of the device tree in the catalogue; 0 is all."""
    ignore_invalid_plans: bool | None = None
    """What to do with plans whose defaults or notes cannot be written: leave them out of the catalogue (true), or fail
    to open (false). By default they are listed without what cannot be written."""
    script_root: Path | None = None
    """Folder from which uploaded scripts import their modules when the startup code is a module; otherwise they import
    from where the startup code lies."""
    permitted_re_metadata_keys: Annotated[tuple[str, ...], NoDecode] = ("/",)
    """Paths of the RunEngine's metadata (`/versions/bluesky`) that clients see, colons between; `/` is all."""
    existing_plans_and_devices: Path | None = None
    """A YAML file, or the folder of `existing_plans_and_devices.yaml`, where the catalogue is saved; by default
    nowhere."""
    update_existing_plans_devices: UpdatePolicy = "ENVIRONMENT_OPEN"
    """When it is saved there: never, when an environment has opened, or also whenever it has changed."""
    environment_credentials_file: Path | None = None
    """By default `credentials/environment.json` in the data directory."""
    environment_python: Path | None = None
    """The interpreter in which environments run, such as that of a beamline's own virtual environment; by default ours.
    It needs `skybus[worker]` of our version."""
    docs_max_bytes: int = Field(default=room.DOCS, ge=1 << 20)
    """Stored Bluesky documents; the oldest are dropped first."""
    spare: bool = True
    """Whether to keep a process ready with Bluesky imported, so that environments open fast."""

    @field_validator("environment_python")
    @classmethod
    def _keep_virtual(cls, value: Path | None) -> Path | None:
        return _absolute(value)  # not resolved: the link is what makes it the Python of a virtual environment

    @field_validator("permitted_re_metadata_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        return value.split(":") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_source(self) -> WorkerSettings:
        folders = ("startup_dir", "startup_profile" if self.startup_profile else "ipython_dir")
        code = ("startup_script", "startup_module")
        for names in (folders, code if self.use_ipython_kernel else ("startup_dir", *code)):
            given = [name for name in names if getattr(self, name)]
            if len(given) > 1:
                raise ValueError(f"{', '.join(given)} exclude each other")
        return self

    def order(self, folder: EnvironmentFolder) -> Order:
        """What a process must know to become the environment of a folder."""
        return Order(
            environment_id=folder.environment_id,
            instrument=self.subjects().inst,
            data_dir=self.data_dir.absolute(),
            folder=folder.path.absolute(),
            nats_url=self.nats_url,
            credentials_file=self.environment_credentials_file,
            log_level=self.log_level,
            keep_re=self.keep_re,
            device_max_depth=self.device_max_depth,
            ignore_invalid_plans=self.ignore_invalid_plans,
            script_root=_absolute(self.script_root),
            permitted_re_metadata_keys=self.permitted_re_metadata_keys,
            existing_plans_and_devices=_absolute(self.existing_plans_and_devices),
            update_existing_plans_devices=self.update_existing_plans_devices,
            kernel=self.kernel(self.startup_dir),
            **self._startup(),
        )

    def _startup(self) -> dict[str, Any]:
        """Where the startup code is: one of three, in a kernel a folder and maybe one of the others."""
        code: dict[str, Any] = {}
        if self.startup_module:
            code = {"startup_module": self.startup_module}
        elif self.startup_script:
            code = {"startup_script": _absolute(self.startup_script)}
        if code and not self.use_ipython_kernel:
            return code
        return {"startup_dir": self._startup_dir(is_all=not code), **code}

    def _startup_dir(self, *, is_all: bool) -> Path | None:
        if self.startup_dir:
            return _absolute(self.startup_dir)
        if self.startup_profile or self.ipython_dir or not is_all:
            return startup_folder(self.startup_profile, self.ipython_dir)
        return _absolute(self.sim_profile or BUILT_IN_PROFILE)


def _absolute(path: Path | None) -> Path | None:
    return path.expanduser().absolute() if path else None
