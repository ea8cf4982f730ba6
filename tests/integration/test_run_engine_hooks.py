"""The RunEngine's hooks and lists are the user's: plans see nothing of ours there, and may change them as they like."""

import asyncio
import inspect
from abc import ABCMeta
from pathlib import Path

import bluesky.plans as bp
import bluesky.run_engine
import pytest
from bluesky import RunEngine
from bluesky.suspenders import SuspendBoolHigh
from bluesky.utils import Msg
from ophyd import Signal
from ophyd.sim import det

from skybus.bus.api.internal import (
    ENGINE_METADATA,
    PLAN_CONTINUE,
    EnvironmentPhase,
    PlanContinue,
)
from skybus.bus.errors import SkybusError
from skybus.bus.messages import Empty
from skybus.worker.environment.run_engine_internals import PRIVATE, observe
from tests.integration.worker_fixtures import (
    house_of,
    one_environment,
    plan,
    script,
)

STARTUP = Path(__file__).with_name("startup_for_hooks")


@pytest.fixture(scope="module")
def servers():
    with one_environment(SKYBUS_STARTUP_DIR=str(STARTUP)) as nats:
        yield nats


@pytest.fixture
async def house(servers):
    async with house_of(servers) as house:
        yield house
        state = await house.state()
        assert (state.phase, state.attempt) == (EnvironmentPhase.IDLE, None)


async def test_a_plan_finds_the_run_engine_as_the_startup_code_has_left_it(house):
    assert (await house.finish(plan("as_left")))["return_value"] == []


@pytest.mark.parametrize(
    "what",
    [
        "nothing",
        "preprocessors cleared",
        "preprocessors replaced",
        "preprocessors popped",
        "hooks taken away",
        "hooks replaced",
        "unsubscribed",
        "all unsubscribed",
        "dispatcher replaced",
        "context managers cleared",
        "suspenders cleared",
        "metadata cleared",
        "metadata replaced",
        "log replaced",
    ],
)
async def test_what_a_plan_changes_of_the_run_engine_changes_nothing_for_us(house, what):
    report = await house.finish(plan("change", what))

    assert (report["exit_status"], report["return_value"], report["msg"]) == ("completed", what, "")
    (run_uid,) = report["run_uids"]
    documents = await house.documents_of(run_uid)
    kinds = [message.subject.split(".")[-2] for message in documents]
    assert (kinds[0], kinds.count("start"), kinds.count("stop")) == ("start", 1, 1)
    assert kinds.count("event") >= 2
    assert b'"marked":"by the site"' in documents[0].data
    states = [state.re_state for state in house.states if state.attempt == report["attempt"]]
    assert "running" in states


async def test_a_plan_that_has_changed_lists_fails_with_its_own_error(house):
    report = await house.finish(plan("change_and_break", "preprocessors cleared"))
    assert (report["exit_status"], report["msg"]) == ("failed", "Plan failed: the shutter did not open")


async def test_a_document_is_kept_also_when_a_subscriber_of_the_plan_fails(house):
    report = await house.finish(plan("subscriber_fails"))
    assert "the file could not be written" in report["msg"]
    documents = await house.documents_of(report["run_uids"][0])
    assert b'"marked":"by the site"' in documents[0].data


async def test_metadata_is_told_of_whatever_dictionary_the_run_engine_has(house):
    await house.finish_task(script("kept_md, RE.md = RE.md, None"))
    with pytest.raises(SkybusError, match="Failed to convert Run Engine metadata to dictionary"):
        await house.bus.call(ENGINE_METADATA, Empty())
    await house.finish_task(script("import collections; RE.md = collections.ChainMap({'here': 1})"))
    assert (await house.bus.call(ENGINE_METADATA, Empty())).re_metadata == {"here": 1}
    await house.finish_task(script("RE.md = kept_md"))
    assert "here" not in (await house.bus.call(ENGINE_METADATA, Empty())).re_metadata


async def test_a_preprocessor_cannot_end_the_environment(house):
    await house.finish_task(script("RE.preprocessors.append(exiting)"))
    report = await house.finish(plan("as_left"))
    await house.finish_task(script("RE.preprocessors.remove(exiting)"))

    assert report["msg"] == "Plan failed: the plan has raised SystemExit(from a preprocessor)"
    assert (await house.finish(plan("as_left")))["exit_status"] == "completed"


@pytest.mark.parametrize(
    ("action", "exit_status", "of_run"),
    [("stop", "stopped", "success"), ("abort", "aborted", "abort"), ("halt", "halted", "abort")],
)
@pytest.mark.parametrize("name", ["ends_itself", "raises_ending"])
async def test_a_plan_that_user_code_ends_early_is_filed_so(house, name, action, exit_status, of_run):
    report = await house.finish(plan(name, action))
    assert (report["exit_status"], report["msg"]) == (exit_status, f"Plan {exit_status} by user code")
    documents = await house.documents_of(report["run_uids"][0])
    assert f'"exit_status":"{of_run}"'.encode() in documents[-1].data


async def test_a_plan_that_runs_the_engine_itself_fails_with_the_reason_and_its_documents_are_kept(house):
    report = await house.finish(plan("runs_itself"))
    assert report["exit_status"] == "failed"
    assert "plan 'runs_itself' has returned a tuple, not a plan" in report["msg"]
    assert "It has run a plan with RE itself" in report["msg"]
    await house.documents_of(report["run_uids"][0])


@pytest.mark.parametrize(
    ("returned", "what"), [("5.0", "a float"), ("None", "None"), ("'text'", "a str"), ("['uid']", "a list")]
)
async def test_a_plan_that_returns_something_else_fails_before_anything_is_run(house, returned, what):
    states = len(house.states)
    report = await house.finish(plan("returns", returned))
    assert f"Plan failed: plan 'returns' has returned {what}, not a plan: it must yield" in report["msg"]
    assert "with RE" not in report["msg"]
    assert {state.re_state for state in house.states[states:]} == {"idle"}


@pytest.mark.parametrize("returned", ["[Msg('null')]", "Msg('null')", "(Msg('null') for _ in range(2))", "bps.null()"])
async def test_a_plan_may_return_messages_in_any_form(house, returned):
    assert (await house.finish(plan("returns", returned)))["exit_status"] == "completed"


async def test_an_error_that_python_cannot_show_is_reported(house):
    report = await house.finish(plan("raises_bad_macro"))
    assert (report["exit_status"], report["msg"]) == ("failed", "Plan failed: bad macro (macro.txt, line 3)")
    assert "in raises_bad_macro" in report["traceback"]
    task = await house.finish_task(script("raise bad_macro()"))
    assert (task["success"], "bad macro" in task["msg"], "bad macro" in task["traceback"]) == (False, True, True)


async def test_a_pause_that_fails_is_not_called_an_abort(house):
    report = await house.finish(plan("pauses_without_checkpoint"))
    assert (report["exit_status"], "there is no checkpoint to go back to" in report["msg"]) == ("failed", True)


async def test_a_plan_that_is_cancelled_has_failed(house):
    report = await house.finish(plan("raises_cancelled"))
    assert (report["exit_status"], report["return_value"]) == ("failed", None)
    assert report["msg"] == "Plan failed: the code has raised CancelledError('by a library')"
    assert "raise asyncio.CancelledError" in report["traceback"]


async def test_all_plans_of_a_call_are_ours_if_a_site_runs_several(house):
    await house.finish_task(script("kept, RE = RE, ThoroughEngine()", update_re=True))
    report = await house.finish(plan("count", ["det"]))
    await house.finish_task(script("RE = kept", update_re=True))
    assert (report["exit_status"], len(report["run_uids"])) == ("completed", 1)
    await house.documents_of(report["run_uids"][0])


async def test_a_plan_that_ends_early_after_a_pause_is_filed_so(house):
    attempt = await house.start(plan("ends_itself_after_a_pause"))
    await house.until_state(lambda state: state.attempt == attempt and state.re_state == "paused")
    await house.bus.call(PLAN_CONTINUE, PlanContinue(action="resume"))
    report = await house.life.report("report", attempt=attempt)
    assert (report["exit_status"], report["msg"]) == ("aborted", "Plan aborted by user code")


async def test_documents_of_a_run_engine_that_a_task_uses_are_its_own(house):
    await house.finish_task(script("import bluesky.plans as bp; own = RE(bp.count([det]))"))
    report = await house.finish(plan("change", "nothing"))
    await house.documents_of(report["run_uids"][0])
    assert {message.subject.split(".")[-1] for message in house.documents.messages} == set(report["run_uids"])


async def test_a_run_engine_that_replaces_another_and_goes_again_runs_plans(house):
    other = "from bluesky import RunEngine\nkept, RE = RE, RunEngine({'other': True})"
    await house.finish_task(script(other, update_re=True))
    assert (await house.bus.call(ENGINE_METADATA, Empty())).re_metadata["other"]
    report = await house.finish(plan("count", ["det"]))
    assert (report["exit_status"], len(report["run_uids"])) == ("completed", 1)
    await house.finish_task(script("RE = kept", update_re=True))
    report = await house.finish(plan("change", "nothing"))
    assert (report["exit_status"], len(report["run_uids"])) == ("completed", 1)


class WithSlots(RunEngine):
    __slots__ = ("own",)


class WithMetaclass(RunEngine, metaclass=ABCMeta):
    """A class of a site may have a metaclass."""


class WithCheckedSubclasses(RunEngine):
    """A class of a site may want to know of its subclasses."""

    def __init_subclass__(cls, *, beamline):
        cls.beamline = beamline


class OfBeamline(WithCheckedSubclasses, beamline="sim"):
    """A class of a site."""


@pytest.fixture(params=[RunEngine, WithSlots, WithMetaclass, OfBeamline])
def engine(request):
    engine = request.param({}, context_managers=[], loop=asyncio.new_event_loop())
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


def test_bluesky_has_the_private_names_that_we_use(engine):
    assert [name for name in PRIVATE if not hasattr(engine, name)] == []
    suspender = SuspendBoolHigh(Signal(name="shutter", value=0))
    assert {"_ev", "_sig"} <= set(vars(suspender))
    run, begins = inspect.getsource(RunEngine._run), inspect.getsource(RunEngine.__call__)
    assert "self._plan_stack.append(gen)" in begins
    assert 'single_gen(Msg("wait_for", None, futs))' in begins
    assert "_run_permit.wait()" in run
    assert "for mgr in self.context_managers" in inspect.getsource(RunEngine._resume_task)
    assert "self.dispatcher.process(name, doc)" in inspect.getsource(RunEngine.emit_sync)
    assert Msg("wait_for", None, [1])._replace(args=([2],)).args == ([2],)
    assert isinstance(vars(RunEngine)["_state"], bluesky.run_engine.LoggingPropertyMachine)


def test_a_run_engine_of_any_class_is_observed_and_looks_as_before(engine):
    observer = RecordingObserver()
    kind, shown = type(engine), vars(engine).copy()
    observe(engine, observer)
    assert type(engine) is kind
    assert vars(engine) == shown

    engine(bp.count([det]))
    assert observer.states == ["running", "idle"]
    assert observer.documents == ["start", "descriptor", "event", "stop"]


class MarkingEngine(RunEngine):
    """Changes what its subscribers get where a document is passed on."""

    def emit_sync(self, name, doc):
        super().emit_sync(name, {**doc, "marked": "by emit_sync"})


class DispatchingEngine(RunEngine):
    """Hands its documents to the dispatcher itself, and keeps some."""

    async def emit(self, name, doc):
        if name.name != "descriptor":
            self.dispatcher.process(name, {**doc, "marked": "by emit"})


@pytest.mark.parametrize("engine", [RunEngine, MarkingEngine, DispatchingEngine], indirect=True)
def test_documents_are_those_that_subscribers_get(engine):
    observer, got = RecordingObserver(), []
    observe(engine, observer)
    engine(bp.count([det]), lambda name, document: got.append((name, document)))
    assert len(got) >= 3
    assert list(zip(observer.documents, observer.contents, strict=True)) == got


def test_documents_for_a_dispatcher_of_user_code_are_reported(engine):
    observer = RecordingObserver()
    observe(engine, observer)
    engine.dispatcher = OwnDispatcher()
    engine(bp.count([det]))
    assert observer.documents == ["start", "descriptor", "event", "stop"]


class OwnDispatcher:
    """Needs nothing of bluesky."""

    def process(self, name, doc):
        pass

    def unsubscribe_all(self):
        pass


class RecordingObserver:
    takes_interrupts = True

    def __init__(self):
        self.states, self.documents, self.contents = [], [], []

    def state_changed(self, state):
        self.states.append(state)

    def waits_for(self, statuses):
        pass

    def emitted(self, name, document):
        self.documents.append(name)
        self.contents.append(document)

    def plan_ended(self, result, error):
        pass

    def held(self, suspender, justification, wait):
        return wait
