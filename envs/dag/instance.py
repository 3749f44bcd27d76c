"""The task graph on heterogeneous processors.

Tasks form a directed acyclic graph. A task runs on one processor, without interruption; a processor
runs one task at a time. How long it takes depends on both (unrelated processors), and a processor
may be unable to run it. A task starts when the results of all its parents have arrived:
the result of edge (u, v) takes ``volume // bandwidth`` time units from the processor of u to that
of v, from the end of u on, and no time at all on the same processor. Transfers do not disturb each
other and run beside computation.
Source of the definition: Topcuoglu, Hariri & Wu, IEEE Transactions on Parallel and Distributed
Systems 13(3), 2002, section 2; rounding down as the simulator DS3 does (Arda et al., IEEE
Transactions on Computers 69(8), 2020), which makes all times integers.
"""

import operator
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InstanceError
from makespan.envs.core.instance import Instance
from makespan.envs.dag import analysis

#: Marks a processor that cannot run a task in ``costs``.
INELIGIBLE = -1
#: Largest total of costs and delays (time units): kernels count time in 32-bit integers.
MAX_TOTAL = 2**29
#: Largest volume and bandwidth.
MAX_VOLUME = 2**53
#: Largest number of processors: everybody keeps tables of that width.
MAX_PROCESSORS = 2**12


class Sizes(NamedTuple):
    """What an instance, or the largest of many, takes up."""

    tasks: int
    processors: int
    edges: int
    links: int  # kinds of links: the processor itself, and each other bandwidth


@dataclass(frozen=True, eq=False)
class TaskGraphInstance(Instance):
    """Tasks, what they cost where, and the data that flow between them.

    Edges are kept sorted by source and target. Arrays of other types, and lists, are converted.

    Attributes:
        tasks: (T,) names of the tasks.
        processors: (P,) names of the processors.
        costs: (T, P) int64, time units; ``INELIGIBLE`` (-1) where a processor cannot run a task.
        edges: (E, 2) int64, source and target task of each edge.
        volumes: (E,) int64, data that flow along each edge, at least 0.
        bandwidths: (P, P) int64, data per time unit from one processor to another, at least 1; the
            diagonal is not used and kept as 0.

    Raises:
        InstanceError: when any of this is violated, or there is a cycle; the message names the
            tasks and processors.
    """

    kind: ClassVar[str] = "task-graph"

    tasks: tuple[str, ...]
    processors: tuple[str, ...]
    costs: NDArray[np.int64]
    edges: NDArray[np.int64]
    volumes: NDArray[np.int64]
    bandwidths: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InstanceError(f"name: found {reprlib.repr(self.name)}, expected text")
        costs = _integers(self.costs, "costs", 2)
        edges = _integers(self.edges, "edges", 2, width=2)
        volumes = _integers(self.volumes, "volumes", 1)
        bandwidths = _integers(self.bandwidths, "bandwidths", 2).copy()
        if len(volumes) != len(edges):
            raise InstanceError(
                f"volumes: found {len(volumes)}, expected {len(edges)} (one per edge)"
            )
        if bandwidths.shape[0] == bandwidths.shape[1]:
            np.fill_diagonal(bandwidths, 0)
        by_source = np.lexsort((edges[:, 1], edges[:, 0]))
        edges, volumes = edges[by_source], volumes[by_source]
        for field, value in (
            ("tasks", _names(self.tasks, "task")),
            ("processors", _names(self.processors, "processor")),
            ("costs", costs),
            ("edges", edges),
            ("volumes", volumes),
            ("bandwidths", bandwidths),
        ):
            object.__setattr__(self, field, value)
        super().__post_init__()

    @classmethod
    def from_arrays(
        cls,
        costs: ArrayLike,
        edges: ArrayLike = (),
        volumes: ArrayLike = (),
        bandwidths: ArrayLike = 1,
        name: str = "task-graph",
        tasks: Sequence[str] | None = None,
        processors: Sequence[str] | None = None,
    ) -> Self:
        """Build from tables; names are ``t0, t1, ...`` and ``p0, p1, ...`` unless given.

        Args:
            costs: (T, P), -1 where a processor cannot run a task.
            edges: (E, 2) source and target.
            volumes: (E,).
            bandwidths: (P, P), or one number for all pairs.
            name: a label.
            tasks, processors: names.

        Raises:
            InstanceError: naming what is at fault.
        """
        table = _integers(costs, "costs", 2)
        count, width = table.shape
        pairs, flow = _array(edges, "edges"), _array(volumes, "volumes")
        links = _array(bandwidths, "bandwidths")
        return cls(
            name=name,
            tasks=tuple(tasks or (f"t{task}" for task in range(count))),
            processors=tuple(processors or (f"p{p}" for p in range(width))),
            costs=table,
            edges=pairs if pairs.size else np.empty((0, 2), dtype=np.int64),
            volumes=flow if flow.size else np.empty(0, dtype=np.int64),
            bandwidths=links if links.ndim else np.full((width, width), links),
        )

    @classmethod
    def from_names(
        cls,
        costs: Mapping[str, Mapping[str, int] | Sequence[int | None]],
        edges: Iterable[tuple[str, str, int]],
        bandwidths: ArrayLike = 1,
        name: str = "task-graph",
        processors: Sequence[str] | None = None,
    ) -> Self:
        """Build from names.

        Args:
            costs: of each task, a cost for each processor by name (left out: it cannot run it), or
                in order with None for the same.
            edges: (source, target, volume) by name.
            bandwidths: (P, P) in the order of ``processors``, or one number for all pairs.
            name: a label.
            processors: their names; None: in the order in which ``costs`` mentions them.

        Raises:
            InstanceError: naming the task, processor or edge at fault.
        """
        names = _processor_names(costs, processors)
        position = {processor: p for p, processor in enumerate(names)}
        index = {task: t for t, task in enumerate(costs)}
        table = np.full((len(index), len(names)), INELIGIBLE, dtype=np.int64)
        for task, row in costs.items():
            for processor, cost in _cost_row(task, row, names):
                if processor not in position:
                    known = ", ".join(map(repr, names))
                    raise InstanceError(
                        f"task {task!r}: unknown processor {processor!r}, expected one of {known}"
                    )
                what = f"task {task!r}, processor {processor!r}: cost"
                table[index[task], position[processor]] = _integer(cost, what, MAX_TOTAL)
        pairs, volumes = [], []
        for source, target, volume in edges:
            for end in (source, target):
                if not isinstance(end, str) or end not in index:
                    raise InstanceError(
                        f"edge {source!r} -> {target!r}: unknown task {reprlib.repr(end)}"
                    )
            pairs.append((index[source], index[target]))
            volumes.append(_integer(volume, f"edge {source!r} -> {target!r}: volume", MAX_VOLUME))
        return cls.from_arrays(table, pairs, volumes, bandwidths, name, tuple(index), names)

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    @property
    def num_processors(self) -> int:
        """Number of processors."""
        return len(self.processors)

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return len(self.edges)

    @property
    def sizes(self) -> Sizes:
        """Tasks, processors, edges and kinds of links."""
        return Sizes(self.num_tasks, self.num_processors, self.num_edges, self.delays.shape[1])

    @property
    def size(self) -> str:
        """``"<= 32 tasks"``: powers of two, for groups in tables."""
        return f"<= {2 ** (self.num_tasks - 1).bit_length()} tasks"

    @cached_property
    def eligible(self) -> NDArray[np.bool_]:
        """(T, P) whether a processor can run a task."""
        return _read_only(self.costs >= 0)

    @cached_property
    def first_out(self) -> NDArray[np.int32]:
        """(T + 1,) edges ``first_out[t]:first_out[t + 1]`` leave task t."""
        return _read_only(_offsets(self.edges[:, 0], self.num_tasks))

    @cached_property
    def first_in(self) -> NDArray[np.int32]:
        """(T + 1,) edges ``edges_in[first_in[t]:first_in[t + 1]]`` enter task t."""
        return _read_only(_offsets(self.edges[:, 1], self.num_tasks))

    @cached_property
    def edges_in(self) -> NDArray[np.int32]:
        """(E,) indices of the edges, sorted by target."""
        return _read_only(np.argsort(self.edges[:, 1], kind="stable").astype(np.int32))

    @cached_property
    def topological_order(self) -> NDArray[np.int32]:
        """(T,) the order that always takes the ready task of the lowest index."""
        return _read_only(analysis.topological_order(self.first_out, self.edges[:, 1]))

    @cached_property
    def link(self) -> NDArray[np.int32]:
        """(P, P) kind of link between two processors: a column of ``delays``; 0 on the diagonal."""
        return self._links[0]

    @cached_property
    def delays(self) -> NDArray[np.int64]:
        """(E, K) communication time of each edge over each kind of link; 0 in column 0.

        ``delays[e, link[p, q]]`` is the time of edge e from processor p to q.
        """
        return self._links[1]

    @cached_property
    def _links(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        off_diagonal = ~np.eye(self.num_processors, dtype=np.bool_)
        kinds, kind = np.unique(self.bandwidths[off_diagonal], return_inverse=True)
        link = np.zeros(self.bandwidths.shape, dtype=np.int32)
        link[off_diagonal] = kind.ravel() + 1
        delays = np.zeros((self.num_edges, len(kinds) + 1), dtype=np.int64)
        delays[:, 1:] = self.volumes[:, None] // kinds
        return _read_only(link), _read_only(delays)

    @cached_property
    def mean_costs(self) -> NDArray[np.float64]:
        """(T,) mean cost of each task over the processors that can run it."""
        total = np.where(self.eligible, self.costs, 0).sum(axis=1)
        return _read_only(total / self.eligible.sum(axis=1))

    @cached_property
    def mean_delays(self) -> NDArray[np.float64]:
        """(E,) mean communication time of each edge over all pairs of different processors."""
        pairs = self.num_processors * (self.num_processors - 1)
        uses = np.bincount(self.link.ravel(), minlength=self.delays.shape[1])[1:]
        return _read_only(self.delays[:, 1:] @ uses / max(pairs, 1))

    @cached_property
    def upward_ranks(self) -> NDArray[np.float64]:
        """(T,) rank_u of HEFT: mean cost of a task plus the longest mean path after it."""
        return _read_only(analysis.upward_ranks(*self._graph, self.mean_costs, self.mean_delays))

    @cached_property
    def downward_ranks(self) -> NDArray[np.float64]:
        """(T,) rank_d of HEFT: the longest mean path before a task, its own cost left out."""
        return _read_only(analysis.downward_ranks(*self._graph, self.mean_costs, self.mean_delays))

    @cached_property
    def rank_order(self) -> NDArray[np.int32]:
        """(T,) tasks by decreasing upward rank, equal ones in topological order; topological."""
        return self.order_by(self.upward_ranks)

    def order_by(self, ranks: NDArray[np.float64]) -> NDArray[np.int32]:
        """(T,) tasks by decreasing rank, equal ones (to rounding errors) in topological order."""
        order = self.topological_order
        keys = np.round(ranks[order], 6)
        return _read_only(order[np.argsort(-keys, kind="stable")])

    @cached_property
    def tails(self) -> NDArray[np.int64]:
        """(T, P) least time from the start of a task there to the end of all that follows it.

        Communication counted, processors never busy: ``tail[t, p] = cost[t, p] + max over children
        c of min over q of delay(p, q) + tail[c, q]``; ``analysis.NEVER`` where ineligible.
        """
        return _read_only(analysis.tails(*self._graph, self.costs, self.link, self.delays))

    @cached_property
    def heads(self) -> NDArray[np.int64]:
        """(T, P) least time before a task can start there, by the same recursion from the front."""
        return _read_only(analysis.heads(*self._graph, self.costs, self.link, self.delays))

    @property
    def _graph(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        return self.topological_order, self.first_out, np.ascontiguousarray(self.edges[:, 1])

    def edge_label(self, edge: int) -> str:
        """``"edge 'a' -> 'b'"`` for messages."""
        source, target = self.edges[edge].tolist()
        return f"edge {self.tasks[source]!r} -> {self.tasks[target]!r}"

    def to_dict(self) -> dict[str, Any]:
        """Nested plain data, as a person would write it.

        ``{"kind": "task-graph", "version": 1, "name": ..., "processors": [name, ...], "bandwidth":
        number or matrix, "tasks": [{"name": ..., "costs": [3, null, ...]}, ...], "edges":
        [{"source": ..., "target": ..., "volume": ...}, ...]}``; null: cannot run there.
        """
        off_diagonal = self.bandwidths[~np.eye(self.num_processors, dtype=np.bool_)]
        uniform = len(np.unique(off_diagonal)) == 1
        costs = [[None if c < 0 else c for c in row] for row in self.costs.tolist()]
        return {
            "kind": self.kind,
            "version": self.version,
            "name": self.name,
            "processors": list(self.processors),
            "bandwidth": int(off_diagonal[0]) if uniform else self.bandwidths.tolist(),
            "tasks": [
                {"name": task, "costs": row} for task, row in zip(self.tasks, costs, strict=True)
            ],
            "edges": [
                {"source": self.tasks[u], "target": self.tasks[v], "volume": volume}
                for (u, v), volume in zip(self.edges.tolist(), self.volumes.tolist(), strict=True)
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild an instance from :meth:`to_dict`'s form.

        The name, bandwidths of 1 and volumes of 0 may be left out; costs may also be an object
        ``{processor: cost}``.

        Raises:
            InstanceError: naming the field, task, processor or edge at fault, whatever ``data`` is.
        """
        cls.check_header(data)
        _check_fields(
            data,
            "instance",
            {"processors", "tasks", "edges"},
            {"kind", "version", "name", "bandwidth"},
        )
        processors = _names(data["processors"], "processor")
        costs: dict[str, Any] = {}
        for index, task in enumerate(_list(data["tasks"], "field 'tasks'")):
            where = f"tasks[{index}]"
            _check_fields(task, where, {"name", "costs"}, set())
            if not isinstance(task["name"], str):
                raise InstanceError(f"{where}: name: found {task['name']!r}, expected text")
            if task["name"] in costs:
                raise InstanceError(f"{where}: found task {task['name']!r} twice")
            costs[task["name"]] = task["costs"]
        edges = []
        for index, edge in enumerate(_list(data["edges"], "field 'edges'")):
            _check_fields(edge, f"edges[{index}]", {"source", "target"}, {"volume"})
            edges.append((edge["source"], edge["target"], edge.get("volume", 0)))
        bandwidths = data.get("bandwidth", 1)
        return cls.from_names(costs, edges, bandwidths, data.get("name", cls.kind), processors)

    def check(self) -> None:
        """Raise InstanceError naming the task, processor or edge at fault."""
        count, width = self.num_tasks, self.num_processors
        for what, number in (("tasks", count), ("processors", width)):
            if number < 1:
                raise InstanceError(f"{what}: found none, expected at least 1")
        if width > MAX_PROCESSORS:
            raise InstanceError(f"processors: found {width}, expected at most {MAX_PROCESSORS}")
        if self.costs.shape != (count, width):
            raise InstanceError(
                f"costs: found the shape {self.costs.shape}, expected {(count, width)}, "
                "one row per task, one column per processor"
            )
        if self.bandwidths.shape != (width, width):
            raise InstanceError(
                f"bandwidths: found the shape {self.bandwidths.shape}, expected {(width, width)}"
            )
        self._check_costs()
        self._check_links()
        self._check_edges()
        self._check_total()
        if len(self.topological_order) < count:
            names = " -> ".join(repr(self.tasks[task]) for task in self._cycle())
            raise InstanceError(f"edges: found the cycle {names}, expected none")

    def _check_costs(self) -> None:
        wrong = (self.costs < INELIGIBLE) | (self.costs > MAX_TOTAL)
        if wrong.any():
            task, p = np.argwhere(wrong)[0]
            raise InstanceError(
                f"task {self.tasks[task]!r}, processor {self.processors[p]!r}: cost: found "
                f"{self.costs[task, p]}, expected 0 to {MAX_TOTAL}, or {INELIGIBLE} for none"
            )
        nowhere = ~self.eligible.any(axis=1)
        if nowhere.any():
            task = int(nowhere.argmax())
            raise InstanceError(
                f"task {self.tasks[task]!r}: found no processor that can run it, "
                "expected at least 1"
            )

    def _check_links(self) -> None:
        off_diagonal = ~np.eye(self.num_processors, dtype=np.bool_)
        wrong = ((self.bandwidths < 1) | (self.bandwidths > MAX_VOLUME)) & off_diagonal
        if wrong.any():
            p, q = np.argwhere(wrong)[0]
            raise InstanceError(
                f"bandwidth from {self.processors[p]!r} to {self.processors[q]!r}: found "
                f"{self.bandwidths[p, q]}, expected 1 to {MAX_VOLUME}"
            )

    def _check_edges(self) -> None:
        ends = self.edges
        unknown = ((ends < 0) | (ends >= self.num_tasks)).any(axis=1)
        if unknown.any():
            edge = int(unknown.argmax())
            raise InstanceError(
                f"edges: found the edge {ends[edge].tolist()}, expected tasks from 0 to "
                f"{self.num_tasks - 1}"
            )
        wrong = (self.volumes < 0) | (self.volumes > MAX_VOLUME)
        if wrong.any():
            edge = int(wrong.argmax())
            raise InstanceError(
                f"{self.edge_label(edge)}: volume: found {self.volumes[edge]}, expected 0 to "
                f"{MAX_VOLUME}"
            )
        repeated = (ends[1:] == ends[:-1]).all(axis=1)
        if repeated.any():
            raise InstanceError(f"{self.edge_label(int(repeated.argmax()))}: found twice")

    def _check_total(self) -> None:
        longest = self.delays.max(axis=1, initial=0).tolist()  # whose sum may exceed 64 bits
        total = int(self.costs.max(axis=1).sum()) + sum(longest)
        if total > MAX_TOTAL:
            raise InstanceError(
                f"costs and delays: their total is {total}, expected at most {MAX_TOTAL}; "
                "use a coarser time unit"
            )

    def _cycle(self) -> list[int]:
        """The tasks of a cycle, the first once more at the end."""
        left = set(range(self.num_tasks)) - set(self.topological_order.tolist())
        parents = {v: u for u, v in self.edges.tolist() if u in left and v in left}
        # every task left has a parent left: going back must come around
        path = [min(left)]
        while path[-1] not in path[:-1]:
            path.append(parents[path[-1]])
        return path[path.index(path[-1]) :][::-1]


def _offsets(owners: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(np.bincount(owners, minlength=count), out=offsets[1:])
    return offsets


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _integer(value: Any, what: str, high: int) -> int:
    """``value`` as an integer from 0 to ``high``; raises InstanceError."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not 0 <= number <= high:
        raise InstanceError(
            f"{what}: found {reprlib.repr(value)}, expected an integer from 0 to {high}"
        )
    return number


def _array(values: ArrayLike, field: str) -> NDArray[Any]:
    """``values`` as they are; raises InstanceError."""
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError):  # e.g. rows of different length
        raise InstanceError(
            f"{field}: found {reprlib.repr(values)}, expected an array of integers"
        ) from None


def _integers(
    values: ArrayLike, field: str, dimensions: int, width: int | None = None
) -> NDArray[np.int64]:
    """``values`` as int64 of that many dimensions; raises InstanceError."""
    array = _array(values, field)
    if array.size and (array.dtype.kind not in "iu" or array.dtype == np.uint64):
        raise InstanceError(
            f"{field}: found {reprlib.repr(array.ravel().tolist())} ({array.dtype}), "
            "expected integers of at most 64 bits"
        )
    if array.ndim != dimensions or (width is not None and array.shape[1] != width):
        expected = f"(any, {width})" if width else f"{dimensions} dimension(s)"
        raise InstanceError(f"{field}: found the shape {array.shape}, expected {expected}")
    return array.astype(np.int64)


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InstanceError(f"{where}: found {reprlib.repr(value)}, expected a list")
    return list(value)


def _names(values: Any, what: str) -> tuple[str, ...]:
    """Distinct names; raises InstanceError."""
    names = tuple(_list(values, f"{what}s"))
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InstanceError(
                f"{what} {index}: found {reprlib.repr(name)}, expected a name (text)"
            )
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise InstanceError(f"{what} {repeated!r}: found twice, expected distinct names")
    return names


def _processor_names(costs: Mapping[str, Any], given: Sequence[str] | None) -> tuple[str, ...]:
    if given is not None:
        return tuple(given)
    rows = list(costs.values())
    if any(isinstance(row, Mapping) for row in rows):
        return tuple(dict.fromkeys(name for row in rows for name in row))
    return tuple(f"p{p}" for p in range(len(rows[0]) if rows else 0))


def _cost_row(task: str, row: Any, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The (processor, cost) of those that can run the task; raises InstanceError."""
    if isinstance(row, Mapping):
        return [(processor, cost) for processor, cost in row.items() if cost is not None]
    if isinstance(row, str) or not isinstance(row, Iterable):
        raise InstanceError(
            f"task {task!r}: costs: found {reprlib.repr(row)}, expected a list or an object"
        )
    values = list(row)
    if len(values) != len(names):
        raise InstanceError(
            f"task {task!r}: costs: found {len(values)}, expected {len(names)}, one per processor"
        )
    return [(p, cost) for p, cost in zip(names, values, strict=True) if cost is not None]


def _check_fields(data: Any, where: str, required: set[str], optional: set[str]) -> None:
    """Raise InstanceError for anything but an object with these fields."""
    if not isinstance(data, dict):
        raise InstanceError(f"{where}: found {reprlib.repr(data)}, expected an object")
    missing = required - set(data)
    if missing:
        raise InstanceError(f"{where}: missing {', '.join(map(repr, sorted(missing)))}")
    unknown = set(data) - required - optional
    if unknown:
        shown = ", ".join(sorted(map(reprlib.repr, unknown)))
        raise InstanceError(
            f"{where}: found unknown field(s) {shown}, "
            f"expected only {', '.join(map(repr, sorted(required | optional)))}"
        )
