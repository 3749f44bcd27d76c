"""The game without offsets as a (mixed-integer) linear program, solved by HiGHS through SciPy.

For every access: whether it is served in place (no-copy) or by a copy, and for a copy how much of
it has a place at each instruction of its window. What is in fast memory at an instruction takes no
more than the capacity; copies take their time from the instructions of their windows; latencies
are convex in what is fast. Left out: offsets, so fragmentation. All plans of the game, and those
with free offsets and starts, are solutions of the program, so its optimum is a lower bound.

Of a long window only the instructions nearest to the read are modelled one by one (MOST_STARTS, or
as many as offer WINDOW times what the copy needs). What a copy does before takes neither place nor
time there, but all copies due by an instruction need no more than what all instructions before it
offer. That also only widens the program.

Fast memory holds at most k pieces of more than a (k + 1)-th of it. These inequalities (dual
feasible functions: Fekete and Schepers, New classes of fast lower bounds for bin packing problems,
Mathematical Programming 91, 2001) hold for all plans and cut off most fractional solutions.

Dynamic copy model: instructions offer the time that they take under the plan, and a copy may be
finished while the program waits for it.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from makespan.envs.memory.instance import MemoryInstance

#: Instructions of a window that are modelled one by one: at most this many, ...
MOST_STARTS = 24
#: ... and no more once they offer this many times what the copy needs.
WINDOW = 4.0
#: Inequalities for pieces of more than 1 / 2, 1 / 3, ... of the capacity.
FRACTIONS = 4
#: The solver's tolerances, relative to the latency of everything in slow memory.
TOLERANCE = 1e-6

#: Coefficients by variable.
Terms = Sequence[tuple[int, float]]


class Relaxed(NamedTuple):
    """What the relaxation found.

    Attributes:
        bound: no plan has a lower latency, time units.
        fast: (accesses,) share of each that is served from fast memory, 0 to 1; None when time was
            up before any was found.
    """

    bound: int
    fast: NDArray[np.float64] | None


def single_bound(instance: MemoryInstance) -> int:
    """Latency with every access fast that fast memory can serve by itself, all at once.

    A buffer must fit into the capacity; under the static copy model, what instruction 0 reads has
    no time to be copied.
    """
    capacity = instance.capacity // instance.alignment * instance.alignment
    fast = instance.pieces[instance.buffers] <= capacity
    if instance.copy_model == "static":
        needs_time = instance.copy_times[instance.buffers] > 0
        fast &= ~((instance.instructions == 0) & ~instance.writes & needs_time)
    return int(instance.latencies(fast).sum())


def relax(instance: MemoryInstance, time_limit_s: float | None = None) -> Relaxed:
    """Solve the relaxation.

    Args:
        instance: under either copy model.
        time_limit_s: seconds for decisions that are whole; None: the linear program, to the end.
    """
    model = _Model(instance)
    options = {} if time_limit_s is None else {"time_limit": max(time_limit_s, 0.01)}
    matrix = sparse.csr_matrix((model.values, (model.rows, model.columns)), shape=model.shape)
    found = milp(
        model.costs,
        constraints=LinearConstraint(matrix, model.least, model.most),
        bounds=Bounds(model.lower, model.upper),
        integrality=None if time_limit_s is None else model.whole,
        options=options,
    )
    bound = single_bound(instance)
    proven = found.fun if time_limit_s is None else found.mip_dual_bound
    if proven is not None and math.isfinite(proven):
        latency = (proven + model.constant) * model.unit - TOLERANCE * instance.all_slow
        bound = max(bound, math.ceil(latency))
    fast = None
    if found.x is not None:
        fast = np.array([sum(found.x[v] for v in terms) for terms in model.fast])
    return Relaxed(bound, fast)


class _Model:
    """Variables and constraints; times in mean latencies of an instruction.

    Attributes:
        fast: for each access the variables that add up to whether it is fast.
        constant: latency of the instructions that fast memory does not help.
    """

    def __init__(self, instance: MemoryInstance) -> None:
        self.instance = instance
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.costs: list[float] = []
        self.whole: list[int] = []
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.values: list[float] = []
        self.least: list[float] = []
        self.most: list[float] = []

        self.unit = max(float(instance.slow_latencies.mean()), 1.0)
        self.dynamic = instance.copy_model == "dynamic"
        self.capacity = instance.capacity // instance.alignment * instance.alignment
        self.sizes: list[int] = instance.pieces[instance.buffers].tolist()
        self.times: list[int] = instance.instructions.tolist()
        self.previous: list[int] = instance.previous.tolist()
        self.writes: list[bool] = instance.writes.tolist()
        self.demand: list[float] = (instance.copy_times[instance.buffers] / self.unit).tolist()
        self.slow: list[float] = (instance.slow_latencies / self.unit).tolist()
        self.elapsed: list[float] = np.concatenate([[0], np.cumsum(self.slow)]).tolist()
        #: Of each instruction: variables and bytes of what has a place there, and what copies take.
        self.places: list[list[tuple[int, int]]] = [[] for _ in self.slow]
        self.taken: list[list[int]] = [[] for _ in self.slow]

        count = instance.num_accesses
        fits = [size <= self.capacity for size in self.sizes]
        found = [self.writes[i] or self.previous[i] >= 0 for i in range(count)]
        self.stays = [self._variable(float(fits[i] and found[i]), whole=1) for i in range(count)]
        copies = [self._copy(i) if fits[i] and not self.writes[i] else None for i in range(count)]
        self.fast = [
            [stays] if copy is None else [stays, copy]
            for stays, copy in zip(self.stays, copies, strict=True)
        ]
        self._add_supply(copies)
        for i in range(count):
            self._add_choice(i, copies[i])
        self._add_capacity()
        self.constant = self._add_latencies()

    @property
    def shape(self) -> tuple[int, int]:
        """Constraints and variables."""
        return len(self.least), len(self.lower)

    def _variable(
        self, upper: float = 1.0, lower: float = 0.0, cost: float = 0.0, whole: int = 0
    ) -> int:
        self.lower.append(lower)
        self.upper.append(upper)
        self.costs.append(cost)
        self.whole.append(whole)
        return len(self.lower) - 1

    def _constrain(self, terms: Terms, least: float = -math.inf, most: float = math.inf) -> None:
        for variable, value in terms:
            self.rows.append(len(self.least))
            self.columns.append(variable)
            self.values.append(value)
        self.least.append(least)
        self.most.append(most)

    def _copy(self, i: int) -> int | None:
        """A copy for access i: its place and time in its window; None when there is no time."""
        t, demand, before = self.times[i], self.demand[i], self.previous[i]
        earliest = (self.times[before] if before >= 0 else -1) + 1
        if not self.dynamic and self.elapsed[t] - self.elapsed[earliest] < demand * (1 - 1e-9):
            return None
        first = t
        while (
            first > earliest
            and t - first < MOST_STARTS
            and (self.elapsed[t] - self.elapsed[first] < WINDOW * demand)
        ):
            first -= 1
        window = list(range(first, t))
        held = [self._variable() for _ in window]
        held.append(self._variable(whole=1))  # at the read: whether there is a copy
        for earlier, later in itertools.pairwise(held):
            self._constrain([(earlier, 1), (later, -1)], most=0)
        for j, variable in zip([*window, t], held, strict=True):
            self._place(i, j, variable)
        if demand > 0:
            parts = []
            for j, variable in zip(window, held, strict=False):
                most = min(self.slow[j], demand)
                parts.append(self._variable(most))
                self._constrain([(parts[-1], 1), (variable, -most)], most=0)
                self.taken[j].append(parts[-1])
            if first > earliest:
                parts.append(self._variable(demand))
                self._constrain([(parts[-1], 1), (held[0], -demand)], most=0)
            if self.dynamic:
                parts.append(self._variable(demand, cost=1.0))  # the program waits
            self._constrain([*((part, 1) for part in parts), (held[-1], -demand)], 0, 0)
        return held[-1]

    def _add_supply(self, copies: list[int | None]) -> None:
        """Static: an instruction offers its latency in slow memory, and so do all before it."""
        if self.dynamic:
            return  # with the latencies
        for parts, slow in zip(self.taken, self.slow, strict=True):
            if parts:
                self._constrain([(part, 1) for part in parts], most=slow)
        sum_before = None  # of the time of the copies that are due so far
        for i, copy in enumerate(copies):
            if copy is not None and self.demand[i] > 0:
                total = self._variable(self.elapsed[self.times[i]])
                earlier = () if sum_before is None else ((sum_before, -1.0),)
                self._constrain([(total, 1), (copy, -self.demand[i]), *earlier], least=0)
                sum_before = total

    def _add_choice(self, i: int, copy: int | None) -> None:
        """What access i may be, given the accesses before; and its eviction."""
        instance, before, stays = self.instance, self.previous[i], self.stays[i]
        since = accesses_since_write(i, self.previous, self.writes)
        fast_since = [v for j in since for v in self.fast[j]]
        buffer = int(instance.buffers[i])
        eviction = float(instance.evict_times[buffer] / self.unit)
        if copy is not None:
            self._constrain([(stays, 1), (copy, 1)], most=1)
            if since:  # what is copied is in slow memory
                self._constrain([(copy, 1), *((v, 1) for v in fast_since)], most=len(since))
        if not self.writes[i]:
            if before >= 0:
                self._constrain([(stays, 1), *((v, -1) for v in self.fast[before])], most=0)
                for j in range(self.times[before] + 1, self.times[i] + 1):
                    self._place(i, j, stays)
            if since:
                evicts = self._variable(cost=eviction)
                terms = [(evicts, 1), *((v, 1) for v in self.fast[i])]
                terms += [(v, -1) for v in fast_since]
                self._constrain(terms, least=1 - len(since))
        elif before >= 0 and self.times[before] == self.times[i]:  # in the place of the read
            anew = self._variable()
            terms = [(anew, 1), (stays, -1), *((v, 1) for v in self.fast[before])]
            self._constrain(terms, least=0)
            self._place(i, self.times[i], anew)
        else:
            self._place(i, self.times[i], stays)
        if instance.next[i] < 0 and instance.outputs[buffer] and (since or self.writes[i]):
            last = [i] if self.writes[i] else [i, *since]
            evicts = self._variable(cost=eviction)
            terms = [(evicts, 1), *((v, -1) for j in last for v in self.fast[j])]
            self._constrain(terms, least=1 - len(last))

    def _place(self, i: int, t: int, variable: int) -> None:
        """The buffer of access i has a place at instruction t as far as the variable says."""
        if self.sizes[i] <= self.capacity:
            self.places[t].append((variable, self.sizes[i]))

    def _add_capacity(self) -> None:
        for places in self.places:
            shares = [(variable, size / self.capacity) for variable, size in places]
            if sum(share for _, share in shares) > 1:
                self._constrain(list(shares), most=1)
            for k in range(1, FRACTIONS + 1):
                rounded = []
                for variable, size in places:
                    whole, rest = divmod(size * (k + 1), self.capacity)
                    rounded.append((variable, whole / k if rest else size / self.capacity))
                if any(r > s for (_, r), (_, s) in zip(rounded, shares, strict=True)):
                    self._constrain([term for term in rounded if term[1]], most=1)

    def _add_latencies(self) -> float:
        """Latency of each instruction that can be helped; returns that of the others."""
        instance = self.instance
        relief = ((instance.slow_times - instance.fast_times) / self.unit).tolist()
        traffic = np.zeros(instance.num_instructions)
        np.add.at(traffic, instance.instructions, instance.slow_times / self.unit)
        compute, offsets = (instance.compute / self.unit).tolist(), instance.access_offsets.tolist()
        constant = 0.0
        for t, slow in enumerate(self.slow):
            offered: list[tuple[int, float]] = []
            if slow > compute[t]:
                latency = self._variable(slow, compute[t], cost=1.0)
                saved = [(v, relief[i]) for i in range(*offsets[t : t + 2]) for v in self.fast[i]]
                self._constrain([(latency, 1), *saved], least=float(traffic[t]))
                offered = [(latency, -1)]
            else:
                constant += slow
            if self.dynamic and self.taken[t]:
                taken: Terms = [(part, 1) for part in self.taken[t]]
                self._constrain([*taken, *offered], most=0 if offered else slow)
        return constant


def accesses_since_write(i: int, previous: Sequence[int], writes: Sequence[bool]) -> list[int]:
    """For a read i, the accesses from the last write of its buffer on; none for an input."""
    found = []
    j = -1 if writes[i] else previous[i]
    while j >= 0:
        found.append(j)
        if writes[j]:
            return found
        j = previous[j]
    return []
