"""The blocking job shop with shutdowns.

A job shop without buffers: from its first operation on a job always stands on a machine. When an
operation has ended, the job stays where it is and blocks the machine until the machine of its next
operation is free; after its last operation it leaves at once. Jobs that wait for each other's
machines in a circle may change places at the same moment (``swap``), or are in a deadlock.

A machine shuts down now and then. While it is down, no job can enter it, but a job that is done
there can leave. What happens to the operation that a shutdown interrupts is given by ``on_down``:

* ``"resume"``: the job stays, and the operation goes on afterwards with what is left of it;
* ``"restart"``: the job stays, and the operation begins anew afterwards;
* ``"hold"``: the operation holds the machine until its end, the shutdown only keeps others out.

Sources: Mascis & Pacciarelli, Job-shop scheduling with blocking and no-wait constraints, European
Journal of Operational Research 143(3), 2002, for blocking and swaps. The interrupting swap-allowed
blocking job shop (arXiv 2302.02506) adds shutdowns; its rules for the interrupted operation were
not available to us, so all three are named options here.
"""

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import InstanceError, UnknownNameError
from makespan.envs.core.instance import Instance, integer
from makespan.envs.jobshop.instance import (
    MAX_TOTAL_DURATION,
    JobShopInstance,
    Sizes,
    integers,
    listed,
)

ON_DOWN_MODES = ("resume", "restart", "hold")


@dataclass(frozen=True, eq=False)
class BlockingInstance(Instance):
    """Jobs as in the classical job shop, and when each machine is down.

    Arrays of another integer type, and lists, are converted on construction.

    Attributes:
        num_machines, job_offsets, machines, durations: see :class:`JobShopInstance`; one machine
            per operation, and durations of at least 1: a job that stays nowhere would leave open
            in which order the moves of one moment are made.
        down_offsets: (machines + 1,) int32; machine m has the shutdowns
            ``down_offsets[m]:down_offsets[m + 1]``.
        down_starts, down_ends: (shutdowns,) int64, time units; a machine is down from the start on
            and up again at the end. In order of time and apart from each other on each machine.
        swap: whether jobs may change places in a circle.
        on_down: what becomes of an interrupted operation.

    Raises:
        InstanceError: when any of this is violated.
    """

    kind: ClassVar[str] = "blocking-job-shop"

    num_machines: int
    job_offsets: NDArray[np.int32]
    machines: NDArray[np.int32]
    durations: NDArray[np.int64]
    down_offsets: NDArray[np.int32]
    down_starts: NDArray[np.int64]
    down_ends: NDArray[np.int64]
    swap: bool = True
    on_down: str = "resume"

    def __post_init__(self) -> None:
        for field, dtype in (
            ("job_offsets", np.int32),
            ("machines", np.int32),
            ("durations", np.int64),
            ("down_offsets", np.int32),
            ("down_starts", np.int64),
            ("down_ends", np.int64),
        ):
            object.__setattr__(self, field, integers(getattr(self, field), field, dtype))
        super().__post_init__()

    @classmethod
    def from_shop(
        cls,
        shop: JobShopInstance,
        shutdowns: Iterable[Iterable[Sequence[int]]] | None = None,
        swap: bool = True,
        on_down: str = "resume",
        name: str | None = None,
    ) -> Self:
        """A job shop made blocking.

        Args:
            shop: classical, one machine per operation.
            shutdowns: for each machine its pairs (start, end); None: none at all.
            swap, on_down: see above.
            name: a label; None for that of the shop.

        Raises:
            InstanceError: for a flexible shop, or shutdowns that are no pairs of integers.
        """
        if shop.is_flexible:
            raise InstanceError(
                f"{shop.name}: found operations with a choice of machines, expected none"
            )
        given = _pairs([[]] * shop.num_machines if shutdowns is None else shutdowns)
        flat = np.array([pair for pairs in given for pair in pairs], dtype=np.int64).reshape(-1, 2)
        return cls(
            name=shop.name if name is None else name,
            num_machines=shop.num_machines,
            job_offsets=shop.job_offsets,
            machines=shop.machines,
            durations=shop.durations,
            down_offsets=np.cumsum([0, *map(len, given)]).astype(np.int32),
            down_starts=flat[:, 0],
            down_ends=flat[:, 1],
            swap=swap,
            on_down=on_down,
        )

    @cached_property
    def shop(self) -> JobShopInstance:
        """The classical job shop that this is without blocking and shutdowns."""
        return JobShopInstance(
            name=self.name,
            num_machines=self.num_machines,
            job_offsets=self.job_offsets,
            alternative_offsets=np.arange(len(self.machines) + 1, dtype=np.int32),
            machines=self.machines,
            durations=self.durations,
        )

    def check(self) -> None:
        """Raise InstanceError naming what is at fault."""
        shop = self.shop  # checks its part
        if not self.durations.all():
            label = shop.operation_label(int(self.durations.argmin()))
            raise InstanceError(f"{label}: duration: found 0, expected at least 1")
        if self.on_down not in ON_DOWN_MODES:
            error = UnknownNameError("on_down mode", self.on_down, ON_DOWN_MODES)
            raise InstanceError(f"on_down: {error}")
        if not isinstance(self.swap, bool):
            raise InstanceError(f"swap: found {self.swap!r}, expected true or false")
        if len(self.down_offsets) != shop.num_machines + 1:
            raise InstanceError(
                f"shutdowns: found {len(self.down_offsets) - 1} lists, expected "
                f"{shop.num_machines}, one per machine"
            )
        self._check_columns()
        for machine, shutdowns in enumerate(self.shutdowns):
            before = -1
            for number, (start, end) in enumerate(shutdowns):
                if not before < start < end <= MAX_TOTAL_DURATION:
                    raise InstanceError(
                        f"machine {machine}, shutdown {number}: found {start} to {end}, expected "
                        f"{before} < start < end <= {MAX_TOTAL_DURATION}"
                    )
                before = end

    def _check_columns(self) -> None:
        """Raise InstanceError unless the offsets cut the shutdowns into those of each machine."""
        starts, ends, offsets = len(self.down_starts), len(self.down_ends), self.down_offsets
        if starts != ends:
            raise InstanceError(f"down_ends: found {ends}, expected {starts}, one per start")
        if offsets[0] != 0 or offsets[-1] != starts or (np.diff(offsets) < 0).any():
            raise InstanceError(
                f"down_offsets: found {reprlib.repr(offsets.tolist())}, expected numbers that "
                f"rise from 0 to {starts}"
            )

    @cached_property
    def shutdowns(self) -> list[list[tuple[int, int]]]:
        """For each machine its pairs (start, end)."""
        pairs = list(zip(self.down_starts.tolist(), self.down_ends.tolist(), strict=True))
        return [pairs[first:last] for first, last in pairwise(self.down_offsets.tolist())]

    @property
    def num_jobs(self) -> int:
        """Number of jobs."""
        return len(self.job_offsets) - 1

    @property
    def num_operations(self) -> int:
        """Number of operations of all jobs."""
        return len(self.machines)

    @property
    def sizes(self) -> Sizes:
        """Jobs, machines, operations, and 1 for the one alternative of each."""
        return self.shop.sizes

    @property
    def size(self) -> str:
        """``"15x10"`` for 15 jobs on 10 machines."""
        return self.shop.size

    def to_dict(self) -> dict[str, Any]:
        """As :meth:`JobShopInstance.to_dict`, with ``shutdowns``, ``swap`` and ``on_down``."""
        return {
            **self.shop.to_dict(),
            "kind": self.kind,
            "version": self.version,
            "shutdowns": [[list(pair) for pair in pairs] for pairs in self.shutdowns],
            "swap": self.swap,
            "on_down": self.on_down,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild an instance; ``shutdowns``, ``swap``, ``on_down`` and ``name`` may be left out.

        Raises:
            InstanceError: naming the field at fault, whatever ``data`` is.
        """
        cls.check_header(data)
        own = ("shutdowns", "swap", "on_down")
        rest = {key: value for key, value in data.items() if key not in own}
        shop = JobShopInstance.from_dict({"name": cls.kind, **rest, "kind": JobShopInstance.kind})
        return cls.from_shop(
            shop,
            data.get("shutdowns"),
            data.get("swap", True),
            data.get("on_down", ON_DOWN_MODES[0]),
        )


def worst_makespan(instance: BlockingInstance) -> int:
    """What no schedule without needless waiting exceeds, in time units.

    There is always an operation in process or a machine down; a shutdown costs its length and, if
    it makes an operation begin anew, at most the longest duration.
    """
    down = int((instance.down_ends - instance.down_starts).sum())
    lost = len(instance.down_starts) * int(instance.durations.max())
    return int(instance.durations.sum()) + down + lost


def _pairs(shutdowns: Any) -> list[list[tuple[int, int]]]:
    """For each machine its pairs (start, end); raises InstanceError for anything else."""
    return [
        [
            _pair(pair, f"shutdowns of machine {machine}")
            for pair in listed(pairs, f"shutdowns of machine {machine}", "pairs")
        ]
        for machine, pairs in enumerate(listed(shutdowns, "shutdowns", "lists"))
    ]


def _pair(pair: Any, where: str) -> tuple[int, int]:
    times = listed(pair, where, "start and end")
    if len(times) != 2:
        raise InstanceError(f"{where}: found {reprlib.repr(times)}, expected start and end")
    start, end = (integer(time, where, 0, MAX_TOTAL_DURATION) for time in times)
    return start, end
