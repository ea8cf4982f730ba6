"""`skybus-bridge`: the reference's 0MQ API in front of the bus."""

from __future__ import annotations

from contextlib import AsyncExitStack

import structlog
import zmq

from skybus.bridge.answers import Answers, say_nothing
from skybus.bridge.codec import CODECS
from skybus.bridge.control import ControlSocket
from skybus.bridge.memory import limit_memory, watch_memory
from skybus.bridge.publisher import InfoSocket, StatusPublisher, publish_console
from skybus.bridge.reach import who_reaches, who_reads
from skybus.bridge.settings import BridgeSettings
from skybus.bus.arrivals import Arrivals
from skybus.bus.notify import tell_ready
from skybus.bus.runtime import Process, run_service

log = structlog.get_logger()

OPEN = "X_SKYBUS_OPEN"
"""Tells `skybus up` who reaches the control socket over TCP."""


async def serve(settings: BridgeSettings, process: Process) -> None:
    """Serve until told to stop."""
    codec = CODECS[settings.zmq_encoding]()
    arrivals = Arrivals(process.bus)
    await arrivals.watch()
    async with AsyncExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        say, limits, mode = say_nothing, settings.limits, settings.zmq_socket_mode
        if settings.zmq_publish:
            peers = map(str, limits.peers)
            info = InfoSocket(context, settings.zmq_info_addr, codec, mode=mode, peers=peers)
            stack.callback(info.close)
            say = info.line
            process.start(publish_console(process.bus, info), "console")
            process.start(StatusPublisher(process.bus, info, settings.zmq_status_period).run(), "status")
        answers = Answers(process.bus, arrivals, codec, settings.zmq_request_timeout, say, limits)
        largest = settings.max_request + settings.max_request // 4  # what is somewhat too large is answered
        control = ControlSocket(
            context,
            settings.zmq_control_addr,
            answers.answer,
            largest,
            settings.curve_key,
            mode=mode,
            names_peers=bool(limits.peers),
        )
        stack.push_async_callback(control.close)
        process.start(watch_memory(lambda: control.bytes_in_flight), "memory")
        log.info("0MQ clients are answered", address=control.address)
        reach = [
            who_reaches(control.address, limits, has_key=bool(settings.curve_key)),
            who_reads(settings.zmq_info_addr, limits) if settings.zmq_publish else None,
        ]
        said = "; ".join(filter(None, reach))
        if said:
            log.warning(said)
        await process.connect(publishes=False)
        tell_ready(**({OPEN: said} if said else {}))
        await process.stop.wait()


async def serve_bounded(settings: BridgeSettings, process: Process) -> None:
    """Serve in a process of our own, whose memory is bounded."""
    limit_memory(settings.zmq_memory)
    await serve(settings, process)


def main() -> None:
    """Run the bridge."""
    run_service("bridge", BridgeSettings, serve_bounded)


if __name__ == "__main__":
    main()
