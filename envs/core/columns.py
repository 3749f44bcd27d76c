"""Solutions as columns of integers, their JSON form a list of rows, checked alike everywhere."""

import reprlib
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InvalidSolutionError

if TYPE_CHECKING:
    import pandas as pd

RowT = TypeVar("RowT", bound=tuple[int, ...])  # a NamedTuple of integers


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


class ColumnSchedule(Generic[RowT]):
    """A schedule as columns of equal length, in any order, whose objective is the makespan.

    A frozen dataclass derives from it (``eq=False``); its fields are the columns, in the order of
    the fields of its row, ``ends`` among them.

    Attributes:
        kind, version: mark the JSON form.
        row: what a row holds, a NamedTuple of integers.
        row_name: plural of what a row is, and the field of the JSON form that lists the rows.

    Raises:
        InvalidSolutionError: when a column is not a vector of integers or lengths differ.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    row: ClassVar[Any]
    row_name: ClassVar[str]

    def __post_init__(self) -> None:
        for name in self.columns():
            object.__setattr__(self, name, column(getattr(self, name), name))
        lengths = {name: len(getattr(self, name)) for name in self.columns()}
        if len(set(lengths.values())) > 1:
            raise malformed(f"columns: found the lengths {lengths}, expected equal")

    @classmethod
    def columns(cls) -> list[str]:
        """Names of the columns."""
        return [entry.name for entry in fields(cls)]  # type: ignore[arg-type]

    @classmethod
    def from_rows(cls, rows: list[RowT]) -> Self:
        """Build from rows, in any order."""
        return cls(*np.array(rows, dtype=np.int64).reshape(-1, len(cls.columns())).T)

    @property
    def makespan(self) -> int:
        """The last end, in time units; 0 for an empty schedule."""
        ends: NDArray[np.int64] = getattr(self, "ends")  # noqa: B009 - of the derived class
        return int(ends.max(initial=0))

    def objective(self, instance: Any) -> float:
        """The makespan; ``instance`` is not needed but part of the contract."""
        return float(self.makespan)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return sorted(self.rows()) == sorted(other.rows())

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.rows())))

    def rows(self) -> Iterator[RowT]:
        """The rows, in the order of the columns."""
        return map(self.row, *(getattr(self, name).tolist() for name in self.columns()))

    def to_frame(self) -> "pd.DataFrame":
        """One line per row, sorted."""
        import pandas as pd

        return pd.DataFrame(sorted(self.rows()), columns=list(self.row._fields))

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_dict` rebuilds the solution."""
        return {
            "kind": self.kind,
            "version": self.version,
            "makespan": self.makespan,
            self.row_name: [
                dict(zip(self.row._fields, row, strict=True)) for row in sorted(self.rows())
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a solution.

        Raises:
            InvalidSolutionError: naming the field at fault, whatever ``data`` is; also when the
                makespan it states is not that of its rows.
        """
        solution = cls.from_rows(read_rows(data, cls.kind, cls.version, cls.row_name, cls.row))
        if data.get("makespan") != solution.makespan:
            raise malformed(
                f"field 'makespan': found {reprlib.repr(data.get('makespan'))}, "
                f"but the {cls.row_name} end at {solution.makespan}"
            )
        return solution
