"""What the solvers by CP-SAT share: options, parameters, and that Ctrl-C keeps what was found."""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from makespan.baselines.limits import check_time_limit
from makespan.envs.core.ranges import check_least

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

#: CP-SAT takes seeds below this.
MAX_SEED = 2**31 - 1

#: Seconds since the start, and the objective found then.
Improvements = list[tuple[float, int]]


@dataclass(frozen=True)
class CpSatOptions:
    """Options of every solver that uses CP-SAT.

    Attributes:
        workers: threads of CP-SAT; None: one per core.
        time_limit_s: seconds, see :func:`~makespan.baselines.limits.time_limit`.

    Raises:
        UsageError: for a value outside its range.
    """

    workers: int | None = None
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        check_least(self, workers=1)
        check_time_limit(self.time_limit_s)


def cp_solver(workers: int | None, seconds: float, rng: np.random.Generator) -> "cp_model.CpSolver":
    """CP-SAT with its threads, its time limit and a seed from ``rng``."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers or 0
    solver.parameters.random_seed = int(rng.integers(MAX_SEED))
    solver.parameters.max_time_in_seconds = max(seconds, 0.0)
    solver.parameters.catch_sigint_signal = False  # it would leave Ctrl-C killing the process
    return solver


def note(improvements: Improvements, started: float, objective: int) -> None:
    """Extend by a solution found now, if it is better than the last one.

    What a model says of a solution that is not optimal may be more than its objective, so solvers
    note what they have read from it once more.
    """
    if not improvements or objective < improvements[-1][1]:
        improvements.append((time.perf_counter() - started, objective))


def run(
    solver: "cp_model.CpSolver",
    model: "cp_model.CpModel",
    improvements: Improvements,
    started: float,
    unit: int = 1,
) -> tuple[Any, bool]:
    """Solve in a thread, so that Ctrl-C reaches us.

    Args:
        solver: with its parameters.
        model: to solve.
        improvements: extended by the solutions better than its last one.
        started: ``time.perf_counter()`` from which seconds count.
        unit: value of one unit of the model's objective.

    Returns:
        the status, and whether Ctrl-C ended the search.
    """
    from ortools.sat.python import cp_model

    class Recorder(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self) -> None:
            note(improvements, started, int(self.objective_value) * unit)

    with ThreadPoolExecutor(max_workers=1) as executor:
        future = executor.submit(solver.solve, model, Recorder())
        try:
            return future.result(), False
        except KeyboardInterrupt:
            while not future.done():  # it may not have begun when first told to stop
                solver.stop_search()
                wait([future], timeout=0.1)
            return future.result(), True
