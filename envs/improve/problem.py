"""The improvement of a job-shop schedule as a :class:`~makespan.envs.core.problem.Problem`."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.compiled import CompiledProblem, mode_index
from makespan.envs.core.errors import UsageError
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.improve import kernel
from makespan.envs.improve.kernel import State
from makespan.envs.improve.start import START_MODES, check_start, first_schedule
from makespan.envs.jobshop.bounds import lower_bound
from makespan.envs.jobshop.instance import JobShopInstance, Sizes
from makespan.envs.jobshop.solution import JobShopSolution

#: Longest episode.
MAX_MOVES = 2**20

#: Options of the problem for the command lines, first the default.
OPTIONS = {
    "start": START_MODES,
    "moves": ("200", "100", "500", "1000", "2000", "5000", "10000", "20000", "50000"),
    "neighbourhood": kernel.NEIGHBOURHOODS,
    "tabu": kernel.TABU_MODES,
}


class ImproveProblem(CompiledProblem[JobShopInstance]):
    """Improves a complete schedule move by move to minimise the makespan of the best one met.

    Args:
        largest: sizes to pad to; one alternative per operation.
        start: of the first schedule, see :func:`makespan.envs.improve.start.first_schedule`.
        moves: length of an episode; it ends earlier at a lower bound, or without a move.
        neighbourhood: ``"n5"`` or ``"n6"``, see :mod:`makespan.envs.jobshop.disjunctive`.
        tabu: ``"last"`` forbids the moves that undo the last one, unless all would be forbidden.

    Raises:
        UnknownNameError, UsageError: for a value outside its range.
    """

    name: ClassVar[str] = "improve"
    kernels: ClassVar[tuple[Any, Any]] = kernel.step, kernel.step_parallel
    parallel_rows: ClassVar[int] = 64

    def __init__(
        self,
        largest: Sizes,
        start: str = "fdd-mwkr",
        moves: int | str = 200,
        neighbourhood: str = "n5",
        tabu: str = "none",
    ) -> None:
        if not str(moves).isdecimal() or not 1 <= int(moves) <= MAX_MOVES:
            raise UsageError(f"moves: found {moves!r}, expected an integer from 1 to {MAX_MOVES}")
        if largest.alternatives > 1:
            raise UsageError(
                f"found operations with {largest.alternatives} alternatives, expected 1: the "
                "moves here are those of the classical job shop"
            )
        check_start(start)
        self.largest = largest
        self.start = start
        self.moves = int(moves)
        self.neighbourhood = neighbourhood
        self.tabu = tabu
        self.constants = (
            self.moves,
            mode_index("neighbourhood", neighbourhood, kernel.NEIGHBOURHOODS),
            mode_index("tabu", tabu, kernel.TABU_MODES),
        )
        self.spec = ObservationSpec.of_kernel(
            kernel,
            max_nodes=largest.operations + largest.machines,
            max_edges=2 * largest.operations,
            max_candidates=min(2 * largest.operations, kernel.MAX_CANDIDATES),
        )

    def options(self) -> dict[str, Any]:
        """Start, moves (as text), neighbourhood and tabu mode."""
        return {
            "start": self.start,
            "moves": str(self.moves),
            "neighbourhood": self.neighbourhood,
            "tabu": self.tabu,
        }

    def allocate(self, batch: int) -> State:
        """Arrays for ``batch`` schedules."""
        jobs, machines, n, _ = self.largest
        visits = _power_of_two(kernel.SLOTS_PER_MOVE * self.moves)
        pairs = _power_of_two(kernel.SLOTS_PER_OPERATION * n)
        columns: dict[str, int | tuple[int, ...]] = {
            "job_prev": n + 1,
            "job_next": n + 1,
            "machine": n,
            "duration": n + 1,
            "first_on_machine": machines,
            "machine_prev": n + 1,
            "machine_next": n + 1,
            "order": n,
            "position": n + 1,
            "head": n + 1,
            "tail": n + 1,
            "mark": n + 1,
            "scratch": n + 1,
            "job_offsets": jobs + 1,
            "best_order": n,
            "seed": 1,
            "totals": 11,
            "scale": 2,
            "path": n,
            "blocks": n + 1,
            "moves": (2 * n, 2),
            "estimates": 2 * n,
            "arrival": self.spec.max_candidates,
            "hash": 1,
            "visited": visits,
            "visit": visits,
            "pair": pairs,
            "pair_step": pairs,
            "pair_count": pairs,
            "moved": n,
        }
        dtypes = {
            "mark": np.bool_,
            "seed": np.uint64,
            "totals": np.int64,
            "scale": np.float64,
            "arrival": np.uint64,
            "hash": np.uint64,
            "visited": np.uint64,
            "pair": np.int64,
        }
        return State(
            **{
                field: np.zeros(np.r_[batch, shape], dtype=dtypes.get(field, np.int32))
                for field, shape in columns.items()
            }
        )

    def load(
        self, state: State, observation: Observation, row: int, instance: JobShopInstance
    ) -> None:
        """Put ``instance`` and its first schedule into ``row``.

        Raises:
            InstanceError: when it is too large.
        """
        self.check_fits(instance)
        kernel.load_row(
            state,
            observation,
            row,
            instance.num_machines,
            instance.job_offsets,
            instance.machines,
            instance.durations,
            lower_bound(instance),
            first_schedule(instance, self.start),
            *self.constants,
        )

    def solution(self, state: State, row: int) -> JobShopSolution:
        """The incumbent: the best schedule met."""
        return JobShopSolution(**_columns(state, row, state.best_order[row]))

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        """A Gantt chart of the current schedule."""
        from makespan.envs.jobshop.render import rgb_array

        totals = state.totals[row]
        return rgb_array(
            _columns(state, row, state.order[row]),
            num_machines=int(totals[kernel.MACHINES]),
            num_jobs=int(totals[kernel.JOBS]),
            lower_bound=int(totals[kernel.LOWER_BOUND]),
            horizon=int(max(totals[kernel.INITIAL], totals[kernel.MAKESPAN])),
        )

    def worst_case_reward(self, state: State, row: int) -> float:
        """Nothing gained."""
        return 0.0

    def metrics(self, state: State, row: int) -> dict[str, float]:
        """Makespans of the incumbent and of the first schedule, and a lower bound."""
        totals = state.totals[row]
        return {
            "objective": float(totals[kernel.INCUMBENT]),
            "lower_bound": float(totals[kernel.LOWER_BOUND]),
            "initial_bound": float(totals[kernel.INITIAL]),
        }


def _columns(state: State, row: int, order: NDArray[np.int32]) -> dict[str, NDArray[np.int64]]:
    """Columns of the schedule that starts its operations as early as can be in that order."""
    jobs, machines, n = state.totals[row, : kernel.OPERATIONS + 1].tolist()
    offsets = state.job_offsets[row, : jobs + 1].astype(np.int64)
    machine, duration = state.machine[row, :n].tolist(), state.duration[row, :n].tolist()
    job = np.repeat(np.arange(jobs), np.diff(offsets))
    starts = np.zeros(n, dtype=np.int64)
    job_ready, machine_ready = [0] * jobs, [0] * machines
    for op in order[:n].tolist():
        j, m = int(job[op]), machine[op]
        starts[op] = max(job_ready[j], machine_ready[m])
        job_ready[j] = machine_ready[m] = int(starts[op]) + duration[op]
    return {
        "jobs": job,
        "positions": np.arange(n) - offsets[job],
        "machines": np.asarray(machine, dtype=np.int64),
        "starts": starts,
        "ends": starts + np.asarray(duration, dtype=np.int64),
    }


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
