"""The lease in Redis: it names the queue service that leads, and the standby."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from redis.asyncio import Redis

from skybus.queue.replicated import Script

_TAKE = """
local holder = redis.call('GET', KEYS[1] .. 'lease')
redis.call('DEL', KEYS[1] .. 'room')
if holder and holder ~= ARGV[1] then
  if redis.call('PTTL', KEYS[1] .. 'standby') < ARGV[2] / 2 then
    redis.call('SET', KEYS[1] .. 'standby', ARGV[1], 'PX', ARGV[2])
  end
  return 0
end
redis.call('SET', KEYS[1] .. 'lease', ARGV[1], 'PX', ARGV[2])
return 1
"""

_RENEW = """
if redis.call('GET', KEYS[1] .. 'fence') ~= ARGV[1] then return {'fenced'} end
if tonumber(redis.call('GET', KEYS[1] .. 'revision') or '0') < tonumber(ARGV[4]) then return {'older'} end
redis.call('DEL', KEYS[1] .. 'room')
redis.call('SET', KEYS[1] .. 'lease', ARGV[2], 'PX', ARGV[3])
return {'ok', redis.call('GET', KEYS[1] .. 'standby') or ''}
"""


class Proof(NamedTuple):
    """Shows that a queue service is the one that may write, and what it knows."""

    fence: str
    """Its fencing number."""
    revision: int
    """The highest revision of the book that it has seen stored."""


class Renewal(NamedTuple):
    """The answer of Redis to a renewal."""

    outcome: bytes
    """`ok`, `fenced` or `older`."""
    standby: str
    """The name of a queue service that waits to take over, if there is one."""
    known: int
    """The revision that the renewal has named."""


class LeaseKeys:
    """Takes and renews the lease over one client.

    Args:
        redis: the client; its owner closes it, or `close` does.
        prefix: of the names of all keys.
        proof: read anew for each renewal.
    """

    def __init__(self, redis: Redis, prefix: str, proof: Callable[[], Proof]) -> None:
        self._redis = redis
        self._prefix = prefix
        self._proof = proof
        # a lease that is lost costs a change of leaders and no more
        self._take, self._renew = (Script(redis, text, copies=0) for text in (_TAKE, _RENEW))

    @property
    def has_proof(self) -> bool:
        """Whether there is a fencing number to show."""
        return bool(self._proof().fence)

    async def take(self, name: str, seconds: float) -> bool:
        """Take the lease if nobody else has it, or register as standby; returns whether the lease is ours."""
        return bool(await self._take(self._prefix, name, round(seconds * 1000)))

    async def renew(self, name: str, seconds: float) -> Renewal:
        """Extend the lease so that it lasts some seconds from now on."""
        fence, known = self._proof()
        outcome, *standby = await self._renew(self._prefix, fence, name, round(seconds * 1000), known)
        return Renewal(outcome, standby[0].decode() if standby else "", known)

    async def close(self) -> None:
        """Close the client."""
        await self._redis.aclose()
