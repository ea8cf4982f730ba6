"""A motor record as beamlines have it, reached over Channel Access."""

from bluesky import RunEngine
from bluesky.plans import scan  # noqa: F401
from ophyd import EpicsMotor
from ophyd.sim import det  # noqa: F401

RE = RunEngine()

motor = EpicsMotor("sim:mtr3", name="motor")
motor.wait_for_connection(timeout=20)
