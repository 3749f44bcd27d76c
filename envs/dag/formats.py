"""File formats of task graphs: read with precise errors, write, and solutions as files.

- ``json``: see :meth:`TaskGraphInstance.to_dict`.
- ``csv``, cost tables: a block of lines ``task,<processor>,<processor>,...`` followed by one line
  of costs per task (nothing: cannot run there); then, when there are edges, the line
  ``source,target,volume`` followed by one line per edge; then, when bandwidths are not 1, the line
  ``bandwidth,<processor>,...`` followed by one line per processor.
- ``wfformat``: workflows of the wfcommons project, schema 1.0 to 1.5: tasks under
  ``workflow.specification`` and run times under ``workflow.execution``, or, in older files, all
  under ``workflow.tasks`` or ``workflow.jobs``. Source: T. Coleman, H. Casanova, L. Pottier, M.
  Kaushik, E. Deelman, R. Ferreira da Silva, WfCommons, Future Generation Computer Systems 128,
  2022. Such a file says how long tasks ran on one machine, so the platform is a choice, see
  :class:`Platform`.
- networkx graphs, in memory: :func:`from_networkx`, :func:`to_networkx`.
"""

import csv
import io
import json
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.files import csv_rows, parse_json, read_text, write_all, write_atomically
from makespan.envs.dag.instance import MAX_TOTAL, MAX_VOLUME, TaskGraphInstance
from makespan.envs.dag.pipeline import PipelineInstance
from makespan.envs.dag.render import chrome_trace
from makespan.envs.dag.solution import TaskGraphSolution

EDGE_HEADER = ["source", "target", "volume"]


@dataclass(frozen=True)
class Platform:
    """The processors that a workflow is to run on, since its file holds run times only.

    Attributes:
        speeds: of each processor, relative to the machine of the recorded run times.
        bandwidth_bytes_per_s: between any two processors.
        ticks_per_s: time units of the instance per second.

    Raises:
        UsageError: for a value that is not positive, or no processor.
    """

    speeds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    bandwidth_bytes_per_s: float = 125e6
    ticks_per_s: float = 1000.0

    def __post_init__(self) -> None:
        values = (*self.speeds, self.bandwidth_bytes_per_s, self.ticks_per_s)
        if not self.speeds or min(values) <= 0:
            raise UsageError(f"{self}: expected at least one speed, and positive numbers")

    @property
    def bandwidth(self) -> int:
        """Bytes per time unit."""
        return max(1, round(self.bandwidth_bytes_per_s / self.ticks_per_s))


def read_instance(path: str | Path, format: str | None = None) -> TaskGraphInstance:
    """Read an instance file; its name is the file's unless the file holds one.

    Args:
        path: of the file.
        format: a key of ``FORMATS``; None to recognise it.

    Raises:
        InstanceError: naming the file, the line or field, what was found and what was expected.
        UnknownNameError: for an unknown format.
    """
    path = Path(path)
    text = read_text(path, InstanceError)
    try:
        return parse_instance(text, format or detect_format(text, path.suffix), path.stem)
    except InstanceError as error:
        raise InstanceError(f"{path}: {error}") from None


def parse_instance(text: str, format: str, name: str) -> TaskGraphInstance:
    """The instance that a text of the given format holds; raises InstanceError."""
    if format not in FORMATS:
        raise UnknownNameError("instance format", format, FORMATS)
    return FORMATS[format](text, name)


def detect_format(text: str, suffix: str = "") -> str:
    """The format that a text most likely has; raises InstanceError for broken JSON."""
    if suffix.lower() == ".csv" or not text.lstrip().startswith(("{", "[")):
        return "csv"
    return "wfformat" if "workflow" in parse_json(text, InstanceError) else "json"


def write_instance(instance: TaskGraphInstance, path: str | Path) -> None:
    """Write an instance file, ``.csv`` as a cost table, anything else as JSON.

    Raises:
        UsageError: when the file cannot be written.
    """
    path = Path(path)
    table = path.suffix.lower() == ".csv"
    write_atomically(path, format_csv(instance) if table else instance.to_json() + "\n")


def write_solution(
    instance: TaskGraphInstance, solution: TaskGraphSolution, stem: Path
) -> list[Path]:
    """Write a schedule as JSON, CSV and trace (``.trace.json``, opens in Perfetto).

    Args:
        instance: that was solved.
        solution: its schedule; checked first.
        stem: folder and name of the files, to which the suffixes are added.

    Returns:
        The files.

    Raises:
        InvalidSolutionError: when the solution violates a constraint.
        UsageError: when a file cannot be written.
    """
    solution.validate(instance)
    contents = {
        "json": json.dumps({"instance": instance.name, **solution.to_dict()}, indent=1) + "\n",
        "csv": solution.to_named_frame(instance).to_csv(index=False, lineterminator="\n"),
        "trace.json": json.dumps(chrome_trace(instance, solution)) + "\n",
    }
    return write_all(stem, contents)


def _parse_json(text: str, name: str) -> TaskGraphInstance:
    data = parse_json(text, InstanceError)
    if isinstance(data, dict):
        data = {"name": name, **data}
        if data.get("kind") == PipelineInstance.kind:
            return PipelineInstance.from_dict(data).task_graph()
    return TaskGraphInstance.from_dict(data)


# ---------------------------------------------------------------- cost tables


@dataclass(frozen=True)
class _Line:
    """A line of a cost table that is not empty."""

    number: int
    words: list[str]

    def error(self, message: str) -> InstanceError:
        return InstanceError(f"line {self.number}: {message}")

    def integer(self, word: str, what: str, high: int) -> int:
        if not word.isascii() or not word.isdigit() or len(word) > 18 or int(word) > high:
            raise self.error(
                f"{what}: found {reprlib.repr(word)}, expected an integer from 0 to {high}"
            )
        return int(word)

    def expect(self, count: int, what: str) -> None:
        if len(self.words) != count:
            raise self.error(f"found {len(self.words)} columns, expected {count}: {what}")


def _parse_csv(text: str, name: str) -> TaskGraphInstance:
    rows = enumerate(csv_rows(text, InstanceError), start=1)
    lines = [_Line(number, [word.strip() for word in row]) for number, row in rows if any(row)]
    if not lines or lines[0].words[0].lower() != "task" or len(lines[0].words) < 2:
        raise InstanceError("line 1: expected the header 'task,<processor>,<processor>,...'")
    processors = lines[0].words[1:]
    costs: dict[str, list[int | None]] = {}
    edges: list[tuple[str, str, int]] = []
    bandwidths: list[list[int]] = []
    block = "task"
    for line in lines[1:]:
        header = [word.lower() for word in line.words]
        if header == EDGE_HEADER:
            block = "edge"
        elif header[0] == "bandwidth" and line.words[1:] == processors:
            block = "bandwidth"
        elif block == "task":
            task = line.words[0]
            line.expect(len(processors) + 1, "a task and its cost on each processor")
            if task in costs:
                raise line.error(f"found task {task!r} twice")
            costs[task] = [
                line.integer(word, f"task {task!r}, processor {processor!r}: cost", MAX_TOTAL)
                if word
                else None
                for processor, word in zip(processors, line.words[1:], strict=True)
            ]
        elif block == "edge":
            line.expect(3, "source, target, volume")
            source, target, volume = line.words
            for end in (source, target):
                if end not in costs:
                    raise line.error(f"unknown task {end!r}")
            edges.append((source, target, line.integer(volume, "volume", MAX_VOLUME)))
        else:
            line.expect(len(processors) + 1, "a processor and its bandwidth to each processor")
            found, expected = repr(line.words[0]), [*map(repr, processors), "no more lines"]
            if found != expected[len(bandwidths)]:
                raise line.error(f"bandwidth: found {found}, expected {expected[len(bandwidths)]}")
            bandwidths.append(
                [line.integer(word, "bandwidth", MAX_VOLUME) for word in line.words[1:]]
            )
    if bandwidths and len(bandwidths) != len(processors):
        raise InstanceError(
            f"bandwidth: found {len(bandwidths)} lines, expected {len(processors)}, "
            "one per processor"
        )
    return TaskGraphInstance.from_names(costs, edges, bandwidths or 1, name, processors)


def format_csv(instance: TaskGraphInstance) -> str:
    """The instance as a cost table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", *instance.processors])
    for task, row in zip(instance.tasks, instance.costs.tolist(), strict=True):
        writer.writerow([task, *("" if cost < 0 else cost for cost in row)])
    if instance.num_edges:
        writer.writerow(EDGE_HEADER)
    for (u, v), volume in zip(instance.edges.tolist(), instance.volumes.tolist(), strict=True):
        writer.writerow([instance.tasks[u], instance.tasks[v], volume])
    if (instance.bandwidths[~np.eye(instance.num_processors, dtype=np.bool_)] != 1).any():
        writer.writerow(["bandwidth", *instance.processors])
        for processor, line in zip(instance.processors, instance.bandwidths.tolist(), strict=True):
            writer.writerow([processor, *line])
    return text.getvalue()


# ---------------------------------------------------------------- WfFormat


def parse_wfformat(text: str, name: str, platform: Platform | None = None) -> TaskGraphInstance:
    """A workflow on a platform.

    Costs are run times over speeds, at least 1 time unit; the volume of an edge is the size of the
    files that its source writes and its target reads.

    Raises:
        InstanceError: naming the field or task at fault.
    """
    platform = platform or Platform()
    data = parse_json(text, InstanceError)
    workflow = _field(data, "workflow", dict, "the document")
    if "specification" in workflow:
        specification = _field(workflow, "specification", dict, "workflow")
        execution = _field(workflow, "execution", dict, "workflow")
        tasks = _field(specification, "tasks", list, "workflow.specification")
        files = _sizes(specification, "id", "workflow.specification")
        seconds = {
            _text(run, "id", f"workflow.execution.tasks[{i}]"): _seconds(
                run, f"workflow.execution.tasks[{i}]"
            )
            for i, run in enumerate(_field(execution, "tasks", list, "workflow.execution"))
        }
    else:
        field = "jobs" if "jobs" in workflow else "tasks"
        tasks = _field(workflow, field, list, "workflow")
        files, seconds = {}, {}
        for i, task in enumerate(tasks):
            where = f"workflow.{field}[{i}]"
            seconds[_identifier(task, where)] = _seconds(task, where)
            files |= _sizes(task, "name", where)
    names = [_identifier(task, f"workflow tasks[{i}]") for i, task in enumerate(tasks)]
    costs: dict[str, list[int]] = {}
    for task in names:
        if task not in seconds:
            raise InstanceError(f"task {task!r}: found no run time, expected runtimeInSeconds")
        if task in costs:
            raise InstanceError(f"task {task!r}: found twice")
        costs[task] = [
            max(1, round(seconds[task] / speed * platform.ticks_per_s)) for speed in platform.speeds
        ]
    entries = dict(zip(names, tasks, strict=True))
    # files that give tasks both an id and a name may refer to either
    called = {str(entry.get("name", task)): task for task, entry in entries.items()}
    called |= {task: task for task in names}
    pairs: dict[tuple[str, str], None] = {}
    for task, entry in entries.items():
        for parent in _entries(entry, "parents", str, f"task {task!r}"):
            pairs[called.get(parent, parent), task] = None
        for child in _entries(entry, "children", str, f"task {task!r}"):
            pairs[task, called.get(child, child)] = None
    written = {task: _files(entry, "output", task) for task, entry in entries.items()}
    read = {task: _files(entry, "input", task) for task, entry in entries.items()}
    edges = [
        (u, v, sum(files.get(file, 0) for file in written.get(u, set()) & read.get(v, set())))
        for u, v in pairs
    ]
    label = data.get("name", name)
    return TaskGraphInstance.from_names(costs, edges, platform.bandwidth, label)


def _field(data: Any, field: str, kind: type, where: str) -> Any:
    value = data.get(field) if isinstance(data, dict) else None
    if not isinstance(value, kind):
        raise InstanceError(
            f"{where}: {field}: found {reprlib.repr(value)}, expected "
            f"{'an object' if kind is dict else 'a list'}"
        )
    return value


def _text(data: Any, field: str, where: str) -> str:
    value = data.get(field) if isinstance(data, dict) else None
    if not isinstance(value, str) or not value:
        raise InstanceError(f"{where}: {field}: found {reprlib.repr(value)}, expected text")
    return value


def _entries(data: dict[str, Any], field: str, kind: type, where: str) -> list[Any]:
    """A list of objects or of names, empty where it is left out."""
    value = data.get(field, [])
    if not isinstance(value, list) or not all(isinstance(entry, kind) for entry in value):
        raise InstanceError(
            f"{where}: {field}: found {reprlib.repr(value)}, expected a list of "
            f"{'objects' if kind is dict else 'names'}"
        )
    return value


def _identifier(task: Any, where: str) -> str:
    """The id of a task, or its name, which older files use in its place."""
    return _text(task, "id" if isinstance(task, dict) and "id" in task else "name", where)


def _seconds(task: Any, where: str) -> float:
    value = task.get("runtimeInSeconds", task.get("runtime")) if isinstance(task, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise InstanceError(
            f"{where}: runtimeInSeconds: found {reprlib.repr(value)}, expected a number from 0 on"
        )
    return float(value)


def _sizes(data: dict[str, Any], key: str, where: str) -> dict[str, int]:
    """Bytes of each of the ``files`` of an object by name."""
    sizes = {}
    for i, file in enumerate(_entries(data, "files", dict, where)):
        size = file.get("sizeInBytes", file.get("size", 0))
        number = isinstance(size, int | float) and not isinstance(size, bool)
        if not number or not 0 <= size <= MAX_VOLUME:
            raise InstanceError(
                f"{where}: files[{i}]: sizeInBytes: found {reprlib.repr(size)}, expected bytes "
                f"from 0 to {MAX_VOLUME}"
            )
        sizes[_text(file, key, f"{where}: files[{i}]")] = int(size)
    return sizes


def _files(entry: dict[str, Any], link: str, task: str) -> set[str]:
    """Names of the files that a task reads (``"input"``) or writes (``"output"``)."""
    where = f"task {task!r}"
    new = _entries(entry, f"{link}Files", str, where)
    old = [file for file in _entries(entry, "files", dict, where) if file.get("link") == link]
    return {*new, *(_text(file, "name", f"{where}: files") for file in old)}


# ---------------------------------------------------------------- networkx


def from_networkx(
    graph: Any,
    processors: Sequence[str] | None = None,
    bandwidths: ArrayLike = 1,
    name: str = "task-graph",
    costs: str = "costs",
    volume: str = "volume",
) -> TaskGraphInstance:
    """A ``networkx.DiGraph`` as an instance; nodes are named by ``str``.

    Args:
        graph: directed.
        processors: names; None: as the costs name them.
        bandwidths: see :meth:`TaskGraphInstance.from_names`.
        name: a label.
        costs: attribute of nodes: costs by processor, or in order (None: cannot run there).
        volume: attribute of edges; missing: 0.

    Raises:
        InstanceError: naming the node or edge at fault.
    """
    if not graph.is_directed():
        raise InstanceError("graph: found undirected edges, expected a directed graph")
    table = {}
    for node, attributes in graph.nodes(data=True):
        if costs not in attributes:
            raise InstanceError(f"node {node!r}: missing attribute {costs!r}")
        table[str(node)] = attributes[costs]
    edges = [(str(u), str(v), data.get(volume, 0)) for u, v, data in graph.edges(data=True)]
    return TaskGraphInstance.from_names(table, edges, bandwidths, name, processors)


def to_networkx(instance: TaskGraphInstance) -> Any:
    """The instance as a ``networkx.DiGraph`` with attributes ``costs`` and ``volume``."""
    import networkx

    graph = networkx.DiGraph(name=instance.name)
    for task, row in zip(instance.tasks, instance.costs.tolist(), strict=True):
        costs = dict(zip(instance.processors, row, strict=True))
        graph.add_node(task, costs={p: cost for p, cost in costs.items() if cost >= 0})
    for (u, v), volume in zip(instance.edges.tolist(), instance.volumes.tolist(), strict=True):
        graph.add_edge(instance.tasks[u], instance.tasks[v], volume=volume)
    return graph


#: Every format of files by its name: ``parse(text, name)``.
FORMATS: MappingProxyType[str, Callable[[str, str], TaskGraphInstance]] = MappingProxyType(
    {"json": _parse_json, "csv": _parse_csv, "wfformat": parse_wfformat}
)
