"""Random instances of offset allocation, of three structures that occur in practice.

- ``cuts``: a full rectangle of time x memory is cut again and again, in time or in addresses, as a
  compiler's buffers fill a scratchpad that was dimensioned for them: long thin ones beside short
  tall ones, loads close to the peak almost everywhere. A few buffers are then shortened. The
  rectangle itself is a solution, so the optimum is at most its height.
- ``tiles``: buffers of similar size and short life at random times, as many as the load permits:
  a stream of operators that hold their inputs for a while.
- ``layers``: a network that is trained. Activations live from their forward step to their backward
  step, so lives are nested; workspaces live for one step; sizes are log-normal and repeat.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.ranges import Range, check_range, draw, ends, grown
from makespan.envs.offsets.instance import MAX_BUFFERS, OffsetInstance, Sizes

#: Height and length of the rectangle of ``cuts``, and the load that ``tiles`` may not exceed.
GRID = 1024
#: Buffers of ``tiles`` drawn in vain, one after the other, before the memory grows by an eighth.
PATIENCE = 10_000
#: Sizes are multiples of this many bytes.
UNIT = 1024

Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # lower, upper, size


@dataclass(frozen=True)
class OffsetGenerator:
    """Random instances.

    Attributes:
        buffers: number of buffers.
        structure: see the module; ``"mixed"`` draws cuts or tiles for each instance, the hard ones.

    Raises:
        UsageError: for a value outside its range.
        UnknownNameError: for an unknown structure.
    """

    buffers: Range = (100, 300)
    structure: Literal["mixed", "cuts", "tiles", "layers"] = "mixed"

    def __post_init__(self) -> None:
        check_range("buffers", self.buffers, 2, MAX_BUFFERS)
        if self.structure not in ("mixed", *STRUCTURES):
            raise UnknownNameError("structure", self.structure, ("mixed", *STRUCTURES))

    def grown(self, progress: float) -> Self:
        """The same with buffers up to ``progress`` of the way from low to high."""
        return replace(self, buffers=grown(self.buffers, progress))

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        most = ends(self.buffers)[1]
        return Sizes(most, most)

    def sample(self, rng: np.random.Generator) -> OffsetInstance:
        """A fresh instance; the same generator state gives the same instance."""
        count = draw(rng, self.buffers)
        structure: str = self.structure
        if structure == "mixed":
            structure = ("cuts", "tiles")[rng.integers(2)]
        lower, upper, size = STRUCTURES[structure](rng, count)
        order = rng.permutation(count)  # the order of the buffers says nothing
        return OffsetInstance.from_columns(
            lower[order], upper[order], UNIT * size[order], name=f"{structure}-{count}"
        )


def _cuts(rng: np.random.Generator, count: int) -> Columns:
    """Pieces of a rectangle; the larger a piece, the likelier it is cut next."""
    # rows of pieces: begin and end in time, begin and end in addresses
    pieces = np.zeros((count, 4), dtype=np.int64)
    scale = max(1, count // 256)  # so that there is room for all pieces
    pieces[0] = 0, GRID * scale, 0, GRID * scale
    in_time = rng.uniform(0.35, 0.55)
    area = np.zeros(count)
    area[0] = 1.0
    for made in range(1, count):
        piece = int(np.searchsorted(np.cumsum(area[:made]), rng.random() * area[:made].sum()))
        length = pieces[piece, 1::2] - pieces[piece, ::2]  # in time and in addresses
        axis = int(rng.random() > in_time)
        if length[axis] < 4:
            axis = 1 - axis
        low, high = pieces[piece, 2 * axis], pieces[piece, 2 * axis + 1]
        cut = low + max(1, min(high - low - 1, int((high - low) * rng.uniform(0.1, 0.9))))
        pieces[made] = pieces[piece]
        pieces[piece, 2 * axis + 1] = pieces[made, 2 * axis] = cut
        for one in (piece, made):
            begin, end, bottom, top = pieces[one].tolist()
            # small pieces are rarely cut further, those of one unit never
            area[one] = ((end - begin) * (top - bottom)) ** 0.75 if end - begin > 1 else 0.0
            area[one] *= top - bottom > 1
    begin, end, bottom, top = pieces.T
    shortened = rng.random(count) < rng.uniform(0, 0.3)
    end = np.where(shortened, np.maximum(begin + 1, end - (end - begin) // 8), end)
    return begin.copy(), end, top - bottom


def _tiles(rng: np.random.Generator, count: int) -> Columns:
    """Similar buffers at random times; a buffer that would overload the memory is drawn again.

    Each one drawn in vain takes a little of the memory; after many it grows, so that this ends.
    """
    live = rng.uniform(10, 20)  # about as many fit at a time
    mean_life = max(2.0, GRID * rng.uniform(0.6, 0.8) * live / count)
    load = np.zeros(GRID + int(2 * mean_life) + 1)
    rows: list[tuple[int, int, int]] = []
    in_vain = 0
    while len(rows) < count:
        size = max(1, int(GRID / live * np.exp(rng.normal(0, 0.25))))
        life = max(1, int(mean_life * rng.uniform(0.6, 1.4)))
        begin = int(rng.integers(0, GRID))
        span = load[begin : begin + life]
        if span.max() + size > GRID:
            in_vain += 1
            load += 1e-3 if in_vain % PATIENCE else -GRID / 8
            continue
        in_vain = 0
        span += size
        rows.append((begin, begin + life, size))
    lower, upper, size_column = np.array(rows, dtype=np.int64).T
    return lower, upper, size_column


def _layers(rng: np.random.Generator, count: int) -> Columns:
    """Activations from a forward to a backward step, gradients, workspaces."""
    layers = max(2, int(count * rng.uniform(0.2, 0.4)))
    kinds = np.exp(rng.normal(3.5, 1.0, size=rng.integers(4, 16)))  # sizes repeat
    size = np.maximum(1, rng.choice(kinds, size=count)).astype(np.int64)
    layer = rng.integers(0, layers, size=count)
    backward = 2 * layers - layer  # time of the layer's backward step
    kind = rng.choice(3, size=count, p=[0.5, 0.25, 0.25])
    skip = rng.integers(1, 4, size=count)
    phase = np.where(rng.random(count) < 0.5, layer, backward)
    lower = np.choose(kind, [layer, backward, phase])
    upper = np.choose(kind, [backward + 1, backward + skip, phase + 1])
    return lower, upper, size


#: Every structure by its name.
STRUCTURES: dict[str, Callable[[np.random.Generator, int], Columns]] = {
    "cuts": _cuts,
    "tiles": _tiles,
    "layers": _layers,
}
