"""Ends a child that user code has forked where it would come back to our code.

A child goes on at the place of the fork. If it went on in ours, it would run the rest of the plan a second time, and
report it. A child that `multiprocessing` has made ends by itself before.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_COMES_BACK = "skybus: a forked child process has come back to the plan; it ends here, the plan goes on in the parent"


@contextmanager
def in_this_process() -> Iterator[None]:
    """Surround user code: a child that it forks does not leave it."""
    end_child = _ending()
    try:
        yield
    except BaseException as error:
        end_child(error)
        raise
    end_child(None)


def plan_in_this_process(plan: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Surround a plan likewise; a child does not leave it for the RunEngine's next message either."""
    return (yield from _OwnPlan(plan))


class _OwnPlan(Generator[Any, Any, Any]):
    def __init__(self, plan: Generator[Any, Any, Any]) -> None:
        self._plan = plan
        self._end_child = _ending()

    def send(self, value: Any) -> Any:
        return self._go_on(self._plan.send, value)

    def throw(self, *error: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._go_on(self._plan.throw, *error)

    def _go_on(self, step: Callable[..., Any], *args: Any) -> Any:
        self._end_child(None)  # a callback may have forked it
        try:
            message = step(*args)
        except BaseException as error:
            self._end_child(error)
            raise
        self._end_child(SystemExit(_COMES_BACK))
        return message


def _ending() -> Callable[[BaseException | None], None]:
    """What ends this process if it is a child of the present one."""
    pid = os.getpid()

    def end_child(error: BaseException | None) -> None:
        if os.getpid() != pid:
            with suppress(BaseException):
                _say(error)
            os._exit(_exit_code(error))

    return end_child


def _say(error: BaseException | None) -> None:
    """Write what Python writes when a program ends."""
    if isinstance(error, SystemExit):
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    elif error is not None and not isinstance(error, StopIteration):
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()


def _exit_code(error: BaseException | None) -> int:
    if isinstance(error, SystemExit):
        return error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    return 0 if error is None or isinstance(error, StopIteration) else 1
