"""Scripts whose changes count when a replica has them.

Replication is asynchronous: a primary that dies, or is cut off, takes along what it has not passed on. So `WAIT`
follows each script on the same connection. A replica has everything up to a point, so it is enough to wait for the last
write; a script that only finds what another has written must write something for its answer to be waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import ResponseError

PATIENCE = 1000
"""Milliseconds that a replica has to get a change."""


class Script:
    """A script of Redis.

    Args:
        copies: replicas that must have its changes; with none it is the server alone.
    """

    def __init__(self, redis: Redis, text: str, copies: int) -> None:
        self._redis = redis
        self._text = text
        self._copies = copies
        self._alone = redis.register_script(text)

    async def __call__(self, prefix: str, *args: Any) -> Any:
        """Run it.

        Raises:
            NoConnectionError: too few replicas have confirmed its changes; they may be lost, or not.
        """
        try:
            if not self._copies:
                return await self._alone(keys=[prefix], args=args)
            answer, copies = await self._run([prefix], args)
        except ResponseError as error:
            if "NOREPLICAS" not in str(error):
                raise
            await self._ask_sentinels_again()
            raise NoConnectionError("too few replicas follow it") from error
        if copies < self._copies:
            await self._ask_sentinels_again()
            raise NoConnectionError(f"no replica has confirmed the change within {PATIENCE / 1000:g} s")
        return answer

    async def _ask_sentinels_again(self) -> None:
        """Let the next connection be to whoever is the primary then; this one may not be it any more."""
        await self._redis.connection_pool.disconnect(inuse_connections=False)

    async def _run(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.eval(self._text, len(keys), *keys, *args)
            pipe.execute_command("WAIT", self._copies, PATIENCE)
            return await pipe.execute()
