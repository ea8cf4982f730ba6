"""How much room each store has by default, in bytes. The services and `skybus up` have a setting for each."""

from __future__ import annotations

LIFE = 512 << 20
"""Reports of plans, tasks and environments."""
REPLIES = 512 << 20
"""Replies that are larger than a message."""
CONSOLE = 1 << 30
"""Console output."""
DOCS = 4 << 30
"""Bluesky documents."""
STATE = 64 << 20
"""Kept values: the status, the progress, the last revision of the queue."""
LISTS = 128 << 20
"""The lists and permissions of the auth service, each old and new while it is replaced."""
JETSTREAM = 8 << 30
"""All of these together, and some reserve."""
VALKEY = 2 << 30
"""Queue, history and kept answers in the memory of the Valkey that the stack starts."""
