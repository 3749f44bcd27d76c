"""Programs without hardware, and hardware: together a memory-mapping instance."""

import math
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.files import parse_json
from makespan.envs.memory.instance import MemoryInstance, Trace, vector

#: Time unit of instances made here.
SECOND = 10**12  # picoseconds

#: Folder of the pre-traced programs.
FOLDER = "programs"


@dataclass(frozen=True, eq=False)
class Program(Trace):
    """What an instruction sequence computes, reads and writes.

    Attributes:
        flops: (instructions,) int64, floating-point operations.
        family: of the model, by which sets for training and testing are kept apart.
    """

    kind: ClassVar[str] = "tensor-program"

    flops: NDArray[np.int64]
    family: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "flops", vector(self.flops, "flops", np.int64))
        for name in ("instruction_names", "buffer_names"):  # an array, when read from JSON
            object.__setattr__(self, name, tuple(map(str, getattr(self, name))))
        super().__post_init__()

    def check(self) -> None:
        """Raise InstanceError naming what is at fault."""
        super().check()
        if len(self.flops) != self.num_instructions or self.flops.min() < 0:
            raise InstanceError(
                f"flops: found {len(self.flops)} of at least {self.flops.min(initial=0)}, expected "
                f"{self.num_instructions} of at least 0"
            )

    def on(
        self, hardware: "Hardware", capacity_share: float | None = None, copy_model: str = "static"
    ) -> MemoryInstance:
        """The instance on a piece of hardware; times are picoseconds.

        Args:
            hardware: what runs it.
            capacity_share: capacity as a share of the program's maximum load; None: the
                hardware's own.
            copy_model: of the instance.

        Raises:
            UsageError: unless the share is above 0 and finite.
        """
        if capacity_share is None:
            capacity, suffix = hardware.capacity, ""
        elif 0 < capacity_share * self.max_load < math.inf:
            capacity = int(capacity_share * self.max_load)
            suffix = f"-{100 * capacity_share:g}"
        else:
            raise UsageError(
                f"capacity share: found {capacity_share}, expected a finite one above 0"
            )
        seconds = self.flops / hardware.flops_per_second + hardware.overhead_s
        return MemoryInstance(
            name=f"{self.name}@{hardware.name}{suffix}",
            sizes=self.sizes,
            outputs=self.outputs,
            access_offsets=self.access_offsets,
            buffers=self.buffers,
            writes=self.writes,
            access_bytes=self.access_bytes,
            compute=np.ceil(seconds * SECOND).astype(np.int64),
            capacity=capacity,
            slow_bandwidth=hardware.slow_bandwidth / SECOND,
            fast_read_bandwidth=hardware.fast_bandwidth / SECOND,
            fast_write_bandwidth=hardware.fast_bandwidth / SECOND,
            copy_bandwidth=hardware.copy_bandwidth / SECOND,
            alignment=hardware.alignment,
            copy_model=copy_model,
            instruction_names=self.instruction_names,
            buffer_names=self.buffer_names,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote; raises InstanceError with the line of a syntax error."""
        return cls.from_dict(parse_json(text, InstanceError))


@dataclass(frozen=True)
class Hardware:
    """Two memories and a processor.

    Attributes:
        name: for tables.
        flops_per_second: peak of the processor.
        slow_bandwidth, fast_bandwidth, copy_bandwidth: bytes per second.
        capacity: bytes of fast memory.
        overhead_s: seconds that every instruction takes besides its arithmetic.
        alignment: bytes.
    """

    name: str
    flops_per_second: float
    slow_bandwidth: float
    fast_bandwidth: float
    capacity: int
    overhead_s: float = 1e-6
    alignment: int = 512

    @property
    def copy_bandwidth(self) -> float:
        """Copies run at the speed of slow memory."""
        return self.slow_bandwidth


#: Approximate public figures, rounded; the bandwidths of fast memory and the overheads are
#: assumptions. tpu-v4i: peak (bfloat16), bandwidth and 128 MiB of CMEM after Jouppi et al., Ten
#: lessons from three generations shaped Google's TPUv4i, ISCA 2021. edge-npu and gpu-l2: of the
#: order of what such parts offer, no particular product.
HARDWARE = MappingProxyType(
    {
        hardware.name: hardware
        for hardware in (
            Hardware("tpu-v4i", 138e12, 614e9, 4.0e12, 128 * 2**20),
            Hardware("edge-npu", 4e12, 25e9, 250e9, 4 * 2**20, overhead_s=2e-6, alignment=64),
            Hardware("gpu-l2", 100e12, 1.5e12, 6.0e12, 40 * 2**20, overhead_s=2e-6),
        )
    }
)


def find_hardware(name: str) -> Hardware:
    """A preset by its name; raises UnknownNameError."""
    if name not in HARDWARE:
        raise UnknownNameError("hardware", name, HARDWARE)
    return HARDWARE[name]


def program_names() -> list[str]:
    """Names of the pre-traced programs."""
    folder = resources.files("makespan.envs.memory").joinpath(FOLDER)
    return sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name[-5:] == ".json")


def load_program(name: str) -> Program:
    """A pre-traced program, see :mod:`makespan.envs.memory.zoo`; raises UnknownNameError."""
    if name not in program_names():
        raise UnknownNameError("program", name, program_names())
    folder = resources.files("makespan.envs.memory").joinpath(FOLDER)
    return Program.from_json(folder.joinpath(f"{name}.json").read_text(encoding="utf-8"))
