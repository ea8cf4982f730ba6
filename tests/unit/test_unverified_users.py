"""A user whom only a delegate has named is shown with the delegate, wherever users are shown."""

from __future__ import annotations

from skybus.auth.users import Users
from skybus.bus.api.lock import LockSet
from skybus.cli.output import owner
from skybus.queue.locks import Lock


def test_a_table_shows_the_delegate_beside_the_user_that_it_claims() -> None:
    assert owner({"user": "ann", "via": "bridge"}) == "ann (via bridge)"
    assert owner({"user": "operator"}) == "operator"


def test_a_lock_names_the_delegate_beside_the_user_that_it_claims() -> None:
    lock = Lock.made(LockSet(queue=True, lock_key="key"), "ann", "bridge")
    assert "locked by 'ann' (via bridge) since" in lock.describe()
    assert (lock.info(has_emergency_key=False).user, lock.info(has_emergency_key=False).via) == ("ann", "bridge")


def test_only_a_delegate_is_named_beside_a_user() -> None:
    users = Users(lambda: ["primary"], "primary", delegates={"bridge": "*"})
    assert (users.via("bridge"), users.via("ann")) == ("bridge", None)
