"""A RunEngine with what sites hang into one, and plans that change it, are held by suspenders, and ask questions."""

import asyncio
import functools
import getpass
import io
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
from bluesky import RunEngine
from bluesky.plans import count  # noqa: F401
from bluesky.suspenders import SuspendBoolHigh, SuspendFloor
from bluesky.utils import Msg, MsgGenerator, PlanHalt, RequestAbort, RequestStop
from ophyd import Signal, SoftPositioner
from ophyd.sim import det, motor  # pyright: ignore[reportAttributeAccessIssue]


class SiteEngine(RunEngine):
    """The engine of a site, which wants to know where its subclasses are used."""

    def __init_subclass__(cls, *, beamline: str) -> None:
        cls.beamline = beamline


class CarefulEngine(SiteEngine, beamline="sim"):
    """Marks its documents, as an engine of a site's own may."""

    async def emit(self, name: Any, doc: Any) -> None:
        """Pass a document on."""
        if name.name == "start":
            doc = {**doc, "marked": "by the site"}
        await super().emit(name, doc)


RE = ENGINE = CarefulEngine({"beamline": "sim"})
RE.preprocessors.append(bpp.SupplementalData(baseline=[motor]))

axis = SoftPositioner(name="axis", init_pos=0)
shutter = Signal(name="shutter", value=0)
current = Signal(name="current", value=500)


def printed(show: Callable[[], Any]) -> str:
    """Return what a function prints."""
    with redirect_stdout(io.StringIO()) as text:
        show()
    return text.getvalue()


def as_it_is() -> dict[str, Any]:
    """Look at what a user sees of the RunEngine."""
    return {
        "hooks": (ENGINE.msg_hook, ENGINE.state_hook, ENGINE.waiting_hook),
        "lists": (list(ENGINE.preprocessors), list(ENGINE.context_managers), ENGINE.suspenders),
        "subscriptions": dict(ENGINE.dispatcher.cb_registry.callbacks),
        "type": type(ENGINE) is CarefulEngine,
        "variables": {name for name in vars(ENGINE) if not name.startswith("_")},
        "commands": printed(lambda: ENGINE.print_command_registry(verbose=True)),
        "log": ENGINE.log,
        "md": dict(ENGINE.md),
    }


FOUND = as_it_is()


def as_left() -> MsgGenerator:
    """Say what is different in a plan from what the startup code has left."""
    yield from bps.null()
    now = as_it_is()
    return [name for name in FOUND if now[name] != FOUND[name]]


CHANGEABLE = ("preprocessors", "msg_hook", "state_hook", "waiting_hook", "md", "context_managers", "dispatcher", "log")
HOOKS = ("msg_hook", "state_hook", "waiting_hook")
CHANGES = {
    "nothing": lambda: None,
    "preprocessors cleared": lambda: ENGINE.preprocessors.clear(),
    "preprocessors replaced": lambda: setattr(ENGINE, "preprocessors", []),
    "preprocessors popped": lambda: ENGINE.preprocessors.pop(),
    "hooks taken away": lambda: [setattr(ENGINE, hook, None) for hook in HOOKS],
    "hooks replaced": lambda: [setattr(ENGINE, hook, lambda *_: None) for hook in HOOKS],
    "unsubscribed": lambda: [ENGINE.unsubscribe(token) for token in range(100)],
    "all unsubscribed": lambda: ENGINE.dispatcher.unsubscribe_all(),
    "dispatcher replaced": lambda: setattr(ENGINE, "dispatcher", type(ENGINE.dispatcher)()),
    "context managers cleared": lambda: ENGINE.context_managers.clear(),
    "suspenders cleared": lambda: ENGINE.clear_suspenders(),
    "metadata cleared": lambda: ENGINE.md.clear(),
    "metadata replaced": lambda: setattr(ENGINE, "md", {"scan_id": 7}),
    "log replaced": lambda: setattr(ENGINE, "log", logging.getLogger("other")),
}


def change(what: str) -> MsgGenerator:
    """Change something of the RunEngine, and put it back after the run."""
    before = {name: getattr(ENGINE, name) for name in CHANGEABLE}
    preprocessors = list(ENGINE.preprocessors)
    CHANGES[what]()
    yield from bps.mv(axis, 1 + axis.position)
    yield from bp.count([det], num=2)
    for name, value in before.items():
        setattr(ENGINE, name, value)
    ENGINE.preprocessors[:] = preprocessors
    return what


def change_and_break(what: str) -> MsgGenerator:
    """Change something of the RunEngine, and fail."""
    yield from change(what)
    raise ValueError("the shutter did not open")


def subscriber_fails() -> MsgGenerator:
    """Have a subscriber that raises."""

    def fail(_name: str, _document: Any) -> None:
        raise ValueError("the file could not be written")

    yield from bpp.subs_wrapper(bp.count([det]), {"start": fail})


def exiting(plan: MsgGenerator) -> MsgGenerator:
    """Be a preprocessor that ends the process."""
    yield from bps.null()
    raise SystemExit("from a preprocessor")


def say(text: str) -> MsgGenerator:
    """Print something."""
    print(text)
    yield from bps.null()


closed = SuspendBoolHigh(shutter, tripped_message="the hutch is open")
SUSPENDERS = {
    "closed": closed,
    "low": SuspendFloor(current, 400, tripped_message="no beam"),
    "slow": SuspendBoolHigh(shutter, sleep=0.3),
    "around": SuspendBoolHigh(shutter, pre_plan=lambda: say("before"), post_plan=lambda: say("after")),
}


def set_signal(name: str, value: float) -> None:
    """Change a signal."""
    {"shutter": shutter, "current": current}[name].put(value)


def install(*names: str) -> None:
    """Install suspenders, and no others."""
    ENGINE.clear_suspenders()
    for name in names:
        ENGINE.install_suspender(SUSPENDERS[name])


may_end = threading.Event()


def let_end(is_so: bool = True) -> None:
    """Let the plan `with_checkpoint` come to its end."""
    (may_end.set if is_so else may_end.clear)()


def with_checkpoint() -> MsgGenerator:
    """Stay between two checkpoints until it may end."""
    yield from bps.checkpoint()
    print("begun")
    while not may_end.is_set():
        yield from bps.sleep(0.02)
    yield from bps.checkpoint()
    return "measured"


def with_own_suspender() -> MsgGenerator:
    """Install a suspender that has tripped already."""
    yield from bps.checkpoint()
    yield from bps.install_suspender(closed)
    return (yield from with_checkpoint())


released = asyncio.Event()


def release() -> None:
    """Let the plan `held_by_hand` go on."""
    ENGINE.loop.call_soon_threadsafe(released.set)


def held_by_hand() -> MsgGenerator:
    """Ask the RunEngine itself to suspend."""
    yield from bps.checkpoint()
    ENGINE.request_suspend(released.wait, justification="half a character: \udcff")
    return (yield from with_checkpoint())


def pausing_itself() -> MsgGenerator:
    """Ask for a deferred pause, and be held before the next checkpoint."""
    yield from bps.checkpoint()
    yield from bps.deferred_pause()
    shutter.put(1)
    while not may_end.is_set():
        yield from bps.sleep(0.02)


def ask(prompt: str) -> MsgGenerator:
    """Ask with a message."""
    return (yield from bps.input_plan(prompt))


def ask_python(how: str) -> MsgGenerator:
    """Ask in a way of Python's."""
    yield from bps.null()
    return ask_now(how)


def ask_now(how: str) -> Any:
    """Ask in a way of Python's."""
    ways = {
        "input": lambda: input("Close the hutch?"),
        "read": sys.stdin.read,
        "first stream": lambda: sys.__stdin__ and sys.__stdin__.readline(),
        "lines": lambda: list(sys.stdin),
        "bytes": sys.stdin.buffer.read,
        "getpass": lambda: getpass.getpass("Password?"),
    }
    return ways[how]()


def answered() -> MsgGenerator:
    """Bring the answers along."""
    before, sys.stdin = sys.stdin, io.StringIO("yes\nno\n")
    try:
        first = yield from bps.input_plan("Close the hutch?")
        return [first, input("Sure?")]
    finally:
        sys.stdin = before


def answer_always() -> None:
    """Register an own command for questions."""

    async def answer(_msg: Any) -> str:
        return "yes"

    ENGINE.register_command("input", answer)


def ends_itself(action: str) -> MsgGenerator:
    """End the plan from another thread."""
    yield from bps.open_run()
    threading.Thread(target=getattr(ENGINE, action)).start()
    yield from bps.sleep(60)


def ends_itself_after_a_pause() -> MsgGenerator:
    """Pause, and end the plan from another thread when it goes on."""
    yield from bps.checkpoint()
    yield from bps.pause()
    yield from ends_itself("abort")


def raises_ending(action: str) -> MsgGenerator:
    """Raise what the RunEngine raises to end a plan."""
    yield from bps.open_run()
    raise {"stop": RequestStop, "abort": RequestAbort, "halt": PlanHalt}[action]


def pauses_without_checkpoint() -> MsgGenerator:
    """Ask for a pause where none is possible."""
    yield from bps.clear_checkpoint()
    yield from bps.pause()


def raises_cancelled() -> MsgGenerator:
    """Raise what asyncio raises."""
    yield from bps.open_run()
    raise asyncio.CancelledError("by a library")


class ThoroughEngine(RunEngine):
    """Runs a plan of its own before and after each plan."""

    def __call__(self, plan: Any, *args: Any, **metadata: Any) -> Any:
        """Run three plans."""
        super().__call__([Msg("null")])
        try:
            return super().__call__(plan, *args, **metadata)
        finally:
            super().__call__([Msg("null")])


def run_now(plan: Callable[..., MsgGenerator]) -> Callable[..., Any]:
    """Decorate a plan so that it is run where it is called."""

    @functools.wraps(plan)
    def run(*args: Any, **kwargs: Any) -> Any:
        return ENGINE(plan(*args, **kwargs))

    return run


@run_now
def runs_itself() -> MsgGenerator:
    """Count."""
    yield from bp.count([det])


@functools.wraps(say)
def returns(text: str) -> Any:
    """Return what a text means."""
    return eval(text)


def bad_macro() -> SyntaxError:
    """Return an error that Python cannot show, as the offset is a text."""
    return SyntaxError("bad macro", ("macro.txt", 3, "5", "mv x 3"))  # pyright: ignore[reportArgumentType]


def raises_bad_macro() -> MsgGenerator:
    """Raise it."""
    yield from bps.null()
    raise bad_macro()
