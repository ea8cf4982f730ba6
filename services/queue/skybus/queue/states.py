"""The manager's states, with the reference's names, as one table."""

from __future__ import annotations

from enum import StrEnum

from skybus.bus.errors import WrongStateError


class State(StrEnum):
    """What the manager is doing."""

    INITIALIZING = "initializing"
    IDLE = "idle"
    PAUSED = "paused"
    CREATING_ENVIRONMENT = "creating_environment"
    STARTING_QUEUE = "starting_queue"
    EXECUTING_QUEUE = "executing_queue"
    EXECUTING_TASK = "executing_task"
    CLOSING_ENVIRONMENT = "closing_environment"
    DESTROYING_ENVIRONMENT = "destroying_environment"


class Event(StrEnum):
    """What changes the state."""

    READY = "ready"
    """The stored state is read and the environment, if any, has answered."""
    OPEN = "open"
    OPENED = "opened"
    CLOSE = "close"
    DESTROY = "destroy"
    GONE = "gone"
    """There is no environment any more."""
    REFUSED = "refused"
    """The worker would not do what was begun."""
    START = "start"
    RUN = "run"
    """An item has begun to run."""
    PAUSE = "pause"
    """The running plan has paused."""
    CONTINUE = "continue"
    TASK = "task"
    """A foreground task has begun."""
    FINISH = "finish"
    """Nothing is left to run, the queue was stopped, or the task is done."""


S, E = State, Event

TRANSITIONS: dict[State, dict[Event, State]] = {
    S.INITIALIZING: {
        E.READY: S.IDLE,
        E.OPEN: S.CREATING_ENVIRONMENT,
        E.RUN: S.EXECUTING_QUEUE,
        E.TASK: S.EXECUTING_TASK,
        E.GONE: S.IDLE,
    },
    S.IDLE: {
        E.OPEN: S.CREATING_ENVIRONMENT,
        E.CLOSE: S.CLOSING_ENVIRONMENT,
        E.DESTROY: S.DESTROYING_ENVIRONMENT,
        E.START: S.STARTING_QUEUE,
        E.TASK: S.EXECUTING_TASK,
        E.READY: S.IDLE,
        E.GONE: S.IDLE,
    },
    S.CREATING_ENVIRONMENT: {
        E.OPENED: S.IDLE,
        E.REFUSED: S.IDLE,
        E.DESTROY: S.DESTROYING_ENVIRONMENT,
        E.GONE: S.IDLE,
    },
    S.STARTING_QUEUE: {
        E.RUN: S.EXECUTING_QUEUE,
        E.FINISH: S.IDLE,
        E.DESTROY: S.DESTROYING_ENVIRONMENT,
        E.GONE: S.IDLE,
    },
    S.EXECUTING_QUEUE: {
        E.RUN: S.EXECUTING_QUEUE,
        E.PAUSE: S.PAUSED,
        E.FINISH: S.IDLE,
        E.DESTROY: S.DESTROYING_ENVIRONMENT,
        E.GONE: S.IDLE,
    },
    S.PAUSED: {
        E.CONTINUE: S.EXECUTING_QUEUE,
        E.RUN: S.EXECUTING_QUEUE,
        E.FINISH: S.IDLE,
        E.DESTROY: S.DESTROYING_ENVIRONMENT,
        E.GONE: S.IDLE,
    },
    S.EXECUTING_TASK: {E.FINISH: S.IDLE, E.DESTROY: S.DESTROYING_ENVIRONMENT, E.GONE: S.IDLE},
    S.CLOSING_ENVIRONMENT: {E.REFUSED: S.IDLE, E.DESTROY: S.DESTROYING_ENVIRONMENT, E.GONE: S.IDLE},
    S.DESTROYING_ENVIRONMENT: {E.REFUSED: S.IDLE, E.GONE: S.IDLE},
}


def after(state: State, event: Event) -> State:
    """The state that follows.

    Raises:
        WrongStateError: the event does not belong to the state.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise WrongStateError(f"'{event}' is not possible now: the manager is in the state '{state}'") from None
