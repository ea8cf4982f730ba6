"""What in the settings of a Redis would let it forget a queue: a site's own is rarely set up to keep things."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import ResponseError

KEEPS = "noeviction"


async def weaknesses(redis: Redis) -> list[str]:
    """Say what would be right, for each setting that is not; nothing if Redis does not let us read them."""
    try:
        settings = {**await redis.config_get("maxmemory*"), **await redis.config_get("append*")}
    except ResponseError:  # a service of a provider, or a user without the right
        return []
    found: list[str] = []
    policy = settings.get("maxmemory-policy", KEEPS)
    if policy != KEEPS and settings.get("maxmemory", "0") != "0":
        found.append(f"when it is full it throws keys away (maxmemory-policy {policy}): set it to {KEEPS}")
    if settings.get("appendonly") == "no":
        found.append("after a restart it has forgotten what was changed last (appendonly no): set it to yes")
    elif settings.get("appendfsync") != "always":
        fsync = settings.get("appendfsync")
        found.append(
            f"after a crash it may have forgotten what it has confirmed (appendfsync {fsync}): set it to always"
        )
    return found
