"""How a command's line is worded: every endpoint that changes something has its words, and no line tells a secret."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from structlog.testing import capture_logs

from skybus.bus import api
from skybus.bus.api.items import ItemSpec
from skybus.bus.api.lock import LOCK, LockInfo, LockSet, LockShown
from skybus.bus.api.permissions import PERMISSIONS_SET, PermissionsSet
from skybus.bus.api.queue import (
    ITEM_ADD,
    ITEM_ADD_BATCH,
    ITEM_MOVE,
    ItemAdd,
    ItemAddBatch,
    ItemAdded,
    ItemMove,
    ItemMoved,
)
from skybus.bus.api.tasks import SCRIPT_UPLOAD, ScriptUpload
from skybus.bus.command_lines import LONGEST_NAME, LONGEST_REASON, WORDS, log_done, log_refused
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import InvalidError, LockedError
from skybus.bus.logs import printable
from skybus.bus.messages import decode_request

COUNT = {"item_type": "plan", "name": "count"}
KEPT = {**COUNT, "item_uid": "12345678-9abc", "user": "ann", "user_group": "primary"}


def endpoints() -> dict[str, Endpoint[Any, Any]]:
    """Every endpoint of the public API that is declared, by name."""
    modules = [importlib.import_module(f"{api.__name__}.{found.name}") for found in pkgutil.iter_modules(api.__path__)]
    return {it.name: it for module in modules for it in vars(module).values() if type(it) is Endpoint}


def line(endpoint: Endpoint[Any, Any], requester: str, request: Any, reply: Any) -> dict[str, Any]:
    """What is logged of a command that was carried out."""
    with capture_logs() as logged:
        log_done(endpoint, requester, request, reply)
    assert len(logged) == 1
    return dict(logged[0])


def test_every_endpoint_that_changes_something_has_its_words():
    assert set(WORDS) == {name for name, endpoint in endpoints().items() if endpoint.changes}


def test_a_line_names_item_place_and_who_has_asked_for_whom():
    request = ItemAdd(item=ItemSpec.model_validate(COUNT), user="ann", user_group="primary", before_uid="abcdefghij")
    logged = line(ITEM_ADD, "bridge", request, ItemAdded(item=KEPT, qsize=3))
    assert logged == {
        "event": "Item added", "log_level": "info", "name": "count", "item": "12345678", "before": "abcdefgh",
        "qsize": 3, "user": "ann", "via": "bridge",
    }  # fmt: skip


def test_who_moves_the_item_of_somebody_else_is_the_user_of_the_line():
    logged = line(ITEM_MOVE, "operator", ItemMove(pos=1, pos_dest="front"), ItemMoved(item=KEPT, qsize=3))
    assert (logged["user"], logged.get("via"), logged["pos"], logged["pos_dest"]) == ("operator", None, 1, "front")


def test_a_claim_that_nobody_has_accepted_is_called_one():
    request = ItemAddBatch(items=[COUNT], user="ann", user_group="primary")
    with capture_logs() as logged:
        log_refused(ITEM_ADD_BATCH, "eve", request, InvalidError("no"))
    assert (logged[0]["user"], logged[0]["claimed_user"], logged[0]["reason"]) == ("eve", "ann", "no")


def test_a_refusal_is_logged_once_for_a_request_that_is_sent_again():
    with capture_logs() as logged:
        for reason in ("worker is away", "worker is away", "it is closed"):
            log_refused(ITEM_ADD, "ann", None, InvalidError(reason), key="ann:queue.item.add:id-1")
    assert [entry["reason"] for entry in logged] == ["worker is away", "it is closed"]


@pytest.mark.parametrize(
    ("endpoint", "request_", "reply"),
    [
        (LOCK, LockSet(environment=True, lock_key="s3cret"), LockShown(lock_info=LockInfo(), lock_info_uid="u")),
        (SCRIPT_UPLOAD, ScriptUpload(script="password = 's3cret'", lock_key="s3cret"), None),
        (PERMISSIONS_SET, PermissionsSet(user_group_permissions={"user_groups": "s3cret"}), None),
    ],
)
def test_a_line_has_no_key_no_code_and_no_file(endpoint: Endpoint[Any, Any], request_: Any, reply: Any):
    with capture_logs() as logged:
        log_done(endpoint, "ann", request_, reply or endpoint.reply.model_construct())
        log_refused(endpoint, "ann", request_, LockedError("it is locked"))
    assert len(logged) == 2
    assert "s3cret" not in str(logged)


@pytest.mark.parametrize("name", ["lock_key", "script", "user_group_permissions"])
def test_why_a_request_cannot_be_read_does_not_show_what_was_given(name: str):
    endpoint = PERMISSIONS_SET if name == "user_group_permissions" else SCRIPT_UPLOAD
    with pytest.raises(InvalidError, match=name) as refused:
        decode_request(endpoint.request, b'{"%s": ["s3cret"]}' % name.encode())
    assert "s3cret" not in refused.value.message


def test_names_and_reasons_are_printed_safely_and_cut():
    request = ItemAdd(item=ItemSpec(item_type="plan", name="\x1b[2J\u202e" + "n" * 200))
    with capture_logs() as logged:
        log_refused(ITEM_ADD, "ann", request, InvalidError("first\nsecond \x07" + "x" * 5000))
    name, reason = logged[0]["name"], logged[0]["reason"]
    assert name.startswith(r"\x1b[2J\u202enn")
    assert len(name) < LONGEST_NAME + 40
    assert reason.startswith(r"first second \x07xx")
    assert len(reason) < LONGEST_REASON + 40


def test_what_moves_a_cursor_is_escaped_in_every_line():
    assert printable("caf\u00e9 \x1b[0m\x00\ud800") == "caf\u00e9 \\x1b[0m\\x00\\ud800"
