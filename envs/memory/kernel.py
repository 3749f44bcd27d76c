"""Numba kernels of the memory-mapping game: load, step, legal candidates, observe.

The accesses of a program are decided one by one in program order, within an instruction reads
before writes. The candidates, whose index is the action:

* ``DROP`` (0): the access is served from slow memory. If the only copy of the content is in fast
  memory, it is moved back first and the program stands still for that time (an eviction).
* ``NO_COPY`` (1): a write goes to fast memory, in a place that is free at this instruction; a read
  finds the buffer where it has been since the access before. Legal if the place is still free.
* ``COPY`` (2): a read finds the buffer in fast memory, where a copy that runs beside the program
  has put it. The copy has the window of instructions after ``start`` and before this one; the
  place is occupied through the window. Legal if the content is in slow memory, some start leaves
  the copy time enough, and a place is free from there on. ``start`` is no earlier than the access
  before, and the latest possible; with ``copy_start="choice"`` candidates 3 and 4 are copies that
  start earlier, each at least twice as far back as the one before, so that later copies find time.

A place is occupied from the first instruction of its window, or the access before, up to this
access. What an access leaves in fast memory stays there until something is put over it: it is
protected by nothing but the choice of places (``placement``):

* ``worth``: where what is lost is worth least; worth is the time that the next access would save,
  and the eviction that losing it costs. Ties: the lowest offset.
* ``lowest``: the lowest offset that is free. * ``best-fit``: the smallest gap that is large enough.
* ``belady``, ``lru``: as worth, but what is lost weighs 1 / distance to its next use, or the time
  of its last use.

A write that follows a read of the same buffer in the same instruction stays in the same place. An
output whose only copy is in fast memory after its last access is moved back then, as above.

Time that copies take (``copy_model`` of the instance). Copies have windows and may interrupt each
other; the one that is due first goes first (EDF, which is optimal on one channel), so a set of
copies is feasible when every interval of instructions has supply for the copies whose windows lie
within. Since later decisions are due later, it is enough to know what is left of each instruction.

* ``static``: an instruction supplies the time it takes with everything in slow memory, as XLA's
  memory-space assignment counts it. Optimistic: the plan makes instructions faster.
* ``dynamic``: an instruction supplies the time it really takes under the plan, known once its
  accesses are decided. A copy that finds too little time starts as early as it may, and the
  program stands still until it is done.

``strict`` forbids evictions. Then a buffer may come to a read that nothing can serve; the game goes
back to the start, keeps that buffer in slow memory, and plays the other decisions again (those that
have become illegal are dropped), up to the same access: the Drop-backup of mallocMuZero as far as
its paper tells.

The reward is the fall of latency, stalls included, with all undecided accesses in slow memory, over
the latency of everything in slow memory. So rewards sum to 1 - final / all-slow.

Free space is kept as segments of fast memory in order of offset, each with the last instruction at
which it is occupied: everything ends at the current access or before, so a place is free from an
instruction on when all segments in it end before. There is no occupancy image.

All kernels are in this one file because numba's cache looks at no other for changes.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

f32 = np.float32

DROP, NO_COPY, COPY = range(3)
ACTIONS = ("drop", "no-copy", "copy")
COPY_STARTS = ("latest", "choice")
#: Candidates under each of COPY_STARTS.
NUM_CANDIDATES = (3, 5)
WORTH, LOWEST, BEST_FIT, BELADY, LRU = range(5)
PLACEMENTS = ("worth", "lowest", "best-fit", "belady", "lru")
STRICT_MODES = ("no", "yes")
LOOKAHEAD_MODES = ("none", "greedy", "greedy-full")
#: With "greedy", a trial looks at this many accesses.
TRIAL_ACCESSES = 96
#: How much the rule of trials minds the next saving and the worth of what is lost; found by search
#: on generated programs. Less than 1: both may come about otherwise, by a copy.
RULE_NEXT, RULE_LOST = 0.6, 0.25
#: Local search plays from the last of this many marks, at least LEAST_STRIDE accesses apart.
MARKS, LEAST_STRIDE = 32, 16
#: Share of the changes that make no difference which it keeps; each costs a run to the end.
TIES = 0.2
#: Steps of the subgradient method that sets prices.
PRICE_STEPS = 60

#: Node types, in the order of their index.
BUFFER, INSTRUCTION = range(2)
NODE_TYPES = ("buffer", "instruction")
READS, WRITES, FOLLOWS = range(3)
EDGE_TYPES = ("reads", "writes", "follows")

# Times are in mean latencies of an instruction (everything in slow memory), bytes in capacities.
# A share is an access's part of what its instruction saves with all accesses in fast memory. Prices
# are multipliers of the capacity at each instruction, see _set_prices; what a place costs is its
# bytes times the prices of the instructions that it is occupied for.
NODE_FEATURES = (
    "size",  # of a buffer
    "accesses",  # of the node / 8
    "share",  # of all accesses of the node
    "slow_time",  # of all accesses of the node
    "life",  # buffer: first to last access / program; instruction: when it begins / program
    "compute",  # of an instruction
    "price",  # of an instruction, for the whole capacity
    "output",  # 1 for a buffer that must be in slow memory at the end
)
NODE_STATE_FEATURES = (
    "fast",  # buffer: 1 if it is in fast memory
    "slow",  # buffer: 1 if its content is in slow memory
    "latency",  # of an instruction as decided so far
    "supply",  # of an instruction, left for copies
)
EDGE_FEATURES = ("share", "bytes")
CANDIDATE_ROLES = ("buffer", "instruction", "next_instruction")
CANDIDATE_FEATURES = (
    "drop",
    "no_copy",
    "copy",
    "legal",
    "write",
    "size",
    "gain",  # fall of latency now, before the stall
    "stall",
    "share",  # of this access, if it is served from fast memory
    "last_gain",  # fall of latency if all other accesses of the instruction were fast
    "place_cost",  # of the window that the candidate takes, this access included
    "net_gain",  # share - place_cost - stall
    "next_share",  # of the next read, if the buffer is in fast memory afterwards
    "next_distance",  # time to it
    "next_cost",  # of keeping it until then
    "keep_value",  # best sum of share - cost over the reads that follow
    "recopy_demand",  # if the content is in slow memory: time of a copy
    "recopy_supply",  # what the time to the next access supplies for it
    "lost_worth",  # of what would be put over
    "lost_size",
    "lost_nearest",  # 1 / (1 + instructions to the nearest use of what would be lost)
    "window",  # instructions that the place is taken back in time / 16
    "supply_slack",  # time since the access before, all in slow memory, minus the copy's
    "offset",
    "advantage",  # net_gain + keep_value - lost_worth
    "accesses_left",  # of the buffer / 8
    "only_copy",  # 1 if the only copy is in fast memory afterwards
)
LOOKAHEAD_FEATURES = (
    "lookahead",  # latency of the trial, relative to the best candidate's
    "lookahead_drop",  # the same relative to DROP's
    "lookahead_known",  # 1 where a trial was made
)
GLOBAL_FEATURES = (
    "progress",  # share of accesses decided
    "latency",  # of the plan so far / all slow
    "bound",  # latency of everything in fast memory / all slow
    "taken",  # share of fast memory that is in use at this instruction
    "pending",  # share that holds what will be read again
    "pending_worth",
    "supply",  # left of the last 8 instructions / what they supplied
    "compute",  # of this instruction
    "traffic",  # of this instruction as decided so far
    "price",  # of the capacity at this instruction
    "next_price",  # mean over the next 16 instructions
    "mean_price",  # over the program
    "copy_speed",  # time of moving the buffer to slow memory / time of a copy from there
)


class State(NamedTuple):
    """Arrays of a batch of B games; T, K, N, S: instructions, buffers, accesses, segments.

    L lanes: the game itself and, with lookahead, a trial. Columns are named below. Few arrays, and
    one type for all integers, because numba compiles a kernel anew for every combination of types.
    """

    # the instance
    constants: NDArray[np.int64]  # (B, 8)
    unit: NDArray[np.float64]  # (B, 3) 1 / mean latency, 1 / capacity, 1 / all slow
    access: NDArray[np.int64]  # (B, N, 9)
    value: NDArray[np.float64]  # (B, N, 2)
    clock: NDArray[np.int64]  # (B, T + 1, 3)
    memory: NDArray[np.int64]  # (B, K, 4)
    price: NDArray[np.float64]  # (B, T + 1) sum of the prices before each instruction
    # the partial plan
    totals: NDArray[np.int64]  # (B, L, 6)
    flow: NDArray[np.int64]  # (B, L, T + 1, 3)
    held: NDArray[np.int64]  # (B, L, K, 3)
    segment: NDArray[np.int64]  # (B, L, S, 3)
    decided: NDArray[np.int64]  # (B, N, 3)
    forced: NDArray[np.int8]  # (B, K) strict: kept in slow memory
    proposal: NDArray[np.int64]  # (B, L, A, 6) of the access to decide
    trial: NDArray[np.float64]  # (B, A) what lookahead found
    scratch: NDArray[np.float64]  # (B, T + 1, 2) of _set_prices


#: Columns of ``constants``: counts, bytes, whether the copy model is dynamic, latencies.
INSTRUCTIONS, BUFFERS, ACCESSES, CAPACITY, DYNAMIC, ALL_SLOW, ALL_FAST, WORST = range(8)
#: Columns of ``access``. PREVIOUS and NEXT access of the same buffer, -1 for none; times SLOW and
#: FAST; LEFT accesses of the buffer from here on; WINDOW of a copy, its first instruction.
INSTRUCTION_OF, BUFFER_OF, IS_WRITE, PREVIOUS, NEXT, SLOW, FAST, LEFT, WINDOW = range(9)
#: Columns of ``value``: see NODE_FEATURES, and ``keep_value`` of CANDIDATE_FEATURES. Times.
SHARE, KEEP = range(2)
#: Columns of ``clock``: arithmetic, traffic with all in fast memory, time before with all in slow.
COMPUTE, FAST_TRAFFIC, ELAPSED = range(3)
#: Columns of ``memory``: bytes, time of a copy, time of an eviction, whether it is an output.
PIECE, COPY_TIME, EVICT_TIME, IS_OUTPUT = range(4)
#: Columns of ``totals``; KNOWN instructions have told what they supply.
POSITION, LATENCY, STALL, SEGMENTS, KNOWN, BACKED_UP = range(6)
#: Columns of ``flow``: time of all accesses, the undecided ones slow; time left for copies;
#: union-find over instructions without any (node t + 1 is instruction t).
TRAFFIC, SUPPLY, LINK = range(3)
#: Columns of ``held``: offset while the content is in fast memory, else -1; whether it is in slow
#: memory; the last decided access of the buffer.
PLACE, IN_SLOW, LAST = range(3)
#: Columns of ``segment``: offset, last instruction at which it is occupied, the buffer that is kept
#: there or -1.
BEGIN, UNTIL, OWNER = range(3)
#: Columns of ``decided``.
ACTION, FROM, AT = range(3)
#: Columns of ``proposal``; FIRST instruction of the window in which the place is occupied.
LEGAL, OFFSET, START, GAIN, STALLS, FIRST = range(6)


# ---------------------------------------------------------------- supply of copy time


@njit(cache=True, error_model="numpy", _nrt=False)
def _with_supply(flow, instruction):
    """The latest instruction up to this one that has supply left, or -1."""
    node = instruction + 1
    while flow[node, LINK] != node:
        flow[node, LINK] = flow[flow[node, LINK], LINK]
        node = flow[node, LINK]
    return node - 1


@njit(cache=True, error_model="numpy", _nrt=False)
def _latest_start(flow, instruction, earliest, demand):
    """The latest start, not before ``earliest``, that leaves the copy ``demand``; and what lacks.

    Returns:
        start (its window is what comes after it), time that is missing from ``earliest`` on.
    """
    if demand == 0:
        return instruction - 1, 0
    found = 0
    t = _with_supply(flow, instruction - 1)
    while t > earliest:
        found += flow[t, SUPPLY]
        if found >= demand:
            return t - 1, 0
        t = _with_supply(flow, t - 1)
    return earliest, demand - found


@njit(cache=True, error_model="numpy", _nrt=False)
def _consume(flow, start, instruction, demand):
    """Let a copy take its time, earliest first; what is missing is not taken."""
    t = start + 1
    while demand > 0 and t < instruction:
        used = min(flow[t, SUPPLY], demand)
        if used:
            flow[t, SUPPLY] -= used
            demand -= used
            if flow[t, SUPPLY] == 0:
                flow[t + 1, LINK] = t
        t += 1


# ---------------------------------------------------------------- places in fast memory


@njit(cache=True, error_model="numpy", _nrt=False)
def _segment_at(segment, count, offset):
    """Index of the segment that contains the offset."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if segment[middle, BEGIN] <= offset:
            low = middle
        else:
            high = middle - 1
    return low


@njit(cache=True, error_model="numpy", _nrt=False)
def _weight(access, value, memory, held, buffer, placement, time):
    """What losing a buffer that is kept in fast memory weighs."""
    last = held[buffer, LAST]
    following = access[last, NEXT]
    if placement == BELADY:
        return 1.0 / (1.0 + access[following, INSTRUCTION_OF] - time)
    if placement == LRU:
        return access[last, INSTRUCTION_OF] + 1.0
    stall = 0.0 if held[buffer, IN_SLOW] else float(memory[buffer, EVICT_TIME])
    return value[following, SHARE] + stall


@njit(cache=True, error_model="numpy", _nrt=False)
def _choose_place(
    access, value, memory, held, segment, count, capacity, buffer, first, time, placement
):
    """Offset of a place for a buffer that is free from instruction ``first`` on, or -1."""
    size = memory[buffer, PIECE]
    best, best_loss, best_gap = -1, np.inf, 2**62
    low = 0
    while low < count:
        if segment[low, UNTIL] >= first:
            low += 1
            continue
        high = low  # the run of free segments low:high
        while high < count and segment[high, UNTIL] < first:
            high += 1
        end = segment[high, BEGIN] if high < count else capacity
        gap = end - segment[low, BEGIN]
        if gap >= size and placement == LOWEST:
            return segment[low, BEGIN]
        if gap >= size and placement == BEST_FIT:
            if gap < best_gap:
                best, best_gap = segment[low, BEGIN], gap
        elif gap >= size:
            loss, j = 0.0, low
            for i in range(low, high):
                offset = segment[i, BEGIN]
                if offset + size > end:
                    break
                while j < high and segment[j, BEGIN] < offset + size:
                    k = segment[j, OWNER]
                    if k >= 0 and k != buffer:
                        loss += _weight(access, value, memory, held, k, placement, time)
                    j += 1
                if loss < best_loss:
                    best, best_loss = offset, loss
                    if loss <= 0.0:
                        return best
                k = segment[i, OWNER]
                if j == i + 1:
                    loss = 0.0  # no rounding is left behind
                elif k >= 0 and k != buffer:
                    loss -= _weight(access, value, memory, held, k, placement, time)
        low = high
    return best


@njit(cache=True, error_model="numpy", _nrt=False)
def _put(segment, held, count, capacity, offset, size, buffer, time):
    """Occupy a place up to instruction ``time``; what it overlaps is lost. Returns the count."""
    i = _segment_at(segment, count, offset)
    j = _segment_at(segment, count, offset + size - 1)
    end = segment[j + 1, BEGIN] if j + 1 < count else capacity
    for s in range(i, j + 1):
        if segment[s, OWNER] >= 0:
            held[segment[s, OWNER], PLACE] = -1
            segment[s, OWNER] = -1
    until = segment[j, UNTIL]
    new = i + 1 if segment[i, BEGIN] < offset else i  # where the new segment goes
    rest = offset + size < end
    after = new + 2 if rest else new + 1  # where what follows goes
    shift = after - (j + 1)
    if shift > 0:
        for s in range(count - 1, j, -1):
            for column in range(3):
                segment[s + shift, column] = segment[s, column]
    elif shift < 0:
        for s in range(j + 1, count):
            for column in range(3):
                segment[s + shift, column] = segment[s, column]
    segment[new, BEGIN], segment[new, UNTIL], segment[new, OWNER] = offset, time, buffer
    if rest:
        segment[new + 1, BEGIN], segment[new + 1, UNTIL] = offset + size, until
        segment[new + 1, OWNER] = -1
    return count + shift


# ---------------------------------------------------------------- the game


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _gain(state, row, lane, i):
    """Fall of latency when access i is served from fast memory."""
    t = state.access[row, i, INSTRUCTION_OF]
    traffic, compute = state.flow[row, lane, t, TRAFFIC], state.clock[row, t, COMPUTE]
    saved = state.access[row, i, SLOW] - state.access[row, i, FAST]
    return max(traffic, compute) - max(traffic - saved, compute)


@njit(cache=True, error_model="numpy", _nrt=False)
def _propose(state, row, lane, i, placement, strict):
    """Fill the proposals of access i; returns how many candidates are legal."""
    k, t = state.access[row, i, BUFFER_OF], state.access[row, i, INSTRUCTION_OF]
    before = state.access[row, i, PREVIOUS]
    size, capacity = state.memory[row, k, PIECE], state.constants[row, CAPACITY]
    in_slow, place = state.held[row, lane, k, IN_SLOW], state.held[row, lane, k, PLACE]
    write = state.access[row, i, IS_WRITE]
    p = state.proposal[row, lane]
    count = state.totals[row, lane, SEGMENTS]
    for a in range(p.shape[0]):
        p[a, LEGAL] = 0
        p[a, OFFSET] = -1
        p[a, START] = -1
        p[a, GAIN] = 0
        p[a, STALLS] = 0
        p[a, FIRST] = t
    evicts = not write and not in_slow
    p[DROP, LEGAL] = not (strict and evicts)
    p[DROP, STALLS] = state.memory[row, k, EVICT_TIME] if evicts else 0
    legal = p[DROP, LEGAL]
    if size > capacity or (strict and state.forced[row, k]):
        return legal
    gain = _gain(state, row, lane, i)
    ends = state.access[row, i, NEXT] < 0 and state.memory[row, k, IS_OUTPUT] != 0
    p[NO_COPY, GAIN] = gain
    p[NO_COPY, STALLS] = state.memory[row, k, EVICT_TIME] if ends and (write or not in_slow) else 0
    same_instruction = before >= 0 and state.access[row, before, INSTRUCTION_OF] == t
    if write and not (same_instruction and place >= 0):
        p[NO_COPY, OFFSET] = _choose_place(
            state.access[row], state.value[row], state.memory[row], state.held[row, lane],
            state.segment[row, lane], count, capacity, k, t, t, placement,
        )  # fmt: skip
    else:
        p[NO_COPY, OFFSET] = place
        if not write and before >= 0:
            p[NO_COPY, FIRST] = state.access[row, before, INSTRUCTION_OF] + 1
    p[NO_COPY, LEGAL] = p[NO_COPY, OFFSET] >= 0 and not (strict and p[NO_COPY, STALLS] > 0)
    legal += p[NO_COPY, LEGAL]
    if write or not in_slow:
        return legal
    earliest = state.access[row, before, INSTRUCTION_OF] if before >= 0 else -1
    start, missing = _latest_start(
        state.flow[row, lane], t, earliest, state.memory[row, k, COPY_TIME]
    )
    if missing and not state.constants[row, DYNAMIC]:
        return legal
    distance = t - start
    for a in range(COPY, p.shape[0]):
        if start < earliest:
            break
        offset = _choose_place(
            state.access[row], state.value[row], state.memory[row], state.held[row, lane],
            state.segment[row, lane], count, capacity, k, start + 1, t, placement,
        )  # fmt: skip
        if offset < 0:
            break  # an earlier start needs the place for longer
        p[a, LEGAL] = 1
        p[a, OFFSET] = offset
        p[a, START] = start
        p[a, GAIN] = gain
        p[a, STALLS] = missing
        p[a, FIRST] = start + 1
        legal += 1
        distance *= 2
        start = t - distance
    return legal


@njit(cache=True, error_model="numpy", _nrt=False)
def _apply(state, row, lane, i, a):
    """Take candidate ``a`` for access i, as proposed, and go to the next access."""
    k, t = state.access[row, i, BUFFER_OF], state.access[row, i, INSTRUCTION_OF]
    p = state.proposal[row, lane, a]
    totals = state.totals[row, lane]
    following = state.access[row, i, NEXT]
    segment, held = state.segment[row, lane], state.held[row, lane]
    stays = a == NO_COPY and held[k, PLACE] >= 0 and p[OFFSET] == held[k, PLACE]
    if not stays:
        _release(state, row, lane, k)
    if a == DROP:
        held[k, IN_SLOW] = 1
    else:
        saved = state.access[row, i, SLOW] - state.access[row, i, FAST]
        state.flow[row, lane, t, TRAFFIC] -= saved
        kept = following >= 0 and state.access[row, following, IS_WRITE] == 0
        if stays:
            s = _segment_at(segment, totals[SEGMENTS], p[OFFSET])
            segment[s, UNTIL] = t
            segment[s, OWNER] = k if kept else -1
        else:
            totals[SEGMENTS] = _put(
                segment, held, totals[SEGMENTS], state.constants[row, CAPACITY], p[OFFSET],
                state.memory[row, k, PIECE], k if kept else -1, t,
            )  # fmt: skip
        in_place = following >= 0 and state.access[row, following, INSTRUCTION_OF] == t
        held[k, PLACE] = p[OFFSET] if kept or in_place else -1
        if a >= COPY:
            _consume(state.flow[row, lane], p[START], t, state.memory[row, k, COPY_TIME])
        elif state.access[row, i, IS_WRITE]:
            held[k, IN_SLOW] = 0
        if following < 0 and state.memory[row, k, IS_OUTPUT]:
            held[k, IN_SLOW] = 1
    state.held[row, lane, k, LAST] = i
    totals[LATENCY] -= p[GAIN]
    totals[STALL] += p[STALLS]
    totals[POSITION] = i + 1
    _learn_supply(state, row, lane)


@njit(cache=True, error_model="numpy", _nrt=False)
def _release(state, row, lane, k):
    """A buffer is no longer kept in fast memory."""
    segment, held = state.segment[row, lane], state.held[row, lane]
    if held[k, PLACE] >= 0:
        s = _segment_at(segment, state.totals[row, lane, SEGMENTS], held[k, PLACE])
        segment[s, OWNER] = -1
        held[k, PLACE] = -1


@njit(cache=True, error_model="numpy", _nrt=False)
def _learn_supply(state, row, lane):
    """Dynamic: instructions that are decided supply the time they take."""
    totals, flow = state.totals[row, lane], state.flow[row, lane]
    if not state.constants[row, DYNAMIC]:
        return
    i = totals[POSITION]
    end = (
        state.access[row, i, INSTRUCTION_OF]
        if i < state.constants[row, ACCESSES]
        else state.constants[row, INSTRUCTIONS]
    )
    for t in range(totals[KNOWN], end):
        latency = max(state.clock[row, t, COMPUTE], flow[t, TRAFFIC])
        flow[t, SUPPLY] = latency
        flow[t + 1, LINK] = t + 1 if latency else t
    totals[KNOWN] = end


@njit(cache=True, error_model="numpy", _nrt=False)
def _begin(state, row, lane):
    """The start of the game: nothing decided, fast memory empty."""
    instructions, accesses = state.constants[row, INSTRUCTIONS], state.constants[row, ACCESSES]
    flow, held, segment = state.flow[row, lane], state.held[row, lane], state.segment[row, lane]
    flow[0, LINK] = 0
    for t in range(instructions):
        supplied = state.clock[row, t + 1, ELAPSED] - state.clock[row, t, ELAPSED]
        if state.constants[row, DYNAMIC]:
            supplied = 0  # not known yet
        flow[t, TRAFFIC] = 0
        flow[t, SUPPLY] = supplied
        flow[t + 1, LINK] = t + 1 if supplied else t
    for i in range(accesses):
        flow[state.access[row, i, INSTRUCTION_OF], TRAFFIC] += state.access[row, i, SLOW]
    held[:, PLACE] = -1
    held[:, IN_SLOW] = 1
    held[:, LAST] = -1
    segment[0, BEGIN], segment[0, UNTIL], segment[0, OWNER] = 0, -1, -1
    totals = state.totals[row, lane]
    totals[POSITION] = 0
    totals[LATENCY] = state.constants[row, ALL_SLOW]
    totals[STALL] = 0
    totals[SEGMENTS] = 1
    totals[KNOWN] = 0
    totals[BACKED_UP] = 1
    _learn_supply(state, row, lane)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _decide(state, row, i, a):
    """Take a candidate and remember it."""
    state.decided[row, i, ACTION] = a
    state.decided[row, i, FROM] = state.proposal[row, 0, a, START]
    state.decided[row, i, AT] = -1 if a == DROP else state.proposal[row, 0, a, OFFSET]
    _apply(state, row, 0, i, a)


# ---------------------------------------------------------------- an instance, its prices


@njit(cache=True, error_model="numpy")
def load_row(
    state, observation, row, access_offsets, buffers, writes, previous, following, slow, fast,
    access_bytes, compute, pieces, copies, evictions, outputs, capacity, dynamic,
):  # fmt: skip
    """Put an instance into ``row`` and write its graph; :func:`refresh` writes the rest.

    Args:
        state, observation: batch arrays.
        row: which one.
        access_offsets ... outputs: of the instance, see State.
        capacity: bytes of fast memory, a multiple of the alignment.
        dynamic: whether the copy model is the dynamic one.
    """
    instructions, accesses, count = len(compute), len(buffers), len(pieces)
    constants = state.constants[row]
    constants[INSTRUCTIONS], constants[BUFFERS], constants[ACCESSES] = instructions, count, accesses
    access, memory = state.access[row], state.memory[row]
    for t in range(instructions):
        state.clock[row, t, COMPUTE] = compute[t]
        for i in range(access_offsets[t], access_offsets[t + 1]):
            access[i, INSTRUCTION_OF] = t
    access[:accesses, BUFFER_OF] = buffers
    access[:accesses, IS_WRITE] = writes
    access[:accesses, PREVIOUS] = previous
    access[:accesses, NEXT] = following
    access[:accesses, SLOW] = slow
    access[:accesses, FAST] = fast
    memory[:count, PIECE] = pieces
    memory[:count, COPY_TIME] = copies
    memory[:count, EVICT_TIME] = evictions
    memory[:count, IS_OUTPUT] = outputs
    state.forced[row] = 0
    _measure(state, row, access_offsets, capacity, dynamic)
    _set_prices(state, row)
    _set_keep_values(state, row)
    _begin(state, row, 0)
    _observe_graph(state, observation, row, access_bytes)


@njit(cache=True, error_model="numpy")
def _measure(state, row, access_offsets, capacity, dynamic):
    """Latencies, shares, bounds and units."""
    instructions, accesses = state.constants[row, INSTRUCTIONS], state.constants[row, ACCESSES]
    all_slow, all_fast, stalls = 0, 0, 0
    for t in range(instructions):
        slow, fast = 0, 0
        for i in range(access_offsets[t], access_offsets[t + 1]):
            slow += state.access[row, i, SLOW]
            fast += state.access[row, i, FAST]
        joint = max(slow, state.clock[row, t, COMPUTE]) - max(fast, state.clock[row, t, COMPUTE])
        for i in range(access_offsets[t], access_offsets[t + 1]):
            saved = state.access[row, i, SLOW] - state.access[row, i, FAST]
            state.value[row, i, SHARE] = saved * (joint / (slow - fast)) if saved else 0.0
        state.clock[row, t, FAST_TRAFFIC] = fast
        state.clock[row, t, ELAPSED] = all_slow
        all_slow += max(slow, state.clock[row, t, COMPUTE])
        all_fast += max(fast, state.clock[row, t, COMPUTE])
    state.clock[row, instructions, ELAPSED] = all_slow
    for i in range(accesses - 1, -1, -1):
        k, following = state.access[row, i, BUFFER_OF], state.access[row, i, NEXT]
        state.access[row, i, LEFT] = 1 + (
            state.access[row, following, LEFT] if following >= 0 else 0
        )
        if not state.access[row, i, IS_WRITE]:
            stalls += state.memory[row, k, EVICT_TIME] + (
                state.memory[row, k, COPY_TIME] if dynamic else 0
            )
        if following < 0 and state.memory[row, k, IS_OUTPUT]:
            stalls += state.memory[row, k, EVICT_TIME]
    constants = state.constants[row]
    constants[CAPACITY] = capacity
    constants[DYNAMIC] = dynamic
    constants[ALL_SLOW] = all_slow
    constants[ALL_FAST] = all_fast
    constants[WORST] = all_slow + stalls
    state.unit[row, 0] = instructions / max(all_slow, 1)
    state.unit[row, 1] = 1.0 / capacity if capacity else 0.0
    state.unit[row, 2] = 1.0 / max(all_slow, 1)


@njit(cache=True, error_model="numpy")
def _set_prices(state, row):
    """Prices of capacity: a subgradient method on its Lagrange multipliers, offsets left out.

    Each access is taken to be fast when its share exceeds what the space costs: from the access
    before, or, for a copy, as long as the copy takes with everything in slow memory; a write only
    at its instruction. Where the chosen ones need more than the capacity the price rises.
    """
    instructions, accesses = state.constants[row, INSTRUCTIONS], state.constants[row, ACCESSES]
    capacity = state.constants[row, CAPACITY]
    price = state.price[row]
    demand, mean = state.scratch[row, :, 0], state.scratch[row, :, 1]
    price[:] = 0.0
    mean[:] = 0.0
    if capacity == 0:
        return
    total = 0.0
    for i in range(accesses):
        if state.memory[row, state.access[row, i, BUFFER_OF], PIECE] <= capacity:
            total += state.value[row, i, SHARE]
        _set_window(state, row, i)
    rise = total / (capacity * float(instructions))
    if rise == 0.0:
        return
    for step in range(PRICE_STEPS):
        demand[:] = 0.0
        for i in range(accesses):
            k, t = state.access[row, i, BUFFER_OF], state.access[row, i, INSTRUCTION_OF]
            size = state.memory[row, k, PIECE]
            if size > capacity:
                continue
            first = t
            cost = price[t + 1] - price[t]
            if not state.access[row, i, IS_WRITE]:
                first = state.access[row, i, WINDOW]
                cost = price[t + 1] - price[first]
                before = state.access[row, i, PREVIOUS]
                if before >= 0:
                    kept = state.access[row, before, INSTRUCTION_OF] + 1
                    if price[t + 1] - price[kept] < cost:
                        first, cost = kept, price[t + 1] - price[kept]
            if state.value[row, i, SHARE] > size * cost:
                demand[first] += size
                demand[t + 1] -= size
        rate = 2.0 * rise / (1.0 + 0.15 * step)
        load, before_this = 0.0, price[0]
        new = 0.0
        for t in range(instructions):
            load += demand[t]
            old = price[t + 1] - before_this
            before_this = price[t + 1]
            excess = min(load / capacity - 1.0, 3.0)
            new = max(0.0, old + rate * excess)
            if step >= PRICE_STEPS // 2:
                mean[t] += new / (PRICE_STEPS - PRICE_STEPS // 2)
            price[t + 1] = price[t] + new
    for t in range(instructions):
        price[t + 1] = price[t] + mean[t]


@njit(cache=True, error_model="numpy")
def _set_window(state, row, i):
    """The first instruction of a copy for access i that runs as late as it can, nothing else on."""
    t = state.access[row, i, INSTRUCTION_OF]
    elapsed = state.clock[row, :, ELAPSED]
    due = elapsed[t] - state.memory[row, state.access[row, i, BUFFER_OF], COPY_TIME]
    low, high = 0, t  # the latest start whose window begins at ``due`` or before
    while low < high:
        middle = (low + high + 1) // 2
        if elapsed[middle] <= due:
            low = middle
        else:
            high = middle - 1
    state.access[row, i, WINDOW] = low


@njit(cache=True, error_model="numpy")
def _set_keep_values(state, row):
    """From the end: what keeping a buffer after an access is worth by shares and prices."""
    price = state.price[row]
    for i in range(state.constants[row, ACCESSES] - 1, -1, -1):
        following = state.access[row, i, NEXT]
        value = 0.0
        if following >= 0 and not state.access[row, following, IS_WRITE]:
            t, then = (
                state.access[row, i, INSTRUCTION_OF],
                state.access[row, following, INSTRUCTION_OF],
            )
            cost = state.memory[row, state.access[row, i, BUFFER_OF], PIECE] * (
                price[then + 1] - price[t + 1]
            )
            value = state.value[row, following, SHARE] - cost + state.value[row, following, KEEP]
        state.value[row, i, KEEP] = max(value, 0.0)


# ---------------------------------------------------------------- rule and trials


@njit(cache=True, error_model="numpy", _nrt=False)
def _lost(state, row, lane, offset, size, buffer, time):
    """What is put over at a place: its worth, its bytes, instructions to its nearest use."""
    count = state.totals[row, lane, SEGMENTS]
    segment, held = state.segment[row, lane], state.held[row, lane]
    worth, lost, nearest = 0.0, 0.0, np.inf
    s = _segment_at(segment, count, offset)
    while s < count and segment[s, BEGIN] < offset + size:
        k = segment[s, OWNER]
        if k >= 0 and k != buffer:
            following = state.access[row, held[k, LAST], NEXT]
            worth += state.value[row, following, SHARE]
            if not held[k, IN_SLOW]:
                worth += state.memory[row, k, EVICT_TIME]
            lost += state.memory[row, k, PIECE]
            nearest = min(nearest, float(state.access[row, following, INSTRUCTION_OF] - time))
        s += 1
    return worth, lost, nearest


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _place_cost(state, row, lane, i, a):
    """Bytes times prices of the window that a candidate takes."""
    p = state.proposal[row, lane, a]
    t = state.access[row, i, INSTRUCTION_OF]
    price = state.price[row]
    return state.memory[row, state.access[row, i, BUFFER_OF], PIECE] * (
        price[t + 1] - price[p[FIRST]]
    )


@njit(cache=True, error_model="numpy", _nrt=False)
def _choose(state, row, lane, i):
    """The rule of trials: what is gained now and, in part, next, against what is put over."""
    k, t = state.access[row, i, BUFFER_OF], state.access[row, i, INSTRUCTION_OF]
    p = state.proposal[row, lane]
    following = state.access[row, i, NEXT]
    kept = 0.0
    if following >= 0 and not state.access[row, following, IS_WRITE]:
        kept = RULE_NEXT * state.value[row, following, SHARE]
    chosen, best = -1, -np.inf
    for a in range(p.shape[0]):
        if not p[a, LEGAL]:
            continue
        value = float(p[a, GAIN] - p[a, STALLS])
        if a != DROP:
            value += kept
            if a != NO_COPY or state.access[row, i, IS_WRITE]:
                size = state.memory[row, k, PIECE]
                value -= RULE_LOST * _lost(state, row, lane, p[a, OFFSET], size, k, t)[0]
        if value > best:
            chosen, best = a, value
    return chosen


@njit(cache=True, error_model="numpy", _nrt=False)
def _copy_lane(state, row):
    """Lane 1 becomes what lane 0 is."""
    instructions, buffers = state.constants[row, INSTRUCTIONS], state.constants[row, BUFFERS]
    for column in range(6):
        state.totals[row, 1, column] = state.totals[row, 0, column]
    _copy(state.flow[row, 0], state.flow[row, 1], instructions + 1)
    _copy(state.held[row, 0], state.held[row, 1], buffers)
    _copy(state.segment[row, 0], state.segment[row, 1], state.totals[row, 0, SEGMENTS])
    _copy(state.proposal[row, 0], state.proposal[row, 1], state.proposal.shape[2])


@njit(cache=True, error_model="numpy", _nrt=False)
def _copy(source, target, count):
    """Copy the first ``count`` lines (a slice would allocate)."""
    for j in range(count):
        for column in range(source.shape[1]):
            target[j, column] = source[j, column]


@njit(cache=True, error_model="numpy", _nrt=False)
def _try(state, row, a, placement, horizon):
    """Latency when candidate ``a`` is taken and the rule decides the next ``horizon`` accesses."""
    _copy_lane(state, row)
    i = state.totals[row, 1, POSITION]
    end = min(state.constants[row, ACCESSES], i + horizon)
    for j in range(i, end):
        if j > i:
            _propose(state, row, 1, j, placement, 0)
            a = _choose(state, row, 1, j)
        _apply(state, row, 1, j, a)
    return _outlook(state, row, 1)


@njit(cache=True, error_model="numpy", _nrt=False)
def _outlook(state, row, lane):
    """Latency so far, as if the next access of all that is kept were served from there."""
    totals, segment, held = state.totals[row, lane], state.segment[row, lane], state.held[row, lane]
    latency = float(totals[LATENCY] + totals[STALL])
    for s in range(totals[SEGMENTS]):
        k = segment[s, OWNER]
        if k >= 0:
            keep = state.value[row, held[k, LAST], KEEP]
            latency -= keep
            if not held[k, IN_SLOW] and keep == 0.0:
                latency += state.memory[row, k, EVICT_TIME]
    return latency


# ---------------------------------------------------------------- plans as wishes


@njit(cache=True, error_model="numpy", _nrt=False)
def _grant(state, row, i, wishes, placement):
    """Decide access i: fast memory if it is wished for and legal, -1: what the rule says."""
    _propose(state, row, 0, i, placement, 0)
    p = state.proposal[row, 0]
    a = DROP
    if wishes[i] < 0:
        a = _choose(state, row, 0, i)
    elif wishes[i] > 0:
        a = NO_COPY if p[NO_COPY, LEGAL] else (COPY if p[COPY, LEGAL] else DROP)
    _decide(state, row, i, a)
    following = state.access[row, i, NEXT]
    if following >= 0 and wishes[following] == 0:  # what nobody wishes for protects no place
        _release(state, row, 0, state.access[row, i, BUFFER_OF])


@njit(cache=True, error_model="numpy")
def decode(state, row, wishes, placement):
    """Play the whole game: fast memory where it is wished for and legal; returns the latency.

    Args:
        state, row: loaded; the row is left at the end of the game.
        wishes: (accesses,) int8: 1 for fast memory, 0 for slow, -1 for what the rule says.
        placement: index into PLACEMENTS.
    """
    _begin(state, row, 0)
    for i in range(state.constants[row, ACCESSES]):
        _grant(state, row, i, wishes, placement)
    return state.totals[row, 0, LATENCY] + state.totals[row, 0, STALL]


class Marks(NamedTuple):
    """The game as it was before every ``stride``-th access of a plan."""

    totals: NDArray[np.int64]  # (M, 6), as in State
    flow: NDArray[np.int64]  # (M, T + 1, 3)
    held: NDArray[np.int64]  # (M, K, 3)
    segment: NDArray[np.int64]  # (M, S, 3)
    outlook: NDArray[np.float64]  # (M,)


@njit(cache=True, error_model="numpy", _nrt=False)
def _mark(state, row, marks, m):
    """Note where the game is."""
    for column in range(6):
        marks.totals[m, column] = state.totals[row, 0, column]
    _copy(state.flow[row, 0], marks.flow[m], state.constants[row, INSTRUCTIONS] + 1)
    _copy(state.held[row, 0], marks.held[m], state.constants[row, BUFFERS])
    _copy(state.segment[row, 0], marks.segment[m], state.totals[row, 0, SEGMENTS])
    marks.outlook[m] = _outlook(state, row, 0)


@njit(cache=True, error_model="numpy", _nrt=False)
def _return_to(state, row, marks, m):
    """Go back to where the game was."""
    for column in range(6):
        state.totals[row, 0, column] = marks.totals[m, column]
    _copy(marks.flow[m], state.flow[row, 0], state.constants[row, INSTRUCTIONS] + 1)
    _copy(marks.held[m], state.held[row, 0], state.constants[row, BUFFERS])
    _copy(marks.segment[m], state.segment[row, 0], state.totals[row, 0, SEGMENTS])


@njit(cache=True, error_model="numpy", _nrt=False)
def _play_on(state, row, wishes, placement, marks, stride):
    """From where the game is to its end, with new marks; returns the latency."""
    for i in range(state.totals[row, 0, POSITION], state.constants[row, ACCESSES]):
        if i % stride == 0:
            _mark(state, row, marks, i // stride)
        _grant(state, row, i, wishes, placement)
    return state.totals[row, 0, LATENCY] + state.totals[row, 0, STALL]


@njit(cache=True, error_model="numpy", _nrt=False)
def _try_wishes(state, row, wishes, placement, marks, stride, first, last):
    """Latency of wishes that differ from the plan's from access ``first`` to ``last``.

    Returns:
        the latency; -1 when the outlook is worse than the plan's a stride after the last change.
    """
    _return_to(state, row, marks, first // stride)
    for i in range(state.totals[row, 0, POSITION], state.constants[row, ACCESSES]):
        at_mark = i % stride == 0 and i > last + stride
        if at_mark and _outlook(state, row, 0) > marks.outlook[i // stride]:
            return -1
        _grant(state, row, i, wishes, placement)
    return state.totals[row, 0, LATENCY] + state.totals[row, 0, STALL]


@njit(cache=True, error_model="numpy")
def improve(state, row, wishes, rounds, placement, rng):
    """Change wishes at random and keep what does not make the plan slower; returns its latency.

    A change takes an access and gives it, and in half of the cases also some accesses of the same
    buffer after it, another wish; now and then two accesses close to each other are changed. The
    game is played from the last mark before the change, and no further than there is hope.

    Args:
        state, row: loaded.
        wishes: (accesses,) int8, changed in place.
        rounds: number of changes that are tried.
        placement: index into PLACEMENTS.
        rng: numpy Generator.
    """
    accesses = state.constants[row, ACCESSES]
    stride = max(LEAST_STRIDE, -(-accesses // MARKS))
    number = -(-accesses // stride)
    marks = Marks(
        np.empty((number, 6), dtype=np.int64),
        np.empty((number, *state.flow.shape[2:]), dtype=np.int64),
        np.empty((number, *state.held.shape[2:]), dtype=np.int64),
        np.empty((number, *state.segment.shape[2:]), dtype=np.int64),
        np.empty(number),
    )
    _begin(state, row, 0)
    best = _play_on(state, row, wishes, placement, marks, stride)
    changed = np.empty(2 * accesses, dtype=np.int64)
    old = np.empty(2 * accesses, dtype=np.int8)
    for _ in range(rounds):
        count = 0
        centre = rng.integers(0, accesses)
        for _ in range(rng.integers(1, 4)):
            i = min(max(centre + rng.integers(-12, 13), 0), accesses - 1)
            wish = 1 - max(wishes[i], 0) if rng.random() < 0.8 else -1
            run = 1 if rng.random() < 0.5 else rng.integers(1, 5)
            while i >= 0 and run > 0 and count < len(changed):
                changed[count], old[count] = i, wishes[i]
                wishes[i] = wish
                count += 1
                run -= 1
                i = state.access[row, i, NEXT]
        first, last = changed[:count].min(), changed[:count].max()
        # what precedes a change looks at the wish to know what to protect
        for c in range(count):
            before = state.access[row, changed[c], PREVIOUS]
            first = min(first, before) if before >= 0 else first
        latency = _try_wishes(state, row, wishes, placement, marks, stride, first, last)
        if 0 <= latency < best or (latency == best and rng.random() < TIES):
            best = latency
            _return_to(state, row, marks, first // stride)
            _play_on(state, row, wishes, placement, marks, stride)
        else:
            for c in range(count - 1, -1, -1):
                wishes[changed[c]] = old[c]
    return best


# ---------------------------------------------------------------- observation


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _bounded(value):
    """A feature that extreme ratios of bandwidths and bytes would carry past the bound."""
    return min(max(value, f32(-1e6)), f32(1e6))


@njit(cache=True, error_model="numpy")
def _observe_graph(state, observation, row, access_bytes):
    """Write nodes, edges and the initial node state; clear what a larger instance left."""
    instructions, accesses = state.constants[row, INSTRUCTIONS], state.constants[row, ACCESSES]
    buffers = state.constants[row, BUFFERS]
    unit, per_byte, whole = state.unit[row]
    shift = state.memory.shape[1]  # instruction t is node shift + t
    capacity = state.constants[row, CAPACITY]
    nodes, node_state = observation.nodes[row], observation.node_state[row]
    node_type, edges = observation.node_type[row], observation.edges[row]
    edge_type, edge_features = observation.edge_type[row], observation.edge_features[row]
    nodes[:] = 0
    node_state[:] = 0
    node_type[:] = -1
    edges[:] = -1
    edge_type[:] = -1
    edge_features[:] = 0
    observation.candidates[row] = 0
    observation.candidate_nodes[row] = -1
    observation.action_mask[row] = 0
    elapsed, price = state.clock[row, :, ELAPSED], state.price[row]
    for k in range(buffers):
        node_type[k] = BUFFER
        nodes[k, 0] = min(state.memory[row, k, PIECE] * per_byte, 1e6)
        nodes[k, 7] = state.memory[row, k, IS_OUTPUT]
        node_state[k, 1] = 1
    for t in range(instructions):
        node = shift + t
        node_type[node] = INSTRUCTION
        nodes[node, 4] = elapsed[t] * whole
        nodes[node, 5] = state.clock[row, t, COMPUTE] * unit
        nodes[node, 6] = min((price[t + 1] - price[t]) * capacity * unit, 1e6)
        node_state[node, 2] = (elapsed[t + 1] - elapsed[t]) * unit
        node_state[node, 3] = state.flow[row, 0, t, SUPPLY] * unit
    e = 0
    for i in range(accesses):
        k, t = state.access[row, i, BUFFER_OF], state.access[row, i, INSTRUCTION_OF]
        for end in range(2):
            node = k if end == 0 else shift + t
            nodes[node, 1] += 0.125
            nodes[node, 2] += state.value[row, i, SHARE] * unit
            nodes[node, 3] += state.access[row, i, SLOW] * unit
        before = state.access[row, i, PREVIOUS]
        if before >= 0:
            nodes[k, 4] += (elapsed[t] - elapsed[state.access[row, before, INSTRUCTION_OF]]) * whole
        write = state.access[row, i, IS_WRITE]
        edges[0, e], edges[1, e] = (shift + t, k) if write else (k, shift + t)
        edge_type[e] = WRITES if write else READS
        edge_features[e, 0] = state.value[row, i, SHARE] * unit
        edge_features[e, 1] = min(access_bytes[i] * per_byte, 1e6)
        e += 1
    for t in range(instructions - 1):
        edges[0, e], edges[1, e], edge_type[e] = shift + t, shift + t + 1, FOLLOWS
        e += 1


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _observe_decision(state, observation, row, i, a):
    """Refresh the state of the nodes that a decision changes; call it before the decision."""
    node_state = observation.node_state[row]
    p = state.proposal[row, 0, a]
    if a == DROP or (a == NO_COPY and not state.access[row, i, IS_WRITE]):
        return
    segment, count = state.segment[row, 0], state.totals[row, 0, SEGMENTS]
    end = p[OFFSET] + state.memory[row, state.access[row, i, BUFFER_OF], PIECE]
    s = _segment_at(segment, count, p[OFFSET])
    while s < count and segment[s, BEGIN] < end:
        if segment[s, OWNER] >= 0:
            node_state[segment[s, OWNER], 0] = 0
        s += 1


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _observe_outcome(state, observation, row, i, known):
    """The same after the decision; ``known`` instructions supplied before it (dynamic)."""
    node_state = observation.node_state[row]
    k, t = state.access[row, i, BUFFER_OF], state.access[row, i, INSTRUCTION_OF]
    unit = state.unit[row, 0]
    shift = state.memory.shape[1]
    node_state[k, 0] = state.held[row, 0, k, PLACE] >= 0
    node_state[k, 1] = state.held[row, 0, k, IN_SLOW]
    latency = max(state.clock[row, t, COMPUTE], state.flow[row, 0, t, TRAFFIC])
    node_state[shift + t, 2] = latency * unit
    first = state.decided[row, i, FROM] + 1 if state.decided[row, i, ACTION] >= COPY else t
    end = t
    if state.constants[row, DYNAMIC]:  # what became known, too
        first, end = min(first, known), max(t, state.totals[row, 0, KNOWN])
    for j in range(first, end):
        node_state[shift + j, 3] = state.flow[row, 0, j, SUPPLY] * unit


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_all(state, observation, row):
    """The state of every node, after a backup."""
    unit = state.unit[row, 0]
    shift = state.memory.shape[1]
    node_state = observation.node_state[row]
    for k in range(state.constants[row, BUFFERS]):
        node_state[k, 0] = state.held[row, 0, k, PLACE] >= 0
        node_state[k, 1] = state.held[row, 0, k, IN_SLOW]
    for t in range(state.constants[row, INSTRUCTIONS]):
        latency = max(state.clock[row, t, COMPUTE], state.flow[row, 0, t, TRAFFIC])
        node_state[shift + t, 2] = latency * unit
        node_state[shift + t, 3] = state.flow[row, 0, t, SUPPLY] * unit


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe(state, observation, row):
    """Mask, candidate features and globals of the next access; of none after the last."""
    i = state.totals[row, 0, POSITION]
    c = observation.candidates[row]
    mask = observation.action_mask[row]
    if i == state.constants[row, ACCESSES]:
        c[:] = 0
        observation.candidate_nodes[row] = -1
        mask[:] = 0
        _observe_whole(state, observation, row, i - 1)
        return
    k, t = state.access[row, i, BUFFER_OF], state.access[row, i, INSTRUCTION_OF]
    unit, per_byte = f32(state.unit[row, 0]), f32(state.unit[row, 1])
    shift = state.memory.shape[1]
    p = state.proposal[row, 0]
    following = state.access[row, i, NEXT]
    read_follows = following >= 0 and not state.access[row, following, IS_WRITE]
    then = state.access[row, following, INSTRUCTION_OF] if following >= 0 else t
    size, share = state.memory[row, k, PIECE], state.value[row, i, SHARE]
    price, elapsed = state.price[row], state.clock[row, :, ELAPSED]
    before = state.access[row, i, PREVIOUS]
    compute, traffic = state.clock[row, t, COMPUTE], state.clock[row, t, FAST_TRAFFIC]
    saved = state.access[row, i, SLOW] - state.access[row, i, FAST]
    last_gain = max(traffic + saved, compute) - max(traffic, compute)
    waited = elapsed[t] - (
        elapsed[state.access[row, before, INSTRUCTION_OF] + 1] if before >= 0 else 0
    )
    slack = _bounded(f32(waited - state.memory[row, k, COPY_TIME]) * unit)
    size_feature = _bounded(f32(size) * per_byte)
    for a in range(p.shape[0]):
        mask[a] = p[a, LEGAL]
        nodes = observation.candidate_nodes[row, a]
        nodes[0], nodes[1] = k, shift + t
        nodes[2] = shift + then if following >= 0 else -1
        x = c[a]
        x[:] = 0
        x[0] = a == DROP
        x[1] = a == NO_COPY
        x[2] = a >= COPY
        x[3] = p[a, LEGAL]
        x[4] = state.access[row, i, IS_WRITE]
        x[5] = size_feature
        x[7] = _bounded(f32(p[a, STALLS]) * unit)
        x[8] = f32(share) * unit
        x[9] = f32(last_gain) * unit
        x[13] = f32(elapsed[then] - elapsed[t]) * unit
        x[22] = slack
        x[25] = f32(state.access[row, i, LEFT]) * f32(0.125)
        if a == DROP or (a == NO_COPY and state.access[row, i, IS_WRITE] == 0):
            only = False if a == DROP else state.held[row, 0, k, IN_SLOW] == 0
        else:
            only = a == NO_COPY
        x[26] = only
        if read_follows and not only:
            x[16] = _bounded(f32(state.memory[row, k, COPY_TIME]) * unit)
            x[17] = f32(elapsed[then] - elapsed[t + 1]) * unit
        advantage = -float(p[a, STALLS])
        if a != DROP and p[a, LEGAL]:
            cost = _place_cost(state, row, 0, i, a)
            worth, lost, nearest = 0.0, 0.0, np.inf
            if a != NO_COPY or state.access[row, i, IS_WRITE]:
                worth, lost, nearest = _lost(state, row, 0, p[a, OFFSET], size, k, t)
            x[6] = f32(p[a, GAIN]) * unit
            x[10] = _bounded(f32(cost) * unit)
            if read_follows:
                x[12] = f32(state.value[row, following, SHARE]) * unit
                x[14] = _bounded(f32(size * (price[then + 1] - price[t + 1])) * unit)
                x[15] = f32(state.value[row, i, KEEP]) * unit
            x[18] = _bounded(f32(worth) * unit)
            x[19] = f32(lost) * per_byte
            x[20] = f32(1) / (f32(1) + f32(nearest))
            x[21] = f32(t - p[a, FIRST]) * f32(0.0625)
            x[23] = f32(p[a, OFFSET]) * per_byte
            x[11] = _bounded(f32(share - cost + advantage) * unit)
            advantage += share - cost + state.value[row, i, KEEP] - worth
        x[24] = _bounded(f32(advantage) * unit)
    _observe_whole(state, observation, row, i)


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_trials(state, observation, row, placement, lookahead):
    """Try every legal candidate of a row that has a choice."""
    horizon = TRIAL_ACCESSES if lookahead == 1 else state.constants[row, ACCESSES]
    mask, trial = observation.action_mask[row], state.trial[row]
    unit = state.unit[row, 0]
    best = np.inf
    for a in range(len(mask)):
        trial[a] = 0.0
        if mask[a]:
            trial[a] = _try(state, row, a, placement, horizon)
            best = min(best, trial[a])
    column = len(CANDIDATE_FEATURES)
    reference = trial[DROP] if mask[DROP] else best
    for a in range(len(mask)):
        if mask[a]:
            x = observation.candidates[row, a]
            x[column] = _bounded(f32((trial[a] - best) * unit))
            x[column + 1] = _bounded(f32((trial[a] - reference) * unit))
            x[column + 2] = 1


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_whole(state, observation, row, i):
    """Globals, as seen from access i."""
    instructions, accesses = state.constants[row, INSTRUCTIONS], state.constants[row, ACCESSES]
    t = state.access[row, i, INSTRUCTION_OF]
    unit, per_byte, whole = state.unit[row]
    totals = state.totals[row, 0]
    taken, pending, worth = 0.0, 0.0, 0.0
    segment, count = state.segment[row, 0], totals[SEGMENTS]
    for s in range(count):
        k = segment[s, OWNER]
        if segment[s, UNTIL] >= t or k >= 0:
            end = segment[s + 1, BEGIN] if s + 1 < count else state.constants[row, CAPACITY]
            if segment[s, UNTIL] >= t:
                taken += end - segment[s, BEGIN]
            if k >= 0:
                pending += end - segment[s, BEGIN]
                worth += state.value[
                    row, state.access[row, state.held[row, 0, k, LAST], NEXT], SHARE
                ]
    first = max(0, t - 8)
    left = 0
    for j in range(first, t):
        left += state.flow[row, 0, j, SUPPLY]
    supplied = state.clock[row, t, ELAPSED] - state.clock[row, first, ELAPSED]
    price = state.price[row]
    ahead = min(t + 17, instructions)
    capacity = state.constants[row, CAPACITY]
    g = observation.globals[row]
    g[0] = totals[POSITION] / accesses
    g[1] = _bounded(f32((totals[LATENCY] + totals[STALL]) * whole))
    g[2] = state.constants[row, ALL_FAST] * whole
    g[3] = taken * per_byte
    g[4] = pending * per_byte
    g[5] = worth * unit
    g[6] = left / max(supplied, 1)
    g[7] = state.clock[row, t, COMPUTE] * unit
    g[8] = state.flow[row, 0, t, TRAFFIC] * unit
    g[9] = min((price[t + 1] - price[t]) * capacity * unit, 1e6)
    g[10] = min((price[ahead] - price[t]) / (ahead - t) * capacity * unit, 1e6)
    g[11] = min(price[instructions] / instructions * capacity * unit, 1e6)
    k = state.access[row, i, BUFFER_OF]
    g[12] = min(state.memory[row, k, EVICT_TIME] / max(state.memory[row, k, COPY_TIME], 1), 1e6)


# ---------------------------------------------------------------- steps


@njit(cache=True, error_model="numpy", _nrt=False)
def refresh(state, observation, row, options):
    """Candidates and observation of the next access; with ``strict`` after a backup if need be.

    Args:
        state, observation, row: as for load_row.
        options: placement, strict, lookahead: indices into their modes.
    """
    placement, strict, lookahead = options
    target = i = state.totals[row, 0, POSITION]
    legal = 0
    while i <= target and target < state.constants[row, ACCESSES]:
        legal = _propose(state, row, 0, i, placement, strict)
        if legal == 0:  # keep the buffer in slow memory and play the decisions again
            state.forced[row, state.access[row, i, BUFFER_OF]] = 1
            _begin(state, row, 0)
            i = 0
            continue
        if i < target:
            a = state.decided[row, i, ACTION]
            if not state.proposal[row, 0, a, LEGAL]:
                a = DROP if state.proposal[row, 0, DROP, LEGAL] else NO_COPY
            _decide(state, row, i, a)
        elif state.totals[row, 0, BACKED_UP]:
            _observe_all(state, observation, row)
            state.totals[row, 0, BACKED_UP] = 0
        i += 1
    _observe(state, observation, row)
    if lookahead and legal > 1:
        _observe_trials(state, observation, row, placement, lookahead)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _step_row(state, observation, row, action, options, terminated):
    """One decision; returns the reward."""
    totals = state.totals[row, 0]
    before = totals[LATENCY] + totals[STALL]
    i, known = totals[POSITION], totals[KNOWN]
    _observe_decision(state, observation, row, i, action)
    _decide(state, row, i, action)
    _observe_outcome(state, observation, row, i, known)
    refresh(state, observation, row, options)
    terminated[row] = i + 1 == state.constants[row, ACCESSES]
    return (before - totals[LATENCY] - totals[STALL]) * state.unit[row, 2]


@njit(cache=True, error_model="numpy", _nrt=False)
def step(state, observation, actions, rewards, terminated, options):
    """Apply ``actions`` to every row (-1: leave it), see ``Problem.step``."""
    for row in range(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(state, observation, row, actions[row], options, terminated)


@njit(cache=True, error_model="numpy", _nrt=False, parallel=True)
def step_parallel(state, observation, actions, rewards, terminated, options):
    """The same with rows shared among threads."""
    for index in prange(len(actions)):
        row = np.int64(index)  # the type that step uses, or everything is compiled twice
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(state, observation, row, actions[row], options, terminated)
