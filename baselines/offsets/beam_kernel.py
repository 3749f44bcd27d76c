"""Numba kernels of beam search for offset allocation, in the scheme ``active`` of the simulator.

A partial solution is the lowest free offset of each buffer not yet placed, in ascending order.
Buffers with fixed offsets stay in that list for ever: nothing moves them. Whatever is placed later
lies above, so no hole has to be remembered (see :mod:`makespan.envs.offsets.kernel`).

The bound of a section is that of one machine with release dates: in the order of their lowest free
offsets, each buffer begins above the one before and not below its own lowest free offset. Partial
solutions whose bound exceeds the target are dropped; the others are ranked by how much of the
memory is lost, section by section, the loss weighing more where little is left to lose. Of
solutions that have placed the same buffers only the best ranked is kept.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# numba's cache does not notice a change of that file: touch this one then
from makespan.envs.offsets.kernel import stack_sections

f32 = np.float32
_NEVER = np.int64(2**62)


class Instance(NamedTuple):
    """What the search reads; N buffers, T sections; sizes in units of their common divisor."""

    first: NDArray[np.int32]  # (N,) first section
    last: NDArray[np.int32]  # (N,) one past the last section
    size: NDArray[np.int64]  # (N,)
    alignment: NDArray[np.int64]  # (N,)
    offset: NDArray[np.int64]  # (N,) fixed, -1 for none
    twin: NDArray[np.int32]  # (N,) the identical buffer before it, -1 for none
    load: NDArray[np.int64]  # (T,)
    weight: NDArray[np.float32]  # (T,) share of time
    area: NDArray[np.float32]  # (N,) share of the buffers' total size x time
    fixed: NDArray[np.int32]  # (F,) buffers with fixed offsets, in order of the offsets
    key: NDArray[np.uint64]  # (N,) random


class Beam(NamedTuple):
    """W partial solutions."""

    lowest: NDArray[np.int64]  # (W, N) lowest free offset
    order: NDArray[np.int32]  # (W, N) buffers not yet placed and fixed ones, by lowest
    offset: NDArray[np.int64]  # (W, N) -1 while not placed
    bound: NDArray[np.int64]  # (W, T) of each section; 0 where nothing is left
    loss: NDArray[np.float32]  # (W,)
    area: NDArray[np.float32]  # (W,) placed
    placed: NDArray[np.uint64]  # (W,) xor of the keys of the placed buffers


class Children(NamedTuple):
    """Successors of a beam, and scratch for one of them."""

    parent: NDArray[np.int32]  # (W * branches,)
    buffer: NDArray[np.int32]
    loss: NDArray[np.float32]
    rank: NDArray[np.float32]
    lowest: NDArray[np.int64]  # (N,)
    order: NDArray[np.int32]  # (N,)
    moved: NDArray[np.int32]  # (N,)
    bound: NDArray[np.int64]  # (T,)


class Guide(NamedTuple):
    """How partial solutions are ranked.

    The loss of a section is (bound - load) / (target - bound + softness) ** power in
    units of the target; the rank is the weighted sum / placed area ** progress.
    """

    power: int
    softness: float
    progress: float


@njit(cache=True, error_model="numpy")
def _lowest_free(instance, j, address):
    """Lowest offset for buffer ``j`` from ``address`` on, clear of fixed buffers."""
    size, alignment = instance.size[j], instance.alignment[j]
    if alignment > 1:
        address += -address % alignment
    for f in instance.fixed:
        if instance.first[f] >= instance.last[j] or instance.first[j] >= instance.last[f]:
            continue
        begin, end = instance.offset[f], instance.offset[f] + instance.size[f]
        if address < end and begin < address + size:
            address = end + -end % alignment
    return address


@njit(cache=True, error_model="numpy", nogil=True)
def start(instance, beam):
    """Make row 0 the empty solution; returns the number of rows."""
    n = len(instance.size)
    beam.offset[0] = instance.offset
    for j in range(n):
        fixed = instance.offset[j] >= 0
        beam.lowest[0, j] = instance.offset[j] if fixed else _lowest_free(instance, j, 0)
    beam.order[0] = np.argsort(beam.lowest[0])
    beam.loss[0] = 0
    beam.area[0] = 0
    beam.placed[0] = 0
    _bound_sections(
        instance, beam.lowest[0], beam.order[0], n, beam.bound[0], 0, len(instance.load)
    )
    return 1


@njit(cache=True, error_model="numpy")
def _bound_sections(instance, lowest, order, count, bound, begin, end):
    """Bounds of the sections ``begin`` to ``end``, see the simulator's ``stack_sections``."""
    stack_sections(
        instance.first, instance.last, instance.size, lowest, order, count, bound, begin, end
    )


@njit(cache=True, error_model="numpy")
def _place(instance, parent_lowest, parent_order, count, b, lowest, order, moved):
    """Put buffer ``b`` at its lowest free offset.

    Args:
        parent_lowest, parent_order: before; ``count`` entries of the order are used.
        lowest, order: written: after, with one entry less.
        moved: scratch.

    Returns:
        first and one past the last section whose bound may change.
    """
    first, last = instance.first, instance.last
    end = parent_lowest[b] + instance.size[b]
    first_b, last_b = first[b], last[b]
    begin_window, end_window = first_b, last_b
    kept, shifted, i = 0, 0, 0
    while i < count:
        j = parent_order[i]
        address = parent_lowest[j]
        if address >= end:
            break
        i += 1
        if j == b:
            continue
        if first[j] >= last_b or first_b >= last[j] or instance.offset[j] >= 0:
            lowest[j] = address
            order[kept] = j
            kept += 1
            continue
        begin_window, end_window = min(begin_window, first[j]), max(end_window, last[j])
        address = _lowest_free(instance, j, end)
        lowest[j] = address
        slot = shifted
        while slot > 0 and lowest[moved[slot - 1]] > address:
            moved[slot] = moved[slot - 1]
            slot -= 1
        moved[slot] = j
        shifted += 1
    k = 0
    while i < count or k < shifted:
        if k < shifted and (i == count or lowest[moved[k]] <= parent_lowest[parent_order[i]]):
            order[kept] = moved[k]
            k += 1
        else:
            j = parent_order[i]
            lowest[j] = parent_lowest[j]
            order[kept] = j
            i += 1
        kept += 1
    return begin_window, end_window


@njit(cache=True, error_model="numpy", fastmath=True)
def _loss(instance, bound, target, guide, begin, end):
    """Loss of the sections ``begin`` to ``end``; infinite when a bound exceeds the target."""
    total = f32(0)
    unit, softness = f32(1) / f32(target), f32(guide.softness)
    for t in range(begin, end):
        if bound[t] == 0:
            continue
        if bound[t] > target:
            return f32(np.inf)
        loss = f32(bound[t] - instance.load[t]) * unit * instance.weight[t]
        room = f32(target - bound[t]) * unit + softness
        if guide.power == 1:
            loss /= room
        elif guide.power == 2:
            loss /= room * room
        total += loss
    return total


@njit(cache=True, error_model="numpy", nogil=True)
def replay(instance, beam, order, count, target, guide, children):
    """Place up to ``count`` buffers of ``order`` in row 0, which is the empty solution.

    Returns:
        how many were placed before the bound exceeded the target.
    """
    n, sections = len(instance.size), len(instance.load)
    lowest, bound = children.lowest, children.bound
    placed = 0
    for j in order[:count]:
        begin, end = _place(
            instance,
            beam.lowest[0],
            beam.order[0],
            n - placed,
            j,
            lowest,
            children.order,
            children.moved,
        )
        bound[:] = beam.bound[0]
        _bound_sections(instance, lowest, children.order, n - placed - 1, bound, begin, end)
        if bound.max() > target:
            break
        beam.offset[0, j] = beam.lowest[0, j]
        beam.lowest[0] = lowest
        beam.order[0] = children.order
        beam.bound[0] = bound
        beam.area[0] += instance.area[j]
        beam.placed[0] ^= instance.key[j]
        placed += 1
    beam.loss[0] = _loss(instance, beam.bound[0], target, guide, 0, sections)
    return placed


@njit(cache=True, error_model="numpy")
def _branch(instance, beam, row, count, target, guide, children, made):
    """Append the successors of a row; returns the number of children."""
    first, last, size = instance.first, instance.last, instance.size
    lowest, order, offset = beam.lowest[row], beam.order[row], beam.offset[row]
    least, chosen = _NEVER, -1
    for i in range(count):
        j = order[i]
        if lowest[j] >= least:
            break
        if offset[j] < 0 and lowest[j] + size[j] < least:
            least, chosen = lowest[j] + size[j], j
    for i in range(count):
        j = order[i]
        if lowest[j] >= least:
            break
        if offset[j] >= 0 or first[j] >= last[chosen] or first[chosen] >= last[j]:
            continue
        if instance.twin[j] >= 0 and offset[instance.twin[j]] < 0:
            continue
        begin, end = _place(
            instance, lowest, order, count, j, children.lowest, children.order, children.moved
        )
        _bound_sections(
            instance, children.lowest, children.order, count - 1, children.bound, begin, end
        )
        after = _loss(instance, children.bound, target, guide, begin, end)
        if after == np.inf:
            continue
        before = _loss(instance, beam.bound[row], target, guide, begin, end)
        loss = max(beam.loss[row] - before + after, f32(0))
        area = beam.area[row] + instance.area[j]
        children.parent[made] = row
        children.buffer[made] = j
        children.loss[made] = loss
        children.rank[made] = (loss + f32(1e-9)) / area ** f32(guide.progress)
        made += 1
    return made


@njit(cache=True, error_model="numpy", nogil=True)
def advance(instance, beam, following, rows, level, target, guide, children):
    """Place one more buffer in each row of ``beam``; the best successors go to ``following``.

    Args:
        instance, beam: from ``rows`` rows.
        following: another beam, written.
        level: buffers placed so far, fixed ones left out.
        target: largest peak that is wanted.
        guide: how to rank.
        children: scratch.

    Returns:
        the number of rows of ``following``; 0 when every successor exceeds the target.
    """
    count = len(instance.size) - level
    made = 0
    for row in range(rows):
        if made + count > len(children.rank):
            break
        made = _branch(instance, beam, row, count, target, guide, children, made)
    width = len(following.loss)
    seen = {np.uint64(0)}
    new = 0
    for child in np.argsort(children.rank[:made]):
        row, b = children.parent[child], children.buffer[child]
        placed = beam.placed[row] ^ instance.key[b]
        if placed in seen:
            continue
        seen.add(placed)
        begin, end = _place(
            instance,
            beam.lowest[row],
            beam.order[row],
            count,
            b,
            following.lowest[new],
            following.order[new],
            children.moved,
        )
        following.bound[new] = beam.bound[row]
        _bound_sections(
            instance,
            following.lowest[new],
            following.order[new],
            count - 1,
            following.bound[new],
            begin,
            end,
        )
        following.offset[new] = beam.offset[row]
        following.offset[new, b] = beam.lowest[row, b]
        following.loss[new] = children.loss[child]
        following.area[new] = beam.area[row] + instance.area[b]
        following.placed[new] = placed
        new += 1
        if new == width:
            break
    return new
