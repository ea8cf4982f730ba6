"""Redis: where the book is kept. Each change is one script, which also checks that we are still the one who may write.

Keys, below `{prefix}:{instrument}:`
    queue      sorted set   uid by key
    items      hash         uid to item
    running    string       the running item with its attempt
    history    list         items with result, the oldest first
    tasks      hash         uid to running task
    task:UID   string       what came of a task, until it expires
    lock       string       the lock with its key; who deletes it unlocks, at the latest with the next start
    flags      string       mode, autostart, pending stop, uids of queue, history and task results
    revision   string       grows by one with each change
    room       string       there for a moment, to see whether Redis has room; see below
    fence      string       the fencing number of the queue service that may write
    lease      string       the name of the one that leads, for a second
    standby    string       the name of one that waits to take over, for a second
    answer:KEY string       what is kept of the answer to a request, as long as it may be repeated; see kept_answers.py
    read:UID   string       for a minute, where there are replicas: somebody has read the book
    staged:... as queue, items and history: what a restore has brought so far; see staging.py

When Redis is full it refuses a script whose first write takes memory, and lets all others through (its documentation,
"Scripting with Lua", on maxmemory). So what must go on then begins with a deletion: all but what adds to the queue or
to the tasks.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import structlog
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from skybus.bus.api.items import Item
from skybus.bus.errors import ConflictError, SkybusError, UnavailableError, WrongStateError, why
from skybus.bus.json_values import read_json
from skybus.bus.slices import in_slices
from skybus.queue.answer_room import AnswerRoom, forgotten
from skybus.queue.book import Book
from skybus.queue.lease_keys import LeaseKeys, Proof, Renewal
from skybus.queue.line import Line, Slot
from skybus.queue.locks import NO_LOCK, Lock
from skybus.queue.recent import Change, RecentChanges
from skybus.queue.records import Command, Flags, Running, RunningTask
from skybus.queue.redis_address import connect, copies_behind
from skybus.queue.redis_weaknesses import weaknesses
from skybus.queue.replicated import Script

log = structlog.get_logger()

HANGS = 10.0
"""Seconds for which nothing is asked of a Redis that has not answered in time, but by who renews the lease."""
SLOW = 1.0
"""Seconds after which people are told that Redis is slow."""
FULL = (
    "Redis is full (maxmemory), nothing can be added: clear the history or take items out of the queue, "
    "or give it more memory (SKYBUS_VALKEY_MAX_BYTES for the one that `skybus up` starts)"
)

_COMMIT = """
local prefix = KEYS[1]
if redis.call('GET', prefix .. 'fence') ~= ARGV[1] then return {'fenced'} end
if ARGV[4] ~= '' then
  local answer = redis.call('GET', prefix .. 'answer:' .. ARGV[4])
  if answer then
    redis.call('EXPIRE', prefix .. 'answer:' .. ARGV[4], ARGV[6])
    return {'done', answer}
  end
end
local revision = redis.call('GET', prefix .. 'revision') or '0'
if revision ~= ARGV[2] then return {tonumber(revision) < tonumber(ARGV[2]) and 'older' or 'stale'} end
if ARGV[7] == 'small' then redis.call('DEL', prefix .. 'room') end
local at = 8
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  local command = {}
  for i = 1, words do command[i] = ARGV[at + i] end
  command[2] = prefix .. command[2]
  if command[1] == 'RENAME' then command[3] = prefix .. command[3] end
  redis.call(unpack(command))
  at = at + words + 1
end
redis.call('SET', prefix .. 'revision', ARGV[3])
if ARGV[4] ~= '' then redis.call('SET', prefix .. 'answer:' .. ARGV[4], ARGV[5], 'EX', ARGV[6]) end
return {'ok'}
"""


_TAKE_OVER = """
local prefix = KEYS[1]
local now = redis.call('TIME')
local last = tonumber(redis.call('GET', prefix .. 'fence') or '0')
local number = string.format('%.0f', math.max(last + 1, now[1] * 1000 + math.floor(now[2] / 1000)))
redis.call('DEL', prefix .. 'room')
redis.call('SET', prefix .. 'fence', number)
return {number, redis.call('GET', prefix .. 'revision') or '0'}
"""

_ANSWERED = """
local key = KEYS[1] .. 'answer:' .. ARGV[1]
local answer = redis.call('GET', key)
if answer then redis.call('EXPIRE', key, ARGV[2]) end
return answer
"""
_MARK_READ = """
redis.call('DEL', KEYS[1] .. 'room')
redis.call('SET', KEYS[1] .. 'read:' .. ARGV[1], 1, 'EX', 60)
"""
_IS_KEPT = """
if redis.call('GET', KEYS[1] .. 'read:' .. ARGV[1]) == false then return 0 end
redis.call('DEL', KEYS[1] .. 'room')
redis.call('SET', KEYS[1] .. 'read:' .. ARGV[1], 2, 'EX', 60)
return 1
"""
"""Whether what was read together with setting this key is still what counts, after an election too."""
_PROBE = "return redis.call('SET', KEYS[1] .. 'room', '', 'PX', 1)"

_GROW = ("ZADD", "HSET", "RPUSH")
"""A change that begins with one of these adds to the queue, to the tasks, or to what a restore brings."""


class FencedError(SkybusError):
    """Another queue service has taken over this instrument; this one may not write any more."""


class SetBackError(FencedError):
    """Redis holds an older queue than was known here: this service ends, and the next one sees to it."""

    code = UnavailableError.code


class AnsweredBefore(Exception):  # noqa: N818 - it is no error
    """The request was done before: nothing was changed, and this was the answer."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


class Store:
    """The book of one instrument in Redis.

    Args:
        redis: the server.
        prefix: of the names of all keys.
        copies: replicas that must have a change before anybody hears of it.
        another: makes a further client of the same server.
    """

    def __init__(self, redis: Redis, prefix: str, copies: int = 0, another: Callable[[], Redis] | None = None) -> None:
        self._redis = redis
        self._prefix = prefix
        self._copies = copies
        self._commit, self._next_fence, self._answered, self._is_kept, self._probe = (
            Script(redis, text, copies) for text in (_COMMIT, _TAKE_OVER, _ANSWERED, _IS_KEPT, _PROBE)
        )
        self._another = another or (lambda: redis)
        self._lease = LeaseKeys(redis, prefix, self._proof)
        self._fence = ""
        self._known = 0
        """The highest revision that was seen to be stored."""
        self._recent = RecentChanges()
        self._answers = AnswerRoom()
        self._catching_up: asyncio.Task[None] | None = None
        self._hangs_until = 0.0
        """Nothing is asked before that time, by the monotonic clock: Redis has just been seen to hang."""

    @classmethod
    def at(cls, url: str, instrument: str, prefix: str = "sky", *, serves: bool = False) -> Store:
        """Make a store for a Redis URL (`redis://`, `rediss://`, `unix://`, `redis+sentinel://`).

        Args:
            url: of the server.
            instrument: part of the names of all keys.
            prefix: their beginning.
            serves: whether it is a queue service's: its connection bears a name by which others see that it runs.
        """
        keys = f"{prefix}:{instrument}:"
        name = _connection_name(keys) if serves else None
        client = partial(connect, url, protocol=3, client_name=name)
        return cls(client(), keys, copies_behind(url), client)

    def limit(self, answers: AnswerRoom, replayed_bytes: int) -> None:
        """Set how many answers are kept, and how many bytes of changes that can be made again."""
        self._answers = answers
        self._recent = RecentChanges(replayed_bytes)

    def written(self, key: str, kept: bytes) -> Command:
        """The command that keeps an answer."""
        return ("SET", f"answer:{key}", kept, "EX", self._answers.seconds)

    async def take_over(self) -> int:
        """Become the one who may write: whoever was it before cannot any more.

        The fencing number follows the clock, so that it is higher than all before also if Redis has forgotten them.

        Returns:
            The revision of the book that is found.
        """
        with self._answering():
            number, revision = await self._next_fence(self._prefix)
        self._fence = number.decode()
        return int(revision)

    async def take_lease(self, name: str, seconds: float) -> bool:
        """Take the lease, if nobody else has it, or leave word that one waits; returns whether it is ours."""
        with self._answering(looks=True):
            return await self._lease.take(name, seconds)

    def another_lease(self) -> LeaseKeys:
        """The lease over a client of its own, for another event loop."""
        return LeaseKeys(self._another(), self._prefix, self._proof)

    async def renewed(self, renewal: Renewal) -> None:
        """Take note of a renewal of the lease over another client.

        Raises:
            FencedError: another queue service has taken over.
            SetBackError: Redis has come back with an older queue.
        """
        self._hangs_until = 0.0
        if renewal.outcome == b"older":
            await self._catch_up(renewal.known)
            return
        _require_ours(renewal.outcome)
        self._recent.forget_old()

    def note_failure(self, error: RedisError | OSError) -> None:
        """Ask nothing for a while of a Redis that has not answered in time."""
        if isinstance(error, RedisTimeoutError):
            self._hangs_until = time.monotonic() + HANGS

    def _proof(self) -> Proof:
        return Proof(self._fence, self._known)

    def used(self) -> tuple[int, int]:
        """Bytes of the answers that are kept, and of the changes that can be made again."""
        return self._answers.used, self._recent.used

    async def memory(self) -> tuple[int, int]:
        """Bytes that Redis uses, and those that it may use; 0 if it has no limit."""
        with self._answering():
            info = await self._redis.info("memory")
        return int(info["used_memory"]), int(info["maxmemory"])

    async def weaknesses(self) -> list[str]:
        """Settings of Redis that would let it forget the book, each with what would be right."""
        with self._answering():
            return await weaknesses(self._redis)

    async def is_served(self) -> bool:
        """Whether a queue service is connected that works on the same keys."""
        with self._answering():
            return any(client["name"] == _connection_name(self._prefix) for client in await self._redis.client_list())

    async def load(self) -> Book:
        """Read the whole book but the history.

        Raises:
            SetBackError: it is older than what was known.
            UnavailableError: Redis does not answer, or what was read may be lost yet.
        """
        token, known = uuid.uuid4().hex, self._known
        with self._answering():
            book = await self._load(token)
            if self._copies and not await self._is_kept(self._prefix, token):
                raise UnavailableError("Redis has another primary since the queue was read")
        if book.revision < known:
            await self._catch_up(known)
            return await self.load()
        self._known = book.revision
        self._recent.stored(book.revision)
        return book

    async def commit(self, commands: Sequence[Command], revision: int, key: str = "", answer: bytes = b"") -> None:
        """Carry out the commands of one change, all or none.

        Args:
            commands: of the book's journal.
            revision: of the book before the change.
            key: of the request, if there is one: its answer is stored in the same step.
            answer: what the requester is told.

        Raises:
            AnsweredBefore: this request was done before.
            FencedError: another queue service has taken over.
            SetBackError: Redis has come back with an older queue.
            ConflictError: the book in memory is not what is stored.
            UnavailableError: Redis did not confirm; whether the change was made is not known.
        """
        size = "grows" if commands and commands[0][0] in _GROW else "small"
        superseded = [forgotten(old) for old in self._answers.superseded()] if key else []
        change = Change(revision, key, answer, size, _flat([*commands, *superseded]))
        self._recent.tried(change)
        outcome = await self._make(change)
        if outcome[0] == b"older":
            await self._catch_up(revision)
            outcome = await self._make(change)
        _require_ours(outcome[0])
        match outcome[0]:
            case b"ok":
                self._known = revision + 1
                self._recent.stored(self._known)
                if key:
                    self._answers.stored(key, len(answer))
            case b"done":
                raise AnsweredBefore(outcome[1])
            case _:
                raise ConflictError("the stored queue is not the one in memory")

    async def _make(self, change: Change) -> list[bytes]:
        revision = change.revision
        args = (self._fence, revision, revision + 1, change.key, change.answer, self._answers.seconds, change.size)
        with self._answering():
            return await self._commit(self._prefix, *args, *change.words)

    async def _catch_up(self, known: int) -> None:
        """Make the changes once more that Redis has lost, whoever has noticed it first.

        Raises:
            SetBackError: they are not known any more.
        """
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self._make_again(known))
            self._catching_up.add_done_callback(self._caught_up)
        await asyncio.shield(self._catching_up)

    def _caught_up(self, _: asyncio.Task[None]) -> None:
        self._catching_up = None

    async def _make_again(self, known: int) -> None:
        with self._answering():
            found = int(await self._redis.get(self._prefix + "revision") or 0)
        if found >= known:  # they were made meanwhile
            return
        lost = self._recent.since(found, known)
        if not lost:
            raise SetBackError
        for change in lost:
            outcome = await self._make(change)
            _require_ours(outcome[0])
            if outcome[0] != b"ok":
                raise SetBackError
        log.error("Redis had lost changes, and they were made once more", lost=len(lost), revision=known)

    async def answered(self, key: str) -> bytes | None:
        """The stored answer to a request, if it was done; empty if it was begun."""
        with self._answering():
            answer = await self._answered(self._prefix, key, self._answers.seconds)
        return answer if isinstance(answer, bytes) else None

    async def history(self, offset: int, limit: int | None) -> list[Item]:
        """Read items of the history, counted from the oldest."""
        last = -1 if limit is None else offset + limit - 1
        if limit == 0:
            return []
        with self._answering():
            return [read_json(raw) for raw in await self._redis.lrange(self._prefix + "history", offset, last)]

    async def raw_history(self, offset: int, limit: int) -> list[bytes | str]:
        """Read items of the history as they are written there."""
        if limit <= 0:
            return []
        with self._answering():
            return await self._redis.lrange(self._prefix + "history", offset, offset + limit - 1)

    async def task_results(self, uids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Read what came of tasks, nothing for those of which nothing is kept."""
        if not uids:
            return []
        with self._answering():
            kept = await self._redis.mget([f"{self._prefix}task:{uid}" for uid in uids])
        return [read_json(raw) if raw else None for raw in kept]

    async def ping(self) -> None:
        """See that Redis answers.

        Raises:
            UnavailableError: it does not.
        """
        with self._answering(looks=True):
            await self._redis.ping()

    async def probe(self) -> None:
        """See that Redis answers, soon, that it has room, and that it takes changes where these need replicas.

        Raises:
            UnavailableError: it does not.
        """
        begin = time.monotonic()
        with self._answering():
            await self._probe(self._prefix)
        took = time.monotonic() - begin
        if took > SLOW:
            raise UnavailableError(f"Redis is slow: it has taken {took:.1f} s to answer")

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    @contextmanager
    def _answering(self, *, looks: bool = False) -> Iterator[None]:
        """Tell in our words that Redis does not do what is asked of it.

        When it hangs, one waits: who renews the lease `looks` whether it still does, the others are told at once.
        """
        if not looks and time.monotonic() < self._hangs_until:
            raise UnavailableError("Redis does not answer: it hangs")
        try:
            yield
        except OutOfMemoryError as error:
            raise WrongStateError(FULL) from error
        except (RedisError, OSError) as error:
            self.note_failure(error)
            what = "refused the change" if isinstance(error, ResponseError) else "does not answer"
            raise UnavailableError(f"Redis {what}: {why(error)}") from error
        self._hangs_until = 0.0

    async def _load(self, token: str) -> Book:
        pipe = self._redis.pipeline(transaction=True)
        pipe.zrange(self._prefix + "queue", 0, -1, withscores=True)
        pipe.hgetall(self._prefix + "items")
        pipe.hgetall(self._prefix + "tasks")
        pipe.mget([self._prefix + name for name in ("running", "lock", "flags", "revision")])
        pipe.llen(self._prefix + "history")
        if self._copies:
            pipe.eval(_MARK_READ, 1, self._prefix, token)
        order, items, tasks, (running, lock, flags, revision), history_size, *_ = await pipe.execute()
        slots = await in_slices(lambda entry: Slot(float(entry[1]), read_json(items[entry[0]])), order)
        return Book(
            line=Line(slots),
            running=Running.model_validate_json(running) if running else None,
            tasks={uid.decode(): RunningTask.model_validate_json(raw) for uid, raw in tasks.items()},
            history_size=history_size,
            lock=Lock.model_validate_json(lock) if lock else NO_LOCK,
            flags=Flags.model_validate_json(flags) if flags else Flags(),
            revision=int(revision or 0),
        )


def _require_ours(outcome: bytes) -> None:
    if outcome == b"fenced":
        raise FencedError
    if outcome == b"older":
        raise SetBackError


def _connection_name(keys: str) -> str:
    return f"skybus-queue:{quote(keys)}"


def _flat(commands: Iterable[Command]) -> list[str | bytes | float]:
    return [word for command in commands for word in (len(command), *command)]
