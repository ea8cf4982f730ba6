"""Answers `echo` on the bus of a data directory, as long as a status is, through nats-py alone, until it is ended."""

import asyncio
import sys
from pathlib import Path

import nats
import uvloop

from skybus.bus.connection import settle
from skybus.bus.settings import BusSettings

ENDPOINT = "echo"
_STATUS_BYTES = 1400


async def main(data_dir: Path) -> None:
    """Answer."""
    settings = BusSettings(data_dir=data_dir)
    access = settings.access("console")  # a user of the account of services
    async with await nats.connect(access.servers, nkeys_seed_str=access.credentials.nkey_seed) as connection:

        async def answer(message: nats.aio.msg.Msg) -> None:
            await message.respond(b"x" * _STATUS_BYTES)

        await connection.subscribe(settings.subjects().commands(ENDPOINT), cb=answer)
        await settle(connection)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
