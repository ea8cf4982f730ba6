"""Run by the reference's own Python: bluesky-queueserver-api with asyncio. Arguments: control and info address."""

import asyncio
import sys

from bluesky_queueserver_api import BPlan
from bluesky_queueserver_api.zmq.aio import REManagerAPI


async def main(control: str, info: str) -> None:
    manager = REManagerAPI(zmq_control_addr=control, zmq_info_addr=info)
    manager.console_monitor.enable()
    await manager.environment_open()
    await manager.wait_for_idle(timeout=120)
    await manager.item_add(BPlan("print_lines", 20))
    await manager.item_execute(BPlan("count", ["det1"], num=2))
    await manager.wait_for_idle(timeout=120)
    assert (await manager.status())["items_in_queue"] == 1
    await manager.queue_start()
    await manager.wait_for_idle(timeout=120)
    said = ""
    while "line 20 of 20" not in said:
        said += (await manager.console_monitor.next_msg(timeout=120))["msg"]
    history = (await manager.history_get())["items"]
    assert [item["result"]["exit_status"] for item in history] == ["completed"] * 2, history
    await manager.environment_destroy()
    await manager.wait_for_idle(timeout=120)
    await manager.close()
    print("all of it worked")


asyncio.run(main(*sys.argv[1:]))
