"""`__main__`, logging and the standard streams of an environment belong to user code; no child runs it again."""

import base64
import signal
import zlib
from pathlib import Path

import orjson
import pytest

from skybus.bus.api.internal import ENVIRONMENT_CATALOG, CatalogPart
from tests.integration.kernel_fixtures import kernel_worker
from tests.integration.worker_fixtures import (
    House,
    function,
    house_of,
    lone_worker,
    one_environment,
    plan,
    script,
)

STARTUP = Path(__file__).parent / "startup_as_main"


@pytest.fixture(scope="module", params=["without a kernel", "with a kernel"])
def servers(request):
    make = kernel_worker if request.param == "with a kernel" else lone_worker
    with one_environment(make, SKYBUS_STARTUP_DIR=str(STARTUP)) as nats:
        yield nats


@pytest.fixture
async def house(servers):
    async with house_of(servers) as house:
        yield house


async def called(house: House, name: str, *args: object) -> object:
    report = await house.finish_task(function(name, *args))
    assert report["success"], report["msg"]
    return report["return_value"]


async def test_devices_that_libraries_put_into_main_can_be_used_and_nothing_else_is_listed(house):
    report = await house.finish_task(script("def more():\n    yield\n"))
    assert report["success"], report["msg"]
    catalog = orjson.loads(
        zlib.decompress(base64.b64decode((await house.bus.call(ENVIRONMENT_CATALOG, CatalogPart())).data))
    )
    assert catalog["devices"].keys() == {"table_x", "declared"}
    assert catalog["plans"].keys() == {"file_in_plan", "squares_in_plan", "pool_in_plan", "unwritable", "more"}


@pytest.mark.parametrize("pool", ["squares_in_plan", "pool_in_plan"])
async def test_functions_of_startup_code_run_in_forked_processes(house, pool):
    report = await house.finish(plan(pool, "fork"))
    assert report["return_value"] == [1, 4], report["msg"]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("pool", ["squares_in_plan", "pool_in_plan"])
async def test_a_spawned_process_says_why_it_lacks_them_and_runs_no_startup_code(house, pool, method):
    report = await house.finish(plan(pool, method))
    assert "'square' is defined in startup code, which does not run again in a spawned process" in report["msg"]
    assert await called(house, "library_call", method) == 3
    assert await called(house, "loads") == 1


async def test_classes_and_enums_of_startup_code_can_be_pickled(house):
    assert await called(house, "in_other_process") == [2, True]


async def test_hints_that_are_text_resolve(house):
    assert await called(house, "hints") == ["<class '__main__.Position'>", "ophyd_async.core._signal.SignalRW[int]"]


async def test_code_knows_the_file_that_it_was_written_in(house):
    report = await house.finish(plan("file_in_plan"))
    assert report["return_value"] == str(STARTUP / "00-first.py"), report["msg"]
    assert await called(house, "second_file") == str(STARTUP / "10-second.py")


async def test_a_script_changes_the_same_main_module(house):
    code = "import __main__, sys; later = 5; assert __main__.later == 5 and sys.modules['__main__'].square(2) == 4"
    report = await house.finish_task(script(code))
    assert report["success"], report["msg"]
    assert await called(house, "library_call", "spawn") == 3  # it has a `__file__` now, which spawn must not run
    assert await called(house, "loads") == 1


async def test_logging_is_set_up_by_startup_code_alone(house):
    assert await called(house, "root_handlers") == []
    assert "a line of the beamline\n" in str(await called(house, "log_line", "a line of the beamline"))


async def test_structlog_is_as_startup_code_finds_it_in_any_python(house):
    report = await house.finish_task(script("import structlog; assert not structlog.is_configured()"))
    assert report["success"], report["msg"]


@pytest.mark.parametrize("break_them", ["sys.stdout.close(); sys.stderr.close()", "sys.stdout = sys.stderr = None"])
async def test_an_environment_outlives_what_user_code_does_to_the_standard_streams(house, break_them):
    keep = "import io, sys; streams = sys.stdout, sys.stderr; sys.stdout = sys.stderr = io.open(1, 'w', closefd=False)"
    assert (await house.finish_task(script(keep)))["success"]
    for code in (f"import sys; {break_them}", "1 + 1", "sys.stdout, sys.stderr = streams; print('heard again')"):
        report = await house.finish_task(script(code))
        assert report["success"], report["msg"]
    await house.until_text("heard again")


async def test_standard_output_can_be_reconfigured_and_wrapped(house):
    code = (
        "import io, sys\n"
        "sys.__stdout__.reconfigure(encoding='utf-8')\n"
        "wrapped = io.TextIOWrapper(sys.__stdout__.buffer, encoding='utf-8', write_through=True)\n"
        "print('wrapped anew', file=wrapped)\n"
        "wrapped.detach()\n"
    )
    report = await house.finish_task(script(code))
    assert report["success"], report["msg"]
    await house.until_text("wrapped anew")


async def test_a_fork_warns_of_no_file_of_ours(house):
    code = (
        "import os, warnings\n"
        "with warnings.catch_warnings():\n"
        "    warnings.simplefilter('always')\n"
        "    if (pid := os.fork()) == 0:\n"
        "        os.write(1, b'forked quietly')\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    )
    report = await house.finish_task(script(code))
    assert report["success"], report["msg"]
    await house.until_text("forked quietly")
    assert "ResourceWarning" not in house.text()


async def test_an_environment_outlives_a_signal_handler_that_raises_while_nothing_runs(house):
    code = "import signal; signal.signal(signal.SIGUSR1, lambda *_: 1 / 0)"
    assert (await house.finish_task(script(code)))["success"]
    later = "import os, signal; os.kill(os.getpid(), signal.SIGUSR1)"
    assert (await house.finish_task(script(later), background=True))["success"]
    await house.until_text(f"The handler of signal {signal.SIGUSR1:d} has raised an error:")
    await house.until_text("ZeroDivisionError: division by zero")
    report = await house.finish_task(script(later))
    assert "division by zero" in report["msg"]  # user code that runs gets what its handlers raise
    assert (await house.state()).phase == "idle"


async def test_an_environment_outlives_an_error_that_python_cannot_write(house):
    report = await house.finish(plan("unwritable"))
    assert report["exit_status"] == "failed"
    assert "bad macro" in report["msg"]
    report = await house.finish_task(script("raise SyntaxError('bad macro', ('macro.txt', 3, '5', 'mv x 3'))"))
    assert "bad macro" in report["msg"]
    assert (await house.state()).phase == "idle"
