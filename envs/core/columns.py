"""Solutions as columns of integers, their JSON form a list of rows, checked alike everywhere."""

import reprlib
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InvalidSolutionError

RowT = TypeVar("RowT")  # a NamedTuple of integers


def malformed(sentence: str) -> InvalidSolutionError:
    """The error of a solution that cannot even be read."""
    return InvalidSolutionError([sentence])


def column(values: ArrayLike, name: str) -> NDArray[np.int64]:
    """A read-only int64 copy of ``values``; raises InvalidSolutionError."""
    try:
        array = np.asarray(values)
        fits = array.ndim == 1 and (not array.size or array.dtype.kind in "iu")
    except (ValueError, TypeError, OverflowError):
        fits = False
    if not fits or (array.dtype.kind == "u" and array.max(initial=0) > np.iinfo(np.int64).max):
        raise malformed(
            f"column {name}: found {reprlib.repr(values)}, expected a vector of 64-bit integers"
        )
    copy = array.astype(np.int64)
    copy.flags.writeable = False
    return copy


def read_rows(data: Any, kind: str, version: int, field: str, row: type[RowT]) -> list[RowT]:
    """The rows in ``data[field]`` of the JSON form of a solution.

    Args:
        data: whatever was read.
        kind, version: what it must be marked with.
        field: of the list of rows.
        row: what a row holds, all integers.

    Raises:
        InvalidSolutionError: naming the field at fault.
    """
    if not isinstance(data, dict):
        raise malformed(f"found {reprlib.repr(data)}, expected an object")
    for key, expected in (("kind", kind), ("version", version)):
        if data.get(key) != expected:
            found = reprlib.repr(data.get(key))
            raise malformed(f"field '{key}': found {found}, expected {expected!r}")
    entries = data.get(field)
    if not isinstance(entries, list):
        raise malformed(f"field '{field}': found {reprlib.repr(entries)}, expected a list")
    return [_row(entry, f"{field}[{index}]", row) for index, entry in enumerate(entries)]


def _row(entry: Any, where: str, row: type[RowT]) -> RowT:
    names: tuple[str, ...] = row._fields  # type: ignore[attr-defined]
    if not isinstance(entry, dict) or set(entry) != set(names):
        raise malformed(
            f"{where}: found {reprlib.repr(entry)}, expected an object with {', '.join(names)}"
        )
    for name, value in entry.items():
        if type(value) is not int or abs(value) >= 2**62:
            raise malformed(f"{where}: {name}: found {reprlib.repr(value)}, expected an integer")
    return row(**entry)
