"""A catalogue that auth cannot read is named where people look: refusals, health, the opening."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skybus.bus.api.catalog import PLANS_SKIPPED, GroupQuery
from skybus.bus.api.events import EnvironmentFacts
from skybus.bus.api.health import health_of
from skybus.bus.api.internal import CATALOG_REFRESH
from skybus.bus.errors import UnavailableError
from skybus.bus.messages import Empty
from skybus.cli.doctor_command import lacks
from tests.integration.auth_fixtures import PLANS, Queue, auth, count, environment
from tests.integration.auth_fixtures import queue_service as queue_side
from tests.integration.queue_fixtures import StandIns, client, house, queue_service
from tests.promises import PATIENCE

__all__ = ["client", "house"]


@pytest.fixture
async def queue(nats) -> AsyncIterator[Queue]:
    async with queue_side(nats) as queue:
        yield queue


async def test_auth_says_that_it_cannot_read_the_catalogue_until_it_can(nats, queue) -> None:
    async with auth(nats), environment(nats, plans=5) as env, nats.bus("operator") as operator:
        with pytest.raises(UnavailableError, match="auth could not read or keep the plans and devices"):
            await queue.bus.call(CATALOG_REFRESH, Empty(), timeout=PATIENCE)

        problem = await queue.problem(count("det"))
        assert "But auth could not read or keep the plans and devices of the environment" in problem.msg
        health = await operator.call(health_of("auth"), Empty())
        (finding,) = lacks(health)
        assert (finding.part, finding.is_well) == ("catalogue", False)
        assert "auth could not read or keep the plans and devices" in finding.what

        await env.change("readable", plans=PLANS)
        await queue.fetched()
        await queue.bus.call(CATALOG_REFRESH, Empty(), timeout=PATIENCE)
        assert await queue.problem(count("det")) is None
        assert not (await operator.call(health_of("auth"), Empty())).missing


async def test_plans_that_are_left_out_are_told_with_the_reason(nats, queue) -> None:
    async with auth(nats), environment(nats) as env, nats.bus("operator") as operator:
        env.skipped = {"odd": "it has no 'yield'"}
        await env.change("with skipped plans")
        await queue.fetched()
        assert (await operator.call(PLANS_SKIPPED, GroupQuery())).skipped == {
            "odd": "it has no 'yield'",
            "_secret": "the permissions of your user group exclude it",
        }
        printed = await _skybus("plans", "--skipped", "--data-dir", str(nats.data_dir))
        assert ["odd", "it", "has", "no", "'yield'"] in [line.split() for line in printed.splitlines()]


async def test_opening_says_that_plans_are_refused_when_auth_has_not_read_them(nats, valkey, house: StandIns, client):
    facts = EnvironmentFacts(python="3.12.1", executable="/opt/python", versions={}, warnings=["of the startup code"])
    async with queue_service(nats, valkey):
        await client.wait("idle")
        opening = asyncio.create_task(client.open_environment())
        await client.wait(lambda status: status.manager_state == "creating_environment")
        house.late_lists = 1_000_000
        await house.opened(facts)
        told = await opening
    assert told
    assert "plans are refused" in told.warnings[0]
    assert told.warnings[1] == "of the startup code"


async def _skybus(*words: str) -> str:
    command = Path(sys.executable).with_name("skybus")
    process = await asyncio.create_subprocess_exec(command, *words, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()
