"""Iterated beam search for offset allocation: the strongest heuristic here.

Beam searches of doubling width, each towards a peak well below the best one found so far: a target
cuts off most of the tree, and one that is out of reach fails early. How partial solutions are
ranked is drawn at random for each search, since no ranking is good on all instances; those that
led to an improvement are tried again with the next width. Iterated widening as in L. Libralesso,
F. Fontan, An anytime tree search algorithm for the 2018 ROADEF/EURO challenge glass cutting
problem, European Journal of Operational Research 291, 2021; target peaks as in M. D. Moffitt,
MiniMalloc, ASPLOS 2023.
"""

import math
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.limits import DEFAULT_TIME_LIMIT_S, check_time_limit, time_limit
from makespan.baselines.offsets import beam_kernel as kernel
from makespan.baselines.offsets.greedy import best_greedy
from makespan.envs.core.errors import UsageError
from makespan.envs.core.solution import Result
from makespan.envs.offsets.bounds import lower_bound
from makespan.envs.offsets.examples import ALIGNED
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution

#: Width of the first searches.
FIRST_WIDTH = 8
#: Rankings drawn for each width, besides those that led to an improvement.
RANKINGS = 8
#: How many of the latter are kept.
KEPT_RANKINGS = 4
#: Targets between the lower bound and the best peak, the first as a share of their distance.
TARGETS = 0.4, 0.8
#: Successors of a partial solution for which there is room on average.
BRANCHES = 32


class Ranking(NamedTuple):
    """How partial solutions are ranked, see :class:`kernel.Guide`.

    Attributes:
        time_power: sections weigh by their duration to this power.
        size_power, life_power: a placed buffer counts size ** size_power * life ** life_power.
        guide: the rest.
    """

    time_power: float
    size_power: float
    life_power: float
    guide: kernel.Guide


def draw_ranking(rng: np.random.Generator) -> Ranking:
    """A random one; the ranges were chosen on generated instances."""
    return Ranking(
        time_power=float(rng.choice([0.0, 0.5, 1.0])),
        size_power=float(rng.uniform(0.8, 2.2)),
        life_power=float(rng.uniform(0.5, 1.2)),
        guide=kernel.Guide(
            power=int(rng.integers(3)),
            softness=float(np.exp(rng.uniform(np.log(0.02), np.log(0.4)))),
            progress=float(rng.choice([0.0, 0.5, 1.0, 1.0, 1.0, 2.0])),
        ),
    )


@dataclass(frozen=True)
class IteratedBeam:
    """Beam searches of growing width until time is up, or the peak equals a lower bound.

    Limited by ``max_width`` alone, the result depends on the instance and the random generator
    alone. Ctrl-C ends the search early: the best solution is returned, with
    ``details["interrupted"]``.

    Attributes:
        max_width: largest width that is tried; None: no limit.
        time_limit_s: seconds, see :func:`~makespan.baselines.limits.time_limit`; when nothing else
            is given, ``max_width`` is the only limit.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    max_width: int | None = None
    time_limit_s: float | None = None
    name: str = field(default="iterated-beam", init=False)

    def __post_init__(self) -> None:
        if self.max_width is not None and self.max_width < FIRST_WIDTH:
            raise UsageError(f"max_width: found {self.max_width}, expected at least {FIRST_WIDTH}")
        check_time_limit(self.time_limit_s)

    def solve(
        self, instance: OffsetInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[OffsetSolution]:
        """Search until a limit or the bound is reached.

        Args:
            instance: to solve.
            time_limit_s: seconds; a smaller one of the solver's own counts. Compiling does not.
            rng: the source of all chance.

        Returns:
            The best solution; ``details`` has the number of ``searches``, the last ``width``,
            ``improvements`` as (seconds, peak), and whether it was ``interrupted``.
        """
        _compile()
        default = DEFAULT_TIME_LIMIT_S if self.max_width is None else math.inf
        limit = time_limit(self.time_limit_s, time_limit_s, default)
        search = _Search(instance, limit, rng)
        interrupted = False
        try:
            search.run(self.max_width or math.inf)
        except KeyboardInterrupt:
            interrupted = True
        return search.result(interrupted)


class _Search:
    """One call of :meth:`IteratedBeam.solve`; the first solution is the best greedy one."""

    def __init__(
        self, instance: OffsetInstance, time_limit_s: float, rng: np.random.Generator
    ) -> None:
        self.deadline = time.perf_counter() + time_limit_s
        self.started = time.perf_counter()
        self.instance = instance
        self.rng = rng
        self.bound = lower_bound(instance)
        self.best, _ = best_greedy(instance)
        self.peak = int((self.best + instance.nbytes).max())
        self.improvements = [(time.perf_counter() - self.started, self.peak)]
        self.rankings: list[Ranking] = []
        self.searches = 0
        self.width = 0
        aligned = instance.alignment if (instance.alignment > 1).any() else instance.nbytes[:0]
        self.unit = int(np.gcd.reduce(np.concatenate([instance.nbytes, aligned])))
        if instance.has_fixed or len(aligned):
            self.unit = 1
        self.columns = _columns(instance, self.unit, rng)

    def over(self) -> bool:
        """Whether time is up or nothing is left to gain."""
        return self.peak <= self.bound or time.perf_counter() >= self.deadline

    def run(self, max_width: float) -> None:
        """Searches of growing width."""
        width = FIRST_WIDTH
        while width <= max_width and not self.over():
            self.width = width
            beams = [_beam(self.instance, width) for _ in range(2)]
            children = _children(self.instance, width)
            for ranking in self._choose_rankings():
                self._search(ranking, beams, children)
                if self.over():
                    return
            width *= 2

    def _choose_rankings(self) -> list[Ranking]:
        """Those that led to improvements, the latest first, and new ones."""
        return self.rankings[::-1] + [draw_ranking(self.rng) for _ in range(RANKINGS)]

    def _search(
        self, ranking: Ranking, beams: list[kernel.Beam], children: kernel.Children
    ) -> None:
        """Search with one ranking, towards lower and lower targets as long as they are reached."""
        ranked = _ranked(self.columns, ranking)
        for share in TARGETS:
            while not self.over():
                target = self.bound + int(share * (self.peak - self.bound))
                offsets = self._reach(ranked, ranking.guide, target // self.unit, beams, children)
                if offsets is None:
                    break
                self.best = offsets
                self.peak = int((offsets + self.instance.nbytes).max())
                self.improvements.append((time.perf_counter() - self.started, self.peak))
                kept = [one for one in self.rankings if one != ranking]
                self.rankings = [*kept, ranking][-KEPT_RANKINGS:]

    def _reach(
        self,
        ranked: kernel.Instance,
        guide: kernel.Guide,
        target: int,
        beams: list[kernel.Beam],
        children: kernel.Children,
    ) -> NDArray[np.int64] | None:
        """Offsets of a peak of at most ``target`` units, or None when none was found."""
        self.searches += 1
        beam, following = beams
        rows = kernel.start(ranked, beam)
        for level in range(int((self.instance.offset < 0).sum())):
            if time.perf_counter() >= self.deadline:
                return None
            rows = kernel.advance(ranked, beam, following, rows, level, target, guide, children)
            if not rows:
                return None
            beam, following = following, beam
        offsets: NDArray[np.int64] = beam.offset[0] * self.unit
        return offsets

    def result(self, interrupted: bool) -> Result[OffsetSolution]:
        """The best solution so far."""
        solution = OffsetSolution(self.best)
        return Result(
            solution,
            time.perf_counter() - self.started,
            lower_bound=self.bound,
            optimal=solution.objective(self.instance) == self.bound,
            details={
                "searches": self.searches,
                "width": self.width,
                "improvements": self.improvements,
                "interrupted": interrupted,
            },
        )


def _columns(instance: OffsetInstance, unit: int, rng: np.random.Generator) -> kernel.Instance:
    """What the kernels read; ``weight`` holds durations and ``area`` is set by a ranking."""
    fixed = np.flatnonzero(instance.offset >= 0)
    times = np.append(instance.section_starts, instance.upper.max())
    return kernel.Instance(
        first=instance.first_section,
        last=instance.last_section,
        size=instance.nbytes // unit,
        alignment=np.array(instance.alignment),
        offset=np.where(instance.offset >= 0, instance.offset // unit, -1),
        twin=instance.identical_before,
        load=instance.loads // unit,
        weight=np.diff(times).astype(np.float32),
        area=np.zeros(instance.num_buffers, dtype=np.float32),
        fixed=fixed[np.argsort(instance.offset[fixed], kind="stable")].astype(np.int32),
        key=rng.integers(1, 2**63, instance.num_buffers, dtype=np.uint64),
    )


def _ranked(columns: kernel.Instance, ranking: Ranking) -> kernel.Instance:
    """The columns with the weights of a ranking."""
    weight = columns.weight.astype(np.float64) ** ranking.time_power
    weight /= weight.sum()
    until = np.append(0.0, np.cumsum(weight))
    life = np.maximum(until[columns.last] - until[columns.first], 1e-12)
    area = life**ranking.life_power * columns.size.astype(np.float64) ** ranking.size_power
    return columns._replace(
        weight=weight.astype(np.float32), area=(area / area.sum()).astype(np.float32)
    )


def _beam(instance: OffsetInstance, width: int) -> kernel.Beam:
    count, sections = instance.sizes
    return kernel.Beam(
        lowest=np.zeros((width, count), dtype=np.int64),
        order=np.zeros((width, count), dtype=np.int32),
        offset=np.zeros((width, count), dtype=np.int64),
        bound=np.zeros((width, sections), dtype=np.int64),
        loss=np.zeros(width, dtype=np.float32),
        area=np.zeros(width, dtype=np.float32),
        placed=np.zeros(width, dtype=np.uint64),
    )


def _children(instance: OffsetInstance, width: int) -> kernel.Children:
    count, sections = instance.sizes
    room = width * min(count, BRANCHES) + count
    each: dict[str, Any] = {
        "parent": (room, np.int32),
        "buffer": (room, np.int32),
        "loss": (room, np.float32),
        "rank": (room, np.float32),
        "lowest": (count, np.int64),
        "order": (count, np.int32),
        "moved": (count, np.int32),
        "bound": (sections, np.int64),
    }
    return kernel.Children(**{name: np.zeros(size, dtype) for name, (size, dtype) in each.items()})


@cache
def _compile() -> None:
    """Compile the kernels, once per process, so that no search's clock counts it.

    The example is one that greedy allocators do not solve.
    """
    _Search(ALIGNED, math.inf, np.random.default_rng(0)).run(FIRST_WIDTH)
