"""The manager's states."""

import pytest

from skybus.bus.errors import WrongStateError
from skybus.queue.states import TRANSITIONS, Event, State, after


def test_every_state_has_a_way_out_and_a_way_in() -> None:
    reached = {state for row in TRANSITIONS.values() for state in row.values()}
    assert set(TRANSITIONS) == set(State)
    assert set(State) - reached <= {State.INITIALIZING, State.EXECUTING_TASK}


def test_the_loss_of_the_environment_leads_to_idle_from_everywhere() -> None:
    assert {after(state, Event.GONE) for state in State} == {State.IDLE}


def test_an_event_that_does_not_belong_to_the_state_is_refused_by_name() -> None:
    with pytest.raises(WrongStateError, match="'start' is not possible now.*'paused'"):
        after(State.PAUSED, Event.START)
