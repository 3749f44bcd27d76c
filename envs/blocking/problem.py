"""The blocking job shop as a :class:`~makespan.envs.core.problem.Problem`."""

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.blocking import kernel
from makespan.envs.blocking.instance import ON_DOWN_MODES, BlockingInstance, worst_makespan
from makespan.envs.blocking.kernel import State
from makespan.envs.blocking.solution import BlockingSolution
from makespan.envs.blocking.trials import RULES
from makespan.envs.core.compiled import CompiledProblem, mode_index
from makespan.envs.core.observation import Observation, ObservationSpec

OPTIONS = {"deadlock": kernel.DEADLOCK_MODES, "lookahead": tuple(RULES)}


class Sizes(NamedTuple):
    """What an instance, or the largest of many, takes up."""

    jobs: int
    machines: int
    operations: int
    shutdowns: int


class BlockingProblem(CompiledProblem[BlockingInstance]):
    """Lets jobs enter machines one by one, or time pass, to minimise the makespan.

    Candidate 0 is to wait, candidate ``1 + job`` lets the job enter its next machine.

    Args:
        largest: sizes to pad to.
        deadlock: ``"mask"`` or ``"end"``, see :mod:`makespan.envs.blocking.kernel`.
        lookahead: what completes trial schedules, which add features, see there and
            :data:`makespan.envs.blocking.trials.RULES`.

    Raises:
        UnknownNameError: for an unknown mode.
    """

    name: ClassVar[str] = "blocking"
    kernels: ClassVar[tuple[Any, Any]] = kernel.step, kernel.step_parallel
    parallel_rows: ClassVar[int] = 128

    def __init__(self, largest: Sizes, deadlock: str = "mask", lookahead: str = "none") -> None:
        looks_ahead = mode_index("lookahead", lookahead, OPTIONS["lookahead"])
        self.largest = largest
        self.deadlock = deadlock
        self.lookahead = lookahead
        self.constants = mode_index("deadlock", deadlock, OPTIONS["deadlock"]), RULES[lookahead]
        extra = kernel.LOOKAHEAD_FEATURES if looks_ahead else ()
        self.spec = ObservationSpec.of_kernel(
            kernel,
            max_nodes=largest.operations + largest.jobs + largest.machines,
            max_edges=3 * largest.operations,
            max_candidates=1 + largest.jobs,
            more_features=extra,
        )

    def options(self) -> dict[str, Any]:
        """``{"deadlock": mode, "lookahead": mode}``."""
        return {"deadlock": self.deadlock, "lookahead": self.lookahead}

    @staticmethod
    def extent(instance: BlockingInstance) -> Sizes:
        """Sizes of the shop and of its shutdowns."""
        return Sizes(*instance.sizes[:3], len(instance.down_starts))

    def allocate(self, batch: int) -> State:
        """Arrays for ``batch`` shops."""
        jobs, machines, n, shutdowns = self.largest
        moving = {
            "totals": (15, np.int64),
            "next_operation": (jobs, np.int32),
            "place": (jobs, np.int32),
            "ready": (jobs, np.int64),
            "holder": (machines, np.int32),
            "up": (machines, np.int64),
            "next_down": (machines, np.int32),
            "load": (machines, np.int64),
            "start": (n, np.int64),
            "end": (n, np.int64),
            "leave": (n, np.int64),
            "wants": (jobs, np.int32),
        }
        columns = {
            "first_operation": (jobs + 1, np.int32),
            "machine": (n, np.int32),
            "duration": (n, np.int64),
            "tail": (n, np.int64),
            "total_load": (machines, np.int64),
            "first_down": (machines + 1, np.int32),
            "down_start": (shutdowns, np.int64),
            "down_end": (shutdowns, np.int64),
            "scale": (2, np.float64),
            "lookahead": (1 + jobs, np.int64),
            "best_rule": (1 + jobs, np.int32),
            "taken": (machines, np.int32),
            "inside": (jobs, np.int32),
            "wanting": (machines, np.int32),
            "waiting": (machines, np.int32),
            **moving,
            **{f"trial_{field}": column for field, column in moving.items()},
        }
        return State(
            **{
                field: np.zeros((batch, size), dtype=dtype)
                for field, (size, dtype) in columns.items()
            }
        )

    def load(
        self, state: State, observation: Observation, row: int, instance: BlockingInstance
    ) -> None:
        """Put ``instance`` into ``row``; raises InstanceError when it is too large."""
        self.check_fits(instance)
        kernel.load_row(
            state,
            observation,
            row,
            instance.num_machines,
            instance.job_offsets,
            instance.machines,
            instance.durations,
            instance.down_offsets,
            instance.down_starts,
            instance.down_ends,
            int(instance.swap),
            ON_DOWN_MODES.index(instance.on_down),
            worst_makespan(instance),
            *self.constants,
        )

    def solution(self, state: State, row: int) -> BlockingSolution:
        """The schedule of a finished row; incomplete after a deadlock."""
        return BlockingSolution(**self.scheduled(state, row))

    def scheduled(self, state: State, row: int) -> dict[str, NDArray[np.int64]]:
        """Columns of the operations that have begun; ends and leaves not yet known are now."""
        totals = state.totals[row]
        jobs, n = int(totals[kernel.JOBS]), int(totals[kernel.OPERATIONS])
        offsets = state.first_operation[row, : jobs + 1].astype(np.int64)
        begun = np.flatnonzero(state.start[row, :n] >= 0)
        job = np.searchsorted(offsets, begun, side="right") - 1
        now = totals[kernel.TIME]
        ends, leaves = (
            np.where(times < 0, now, times)
            for times in (state.end[row, begun], state.leave[row, begun])
        )
        columns = (
            job,
            begun - offsets[job],
            state.machine[row, begun].astype(np.int64),
            state.start[row, begun],
            ends,
            leaves,
        )
        return dict(zip(BlockingSolution.columns(), columns, strict=True))

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        """A Gantt chart of the operations that have begun."""
        from makespan.envs.blocking.render import rgb_array

        totals = state.totals[row]
        return rgb_array(
            self.scheduled(state, row),
            num_machines=int(totals[kernel.MACHINES]),
            num_jobs=int(totals[kernel.JOBS]),
            lower_bound=int(totals[kernel.INITIAL]),
        )

    def worst_case_reward(self, state: State, row: int) -> float:
        """As if the makespan were :func:`worst_makespan`."""
        totals = state.totals[row]
        return float((totals[kernel.BOUND] - totals[kernel.WORST]) * state.scale[row, 1])

    def metrics(self, state: State, row: int) -> dict[str, float]:
        """Makespan (the bound before the end), lower bound, and whether a deadlock ended it."""
        totals = state.totals[row]
        return {
            "objective": float(totals[kernel.BOUND]),
            "lower_bound": float(totals[kernel.INITIAL]),
            "deadlock": float(totals[kernel.DEADLOCK]),
        }
