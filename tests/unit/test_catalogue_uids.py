"""The uids of the lists: the same over restarts, new when the reference makes them new."""

from skybus.auth.catalogue import Changes, build_catalogue, renewed
from skybus.auth.permissions import parse_permissions

ALL = {"allowed_plans": [None], "allowed_devices": [None]}
PERMISSIONS = parse_permissions({"user_groups": {"root": ALL}})
PLANS, DEVICES = {"count": {"name": "count"}}, {"det": {}, "motor": {}}


def _changed(before, after):
    return {name for name, uid in before.uids if uid != getattr(after.uids, name)}


def _build(plans=PLANS, devices=DEVICES, changes=Changes(existing=3, allowed=5)):  # noqa: B008 - it is frozen
    return build_catalogue(PERMISSIONS, plans, devices, changes)


def test_all_four_differ_and_follow_from_content_and_changes():
    assert _build().uids == _build().uids
    assert len(set(dict(_build().uids).values())) == 4


def test_an_environment_with_other_lists_changes_only_their_uids():
    assert _changed(_build(), _build(devices={"det": {}})) == {"devices_existing_uid", "devices_allowed_uid"}
    assert _changed(_build(), _build(plans={})) == {"plans_existing_uid", "plans_allowed_uid"}


def test_a_device_that_nobody_may_use_changes_only_what_exists():
    permissions = parse_permissions({"user_groups": {"root": {**ALL, "forbidden_devices": ["secret"]}}})
    before, after = (build_catalogue(permissions, PLANS, devices) for devices in (DEVICES, {**DEVICES, "secret": {}}))
    assert _changed(before, after) == {"devices_existing_uid"}


def test_renewed_permissions_change_what_is_allowed_though_nothing_is_different():
    before = _build()
    assert _changed(before, renewed(before, PERMISSIONS)) == {"plans_allowed_uid", "devices_allowed_uid"}


def test_restored_lists_change_all_uids_though_nothing_is_different():
    assert len(_changed(_build(), _build(changes=Changes(existing=4, allowed=6)))) == 4
