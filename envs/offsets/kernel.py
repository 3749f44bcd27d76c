"""Numba kernels of offset allocation: load, step, legal candidates, observe.

A decision picks the buffer that is placed next. The decode mode fixes which buffers may be picked
and where the chosen one goes; all modes leave placed buffers where they are:

* ``active``: at the lowest offset that is free, and only candidates that keep the order of offsets
  useful: with c* the smallest end (lowest free offset + size) of any buffer not yet placed and b*
  the buffer that attains it, b* itself and the buffers alive together with it whose lowest free
  offset is below c*. This is the schedule-generation scheme of Giffler & Thompson (1960) with
  addresses for time; the dominance rule of minimalloc's search is the same idea. It contains an
  optimal solution: in any completion some candidate begins below c* (else b* could be lowered to
  its lowest free offset), and the one that begins lowest can itself be lowered to its lowest free
  offset, since whatever is in the way would have to end below c*.
* ``first-fit``: any buffer; at the lowest offset that is free. Contains an optimal solution too:
  place the buffers in the order of their optimal offsets.
* ``best-fit``: any buffer; in the smallest gap between placed buffers that holds it, the lowest of
  several, above them only when there is none. Without fixed offsets it contains an optimal
  solution as first-fit does.

Of identical buffers (same life, size and alignment) only the first one not yet placed is a
candidate. Buffers with fixed offsets are placed at the start.

Time is counted in sections, see :meth:`OffsetInstance.section_starts`. The bound behind the reward
is the largest of the initial bound, the peak so far, and the stack of each section: its buffers not
yet placed lie one above the other, none below its lowest free offset, so putting them in the order
of these offsets, each as low as can be, ends as low as can be. (One machine with release dates; a
tighter form of the section bound of M. D. Moffitt, MiniMalloc, ASPLOS 2023.)

With ``active`` every candidate is also tried: what placing it does to the stacks are features.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from makespan.envs.core.observation import FEATURE_BOUND

f32 = np.float32

ACTIVE, FIRST_FIT, BEST_FIT = range(3)
DECODE_MODES = ("active", "first-fit", "best-fit")
_NEVER = np.int64(2**62)
#: Least distance to the bound by which a rise is divided, as a share of the bound.
SOFTNESS = 0.05

#: Node types, in the order of their index.
BUFFER, SECTION = range(2)
NODE_TYPES = ("buffer", "section")
BEGINS, ENDS, FULLEST, THEN = range(4)
EDGE_TYPES = ("begins", "ends", "fullest", "then")

NODE_FEATURES = (
    "size",  # in mean sizes; for a section its load
    "share",  # size, or load, / initial bound
    "length",  # sections of the life / sections
    "area",  # size * sections of the life / all buffers' mean of it
    "fullest",  # largest load during the life / initial bound
    "mean_load",  # over the life / initial bound
    "conflicts",  # other buffers alive together with this one / buffers
)
NODE_STATE_FEATURES = (
    "done",  # 1 for a placed buffer; share of a section's load that is placed
    "offset",  # lowest free, once placed its own / initial bound; for a section the top
    "left",  # bytes not yet placed / initial bound
)
EDGE_FEATURES = ("size",)  # of the buffer, in mean sizes
CANDIDATE_ROLES = ("buffer", "fullest")
CANDIDATE_FEATURES = (
    # bytes in mean sizes; "first" is the lowest position of any candidate, "room" bound - first
    "size",
    "size_share",  # / room
    "length",  # sections of the life / sections
    "position",  # relative to first
    "end",  # relative to the smallest end of any candidate
    "slack",  # bound - position - most bytes not yet placed in a section of the life
    "mean_slack",  # the same with the mean over the life
    "pressure",  # mean bytes not yet placed over the life / (bound - position)
    "waste",  # mean over the life of the free bytes between the top and the position
    "largest_waste",  # in a section of the life
    "waste_left",  # largest free bytes between the top and the position beside its begin
    "left_wall",  # top just before the life - position
    "right_wall",  # top just after the life - position
    "left_step",  # distance of the end to the top just before the life
    "right_step",  # to the top just after
    "flush",  # sides at which the end is level with the top, 0 to 2
    "left_room",  # sections before the life up to one with a top above the position / length
    "right_room",  # the same after the life
    "exact",  # 1 when neither side has room
    # of the buffers alive together with this one and not yet placed; "active" only, else 0
    "rivals",  # / 16
    "rivals_blocked",  # those whose lowest free offset is below the end / 8
    "rival_delay",  # by how much those have to rise, their sum
    "largest_rival",  # size of the largest blocked one
    "widest_rival",  # life of the longest blocked one relative to this one's, logarithm
    # of the stacks once the candidate is placed; "active" only, else 0
    "loss",  # their rise, summed over sections / sections of the life
    "relative_loss",  # the same / size
    "tight_loss",  # rise / (distance to the bound + 5 % of it), mean over all sections * 100
    "excess_tight_loss",  # over that of the candidate that loses least
    "bound_rise",  # of the bound
    "least_loss",  # 1 for the candidates that lose least
)
GLOBAL_FEATURES = (
    "progress",  # share of buffers placed
    "area_placed",  # share of size * sections placed
    "bound_increase",  # (bound - initial bound) / initial bound
    "room",  # (bound - first) / initial bound
    "mean_waste",  # mean over sections of stack - load / initial bound
    "slack",  # mean over sections of bound - stack / initial bound
    "candidates",  # / 16
    "buffers",  # per section / 4
)


class State(NamedTuple):
    """Arrays of a batch of B instances; N buffers, T sections."""

    # the instance
    sizes: NDArray[np.int32]  # (B, 2) buffers, sections
    first: NDArray[np.int32]  # (B, N) first section
    last: NDArray[np.int32]  # (B, N) one past the last section
    lower: NDArray[np.int64]  # (B, N) in the instance's time; only rules look at these two
    upper: NDArray[np.int64]  # (B, N)
    size: NDArray[np.int64]  # (B, N)
    alignment: NDArray[np.int64]  # (B, N)
    twin: NDArray[np.int32]  # (B, N) the identical buffer before it, -1 for none
    load: NDArray[np.int64]  # (B, T)
    scale: NDArray[np.float64]  # (B, 3) 1 / mean size, 1 / initial bound, 1 / total area
    # the partial solution
    offset: NDArray[np.int64]  # (B, N) -1 while not placed
    lowest: NDArray[np.int64]  # (B, N) lowest free offset
    position: NDArray[np.int64]  # (B, N) where the decode mode would put it
    by_offset: NDArray[np.int32]  # (B, N) placed buffers in order of their offsets
    left: NDArray[np.int64]  # (B, T) bytes not yet placed
    top: NDArray[np.int64]  # (B, T) largest end of a placed buffer
    order: NDArray[np.int32]  # (B, N) buffers not yet placed by their lowest free offsets
    stack: NDArray[np.int64]  # (B, T) end of those of the section, stacked; 0 for none
    candidate: NDArray[np.int32]  # (B, N) buffer of each candidate
    totals: NDArray[np.int64]  # (B, 6) columns below
    # scratch: a candidate on trial
    trial_lowest: NDArray[np.int64]  # (B, N)
    trial_order: NDArray[np.int32]  # (B, N)
    trial_stack: NDArray[np.int64]  # (B, T)


#: Columns of ``totals``.
INITIAL_BOUND, BOUND, PEAK, PLACED, AREA_PLACED, CANDIDATES = range(6)


@njit(cache=True, error_model="numpy")
def load_row(
    state,
    observation,
    row,
    first,
    last,
    lower,
    upper,
    size,
    alignment,
    offset,
    twin,
    load,
    bound,
    decode,
):
    """Put an instance into ``row`` and write its whole observation.

    Args:
        state, observation: batch arrays.
        row: which one.
        first, last, lower, upper, size, alignment, offset, twin, load: of the instance.
        bound: lower bound on the objective, no lower than the stacks above fixed buffers.
        decode: index into DECODE_MODES.
    """
    n, sections = len(size), len(load)
    state.sizes[row, 0] = n
    state.sizes[row, 1] = sections
    state.first[row, :n] = first
    state.last[row, :n] = last
    state.lower[row, :n] = lower
    state.upper[row, :n] = upper
    state.size[row, :n] = size
    state.alignment[row, :n] = alignment
    state.twin[row, :n] = twin
    state.load[row, :sections] = load
    state.offset[row] = -1
    state.lowest[row] = 0
    state.position[row] = 0
    state.left[row, :sections] = load
    state.top[row] = 0
    state.stack[row, :sections] = load
    for j in range(n):
        state.order[row, j] = j
    state.totals[row] = 0
    state.totals[row, INITIAL_BOUND] = bound
    state.totals[row, BOUND] = bound
    total, area = 0.0, 0.0
    for j in range(n):
        total += size[j]
        area += float(size[j]) * (last[j] - first[j])
    state.scale[row, 0] = n / total
    state.scale[row, 1] = 1.0 / bound
    state.scale[row, 2] = 1.0 / area
    _observe_graph(state, observation, row)
    # all of it: the row may hold a larger instance in the middle of its episode
    observation.candidates[row] = 0
    observation.candidate_nodes[row] = -1
    observation.action_mask[row] = 0
    for j in range(n):
        if offset[j] >= 0:
            _place(state, observation, row, j, offset[j], decode)
    _observe(state, observation, row, decode)


@njit(cache=True, error_model="numpy")
def _observe_graph(state, observation, row):
    """Write nodes, edges and the initial node state."""
    n, sections = state.sizes[row]
    section_node = state.size.shape[1]
    unit, scale, inverse_area = state.scale[row]
    first, last, size, load = state.first[row], state.last[row], state.size[row], state.load[row]
    nodes, node_state = observation.nodes[row], observation.node_state[row]
    node_type = observation.node_type[row]
    edges, edge_type = observation.edges[row], observation.edge_type[row]
    edge_features = observation.edge_features[row]
    nodes[:] = 0
    node_state[:] = 0
    node_type[:] = -1
    edges[:] = -1
    edge_type[:] = -1
    edge_features[:] = 0
    begun = np.zeros(sections + 1, dtype=np.int64)  # buffers that begin before each section
    ended = np.zeros(sections + 1, dtype=np.int64)  # buffers that end before or at its begin
    for j in range(n):
        begun[first[j] + 1] += 1
        ended[last[j]] += 1
    begun, ended = np.cumsum(begun), np.cumsum(ended)
    e = 0
    for j in range(n):
        fullest, total = first[j], 0.0
        for t in range(first[j], last[j]):
            total += load[t]
            if load[t] > load[fullest]:
                fullest = t
        length = last[j] - first[j]
        node_type[j] = BUFFER
        nodes[j, 0] = size[j] * unit
        nodes[j, 1] = size[j] * scale
        nodes[j, 2] = length / sections
        nodes[j, 3] = float(size[j]) * length * inverse_area * n
        nodes[j, 4] = load[fullest] * scale
        nodes[j, 5] = total / length * scale
        nodes[j, 6] = (begun[last[j]] - ended[first[j]] - 1) / n
        node_state[j, 2] = size[j] * scale
        touched = (np.int64(first[j]), np.int64(last[j]) - 1, np.int64(fullest))
        for kind in (BEGINS, ENDS, FULLEST):
            edges[0, e], edges[1, e] = j, section_node + touched[kind]
            edge_type[e] = kind
            edge_features[e, 0] = size[j] * unit
            e += 1
    for t in range(sections):
        node = section_node + t
        node_type[node] = SECTION
        nodes[node, 0] = load[t] * unit
        nodes[node, 1] = load[t] * scale
        nodes[node, 2] = 1.0 / sections
        nodes[node, 4] = load[t] * scale
        nodes[node, 5] = load[t] * scale
        node_state[node, 2] = load[t] * scale
        if t + 1 < sections:
            edges[0, e], edges[1, e], edge_type[e] = node, node + 1, THEN
            e += 1


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _clip(values):
    """Keep features within their space, whatever sizes and alignments are mixed."""
    for i in range(len(values)):
        values[i] = min(max(values[i], f32(-FEATURE_BOUND)), f32(FEATURE_BOUND))


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _aligned(address, alignment):
    """The smallest multiple of ``alignment`` that is at least ``address``."""
    rest = address % alignment
    return address if rest == 0 else address + alignment - rest


@njit(cache=True, error_model="numpy", _nrt=False)
def _rank(state, row, address):
    """Number of placed buffers whose offset is below ``address``."""
    low, high = 0, state.totals[row, PLACED]
    while low < high:
        middle = (low + high) // 2
        if state.offset[row, state.by_offset[row, middle]] < address:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, error_model="numpy", _nrt=False)
def _first_fit(state, row, j, begin, address):
    """Lowest free offset of buffer ``j`` that is at least ``address``.

    Args:
        state, row, j: which buffer.
        begin: rank of the first placed buffer that can be in the way.
        address: where to begin.
    """
    first, last = state.first[row, j], state.last[row, j]
    size, alignment = state.size[row, j], state.alignment[row, j]
    address = _aligned(address, alignment)
    for rank in range(begin, state.totals[row, PLACED]):
        k = state.by_offset[row, rank]
        if state.first[row, k] >= last or first >= state.last[row, k]:
            continue
        if address + size <= state.offset[row, k]:
            break
        end = state.offset[row, k] + state.size[row, k]
        if end > address:
            address = _aligned(end, alignment)
    return address


@njit(cache=True, error_model="numpy", _nrt=False)
def _best_fit(state, row, j):
    """Offset of buffer ``j`` in the smallest gap that holds it, else above all that is placed."""
    first, last = state.first[row, j], state.last[row, j]
    size, alignment = state.size[row, j], state.alignment[row, j]
    best, smallest = np.int64(-1), _NEVER
    address = np.int64(0)
    for rank in range(state.totals[row, PLACED]):
        k = state.by_offset[row, rank]
        if state.first[row, k] >= last or first >= state.last[row, k]:
            continue
        begin = _aligned(address, alignment)
        gap = state.offset[row, k] - address
        if begin + size <= state.offset[row, k] and gap < smallest:
            best, smallest = begin, gap
        address = max(address, state.offset[row, k] + state.size[row, k])
    return best if best >= 0 else _aligned(address, alignment)


@njit(cache=True, error_model="numpy", _nrt=False)
def _place(state, observation, row, b, offset, decode):
    """Put buffer ``b`` at ``offset``; refresh lowest free offsets, sections and node states."""
    n = state.sizes[row, 0]
    first, last, size = state.first[row], state.last[row], state.size[row]
    lowest, position = state.lowest[row], state.position[row]
    totals, scale = state.totals[row], state.scale[row, 1]
    node_state = observation.node_state[row]
    end = offset + size[b]
    rank = _rank(state, row, offset)
    for i in range(totals[PLACED], rank, -1):
        state.by_offset[row, i] = state.by_offset[row, i - 1]
    state.by_offset[row, rank] = b
    state.offset[row, b] = offset
    totals[PLACED] += 1
    totals[AREA_PLACED] += size[b] * (last[b] - first[b])
    totals[PEAK] = max(totals[PEAK], end)
    node_state[b, 0] = 1
    node_state[b, 1] = min(offset * scale, FEATURE_BOUND)
    node_state[b, 2] = 0
    begin_window, end_window = first[b], last[b]  # sections whose stack may change
    for j in range(n):
        if state.offset[row, j] >= 0 or first[j] >= last[b] or first[b] >= last[j]:
            continue
        if lowest[j] < end and offset < lowest[j] + size[j]:
            lowest[j] = _first_fit(state, row, j, _rank(state, row, lowest[j]), end)
            node_state[j, 1] = min(lowest[j] * scale, FEATURE_BOUND)
            begin_window = min(begin_window, first[j])
            end_window = max(end_window, last[j])
        position[j] = _best_fit(state, row, j) if decode == BEST_FIT else lowest[j]
    section_node = state.size.shape[1]
    for t in range(first[b], last[b]):
        state.left[row, t] -= size[b]
        state.top[row, t] = max(state.top[row, t], end)
        node_state[section_node + t, 0] = 1 - state.left[row, t] / state.load[row, t]
        node_state[section_node + t, 1] = min(state.top[row, t] * scale, FEATURE_BOUND)
        node_state[section_node + t, 2] = state.left[row, t] * scale
    count = n - totals[PLACED]
    shift = 0
    for i in range(count):
        shift += state.order[row, i] == b
        state.order[row, i] = state.order[row, i + shift]
    sort_by(lowest, state.order[row], count)
    stack_sections(
        first,
        last,
        size,
        lowest,
        state.order[row],
        count,
        state.stack[row],
        begin_window,
        end_window,
    )


@njit(cache=True, error_model="numpy", _nrt=False)
def sort_by(keys, order, count):
    """Sort the first ``count`` indices of ``order`` by their keys; fast when nearly sorted."""
    for i in range(1, count):
        j = order[i]
        k = i
        while k > 0 and keys[order[k - 1]] > keys[j]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = j


@njit(cache=True, error_model="numpy", _nrt=False)
def stack_sections(first, last, size, lowest, order, count, stack, begin, end):
    """Stack the buffers of the sections ``begin`` to ``end``, see the module's docstring.

    Args:
        first, last, size, lowest: (N,) of the buffers.
        order, count: buffers not yet placed, in the order of ``lowest``.
        stack: (T,) written.
        begin, end: sections.
    """
    stack[begin:end] = 0
    for i in range(count):
        j = order[i]
        low, high = max(first[j], begin), min(last[j], end)
        if low < high:
            address, more = lowest[j], size[j]
            part = stack[low:high]  # counting from 0 lets the compiler use vector instructions
            for t in range(len(part)):
                part[t] = max(part[t], address) + more


@njit(cache=True, error_model="numpy", _nrt=False)
def _raise_bound(state, row):
    """Update the bound on the objective, see the module's docstring."""
    totals = state.totals[row]
    bound = max(totals[BOUND], totals[PEAK])
    for t in range(state.sizes[row, 1]):
        bound = max(bound, state.stack[row, t])
    totals[BOUND] = bound


@njit(cache=True, error_model="numpy", _nrt=False)
def _find_candidates(state, row, decode):
    """List the buffers that may be placed next, in the order of their indices."""
    n = state.sizes[row, 0]
    offset, lowest, size = state.offset[row], state.lowest[row], state.size[row]
    least, chosen = _NEVER, -1
    if decode == ACTIVE:
        for j in range(n):
            if offset[j] < 0 and lowest[j] + size[j] < least:
                least, chosen = lowest[j] + size[j], j
    count = 0
    for j in range(n):
        if offset[j] >= 0:
            continue
        if decode == ACTIVE and j != chosen:
            apart = (
                state.first[row, j] >= state.last[row, chosen]
                or state.first[row, chosen] >= state.last[row, j]
            )
            if apart or lowest[j] >= least:
                continue
        twin = state.twin[row, j]
        if twin >= 0 and offset[twin] < 0:
            continue
        state.candidate[row, count] = j
        count += 1
    state.totals[row, CANDIDATES] = count


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe(state, observation, row, decode):
    """Refresh candidates, their features and the globals of a row."""
    before = state.totals[row, CANDIDATES]
    _find_candidates(state, row, decode)
    totals = state.totals[row]
    count, section_node = totals[CANDIDATES], state.size.shape[1]
    first_position, least_end = _NEVER, _NEVER
    for a in range(count):
        j = state.candidate[row, a]
        first_position = min(first_position, state.position[row, j])
        least_end = min(least_end, state.position[row, j] + state.size[row, j])
    for a in range(count):
        j = state.candidate[row, a]
        c = observation.candidates[row, a]
        observation.action_mask[row, a] = 1
        observation.candidate_nodes[row, a, 0] = j
        fullest = _observe_candidate(state, row, j, c, first_position, least_end)
        observation.candidate_nodes[row, a, 1] = section_node + fullest
        if decode == ACTIVE:
            _observe_rivals(state, row, j, c)
            _observe_trial(state, row, j, c)
    if decode == ACTIVE:
        _compare_losses(observation.candidates[row], count)
    for a in range(count):
        _clip(observation.candidates[row, a])
    for a in range(count, before):
        observation.action_mask[row, a] = 0
        observation.candidate_nodes[row, a] = -1
        observation.candidates[row, a] = 0
    _observe_globals(state, observation.globals[row], row, first_position)
    _clip(observation.globals[row])


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_candidate(state, row, j, c, first_position, least_end):
    """Write the features that concern the buffer and its surroundings.

    Returns:
        the section of its life with most bytes not yet placed.
    """
    sections = state.sizes[row, 1]
    unit, bound = f32(state.scale[row, 0]), state.totals[row, BOUND]
    first, last, size = state.first[row, j], state.last[row, j], state.size[row, j]
    position = state.position[row, j]
    end, length = position + size, f32(last - first)
    left, top = state.left[row], state.top[row]
    fullest = first
    left_total, waste_total = f32(0), f32(0)
    largest_waste = np.int64(0)
    for t in range(first, last):
        if left[t] > left[fullest]:
            fullest = t
        waste = max(position - top[t], 0)
        left_total += f32(left[t])
        waste_total += f32(waste)
        largest_waste = max(largest_waste, waste)
    c[0] = f32(size) * unit
    c[1] = f32(size) / f32(max(bound - first_position, 1))
    c[2] = length / f32(sections)
    c[3] = f32(position - first_position) * unit
    c[4] = f32(end - least_end) * unit
    c[5] = f32(bound - position - left[fullest]) * unit
    c[6] = (f32(bound - position) - left_total / length) * unit
    c[7] = left_total / length / f32(max(bound - position, 1))
    c[8] = waste_total / length * unit
    c[9] = f32(largest_waste) * unit
    c[10] = f32(max(position - top[first], 0)) * unit
    before, after = first - 1, last
    left_top = top[before] if before >= 0 else bound
    right_top = top[after] if after < sections else bound
    c[11] = f32(left_top - position) * unit
    c[12] = f32(right_top - position) * unit
    c[13] = f32(abs(left_top - end)) * unit
    c[14] = f32(abs(right_top - end)) * unit
    c[15] = f32(left_top == end) + f32(right_top == end)
    while before >= 0 and top[before] <= position:
        before -= 1
    while after < sections and top[after] <= position:
        after += 1
    left_room, right_room = f32(first - 1 - before), f32(after - last)
    c[16] = left_room / length
    c[17] = right_room / length
    c[18] = left_room + right_room == f32(0)
    return fullest


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_rivals(state, row, j, c):
    """Write the features that concern the buffers alive together with buffer ``j``."""
    unit = f32(state.scale[row, 0])
    first, last = state.first[row, j], state.last[row, j]
    end = state.position[row, j] + state.size[row, j]
    rivals, blocked, widest = 0, 0, 0
    delay, largest = np.int64(0), np.int64(0)
    for k in range(state.sizes[row, 0]):
        apart = state.first[row, k] >= last or first >= state.last[row, k]
        if apart or k == j or state.offset[row, k] >= 0:
            continue
        rivals += 1
        if state.lowest[row, k] < end:
            blocked += 1
            delay += end - state.lowest[row, k]
            largest = max(largest, state.size[row, k])
            widest = max(widest, state.last[row, k] - state.first[row, k])
    c[19] = f32(rivals) * f32(1 / 16)
    c[20] = f32(blocked) * f32(1 / 8)
    c[21] = f32(delay) * unit
    c[22] = f32(largest) * unit
    c[23] = np.log(f32(widest) / f32(last - first)) if blocked else f32(0)


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_trial(state, row, j, c):
    """Write the features that concern the stacks once buffer ``j`` is placed."""
    unit, bound = f32(state.scale[row, 0]), state.totals[row, BOUND]
    first, last, lowest = state.first[row], state.last[row], state.lowest[row]
    trial_lowest, trial_order = state.trial_lowest[row], state.trial_order[row]
    sections = state.sizes[row, 1]
    end = lowest[j] + state.size[row, j]
    begin_window, end_window = first[j], last[j]
    count = 0
    for i in range(state.sizes[row, 0] - state.totals[row, PLACED]):
        k = state.order[row, i]
        if k == j:
            continue
        trial_lowest[k] = lowest[k]
        if lowest[k] < end and first[k] < last[j] and first[j] < last[k]:
            trial_lowest[k] = _first_fit(state, row, k, _rank(state, row, lowest[k]), end)
            begin_window = min(begin_window, first[k])
            end_window = max(end_window, last[k])
        trial_order[count] = k
        count += 1
    sort_by(trial_lowest, trial_order, count)
    stack_sections(
        first,
        last,
        state.size[row],
        trial_lowest,
        trial_order,
        count,
        state.trial_stack[row],
        begin_window,
        end_window,
    )
    softness = f32(SOFTNESS) * f32(bound)
    loss, tight_loss = f32(0), f32(0)
    highest = bound
    for t in range(begin_window, end_window):
        after = state.trial_stack[row, t]
        if after > state.stack[row, t]:
            rise = f32(after - state.stack[row, t])
            loss += rise
            tight_loss += rise / (f32(max(bound - after, 0)) + softness)
            highest = max(highest, after)
    c[24] = loss / f32(last[j] - first[j]) * unit
    c[25] = loss / f32(last[j] - first[j]) / f32(state.size[row, j])
    c[26] = tight_loss / f32(sections) * f32(100)
    c[28] = f32(highest - bound) * unit


@njit(cache=True, error_model="numpy", _nrt=False)
def _compare_losses(candidates, count):
    """Features that compare the candidates' losses."""
    least, least_loss = f32(np.inf), f32(np.inf)
    for a in range(count):
        least = min(least, candidates[a, 26])
        least_loss = min(least_loss, candidates[a, 24])
    for a in range(count):
        candidates[a, 27] = candidates[a, 26] - least
        candidates[a, 29] = candidates[a, 24] == least_loss


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_globals(state, g, row, first_position):
    n, sections = state.sizes[row]
    totals, scale = state.totals[row], state.scale[row, 1]
    g[0] = totals[PLACED] / n
    g[1] = totals[AREA_PLACED] * state.scale[row, 2]
    g[2] = (totals[BOUND] - totals[INITIAL_BOUND]) * scale
    if totals[CANDIDATES] == 0:
        g[3:] = 0
        return
    waste, slack = 0.0, 0.0
    for t in range(sections):
        if state.stack[row, t] > 0:
            waste += state.stack[row, t] - state.load[row, t]
            slack += totals[BOUND] - state.stack[row, t]
    g[3] = (totals[BOUND] - first_position) * scale
    g[4] = waste / sections * scale
    g[5] = slack / sections * scale
    g[6] = totals[CANDIDATES] / 16
    g[7] = n / sections / 4


@njit(cache=True, error_model="numpy", _nrt=False)
def _step_row(state, observation, row, action, decode, terminated):
    """One decision; returns the reward."""
    before = state.totals[row, BOUND]
    buffer = state.candidate[row, action]
    _place(state, observation, row, buffer, state.position[row, buffer], decode)
    _raise_bound(state, row)
    _observe(state, observation, row, decode)
    terminated[row] = state.totals[row, PLACED] == state.sizes[row, 0]
    return (before - state.totals[row, BOUND]) * state.scale[row, 1]


@njit(cache=True, error_model="numpy", _nrt=False)
def step(state, observation, actions, rewards, terminated, decode):
    """Apply ``actions`` to every row (-1: leave it), see ``Problem.step``."""
    for row in range(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(state, observation, row, actions[row], decode, terminated)


@njit(cache=True, error_model="numpy", _nrt=False, parallel=True)
def step_parallel(state, observation, actions, rewards, terminated, decode):
    """The same with rows shared among threads."""
    for row in prange(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(state, observation, row, actions[row], decode, terminated)
