"""Plan code writes the headers of what it stores: none of them keeps reports waiting."""

from __future__ import annotations

import pytest

from skybus.bus import headers
from tests.integration.queue_fixtures import StandIns, client, house, opened, queue_service
from tests.integration.test_large_reports import report_of
from tests.promises import PATIENCE

__all__ = ["client", "house"]


@pytest.mark.parametrize("head", [{"Status": "408"}, {"Status": "100"}, {headers.KIND: headers.EVENT}])
async def test_a_report_with_odd_headers_keeps_no_other_waiting(nats, valkey, house: StandIns, client, head) -> None:
    async with queue_service(nats, valkey):
        await opened(house, client)
        await house.environment.connection.request(house.environment.subjects.life("task"), b"", headers=head)
        uid = await client.run_function("give")
        await house.report("task", report_of(await house.tasks.get(), house, 3))
        assert await client.wait_task(uid, PATIENCE) == 3
