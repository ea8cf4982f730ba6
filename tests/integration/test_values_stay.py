"""Numbers keep their value on the whole way: client, queue service, Redis, environment, report, documents, history."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from skybus.bus.api.internal import EnvironmentPhase
from skybus.bus.errors import InvalidError, WrongStateError
from skybus.bus.json_values import read_json
from skybus.client.client import Client
from tests.integration.bus_fixtures import canned_queue
from tests.integration.queue_fixtures import COUNT, client, house, opened, queue_service
from tests.integration.worker_fixtures import function, house_of, one_environment, plan, script
from tests.promises import PATIENCE

__all__ = ["client", "house"]

ODD = {"nan": math.nan, "inf": [math.inf, -math.inf], "big": 2**70, "zero": -0.0, "whole": 1.0, "none": None}


@pytest.fixture(scope="module")
def environment():
    with one_environment() as nats:
        yield nats


async def test_an_item_keeps_its_numbers_until_it_runs_and_in_history(nats, valkey, house, client) -> None:
    item = {**COUNT, "args": ["x" * 1000], "kwargs": ODD, "meta": ODD}
    async with queue_service(nats, valkey):
        added = await client.add_item(item)
        assert repr(added["kwargs"]) == repr(ODD)
    async with queue_service(nats, valkey):  # reads Redis
        await opened(house, client)
        page = await client.queue()
        assert repr([page.items[0]["kwargs"], page.items[0]["meta"]]) == repr([ODD, ODD])
        await client.start()
        order = await house.orders.get()
        assert repr(order.item["kwargs"]) == repr(ODD)
        await house.finished(order)
        await client.wait("queue_drained", timeout=PATIENCE)
        assert repr((await client.history()).items[0]["kwargs"]) == repr(ODD)
        shown = (await client.history(max_item_bytes=500)).items[0]
        assert (shown["left_out"], repr(shown["kwargs"])) == (["args"], repr(ODD))


async def test_half_a_character_is_refused_by_name(nats, valkey, house, client) -> None:
    async with queue_service(nats, valkey):
        with pytest.raises(InvalidError, match=r"parameter 'item.kwargs.text': the text has half a character"):
            await client.add("count", text="\udce9")
        assert (await client.add("count", text="e"))["kwargs"] == {"text": "e"}


@pytest.mark.parametrize(
    ("detail", "arrives"), [(2**70, {"item": 2**70}), (-math.inf, {"item": -math.inf}), ("\udce9", {})]
)
async def test_a_refusal_arrives_whatever_its_details_are(nats, detail: Any, arrives: dict[str, Any]) -> None:
    async with canned_queue(nats) as queue, Client.connect(data_dir=nats.data_dir) as client:
        queue.refuses_status = WrongStateError("not now", item=detail)
        with pytest.raises(WrongStateError, match="not now") as refused:
            await client.status()
        assert refused.value.details == arrives


async def test_plan_code_gets_the_numbers_and_its_results_and_documents_keep_them(environment) -> None:
    async with house_of(environment) as house:
        task = script("def look(**kwargs):\n    return [repr(kwargs), kwargs]\n", update_lists=False)
        assert (await house.finish_task(task))["success"]
        report = await house.finish_task(function("look", **ODD))
        assert report["return_value"][0] == repr(ODD)
        assert repr(report["return_value"][1]) == repr(ODD)
        report = await house.finish(plan("count", ["det"], md=ODD))
        start = (await house.documents_of(report["run_uids"][0]))[0].data
        assert repr({name: json.loads(start)[name] for name in ODD}) == repr(ODD)
        half: dict[str, Any] = await house.finish_task(function("give", "half"))
        assert half["success"] is False
        assert "half a character" in half["msg"]
        assert (await house.state()).phase == EnvironmentPhase.IDLE
    assert repr(read_json(json.dumps(ODD).encode())) == repr(ODD)
