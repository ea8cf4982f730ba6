"""Devices of many makes: of ophyd, nested, like area detectors, of ophyd-async, of no library, and with odd names."""

from typing import Any

from bluesky import RunEngine
from bluesky_queueserver import register_device
from ophyd import Component as Cpt
from ophyd import Device, DynamicDeviceComponent, PseudoPositioner, PseudoSingle, Signal, SoftPositioner
from ophyd.areadetector import ADBase
from ophyd.pseudopos import pseudo_position_argument, real_position_argument
from ophyd.sim import (
    MockFlyer,
    SynAxis,
    SynAxisNoHints,
    SynGauss,
    SynPeriodicSignal,
    SynSignal,
    SynSignalRO,
    SynSignalWithRegistry,
    TrivialFlyer,
    ab_det,
    det,
    det1,
    det2,
    det4,
    direct_img,
    flyer1,
    jittery_motor1,
    motor,
    motor1,
    motor2,
    motor3,
    rand,
    signal,
)
from ophyd_async import core

RE = RunEngine({})


class Pair(Device):
    x = Cpt(SynAxis, kind="hinted")
    y = Cpt(SynAxis)


class Table(Device):
    top = Cpt(Pair)
    legs = DynamicDeviceComponent({f"leg_{n}": (Signal, None, {"value": 0}) for n in range(3)})
    note = Cpt(Signal, value="", kind="omitted")


class Hutch(Device):
    table = Cpt(Table)
    lamp = Cpt(Signal, value=0)
    detector = Cpt(SynGauss, motor=motor, motor_field="motor", center=0, Imax=1)


class Beamline(Device):
    first = Cpt(Hutch)
    second = Cpt(Hutch)


class Broken(Signal):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("not there")


class HalfBroken(Device):
    """One component cannot be made."""

    good = Cpt(Signal, value=1)
    bad = Cpt(Broken, lazy=True)
    other = Cpt(Signal, value=2)


class HoldsHalfBroken(Device):
    part = Cpt(HalfBroken)
    sound = Cpt(Signal, value=1)


class Camera(ADBase):
    gain = Cpt(Signal, value=1)


class Detector(ADBase):
    cam = Cpt(Camera)
    exposure = Cpt(Signal, value=1)


class Station(Device):
    det = Cpt(Detector)
    platform = Cpt(Pair)


class Turned(PseudoPositioner):
    u = Cpt(PseudoSingle)
    a = Cpt(SoftPositioner)

    @pseudo_position_argument
    def forward(self, pseudo: Any) -> Any:
        return self.RealPosition(a=pseudo.u)

    @real_position_argument
    def inverse(self, real: Any) -> Any:
        return self.PseudoPosition(u=real.a)


class Plain:
    """Readable without a library."""

    name, parent, hints = "plain", None, {}

    def read(self) -> dict:
        return {}

    def describe(self) -> dict:
        return {}

    def read_configuration(self) -> dict:
        return {}

    def describe_configuration(self) -> dict:
        return {}


class PlainMover(Plain):
    position = 0

    def set(self, value: float) -> None: ...


class PlainFlyer:
    name, parent = "flyer", None

    def kickoff(self) -> None: ...

    def complete(self) -> None: ...

    def collect(self) -> None: ...

    def describe_collect(self) -> None: ...


class WithNames(Plain):
    """Has the names of components and the components."""

    component_names = ("inner", "missing")

    def __init__(self) -> None:
        self.inner = PlainMover()


class WithChildren:
    def __init__(self) -> None:
        self.left, self.right = Plain(), PlainMover()

    def children(self) -> list:
        return [("left", self.left), ("right", self.right)]


class WithOddNames(Plain):
    component_names = 5


class NoDevice:
    name, parent = "none", None

    def read(self) -> None: ...


class Slide(core.StandardReadable):
    def __init__(self, name: str = "") -> None:
        with self.add_children_as_readables():
            self.value = core.soft_signal_rw(float)
        self.label = core.soft_signal_rw(str)
        super().__init__(name)


class Mover(core.StandardReadable):
    def __init__(self, name: str = "") -> None:
        self.readback = core.soft_signal_rw(float)
        super().__init__(name)

    @core.AsyncStatus.wrap
    async def set(self, value: float) -> None:
        await self.readback.set(value)


class Desk(core.Device):
    def __init__(self, name: str = "") -> None:
        self.x, self.y = Mover(), Mover()
        self.slide = Slide()
        super().__init__(name)


class Rack(core.Device):
    def __init__(self, name: str = "") -> None:
        self.places = core.DeviceVector({n: Slide() for n in range(1, 4)})
        super().__init__(name)


pair, table, hutch, beamline = Pair(name="pair"), Table(name="table"), Hutch(name="hutch"), Beamline(name="beamline")
half_broken, holds_half_broken = HalfBroken(name="half_broken"), HoldsHalfBroken(name="holds_half_broken")
camera, area_detector, station = Camera(name="camera"), Detector(name="area_detector"), Station(name="station")
turned = Turned(name="turned")
soft_positioner = SoftPositioner(name="soft_positioner")
sim_gauss = SynGauss("sim_gauss", motor, "motor", center=0, Imax=1)
sim_axis, no_hints = SynAxis(name="sim_axis"), SynAxisNoHints(name="no_hints")
syn_signal, syn_signal_ro = SynSignal(name="syn_signal"), SynSignalRO(name="syn_signal_ro")
periodic = SynPeriodicSignal(name="periodic")
registry_signal = SynSignalWithRegistry(name="registry_signal")
trivial_flyer = TrivialFlyer()
mock_flyer = MockFlyer("mock_flyer", det, motor, 1, 5, 20)
soft_signal = Signal(name="soft_signal", value=1)
plain, plain_mover, plain_flyer = Plain(), PlainMover(), PlainFlyer()
with_names, with_children, with_odd_names = WithNames(), WithChildren(), WithOddNames()
no_device = NoDevice()
slide, mover, desk, rack = Slide("slide"), Mover("mover"), Desk("desk"), Rack("rack")
async_signal, async_read = core.soft_signal_rw(float, name="s"), core.soft_signal_r_and_setter(int)[0]
empty_async, vector = core.Device("empty"), core.DeviceVector({1: Slide("one")})

# The variable is what counts, whatever the device calls itself.
other_name = SynAxis(name="not the variable's name")
shadow = SynAxis(name="det")
dotted_name = SynAxis(name="hutch.table")
alias = motor
_private, __mangled = SynAxis(name="_private"), SynAxis(name="__mangled")
UPPER, Upper, upper = SynAxis(name="UPPER"), SynAxis(name="Upper"), SynAxis(name="upper")
dev9, d, count_ = SynAxis(name="dev9"), SynAxis(name="d"), SynAxis(name="count_")
détecteur = SynAxis(name="détecteur")
list_of_devices, table_of_devices = [det, motor], {"motor": motor}
DeviceClass = Pair

registered, registered_deep, registered_all = Beamline(name="r"), Beamline(name="r2"), Beamline(name="r3")
registered_detector, hidden = Detector(name="rd"), Pair(name="hidden")
register_device("registered")
register_device("registered_deep", depth=3)
register_device("registered_all", depth=0)
register_device("registered_detector", depth=0)
register_device("hidden", exclude=True)
register_device("does_not_exist", depth=2)
register_device("no_device")
