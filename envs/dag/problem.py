"""Scheduling a task graph as a :class:`~makespan.envs.core.problem.Problem`."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.compiled import CompiledProblem, mode_index
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.dag import kernel
from makespan.envs.dag.bounds import lower_bound
from makespan.envs.dag.instance import Sizes, TaskGraphInstance
from makespan.envs.dag.kernel import State
from makespan.envs.dag.solution import TaskGraphSolution

#: Options and their values, first the default; see :mod:`makespan.envs.dag.kernel`.
OPTIONS: dict[str, tuple[str, ...]] = {
    "actions": kernel.ACTION_MODES,
    "placement": kernel.PLACEMENT_MODES,
    "dispatch": kernel.DISPATCH_MODES,
    "lookahead": kernel.LOOKAHEAD_MODES,
}


class DagProblem(CompiledProblem[TaskGraphInstance]):
    """Schedules tasks one by one to minimise the makespan.

    Args:
        largest: sizes to pad to.
        options: ``actions``, ``placement``, ``dispatch`` and ``lookahead``, see
            :mod:`makespan.envs.dag.kernel`.

    Raises:
        UnknownNameError: for an unknown option or value.
    """

    name: ClassVar[str] = "dag"
    kernels: ClassVar[tuple[Any, Any]] = kernel.step, kernel.step_parallel
    parallel_rows: ClassVar[int] = 256

    def __init__(self, largest: Sizes, **options: str) -> None:
        for option in options:
            if option not in OPTIONS:
                raise UnknownNameError("option", option, OPTIONS)
        self.largest = largest
        self._options = {name: options.get(name, values[0]) for name, values in OPTIONS.items()}
        self.constants = tuple(
            mode_index(name, value, OPTIONS[name]) for name, value in self._options.items()
        )
        tasks, processors, edges, _ = largest
        width = processors if self._options["actions"] == "task-processor" else 1
        extra = kernel.LOOKAHEAD_FEATURES if self._options["lookahead"] != "none" else ()
        self.spec = ObservationSpec.of_kernel(
            kernel,
            max_nodes=tasks + processors + 1,
            max_edges=edges + tasks * processors,
            max_candidates=min(tasks, kernel.WINDOW) * width
            + (self._options["dispatch"] == "skip"),
            more_features=extra,
        )

    def options(self) -> dict[str, Any]:
        """``{"actions": mode, "placement": mode, "dispatch": mode, "lookahead": mode}``."""
        return dict(self._options)

    def allocate(self, batch: int) -> State:
        """Arrays for ``batch`` task graphs."""
        tasks, processors, edges, links = self.largest
        candidates = self.spec.max_candidates
        of_task = (
            "least_cost rank rank_order position missing start end processor next_on ready "
            "trial_end trial_start trial_processor trial_next"
        )
        of_processor = (
            "twin free assigned work usable first_on trial_free trial_first trial_arrival"
        )
        shapes: dict[str, tuple[int, ...]] = {
            **dict.fromkeys(of_task.split(" "), (tasks,)),
            **dict.fromkeys(of_processor.split(" "), (processors,)),
            **dict.fromkeys(("target", "edge_in", "source", "mean_delay"), (edges,)),
            **dict.fromkeys(("cost", "tail", "arrival", "earliest"), (tasks, processors)),
            **dict.fromkeys(("candidate_task", "candidate_processor", "lookahead"), (candidates,)),
            "sizes": (4,),
            "first_out": (tasks + 1,),
            "first_in": (tasks + 1,),
            "delay": (edges, links),
            "link": (processors, processors),
            "scale": (3,),
            "totals": (kernel.TOTALS,),
            "best": (min(tasks, kernel.WINDOW), 6),
        }
        dtypes = {"scale": np.float64, "rank": np.float32, "mean_delay": np.float32}
        return State(
            **{
                field: np.zeros((batch, *shapes[field]), dtype=dtypes.get(field, np.int32))
                for field in State._fields
            }
        )

    def load(
        self, state: State, observation: Observation, row: int, instance: TaskGraphInstance
    ) -> None:
        """Put ``instance`` into ``row``; raises InstanceError when it is too large."""
        self.check_fits(instance)
        kernel.load_row(
            state,
            observation,
            row,
            instance.first_out,
            instance.edges,
            instance.first_in,
            instance.edges_in,
            instance.delays,
            instance.mean_delays,
            instance.link,
            instance.costs,
            instance.tails,
            instance.heads,
            instance.upward_ranks,
            instance.rank_order,
            lower_bound(instance),
            *self.constants,
        )

    def solution(self, state: State, row: int) -> TaskGraphSolution:
        """The schedule of a finished row."""
        return TaskGraphSolution(**self.scheduled(state, row))

    def scheduled(self, state: State, row: int) -> dict[str, NDArray[np.int64]]:
        """Columns tasks, processors, starts, ends (n,) of the scheduled tasks."""
        tasks = np.flatnonzero(state.processor[row, : state.sizes[row, 0]] >= 0)
        columns = {
            "tasks": tasks,
            "processors": state.processor[row, tasks],
            "starts": state.start[row, tasks],
            "ends": state.end[row, tasks],
        }
        return {name: column.astype(np.int64) for name, column in columns.items()}

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        """A Gantt chart of the tasks scheduled so far."""
        from makespan.envs.dag.render import rgb_array

        return rgb_array(
            self.scheduled(state, row),
            num_tasks=int(state.sizes[row, 0]),
            num_processors=int(state.sizes[row, 1]),
            lower_bound=int(state.totals[row, kernel.INITIAL_BOUND]),
        )

    def worst_case_reward(self, state: State, row: int) -> float:
        """As if every task left waited for the slowest transfer and ran where it takes longest."""
        totals = state.totals[row]
        num_tasks, num_processors, num_edges, num_links = state.sizes[row]
        left = np.flatnonzero(state.processor[row, :num_tasks] < 0)
        longest = int(state.cost[row, left, :num_processors].max(axis=1, initial=0).sum())
        slowest = int(state.delay[row, :num_edges, :num_links].max(initial=0))
        now = max(int(totals[kernel.COMPLETION]), int(totals[kernel.CLOCK]))
        worst = now + longest + (len(left) + 1) * slowest
        return float((totals[kernel.PROSPECT] - worst) * state.scale[row, 2])

    def metrics(self, state: State, row: int) -> dict[str, float]:
        """Makespan (in prospect, before the end) and its initial lower bound, in time units.

        ``initial_bound`` is the makespan in prospect at the start: the lower bound, with lookahead
        an upper one.
        """
        totals = state.totals[row]
        return {
            "objective": float(totals[kernel.PROSPECT]),
            "lower_bound": float(totals[kernel.INITIAL_BOUND]),
            "initial_bound": float(totals[kernel.INITIAL_PROSPECT]),
        }
