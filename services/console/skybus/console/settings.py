"""The settings of the console service."""

from __future__ import annotations

from pydantic import Field

from skybus.bus import room
from skybus.bus.settings import BusSettings
from skybus.bus.streams import DAY


class ConsoleSettings(BusSettings):
    """How much console output is kept."""

    console_max_age: float = Field(default=7.0, gt=0)
    """Days."""
    console_max_bytes: int = Field(default=room.CONSOLE, ge=1 << 20)

    @property
    def max_age_seconds(self) -> float:
        """The age in the unit that streams are made with."""
        return self.console_max_age * DAY
