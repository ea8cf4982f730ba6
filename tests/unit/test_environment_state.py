"""What an environment says of itself keeps its order."""

import pytest

from skybus.bus.api.internal import EnvironmentPhase
from skybus.worker.environment.state import StateKeeper
from tests.servers import NatsServer


@pytest.mark.parametrize("last", [EnvironmentPhase.CLOSING, EnvironmentPhase.FAILED])
async def test_an_environment_that_ends_does_not_seem_ready_when_its_plan_is_over(
    nats: NatsServer, last: EnvironmentPhase
) -> None:
    async with nats.bus("environment") as bus:
        keeper = StateKeeper("1", bus)
        keeper.change(phase=last, attempt="2")
        keeper.change(phase=EnvironmentPhase.IDLE, attempt=None)
        await bus.settle()

    assert (keeper.state.phase, keeper.state.attempt) == (last, None)
    assert not keeper.is_idle
