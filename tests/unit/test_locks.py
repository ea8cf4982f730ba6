"""The lock, and which endpoints it guards."""

import asyncio
import importlib
from pkgutil import iter_modules
from typing import Any

import pytest

from skybus.bus import api
from skybus.bus.api import environment, lock, queue
from skybus.bus.api.lock import LockSet
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import InvalidError, LockedError
from skybus.bus.messages import Nothing
from skybus.bus.service import Handler
from skybus.queue.book import Book
from skybus.queue.guards import GUARDS, Entry, current_entry, guarded
from skybus.queue.locks import NO_LOCK, Guard, Lock

KEY = "the key"


def locked(**parts: bool) -> Lock:
    return Lock.made(LockSet(lock_key=KEY, note="new detector", **parts), "ann")


@pytest.mark.parametrize(
    ("current", "closed"),
    [
        (NO_LOCK, Guard(0)),
        (locked(environment=True), Guard.ENVIRONMENT),
        (locked(queue=True), Guard.QUEUE),
        (locked(environment=True, queue=True), Guard.ENVIRONMENT | Guard.QUEUE),
    ],
)
def test_only_the_key_gets_past_what_is_locked(current: Lock, closed: Guard) -> None:
    for guard in Guard:
        current.require(KEY, guard)
        for wrong in (None, "", "another key"):
            assert current.opens_with(wrong, guard) == (guard not in closed)


def test_a_refusal_says_who_has_locked_what_and_never_the_key() -> None:
    current = locked(environment=True, queue=True)
    with pytest.raises(LockedError, match="Invalid lock key: environment and queue locked by 'ann' .*new detector"):
        current.require("another key")
    for text in (current.describe(), repr(current), current.info(has_emergency_key=True).model_dump_json()):
        assert KEY not in text


def test_a_lock_locks_something() -> None:
    with pytest.raises(InvalidError, match="environment and/or queue must be selected"):
        locked(environment=False)


def test_every_lock_has_another_uid() -> None:
    assert len({NO_LOCK.uid, Lock().uid, locked(queue=True).uid, locked(queue=True).uid}) == 4


def test_every_endpoint_that_takes_a_lock_key_is_guarded() -> None:
    modules = [importlib.import_module(f"{api.__name__}.{info.name}") for info in iter_modules(api.__path__)]
    endpoints = [value for module in modules for value in vars(module).values() if type(value) is Endpoint]
    keyed = {endpoint.name for endpoint in endpoints if "lock_key" in endpoint.request.model_fields}
    assert keyed - set(GUARDS) == {lock.LOCK.name, lock.LOCK_INFO.name, lock.UNLOCK.name}
    assert set(GUARDS) <= keyed


def test_a_request_is_admitted_once() -> None:
    entry = Entry(Guard.QUEUE, None)
    entry.admit(NO_LOCK)
    entry.admit(locked(queue=True))
    with pytest.raises(LockedError):
        Entry(Guard.QUEUE, None).admit(locked(queue=True))


async def test_a_guarded_handler_has_an_entry_with_the_key_of_its_request() -> None:
    seen: list[Any] = []

    async def answer(_: Any) -> Nothing:
        seen.append(current_entry())
        return Nothing()

    book = Book()
    endpoints = (environment.ENVIRONMENT_OPEN, queue.QUEUE_GET)
    opening, reading = guarded([Handler(endpoint, answer) for endpoint in endpoints], lambda: book.lock)
    await asyncio.create_task(opening.answer(environment.EnvironmentControl(lock_key=KEY)))
    await asyncio.create_task(reading.answer(queue.QueueGet()))
    assert seen == [Entry(Guard.ENVIRONMENT, KEY), None]
    book.set_lock(locked(environment=True))
    with pytest.raises(LockedError):
        await opening.answer(environment.EnvironmentControl())
