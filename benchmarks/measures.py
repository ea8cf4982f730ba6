"""What is measured: one function a figure, from a side to its samples (milliseconds, but for the console)."""

import itertools
import re
import time
from collections.abc import Callable
from statistics import median

from sides import Side
from zmq_client import LONG_PLAN, SHORT_PLAN, USER, Client, Status

CONSOLE_LINES = 5000


class WrongResultError(RuntimeError):
    """The server did something else than was asked of it, so that its time says nothing."""


# Starting.


def start_to_ready(side: Side) -> list[float]:
    """From the start of the first process to the manager's answer that it is idle; databases and bus included."""
    return [side.start() for _ in range(3)]


def start_to_ready_quiet(side: Side) -> list[float]:
    """Start the reference without its info socket: with it, it sleeps one second at the start."""
    samples = [side.start(publish=False) for _ in range(3)]
    side.stop()
    return samples


def open_environment(side: Side) -> list[float]:
    """From `environment_open` to the published state of an idle, existing environment; on a server at rest."""
    return _open_again_and_again(side, side.settle)


def reopen_environment(side: Side) -> list[float]:
    """Open the environment at the moment when the one before is closed."""
    return _open_again_and_again(side, lambda: None)


def _open_again_and_again(side: Side, before: Callable[[], None]) -> list[float]:
    client = side.client
    _close_environment(client)
    samples = []
    for _ in range(5):
        before()
        samples.append(client.time_until(_is_open, "environment_open"))
        client.time_until(_is_closed, "environment_close")
    return samples


# Round trips.


def status(side: Side) -> list[float]:
    """Ask for the status, one request after the other."""
    return [side.client.time_call("status") for _ in range(100)]


def add_item(side: Side) -> list[float]:
    """Put a plan into a short queue."""
    client = _with_empty_queue(side)
    samples = [client.time_call("queue_item_add", {"item": SHORT_PLAN, **USER}) for _ in range(40)]
    client.call("queue_clear")
    return samples


def add_batch(side: Side) -> list[float]:
    """Put 1000 plans into an empty queue with one request."""
    client, samples = side.client, []
    for _ in range(3):
        _with_empty_queue(side)
        samples.append(client.time_call("queue_item_add_batch", {"items": [SHORT_PLAN] * 1000, **USER}))
    client.call("queue_clear")
    return samples


def get_queue(side: Side) -> list[float]:
    """Fetch a queue of 10 000 items."""
    _fill_queue(side, 10_000)
    return [side.client.time_call("queue_get") for _ in range(9)]


# Plans.


def bare_plan(side: Side) -> list[float]:
    """Run the short plan in a loop of RE(plan) in one process."""
    return side.bare["plan"]


def bare_pause(side: Side) -> list[float]:
    """Pause the RunEngine alone."""
    return side.bare["pause"]


def bare_abort(side: Side) -> list[float]:
    """Abort a plan in the RunEngine alone."""
    return side.bare["abort"]


def turnaround(side: Side) -> list[float]:
    """Run short plans from the queue: the wall time of one, less its time in a bare loop run just before."""
    _run_queue(side, 3)
    samples = []
    for _ in range(side.turnaround_rounds):
        bare = median(side.run_bare(plans=50, pauses=0)["plan"])
        samples.append(_run_queue(side, side.turnaround_plans) / side.turnaround_plans - bare)
    return samples


def pause(side: Side) -> list[float]:
    """From `re_pause`, immediate, to the published state of a paused manager."""
    return [paused for paused, _ in _pause_and_abort(side)]


def abort(side: Side) -> list[float]:
    """From `re_abort` of a paused plan to the published state of an idle manager."""
    return [aborted for _, aborted in _pause_and_abort(side)]


def console(side: Side) -> list[float]:
    """Lines a second, from the plan's first print to the client's having the last line."""
    _with_empty_queue(side).console()
    return [_time_console(side) for _ in range(3)]


# The queue's operations by its size.


def add_to(side: Side, size: int) -> list[float]:
    """Put a plan at the back of a queue of a size."""
    client = _fill_queue(side, size)
    samples = [client.time_call("queue_item_add", {"item": SHORT_PLAN, **USER}) for _ in range(40)]
    _fill_queue(side, size)
    return samples


def move_in(side: Side, size: int) -> list[float]:
    """Move items by uid within a queue of a size, from its middle to its front."""
    client = _fill_queue(side, size)
    uids = _uids_in_the_middle(client, 40)
    return [client.time_call("queue_item_move", {"uid": uid, "pos_dest": "front"}) for uid in uids]


def remove_from(side: Side, size: int) -> list[float]:
    """Remove items by uid from the middle of a queue of a size."""
    client = _fill_queue(side, size)
    samples = [client.time_call("queue_item_remove", {"uid": uid}) for uid in _uids_in_the_middle(client, 40)]
    _fill_queue(side, size)
    return samples


def small(measure: Callable[[Side, int], list[float]]) -> Callable[[Side], list[float]]:
    """Make a figure of a measure at 100 items."""
    return lambda side: measure(side, 100)


def large(measure: Callable[[Side, int], list[float]]) -> Callable[[Side], list[float]]:
    """Make a figure of a measure at as many items as the side can be asked to hold."""
    return lambda side: measure(side, side.large_queue)


# States.


def _is_open(status: Status) -> bool:
    return _is_idle(status) and status["worker_environment_state"] == "idle"


def _is_closed(status: Status) -> bool:
    return _is_idle(status) and not status["worker_environment_exists"]


def _is_idle(status: Status) -> bool:
    return status["manager_state"] == "idle"


def _is_paused(status: Status) -> bool:
    return status["manager_state"] == "paused"


def _is_running(status: Status) -> bool:
    return status["re_state"] == "running"


def _has_finished(number: int) -> Callable[[Status], bool]:
    return lambda status: _is_idle(status) and status["items_in_history"] >= number


# Steps.


def _open_environment(side: Side) -> Client:
    client = side.client
    if not client.status()["worker_environment_exists"]:
        client.time_until(_is_open, "environment_open")
    return client


def _close_environment(client: Client) -> None:
    if client.status()["worker_environment_exists"]:
        client.time_until(_is_closed, "environment_close")


def _with_empty_queue(side: Side) -> Client:
    """Open the environment, without which the reference knows no plans, and clear the queue."""
    client = _open_environment(side)
    client.call("queue_clear")
    return client


def _fill_queue(side: Side, size: int) -> Client:
    """Bring the queue to a size, at the least expense."""
    client = _open_environment(side)
    held = client.status()["items_in_queue"]
    if held > size:
        _remove_from_back(client, held - size) if held - size <= 100 else client.call("queue_clear")
    held = client.status()["items_in_queue"]
    client.add_many(SHORT_PLAN, size - held)
    return client


def _remove_from_back(client: Client, number: int) -> None:
    for _ in range(number):
        client.call("queue_item_remove", {"pos": "back"})


def _uids_in_the_middle(client: Client, number: int) -> list[str]:
    start = (client.status()["items_in_queue"] - number) // 2
    positions = range(start, start + number)
    return [client.call("queue_item_get", {"pos": position})["item"]["item_uid"] for position in positions]


def _run_queue(side: Side, number: int) -> float:
    """Run short plans from the queue, return the milliseconds of them all."""
    client = _with_empty_queue(side)
    client.call("history_clear")
    client.add_many(SHORT_PLAN, number)
    elapsed = client.time_until(_has_finished(number), "queue_start")
    _assert_completed(client, number)
    return elapsed


def _assert_completed(client: Client, number: int) -> None:
    items = client.call("history_get")["items"]
    failed = [item["result"] for item in items if item["result"]["exit_status"] != "completed"]
    if failed or len(items) != number:
        raise WrongResultError(f"{len(items)} of {number} plans in the history, {len(failed)} failed: {failed[:1]}")


def _pause_and_abort(side: Side) -> list[tuple[float, float]]:
    """Start a long plan, pause it, abort it; several times, at different moments after its start."""
    samples = []
    for delay in (0.2, 0.31, 0.42, 0.53, 0.64):
        client = _with_empty_queue(side)
        client.add(LONG_PLAN)
        client.time_until(_is_running, "queue_start")
        time.sleep(delay)
        paused = client.time_until(_is_paused, "re_pause", {"option": "immediate"})
        samples.append((paused, client.time_until(_is_idle, "re_abort")))
    client.call("queue_clear")
    return samples


def _time_console(side: Side) -> float:
    client = side.client
    client.call("history_clear")
    client.add({"item_type": "plan", "name": "print_lines", "args": [CONSOLE_LINES]})
    client.call("queue_start")
    text, arrived = client.collect_console(b"bench-end")
    started = _check_lines(side, text)
    _await_finished(client, 1)
    return CONSOLE_LINES / (arrived - started)


def _check_lines(side: Side, text: str) -> float:
    """Return the time of day in the first line; remark upon lines that were lost or came out of order.

    A line may be torn: log messages, which begin with the date, come between a text and its newline. That is no loss.
    """
    begin = re.search(r"bench-begin (\d+\.\d{6})", text)
    got = [int(number) for number in re.findall(r"bench-line (\d+?)(?=\s|\d{4}-\d\d-\d\d|$)", text)]
    if begin is None:
        raise WrongResultError(f"the first line was lost; {len(got)} of {CONSOLE_LINES} came")
    if lost := CONSOLE_LINES - len(set(got)):
        side.remarks["console"] = f"{lost} lines lost"
    elif got != list(range(CONSOLE_LINES)):
        side.remarks["console"] = "lines out of order"
    return float(begin[1])


def _await_finished(client: Client, number: int) -> None:
    """Wait outside a measurement, where polling does no harm."""
    for _ in itertools.repeat(None, 600):
        if _has_finished(number)(client.status()):
            return
        time.sleep(0.05)
    raise WrongResultError(f"{number} plans did not finish in 30 s")
