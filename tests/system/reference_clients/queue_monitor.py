"""The queue monitor of bluesky-widgets, with a person's clicks. Arguments: control and info address, a folder.

It leaves pictures of its window in the folder.
"""

import os
import sys
from pathlib import Path

from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication, QPlainTextEdit, QPushButton, QTextEdit

APP = QApplication([])

from bluesky_widgets.apps.queue_monitor.settings import SETTINGS  # noqa: E402 - needs a QApplication
from bluesky_widgets.apps.queue_monitor.viewer import Viewer  # noqa: E402

SETTINGS.zmq_re_manager_control_addr, SETTINGS.zmq_re_manager_info_addr = sys.argv[1:3]
FOLDER = Path(sys.argv[3])
VIEWER = Viewer(show=True)
WINDOW = VIEWER._window._qt_window
QUEUE = VIEWER.run_engine
"""What the window shows, kept up to date by the widgets' own thread."""


def until(condition, what):
    """Let the window live until something is so."""
    deadline = QTimer()
    deadline.setSingleShot(True)
    deadline.start(40_000)
    while not condition():
        assert deadline.isActive(), f"never came: {what}"
        APP.processEvents(QEventLoop.AllEvents, 50)


def click(text):
    """Click a button when it can be clicked."""
    (button,) = [button for button in WINDOW.findChildren(QPushButton) if button.text() == text]
    until(button.isEnabled, f"button {text!r}")
    button.click()


def is_so(**wanted):
    """Whether the status that the window shows is this."""
    return all((QUEUE.re_manager_status or {}).get(name) == value for name, value in wanted.items())


def console():
    return "".join(box.toPlainText() for kind in (QTextEdit, QPlainTextEdit) for box in WINDOW.findChildren(kind))


WINDOW.resize(1400, 1000)
click("Connect")
click("Open")
until(lambda: is_so(worker_environment_exists=True, manager_state="idle"), "environment open")
until(lambda: "count" in QUEUE.get_allowed_plan_names(), "plans")
QUEUE.queue_item_add(
    item={"item_type": "plan", "name": "count", "args": [["det1"]], "kwargs": {"num": 5, "delay": 0.2}}
)
QUEUE.queue_item_add(item={"item_type": "plan", "name": "print_lines", "args": [20]})
until(lambda: is_so(items_in_queue=2), "two items")
click("Start")
until(lambda: is_so(manager_state="executing_queue", items_in_queue=1), "first plan")
WINDOW.grab().save(str(FOLDER / "running.png"))
until(lambda: is_so(manager_state="idle", items_in_history=2), "both plans done")
until(lambda: "line 20 of 20" in console(), "output of the plan")
WINDOW.grab().save(str(FOLDER / "done.png"))
click("Close")
until(lambda: is_so(worker_environment_exists=False), "environment closed")
print("all of it worked", flush=True)
os._exit(0)  # the widgets' threads wait for messages
