"""File formats of offset allocation: read with precise errors, write, and solutions.

- ``csv`` (minimalloc): a header line that names the columns, then one line per buffer. Columns, in
  any order: ``id`` (also ``buffer``, ``buffer_id``), ``lower`` (also ``begin``, ``start``),
  ``upper``, or ``end`` for the last time of a buffer's life instead of the time after it, ``size``;
  optional ``alignment``, ``offset`` (fixed, empty for one to be chosen), ``hint`` (not used), and
  ``gaps``, which must be empty: buffers with gaps in their life are not supported. Source:
  google/minimalloc, src/converter.cc.
- ``json``: see :meth:`OffsetInstance.to_dict`; the only one that holds a capacity.
"""

import csv
import json
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import InstanceError, InvalidSolutionError, UnknownNameError
from makespan.envs.core.files import (
    parse_json,
    read_json_solution,
    read_text,
    write_all,
    write_atomically,
)
from makespan.envs.offsets.instance import MAX_VALUE, OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution

INTEGER = re.compile(r"[+-]?[0-9]{1,18}")  # more digits are out of every range

#: Other names of columns; "end" is read apart, since it includes the last time.
ALIASES = MappingProxyType({"buffer": "id", "buffer_id": "id", "begin": "lower", "start": "lower"})
REQUIRED = ("id", "lower", "upper", "size")
OPTIONAL = ("alignment", "offset", "hint", "gaps")


def read_instance(
    path: str | Path, format: str | None = None, capacity: int | None = None
) -> OffsetInstance:
    """Read an instance file; its name is the file's unless the file (JSON) holds one.

    Args:
        path: of the file.
        format: a key of ``FORMATS``; None to choose by what stands in the file.
        capacity: of the memory; None for what the file says (CSV: none).

    Raises:
        InstanceError: naming the file, the line, what was found and what was expected.
        UnknownNameError: for an unknown format.
    """
    path = Path(path)
    text = read_text(path, InstanceError)
    chosen = format or ("json" if text.lstrip().startswith("{") else "csv")
    try:
        instance = _lookup(chosen).parse(text, path.stem)
        return instance if capacity is None else replace(instance, capacity=capacity)
    except InstanceError as error:
        raise InstanceError(f"{path}: {error}") from None


def write_instance(instance: OffsetInstance, path: str | Path, format: str | None = None) -> None:
    """Write an instance file, whole or not at all; JSON for the suffix ``.json``, else CSV.

    Raises:
        InstanceError: when the format cannot express the instance.
        UnknownNameError: for an unknown format.
        UsageError: when the file cannot be written.
    """
    path = Path(path)
    chosen = format or ("json" if path.suffix.lower() == ".json" else "csv")
    write_atomically(path, _lookup(chosen).write(instance))


def write_solution(instance: OffsetInstance, solution: OffsetSolution, stem: Path) -> list[Path]:
    """Write offsets as JSON and as minimalloc's CSV, each whole or not at all.

    Args:
        instance: that was solved.
        solution: checked first.
        stem: folder and name of the files, to which ``.json`` and ``.csv`` are added.

    Returns:
        The two files.

    Raises:
        InvalidSolutionError: when the solution violates a constraint.
        UsageError: when a file cannot be written.
    """
    solution.validate(instance)
    peak = solution.peak(instance)
    data = {"instance": instance.name, "peak": peak, **solution.to_dict()}
    contents = {
        "json": json.dumps(data, indent=1) + "\n",
        "csv": _table(instance, solution.offsets),
    }
    return write_all(stem, contents)


def read_solution(path: str | Path, instance: OffsetInstance) -> OffsetSolution:
    """Read the JSON or CSV file of a solution of ``instance``; buffers are matched by their ids.

    Raises:
        InvalidSolutionError: naming the file and what is wrong with it; the offsets themselves are
            not checked.
    """
    path = Path(path)

    def broken(message: str) -> InvalidSolutionError:
        return InvalidSolutionError([f"{path}: {message}"])

    text = read_text(path, lambda message: InvalidSolutionError([message]))
    if text.lstrip().startswith("{"):
        return read_json_solution(path, OffsetSolution.from_dict)
    try:
        rows = _by_id(_rows(text, ("id", "offset")))
        offsets = {label: row.integer("offset", 0) for label, row in rows.items()}
    except InstanceError as error:
        raise broken(str(error)) from None
    known = set(instance.ids)
    missing = [label for label in instance.ids if label not in offsets]
    if missing:
        raise broken(f"found no buffer {missing[0]}, expected every buffer of {instance.name}")
    unknown = [label for label in offsets if label not in known]
    if unknown:
        raise broken(f"found the buffer {unknown[0]}, expected only those of {instance.name}")
    return OffsetSolution(np.array([offsets[label] for label in instance.ids], dtype=np.int64))


@dataclass(frozen=True)
class Format:
    """How to read and write one format.

    Attributes:
        parse: ``parse(text, name)``; raises InstanceError.
        write: the instance as text; raises InstanceError when that cannot be.
    """

    parse: Callable[[str, str], OffsetInstance]
    write: Callable[[OffsetInstance], str]


def _lookup(name: str) -> Format:
    if name not in FORMATS:
        raise UnknownNameError("instance format", name, FORMATS)
    return FORMATS[name]


class _Row(dict[str, str]):
    """The words of a line by their column."""

    line: int

    def integer(self, column: str, low: int) -> int:
        """The word of a column as an integer of at least ``low``."""
        word = self[column].strip()
        if not INTEGER.fullmatch(word) or not low <= int(word) <= MAX_VALUE:
            raise InstanceError(
                f"line {self.line}: {column}: found {reprlib.repr(word)}, expected an integer "
                f"from {low} to {MAX_VALUE}"
            )
        return int(word)


def _rows(text: str, required: Sequence[str]) -> list[_Row]:
    """The lines of a table by column; raises InstanceError naming the line."""
    # comments go first: in quotes, a value may begin with the same sign
    reader = csv.reader("" if line.startswith("#") else line for line in text.splitlines())
    header: list[str] | None = None
    rows = []
    try:
        for words in reader:
            if not words:
                continue
            if header is None:
                header = _header(words, required, reader.line_num)
                continue
            if len(words) != len(header):
                raise InstanceError(
                    f"line {reader.line_num}: found {len(words)} values, expected {len(header)}: "
                    f"{','.join(header)}"
                )
            row = _Row(zip(header, words, strict=True))
            row.line = reader.line_num
            rows.append(row)
    except csv.Error as error:
        raise InstanceError(f"line {reader.line_num}: not CSV: {error}") from None
    if header is None:
        raise InstanceError("found nothing, expected a header line: " + ",".join(required))
    return rows


def _by_id(rows: list[_Row]) -> dict[str, _Row]:
    """The rows by their id, blanks around it left out; raises InstanceError for one twice."""
    found: dict[str, _Row] = {}
    for row in rows:
        label = row["id"].strip()
        if label in found:
            raise InstanceError(
                f"line {row.line}: found the id {label!r} of line {found[label].line} again, "
                "expected distinct ids"
            )
        found[label] = row
    return found


def _header(words: list[str], required: Sequence[str], line: int) -> list[str]:
    """Names of the columns, as we call them."""
    names = [ALIASES.get(word.strip().lower(), word.strip().lower()) for word in words]
    upper = {"upper" if name == "end" else name for name in names}
    missing = [name for name in required if name not in upper]
    if missing:
        raise InstanceError(
            f"line {line}: found the columns {reprlib.repr(','.join(words))}, without "
            f"{', '.join(missing)}, expected {','.join(required)}"
        )
    unknown = sorted(upper - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise InstanceError(
            f"line {line}: found the unknown column {reprlib.repr(unknown[0])}, expected some of "
            f"{','.join((*REQUIRED, *OPTIONAL))}"
        )
    if len(upper) < len(names):
        raise InstanceError(f"line {line}: found a column twice, expected every column once")
    return names


def _parse_csv(text: str, name: str) -> OffsetInstance:
    rows = _by_id(_rows(text, REQUIRED))
    columns: dict[str, list[int]] = {
        column: [] for column in ("lower", "upper", "size", "alignment", "offset")
    }
    for row in rows.values():
        columns["lower"].append(row.integer("lower", 0))
        upper = row.integer("end", 0) + 1 if "end" in row else row.integer("upper", 0)
        if upper <= columns["lower"][-1]:
            raise InstanceError(
                f"line {row.line}: found the live range {columns['lower'][-1]} to {upper}, "
                "expected lower < upper"
            )
        columns["upper"].append(upper)
        columns["size"].append(row.integer("size", 1))
        columns["alignment"].append(row.integer("alignment", 1) if "alignment" in row else 1)
        is_fixed = row.get("offset", "").strip() != ""
        columns["offset"].append(row.integer("offset", 0) if is_fixed else -1)
        if row.get("gaps", "").strip():
            raise InstanceError(
                f"line {row.line}: gaps: found {reprlib.repr(row['gaps'])}, expected nothing: "
                "buffers with gaps in their life are not supported"
            )
    return OffsetInstance.from_columns(
        columns["lower"],
        columns["upper"],
        columns["size"],
        alignment=columns["alignment"],
        offset=columns["offset"],
        ids=rows,
        name=name,
    )


def _write_csv(instance: OffsetInstance) -> str:
    if instance.capacity:
        raise InstanceError(
            f"{instance.name}: found a capacity, which the csv format cannot hold; use json"
        )
    return _table(instance, instance.offset)


def _table(instance: OffsetInstance, offsets: NDArray[np.int64]) -> str:
    """The columns of minimalloc, those without meaning for this instance left out."""
    columns: dict[str, list[Any]] = {
        "lower": instance.lower.tolist(),
        "upper": instance.upper.tolist(),
        "size": instance.nbytes.tolist(),
    }
    if (instance.alignment > 1).any():
        columns["alignment"] = instance.alignment.tolist()
    if (offsets >= 0).any():
        columns["offset"] = [offset if offset >= 0 else "" for offset in offsets.tolist()]
    header = ",".join(["id", *columns])
    lines = [
        ",".join([_quoted(label), *map(str, values)])
        for label, *values in zip(instance.ids, *columns.values(), strict=True)
    ]
    return "\n".join([header, *lines]) + "\n"


def _quoted(label: str) -> str:
    """A label as CSV holds it."""
    if re.search(r'[",\r\n]', label) or label.startswith("#"):
        return '"' + label.replace('"', '""') + '"'
    return label


def _parse_json(text: str, name: str) -> OffsetInstance:
    data = parse_json(text, InstanceError)
    if isinstance(data, dict):
        data = {"name": name, **data}
    return OffsetInstance.from_dict(data)


def _write_json(instance: OffsetInstance) -> str:
    return instance.to_json() + "\n"


#: Every format by its name.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {"csv": Format(_parse_csv, _write_csv), "json": Format(_parse_json, _write_json)}
)
