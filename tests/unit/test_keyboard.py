"""Standard input of an environment refuses to be read, and gets out of the way of one that user code brings along."""

import builtins
import io
import sys

import pytest

from skybus.worker.environment.keyboard import NobodyAnswersError, remove_keyboard
from skybus.worker.environment.startup import StartupError, StartupSource, load_startup


@pytest.fixture(autouse=True)
def no_keyboard(monkeypatch):
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    monkeypatch.setattr(builtins, "input", builtins.input)
    remove_keyboard()


def test_a_question_is_named():
    with pytest.raises(NobodyAnswersError, match=r"nobody can answer here: Close the hutch\?"):
        input("Close the hutch?")


def test_code_that_expects_the_end_of_the_input_sees_it():
    with pytest.raises(EOFError):
        input()
    with pytest.raises(EOFError):
        sys.stdin.read()


def test_it_is_no_terminal_and_has_the_descriptor_of_standard_input():
    assert (sys.stdin.isatty(), sys.stdin.readable(), sys.stdin.fileno()) == (False, True, 0)


def test_an_own_standard_input_is_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert input() == "yes"


def test_startup_code_that_asks_fails_with_its_question(tmp_path):
    (tmp_path / "00-ask.py").write_text("answer = input('Which end station?')\n")
    with pytest.raises(StartupError, match="nobody can answer here: Which end station"):
        load_startup(StartupSource(directory=tmp_path))
