"""The memory-mapping game as a :class:`~makespan.envs.core.problem.Problem`."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.compiled import CompiledProblem, mode_index
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.memory import kernel
from makespan.envs.memory.instance import MemoryInstance, Sizes
from makespan.envs.memory.kernel import State
from makespan.envs.memory.solution import MemoryPlan

#: Options of the problem and their values, first the default.
OPTIONS: dict[str, tuple[str, ...]] = {
    "placement": kernel.PLACEMENTS,
    "lookahead": kernel.LOOKAHEAD_MODES,
    "copy_start": kernel.COPY_STARTS,
    "strict": kernel.STRICT_MODES,
}


class MemoryProblem(CompiledProblem[MemoryInstance]):
    """Decides access by access what fast memory serves, to minimise latency.

    Args:
        largest: sizes to pad to.
        placement: where buffers are put, see :mod:`makespan.envs.memory.kernel`.
        lookahead: adds features from trials of every legal candidate, which a rule completes.
        copy_start: ``"choice"`` adds candidates for copies that start earlier.
        strict: ``"yes"`` forbids evictions, with backup.

    Raises:
        UnknownNameError: for an unknown mode.
    """

    name: ClassVar[str] = "memory"
    kernels: ClassVar[tuple[Any, Any]] = kernel.step, kernel.step_parallel
    parallel_rows: ClassVar[int] = 64

    def __init__(
        self,
        largest: Sizes,
        placement: str = "worth",
        lookahead: str = "none",
        copy_start: str = "latest",
        strict: str = "no",
    ) -> None:
        self.largest = largest
        self._options = {
            "placement": placement,
            "lookahead": lookahead,
            "copy_start": copy_start,
            "strict": strict,
        }
        index = {
            name: mode_index(name, value, OPTIONS[name]) for name, value in self._options.items()
        }
        self.constants = ((index["placement"], index["strict"], index["lookahead"]),)
        self._lanes = 2 if index["lookahead"] else 1
        extra = kernel.LOOKAHEAD_FEATURES if index["lookahead"] else ()
        self.spec = ObservationSpec.of_kernel(
            kernel,
            max_nodes=largest.buffers + largest.instructions,
            max_edges=largest.accesses + largest.instructions,
            max_candidates=kernel.NUM_CANDIDATES[index["copy_start"]],
            more_features=extra,
        )

    @staticmethod
    def extent(instance: MemoryInstance) -> Sizes:
        """Instructions, buffers and accesses of an instance."""
        return instance.extent

    def options(self) -> dict[str, Any]:
        """``{"placement": mode, "lookahead": mode, "copy_start": mode, "strict": mode}``."""
        return dict(self._options)

    def allocate(self, batch: int) -> State:
        """Arrays for ``batch`` games."""
        instructions, buffers, accesses = self.largest
        candidates, lanes = self.spec.max_candidates, self._lanes
        integers: dict[str, tuple[int, ...]] = {
            "constants": (8,),
            "access": (accesses, 9),
            "clock": (instructions + 1, 3),
            "memory": (buffers, 4),
            "totals": (lanes, 6),
            "flow": (lanes, instructions + 1, 3),
            "held": (lanes, buffers, 3),
            "segment": (lanes, 2 * accesses + 2, 3),
            "decided": (accesses, 3),
            "proposal": (lanes, candidates, 6),
        }
        numbers: dict[str, tuple[int, ...]] = {
            "unit": (3,),
            "value": (accesses, 2),
            "price": (instructions + 1,),
            "trial": (candidates,),
            "scratch": (instructions + 1, 2),
        }
        arrays: dict[str, Any] = {
            **{name: np.zeros((batch, *shape), dtype=np.int64) for name, shape in integers.items()},
            **{name: np.zeros((batch, *shape)) for name, shape in numbers.items()},
        }
        return State(forced=np.zeros((batch, buffers), dtype=np.int8), **arrays)

    def load(
        self, state: State, observation: Observation, row: int, instance: MemoryInstance
    ) -> None:
        """Put ``instance`` into ``row``; raises InstanceError when it is too large."""
        self.check_fits(instance)
        alignment = instance.alignment
        kernel.load_row(
            state,
            observation,
            row,
            instance.access_offsets,
            instance.buffers,
            instance.writes,
            instance.previous,
            instance.next,
            instance.slow_times,
            instance.fast_times,
            instance.access_bytes,
            instance.compute,
            instance.pieces,
            instance.copy_times,
            instance.evict_times,
            instance.outputs,
            instance.capacity // alignment * alignment,
            instance.copy_model == "dynamic",
        )
        kernel.refresh(state, observation, row, *self.constants)

    def solution(self, state: State, row: int) -> MemoryPlan:
        """The plan of a finished row."""
        decided = state.decided[row, : state.constants[row, kernel.ACCESSES]]
        return MemoryPlan(
            actions=np.minimum(decided[:, kernel.ACTION], kernel.COPY),
            starts=decided[:, kernel.FROM],
            offsets=decided[:, kernel.AT],
        )

    def follow(self, state: State, row: int, solution: MemoryPlan) -> int:
        """Fast memory where the plan has it and it is legal, without a copy if possible."""
        legal = state.proposal[row, 0, :, kernel.LEGAL]
        wanted = solution.actions[state.totals[row, 0, kernel.POSITION]] != kernel.DROP
        order = (kernel.NO_COPY, kernel.COPY, kernel.DROP) if wanted else (kernel.DROP,)
        return next((a for a in order if legal[a]), int(legal.argmax()))

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        """A map of fast memory over time, as far as decided."""
        from makespan.envs.memory.render import rgb_array

        return rgb_array(state, row)

    def worst_case_reward(self, state: State, row: int) -> float:
        """As if every buffer were evicted, and every copy waited for, before each of its reads."""
        totals = state.totals[row, 0]
        now = totals[kernel.LATENCY] + totals[kernel.STALL]
        return float((now - state.constants[row, kernel.WORST]) * state.unit[row, 2])

    def metrics(self, state: State, row: int) -> dict[str, float]:
        """Latency (undecided accesses in slow memory), and its bounds, in time units."""
        totals, constants = state.totals[row, 0], state.constants[row]
        return {
            "objective": float(totals[kernel.LATENCY] + totals[kernel.STALL]),
            "lower_bound": float(constants[kernel.ALL_FAST]),
            "initial_bound": float(constants[kernel.ALL_SLOW]),
        }
