"""When the time of a request is over, whatever the clocks of its sender and of its service say.

A request carries a deadline and, beside it, how long its sender waits. A service refuses what comes after its deadline,
since it may have waited anywhere, and what claims more time than its sender waits, since nobody knows then how long it
has waited. Its answer has the time of the service. A sender whose clock is off corrects its deadlines by that and sends
the request at once again; one that has given up meanwhile does not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from skybus.bus import headers
from skybus.bus.errors import UnavailableError

AHEAD = 1.0
"""Seconds that a deadline may be too far away: a clock is seldom better."""
_EXACT = 0.05
"""Seconds by which clocks of one machine seem to differ at the most."""


@dataclass
class ServiceClock:
    """What a sender knows of the clock of the services."""

    ahead: float = 0.0
    """Seconds that it is ahead of our clock."""

    def head(self, seconds: float) -> dict[str, str]:
        """The headers of a request that is sent now, and whose sender waits for so many seconds."""
        deadline = time.time() + self.ahead + seconds
        return {headers.DEADLINE: str(int(deadline * 1000)), headers.DURATION: str(max(int(seconds * 1000), 1))}

    def learn(self, head: Mapping[str, str], waited: float) -> None:
        """Take the time of a service from its answer, which has just come, if it has one and ours was wrong.

        Args:
            head: of the answer.
            waited: seconds since the request was sent; the service has written the time meanwhile.
        """
        try:
            ahead = float(head[headers.CLOCK]) - time.time()
        except (KeyError, ValueError):
            return
        if not ahead - _EXACT <= self.ahead <= ahead + waited + _EXACT:
            self.ahead = ahead


@dataclass(frozen=True)
class Deadline:
    """What a request says of its time."""

    at: float | None
    """Unix seconds."""
    duration: float | None = None
    """Seconds that the sender waits."""

    @classmethod
    def of(cls, head: Mapping[str, str]) -> Deadline:
        """Read the headers; what is no number counts as not said."""
        return cls(_seconds(head.get(headers.DEADLINE, "")), _seconds(head.get(headers.DURATION, "")))

    @property
    def is_doubtful(self) -> bool:
        """Whether the clock of the sender may be wrong: more time is left than it waits, or less than half of it."""
        if self.at is None or self.duration is None:
            return False
        return not self.duration / 2 <= self.at - time.time() <= self.duration + _EXACT

    def require(self) -> None:
        """Check that a request has come in time.

        Raises:
            UnavailableError: it has not, or nobody knows.
        """
        if self.at is None:
            return
        now = time.time()
        if now > self.at:
            raise UnavailableError(
                f"the request arrived {now - self.at:.1f} s after its deadline and was not carried out: "
                f"by the clock of its sender its time was over at {_written(self.at)}, here it is {_written(now)}"
            )
        if self.duration is not None and self.at - now > self.duration + AHEAD:
            raise UnavailableError(
                f"the request was not carried out, since nobody knows how old it is: its sender waits "
                f"{self.duration:g} s, until {_written(self.at)} by its clock, and here it is {_written(now)}"
            )


def _seconds(value: str) -> float | None:
    """Seconds of a header with milliseconds."""
    return int(value) / 1000 if value.isascii() and value.isdigit() and len(value) < 16 else None


def _written(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment).astimezone().isoformat(" ", "milliseconds")
    except (ValueError, OverflowError, OSError):  # a year that no calendar has
        return f"{moment:.3f} (unix)"
