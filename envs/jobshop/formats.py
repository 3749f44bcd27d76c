"""File formats of job shops: read with precise errors, write, and solutions as JSON and CSV.

- ``standard`` (Lawrence; OR-Library, JSPLIB): the numbers of jobs and machines, then one line per
  job of pairs (machine from 0, duration); every job visits every machine once.
- ``taillard``: the numbers of jobs and machines, then the block ``Times`` with one line
  of durations per job and the block ``Machines`` with one line of machines, from 1, per job.
- ``fjsplib`` (Brandimarte): the numbers of jobs and machines and, often, the mean number of
  alternatives; then one line per job: the number of operations and, for each, the number of
  alternatives followed by that many pairs (machine from 1, duration).
- ``json``: see :meth:`JobShopInstance.to_dict`.

Empty lines, lines that begin with ``#`` and, in the first two formats, lines of words before the
numbers of jobs and machines are passed over. Jobs and operations are numbered from 0 in messages,
machines as the format does.
"""

import json
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from makespan.envs.core.errors import InstanceError, UnknownNameError
from makespan.envs.core.files import (
    parse_json,
    read_json_solution,
    read_text,
    write_all,
    write_atomically,
)
from makespan.envs.jobshop.instance import (
    MAX_COUNT,
    MAX_MACHINES,
    MAX_TOTAL_DURATION,
    JobShopInstance,
)
from makespan.envs.jobshop.solution import JobShopSolution

INTEGER = re.compile(r"[+-]?[0-9]{1,18}")  # more digits are out of every range


def read_instance(path: str | Path, format: str | None = None) -> JobShopInstance:
    """Read an instance file; its name is the file's unless the file (JSON) holds one.

    Args:
        path: of the file.
        format: a key of ``FORMATS``; None to recognise it.

    Raises:
        InstanceError: naming the file, the line, what was found and what was expected.
        UnknownNameError: for an unknown format.
    """
    path = Path(path)
    text = read_text(path, InstanceError)
    try:
        return parse_instance(text, format or detect_format(text, path.suffix), path.stem)
    except InstanceError as error:
        raise InstanceError(f"{path}: {error}") from None


def parse_instance(text: str, format: str, name: str) -> JobShopInstance:
    """The instance that a text of the given format holds; raises InstanceError naming the line."""
    return _lookup(format).parse(text, name)


def write_instance(instance: JobShopInstance, path: str | Path, format: str | None = None) -> None:
    """Write an instance file, whole or not at all.

    Args:
        instance: what to write.
        path: of the file.
        format: a key of ``FORMATS``; None to choose by the suffix: ``.json``, ``.fjs``, else
            standard.

    Raises:
        InstanceError: when the format cannot express the instance.
        UnknownNameError: for an unknown format.
        UsageError: when the file cannot be written.
    """
    path = Path(path)
    chosen = format or SUFFIXES.get(path.suffix.lower(), "standard")
    write_atomically(path, format_instance(instance, chosen))


def format_instance(instance: JobShopInstance, format: str) -> str:
    """The instance as text; raises InstanceError when the format cannot express it."""
    return _lookup(format).write(instance)


def detect_format(text: str, suffix: str = "") -> str:
    """The format that a text most likely has, from the file's suffix and what stands in it."""
    if suffix.lower() in SUFFIXES:
        return SUFFIXES[suffix.lower()]
    if text.lstrip().startswith("{"):
        return "json"
    lines = [line.split() for line in re.split(r"[\r\n]+", text) if line.strip()]
    if any(len(line) == 1 and _is_heading(line, "times") for line in lines):
        return "taillard"
    rows = [line for line in lines if not (line[0][0] == "#" or line[0][0].isalpha())]
    return "fjsplib" if _is_fjsplib(rows) else "standard"


def _is_fjsplib(rows: list[list[str]]) -> bool:
    """Whether the header has a mean number of alternatives, or else the first job offers some."""
    if len(rows) < 2 or len(rows[0]) != 2:
        return bool(rows) and len(rows[0]) == 3
    header, job = (_Line(number, words) for number, words in enumerate(rows[:2], start=1))
    try:
        _, machines = _parse_size(header)
        _parse_fjsplib_job(job, 0, machines)
    except InstanceError:
        return False
    return len(job.words) != 2 * machines


def write_solution(instance: JobShopInstance, solution: JobShopSolution, stem: Path) -> list[Path]:
    """Write a schedule as JSON and as CSV, each whole or not at all.

    Args:
        instance: that was solved.
        solution: its schedule; checked first.
        stem: folder and name of the files, to which ``.json`` and ``.csv`` are added.

    Returns:
        The two files.

    Raises:
        InvalidSolutionError: when the solution violates a constraint.
        UsageError: when a file cannot be written.
    """
    solution.validate(instance)
    contents = {
        "json": json.dumps({"instance": instance.name, **solution.to_dict()}, indent=1) + "\n",
        "csv": solution.to_frame().to_csv(index=False, lineterminator="\n"),
    }
    return write_all(stem, contents)


def read_solution(path: str | Path) -> JobShopSolution:
    """Read the JSON file of :func:`write_solution`; it is not checked against an instance.

    Raises:
        InvalidSolutionError: naming the file and the field at fault.
    """
    return read_json_solution(path, JobShopSolution.from_dict)


@dataclass(frozen=True)
class Format:
    """How to read and write one format.

    Attributes:
        parse: ``parse(text, name)``; raises InstanceError.
        write: the instance as text; raises InstanceError when that cannot be.
    """

    parse: Callable[[str, str], JobShopInstance]
    write: Callable[[JobShopInstance], str]


def _lookup(name: str) -> Format:
    if name not in FORMATS:
        raise UnknownNameError("instance format", name, FORMATS)
    return FORMATS[name]


@dataclass(frozen=True)
class _Line:
    """One line that is neither empty nor a comment."""

    number: int  # from 1
    words: list[str]

    def error(self, found: str, expected: str) -> InstanceError:
        return InstanceError(f"line {self.number}: found {found}, expected {expected}")

    def integer(self, index: int, what: str, low: int, high: int) -> int:
        """The word at ``index`` as an integer of the range."""
        word = self.words[index]
        if not INTEGER.fullmatch(word) or not low <= int(word) <= high:
            raise InstanceError(
                f"line {self.number}: {what}: found {reprlib.repr(word)}, "
                f"expected an integer from {low} to {high}"
            )
        return int(word)

    def integers(self, what: str, low: int, high: int) -> list[int]:
        return [self.integer(index, what, low, high) for index in range(len(self.words))]

    def expect(self, count: int, what: str) -> None:
        """Raise InstanceError unless the line has ``count`` words."""
        if len(self.words) != count:
            raise self.error(_count(self.words), f"{count}: {what}")

    def expect_each_once(self, machines: list[int], job: int) -> None:
        """Raise InstanceError when a machine is there twice."""
        seen: set[int] = set()
        for machine in machines:
            if machine in seen:
                raise self.error(f"machine {machine} twice in job {job}", "every machine once")
            seen.add(machine)


class _Reader:
    """Hands out the lines of a text that are neither empty nor a comment."""

    def __init__(self, text: str) -> None:
        numbered = enumerate(re.split(r"\r\n|\r|\n", text), start=1)
        stripped = ((number, line.strip()) for number, line in numbered)
        self._lines = [(number, line) for number, line in stripped if line and line[0] != "#"]
        self._next = 0

    def line(self, expected: str) -> _Line:
        """The next line; raises InstanceError at the end of the text."""
        if self._next == len(self._lines):
            after = f"after line {self._lines[-1][0]}" if self._lines else "nothing"
            raise InstanceError(f"found the end of the file ({after}), expected {expected}")
        number, line = self._lines[self._next]
        self._next += 1
        return _Line(number, line.split())

    def skip_heading(self) -> None:
        """Pass over lines of words."""
        while self._next < len(self._lines) and self._lines[self._next][1][0].isalpha():
            self._next += 1

    def end(self) -> None:
        """Raise InstanceError when a line is left."""
        if self._next < len(self._lines):
            line = self.line("the end")
            raise line.error(reprlib.repr(" ".join(line.words)), "the end of the file")


def _parse_size(line: _Line) -> tuple[int, int]:
    """Numbers of jobs and machines, the first two words."""
    if len(line.words) < 2:
        raise line.error(_count(line.words), "2: the numbers of jobs and machines")
    return line.integer(0, "jobs", 1, MAX_COUNT), line.integer(1, "machines", 1, MAX_MACHINES)


def _parse_standard(text: str, name: str) -> JobShopInstance:
    reader = _Reader(text)
    reader.skip_heading()
    header = reader.line("the numbers of jobs and machines")
    jobs, machines = _parse_size(header)
    header.expect(2, "the numbers of jobs and machines")
    routes = []
    for job in range(jobs):
        line = reader.line(f"job {job} of the {jobs} jobs")
        line.expect(2 * machines, f"job {job}, {machines} pairs of machine and duration")
        route = [
            (
                line.integer(2 * i, f"job {job}, operation {i}, machine", 0, machines - 1),
                line.integer(
                    2 * i + 1, f"job {job}, operation {i}, duration", 0, MAX_TOTAL_DURATION
                ),
            )
            for i in range(machines)
        ]
        line.expect_each_once([machine for machine, _ in route], job)
        routes.append(route)
    reader.end()
    return JobShopInstance.from_routes(routes, machines, name)


def _write_standard(instance: JobShopInstance) -> str:
    machines, durations = _matrices(instance, "standard")
    rows = [
        [word for pair in zip(*row, strict=True) for word in pair]
        for row in zip(machines, durations, strict=True)
    ]
    return _text([(instance.num_jobs, instance.num_machines), *rows])


def _parse_taillard(text: str, name: str) -> JobShopInstance:
    reader = _Reader(text)
    reader.skip_heading()
    jobs, machines = _parse_size(reader.line("the numbers of jobs and machines"))
    blocks = []
    for heading, what, low, high in (
        ("Times", "duration", 0, MAX_TOTAL_DURATION),
        ("Machines", "machine", 1, machines),
    ):
        line = reader.line(f"the heading '{heading}'")
        if not _is_heading(line.words, heading):
            raise line.error(reprlib.repr(" ".join(line.words)), f"the heading '{heading}'")
        rows = []
        for job in range(jobs):
            line = reader.line(f"job {job} of the {jobs} jobs under '{heading}'")
            line.expect(machines, f"a {what} for each operation of job {job}")
            rows.append(line.integers(f"job {job}, {what}", low, high))
            if heading == "Machines":
                line.expect_each_once(rows[-1], job)
        blocks.append(np.asarray(rows))
    reader.end()
    durations, machines_from_1 = blocks
    return JobShopInstance.from_matrices(machines_from_1 - 1, durations, name)


def _write_taillard(instance: JobShopInstance) -> str:
    machines, durations = _matrices(instance, "taillard")
    machines_from_1 = [[machine + 1 for machine in row] for row in machines]
    size = (instance.num_jobs, instance.num_machines)
    heading = ["Nb of jobs, Nb of Machines"]
    return _text([heading, size, ["Times"], *durations, ["Machines"], *machines_from_1])


def _parse_fjsplib(text: str, name: str) -> JobShopInstance:
    reader = _Reader(text)
    header = reader.line("the numbers of jobs and machines")
    jobs, machines = _parse_size(header)
    if len(header.words) > 3:
        raise header.error(_count(header.words), "2 or 3: jobs, machines, mean of alternatives")
    if len(header.words) == 3 and not re.fullmatch(r"[0-9]+(\.[0-9]*)?", header.words[2]):
        raise header.error(reprlib.repr(header.words[2]), "the mean number of alternatives")
    routes = [
        _parse_fjsplib_job(reader.line(f"job {job} of the {jobs} jobs"), job, machines)
        for job in range(jobs)
    ]
    reader.end()
    return JobShopInstance.from_routes(routes, machines, name)


def _parse_fjsplib_job(line: _Line, job: int, machines: int) -> list[list[tuple[int, int]]]:
    """The alternatives of each operation of a job."""
    index = 0

    def following(what: str, low: int, high: int) -> int:
        nonlocal index
        if index == len(line.words):
            raise line.error(f"the end after {_count(line.words)}", f"job {job}, {what}")
        index += 1
        return line.integer(index - 1, f"job {job}, {what}", low, high)

    route = []
    for position in range(following("number of operations", 1, MAX_COUNT)):
        where = f"operation {position}"
        alternatives: dict[int, int] = {}
        for _ in range(following(f"{where}, number of alternatives", 1, machines)):
            machine = following(f"{where}, machine", 1, machines)
            if machine - 1 in alternatives:
                raise line.error(
                    f"machine {machine} twice in job {job}, {where}", "distinct machines"
                )
            alternatives[machine - 1] = following(f"{where}, duration", 0, MAX_TOTAL_DURATION)
        route.append(list(alternatives.items()))
    line.expect(index, f"job {job} ends there")
    return route


def _write_fjsplib(instance: JobShopInstance) -> str:
    mean = len(instance.machines) / instance.num_operations
    lines: list[list[object]] = [[instance.num_jobs, instance.num_machines, f"{mean:.2f}"]]
    for first, last in zip(instance.job_offsets[:-1], instance.job_offsets[1:], strict=True):
        words: list[object] = [last - first]
        for operation in range(first, last):
            span = slice(*instance.alternative_offsets[operation : operation + 2])
            words.append(span.stop - span.start)
            for machine, duration in zip(
                instance.machines[span], instance.durations[span], strict=True
            ):
                words += [machine + 1, duration]
        lines.append(words)
    return _text(lines)


def _parse_json(text: str, name: str) -> JobShopInstance:
    data = parse_json(text, InstanceError)
    if isinstance(data, dict):
        data = {"name": name, **data}
    return JobShopInstance.from_dict(data)


def _write_json(instance: JobShopInstance) -> str:
    return instance.to_json() + "\n"


def _matrices(instance: JobShopInstance, format: str) -> tuple[list[list[int]], list[list[int]]]:
    """(jobs, machines) machines and durations; raises InstanceError unless that is all there is."""
    shape = instance.num_jobs, instance.num_machines
    each_once = (
        not instance.is_flexible
        and (np.diff(instance.job_offsets) == shape[1]).all()
        and (np.sort(instance.machines.reshape(shape), axis=1) == np.arange(shape[1])).all()
    )
    if not each_once:
        raise InstanceError(
            f"{instance.name}: found a job that does not visit every machine once, which the "
            f"{format} format expects; use fjsplib or json"
        )
    return instance.machines.reshape(shape).tolist(), instance.durations.reshape(shape).tolist()


def _is_heading(words: list[str], heading: str) -> bool:
    return " ".join(words).rstrip(":").lower() == heading.lower()


def _count(words: list[str]) -> str:
    return f"{len(words)} number{'' if len(words) == 1 else 's'}"


def _text(lines: Iterable[Iterable[object]]) -> str:
    return "".join(" ".join(map(str, line)) + "\n" for line in lines)


SUFFIXES: Mapping[str, str] = MappingProxyType({".json": "json", ".fjs": "fjsplib"})

#: Every format by its name.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "standard": Format(_parse_standard, _write_standard),
        "taillard": Format(_parse_taillard, _write_taillard),
        "fjsplib": Format(_parse_fjsplib, _write_fjsplib),
        "json": Format(_parse_json, _write_json),
    }
)
