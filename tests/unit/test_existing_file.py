"""The catalogue is saved as YAML, and only when it has changed."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from skybus.worker.environment.catalog import Catalog
from skybus.worker.environment.existing_file import FILE_NAME, save_existing, write_existing
from skybus.worker.environment.yaml_text import to_yaml

CATALOG = Catalog({"count": {"name": "count", "parameters": []}}, {"det": {"is_readable": True}})
SAVED = {"existing_plans": CATALOG.plans, "existing_devices": CATALOG.devices}

text = st.text(max_size=8) | st.sampled_from(["no", "null", "1e3", "- a", "a: b", "# a", "x\ny", "\x7f\x85\ufeff", "-"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=20,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(text, values, max_size=3))
def test_yaml_is_read_back_as_it_was(value):
    assert yaml.safe_load(to_yaml(value)) == value


def test_the_file_is_written_when_its_content_differs(tmp_path):
    path = tmp_path / FILE_NAME

    assert write_existing(path, CATALOG)
    assert yaml.safe_load(path.read_text()) == SAVED
    assert not write_existing(path, CATALOG)

    path.write_text(path.read_text().replace("det", "edited"))
    assert write_existing(path, CATALOG)
    assert yaml.safe_load(path.read_text()) == SAVED
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("content", ["# Written by others\n" + yaml.safe_dump(SAVED), "[}", "- 1"])
def test_a_file_of_somebody_else_stays_if_it_says_the_same(tmp_path, content):
    path = tmp_path / FILE_NAME
    path.write_text(content)

    assert write_existing(path, CATALOG) == ("others" not in content)


def test_what_cannot_be_written_harms_nothing(tmp_path):
    (tmp_path / "file").write_text("")

    save_existing(tmp_path / "file" / "below", CATALOG)
    save_existing(tmp_path, CATALOG)

    assert yaml.safe_load((tmp_path / FILE_NAME).read_text()) == SAVED
