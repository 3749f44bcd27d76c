"""Numba kernels that place buffers in a given order, and local search over orders."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_NEVER = np.int64(2**62)

FITS = ("first", "best")
FIRST, BEST = range(2)
#: Weight of the mean height above the target beside the peak: tells apart orders of equal peak.
SPREAD = 1.0


class Buffers(NamedTuple):
    """What decoding reads, N buffers; see ``OffsetInstance``."""

    first: NDArray[np.int32]  # (N,) first section
    last: NDArray[np.int32]  # (N,) one past the last section
    size: NDArray[np.int64]  # (N,)
    alignment: NDArray[np.int64]  # (N,)
    fixed: NDArray[np.int64]  # (N,) fixed offset, -1 for none


class Placement(NamedTuple):
    """Buffers placed so far, in the order of their offsets: columns that are read in one sweep."""

    first: NDArray[np.int32]  # (N,) first section
    last: NDArray[np.int32]  # (N,) one past the last section
    offset: NDArray[np.int64]  # (N,)
    end: NDArray[np.int64]  # (N,) offset + size
    buffer: NDArray[np.int32]  # (N,)
    level: NDArray[np.int32]  # (N,) how many were placed before it; -1 with a fixed offset


@njit(cache=True, error_model="numpy", _nrt=False)
def _find_place(placement, placed, first, last, size, alignment, fit):
    """Offset for a buffer beside the ``placed`` buffers of the placement."""
    best, smallest = np.int64(-1), _NEVER
    address = np.int64(0)
    for rank in range(placed):
        if placement.first[rank] >= last or first >= placement.last[rank]:
            continue
        offset = placement.offset[rank]
        begin = address if alignment == 1 else address + -address % alignment
        if begin + size <= offset:
            if fit == FIRST:
                return begin
            if offset - address < smallest:
                best, smallest = begin, offset - address
        address = max(address, placement.end[rank])
    return best if best >= 0 else address + -address % alignment


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _move(placement, source, goal):
    """Copy a row of the columns."""
    placement.first[goal] = placement.first[source]
    placement.last[goal] = placement.last[source]
    placement.offset[goal] = placement.offset[source]
    placement.end[goal] = placement.end[source]
    placement.buffer[goal] = placement.buffer[source]
    placement.level[goal] = placement.level[source]


@njit(cache=True, error_model="numpy", _nrt=False)
def _insert(buffers, placement, placed, j, offset, level):
    """Add buffer ``j`` at ``offset``."""
    rank = placed
    while rank > 0 and placement.offset[rank - 1] > offset:
        _move(placement, rank - 1, rank)
        rank -= 1
    placement.first[rank] = buffers.first[j]
    placement.last[rank] = buffers.last[j]
    placement.offset[rank] = offset
    placement.end[rank] = offset + buffers.size[j]
    placement.buffer[rank] = j
    placement.level[rank] = level


@njit(cache=True, error_model="numpy", _nrt=False)
def start(buffers, placement):
    """Place the buffers with fixed offsets; returns how many there are."""
    placed = 0
    for j in range(len(buffers.size)):
        if buffers.fixed[j] >= 0:
            _insert(buffers, placement, placed, j, buffers.fixed[j], -1)
            placed += 1
    return placed


@njit(cache=True, error_model="numpy", _nrt=False)
def decode(buffers, placement, placed, order, begin, end, fit):
    """Place the buffers ``order[begin:end]`` one after the other; returns the number placed."""
    for i in range(begin, end):
        j = order[i]
        offset = _find_place(
            placement,
            placed,
            buffers.first[j],
            buffers.last[j],
            buffers.size[j],
            buffers.alignment[j],
            fit,
        )
        _insert(buffers, placement, placed, j, offset, i)
        placed += 1
    return placed


@njit(cache=True, error_model="numpy", _nrt=False)
def _truncate(placement, placed, level):
    """Take out the buffers placed at ``level`` and later; returns the number that stay."""
    kept = 0
    for rank in range(placed):
        if placement.level[rank] < level:
            _move(placement, rank, kept)
            kept += 1
    return kept


@njit(cache=True, error_model="numpy", _nrt=False)
def offsets_of(placement, offsets):
    """Write the (N,) offset of each buffer; all are placed."""
    for rank in range(len(offsets)):
        offsets[placement.buffer[rank]] = placement.offset[rank]


@njit(cache=True, error_model="numpy", _nrt=False)
def _cost(placement, count, target, scale):
    """The peak, and the peak plus a small share of the bytes x sections above ``target``."""
    peak = np.int64(0)
    above = 0.0
    for rank in range(count):
        end = placement.end[rank]
        peak = max(peak, end)
        if end > target:
            height = min(end - target, end - placement.offset[rank])
            above += float(height) * (placement.last[rank] - placement.first[rank])
    return peak, peak + above * scale


@njit(cache=True, error_model="numpy")
def _choose_move(buffers, placement, order, peak, target, rng):
    """Two places of the order: of a buffer, and an earlier one of a buffer in its way; or -1, -1.

    Seven times in ten the first buffer is drawn among those that reach into the upper half of what
    lies between the target and the peak.
    """
    free = len(order)
    source = -1
    if rng.random() < 0.7:
        count = 0
        for rank in range(len(buffers.size)):
            if placement.level[rank] > 0 and 2 * placement.end[rank] >= peak + target:
                count += 1
                if rng.integers(0, count) == 0:  # each one equally likely
                    source = placement.level[rank]
    if source < 0:
        source = rng.integers(0, free)
    j = order[source]
    for _ in range(16):
        if source == 0:
            break
        goal = rng.integers(0, source)
        k = order[goal]
        if buffers.first[j] < buffers.last[k] and buffers.first[k] < buffers.last[j]:
            return source, goal
    return -1, -1


@njit(cache=True, error_model="numpy")
def anneal(buffers, placement, order, best, iterations, hot, cold, target, limit, climb, rng):
    """Simulated annealing, or hill climbing, over orders of a first-fit decoder.

    A move takes a buffer, most often one that reaches high, and puts it before another one that is
    alive together with it, or lets the two change places; only the part of the order from there on
    is decoded again.

    Args:
        buffers: to place.
        placement: written: that of the order in hand.
        order: (M,) the buffers to choose offsets for; changed.
        best: (N,) offsets of the best placement so far; written when a better one is found.
        iterations: moves to try.
        hot, cold: temperatures at the begin and the end, in bytes of the peak.
        target: stop at this peak.
        limit: peak of the best placement so far.
        climb: accept no worse order at all.
        rng: the source of all chance.

    Returns:
        the best peak.
    """
    n, free = len(buffers.size), len(order)
    candidate = order.copy()
    scale = SPREAD / max(1.0, float(np.sum(buffers.last - buffers.first)))
    placed = decode(buffers, placement, start(buffers, placement), order, 0, free, FIRST)
    peak, current = _cost(placement, n, target, scale)
    for iteration in range(iterations):
        temperature = hot * (cold / hot) ** (iteration / iterations)
        source, goal = _choose_move(buffers, placement, order, peak, target, rng)
        if source < 0:
            continue
        candidate[:] = order
        if rng.random() < 0.5:
            candidate[source] = order[goal]
        else:
            for i in range(source, goal, -1):
                candidate[i] = order[i - 1]
        candidate[goal] = order[source]
        kept = _truncate(placement, placed, goal)
        decode(buffers, placement, kept, candidate, goal, free, FIRST)
        new_peak, cost = _cost(placement, n, target, scale)
        if new_peak < limit:  # whether the order is kept or not
            limit = new_peak
            offsets_of(placement, best)
            if new_peak <= target:
                break
        worse = cost - current
        if worse <= 0 or (not climb and rng.random() < np.exp(-worse / temperature)):
            order[:] = candidate
            peak, current = new_peak, cost
        else:
            kept = _truncate(placement, placed, goal)
            decode(buffers, placement, kept, order, goal, free, FIRST)
    return limit
