"""Fixtures: real servers on free ports, a fresh one for each test (NATS is up in 12 ms)."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from tests import leftovers
from tests.seed import SEED
from tests.servers import NatsServer, Valkey

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=200)
settings.register_profile("random", deadline=None, max_examples=2000, print_blob=True, database=None)
settings.load_profile("fixed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.option.hypothesis_seed = SEED
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored by what it starts with `&`


def pytest_report_header() -> str:
    return f"seed: {SEED} (SKYBUS_TEST_SEED)"


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> Generator[None, Any, Any]:
    """Look at the tasks of each event loop in which tests run, before it is closed."""
    made = yield
    if isinstance(made, asyncio.Runner):
        loop = made.get_loop()
        leftovers.follow(loop)
        fixturedef.addfinalizer(lambda: leftovers.forget(loop))
    return made


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left_by_the_module() -> Iterator[None]:
    with leftovers.none_left():
        yield


@pytest.fixture(autouse=True)
def nothing_is_left(nothing_is_left_by_the_module: None) -> Iterator[None]:
    """Behind the test and its own fixtures; those of its module were there before."""
    with leftovers.none_left():
        yield


@pytest.fixture(autouse=True)
def usual_logs() -> Iterator[None]:
    """What a command run in this process has made of logging ends with its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short path: unix sockets allow 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sky") as folder:
        yield Path(folder)


@pytest.fixture
async def nats(data_dir: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(data_dir)
    await server.start()
    yield server
    server.stop()


@pytest.fixture
async def valkey(data_dir: Path) -> AsyncIterator[Valkey]:
    server = Valkey(data_dir)
    await server.start()
    yield server
    server.stop()
