"""Run CP-SAT so that Ctrl-C ends the search and keeps what was found."""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

#: CP-SAT takes seeds below this.
MAX_SEED = 2**31 - 1

#: Seconds since the start, and the objective found then.
Improvements = list[tuple[float, int]]


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
            objective = int(self.objective_value) * unit
            if not improvements or objective < improvements[-1][1]:
                improvements.append((time.perf_counter() - started, objective))

    solver.parameters.catch_sigint_signal = False  # we do, and tell
    with ThreadPoolExecutor(max_workers=1) as executor:
        future = executor.submit(solver.solve, model, Recorder())
        try:
            return future.result(), False
        except KeyboardInterrupt:
            while not future.done():  # it may not have begun when first told to stop
                solver.stop_search()
                wait([future], timeout=0.1)
            return future.result(), True
