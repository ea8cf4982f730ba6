"""The seed of what is random in this run of the tests; it is printed first, and SKYBUS_TEST_SEED sets it."""

from __future__ import annotations

import os
import random

SEED = os.environ.setdefault("SKYBUS_TEST_SEED", str(random.randrange(1_000_000)))
"""Processes that run a part of the tests inherit it."""
