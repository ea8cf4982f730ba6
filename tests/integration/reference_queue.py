"""Run by the reference's own Python: let the reference fill its keys in Redis, and print what it holds as JSON.

Arguments: `host:port` of Redis, prefix, what to do with the last item: `running`, `immediate` or `nothing`.
"""

import asyncio
import json
import sys

from bluesky_queueserver.manager.plan_queue_ops import PlanQueueOperations

PERMISSIONS = {"user_groups": {"root": {"allowed_plans": [None]}, "primary": {"allowed_plans": [":^count"]}}}
LOCK = {"environment": False, "queue": True, "lock_key": "secret", "user": "me", "note": "mine", "time": 1.5}


def plan(number: int) -> dict:
    return {
        "item_type": "plan", "name": "count", "args": [["det1"]], "kwargs": {"num": number}, "meta": {"no": number},
        "user": "me", "user_group": "primary",
    }  # fmt: skip


async def fill(queue: PlanQueueOperations, last: str) -> None:
    done = {"run_uids": ["run"], "scan_ids": [7], "err_msg": "", "err_tb": ""}
    await queue.add_batch_to_queue([plan(number) for number in range(6)])
    await queue.process_next_item()
    await queue.set_processed_item_as_completed(exit_status="completed", **done)
    await queue.process_next_item()
    await queue.set_processed_item_as_stopped(exit_status="failed", **done)
    await queue.add_item_to_queue({"item_type": "instruction", "name": "queue_stop", "user": "me", "user_group": "a"})
    await queue.set_plan_queue_mode({"loop": last == "running"})
    await queue.user_group_permissions_save(PERMISSIONS)
    await queue.lock_info_save(LOCK)
    await queue.autostart_mode_save({"enabled": True})
    if last != "nothing":
        await queue.process_next_item(item=plan(99) if last == "immediate" else None)


async def main(address: str, prefix: str, last: str) -> None:
    queue = PlanQueueOperations(redis_host=address, name_prefix=prefix)
    await queue.start()
    await fill(queue, last)
    waiting, running, _ = await queue.get_queue_full()
    history, _ = await queue.get_history()
    print(json.dumps({"queue": waiting, "running": running, "history": history, "mode": queue.plan_queue_mode}))
    await queue.stop()


asyncio.run(main(*sys.argv[1:]))
