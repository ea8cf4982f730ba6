"""Settings of the IPython kernel that environments may run in."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from skybus.bus.settings import BusSettings
from skybus.worker.kernel_options import ADDRESS, KernelOptions, KernelPorts, Port
from skybus.worker.profiles import profile_of


class KernelSettings(BusSettings):
    """What belongs to the kernel; without effect unless `use_ipython_kernel` is set."""

    use_ipython_kernel: bool = False
    """Whether environments run in an IPython kernel, to which consoles can be attached."""
    startup_profile: str | None = None
    """An IPython profile, whose startup folder is taken; also without a kernel."""
    ipython_dir: Path | None = None
    """Where IPython profiles are; by default `IPYTHONDIR`, or `~/.ipython`."""
    ipython_kernel_ip: str = Field("localhost", pattern=ADDRESS)
    ipython_matplotlib: str | None = None
    """The backend, as IPython names it; by default `agg`."""
    ipython_connection_file: str | None = None
    """Kept from kernel to kernel, so that consoles stay connected."""
    ipython_connection_dir: Path | None = None
    ipython_shell_port: Port | None = None
    ipython_iopub_port: Port | None = None
    ipython_stdin_port: Port | None = None
    ipython_hb_port: Port | None = None
    ipython_control_port: Port | None = None

    def kernel(self, startup_dir: Path | None) -> KernelOptions | None:
        """What the environment must know of its kernel, if it has one.

        Args:
            startup_dir: if that is the startup folder of a profile, it is this profile.
        """
        if not self.use_ipython_kernel:
            return None
        named = (self.startup_profile, self.ipython_dir)
        profile, ipython_dir = (startup_dir and profile_of(startup_dir)) or named
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
