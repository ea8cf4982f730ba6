"""A small synchronous client of the 0MQ API, the same for the reference and for skybus' bridge."""

import json
import time
from collections.abc import Callable
from typing import Any

import zmq

USER = {"user": "bench", "user_group": "primary"}
SHORT_PLAN = {"item_type": "plan", "name": "count", "args": [["det"]], "kwargs": {"num": 1}}
LONG_PLAN = {"item_type": "plan", "name": "count", "args": [["det"]], "kwargs": {"num": 10_000, "delay": 0.05}}

BATCH = 1000

Status = dict[str, Any]


class RefusedError(RuntimeError):
    """The server answered with success = false."""


class Client:
    """Sends requests and waits for published states; one of each socket."""

    def __init__(self, control: str, info: str) -> None:
        self._control, self._info = control, info
        self._context = zmq.Context()
        self._requests = self._connect_requests()
        self._events: zmq.Socket | None = None
        self._console: zmq.Socket | None = None

    def close(self) -> None:
        """Close the sockets and drop what was not sent."""
        self._context.destroy(linger=0)

    def exchange(self, method: str, params: dict | None = None, timeout: float = 60) -> bytes:
        """Send a request, return the reply unparsed."""
        self._requests.send(json.dumps({"method": method, "params": params or {}}).encode())
        if not self._requests.poll(int(1000 * timeout)):
            self._requests.close(linger=0)
            self._requests = self._connect_requests()
            raise TimeoutError(f"no reply to {method!r} in {timeout} s")
        return self._requests.recv()

    def call(self, method: str, params: dict | None = None, timeout: float = 60) -> dict:
        """Send a request, return the reply; raise if it was refused."""
        reply = json.loads(self.exchange(method, params, timeout))
        if reply.get("success") is False:
            raise RefusedError(f"{method}: {reply.get('msg')}")
        return reply

    def time_call(self, method: str, params: dict | None = None) -> float:
        """Return the milliseconds from the request to the whole reply in hand, not counting its parsing."""
        started = time.perf_counter()
        reply = self.exchange(method, params)
        elapsed = time.perf_counter() - started
        if json.loads(reply).get("success") is False:
            raise RefusedError(f"{method}: {reply[:500]!r}")
        return 1000 * elapsed

    def status(self) -> Status:
        """Ask for the status."""
        return self.call("status")

    def add(self, plan: dict) -> str:
        """Put a plan at the back of the queue, return its uid."""
        return self.call("queue_item_add", {"item": plan, **USER})["item"]["item_uid"]

    def add_many(self, plan: dict, number: int) -> None:
        """Put the same plan into the queue a number of times, in batches."""
        for start in range(0, number, BATCH):
            size = min(BATCH, number - start)
            self.call("queue_item_add_batch", {"items": [plan] * size, **USER}, timeout=120)

    def time_until(
        self, reached: Callable[[Status], bool], method: str, params: dict | None = None, timeout: float = 120
    ) -> float:
        """Send a request and return the milliseconds until a published status fulfils the condition."""
        events = self._subscribed_events()
        _drain(events)
        started = time.perf_counter()
        self.call(method, params)
        deadline = started + timeout
        while (left := deadline - time.perf_counter()) > 0:
            if not events.poll(int(1000 * min(left, 5))):
                raise TimeoutError(f"{method}: no status was published for 5 s")
            elapsed = time.perf_counter() - started
            status = json.loads(events.recv_multipart()[1])["msg"].get("status")
            if status and reached(status):
                return 1000 * elapsed
        raise TimeoutError(f"{method}: the awaited state was not reached in {timeout} s")

    def wait_until_answering(self, timeout: float, alive: Callable[[], None]) -> None:
        """Ask again and again, without a pause to speak of, until the manager says that it is idle."""
        deadline = time.perf_counter() + timeout
        while time.perf_counter() < deadline:
            alive()
            try:
                if json.loads(self.exchange("status", timeout=1)).get("manager_state") == "idle":
                    return
            except TimeoutError:
                continue
            time.sleep(0.001)
        raise TimeoutError(f"the server was not ready in {timeout} s")

    def collect_console(self, last: bytes, timeout: float = 60) -> tuple[str, float]:
        """Return the console text up to a marker, and the time of day at which the marker came in."""
        console, texts = self.console(), []
        deadline = time.perf_counter() + timeout
        while time.perf_counter() < deadline and console.poll(5000):
            payload = console.recv_multipart()[1]
            arrived = time.time()
            texts.append(payload)
            if last in payload:
                return "".join(json.loads(text)["msg"] for text in texts), arrived
        raise TimeoutError(f"the console line {last.decode()!r} did not come")

    def console(self) -> zmq.Socket:
        """Return the subscription to the console; the first call connects it."""
        if self._console is None:
            self._console = self._subscribe(b"QS_Console")
            time.sleep(0.5)
        return self._console

    def _subscribed_events(self) -> zmq.Socket:
        if self._events is None:
            self._events = self._subscribe(b"QS_Info")
            if not self._events.poll(5000):
                raise TimeoutError("no status was published for 5 s")
        return self._events

    def _subscribe(self, topic: bytes) -> zmq.Socket:
        socket = self._context.socket(zmq.SUB)
        socket.set_hwm(0)
        socket.set(zmq.SUBSCRIBE, topic)
        socket.connect(self._info)
        return socket

    def _connect_requests(self) -> zmq.Socket:
        socket = self._context.socket(zmq.REQ)
        socket.set(zmq.RECONNECT_IVL, 1)  # The default, 100 ms, would quantise the time to readiness.
        socket.connect(self._control)
        return socket


def _drain(socket: zmq.Socket) -> None:
    while socket.poll(0):
        socket.recv_multipart()
