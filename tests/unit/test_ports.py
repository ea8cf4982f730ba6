"""Servers of tests that run at the same time never meet on a port."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.ports import free_port

_ASK = "import json; from tests.ports import free_port; print(json.dumps([free_port() for _ in range(2000)])); input()"


def test_no_two_processes_are_given_the_same_port() -> None:
    mine = {free_port() for _ in range(200)}
    asked = [subprocess.Popen([sys.executable, "-c", _ASK], stdin=-1, stdout=-1, text=True) for _ in range(2)]
    theirs = [set(json.loads(process.stdout.readline())) for process in asked if process.stdout]
    for process in asked:
        process.communicate("\n")
    assert [len(ports) for ports in theirs] == [2000, 2000]
    assert not theirs[0] & theirs[1]
    assert not mine & (theirs[0] | theirs[1])
