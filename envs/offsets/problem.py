"""Offset allocation as a :class:`~makespan.envs.core.problem.Problem`."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.compiled import CompiledProblem, mode_index
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.offsets import kernel
from makespan.envs.offsets.bounds import lower_bound
from makespan.envs.offsets.instance import OffsetInstance, Sizes
from makespan.envs.offsets.kernel import State
from makespan.envs.offsets.solution import OffsetSolution


class OffsetProblem(CompiledProblem[OffsetInstance]):
    """Places buffers one by one to minimise the peak, or to stay within the capacity.

    Args:
        largest: sizes to pad to. Candidates are listed without gaps, in the order of their buffers.
        decode: where the chosen buffer goes, see :mod:`makespan.envs.offsets.kernel`.

    Raises:
        UnknownNameError: for an unknown mode.
    """

    name: ClassVar[str] = "offsets"
    kernels: ClassVar[tuple[Any, Any]] = kernel.step, kernel.step_parallel
    parallel_rows: ClassVar[int] = 256

    def __init__(self, largest: Sizes, decode: str = "active") -> None:
        self.largest = largest
        self.decode = decode
        self.constants = (mode_index("decode", decode, kernel.DECODE_MODES),)
        self.spec = ObservationSpec.of_kernel(
            kernel,
            max_nodes=largest.buffers + largest.sections,
            max_edges=3 * largest.buffers + largest.sections,
            max_candidates=largest.buffers,
        )

    def options(self) -> dict[str, Any]:
        """``{"decode": mode}``."""
        return {"decode": self.decode}

    def allocate(self, batch: int) -> State:
        """Arrays for ``batch`` instances."""
        buffers, sections = self.largest
        counts = dict.fromkeys(State._fields, buffers)
        counts |= dict.fromkeys(("load", "left", "top", "stack", "trial_stack"), sections)
        counts |= {"sizes": 2, "scale": 3, "totals": 6}
        dtypes: dict[str, type[np.generic]] = dict.fromkeys(State._fields, np.int64)
        dtypes |= dict.fromkeys(
            ("sizes", "first", "last", "twin", "by_offset", "order", "candidate", "trial_order"),
            np.int32,
        )
        dtypes["scale"] = np.float64
        return State(**{name: np.zeros((batch, counts[name]), dtypes[name]) for name in counts})

    def load(
        self, state: State, observation: Observation, row: int, instance: OffsetInstance
    ) -> None:
        """Put ``instance`` into ``row``; raises InstanceError when it is too large."""
        self.check_fits(instance)
        kernel.load_row(
            state,
            observation,
            row,
            instance.first_section,
            instance.last_section,
            instance.lower,
            instance.upper,
            instance.nbytes,
            instance.alignment,
            instance.offset,
            instance.identical_before,
            instance.loads,
            lower_bound(instance),
            *self.constants,
        )

    def solution(self, state: State, row: int) -> OffsetSolution:
        """The offsets of a finished row."""
        return OffsetSolution(state.offset[row, : state.sizes[row, 0]])

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        """A memory map of the buffers placed so far."""
        from makespan.envs.offsets.render import rgb_array

        n, sections = state.sizes[row].tolist()
        return rgb_array(
            state.first[row, :n],
            state.last[row, :n],
            state.size[row, :n],
            state.offset[row, :n],
            sections,
            int(state.totals[row, kernel.INITIAL_BOUND]),
        )

    def worst_case_reward(self, state: State, row: int) -> float:
        """As if every buffer left were put above all others."""
        n = state.sizes[row, 0]
        totals = state.totals[row]
        padded = state.size[row, :n] + state.alignment[row, :n] - 1
        stacked = int(totals[kernel.PEAK]) + int(padded[state.offset[row, :n] < 0].sum())
        worst = max(stacked, int(totals[kernel.BOUND]))
        return float((totals[kernel.BOUND] - worst) * state.scale[row, 1])

    def metrics(self, state: State, row: int) -> dict[str, float]:
        """Objective (the bound before the end), initial lower bound and peak so far, in bytes."""
        totals = state.totals[row]
        return {
            "objective": float(totals[kernel.BOUND]),
            "lower_bound": float(totals[kernel.INITIAL_BOUND]),
            "peak": float(totals[kernel.PEAK]),
        }
