"""The job shop and the flexible job shop as a :class:`~makespan.envs.core.problem.Problem`."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.compiled import CompiledProblem, mode_index
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.jobshop import kernel
from makespan.envs.jobshop.instance import JobShopInstance, Sizes
from makespan.envs.jobshop.kernel import State
from makespan.envs.jobshop.solution import JobShopSolution


class JobShopProblem(CompiledProblem[JobShopInstance]):
    """Schedules operations one by one to minimise the makespan.

    Args:
        largest: sizes to pad to. With K the most alternatives of an operation, candidate
            ``job * K + k`` is alternative k of the job's next operation.
        decode: schedule-generation scheme, see :mod:`makespan.envs.jobshop.kernel`.
        lookahead: ``"atc"`` adds features from trial schedules, see
            :mod:`makespan.envs.jobshop.kernel`.

    Raises:
        UnknownNameError: for an unknown mode.
    """

    name: ClassVar[str] = "jobshop"
    kernels: ClassVar[tuple[Any, Any]] = kernel.step, kernel.step_parallel
    parallel_rows: ClassVar[int] = 256

    def __init__(self, largest: Sizes, decode: str = "active", lookahead: str = "none") -> None:
        self.largest = largest
        self.decode = decode
        self.lookahead = lookahead
        self.constants = (
            largest.alternatives,
            mode_index("decode", decode, kernel.DECODE_MODES),
            mode_index("lookahead", lookahead, kernel.LOOKAHEAD_MODES),
        )
        extra = () if lookahead == "none" else kernel.LOOKAHEAD_FEATURES
        self.spec = ObservationSpec.of_kernel(
            kernel,
            max_nodes=largest.operations + largest.jobs + largest.machines,
            max_edges=largest.operations * (2 + largest.alternatives),
            max_candidates=largest.jobs * largest.alternatives,
            more_features=extra,
        )

    def options(self) -> dict[str, Any]:
        """``{"decode": mode, "lookahead": mode}``."""
        return {"decode": self.decode, "lookahead": self.lookahead}

    def allocate(self, batch: int) -> State:
        """Arrays for ``batch`` job shops."""
        jobs, machines, operations, width = self.largest
        candidates = jobs * width
        alternatives = operations * width
        columns = {
            "sizes": 3,
            "first_operation": jobs + 1,
            "first_alternative": operations + 1,
            "machine": alternatives,
            "duration": alternatives,
            "tail": operations,
            "shortest": operations,
            "scale": 2,
            "next_operation": jobs,
            "job_ready": jobs,
            "machine_ready": machines,
            "fixed_load": machines,
            "load": machines,
            "earliest": candidates,
            "front": (candidates, 3),
            "ahead": (jobs, 6),
            "start": operations,
            "assigned": operations,
            "first_on_machine": machines,
            "next_on_machine": operations,
            "totals": 6,
            "queue": machines,
            "queue_next": candidates,
            "queue_size": machines,
            "queue_work": machines,
            "queue_changed": machines,
            "delay_bound": candidates,
            "log_duration": alternatives,
            "lookahead": candidates,
            "trial_next": jobs,
            "trial_ready": machines,
            "trial_load": machines,
            "trial_start": candidates,
            "trial_machine": candidates,
            "trial_tail": candidates,
            "trial_log": candidates,
            "trial_queue": machines,
            "trial_queue_next": candidates,
        }
        dtypes = {
            "scale": np.float64,
            "load": np.float32,
            "log_duration": np.float32,
            "trial_log": np.float32,
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
        """Put ``instance`` into ``row``; raises InstanceError when it is too large."""
        self.check_fits(instance)
        kernel.load_row(
            state,
            observation,
            row,
            instance.num_machines,
            instance.job_offsets,
            instance.alternative_offsets,
            instance.machines,
            instance.durations,
            *self.constants,
        )

    def solution(self, state: State, row: int) -> JobShopSolution:
        """The schedule of a finished row."""
        return JobShopSolution(**self.scheduled(state, row))

    def scheduled(self, state: State, row: int) -> dict[str, NDArray[np.int64]]:
        """Columns jobs, positions, machines, starts, ends (n,) of the scheduled operations."""
        num_jobs, _, num_operations = state.sizes[row]
        offsets = state.first_operation[row, : num_jobs + 1].astype(np.int64)
        operations = np.flatnonzero(state.start[row, :num_operations] >= 0)
        jobs = np.searchsorted(offsets, operations, side="right") - 1
        alternatives = state.assigned[row, operations]
        starts = state.start[row, operations].astype(np.int64)
        return {
            "jobs": jobs,
            "positions": operations - offsets[jobs],
            "machines": state.machine[row, alternatives].astype(np.int64),
            "starts": starts,
            "ends": starts + state.duration[row, alternatives],
        }

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        """A Gantt chart of the operations scheduled so far."""
        from makespan.envs.jobshop.render import rgb_array

        return rgb_array(
            self.scheduled(state, row),
            num_machines=int(state.sizes[row, 1]),
            num_jobs=int(state.sizes[row, 0]),
            lower_bound=int(state.totals[row, kernel.INITIAL_BOUND]),
        )

    def worst_case_reward(self, state: State, row: int) -> float:
        """As if all remaining work were done one operation after the other."""
        totals = state.totals[row]
        worst = int(totals[kernel.COMPLETION]) + self._longest_work_left(state, row)
        return float((totals[kernel.BOUND] - worst) * state.scale[row, 1])

    def _longest_work_left(self, state: State, row: int) -> int:
        num_operations = state.sizes[row, 2]
        first = state.first_alternative[row, :num_operations]
        used = state.first_alternative[row, num_operations]
        longest = np.maximum.reduceat(state.duration[row, :used], first)
        return int(longest[state.start[row, :num_operations] < 0].sum())

    def metrics(self, state: State, row: int) -> dict[str, float]:
        """Makespan (the bound before the end) and initial lower bound, in time units."""
        totals = state.totals[row]
        return {
            "objective": float(totals[kernel.BOUND]),
            "lower_bound": float(totals[kernel.INITIAL_BOUND]),
        }
