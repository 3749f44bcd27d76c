"""Offsets of all buffers and their validator, written from the definition alone.

Definition: every buffer lies at an offset of at least 0 that is a multiple of its alignment, and at
its fixed offset if it has one; of two buffers that are live at the same time one ends, in
addresses, before the other begins. Source: M. D. Moffitt, MiniMalloc, ASPLOS 2023.
"""

import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.columns import column
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.offsets.instance import MAX_VALUE, OffsetInstance


@dataclass(frozen=True, eq=False)
class OffsetSolution:
    """An offset for each buffer, in the order of the instance.

    A solution may be wrong; :meth:`validate` tells.

    Attributes:
        offsets: (buffers,) int64, in bytes.

    Raises:
        InvalidSolutionError: when that is not a vector of integers.
    """

    kind: ClassVar[str] = "offset-allocation-solution"
    version: ClassVar[int] = 1

    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", _column(self.offsets))

    def peak(self, instance: OffsetInstance) -> int:
        """Bytes of memory needed: the largest offset + size."""
        return int((self.offsets + instance.nbytes).max())

    def fits(self, instance: OffsetInstance) -> bool:
        """Whether the peak stays within the capacity; True for an instance without one."""
        return not instance.capacity or self.peak(instance) <= instance.capacity

    def objective(self, instance: OffsetInstance) -> float:
        """The peak; with a capacity, all that fits is equally good: the larger of the two."""
        return float(max(self.peak(instance), instance.capacity))

    def validate(self, instance: OffsetInstance) -> None:
        """Raise InvalidSolutionError listing every violated constraint with numbers.

        A peak above the capacity is no violation: see :meth:`fits`.
        """
        found, expected = len(self.offsets), len(instance.ids)
        if found != expected:
            raise InvalidSolutionError([f"found {found} offsets, expected {expected}"])
        violations = [*_wrong_by_themselves(instance, self.offsets)]
        violations += _overlapping(instance, self.offsets)
        if violations:
            raise InvalidSolutionError(violations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OffsetSolution):
            return NotImplemented
        return np.array_equal(self.offsets, other.offsets)

    def __hash__(self) -> int:
        return hash(self.offsets.tobytes())

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_dict` rebuilds the solution."""
        return {"kind": self.kind, "version": self.version, "offsets": self.offsets.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a solution; raises InvalidSolutionError naming the field at fault."""
        if not isinstance(data, dict):
            raise InvalidSolutionError([f"found {reprlib.repr(data)}, expected an object"])
        for field, expected in (("kind", cls.kind), ("version", cls.version)):
            if data.get(field) != expected:
                found = reprlib.repr(data.get(field))
                raise InvalidSolutionError(
                    [f"field '{field}': found {found}, expected {expected!r}"]
                )
        if not isinstance(data.get("offsets"), list):
            found = reprlib.repr(data.get("offsets"))
            raise InvalidSolutionError([f"field 'offsets': found {found}, expected a list"])
        return cls(column(data["offsets"], "offsets"))


def _wrong_by_themselves(instance: OffsetInstance, offsets: NDArray[np.int64]) -> Iterator[str]:
    """What is wrong with a buffer whatever the others do."""
    for label, offset, alignment, fixed in zip(
        instance.ids,
        offsets.tolist(),
        instance.alignment.tolist(),
        instance.offset.tolist(),
        strict=True,
    ):
        if offset < 0:
            yield f"buffer {label}: found offset {offset}, expected at least 0"
        if offset % alignment:
            yield f"buffer {label}: found offset {offset}, expected a multiple of {alignment}"
        if fixed >= 0 and offset != fixed:
            yield f"buffer {label}: found offset {offset}, expected the fixed offset {fixed}"


def _overlapping(instance: OffsetInstance, offsets: NDArray[np.int64]) -> Iterator[str]:
    """Pairs of buffers that are live at the same time and share a byte."""
    ends = offsets + instance.nbytes
    order = np.argsort(instance.lower, kind="stable")
    live = np.zeros(0, dtype=np.int64)  # those before that are live when a buffer begins
    for buffer in order.tolist():
        live = live[instance.upper[live] > instance.lower[buffer]]
        shared = (offsets[live] < ends[buffer]) & (offsets[buffer] < ends[live])
        for other in live[shared].tolist():
            yield (
                f"{_rectangle(instance, other, offsets)} and "
                f"{_rectangle(instance, buffer, offsets)} overlap"
            )
        live = np.append(live, buffer)


def _rectangle(instance: OffsetInstance, buffer: int, offsets: NDArray[np.int64]) -> str:
    offset = int(offsets[buffer])
    return (
        f"buffer {instance.ids[buffer]} (time {instance.lower[buffer]} to "
        f"{instance.upper[buffer]}, bytes {offset} to {offset + int(instance.nbytes[buffer])})"
    )


def _column(values: ArrayLike) -> NDArray[np.int64]:
    """A read-only int64 copy of ``values``; raises InvalidSolutionError."""
    try:
        array = np.asarray(values)
        fits = array.ndim == 1 and (not array.size or array.dtype.kind in "iu")
        fits = fits and (not array.size or int(array.min()) >= -MAX_VALUE)
        fits = fits and (not array.size or int(array.max()) <= 2 * MAX_VALUE)
    except (ValueError, TypeError, OverflowError):
        fits = False
    if not fits:
        raise InvalidSolutionError(
            [f"offsets: found {reprlib.repr(values)}, expected a vector of integers"]
        )
    column = array.astype(np.int64)
    column.flags.writeable = False
    return column
