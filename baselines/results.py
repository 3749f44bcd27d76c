"""The results file: one row per (instance, solver, seed), durable from the moment it is written.

The CSV is at once the table that people analyse and the memory from which an interrupted
evaluation continues, so rows are appended one by one, each in a single write.
"""

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from makespan.envs.core.errors import UsageError
from makespan.envs.core.files import csv_rows, read_text, write_atomically

#: (seconds, objective) of each solution better than those before.
Improvements = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Row:
    """What one solver achieved on one instance with one seed.

    Attributes:
        instance: its name.
        instance_hash: SHA-256 of its content.
        size: what instances are grouped by, e.g. ``"15x15"``.
        solver: the specification given on the command line.
        options: values of the problem's options (e.g. the schedule-generation scheme), in the
            family's order; empty for solvers that do not go through the simulator.
        seed: of the random generator that the solver was given.
        time_limit_s: seconds allowed; None: the solver's own limit.
        weights_hash: of a learnt policy, so that rows are not taken for those of other weights.
        objective: value of the validated solution.
        metrics: further figures of the solution, in the family's order.
        lower_bound: best of the solver's proven bound and the family's quick bound.
        best_known_lower, best_known_upper: published bounds, None when there are none.
        best_known_as_of: their date, ISO.
        gap_percent: of the objective to a reference value; NaN when undefined.
        gap_to: what that reference is.
        seconds: wall clock.
        status: ``"optimal"`` when the solver proved it, else ``"feasible"``.
        version: of this package.
        hardware: processor and number of cores.
        improvements: seconds and objective of each solution better than those before, for solvers
            that record them.
    """

    instance: str
    instance_hash: str
    size: str
    solver: str
    options: tuple[str, ...]
    seed: int
    time_limit_s: float | None
    weights_hash: str
    objective: float
    metrics: tuple[float, ...]
    lower_bound: float
    best_known_lower: float | None
    best_known_upper: float | None
    best_known_as_of: str
    gap_percent: float
    gap_to: str
    seconds: float
    status: str
    version: str
    hardware: str
    improvements: Improvements = ()

    @property
    def key(self) -> "Key":
        """What makes a row the answer to a task."""
        return Key(*(getattr(self, name) for name in Key._fields))


class Key(NamedTuple):
    """Identifies a row: two rows with one key answer the same question."""

    instance: str
    instance_hash: str
    solver: str
    seed: int
    time_limit_s: float | None
    weights_hash: str
    version: str


class Reference(NamedTuple):
    """What objectives of an instance are compared with."""

    value: float
    name: str


INTEGER_FIELDS = {"seed"}
NUMBER_FIELDS = {
    "time_limit_s",
    "objective",
    "lower_bound",
    "best_known_lower",
    "best_known_upper",
    "gap_percent",
    "seconds",
}
OPTIONAL_FIELDS = {"time_limit_s", "best_known_lower", "best_known_upper", "gap_percent"}


class ResultsFile:
    """Rows in a CSV file, read when it exists and created when it does not.

    Args:
        path: of the CSV; its folder is created.
        option_names: names of the problem's options; each has a column of its own.
        metric_names: names of further figures; each has a column of its own.

    Raises:
        UsageError: when the file holds something else, naming line, found and expected, or when
            its folder cannot be written.
    """

    def __init__(
        self, path: Path, option_names: Sequence[str], metric_names: Sequence[str] = ()
    ) -> None:
        self.path = path
        self.several = {"options": tuple(option_names), "metrics": tuple(metric_names)}
        self.columns = tuple(
            column
            for field in Row.__dataclass_fields__
            for column in self.several.get(field, (field,))
        )
        self.rows = self._read() if path.exists() else []
        self.rewrite(self.rows)

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns.

        Raises:
            UsageError: when the disk is full; the file holds the rows before.
        """
        line = _csv([self._cells(row)]).encode()
        with self.path.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):  # the disk is full
                file.truncate(size)
                raise UsageError(f"{self.path}: cannot be written: the disk is full")
            os.fsync(file.fileno())
        self.rows.append(row)

    def rewrite(self, rows: Sequence[Row]) -> None:
        """Replace all rows at once; a crash leaves the old file or the new one."""
        self.rows = list(rows)
        write_atomically(self.path, _csv([self.columns, *map(self._cells, rows)]))

    def _cells(self, row: Row) -> list[str]:
        cells: list[str] = []
        for field in Row.__dataclass_fields__:
            value = getattr(row, field)
            cells.extend(map(_cell, value if field in self.several else [value]))
        return cells

    def _read(self) -> list[Row]:
        text = read_text(self.path, UsageError)
        whole = text[: text.rfind("\n") + 1]  # a crash may have cut the last line short
        lines = csv_rows(whole, lambda message: UsageError(f"{self.path}, {message}"))
        if lines and tuple(lines[0]) != self.columns:
            raise UsageError(
                f"{self.path}, line 1: found the columns {', '.join(lines[0])}; expected "
                f"{', '.join(self.columns)}; choose another --out"
            )
        return [self._parse(number, cells) for number, cells in enumerate(lines[1:], start=2)]

    def _parse(self, number: int, cells: list[str]) -> Row:
        if len(cells) != len(self.columns):
            raise UsageError(
                f"{self.path}, line {number}: found {len(cells)} cells, expected "
                f"{len(self.columns)}; mend or delete the line"
            )
        text = dict(zip(self.columns, cells, strict=True))
        options = tuple(text.pop(name) for name in self.several["options"])
        figures = {name: text.pop(name) for name in self.several["metrics"]}
        try:
            fields = {name: _parse_cell(name, cell) for name, cell in text.items()}
            metrics = tuple(_parse_number(name, cell or "nan") for name, cell in figures.items())
        except ValueError as error:
            raise UsageError(f"{self.path}, line {number}: {error}") from None
        return Row(options=options, metrics=metrics, **fields)


def with_gaps(rows: Sequence[Row]) -> list[Row]:
    """The rows with ``gap_percent`` and ``gap_to`` filled in, from what all of them know."""
    references = find_references(rows)
    return [
        replace(
            row,
            gap_percent=gap_percent(row.objective, references[row.instance_hash].value),
            gap_to=references[row.instance_hash].name,
        )
        for row in rows
    ]


def find_references(rows: Sequence[Row]) -> dict[str, Reference]:
    """What each instance (by its hash) is compared with.

    The published upper bound when there is one, else the best lower bound in ``rows`` when it is
    positive, else the best objective in ``rows``.
    """
    references = {}
    for instance_hash, same in _by_instance(rows).items():
        published = next((row for row in same if row.best_known_upper is not None), None)
        bound = max(row.lower_bound for row in same)
        if published is not None and published.best_known_upper is not None:
            name = f"best known UB {published.best_known_as_of}"
            references[instance_hash] = Reference(published.best_known_upper, name)
        elif bound > 0:
            references[instance_hash] = Reference(bound, "lower bound")
        else:
            best = min(row.objective for row in same)
            references[instance_hash] = Reference(best, "best in this run")
    return references


def find_contradictions(rows: Sequence[Row]) -> list[str]:
    """Sentences about bounds that a valid solution refutes: somebody's bound or data are wrong."""
    found = []
    for same in _by_instance(rows).values():
        best = min(same, key=lambda row: row.objective)
        claims = [(f"the lower bound of {row.solver}", row.lower_bound) for row in same]
        if best.best_known_lower is not None:
            claims.append(("the published lower bound", best.best_known_lower))
        claim, bound = max(claims, key=lambda pair: pair[1])
        if bound > best.objective:
            found.append(
                f"{best.instance}: {claim} is {figure(bound)}, yet {best.solver} has a valid "
                f"solution of {figure(best.objective)}"
            )
    return found


def figure(value: float) -> str:
    """A number to be read: all digits of an integer, six of another."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.6g}"


def gap_percent(objective: float, reference: float) -> float:
    """``100 (objective / reference - 1)``; NaN when the reference is not positive."""
    if objective == reference:
        return 0.0
    return 100 * (objective - reference) / reference if reference > 0 else float("nan")


def _by_instance(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.instance_hash, []).append(row)
    return groups


def _csv(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, tuple):  # improvements
        return " ".join(f"{seconds:.6g}:{_cell(objective)}" for seconds, objective in value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def _parse_cell(name: str, cell: str) -> Any:
    if name == "improvements":
        return tuple(_parse_improvement(text) for text in cell.split())
    if name not in NUMBER_FIELDS | INTEGER_FIELDS:
        return cell
    if cell == "" and name in OPTIONAL_FIELDS:
        return float("nan") if name == "gap_percent" else None
    return _parse_number(name, cell, int if name in INTEGER_FIELDS else float)


def _parse_improvement(text: str) -> tuple[float, float]:
    seconds, _, objective = text.partition(":")
    return _parse_number("improvements", seconds), _parse_number("improvements", objective)


def _parse_number(name: str, cell: str, kind: type[int] | type[float] = float) -> float:
    try:
        return kind(cell)
    except ValueError:
        raise ValueError(f"column {name}: found {cell!r}, expected a number") from None
