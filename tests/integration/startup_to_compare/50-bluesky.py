"""The plans that everybody has."""

from bluesky.plan_stubs import *  # noqa: F403
from bluesky.plans import *  # noqa: F403
