"""Where tasks are solved: in this process, in several, or on the machines of a Ray cluster.

A backend is called with this process's workbench, a function that makes the family (importable by
name, since each worker calls it), the tasks and the numbers of workers and threads. It yields each
outcome as soon as it is there, in any order; the outcomes are the same, whatever the backend. All
raise RunError, naming solver and instance, when a solution is invalid or a solver gives up.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import Any, NamedTuple

import numba

from makespan.baselines.runner import Outcome, RunError, Task, Workbench
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import Family

MakeFamily = Callable[[], Family]
Outcomes = Generator[Outcome, None, None]


class Places(NamedTuple):
    """Where tasks can be solved at the same time.

    Attributes:
        workers: processes.
        threads: of each, for neural networks; threads of more workers than cores wait for each
            other at every step.
    """

    workers: int = 1
    threads: int = 1


_AGAIN = "start again with the same --out and fewer --workers"


def solve_here(
    workbench: Workbench, make_family: MakeFamily, tasks: Sequence[Task], places: Places
) -> Outcomes:
    """One after the other in this process."""
    if places.workers != 1:
        raise UsageError(f"--workers: found {places.workers}, the backend serial has 1")
    _use_threads(places.threads)
    for task in tasks:
        yield workbench.solve(task)


def solve_in_processes(
    workbench: Workbench, make_family: MakeFamily, tasks: Sequence[Task], places: Places
) -> Outcomes:
    """In worker processes of this machine.

    Closing the generator, or an interruption, ends the processes at once.
    """
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(places.workers, max(len(tasks), 1)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(make_family, places.threads),
    )
    finished = False
    try:
        for future in as_completed([pool.submit(_solve_in_worker, task) for task in tasks]):
            yield future.result()
        finished = True
    except BrokenProcessPool:
        raise RunError(f"a worker process died (out of memory?); {_AGAIN}") from None
    finally:
        pool.shutdown(wait=finished, cancel_futures=True)
        if not finished:  # a running solve would go on until its time limit
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()


_workbench: Workbench | None = None  # of a worker process


def _start_worker(make_family: MakeFamily, threads: int) -> None:
    global _workbench
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    Thread(target=_end_with_parent, daemon=True).start()
    _use_threads(threads)
    _workbench = Workbench(make_family())


def _end_with_parent() -> None:
    """A parent that is killed ends nobody: its workers would wait for ever for another task."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _use_threads(threads: int) -> None:
    """In this process; torch, which takes seconds to import, is told when it is imported."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


def _solve_in_worker(task: Task) -> Outcome:
    assert _workbench is not None
    return _workbench.solve(task)


def solve_with_ray(
    workbench: Workbench, make_family: MakeFamily, tasks: Sequence[Task], places: Places
) -> Outcomes:
    """By workers in a Ray cluster: the one of ``RAY_ADDRESS``, or one started on this machine."""
    try:
        import ray
        from ray.exceptions import RayActorError, RayTaskError
        from ray.util import ActorPool
    except ImportError:
        raise UsageError("--backend ray: Ray is missing; pip install 'makespan[ray]'") from None
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, include_dashboard=False)
    try:
        worker = ray.remote(num_cpus=places.threads)(_Worker)
        made = [worker.remote(make_family, places.threads) for _ in range(places.workers)]
        pool = ActorPool(made)
        yield from pool.map_unordered(_solve_by_actor, list(tasks))
    except RayTaskError as error:
        raise error.cause from None
    except RayActorError:
        raise RunError(f"a Ray worker died (out of memory?); {_AGAIN}") from None
    finally:
        if started:
            ray.shutdown()


class _Worker:
    """A workbench that is built where it works."""

    def __init__(self, make_family: MakeFamily, threads: int) -> None:
        _use_threads(threads)
        self._workbench = Workbench(make_family())

    def solve(self, task: Task) -> Outcome:
        return self._workbench.solve(task)


def _solve_by_actor(actor: Any, task: Task) -> Any:
    return actor.solve.remote(task)


BACKENDS: Mapping[str, Callable[[Workbench, MakeFamily, Sequence[Task], Places], Outcomes]] = {
    "serial": solve_here,
    "process": solve_in_processes,
    "ray": solve_with_ray,
}
