"""Messages as bytes: numpy is known where plan code uses it, and loaded nowhere else."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from skybus.bus.api.items import ItemSpec
from skybus.bus.messages import encode
from tests.promises import PATIENCE

_ANSWER = (
    "from skybus.bus.messages import Nothing, encode; encode(Nothing()); import sys; sys.exit('numpy' in sys.modules)"
)


@pytest.mark.parametrize("service", ["queue", "auth", "console", "worker", "bridge"])
def test_a_service_that_answers_has_not_loaded_numpy(service: str):
    done = subprocess.run(
        [sys.executable, "-c", f"import skybus.{service}.start; {_ANSWER}"], check=False, timeout=PATIENCE
    )
    assert done.returncode == 0


def test_an_agent_sends_values_of_numpy_as_they_are():
    item = ItemSpec(item_type="plan", name="scan", args=[np.float64(0.5), np.arange(3)])
    assert ItemSpec.model_validate_json(encode(item)).args == [0.5, [0, 1, 2]]
