"""Routing decisions with what followed from them, and their validator.

A solution says for every request to which replica it was sent, when, and in which order; with
disaggregated pools also the second replica. What followed (times, preemptions, cached tokens) is
stated too. The validator checks the decisions against the instance and computes what follows from
them by :mod:`makespan.envs.routing.replay`, which shares no code with the kernel.
"""

import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.routing.instance import DECODE, PREFILL, RoutingInstance
from makespan.envs.routing.replay import Decisions, Outcome, replay

if TYPE_CHECKING:
    import pandas as pd

QUEUES = ("fcfs", "sjf", "srpt", "mlfq", "vtc", "dlpm")
INTEGER_COLUMNS = ("replica", "order", "decoder", "preemptions", "cached")
TIME_COLUMNS = ("release", "moved", "first_token", "end")
COLUMNS = (
    "replica",
    "order",
    "release",
    "decoder",
    "moved",
    "first_token",
    "end",
    "preemptions",
    "cached",
)
#: Times may differ from those computed by the validator by this share of the time since the first
#: arrival, and by so many steps between neighbouring floats: both sum thousands of iteration times.
TOLERANCE = 1e-9
ROUNDINGS = 4096
#: At most so many violations are listed.
LISTED = 20


@dataclass(frozen=True, eq=False)
class RoutingSolution:
    """Columns of length n, one entry a request; times in seconds.

    A solution may be wrong; :meth:`validate` tells.

    Attributes:
        queue: order of the queue at the replicas.
        replica: (n,) int64, where the request was sent.
        order: (n,) int64, rank of its release, from 0.
        release: (n,) float64, when it left the router.
        decoder: (n,) int64, the second replica; -1 for none.
        moved: (n,) float64, when that was chosen; NaN for none.
        first_token, end: (n,) float64, when the first and the last token were there.
        preemptions: (n,) int64, how often its memory was taken away.
        cached: (n,) int64, prompt tokens found in the prefix cache at the first admission.

    Raises:
        InvalidSolutionError: when a column has the wrong form or lengths differ.
    """

    kind: ClassVar[str] = "llm-routing-solution"
    version: ClassVar[int] = 1

    queue: str
    replica: NDArray[np.int64]
    order: NDArray[np.int64]
    release: NDArray[np.float64]
    decoder: NDArray[np.int64]
    moved: NDArray[np.float64]
    first_token: NDArray[np.float64]
    end: NDArray[np.float64]
    preemptions: NDArray[np.int64]
    cached: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.queue not in QUEUES:
            raise _malformed(f"queue: found {self.queue!r}, expected one of {', '.join(QUEUES)}")
        for column in INTEGER_COLUMNS:
            object.__setattr__(self, column, _column(getattr(self, column), column, np.int64))
        for column in TIME_COLUMNS:
            object.__setattr__(self, column, _column(getattr(self, column), column, np.float64))
        lengths = {column: len(getattr(self, column)) for column in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise _malformed(f"columns: found the lengths {lengths}, expected equal")

    @property
    def decisions(self) -> Decisions:
        """What the router chose."""
        return Decisions(self.replica, self.order, self.release, self.decoder)

    def objective(self, instance: RoutingInstance) -> float:
        """The mean end-to-end latency in seconds."""
        return float((self.end - instance.arrival).mean())

    def validate(self, instance: RoutingInstance) -> None:
        """Raise InvalidSolutionError listing violated constraints with numbers."""
        if len(self.replica) != instance.num_requests:
            raise _malformed(
                f"found {len(self.replica)} requests, expected {instance.num_requests}"
            )
        violations = list(_wrong_decisions(self, instance))
        if not violations:
            violations = list(_wrong_outcome(self, instance))
        if violations:
            more = len(violations) - LISTED
            violations = violations[:LISTED] + ([f"and {more} more"] if more > 0 else [])
            raise InvalidSolutionError(violations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RoutingSolution):
            return NotImplemented
        return self.queue == other.queue and all(
            np.array_equal(getattr(self, c), getattr(other, c), equal_nan=c in TIME_COLUMNS)
            for c in COLUMNS
        )

    def __hash__(self) -> int:
        return hash((self.queue, self.replica.tobytes(), self.end.tobytes()))

    def to_frame(self) -> "pd.DataFrame":
        """One line per request, times in seconds."""
        import pandas as pd

        columns = {column: getattr(self, column) for column in COLUMNS}
        return pd.DataFrame({"request": np.arange(len(self.replica)), **columns})

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_dict` rebuilds the solution."""
        columns: dict[str, list[Any]] = {c: getattr(self, c).tolist() for c in COLUMNS}
        columns["moved"] = [None if np.isnan(time) else time for time in columns["moved"]]
        return {"kind": self.kind, "version": self.version, "queue": self.queue, **columns}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a solution; raises InvalidSolutionError naming the field at fault."""
        if not isinstance(data, dict):
            raise _malformed(f"found {reprlib.repr(data)}, expected an object")
        for field, expected in (("kind", cls.kind), ("version", cls.version)):
            if data.get(field) != expected:
                found = reprlib.repr(data.get(field))
                raise _malformed(f"field '{field}': found {found}, expected {expected!r}")
        missing = [field for field in ("queue", *COLUMNS) if field not in data]
        if missing:
            raise _malformed(f"missing field(s) {missing}")
        moved = data["moved"]
        if isinstance(moved, list):
            moved = [float("nan") if time is None else time for time in moved]
        return cls(**{field: data[field] for field in ("queue", *COLUMNS)} | {"moved": moved})


def _wrong_decisions(solution: RoutingSolution, instance: RoutingInstance) -> Iterator[str]:
    """What is wrong with the decisions, whatever followed."""
    n, m = instance.num_requests, instance.num_replicas
    if sorted(solution.order.tolist()) != list(range(n)):
        yield f"order: expected every rank from 0 to {n - 1} once"
        return
    usable = instance.kv_blocks - instance.watermark_blocks
    blocks = -(-(instance.prompt.astype(np.int64) + instance.max_tokens) // instance.block_tokens)
    for i, r in enumerate(solution.replica.tolist()):
        if not 0 <= r < m:
            yield f"request {i}: found replica {r}, expected 0 to {m - 1}"
            continue
        if instance.role[r] == DECODE:
            yield f"request {i}: replica {r} takes no prompts"
        moves = instance.role[r] == PREFILL and instance.output[i] > 1
        d = int(solution.decoder[i])
        if moves and not (0 <= d < m and instance.role[d] != PREFILL):
            yield f"request {i}: found second replica {d}, expected one that decodes"
        if not moves and d != -1:
            yield f"request {i}: found second replica {d}, expected none (-1)"
        for used in (r, d) if moves and 0 <= d < m else (r,):
            if blocks[i] > usable[used]:
                yield (
                    f"request {i}: needs {blocks[i]} blocks, replica {used} has {usable[used]} "
                    "above its watermark"
                )
    yield from _wrong_releases(solution, instance)


def _wrong_releases(solution: RoutingSolution, instance: RoutingInstance) -> Iterator[str]:
    """Requests are released at arrival or after whole holds, in the order stated."""
    by_order = np.argsort(solution.order)
    back = np.flatnonzero(np.diff(solution.release[by_order]) < 0)
    for k in back.tolist():
        yield f"request {by_order[k + 1]}: released before request {by_order[k]}, ranked after it"
    waits = solution.release - instance.arrival
    holds = np.clip(np.rint(waits / (instance.hold_s or 1.0)), 0, instance.max_holds)
    expected = instance.arrival + holds * instance.hold_s
    right = (waits >= 0) & (np.abs(solution.release - expected) <= _slack(expected, instance))
    for i in np.flatnonzero(~right).tolist():
        yield (
            f"request {i}: released {waits[i]} s after its arrival, expected 0 to "
            f"{instance.max_holds} holds of {instance.hold_s} s"
        )


def _slack(times: NDArray[np.float64], instance: RoutingInstance) -> NDArray[np.float64]:
    """(n,) seconds by which stated times may differ from ``times``."""
    elapsed = np.maximum(times - instance.arrival[0], 1.0)
    return np.asarray(TOLERANCE * elapsed + ROUNDINGS * np.spacing(times))


@lru_cache(maxsize=1)
def replayed(instance: RoutingInstance, solution: RoutingSolution) -> Outcome:
    """What follows from the decisions, in detail; validator and figures of merit ask in turn."""
    return replay(instance, solution.decisions, solution.queue, detail=True)


def _wrong_outcome(solution: RoutingSolution, instance: RoutingInstance) -> Iterator[str]:
    """Where what is stated differs from what follows from the decisions."""
    expected = replayed(instance, solution)
    for column in ("first_token", "end", "moved"):
        stated, computed = getattr(solution, column), getattr(expected, column)
        same = (np.abs(stated - computed) <= _slack(computed, instance)) | (
            np.isnan(stated) & np.isnan(computed)
        )
        for i in np.flatnonzero(~same).tolist():
            yield f"request {i}: {column}: found {stated[i]}, expected {computed[i]}"
    for column in ("preemptions", "cached"):
        counts, right = getattr(solution, column), getattr(expected, column)
        for i in np.flatnonzero(counts != right).tolist():
            yield f"request {i}: {column}: found {counts[i]}, expected {right[i]}"


def _malformed(sentence: str) -> InvalidSolutionError:
    return InvalidSolutionError([sentence])


def _column(values: ArrayLike, name: str, dtype: Any) -> NDArray[Any]:
    """A read-only copy of ``values``; raises InvalidSolutionError."""
    kinds = "iu" if dtype is np.int64 else "iuf"
    try:
        array = np.asarray(values)
        fits = array.ndim == 1 and (not array.size or array.dtype.kind in kinds)
    except (ValueError, TypeError, OverflowError):
        fits = False
    if not fits:
        expected = "integers" if dtype is np.int64 else "numbers"
        found = reprlib.repr(values)
        raise _malformed(f"column {name}: found {found}, expected a vector of {expected}")
    column = array.astype(dtype)
    column.flags.writeable = False
    return column
