"""What auth begins with: the files at the start of a stack, what was kept for the rest of its run."""

import pytest
import yaml

from skybus.auth.catalogue import PackedCatalogue, unpack_catalogue
from skybus.auth.existing_file import NO_LISTS, read_existing
from skybus.auth.origin import Origin
from skybus.auth.permissions import ROOT, parse_permissions, permissions_dict
from skybus.auth.settings import AuthSettings
from skybus.auth.store import Record
from skybus.bus.errors import DeniedError, InvalidError, WrongStateError

IN_FILE = {"user_groups": {"root": {}, "primary": {}}}
KEPT = {"user_groups": {"root": {"allowed_plans": [None]}}}
KEPT_LISTS = PackedCatalogue("kept", b"kept")


@pytest.fixture
def origin(tmp_path):
    """Makes an origin in the run `now` of a stack; its files are in a directory."""
    (tmp_path / "user_group_permissions.yaml").write_text(yaml.dump(IN_FILE))
    lists = {"existing_plans": {"count": {"name": "count"}}, "existing_devices": {"det": {}}}
    (tmp_path / "existing_plans_and_devices.yaml").write_text(yaml.dump(lists))

    def make(policy="ON_STARTUP", **settings):
        given = {"user_group_permissions": tmp_path, "existing_plans_and_devices": tmp_path, "stack_run": "now"}
        return Origin(AuthSettings(user_group_permissions_reload=policy, **{**given, **settings}))

    return make


def _record(run, permissions=KEPT):
    return Record(permissions=permissions, stack_run=run)


@pytest.mark.parametrize(
    ("policy", "record", "expected"),
    [
        ("ON_STARTUP", None, IN_FILE),
        ("ON_STARTUP", _record("before"), IN_FILE),
        ("ON_STARTUP", _record("now"), KEPT),
        ("ON_REQUEST", None, IN_FILE),
        ("ON_REQUEST", _record("before"), KEPT),
        ("NEVER", None, IN_FILE),
        ("NEVER", _record("before"), KEPT),
        ("NEVER", _record("before", {"user_groups": {}}), IN_FILE),
    ],
)
def test_permissions_at_the_start_follow_the_policy(origin, policy, record, expected):
    assert permissions_dict(origin(policy).permissions_at_start(record)) == expected


def test_a_service_without_a_stack_takes_each_start_for_the_first(origin):
    assert permissions_dict(origin(stack_run="").permissions_at_start(_record(""))) == IN_FILE


def test_policy_never_refuses_to_read_the_file_on_request(origin):
    assert permissions_dict(origin("ON_REQUEST").restored_permissions()) == IN_FILE
    with pytest.raises(DeniedError, match="from disk is not allowed.*user_group_permissions_reload='NEVER'"):
        origin("NEVER").restored_permissions()


def test_permissions_without_a_group_that_the_settings_name_are_refused(origin):
    guarded = origin(user_groups={"operator": "root", "ada": "primary"})
    assert guarded.accept(IN_FILE)
    with pytest.raises(InvalidError, match="user 'ada', names user group 'primary'"):
        guarded.accept(KEPT)


@pytest.mark.parametrize(("run", "is_file"), [("before", True), ("now", False)])
async def test_the_file_of_lists_counts_until_something_was_kept_in_this_run(origin, run, is_file):
    lists = await origin().lists_at_start(_record(run), KEPT_LISTS)

    assert (lists != KEPT_LISTS) is is_file
    if is_file:
        catalogue = unpack_catalogue(parse_permissions(IN_FILE), lists)
        assert (list(catalogue.plans), list(catalogue.devices)) == (["count"], ["det"])


async def test_without_a_file_of_lists_the_kept_ones_count_and_nothing_can_be_restored(origin):
    no_file = origin(existing_plans_and_devices=None)
    assert await no_file.lists_at_start(_record("before"), KEPT_LISTS) == KEPT_LISTS
    assert await no_file.lists_at_start(None, None) == NO_LISTS
    with pytest.raises(WrongStateError, match="no file is set"):
        await no_file.restored_lists()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "existing_plans: [",
        "[]",
        "existing_plans: [count]",
        "existing_devices: {det: 3}",
        "existing_plans: {a: {b: 2",
    ],
)
def test_a_file_of_lists_that_is_missing_or_wrong_is_no_list(tmp_path, text):
    file = tmp_path / "lists.yaml"
    if text is not None:
        file.write_text(text)
    assert read_existing(file) == NO_LISTS
    assert not unpack_catalogue(parse_permissions({"user_groups": {ROOT: {}}}), NO_LISTS).is_known


def test_a_file_of_lists_that_has_not_changed_is_not_parsed_again(tmp_path):
    file = tmp_path / "lists.yaml"
    file.write_text("existing_plans: {}")
    kept = read_existing(file)
    assert read_existing(file, kept) is kept
    file.write_text("existing_plans: {count: {}}")
    assert read_existing(file, kept).catalog_uid != kept.catalog_uid
