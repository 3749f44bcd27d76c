"""Iterated beam search for offset allocation: the strongest heuristic here.

Beam searches of doubling width, each towards a peak well below the best one found so far: a target
cuts off most of the tree, and one that is out of reach fails early. How partial solutions are
ranked is drawn at random for each search, since no ranking is good on all instances; those that
led to an improvement are tried again with the next width. In between, searches restart from the
lower part of the best solution, at most up to where its bound exceeds the target. Iterated widening
as in L. Libralesso, F. Fontan, An anytime tree search algorithm for the 2018 ROADEF/EURO challenge
glass cutting problem, European Journal of Operational Research 291, 2021; target peaks as in M. D.
Moffitt, MiniMalloc, ASPLOS 2023.
"""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.limits import DEFAULT_TIME_LIMIT_S, check_time_limit, time_limit
from makespan.baselines.offsets import beam_kernel as kernel
from makespan.baselines.offsets.greedy import best_greedy
from makespan.envs.core.ranges import check_least
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
#: Restarts for each width, the range of their targets, and the share of the part that is kept.
RESTARTS = 24
RESTART_TARGETS = 0.5, 1.0
KEPT_PART = 0.1, 1.0
#: Successors of a partial solution for which there is room on average.
BRANCHES = 32
#: Rows of a beam x buffers at most, for each worker: about a gigabyte.
MOST_ENTRIES = 2**24


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
    """A random one."""
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

    The width stays what it is while no beam is full: a wider one would find nothing else.

    Limited by ``max_width`` alone, with one worker, the result depends on the instance and the
    random generator alone. Ctrl-C ends the search early: the best solution is returned, with
    ``details["interrupted"]``.

    Attributes:
        workers: threads that search side by side, towards the same best peak.
        max_width: largest width that is tried; None: no limit.
        time_limit_s: seconds, see :func:`~makespan.baselines.limits.time_limit`; when nothing else
            is given, ``max_width`` is the only limit.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    workers: int = 1
    max_width: int | None = None
    time_limit_s: float | None = None
    name: str = field(default="iterated-beam", init=False)

    def __post_init__(self) -> None:
        check_least(self, workers=1, max_width=FIRST_WIDTH)
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
            The best solution; ``details`` has the number of ``searches``, the largest ``width``,
            ``improvements`` as (seconds, peak), and whether it was ``interrupted``.
        """
        _compile()
        default = DEFAULT_TIME_LIMIT_S if self.max_width is None else math.inf
        limit = time_limit(self.time_limit_s, time_limit_s, default)
        best = _Best(instance, limit)
        rngs = [rng] if self.workers == 1 else rng.spawn(self.workers)
        searches = [_Search(instance, best, one) for one in rngs]
        interrupted = False
        try:
            _run_together(searches, best, self.max_width or math.inf)
        except KeyboardInterrupt:
            interrupted = True
        solution = OffsetSolution(best.offsets)
        return Result(
            solution,
            best.seconds(),
            lower_bound=best.bound,
            optimal=solution.objective(instance) == best.bound,
            details={
                "searches": sum(search.searches for search in searches),
                "width": max(search.width for search in searches),
                "improvements": best.improvements,
                "interrupted": interrupted,
            },
        )


class _Best:
    """The best solution of all workers, at first the best greedy one, and when to stop."""

    def __init__(self, instance: OffsetInstance, time_limit_s: float) -> None:
        self.started = time.perf_counter()
        self.time_limit_s = time_limit_s
        self.bound = lower_bound(instance)
        self.offsets, _ = best_greedy(instance)
        self.peak = int((self.offsets + instance.nbytes).max())
        self.least = instance.capacity  # a peak below it is worth as much
        self.improvements = [(self.seconds(), max(self.peak, self.least))]
        self.rankings: list[Ranking] = []  # that led to improvements, the latest last
        self.stopped = False
        self._lock = threading.Lock()

    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started

    def over(self) -> bool:
        """Whether time is up or nothing is left to gain."""
        return self.stopped or self.peak <= self.bound or self.seconds() >= self.time_limit_s

    def improve(self, offsets: NDArray[np.int64], peak: int, ranking: Ranking) -> bool:
        """Take over a solution unless another worker has found one as good; returns whether."""
        with self._lock:
            if peak >= self.peak:
                return False
            self.offsets, self.peak = offsets, peak
            self.improvements.append((self.seconds(), max(peak, self.least)))
            others = [one for one in self.rankings if one != ranking]
            self.rankings = [*others, ranking][-KEPT_RANKINGS:]
            return True


def _run_together(searches: "list[_Search]", best: _Best, max_width: float) -> None:
    """Run the searches, in threads when there are several; Ctrl-C stops them all."""
    if len(searches) == 1:
        searches[0].run(max_width)
        return
    with ThreadPoolExecutor(len(searches)) as executor:
        futures = [executor.submit(search.run, max_width) for search in searches]
        try:
            for future in futures:
                future.result()
        finally:
            best.stopped = True


class _Search:
    """One worker of a call of :meth:`IteratedBeam.solve`."""

    def __init__(self, instance: OffsetInstance, best: _Best, rng: np.random.Generator) -> None:
        self.instance, self.best, self.rng = instance, best, rng
        self.searches = 0
        self.width = 0
        self.filled = False  # whether a beam of the round had no room for more
        unconstrained = not instance.has_fixed and (instance.alignment == 1).all()
        self.unit = int(np.gcd.reduce(instance.nbytes)) if unconstrained else 1
        self.columns = _columns(instance, self.unit, rng)

    def run(self, max_width: float) -> None:
        """Rounds of searches; the width doubles after each that could have used more."""
        width, growth = FIRST_WIDTH, max_width / FIRST_WIDTH  # what the rounds may still double
        while growth >= 1 and not self.best.over():
            self._round(width)
            if self.filled:
                width = min(2 * width, MOST_ENTRIES // self.instance.num_buffers)
            growth /= 2

    def _round(self, width: int) -> None:
        """All searches of one width."""
        self.width, self.filled = width, False
        beams = [_beam(self.instance, width) for _ in range(2)]
        children = _children(self.instance, width)
        rankings = self.best.rankings[::-1] + [draw_ranking(self.rng) for _ in range(RANKINGS)]
        for ranking in rankings:
            for share in TARGETS:
                while not self.best.over() and self._search(ranking, share, 0.0, beams, children):
                    pass
        for _ in range(RESTARTS):
            while not self.best.over() and self._restart(beams, children):
                pass

    def _restart(self, beams: list[kernel.Beam], children: kernel.Children) -> bool:
        """Search again from a part of the best solution; returns whether it was improved."""
        kept = self.best.rankings
        if kept and self.rng.random() < 0.5:
            ranking = kept[self.rng.integers(len(kept))]
        else:
            ranking = draw_ranking(self.rng)
        share, part = self.rng.uniform(*RESTART_TARGETS), self.rng.uniform(*KEPT_PART)
        return self._search(ranking, share, part, beams, children)

    def _search(
        self,
        ranking: Ranking,
        share: float,
        part: float,
        beams: list[kernel.Beam],
        children: kernel.Children,
    ) -> bool:
        """One beam search; returns whether it found a better solution.

        Args:
            ranking: of partial solutions.
            share: of the distance between the bound and the best peak: the target.
            part: of the best solution, up to where it exceeds the target, to begin with.
            beams, children: scratch.
        """
        bound, peak = self.best.bound, self.best.peak
        target = min(bound + int(share * (peak - bound)), peak - 1)
        offsets = self._reach(ranking, target // self.unit, part, beams, children)
        if offsets is None:
            return False
        peak = int((offsets + self.instance.nbytes).max())
        return self.best.improve(offsets, peak, ranking)

    def _reach(
        self,
        ranking: Ranking,
        target: int,
        part: float,
        beams: list[kernel.Beam],
        children: kernel.Children,
    ) -> NDArray[np.int64] | None:
        """Offsets of a peak of at most ``target`` units, or None when none was found."""
        self.searches += 1
        columns, guide = _ranked(self.columns, ranking), ranking.guide
        beam, following = beams
        rows, level = kernel.start(columns, beam), 0
        if beam.bound[0].max() > target:  # fixed buffers leave no room below it
            return None
        free = int((self.instance.offset < 0).sum())
        if part:
            order = np.argsort(self.best.offsets, kind="stable")
            order = order[self.instance.offset[order] < 0]
            level = kernel.replay(columns, beam, order, free, target, guide, children)
            kernel.start(columns, beam)
            level = kernel.replay(columns, beam, order, int(part * level), target, guide, children)
        while level < free:
            if self.best.stopped or self.best.seconds() >= self.best.time_limit_s:
                return None
            rows = kernel.advance(columns, beam, following, rows, level, target, guide, children)
            if not rows:
                return None
            self.filled |= rows == self.width
            beam, following = following, beam
            level += 1
        offsets: NDArray[np.int64] = beam.offset[0] * self.unit
        return offsets


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
    _Search(ALIGNED, _Best(ALIGNED, math.inf), np.random.default_rng(0)).run(FIRST_WIDTH)
