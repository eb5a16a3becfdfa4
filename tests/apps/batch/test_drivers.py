"""Drivers: one outcome for every task whatever becomes of a worker, and a bounded number of tasks ahead."""

import multiprocessing
import sys
import threading
from functools import partial

import pytest

from leechcodec.apps.batch.drivers import Workers
from leechcodec.apps.batch.processes import run_processes
from leechcodec.apps.batch.ray_actors import _room, run_ray
from leechcodec.apps.batch.tasks import ATTEMPTS, Outcome, Task, attempts, outcome_of
from leechcodec.apps.batch.threads import run_threads
from leechcodec.errors import ImageError, MissingPackageError, WorkerError
from tests.batch_workers import POISON, Killer, Stillborn, Victim


def some_tasks(count=40):
    return [Task(number, f"{number}.png") for number in range(count)]


def counted(tasks, given):
    """The tasks, and how many were taken."""
    for task in tasks:
        given.append(task.number)
        yield task


def check_killed(outcomes):
    by_number = {outcome.number: outcome for outcome in outcomes}
    assert sorted(by_number) == list(range(40))
    assert by_number[POISON].transient and by_number[POISON].error == "3.png: its worker died"
    for number, outcome in by_number.items():
        assert number == POISON or outcome.data == b"%d" % number


# --- attempts --------------------------------------------------------------------------------------------------


def test_every_task_has_one_outcome():
    rounds = []

    def shaky(tasks):
        tasks = list(tasks)
        rounds.append([task.number for task in tasks])
        for task in tasks:
            if task.number == 1 and len(rounds) < ATTEMPTS:
                yield Outcome(1, error="the disk is away", transient=True)
            elif task.number == 2:
                yield Outcome(2, error="no image")
            elif task.number != 3:  # which gets none
                yield Outcome(task.number)
                yield Outcome(task.number)

    died = []
    found = [(task.number, outcome.error) for task, outcome in attempts(shaky, some_tasks(5), died.append)]
    assert found == [(0, ""), (2, "no image"), (4, ""), (1, ""), (3, "3.png: its worker died")]
    assert rounds == [[0, 1, 2, 3, 4], [1, 3], [1, 3]]
    assert [task.number for task in died] == [3, 3, 3]


def test_no_worker_starts_for_nothing():
    assert list(attempts(partial(pytest.fail, "nothing to do"), [])) == []


def test_a_full_disk_ends_the_run():
    def full(task):
        raise OSError(28, "No space left on device", "out/a.lq")

    def execute(tasks):
        return (outcome_of(task, full) for task in tasks)

    with pytest.raises(WorkerError, match=r"out/a\.lq: No space left on device; make room, and run again"):
        list(attempts(execute, some_tasks()))


@pytest.mark.parametrize(
    ("error", "message", "transient"),
    [
        (ImageError("a.png: broken"), "a.png: broken", False),
        (ImageError("broken"), "a.png: broken", False),
        (MemoryError(), "a.png: out of memory", True),
        (FileNotFoundError(2, "No such file", "a.png"), "a.png: No such file", True),
        (RuntimeError("can't allocate memory"), "a.png: RuntimeError: can't allocate memory", True),
        (KeyError(1), "a.png: KeyError: 1", False),
    ],
)
def test_what_is_raised_is_an_outcome(error, message, transient):
    def broken(_):
        raise error

    outcome = outcome_of(Task(0, "a.png"), broken)
    assert (outcome.error, outcome.transient, outcome.full) == (message, transient, False)


def test_a_folders_name_is_no_lack_of_memory():
    def broken(_):
        raise KeyError(1)

    assert not outcome_of(Task(0, "memory-card/a.png"), broken).transient


# --- threads ---------------------------------------------------------------------------------------------------


def test_threads_share_one_worker_and_take_few_tasks_ahead(monkeypatch):
    monkeypatch.setattr("leechcodec.apps.batch.threads.available_cores", lambda: (0, 1, 2))
    made, given, seen, used = [], [], set(), []
    monkeypatch.setattr("leechcodec.apps.batch.threads.set_threads", used.append)

    def work(task):
        seen.add(threading.current_thread().name)
        return Outcome(task.number)

    def make():
        made.append(1)
        return work

    found = []
    for outcome in run_threads(make, counted(some_tasks(), given)):
        found.append(outcome.number)
        assert len(given) <= len(found) + 3 * 3
    assert sorted(found) == list(range(40)) and made == [1] and len(seen) <= 3 and set(used) == {1}
    assert not list(run_threads(make, []))
    assert list(run_threads(make, some_tasks(1))) and used[-1] == 3  # one image has all cores


# --- processes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_processes_lose_nothing_but_what_kills_them_and_take_few_tasks_ahead():
    given, outcomes = [], []
    for outcome in run_processes(Killer, 2, counted(some_tasks(), given)):
        outcomes.append(outcome)
        assert len(given) <= len(outcomes) + 2
    assert len(outcomes) == 40
    check_killed(outcomes)


@pytest.mark.slow
def test_images_that_all_kill_their_workers_are_told_apart_from_workers_that_cannot_start():
    outcomes = list(run_processes(Victim, 1, some_tasks(6)))
    assert [outcome.error for outcome in outcomes] == [f"{number}.png: its worker died" for number in range(6)]


@pytest.mark.slow
def test_processes_that_only_die_end_the_run():
    with pytest.raises(WorkerError, match="5 workers died in a row"):
        list(run_processes(Stillborn, 1, some_tasks()))


@pytest.mark.slow
def test_a_driver_given_up_ends_its_processes():
    outcomes = run_processes(Killer, 1, some_tasks(3))
    next(outcomes)
    assert multiprocessing.active_children()
    outcomes.close()
    assert not multiprocessing.active_children()


# --- Ray -------------------------------------------------------------------------------------------------------


def test_ray_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'leechcodec\[ray\]'"):
        next(run_ray(Killer, 1, None, some_tasks()))
    for wanted in ({"by_ray": True}, {"address": "10.0.0.1:6379"}):
        with pytest.raises(MissingPackageError, match=r"pip install 'leechcodec\[ray\]'"):
            Workers(**wanted)


@pytest.fixture(scope="module")
def ray():
    return pytest.importorskip("ray", reason="needs Ray: pip install 'leechcodec[ray]'")


@pytest.mark.slow
def test_ray_loses_nothing_but_what_kills_its_workers_and_takes_few_tasks_ahead(ray):
    given, outcomes = [], []
    for outcome in run_ray(Killer, 2, None, counted(some_tasks(), given)):
        outcomes.append(outcome)
        assert len(given) <= len(outcomes) + 3
    assert len(outcomes) == 40 and not ray.is_initialized()
    check_killed(outcomes)


@pytest.mark.slow
def test_actors_that_only_die_end_the_run(ray):
    with pytest.raises(WorkerError, match="5 workers died in a row: "):
        list(run_ray(Stillborn, 1, None, some_tasks()))


def test_a_cluster_that_is_not_there(ray, monkeypatch):
    def nobody(**_):
        raise ConnectionError("nobody answers\nat all")

    monkeypatch.setattr(ray, "init", nobody)
    with pytest.raises(WorkerError, match=r"no Ray at 10\.0\.0\.1:6379: nobody answers$"):
        next(run_ray(Killer, 1, "10.0.0.1:6379", some_tasks()))


def test_actors_are_as_many_as_a_cluster_has_room_for():
    assert _room({"CPU": 9.0}, 2, 0) == 4 and _room({}, 2, 0) == 1
    assert _room({"CPU": 9.0, "GPU": 2.0}, 1, 1) == 2 and _room({"CPU": 9.0}, 1, 1) == 1
