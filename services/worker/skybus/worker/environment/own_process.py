"""Ends a child that user code has forked where it would come back to our code.

A child goes on at the place of the fork. If it went on in ours, it would run the rest of the plan a second time, and
report it. A child that `multiprocessing` has made ends by itself before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from skybus.bus.tracebacks import format_error, traceback_of

_COMES_BACK = SystemExit("skybus: a forked child process ends where it would go on with the plan; the parent does that")


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


class PlanOfThisProcess(Generator[Any, Any, Any]):
    """Surrounds a plan likewise; a child does not leave it for the RunEngine's next message either.

    A callback may have forked the child, so each step looks where it is before it begins, too.
    """

    def __init__(self, plan: Generator[Any, Any, Any]) -> None:
        self._plan = plan
        self._end_child = _ending()

    def send(self, value: Any) -> Any:
        """Go on to the next message."""
        self._end_child(None)
        try:
            message = self._plan.send(value)
        except BaseException as error:
            self._end_child(error)
            raise
        self._end_child(_COMES_BACK)
        return message

    def throw(self, *error: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Go on with an error."""
        self._end_child(None)
        try:
            message = self._plan.throw(*error)
        except BaseException as error_of_plan:
            self._end_child(error_of_plan)
            raise
        self._end_child(_COMES_BACK)
        return message


def _ending() -> Callable[[BaseException | None], None]:
    """What ends this process if it is a child of the present one."""
    pid = os.getpid()

    def end_child(error: BaseException | None) -> None:
        if os.getpid() != pid:
            for write in (partial(_say, error), lambda: sys.stdout.flush(), lambda: sys.stderr.flush()):
                with suppress(BaseException):  # user code may have closed or replaced any of the streams
                    write()
            os._exit(_exit_code(error))

    return end_child


def _say(error: BaseException | None) -> None:
    """Write what Python writes when a program ends."""
    if isinstance(error, SystemExit):
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    elif error is not None and not isinstance(error, StopIteration):
        sys.stderr.write(format_error(error, traceback_of(error)))


def _exit_code(error: BaseException | None) -> int:
    if isinstance(error, SystemExit):
        return error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    return 0 if error is None or isinstance(error, StopIteration) else 1
