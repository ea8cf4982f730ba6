"""Which accounts plan code can be separated into."""

from __future__ import annotations

import os

import pytest

from skybus.bus.errors import InvalidError
from skybus.stack.account import Account


@pytest.mark.parametrize(("name", "why"), [("no-such-account", "does not exist"), ("root", "name another one")])
def test_an_account_that_separates_nothing_is_refused(name: str, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        Account.named(name)


def test_an_account_that_we_cannot_become_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(InvalidError, match="only root can run environments in the account 'nobody'"):
        Account.named("nobody")
