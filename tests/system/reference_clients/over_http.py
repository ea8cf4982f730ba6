"""Run by the reference's own Python: bluesky-httpserver, asked with plain HTTP. Arguments: its URL, an API key."""

import sys
import threading
import time

import httpx

url, key = sys.argv[1:]
client = httpx.Client(base_url=f"{url}/api", headers={"Authorization": f"ApiKey {key}"}, timeout=120)
said: list[str] = []
has_said_all = threading.Event()


def ask(verb: str, path: str, **body: object) -> dict:
    reply = client.request(verb, path, **({"json": body} if body else {}))
    assert reply.status_code == 200, (path, reply.status_code, reply.text)
    answer = reply.json()
    assert answer.get("success", True), (path, answer)
    return answer


def listen() -> None:
    with client.stream("GET", "/stream_console_output") as stream:
        for text in stream.iter_text():  # one JSON object behind the other, without anything between them
            said.append(text)
            if "line 20 of 20" in "".join(said):
                has_said_all.set()
                return


def wait_idle(is_open: bool) -> dict:
    for _ in range(2400):  # over HTTP nothing tells
        status = ask("GET", "/status")
        if status["manager_state"] == "idle" and status["worker_environment_exists"] == is_open:
            return status
        time.sleep(0.05)
    raise SystemExit(f"still not idle: {status}")


assert ask("GET", "/ping")["msg"].startswith("RE Manager")
threading.Thread(target=listen, daemon=True).start()
ask("POST", "/environment/open")
wait_idle(is_open=True)
assert "count" in ask("GET", "/plans/allowed")["plans_allowed"]
item = {"item_type": "plan", "name": "count", "args": [["det1"]], "kwargs": {"num": 2}}
added = ask("POST", "/queue/item/add", item=item)
assert added["qsize"] == 1, added
ask("POST", "/queue/item/add", item={"item_type": "plan", "name": "print_lines", "args": [20]})
assert [item["name"] for item in ask("GET", "/queue/get")["items"]] == ["count", "print_lines"]
ask("POST", "/queue/start")
assert has_said_all.wait(120), said
assert wait_idle(is_open=True)["items_in_queue"] == 0
history = ask("GET", "/history/get")["items"]
assert [item["result"]["exit_status"] for item in history] == ["completed"] * 2, history
assert len(history[0]["result"]["run_uids"]) == 1
ask("POST", "/environment/close")
wait_idle(is_open=False)
print("all of it worked")
