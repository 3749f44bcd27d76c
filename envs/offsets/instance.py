"""The offset-allocation instance (dynamic storage allocation).

A buffer needs ``nbytes`` consecutive bytes of one memory from time ``lower`` until before time
``upper``. Offsets are to be chosen so that no two buffers that live at the same time share a byte;
the peak, the largest offset + nbytes, is to be small, or to stay within a capacity. Source of the
definition: M. D. Moffitt, MiniMalloc, ASPLOS 2023 (10.1145/3623278.3624752).
"""

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InstanceError
from makespan.envs.core.instance import Instance, integer

#: Largest address, total of sizes and time: kernels add a few of these in 64-bit integers.
MAX_VALUE = 2**50
#: Largest number of buffers.
MAX_BUFFERS = 2**20


class _Field(NamedTuple):
    name: str  # in files and messages
    low: int  # smallest value
    default: int | None  # when it is left out; None: it must be there


#: Columns of an instance, by the name of the attribute.
_FIELDS = {
    "lower": _Field("lower", 0, None),
    "upper": _Field("upper", 1, None),
    "nbytes": _Field("size", 1, None),
    "alignment": _Field("alignment", 1, 1),
    "offset": _Field("offset", 0, -1),
}


class Sizes(NamedTuple):
    """What an instance, or the largest of many, takes up."""

    buffers: int
    sections: int


@dataclass(frozen=True, eq=False)
class OffsetInstance(Instance):
    """Buffers with live ranges and sizes; some may have a fixed offset.

    Arrays of another integer type, and lists, are converted on construction.

    Attributes:
        ids: (buffers,) distinct labels.
        lower: (buffers,) int64, first time at which the buffer is live, at least 0.
        upper: (buffers,) int64, end of its life, exclusive.
        nbytes: (buffers,) int64, size in bytes, at least 1; ``size`` in files.
        alignment: (buffers,) int64, the offset must be a multiple of it; 1 for any offset.
        offset: (buffers,) int64, where the buffer must lie; -1 when that is to be chosen.
        capacity: bytes of the memory; 0 when only the peak counts.

    Raises:
        InstanceError: when any of this is violated; the message names the buffer.
    """

    kind: ClassVar[str] = "offset-allocation"

    ids: tuple[str, ...]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    alignment: NDArray[np.int64]
    offset: NDArray[np.int64]
    capacity: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InstanceError(f"name: found {reprlib.repr(self.name)}, expected text")
        object.__setattr__(self, "ids", tuple(map(str, self.ids)))
        capacity = integer(self.capacity, "capacity", 0, MAX_VALUE)
        object.__setattr__(self, "capacity", capacity)
        for attribute, field in _FIELDS.items():
            values = _integers(getattr(self, attribute), field.name)
            object.__setattr__(self, attribute, values)
        super().__post_init__()

    @classmethod
    def from_columns(
        cls,
        lower: ArrayLike,
        upper: ArrayLike,
        size: ArrayLike,
        *,
        alignment: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        ids: Iterable[str] | None = None,
        capacity: int = 0,
        name: str = "offsets",
    ) -> Self:
        """Build from columns; without ``ids`` the buffers are numbered from 0.

        Raises:
            InstanceError: naming the buffer at fault.
        """
        sizes = _integers(size, "size")
        count = len(sizes)
        return cls(
            name=name,
            ids=tuple(map(str, range(count))) if ids is None else tuple(ids),
            lower=_integers(lower, "lower"),
            upper=_integers(upper, "upper"),
            nbytes=sizes,
            alignment=_integers(
                np.ones(count, np.int64) if alignment is None else alignment, "alignment"
            ),
            offset=_integers(np.full(count, -1) if offset is None else offset, "offset"),
            capacity=capacity,
        )

    @property
    def num_buffers(self) -> int:
        """Number of buffers."""
        return len(self.nbytes)

    @cached_property
    def _sections(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """Start time of each section; first and one past the last section of each buffer."""
        lows, ups = np.unique(self.lower), np.unique(self.upper)
        ended = np.searchsorted(ups, lows, side="right")
        opens = np.append(True, np.diff(ended) > 0)
        section = np.cumsum(opens) - 1  # of each time in lows
        first = section[np.searchsorted(lows, self.lower)]
        last = section[np.searchsorted(lows, self.upper) - 1] + 1
        return lows[opens], first.astype(np.int32), last.astype(np.int32)

    @property
    def section_starts(self) -> NDArray[np.int64]:
        """(sections,) time at which each section starts.

        A section is a stretch of time in which buffers begin to live and none ends before all of
        them have begun: two buffers live at the same time if and only if they share a section, and
        the largest sets of buffers alive together are those of the sections.
        """
        return self._sections[0]

    @property
    def first_section(self) -> NDArray[np.int32]:
        """(buffers,) first section in which the buffer is live."""
        return self._sections[1]

    @property
    def last_section(self) -> NDArray[np.int32]:
        """(buffers,) one past the last section in which the buffer is live."""
        return self._sections[2]

    @cached_property
    def loads(self) -> NDArray[np.int64]:
        """(sections,) bytes alive together in each section."""
        steps = np.zeros(len(self.section_starts) + 1, dtype=np.int64)
        np.add.at(steps, self.first_section, self.nbytes)
        np.subtract.at(steps, self.last_section, self.nbytes)
        return np.cumsum(steps[:-1])

    @cached_property
    def identical_before(self) -> NDArray[np.int32]:
        """(buffers,) the nearest buffer before with the same life, size and alignment, else -1.

        Buffers with fixed offsets have none and are none.
        """
        keys = np.stack([self.lower, self.upper, self.nbytes, self.alignment])
        before = np.full(self.num_buffers, -1, dtype=np.int32)
        free = np.flatnonzero(self.offset < 0)
        order = free[np.lexsort(keys[:, free])]  # stable: equal ones stay in order
        same = (keys[:, order[1:]] == keys[:, order[:-1]]).all(axis=0)
        before[order[1:][same]] = order[:-1][same]
        return before

    @property
    def max_load(self) -> int:
        """Most bytes alive at the same time: no peak can be lower."""
        return int(self.loads.max())

    @property
    def sizes(self) -> Sizes:
        """Numbers of buffers and sections."""
        return Sizes(self.num_buffers, len(self.section_starts))

    @property
    def has_fixed(self) -> bool:
        """Whether some buffer has a fixed offset."""
        return bool((self.offset >= 0).any())

    def label(self, buffer: int) -> str:
        """``"buffer b7"`` for messages."""
        return f"buffer {self.ids[buffer]}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as a person would write it.

        ``{"kind": "offset-allocation", "version": 1, "name": ..., "capacity": 12, "buffers":
        [{"id": "b1", "lower": 0, "upper": 3, "size": 4}, ...]}``; a buffer may have an
        ``alignment`` and a fixed ``offset``.
        """
        columns = [getattr(self, attribute).tolist() for attribute in _FIELDS]
        buffers = [
            {"id": label}
            | {
                field.name: value
                for field, value in zip(_FIELDS.values(), values, strict=True)
                if value != field.default
            }
            for label, *values in zip(self.ids, *columns, strict=True)
        ]
        return {
            "kind": self.kind,
            "version": self.version,
            "name": self.name,
            "capacity": self.capacity,
            "buffers": buffers,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild an instance from :meth:`to_dict`'s form; name and capacity may be left out.

        Raises:
            InstanceError: naming the field and buffer at fault, whatever ``data`` is.
        """
        cls.check_header(data)
        _check_fields(data, "instance", {"buffers"}, {"kind", "version", "name", "capacity"})
        if not isinstance(data["buffers"], list):
            raise InstanceError(
                f"field 'buffers': found {reprlib.repr(data['buffers'])}, expected a list"
            )
        required = {field.name for field in _FIELDS.values() if field.default is None}
        columns: dict[str, list[int]] = {field: [] for field in _FIELDS}
        ids = []
        for index, buffer in enumerate(data["buffers"]):
            where = f"buffers[{index}]"
            if not isinstance(buffer, dict):
                raise InstanceError(f"{where}: found {reprlib.repr(buffer)}, expected an object")
            _check_fields(buffer, where, required, {"id", "alignment", "offset"})
            ids.append(_label(buffer.get("id", index), f"{where}: id"))
            for attribute, (field, low, default) in _FIELDS.items():
                value = default
                if field in buffer:
                    value = integer(buffer[field], f"{where}: {field}", low, MAX_VALUE)
                assert value is not None  # required fields are there
                columns[attribute].append(value)
        capacity = data.get("capacity", 0)
        return cls(data.get("name", cls.kind), tuple(ids), **columns, capacity=capacity)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raise InstanceError naming the buffer at fault."""
        count = self.num_buffers
        if not 1 <= count <= MAX_BUFFERS:
            raise InstanceError(f"buffers: found {count}, expected 1 to {MAX_BUFFERS}")
        for attribute in ("ids", *_FIELDS):
            found = len(getattr(self, attribute))
            if found != count:
                raise InstanceError(f"{attribute}: found {found}, expected {count}, one per buffer")
        if len(set(self.ids)) < count:
            seen: set[str] = set()
            again = next(label for label in self.ids if label in seen or seen.add(label))  # type: ignore[func-returns-value]
            raise InstanceError(f"buffer {again}: found twice, expected distinct ids")
        for attribute, (_, low, default) in _FIELDS.items():
            values = getattr(self, attribute)
            wrong = ((values < low) & (values != default)) | (values > MAX_VALUE)
            if wrong.any():
                self._complain(attribute, wrong, f"{low} to {MAX_VALUE}")
        reversed_range = self.lower >= self.upper
        if reversed_range.any():
            where = int(reversed_range.argmax())
            raise InstanceError(
                f"{self.label(where)}: found the live range {self.lower[where]} to "
                f"{self.upper[where]}, expected lower < upper"
            )
        reach = int(self.nbytes.astype(object).sum() + self.alignment.astype(object).sum())
        if reach > MAX_VALUE:
            raise InstanceError(
                f"size: sizes and alignments sum to {reach}, expected at most {MAX_VALUE}"
            )
        if self.capacity:
            too_large = self.nbytes > self.capacity
            if too_large.any():
                self._complain("nbytes", too_large, f"at most the capacity, {self.capacity}")
        if self.has_fixed:
            self._check_fixed()
        if (self.offset >= 0).all():
            raise InstanceError("offset: found every offset fixed, expected one to choose")

    def _complain(self, attribute: str, wrong: NDArray[np.bool_], expected: str) -> None:
        where = int(wrong.argmax())
        name, found = _FIELDS[attribute].name, getattr(self, attribute)[where]
        raise InstanceError(f"{self.label(where)}: {name}: found {found}, expected {expected}")

    def _check_fixed(self) -> None:
        """Fixed offsets must be aligned, within the capacity, and apart from each other."""
        is_fixed = self.offset >= 0
        wrong = is_fixed & (self.offset % self.alignment != 0)
        if wrong.any():
            where = int(wrong.argmax())
            self._complain("offset", wrong, f"a multiple of {self.alignment[where]}")
        if self.capacity:
            outside = is_fixed & (self.offset + self.nbytes > self.capacity)
            if outside.any():
                self._complain("offset", outside, f"its end within the capacity, {self.capacity}")
        fixed = np.flatnonzero(is_fixed)
        for position, one in enumerate(fixed[:-1]):
            others = fixed[position + 1 :]
            clash = (
                (self.lower[one] < self.upper[others])
                & (self.lower[others] < self.upper[one])
                & (self.offset[one] < self.offset[others] + self.nbytes[others])
                & (self.offset[others] < self.offset[one] + self.nbytes[one])
            )
            if clash.any():
                other = int(others[clash.argmax()])
                raise InstanceError(
                    f"{self.label(one)} and {self.label(other)}: found overlapping fixed offsets "
                    f"{self.offset[one]} and {self.offset[other]}, expected them apart"
                )


def _label(value: Any, what: str) -> str:
    """A text or number as a label; raises InstanceError."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise InstanceError(f"{what}: found {reprlib.repr(value)}, expected text or an integer")
    return str(value)


def _integers(values: ArrayLike, field: str) -> NDArray[np.int64]:
    """``values`` as a vector of int64; raises InstanceError when that would change a value."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError):
        array = np.asarray("")
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InstanceError(f"{field}: found {reprlib.repr(values)}, expected a vector of integers")
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InstanceError(f"{field}: found {array.max()}, expected at most {MAX_VALUE}")
    return array.astype(np.int64)


def _check_fields(
    data: dict[Any, Any], where: str, required: Iterable[str], optional: Iterable[str]
) -> None:
    """Raise InstanceError for a field that is missing or unknown."""
    missing = sorted(set(required) - set(data))
    if missing:
        raise InstanceError(f"{where}: missing {', '.join(map(repr, missing))}")
    known: Sequence[str] = sorted({*required, *optional})
    unknown = sorted(map(reprlib.repr, set(data) - set(known)))
    if unknown:
        raise InstanceError(
            f"{where}: found unknown field(s) {', '.join(unknown)}, expected only "
            f"{', '.join(map(repr, known))}"
        )
