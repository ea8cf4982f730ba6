"""Run by the reference's own Python: bluesky-queueserver-api with threads. Arguments: control and info address."""

import sys

from bluesky_queueserver_api import BFunc, BInst, BPlan
from bluesky_queueserver_api.zmq import REManagerAPI

control, info = sys.argv[1:]
RM = REManagerAPI(zmq_control_addr=control, zmq_info_addr=info)
RM.console_monitor.enable()
RM.environment_open()
RM.wait_for_idle(timeout=120)
assert RM.status()["worker_environment_exists"]
assert "count" in RM.plans_allowed()["plans_allowed"]
assert "det1" in RM.devices_allowed()["devices_allowed"]

RM.item_add(BPlan("count", ["det1", "det2"], num=3, delay=0.1))
RM.item_add_batch([BPlan("print_lines", 20), BInst("queue_stop"), BPlan("count", ["det1"])])
RM.queue_start()
RM.wait_for_idle(timeout=120)
history = RM.history_get()["items"]
assert [item["result"]["exit_status"] for item in history] == ["completed"] * 2, history
assert len(history[0]["result"]["run_uids"]) == 1
said = ""
while "line 20 of 20" not in said:
    said += RM.console_monitor.next_msg(timeout=120)["msg"]
assert RM.status()["items_in_queue"] == 1

(waiting,) = RM.queue_get()["items"]
RM.item_update(BPlan("count", ["det1"], num=1000, delay=0.1).to_dict() | {"item_uid": waiting["item_uid"]})
RM.queue_start()
RM.wait_for_condition(lambda status: status["re_state"] == "running", timeout=120)
RM.re_pause("immediate")
RM.wait_for_idle_or_paused(timeout=120)
assert RM.status()["manager_state"] == "paused"
assert len(RM.re_runs()["run_list"]) == 1
RM.re_abort()
RM.wait_for_idle(timeout=120)
assert RM.history_get()["items"][-1]["result"]["exit_status"] == "aborted"
RM.queue_clear()

RM.lock("key", environment=True, queue=True, note="mine")
refusal = ""
try:
    RM.item_add(BPlan("count", ["det1"]), lock_key="wrong")
except RM.RequestFailedError as error:
    refusal = str(error)
assert "Invalid lock key" in refusal, refusal
RM.unlock("key")

script = "def function_sleep(seconds):\n    print('sleeping', seconds)\n    return 2 * seconds\n"
task = RM.script_upload(script)["task_uid"]
RM.wait_for_completed_task(task, timeout=120)
task = RM.function_execute(BFunc("function_sleep", 21))["task_uid"]
RM.wait_for_completed_task(task, timeout=120)
result = RM.task_result(task)["result"]
assert (result["success"], result["return_value"]) == (True, 42), result

RM.environment_close()
RM.wait_for_idle(timeout=120)
assert not RM.status()["worker_environment_exists"]
RM.close()
print("all of it worked")
