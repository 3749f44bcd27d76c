"""The memory-mapping instance: a program, two memories, and how fast everything is.

A program is a fixed sequence of instructions that read and write buffers. A buffer lives in slow
memory (large) or in fast memory (small), where it occupies one contiguous piece. An instruction
takes as long as its arithmetic or its memory traffic, whichever is longer. Copies from slow to fast
memory run beside the program.

The game on it is in the spirit of mallocGame (Wang et al., Optimizing memory mapping using deep
reinforcement learning, arXiv 2305.07440, 2023), whose code and data are not public; the exact rules
are ours and stand in :mod:`makespan.envs.memory.kernel`.

Tensors that must share memory (a view and its base, a cache and its update) are one buffer, whose
accesses are those of all of them; the JSON form joins them by ``"alias"``.
"""

import math
import reprlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InstanceError, UnknownNameError
from makespan.envs.core.instance import Instance, integer

#: How the time that copies take is checked, see :mod:`makespan.envs.memory.kernel`.
COPY_MODELS = ("static", "dynamic")
#: Largest total of times (time units) and of bytes: whole numbers that a float64 holds exactly.
MAX_TOTAL = 2**53
BANDWIDTHS = ("slow", "fast_read", "fast_write", "copy")


class Sizes(NamedTuple):
    """What an instance, or the largest of many, takes up."""

    instructions: int
    buffers: int
    accesses: int


@dataclass(frozen=True, eq=False)
class Trace(Instance):
    """Who reads and writes what, in which order; the part that knows no hardware.

    Accesses are numbered instruction by instruction, within one reads before writes. An instruction
    reads a buffer at most once and writes it at most once. A buffer whose first access is a read is
    an input: it is in slow memory when the program starts.

    Attributes:
        sizes: (buffers,) int64, bytes.
        outputs: (buffers,) bool; an output has to be in slow memory when the program ends.
        access_offsets: (instructions + 1,) int32; instruction t has the accesses
            ``access_offsets[t]:access_offsets[t + 1]``; it may have none.
        buffers: (accesses,) int32, buffer of each access.
        writes: (accesses,) bool; a write replaces the whole content.
        access_bytes: (accesses,) int64, bytes moved, at most those of the buffer.
        instruction_names, buffer_names: labels; empty for numbers.

    Raises:
        InstanceError: when any of this is violated; the message names instruction and buffer.
    """

    sizes: NDArray[np.int64]
    outputs: NDArray[np.bool_]
    access_offsets: NDArray[np.int32]
    buffers: NDArray[np.int32]
    writes: NDArray[np.bool_]
    access_bytes: NDArray[np.int64]
    instruction_names: tuple[str, ...] = field(default=(), kw_only=True)
    buffer_names: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InstanceError(f"name: found {reprlib.repr(self.name)}, expected text")
        for name, dtype in (
            ("sizes", np.int64),
            ("outputs", np.bool_),
            ("access_offsets", np.int32),
            ("buffers", np.int32),
            ("writes", np.bool_),
            ("access_bytes", np.int64),
        ):
            object.__setattr__(self, name, vector(getattr(self, name), name, dtype))
        super().__post_init__()

    @property
    def num_instructions(self) -> int:
        """Number of instructions."""
        return len(self.access_offsets) - 1

    @property
    def num_buffers(self) -> int:
        """Number of buffers."""
        return len(self.sizes)

    @property
    def num_accesses(self) -> int:
        """Number of accesses, and so of decisions."""
        return len(self.buffers)

    @property
    def extent(self) -> Sizes:
        """Instructions, buffers and accesses."""
        return Sizes(self.num_instructions, self.num_buffers, self.num_accesses)

    @property
    def size(self) -> str:
        """``"<= 256 accesses"``: powers of two, for groups in tables."""
        return f"<= {2 ** max(0, (self.num_accesses - 1).bit_length())} accesses"

    @cached_property
    def instructions(self) -> NDArray[np.int32]:
        """(accesses,) instruction of each access."""
        times = np.arange(self.num_instructions, dtype=np.int32)
        return _read_only(np.repeat(times, np.diff(self.access_offsets)))

    @cached_property
    def previous(self) -> NDArray[np.int32]:
        """(accesses,) the access of the same buffer before each, -1 for none."""
        order = np.argsort(self.buffers, kind="stable")
        links = np.full(self.num_accesses, -1, dtype=np.int32)
        same = self.buffers[order[1:]] == self.buffers[order[:-1]]
        links[order[1:][same]] = order[:-1][same]
        return _read_only(links)

    @cached_property
    def next(self) -> NDArray[np.int32]:
        """(accesses,) the access of the same buffer after each, -1 for none."""
        links = np.full(self.num_accesses, -1, dtype=np.int32)
        has = np.flatnonzero(self.previous >= 0)
        links[self.previous[has]] = has
        return _read_only(links)

    @cached_property
    def max_load(self) -> int:
        """Fast memory that holds every buffer from its first access to its last, in bytes."""
        change = np.zeros(self.num_instructions + 1, dtype=np.int64)
        np.add.at(change, self.instructions[self.previous < 0], self.sizes[self.first_used])
        last = self.next < 0
        np.add.at(change, self.instructions[last] + 1, -self.sizes[self.buffers[last]])
        return int(np.cumsum(change).max(initial=0))

    @cached_property
    def first_used(self) -> NDArray[np.int32]:
        """(used buffers,) buffers in the order of their first access."""
        return _read_only(self.buffers[self.previous < 0])

    def instruction_label(self, instruction: int) -> str:
        """``"instruction 3 (conv)"`` for messages."""
        name = f" ({self.instruction_names[instruction]})" if self.instruction_names else ""
        return f"instruction {instruction}{name}"

    def buffer_label(self, buffer: int) -> str:
        """``"buffer 2 (weight)"`` for messages."""
        name = f" ({self.buffer_names[buffer]})" if self.buffer_names else ""
        return f"buffer {buffer}{name}"

    def access_label(self, access: int) -> str:
        """``"instruction 3 (conv), read of buffer 2 (weight)"`` for messages."""
        kind = "write" if self.writes[access] else "read"
        instruction = self.instruction_label(int(self.instructions[access]))
        return f"{instruction}, {kind} of {self.buffer_label(int(self.buffers[access]))}"

    def check(self) -> None:
        """Raise InstanceError naming the field, instruction and buffer at fault."""
        offsets, accesses = self.access_offsets, self.num_accesses
        if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != accesses:
            raise InstanceError(
                f"access_offsets: found {reprlib.repr(offsets.tolist())}, expected at least one "
                f"instruction, and to start at 0 and end at {accesses}"
            )
        if not accesses:
            raise InstanceError("buffers: found no access, expected at least 1")
        if (np.diff(offsets) < 0).any():
            where = int((np.diff(offsets) < 0).argmax())
            raise InstanceError(
                f"access_offsets: found {offsets[where]} followed by {offsets[where + 1]} at index "
                f"{where}, expected numbers that do not fall"
            )
        for name, count, what in (
            ("outputs", self.num_buffers, "one per buffer"),
            ("writes", accesses, "one per access"),
            ("access_bytes", accesses, "one per access"),
        ):
            if len(getattr(self, name)) != count:
                found = len(getattr(self, name))
                raise InstanceError(f"{name}: found {found}, expected {count} ({what})")
        for name, count in (
            ("instruction_names", self.num_instructions),
            ("buffer_names", self.num_buffers),
        ):
            if len(getattr(self, name)) not in (0, count):
                found = len(getattr(self, name))
                raise InstanceError(f"{name}: found {found}, expected {count} or none")
        self._check_buffers()
        self._check_order()

    def _check_buffers(self) -> None:
        total = sum(self.sizes.tolist())  # exact: 64 bits may not hold it
        if not self.num_buffers or self.sizes.min() < 1 or total > MAX_TOTAL:
            if self.num_buffers and self.sizes.min() < 1:
                where = int(self.sizes.argmin())
                raise InstanceError(
                    f"{self.buffer_label(where)}: size: found {self.sizes[where]}, "
                    "expected at least 1 byte"
                )
            raise InstanceError(
                f"sizes: found {self.num_buffers} buffers of {total} bytes, expected at "
                f"least 1 and no more than {MAX_TOTAL} bytes"
            )
        if self.buffers.min() < 0 or self.buffers.max() >= self.num_buffers:
            wrong = (self.buffers < 0) | (self.buffers >= self.num_buffers)
            access = int(wrong.argmax())
            raise InstanceError(
                f"{self.instruction_label(int(self.instructions[access]))}: found buffer "
                f"{self.buffers[access]}, expected 0 to {self.num_buffers - 1}"
            )
        largest = self.sizes[self.buffers]
        wrong = (self.access_bytes < 0) | (self.access_bytes > largest)
        if wrong.any():
            access = int(wrong.argmax())
            raise InstanceError(
                f"{self.access_label(access)}: found {self.access_bytes[access]} bytes, "
                f"expected 0 to {largest[access]}, the size of the buffer"
            )

    def _check_order(self) -> None:
        """Reads before writes within an instruction, and each buffer once in each."""
        same = self.instructions[1:] == self.instructions[:-1]
        wrong = np.append(False, same & self.writes[:-1] & ~self.writes[1:])
        if wrong.any():
            access = int(wrong.argmax())
            raise InstanceError(
                f"{self.access_label(access)}: follows a write of the same instruction, "
                "expected reads before writes"
            )
        key = (self.instructions.astype(np.int64) * 2 + self.writes) * self.num_buffers
        order = np.argsort(key + self.buffers, kind="stable")
        keys = (key + self.buffers)[order]
        if (keys[1:] == keys[:-1]).any():
            access = int(order[1:][keys[1:] == keys[:-1]][0])
            raise InstanceError(f"{self.access_label(access)}: found twice, expected once")


@dataclass(frozen=True, eq=False)
class MemoryInstance(Trace):
    """A trace on hardware with two memories. Times are integers in the instance's own unit.

    A transfer of b bytes at bandwidth w takes ``ceil(b / w)``.

    Attributes:
        compute: (instructions,) int64, time of the arithmetic.
        capacity: bytes of fast memory.
        alignment: every offset in fast memory is a multiple of it, and pieces are rounded up to it.
        slow_bandwidth: bytes per time unit, of reading and writing slow memory; also of moving a
            buffer back to it (an eviction).
        fast_read_bandwidth, fast_write_bandwidth: of fast memory, at least the slow one; may be
            infinite.
        copy_bandwidth: of copies from slow to fast memory that run beside the program.
        copy_model: ``"static"`` or ``"dynamic"``, see :mod:`makespan.envs.memory.kernel`.
    """

    kind: ClassVar[str] = "memory-mapping"

    compute: NDArray[np.int64]
    capacity: int
    slow_bandwidth: float
    fast_read_bandwidth: float = math.inf
    fast_write_bandwidth: float = math.inf
    copy_bandwidth: float = math.inf
    alignment: int = 1
    copy_model: str = "static"

    def __post_init__(self) -> None:
        object.__setattr__(self, "compute", vector(self.compute, "compute", np.int64))
        for name, low in (("capacity", 0), ("alignment", 1)):
            value = integer(getattr(self, name), name, low, MAX_TOTAL)
            object.__setattr__(self, name, value)
        for name in BANDWIDTHS:
            full = f"{name}_bandwidth"
            object.__setattr__(self, full, _bandwidth(getattr(self, full), full))
        if self.copy_model not in COPY_MODELS:
            raise UnknownNameError("copy model", str(self.copy_model), COPY_MODELS)
        super().__post_init__()

    def check(self) -> None:
        """Raise InstanceError naming what is at fault."""
        super().check()
        if len(self.compute) != self.num_instructions:
            raise InstanceError(
                f"compute: found {len(self.compute)}, expected {self.num_instructions} "
                "(one per instruction)"
            )
        if self.compute.min() < 0:
            where = int(self.compute.argmin())
            raise InstanceError(
                f"{self.instruction_label(where)}: compute: found {self.compute[where]}, "
                "expected at least 0"
            )
        for name in ("fast_read", "fast_write"):
            if getattr(self, f"{name}_bandwidth") < self.slow_bandwidth:
                raise InstanceError(
                    f"{name}_bandwidth: found {getattr(self, f'{name}_bandwidth')}, expected at "
                    f"least that of slow memory, {self.slow_bandwidth}"
                )
        total = self._longest()
        if total > MAX_TOTAL / 4:
            raise InstanceError(
                f"times: found a total of {total:.3g}, expected at most {MAX_TOTAL // 4}; "
                "use a coarser time unit"
            )

    def _longest(self) -> float:
        """More time than any plan takes; in floating point, since 64 bits may not hold it."""
        sizes = self.sizes.astype(np.float64)
        moved = float(sizes.sum() + sizes[self.buffers].sum())  # copied and evicted at each access
        served = float(self.access_bytes.sum(dtype=np.float64))
        compute = float(np.maximum(self.compute, 1).sum(dtype=np.float64))
        return compute + (served + moved) / self.slow_bandwidth + moved / self.copy_bandwidth

    @cached_property
    def slow_times(self) -> NDArray[np.int64]:
        """(accesses,) time of each when it is served from slow memory."""
        return _read_only(transfer_time(self.access_bytes, self.slow_bandwidth))

    @cached_property
    def fast_times(self) -> NDArray[np.int64]:
        """(accesses,) time of each when it is served from fast memory."""
        reads = transfer_time(self.access_bytes, self.fast_read_bandwidth)
        writes = transfer_time(self.access_bytes, self.fast_write_bandwidth)
        return _read_only(np.where(self.writes, writes, reads))

    @cached_property
    def copy_times(self) -> NDArray[np.int64]:
        """(buffers,) time that a copy into fast memory needs."""
        return _read_only(transfer_time(self.sizes, self.copy_bandwidth))

    @cached_property
    def evict_times(self) -> NDArray[np.int64]:
        """(buffers,) time the program stands still while the buffer moves back to slow memory."""
        return _read_only(transfer_time(self.sizes, self.slow_bandwidth))

    @cached_property
    def pieces(self) -> NDArray[np.int64]:
        """(buffers,) bytes of fast memory that each takes up: its size, rounded up."""
        return _read_only(-(-self.sizes // self.alignment) * self.alignment)

    def latencies(self, fast: ArrayLike) -> NDArray[np.int64]:
        """(instructions,) time of each when the accesses marked in ``fast`` are served so."""
        times = np.where(np.asarray(fast, dtype=np.bool_), self.fast_times, self.slow_times)
        traffic = np.zeros(self.num_instructions, dtype=np.int64)
        np.add.at(traffic, self.instructions, times)
        return np.maximum(self.compute, traffic)

    @cached_property
    def slow_latencies(self) -> NDArray[np.int64]:
        """(instructions,) time of each with everything in slow memory."""
        return _read_only(self.latencies(np.zeros(self.num_accesses, dtype=np.bool_)))

    @property
    def all_slow(self) -> int:
        """Latency of the program with everything in slow memory."""
        return int(self.slow_latencies.sum())

    @property
    def all_fast(self) -> int:
        """Latency with everything in fast memory: a lower bound."""
        return int(self.latencies(np.ones(self.num_accesses, dtype=np.bool_)).sum())

    def to_dict(self) -> dict[str, Any]:
        """Nested plain data, as a person would write it; see ``docs/memory.md``."""
        names = _unique_names(self)
        instructions = []
        for t in range(self.num_instructions):
            entry: dict[str, Any] = {"compute": int(self.compute[t]), "reads": [], "writes": []}
            if self.instruction_names:
                entry = {"name": self.instruction_names[t], **entry}
            for i in range(*self.access_offsets[t : t + 2].tolist()):
                buffer, count = int(self.buffers[i]), int(self.access_bytes[i])
                whole = count == self.sizes[buffer]
                item = names[buffer] if whole else {"tensor": names[buffer], "bytes": count}
                entry["writes" if self.writes[i] else "reads"].append(item)
            instructions.append(entry)
        return {
            "kind": self.kind,
            "version": self.version,
            "name": self.name,
            "capacity": self.capacity,
            "alignment": self.alignment,
            "bandwidth": {
                name: None if math.isinf(value) else value
                for name in BANDWIDTHS
                for value in [getattr(self, f"{name}_bandwidth")]
            },
            "copy_model": self.copy_model,
            "tensors": [
                {"name": names[k], "size": int(self.sizes[k]), "output": bool(self.outputs[k])}
                for k in range(self.num_buffers)
            ],
            "instructions": instructions,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild an instance from :meth:`to_dict`'s form.

        Tensors with the same ``"alias"`` share one buffer. ``"alignment"``, ``"copy_model"``,
        ``"name"``, and of a tensor ``"alias"``, ``"output"`` and ``"input"`` may be left out.

        Raises:
            InstanceError: naming the field, instruction and tensor at fault, whatever ``data`` is.
        """
        cls.check_header(data)
        required = {"capacity", "bandwidth", "tensors", "instructions"}
        known = {"kind", "version", "name", "alignment", "copy_model"}
        _check_fields(data, "instance", required, known)
        bandwidth = _object(data["bandwidth"], "field 'bandwidth'", {"slow"}, set(BANDWIDTHS))
        tensors = _Tensors(data["tensors"])
        instructions = _list(data["instructions"], "field 'instructions'")
        compute, names, columns = [], [], _Columns()
        for t, item in enumerate(instructions):
            where = f"instruction {t}"
            entry = _object(item, where, {"compute"}, {"name", "reads", "writes"})
            name = entry.get("name", "")
            where += f" ({name})" if name else ""
            names.append(_text(name, f"{where}: name"))
            compute.append(integer(entry["compute"], f"{where}: compute", 0, MAX_TOTAL))
            columns.add(entry, where, tensors)
        return cls(
            name=data.get("name", cls.kind),
            sizes=np.array(tensors.sizes, dtype=np.int64),
            outputs=np.array(tensors.outputs, dtype=np.bool_),
            access_offsets=np.array(columns.offsets, dtype=np.int32),
            buffers=np.array(columns.buffers, dtype=np.int32),
            writes=np.array(columns.writes, dtype=np.bool_),
            access_bytes=np.array(columns.bytes, dtype=np.int64),
            compute=np.array(compute, dtype=np.int64),
            capacity=data["capacity"],
            alignment=data.get("alignment", 1),
            copy_model=data.get("copy_model", "static"),
            **{
                f"{key}_bandwidth": math.inf if value is None else value
                for key, value in bandwidth.items()
            },
            instruction_names=tuple(names) if any(names) else (),
            buffer_names=tuple(tensors.buffer_names),
        )


def transfer_time(count: NDArray[np.int64], bandwidth: float) -> NDArray[np.int64]:
    """Time units that moving ``count`` bytes takes, rounded up."""
    return np.ceil(count / bandwidth).astype(np.int64)


class _Tensors:
    """The tensors of the JSON form, and the buffers that they are joined to."""

    def __init__(self, items: Any) -> None:
        self.buffer: dict[str, int] = {}
        self.sizes: list[int] = []
        self.outputs: list[bool] = []
        self.buffer_names: list[str] = []
        #: Buffers whose content exists at the start, as far as the file says; None: not said.
        self.inputs: dict[int, bool] = {}
        groups: dict[str, int] = {}
        for index, item in enumerate(_list(items, "field 'tensors'")):
            where = f"tensor {index}"
            optional = {"alias", "output", "input"}
            entry = _object(item, where, {"name", "size"}, optional)
            name = _text(entry["name"], f"{where}: name")
            where = f"tensor {name!r}"
            if name in self.buffer:
                raise InstanceError(f"{where}: found twice, expected distinct names")
            size = integer(entry["size"], f"{where}: size", 1, MAX_TOTAL)
            output = _flag(entry.get("output", False), f"{where}: output")
            alias = entry.get("alias")
            group = None if alias is None else groups.get(_text(alias, f"{where}: alias"))
            if group is None:
                group = len(self.sizes)
                self.sizes.append(size)
                self.outputs.append(output)
                self.buffer_names.append(name)
                if alias is not None:
                    groups[alias] = group
            elif size != self.sizes[group]:
                raise InstanceError(
                    f"{where}: size: found {size}, expected {self.sizes[group]}, that of "
                    f"{self.buffer_names[group]!r}, with which it shares the alias {alias!r}"
                )
            self.outputs[group] |= output
            if "input" in entry:
                self.inputs[group] = _flag(entry["input"], f"{where}: input")
            self.buffer[name] = group


class _Columns:
    """The accesses of the JSON form."""

    def __init__(self) -> None:
        self.offsets = [0]
        self.buffers: list[int] = []
        self.writes: list[bool] = []
        self.bytes: list[int] = []
        self._known: set[int] = set()

    def add(self, entry: Mapping[str, Any], where: str, tensors: _Tensors) -> None:
        """Append the accesses of one instruction; raises InstanceError."""
        for kind in ("reads", "writes"):
            for item in _list(entry.get(kind, []), f"{where}: {kind}"):
                count = None
                name = item
                if isinstance(item, dict):
                    fields = _object(item, f"{where}: {kind}", {"tensor", "bytes"}, set())
                    name, count = fields["tensor"], fields["bytes"]
                buffer = tensors.buffer.get(name) if isinstance(name, str) else None
                if buffer is None:
                    raise InstanceError(
                        f"{where}: {kind}: found {reprlib.repr(name)}, expected the name of one of "
                        f"the {len(tensors.buffer)} tensors"
                    )
                size = tensors.sizes[buffer]
                if count is None:
                    count = size
                self._check_live(buffer, kind, f"{where}: {kind}: {name!r}", tensors)
                self.buffers.append(buffer)
                self.writes.append(kind == "writes")
                self.bytes.append(integer(count, f"{where}: {kind}: {name!r}: bytes", 0, size))
        self.offsets.append(len(self.buffers))

    def _check_live(self, buffer: int, kind: str, where: str, tensors: _Tensors) -> None:
        """A tensor that is said to be no input must be written before it is read."""
        if buffer in self._known:
            return
        self._known.add(buffer)
        if kind == "reads" and tensors.inputs.get(buffer) is False:
            raise InstanceError(
                f"{where}: read before its first write, expected the write first (a live range "
                'cannot end before it begins), or "input": true'
            )


def _unique_names(trace: Trace) -> list[str]:
    names = list(trace.buffer_names)
    distinct = len(set(names)) == trace.num_buffers
    return names if distinct else [f"b{k}" for k in range(trace.num_buffers)]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def vector(values: ArrayLike, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """``values`` as a vector of ``dtype``; raises InstanceError when that would change a value."""
    if isinstance(values, np.ndarray) and values.dtype == dtype and values.ndim == 1:
        return values
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError):
        array = np.zeros(0, dtype=object)
    kinds = "b" if dtype is np.bool_ else "iu"
    if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
        what = "true or false" if dtype is np.bool_ else "integers of at most 64 bits"
        raise InstanceError(f"{name}: found {reprlib.repr(values)}, expected a vector of {what}")
    if array.size and dtype is not np.bool_:
        limits: Any = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise InstanceError(
                f"{name}: found {array.min()} to {array.max()}, expected values within "
                f"{limits.min} to {limits.max}"
            )
    return array.astype(dtype)


def _bandwidth(value: Any, what: str) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
    if not number > 0 or sys.float_info.max < number < math.inf:
        raise InstanceError(
            f"{what}: found {reprlib.repr(value)}, expected more than 0 bytes per time unit"
        )
    return float(number)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InstanceError(f"{what}: found {reprlib.repr(value)}, expected text")
    return value


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise InstanceError(f"{what}: found {reprlib.repr(value)}, expected true or false")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        raise InstanceError(f"{where}: found {reprlib.repr(value)}, expected a list")
    return list(value)


def _object(value: Any, where: str, required: set[str], optional: set[str]) -> dict[str, Any]:
    """``value`` as an object with these fields; raises InstanceError."""
    if not isinstance(value, dict):
        raise InstanceError(f"{where}: found {reprlib.repr(value)}, expected an object")
    _check_fields(value, where, required, optional)
    return value


def _check_fields(data: Mapping[Any, Any], where: str, required: set[str], known: set[str]) -> None:
    """Raise InstanceError for a field that is missing or unknown."""
    if not required <= set(data):
        missing = ", ".join(map(repr, sorted(required - set(data))))
        raise InstanceError(f"{where}: missing {missing}")
    unknown = set(data) - required - known
    if unknown:
        shown = ", ".join(sorted(map(reprlib.repr, unknown)))
        expected = ", ".join(map(repr, sorted(required | known)))
        raise InstanceError(f"{where}: found unknown field(s) {shown}, expected only {expected}")
