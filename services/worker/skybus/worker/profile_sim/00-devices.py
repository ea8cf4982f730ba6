# ruff: noqa: N999, F401  (startup files are named by their order and fill a namespace)
# pyright: reportAttributeAccessIssue=false
# ophyd.sim makes its devices when they are asked for, which pyright does not see.
"""Simulated devices: detectors that see a Gaussian peak, motors that move at once or slowly, a camera."""

from ophyd import Component, Device, Signal
from ophyd.sim import (
    SynAxis,
    SynGauss,
    det,
    det1,
    det2,
    det3,
    det_with_count_time,
    flyer1,
    img,
    motor,
    motor1,
    motor2,
    motor3,
    noisy_det,
    pseudo1x3,
    rand,
    rand2,
    sig,
)

slow_motor = SynAxis(name="slow_motor", delay=1, labels={"motors"})
"""A motor that needs a second for every move."""


class SampleStage(Device):
    """Three axes and a name plate."""

    x = Component(SynAxis, labels={"motors"})
    y = Component(SynAxis, labels={"motors"})
    theta = Component(SynAxis, labels={"motors"})
    sample = Component(Signal, value="empty")


class Hutch(Device):
    """A device with two levels below it: `hutch.table.x`."""

    table = Component(SampleStage)
    diode = Component(SynGauss, motor=motor1, motor_field="motor1", center=0, Imax=10, sigma=1)


stage = SampleStage(name="stage")
hutch = Hutch(name="hutch")
