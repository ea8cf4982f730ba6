"""Settings of the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from skybus.bus.settings import BusSettings
from skybus.worker.folder import EnvironmentFolder
from skybus.worker.kernel_options import ADDRESS, KernelOptions, KernelPorts, Port
from skybus.worker.order import Order
from skybus.worker.profiles import profile_of, startup_folder

BUILT_IN_PROFILE = Path(__file__).parent / "profile_sim"


class WorkerSettings(BusSettings):
    """Settings, each from the environment variable `SKYBUS_...`.

    At most one of `startup_dir`, `startup_script` and `startup_module` says where startup code comes from, or else
    `startup_profile`; by default it is a simulated beamline. In an IPython kernel the startup folder of the profile is
    run in any case, before the script or the module.
    """

    startup_dir: Path | None = None
    startup_script: Path | None = None
    startup_module: str | None = None
    startup_profile: str | None = None
    """An IPython profile, whose startup folder is taken."""
    ipython_dir: Path | None = None
    """Where IPython profiles are; by default `IPYTHONDIR`, or `~/.ipython`."""
    use_ipython_kernel: bool = False
    """Whether environments run in an IPython kernel, to which consoles can be attached."""
    ipython_kernel_ip: str = Field("localhost", pattern=ADDRESS)
    ipython_matplotlib: str | None = None
    ipython_connection_file: str | None = None
    ipython_connection_dir: Path | None = None
    ipython_shell_port: Port | None = None
    ipython_iopub_port: Port | None = None
    ipython_stdin_port: Port | None = None
    ipython_hb_port: Port | None = None
    ipython_control_port: Port | None = None
    sim_profile: Path | None = None
    """Another directory than the built-in simulated one."""
    keep_re: bool = True
    device_max_depth: int = 0
    """Levels of the device tree in the catalogue; 0 is all."""
    ignore_invalid_plans: bool = False
    """Leave plans that cannot be described out of the catalogue, instead of failing to open."""
    environment_credentials_file: Path | None = None
    """By default `credentials/environment.json` in the data directory."""
    spare: bool = True
    """Whether to keep a process ready with Bluesky imported, so that environments open fast."""

    @model_validator(mode="after")
    def _one_source(self) -> WorkerSettings:
        folders = ("startup_dir", "startup_profile") if self.startup_profile else ("startup_dir", "ipython_dir")
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
            kernel=self._kernel(),
            **self._startup(),
        )

    def _startup(self) -> dict[str, Any]:
        """Where the startup code is: in a kernel, a folder and maybe more, otherwise one of three."""
        code: dict[str, Any] = {}
        if self.startup_module:
            code = {"startup_module": self.startup_module}
        elif self.startup_script:
            code = {"startup_script": self.startup_script.expanduser().absolute()}
        if code and not self.use_ipython_kernel:
            return code
        code["startup_dir"] = self._startup_dir(is_enough=not code)
        return code

    def _startup_dir(self, *, is_enough: bool) -> Path:
        if self.startup_dir:
            return self.startup_dir.expanduser().absolute()
        if self.startup_profile or self.ipython_dir or not is_enough:
            return startup_folder(self.startup_profile, self.ipython_dir)
        return (self.sim_profile or BUILT_IN_PROFILE).expanduser().absolute()

    def _kernel(self) -> KernelOptions | None:
        if not self.use_ipython_kernel:
            return None
        profile, ipython_dir = (self.startup_dir and profile_of(self.startup_dir)) or (
            self.startup_profile,
            self.ipython_dir,
        )
        return KernelOptions(
            ip=self.ipython_kernel_ip,
            ports=KernelPorts(
                shell_port=self.ipython_shell_port,
                iopub_port=self.ipython_iopub_port,
                stdin_port=self.ipython_stdin_port,
                hb_port=self.ipython_hb_port,
                control_port=self.ipython_control_port,
            ),
            connection_file=self.ipython_connection_file,
            connection_dir=self.ipython_connection_dir and self.ipython_connection_dir.expanduser().absolute(),
            profile=profile,
            ipython_dir=ipython_dir and ipython_dir.expanduser().absolute(),
            matplotlib=self.ipython_matplotlib,
        )
