"""Random programs with the shape of real ones, for training.

A program is a chain of layers. Each reads the activation before, often a weight, and by structure
an older activation, and writes a new one:

* ``layered``: nothing older; * ``residual``: the activation a few layers back, once in a while;
* ``unet``: in the second half the activation of the mirrored layer, sizes shrink and grow again;
* ``training``: a residual chain, then its backward pass: every layer once more, in reverse, reading
  the gradient, its saved input and its weight, and writing two gradients; of an odd number of
  instructions there is one less;
* ``traced``: a pre-traced program of the families for training, see
  :data:`makespan.envs.memory.suites.FAMILIES`, on random hardware.

Sizes, arithmetic per byte, and hardware are random; the capacity is a share of the maximum load.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np

from makespan.envs.core.errors import UsageError
from makespan.envs.core.ranges import (
    Range,
    RealRange,
    check_range,
    check_real_range,
    draw,
    ends,
    grown,
)
from makespan.envs.memory.instance import MemoryInstance, Sizes, Trace
from makespan.envs.memory.program import Hardware, Program, load_program

Structure = Literal["mixed", "layered", "residual", "unet", "training", "traced"]
STRUCTURES: tuple[str, ...] = get_args(Structure)[1:]
#: Most accesses and buffers of one instruction.
ACCESSES_PER_INSTRUCTION, BUFFERS_PER_INSTRUCTION = 6, 3
#: Bytes of a tensor of relative size 1.
UNIT_BYTES = 2**16
#: Largest number of instructions of a program.
MAX_INSTRUCTIONS = 2**20


class Layer(NamedTuple):
    """What one layer reads and writes: buffers by number."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True)
class MemoryGenerator:
    """Random programs on random hardware.

    Attributes:
        instructions: number of instructions.
        structure: one of STRUCTURES, or ``mixed`` for any.
        capacity: smallest and largest share of the maximum load that fast memory holds, drawn
            log-uniformly.
        copy_model: of the instances.

    Raises:
        UsageError: for a value outside its range.
    """

    instructions: Range = (20, 60)
    structure: Structure = "mixed"
    capacity: RealRange = (0.04, 0.5)
    copy_model: Literal["static", "dynamic"] = "static"

    def __post_init__(self) -> None:
        check_range("instructions", self.instructions, 2, MAX_INSTRUCTIONS)
        if self.structure not in get_args(Structure):
            raise UsageError(
                f"structure: found {self.structure!r}, expected one of {get_args(Structure)}"
            )
        check_real_range("capacity", self.capacity, 1e-6, 100)

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        most = ends(self.instructions)[1]
        return Sizes(most, BUFFERS_PER_INSTRUCTION * most, ACCESSES_PER_INSTRUCTION * most)

    def grown(self, progress: float) -> Self:
        """The same with the largest number of instructions moved ``progress`` of the way up.

        Traced programs come in few sizes: it begins with the smallest of them.
        """
        low, high = ends(grown(self.instructions, progress))
        if self.structure == "traced":
            high = max(high, min(_smallest_traced(), ends(self.instructions)[1]))
        return replace(self, instructions=(low, high))

    def sample(self, rng: np.random.Generator) -> MemoryInstance:
        """A fresh instance; the same generator state gives the same instance."""
        instructions = draw(rng, self.instructions)
        structure = self.structure
        if structure == "mixed":
            known = STRUCTURES if _traced(self.largest) else STRUCTURES[:-1]
            structure = known[rng.integers(len(known))]  # type: ignore[assignment]
        share = float(np.exp(rng.uniform(*np.log(ends(self.capacity)))))
        if structure == "traced":
            programs = _traced(self.largest)
            if not programs:
                raise UsageError(
                    f"instructions: found {self.instructions}, expected enough for a traced program"
                )
            program = programs[rng.integers(len(programs))]
            return program.on(_random_hardware(rng), share, self.copy_model)
        layers, sizes, outputs = _layers(instructions, structure, rng)
        trace = _trace(layers, sizes, outputs)
        return self._on_hardware(f"{structure}-{instructions}", trace, share, rng)

    def _on_hardware(
        self, name: str, trace: dict[str, Any], share: float, rng: np.random.Generator
    ) -> MemoryInstance:
        load = Trace(name, **trace).max_load
        traffic = np.zeros(len(trace["access_offsets"]) - 1)
        times = np.repeat(np.arange(len(traffic)), np.diff(trace["access_offsets"]))
        np.add.at(traffic, times, trace["access_bytes"])
        # arithmetic per byte: from mostly memory bound to mostly compute bound
        intensity = np.exp(rng.normal(rng.uniform(-2.5, 0.3), rng.uniform(0.2, 1.2), len(traffic)))
        slow = 1.0
        fast = float(np.exp(rng.uniform(*np.log((4.0, 25.0)))))
        return MemoryInstance(
            name=name,
            **trace,
            compute=np.ceil(traffic * intensity).astype(np.int64),
            capacity=int(share * load),
            slow_bandwidth=slow,
            fast_read_bandwidth=fast,
            fast_write_bandwidth=fast,
            copy_bandwidth=slow * float(rng.choice([0.5, 0.8, 1.0])),
            copy_model=self.copy_model,
        )


@cache
def _programs() -> list[Program]:
    """The pre-traced programs for training."""
    from makespan.envs.memory.suites import programs_of

    return [load_program(name) for name in programs_of("train")]


@cache
def _traced(largest: Sizes) -> list[Program]:
    """Those that are no larger."""
    return [p for p in _programs() if all(np.array(p.extent) <= largest)]


def _smallest_traced() -> int:
    """The fewest ``instructions`` of a generator that admit one of them."""
    per_instruction = np.array([1, BUFFERS_PER_INSTRUCTION, ACCESSES_PER_INSTRUCTION])
    return int(min((-(-np.array(p.extent) // per_instruction)).max() for p in _programs()))


def _random_hardware(rng: np.random.Generator) -> Hardware:
    """Around the presets, each figure drawn log-uniformly."""
    slow = 10 ** rng.uniform(10.4, 12.2)
    return Hardware(
        name="random",
        flops_per_second=10 ** rng.uniform(12.4, 14.4),
        slow_bandwidth=slow,
        fast_bandwidth=slow * 10 ** rng.uniform(0.6, 1.4),
        capacity=2**24,
        overhead_s=1e-6,
    )


def _layers(
    count: int, structure: str, rng: np.random.Generator
) -> tuple[list[Layer], list[float], list[bool]]:
    """Layers, and for each buffer its relative size and whether it is an output."""
    training = structure == "training"
    forward = max(1, count // 2) if training else count
    depth = np.arange(forward) / max(forward - 1, 1)
    trend = np.zeros(forward)
    if structure == "unet":
        trend = 3.0 * np.abs(2 * depth - 1) - 1.5
    elif rng.random() < 0.5:
        trend = rng.uniform(-2, 2) * (depth - 0.5)
    spread = rng.uniform(0.0, 0.8)
    activation = np.exp(trend + rng.normal(0, spread, forward) + rng.uniform(0, 1.5))
    weight = np.exp(-trend + rng.normal(rng.uniform(-1.5, 1.0), 0.5 + spread, forward))
    period = int(rng.integers(1, 5))  # layers repeat their sizes, as blocks of a model do
    if rng.random() < 0.6:
        activation = activation[np.arange(forward) // period * period]
    weighted = rng.random(forward) < rng.uniform(0.2, 0.9)
    skip_chance = {"residual": 0.4, "training": 0.25}.get(structure, 0.0)
    sizes: list[float] = [float(activation[0])]
    outputs = [False]

    def buffer(size: float, output: bool = False) -> int:
        sizes.append(size)
        outputs.append(output)
        return len(sizes) - 1

    produced = [0]  # the activation before each layer
    weights: list[int | None] = []
    layers: list[Layer] = []
    for t in range(forward):
        reads = [produced[-1]]
        weights.append(buffer(float(weight[t])) if weighted[t] else None)
        older = None
        if structure == "unet" and 2 * t > forward and rng.random() < 0.8:
            older = produced[forward - t]
        elif rng.random() < skip_chance and t >= 2:
            older = produced[-min(t, int(rng.integers(2, 6)))]
        for more in (weights[-1], older):
            if more is not None and more not in reads:
                reads.append(more)
        last = t == forward - 1 and not training
        produced.append(buffer(float(activation[t]), last))
        layers.append(Layer(tuple(reads), (produced[-1],)))
    if training:
        gradient = produced[-1]
        for t in range(forward - 1, -1, -1)[: count - forward]:
            reads = [gradient, produced[t]]
            if weights[t] is not None:
                reads.append(weights[t])  # type: ignore[arg-type]
            writes = [buffer(float(activation[max(t - 1, 0)]))]
            if weights[t] is not None:
                writes.append(buffer(sizes[weights[t]], True))  # type: ignore[index]
            gradient = writes[0]
            layers.append(Layer(tuple(dict.fromkeys(reads)), tuple(writes)))
    return layers, sizes, outputs


def _trace(layers: list[Layer], sizes: list[float], outputs: list[bool]) -> dict[str, Any]:
    """Columns of a Trace."""
    buffers = [k for layer in layers for k in (*layer.reads, *layer.writes)]
    writes = [
        w for layer in layers for w in [False] * len(layer.reads) + [True] * len(layer.writes)
    ]
    counts = [len(layer.reads) + len(layer.writes) for layer in layers]
    size = np.maximum(np.array(sizes) * UNIT_BYTES, 1).astype(np.int64)
    index = np.array(buffers, dtype=np.int32)
    return {
        "sizes": size,
        "outputs": np.array(outputs),
        "access_offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        "buffers": index,
        "writes": np.array(writes),
        "access_bytes": size[index],
    }
