"""Streaming jobs on a system on chip as a :class:`~makespan.envs.core.problem.Problem`."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.compiled import CompiledProblem, mode_index
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.soc import kernel
from makespan.envs.soc.bounds import upward_ranks
from makespan.envs.soc.instance import Sizes, StreamInstance
from makespan.envs.soc.kernel import State
from makespan.envs.soc.solution import StreamSolution


class StreamProblem(CompiledProblem[StreamInstance]):
    """Binds ready tasks to processors to minimise the mean latency of jobs.

    Args:
        largest: sizes to pad to.
        binding: ``"late"`` or ``"eager"``, see :mod:`makespan.envs.soc.kernel`.
        processors: ``"distinct"`` or ``"all"``, see there.

    Raises:
        UnknownNameError: for an unknown mode.
    """

    name: ClassVar[str] = "soc"
    kernels: ClassVar[tuple[Any, Any]] = kernel.step, kernel.step_parallel
    parallel_rows: ClassVar[int] = 64

    def __init__(self, largest: Sizes, binding: str = "late", processors: str = "distinct") -> None:
        self.largest = largest
        self.binding = binding
        self.processors = processors
        self.constants = (
            mode_index("binding", binding, kernel.BINDING_MODES),
            mode_index("processors", processors, kernel.PROCESSOR_MODES),
        )
        choices = largest.clusters if processors == "distinct" else largest.processors
        self.spec = ObservationSpec.of_kernel(
            kernel,
            max_nodes=largest.tasks + largest.job_types + largest.clusters + 1,
            max_edges=largest.edges + largest.tasks * (1 + largest.clusters),
            # a task is listed with all its processors or not at all
            max_candidates=2
            + max(choices, min(kernel.MAX_CANDIDATES - 2, largest.jobs * largest.width * choices)),
        )

    def options(self) -> dict[str, Any]:
        """``{"binding": mode, "processors": mode}``."""
        return {"binding": self.binding, "processors": self.processors}

    def allocate(self, batch: int) -> State:
        """Arrays for ``batch`` streams."""
        jobs, tasks, width, edges, types, clusters, processors = self.largest
        shapes: dict[str, tuple[int, ...]] = {
            "sizes": (kernel.SIZES,),
            "types": (types + 1, kernel.TYPE_COLUMNS),
            "tasks": (tasks + 1, kernel.TASK_COLUMNS),
            "times": (tasks, clusters, kernel.TIME_COLUMNS),
            "rank": (tasks,),
            "edges": (edges, kernel.EDGE_COLUMNS),
            "bandwidth": (clusters, clusters),
            "first_processor": (clusters + 1,),
            "scale": (3,),
            "factor": (jobs, width),
            "jobs": (jobs, kernel.JOB_COLUMNS),
            "instances": (jobs * width, kernel.INSTANCE_COLUMNS),
            "processors": (processors, kernel.PROCESSOR_COLUMNS),
            "ready": (jobs * width,),
            "arrival": (kernel.WINDOW, processors),
            "totals": (kernel.TOTALS,),
            "candidates": (self.spec.max_candidates, kernel.CANDIDATE_COLUMNS),
            "look": (kernel.WINDOW, kernel.LOOK_COLUMNS),
            "survey": (clusters, kernel.SURVEY_COLUMNS),
        }
        dtypes: dict[str, Any] = {
            "rank": np.float64,
            "scale": np.float64,
            "factor": np.float64,
            "survey": np.float32,
            "totals": np.int64,
        }
        return State(
            **{
                field: np.zeros((batch, *shapes[field]), dtype=dtypes.get(field, np.int32))
                for field in State._fields
            }
        )

    def load(
        self, state: State, observation: Observation, row: int, instance: StreamInstance
    ) -> None:
        """Put ``instance`` into ``row``; raises InstanceError when it is too large."""
        self.check_fits(instance)
        platform, entering = instance.platform, instance.entering
        sizes = np.array(
            [
                entering,
                len(platform.task_names),
                len(platform.edges),
                len(platform.jobs),
                len(platform.clusters),
                platform.num_processors,
                instance.cap,
                instance.warmup,
                instance.horizon,
                platform.same_core_bandwidth,
                instance.counted,
            ],
            dtype=np.int32,
        )
        state.processors[row, : platform.num_processors, kernel.CLUSTER_OF] = platform.cluster_of
        kernel.load_row(
            state,
            observation,
            row,
            sizes,
            platform.task_offsets,
            platform.cost,
            platform.edges,
            platform.bandwidths,
            platform.probability,
            upward_ranks(platform),
            instance.types[:entering],
            instance.gaps[:entering],
            instance.factors[:entering],
            float(instance.noise),
            *self.constants,
        )

    def solution(self, state: State, row: int) -> StreamSolution:
        """The schedule of a finished row: every task that has started."""
        return StreamSolution(**self.scheduled(state, row))

    def scheduled(self, state: State, row: int) -> dict[str, NDArray[np.int64]]:
        """Columns jobs, tasks, processors, starts, ends (n,) of the tasks that have started."""
        width = self.largest.width
        started = np.flatnonzero(state.instances[row, :, kernel.START] >= 0)
        return {
            "jobs": started // width,
            "tasks": started % width,
            "processors": state.instances[row, started, kernel.ON].astype(np.int64),
            "starts": state.instances[row, started, kernel.START].astype(np.int64),
            "ends": state.instances[row, started, kernel.END].astype(np.int64),
        }

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        """A Gantt chart of the tasks that have started."""
        from makespan.envs.soc.render import rgb_array

        scheduled = self.scheduled(state, row)
        return rgb_array(
            scheduled,
            types=state.jobs[row, scheduled["jobs"], kernel.TYPE],
            num_types=int(state.sizes[row, kernel.TYPES]),
            num_processors=int(state.sizes[row, kernel.PROCESSORS]),
        )

    def worst_case_reward(self, state: State, row: int) -> float:
        """As if all that is left were done one task after the other, each where it is slowest."""
        jobs, _, _, _, clusters, _, _, warmup, horizon, same_core, _ = state.sizes[row].tolist()
        width = self.largest.width
        totals = state.totals[row]
        now, entered = int(totals[kernel.NOW]), int(totals[kernel.NEXT_JOB])
        bandwidth = state.bandwidth[row, :clusters, :clusters]
        slowest = int(bandwidth[bandwidth > 0].min(initial=same_core))
        last = max(
            now,
            int(state.instances[row, :, kernel.END].max(initial=0)),
            int(totals[kernel.NEXT_ENTRY]),
        )
        last += int(state.jobs[row, entered:jobs, kernel.GAP].sum())
        for job in range(jobs):
            first, end = state.types[row, state.jobs[row, job, kernel.TYPE] :, kernel.OFFSET][
                :2
            ].tolist()
            open_ = state.instances[row, job * width : job * width + end - first, kernel.START] < 0
            times = state.times[row, first:end, :clusters, kernel.COST]
            longest = times.max(axis=1)[open_]
            factor = np.maximum(state.factor[row, job, : end - first][open_], 1.0)
            last += int(np.floor(longest * factor + 1.5).sum())
            edges = slice(
                state.tasks[row, first, kernel.FIRST_IN], state.tasks[row, end, kernel.FIRST_IN]
            )
            last += int((state.edges[row, edges, kernel.IN_VOLUME] // slowest).sum())
        worst = 0
        for job in range(warmup, jobs):
            if state.jobs[row, job, kernel.COMPLETED] >= 0:
                worst += int(
                    state.jobs[row, job, kernel.COMPLETED] - state.jobs[row, job, kernel.ENTERED]
                )
            elif state.jobs[row, job, kernel.ENTERED] >= 0:
                worst += (min(last, horizon) if horizon else last) - int(
                    state.jobs[row, job, kernel.ENTERED]
                )
            else:
                worst += last - now
        return float((totals[kernel.BOUND] - worst) * state.scale[row, 1])

    def metrics(self, state: State, row: int) -> dict[str, float]:
        """Mean latency of the counted jobs and its initial lower bound, in microseconds.

        Further: ``completed`` and ``censored`` (jobs in the system at the horizon), and
        ``little_gap``, the relative difference of the mean number of jobs in the system and the
        arrival rate times the mean time in the system (Little's law; 0 up to rounding).
        """
        totals = state.totals[row]
        counted = int(state.sizes[row, kernel.COUNTED])
        entered = int(totals[kernel.NEXT_JOB])
        now = int(totals[kernel.NOW])
        ends = state.jobs[row, :entered, kernel.COMPLETED].astype(np.int64)
        stayed = np.where(ends >= 0, ends, now) - state.jobs[row, :entered, kernel.ENTERED]
        integral = int(totals[kernel.INTEGRAL])
        return {
            "objective": int(totals[kernel.BOUND]) / counted,
            "lower_bound": int(totals[kernel.INITIAL_BOUND]) / counted,
            "completed": float((ends >= 0).sum()),
            "censored": float((ends < 0).sum()),
            "little_gap": abs(int(stayed.sum()) - integral) / max(integral, 1),
        }
