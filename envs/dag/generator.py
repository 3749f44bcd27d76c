"""Random task graphs: layered ones, and those of well-known algorithms.

Sources:

- H. Topcuoglu, S. Hariri, M.-Y. Wu, IEEE Transactions on Parallel and Distributed Systems 13(3),
  2002, section 5: the parameters shape (alpha), communication to computation ratio (CCR) and
  heterogeneity (beta) of random graphs, and Gaussian elimination and FFT as graphs.
- S. Bharathi, A. Chervenak, E. Deelman, G. Mehta, M.-H. Su, K. Vahi, Characterization of scientific
  workflows, WORKS 2008: the shapes of the workflows Epigenomics and Montage.
- G. H. Golub, C. F. Van Loan, Matrix Computations, 4th edition, 2013: tiled Cholesky, LU and QR
  factorisation (tasks POTRF, TRSM, SYRK, GEMM and their likes), whose data flow gives the edges.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.ranges import (
    Range,
    RealRange,
    check_range,
    check_real_range,
    draw,
    draw_real,
    ends,
    grown,
)
from makespan.envs.dag.instance import INELIGIBLE, MAX_PROCESSORS, Sizes, TaskGraphInstance

#: Largest number of tasks.
MAX_COUNT = 2**20


@dataclass(frozen=True, kw_only=True)
class _Platform:
    """Costs, volumes and links, given a graph.

    Attributes:
        processors: number of processors.
        ccr: mean communication time over mean cost.
        heterogeneity: beta; the cost of a task on a processor is uniform within half of this
            share around the mean cost of the task: 0 for equal processors, at most 2.
        mean_cost: of the tasks, in time units.
        eligible: share of the processors that can run a task; every task keeps one.
        bandwidths: smallest and largest bandwidth of a pair of processors.
    """

    processors: Range = (3, 8)
    ccr: RealRange = (0.1, 5.0)
    heterogeneity: RealRange = (0.1, 2.0)
    mean_cost: int = 50
    eligible: RealRange = 1.0
    bandwidths: Range = 1

    def __post_init__(self) -> None:
        check_range("processors", self.processors, 1, MAX_PROCESSORS)
        check_real_range("ccr", self.ccr, 0, 1000)
        check_real_range("heterogeneity", self.heterogeneity, 0, 2)
        check_range("mean_cost", self.mean_cost, 1, 10**4)
        check_real_range("eligible", self.eligible, 0, 1)
        check_range("bandwidths", self.bandwidths, 1, 10**4)

    def _links(self) -> int:
        """The most kinds of links of an instance."""
        processors = ends(self.processors)[1]
        low, high = ends(self.bandwidths)
        return int(1 + min(high - low + 1, processors * (processors - 1) // 2))

    def _instance(
        self,
        rng: np.random.Generator,
        name: str,
        edges: NDArray[np.int64],
        weights: NDArray[np.float64],
        tasks: list[str] | None = None,
    ) -> TaskGraphInstance:
        """Draw the platform for a graph whose tasks have the given mean costs (T,)."""
        processors, count = draw(rng, self.processors), len(weights)
        half = draw_real(rng, self.heterogeneity) / 2
        factors = rng.uniform(1 - half, 1 + half, size=(count, processors))
        costs = np.maximum(np.rint(weights[:, None] * factors), 1).astype(np.int64)
        share = draw_real(rng, self.eligible)
        if share < 1:
            able = rng.random((count, processors)) < share
            able[np.arange(count), rng.integers(processors, size=count)] = True
            costs[~able] = INELIGIBLE
        low, high = ends(self.bandwidths)
        bandwidths = np.triu(rng.integers(low, high + 1, size=(processors, processors)), 1)
        bandwidths = bandwidths + bandwidths.T
        mean = draw_real(rng, self.ccr) * weights.mean() * (low + high) / 2
        volumes = np.rint(rng.uniform(0, 2 * mean, size=len(edges))).astype(np.int64)
        return TaskGraphInstance.from_arrays(
            costs, edges, volumes, bandwidths, f"{name}-{count}x{processors}", tasks
        )


@dataclass(frozen=True)
class LayeredGenerator(_Platform):
    """Random layered graphs.

    The height is drawn around sqrt(tasks) / shape, the tasks are spread over the layers at random;
    every task but those of the first layer has a parent in the layer above, and more from any layer
    above up to ``degree`` on average. Mean costs are uniform from 0 to twice ``mean_cost``.

    Attributes:
        tasks: number of tasks.
        shape: alpha; 1 for as many layers as tasks in a layer, less for long graphs, more for wide.
        degree: mean number of parents.

    Raises:
        UsageError: for a value outside its range.
    """

    tasks: Range = (10, 40)
    shape: RealRange = (0.5, 2.0)
    degree: RealRange = (1.0, 4.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("tasks", self.tasks, 1, MAX_COUNT)
        check_real_range("shape", self.shape, 0.01, 100)
        check_real_range("degree", self.degree, 1, 1000)

    def grown(self, progress: float) -> Self:
        """The same with tasks and processors up to ``progress`` of the way from low to high."""
        return replace(
            self,
            tasks=grown(self.tasks, progress),
            processors=grown(self.processors, progress),
        )

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        tasks = ends(self.tasks)[1]
        edges = min(int(tasks * ends(self.degree)[1]) + tasks, tasks * (tasks - 1) // 2)
        return Sizes(tasks, ends(self.processors)[1], edges, self._links())

    def sample(self, rng: np.random.Generator) -> TaskGraphInstance:
        """A fresh instance; the same generator state gives the same instance."""
        count = draw(rng, self.tasks)
        shape, degree = draw_real(rng, self.shape), draw_real(rng, self.degree)
        height = int(np.clip(round(np.sqrt(count) / shape * rng.uniform(0.75, 1.25)), 1, count))
        layer = np.sort(np.append(np.arange(height), rng.integers(height, size=count - height)))
        first = np.searchsorted(layer, np.arange(height + 1))
        below = np.arange(first[min(1, height)], count)
        upper = first[layer[below]]  # tasks before this are in layers above
        parent = rng.integers(first[layer[below] - 1], upper)
        extra = max(0, round(degree * count) - len(below)) if len(below) else 0
        picked = rng.integers(max(len(below), 1), size=extra)
        sources = np.concatenate([parent, rng.random(extra) * upper[picked]]).astype(np.int64)
        edges = np.stack([sources, np.concatenate([below, below[picked]])], axis=1)
        weights = np.maximum(rng.uniform(0, 2 * self.mean_cost, size=count), 1)
        return self._instance(rng, "layered", np.unique(edges, axis=0).reshape(-1, 2), weights)


class _DataFlow:
    """Builds a graph from what tasks read and write, in the order of a sequential program."""

    def __init__(self) -> None:
        self.edges: dict[tuple[int, int], None] = {}
        self.names: list[str] = []
        self.kinds: list[str] = []
        self._writer: dict[Hashable, int] = {}

    def run(self, kind: str, *index: int, reads: Any = (), writes: Any = ()) -> None:
        """Add a task that reads and writes these pieces of data; what is written is read too."""
        task = len(self.names)
        self.names.append(f"{kind}({','.join(map(str, index))})")
        self.kinds.append(kind)
        for piece in [*reads, *writes]:
            if piece in self._writer:
                self.edges[self._writer[piece], task] = None
        for piece in writes:
            self._writer[piece] = task


def _cholesky(n: int, flow: _DataFlow) -> None:
    """Tiled Cholesky factorisation of n x n tiles (right-looking)."""
    for k in range(n):
        flow.run("potrf", k, writes=[(k, k)])
        for i in range(k + 1, n):
            flow.run("trsm", i, k, reads=[(k, k)], writes=[(i, k)])
        for i in range(k + 1, n):
            flow.run("syrk", i, k, reads=[(i, k)], writes=[(i, i)])
            for j in range(k + 1, i):
                flow.run("gemm", i, j, k, reads=[(i, k), (j, k)], writes=[(i, j)])


def _lu(n: int, flow: _DataFlow) -> None:
    """Tiled LU factorisation without pivoting."""
    for k in range(n):
        flow.run("getrf", k, writes=[(k, k)])
        for i in range(k + 1, n):
            flow.run("trsm-l", i, k, reads=[(k, k)], writes=[(i, k)])
            flow.run("trsm-u", k, i, reads=[(k, k)], writes=[(k, i)])
        for i in range(k + 1, n):
            for j in range(k + 1, n):
                flow.run("gemm", i, j, k, reads=[(i, k), (k, j)], writes=[(i, j)])


def _qr(n: int, flow: _DataFlow) -> None:
    """Tiled QR factorisation with a flat tree."""
    for k in range(n):
        flow.run("geqrt", k, writes=[(k, k)])
        for j in range(k + 1, n):
            flow.run("unmqr", k, j, reads=[(k, k)], writes=[(k, j)])
        for i in range(k + 1, n):
            flow.run("tsqrt", i, k, writes=[(k, k), (i, k)])
            for j in range(k + 1, n):
                flow.run("tsmqr", i, j, k, reads=[(i, k)], writes=[(k, j), (i, j)])


def _fft(n: int, flow: _DataFlow) -> None:
    """Recursive FFT of 2**n points: a binary tree of calls, then n stages of butterflies."""
    flow.run("call", 0, 0, writes=[("call", 0, 0)])
    for level in range(1, n + 1):
        for i in range(2**level):
            flow.run(
                "call", level, i, reads=[("call", level - 1, i // 2)], writes=[("call", level, i)]
            )
    for i in range(2**n):
        flow.run("butterfly", 0, i, reads=[("call", n, i)], writes=[(0, i)])
    for stage in range(1, n + 1):
        for i in range(2**n):
            pair = i ^ (1 << (stage - 1))
            flow.run(
                "butterfly", stage, i, reads=[(stage - 1, i), (stage - 1, pair)],
                writes=[(stage, i)],
            )  # fmt: skip


def _gaussian(n: int, flow: _DataFlow) -> None:
    """Gaussian elimination of an n x n matrix by columns: (n^2 + n - 2) / 2 tasks."""
    for k in range(n - 1):
        flow.run("pivot", k, writes=[("column", k)])
        for j in range(k + 1, n):
            flow.run("update", k, j, reads=[("column", k)], writes=[("column", j)])


def _stencil(n: int, flow: _DataFlow) -> None:
    """N sweeps of a three-point stencil over n blocks."""
    for step in range(n):
        for i in range(n):
            near = [(step - 1, j) for j in (i - 1, i, i + 1)]
            flow.run("block", step, i, reads=near, writes=[(step, i)])


def _fork_join(n: int, flow: _DataFlow) -> None:
    """N rounds of n parallel tasks between barriers."""
    flow.run("barrier", 0, writes=["barrier"])
    for step in range(n):
        for i in range(n):
            flow.run("work", step, i, reads=["barrier"], writes=[(step, i)])
        done = [(step, i) for i in range(n)]
        flow.run("barrier", step + 1, reads=done, writes=["barrier"])


def _epigenomics(n: int, flow: _DataFlow) -> None:
    """The shape of the Epigenomics workflow: n chains of four between a split and a merge."""
    flow.run("split", 0, writes=["split"])
    for i in range(n):
        reads: list[Hashable] = ["split"]
        for kind in ("filter", "convert", "pack", "map"):
            flow.run(kind, i, reads=reads, writes=[(kind, i)])
            reads = [(kind, i)]
    flow.run("merge", 0, reads=[("map", i) for i in range(n)], writes=["merged"])
    flow.run("index", 0, writes=["merged"])
    flow.run("pileup", 0, writes=["merged"])


def _montage(n: int, flow: _DataFlow) -> None:
    """The shape of the Montage workflow for n images, each overlapping the next two."""
    for i in range(n):
        flow.run("project", i, writes=[("image", i)])
    pairs = [(i, j) for i in range(n) for j in (i + 1, i + 2) if j < n]
    for i, j in pairs:
        flow.run("difference", i, j, reads=[("image", i), ("image", j)], writes=[(i, j)])
    flow.run("concatenate", 0, reads=pairs, writes=["fits"])
    flow.run("model", 0, reads=["fits"], writes=["model"])
    for i in range(n):
        flow.run("correct", i, reads=["model"], writes=[("image", i)])
    flow.run("table", 0, reads=[("image", i) for i in range(n)], writes=["mosaic"])
    for kind in ("add", "shrink", "view"):
        flow.run(kind, 0, writes=["mosaic"])


#: Structured graphs by name, each a function of the size.
STRUCTURES: MappingProxyType[str, Callable[[int, _DataFlow], None]] = MappingProxyType(
    {
        "cholesky": _cholesky,
        "lu": _lu,
        "qr": _qr,
        "fft": _fft,
        "gaussian": _gaussian,
        "stencil": _stencil,
        "fork-join": _fork_join,
        "epigenomics": _epigenomics,
        "montage": _montage,
    }
)

#: Mean cost of the kinds of tasks, relative to others of the graph: leading terms of their
#: operation counts on equal tiles (Golub & Van Loan); 1 for kinds that are not listed.
RELATIVE_COSTS = MappingProxyType(
    {
        "potrf": 1 / 3,
        "trsm": 1.0,
        "syrk": 1.0,
        "gemm": 2.0,
        "getrf": 2 / 3,
        "trsm-l": 1.0,
        "trsm-u": 1.0,
        "geqrt": 4 / 3,
        "unmqr": 2.0,
        "tsqrt": 2.0,
        "tsmqr": 4.0,
    }
)


#: Largest size of each structured graph; that of an FFT is a logarithm: 17 * 2**16 butterflies
#: would be more than ``MAX_COUNT`` tasks.
MAX_SIZES = MappingProxyType({**dict.fromkeys(STRUCTURES, 64), "fft": 15})


@dataclass(frozen=True)
class StructuredGenerator(_Platform):
    """Graphs of well-known algorithms on a random platform.

    Tasks of one kind have the same mean cost; its relation to that of other kinds is that of their
    operation counts.

    Attributes:
        graphs: names to draw from: cholesky, lu, qr, fft, gaussian, stencil, fork-join,
            epigenomics, montage.
        size: number of tiles, columns, blocks, rounds, chains, images, or the logarithm of the
            points (FFT).

    Raises:
        UsageError: for a value outside its range.
        UnknownNameError: for an unknown graph.
    """

    graphs: tuple[str, ...] = field(default=tuple(STRUCTURES))
    size: Range = (3, 5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.graphs:
            raise UsageError(f"graphs: found none, expected some of {', '.join(STRUCTURES)}")
        for name in self.graphs:
            if name not in STRUCTURES:
                raise UnknownNameError("graph", name, STRUCTURES)
        check_range("size", self.size, 2, min(MAX_SIZES[name] for name in self.graphs))

    def grown(self, progress: float) -> Self:
        """The same with size and processors up to ``progress`` of the way from low to high."""
        return replace(
            self,
            size=grown(self.size, progress),
            processors=grown(self.processors, progress),
        )

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        flows = [_flow(name, ends(self.size)[1]) for name in self.graphs]
        return Sizes(
            max(len(flow.names) for flow in flows),
            ends(self.processors)[1],
            max(len(flow.edges) for flow in flows),
            self._links(),
        )

    def sample(self, rng: np.random.Generator) -> TaskGraphInstance:
        """A fresh instance; the same generator state gives the same instance."""
        name = self.graphs[int(rng.integers(len(self.graphs)))]
        flow = _flow(name, draw(rng, self.size))
        relative = np.array([RELATIVE_COSTS.get(kind, 1.0) for kind in flow.kinds])
        weights = np.maximum(relative / relative.mean() * self.mean_cost, 1)
        edges = np.array(list(flow.edges), dtype=np.int64).reshape(-1, 2)
        return self._instance(rng, name, edges, weights, flow.names)


def _flow(name: str, size: int) -> _DataFlow:
    flow = _DataFlow()
    STRUCTURES[name](size, flow)
    return flow
