"""Numba kernels of the improvement of a job-shop schedule: load, step, candidate moves, observe.

The state is a complete schedule as a disjunctive graph (see
:mod:`makespan.envs.jobshop.disjunctive`); a decision is a move of the neighbourhood of one critical
path, N5 or N6. The incumbent is the best schedule met so far; the reward is what a move takes off
its makespan, divided by the makespan of the first schedule. Source of the game: Zhang, Cao, Song,
Wu & Zhang, Deep reinforcement learning guided improvement heuristic for job shop scheduling, ICLR
2024, called L2S; there with N5, a tabu list of one move and the reward used here.

What a policy may want to know of the past is in the features: when the order that a move restores
was last given up and how often, whether the schedule that a move leads to was visited before (by
the sum of the hashes of its machine arcs, which a move changes in three places, as in Zobrist,
1970), and for how long the incumbent has stood.

Critical paths are drawn by a generator that begins anew with every episode, so an instance and the
actions determine everything. A step costs one pass over the operations, whatever their number of
moves. The kernels of the graph are compiled in their own module: after a change there, the cache of
this one has to be deleted.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from makespan.envs.jobshop.disjunctive import (
    DisjunctiveGraph,
    critical_blocks,
    estimate,
    n5_moves,
    n6_moves,
    neighbours_after_move,
    reinsert,
    select,
)

f32 = np.float32

N5, N6 = range(2)
NEIGHBOURHOODS = ("n5", "n6")
NO_TABU, TABU_LAST = range(2)
TABU_MODES = ("none", "last")

#: Most candidates; of more moves those with the lowest estimates are kept.
MAX_CANDIDATES = 128
#: Slots of the memory of given-up orders, per operation; a newer entry replaces an older one.
SLOTS_PER_OPERATION = 16
#: Slots of the memory of visited schedules, per move of an episode.
SLOTS_PER_MOVE = 4
#: Ages (in moves) are seen as ``MEMORY / (MEMORY + age)``: recent ones finely, old ones coarsely.
MEMORY = 10.0
#: The incumbent's age is seen up to this many moves.
LONGEST_STALL = 100.0
_SEED = np.uint64(0x6D616B657370616E)

OPERATION, MACHINE = range(2)
NODE_TYPES = ("operation", "machine")
PRECEDES, ON_MACHINE = range(2)
EDGE_TYPES = ("precedes", "on_machine")

NODE_FEATURES = (
    "duration",  # in mean durations; for a machine the mean of its operations
    "work_before",  # of the job before the operation / lower bound
    "work_after",  # of the job from the operation on / lower bound
    "load",  # of the machine / lower bound
)
NODE_STATE_FEATURES = (
    "head",  # earliest start / makespan; for a machine that of its first operation
    "tail",  # longest path from its end / makespan; for a machine that of its last operation
    "slack",  # makespan - head - duration - tail, in mean durations
    "critical",  # 1 on the critical path whose moves are the candidates
    "job_waits",  # head - end of the job's previous operation, in mean durations
    "machine_waits",  # head - end of the machine's previous operation, in mean durations
)
EDGE_FEATURES = ("duration",)  # of the operation that the edge leaves, in mean durations
#: A move takes ``moved`` right behind or right before ``target``.
CANDIDATE_ROLES = ("moved", "target", "before", "after", "machine")
CANDIDATE_FEATURES = (
    # times in mean durations
    "change",  # estimated makespan after the move - makespan now
    "over_incumbent",  # estimated makespan - incumbent
    "over_best",  # estimated makespan - lowest estimate of all candidates
    "rank",  # by estimate among the candidates, 0 to 1
    "improves",  # 1 if the estimate is below the makespan
    "new_incumbent",  # 1 if it is below the incumbent
    "moved_duration",
    "target_duration",
    "passed",  # operations passed / 4
    "forward",  # 1 towards the end of the schedule
    "block_length",  # operations / 4
    "block_begin",  # head of the block's first operation / makespan
    "first_block",
    "last_block",
    "moved_job_waits",  # head - end of the job's previous operation
    "target_job_waits",
    "moved_job_rests",  # the same seen from the end of the schedule
    "target_job_rests",
    "given_up",  # recency of the last move that gave up the order which this one restores
    "times_given_up",  # / 4
    "visited",  # 1 if the schedule that it leads to was visited before
    "visit",  # recency of that
    "moved_moved",  # recency of the last move of the operation
    "target_moved",
    "legal",
)
GLOBAL_FEATURES = (
    "stall",  # moves since the last new incumbent / LONGEST_STALL, at most 1
    "over_incumbent",  # makespan - incumbent, in mean durations
    "improved",  # 1 - incumbent / makespan of the first schedule
    "gap",  # incumbent / lower bound - 1
    "candidates",  # / 16
    "visited",  # share of candidates that lead to visited schedules
    "improving",  # share of candidates that promise a lower makespan
    "blocks",  # of the critical path / its operations
    "path",  # operations of the critical path / (jobs + machines)
    "jobs_per_machine",  # / 4
    "end_is_near",  # MEMORY / (MEMORY + moves left)
)


class State(NamedTuple):
    """Arrays of a batch of B schedules; N, M, A: operations, machines, candidates."""

    # the current schedule, each row a DisjunctiveGraph of its own number of operations
    job_prev: NDArray[np.int32]  # (B, N + 1)
    job_next: NDArray[np.int32]  # (B, N + 1)
    machine: NDArray[np.int32]  # (B, N)
    duration: NDArray[np.int32]  # (B, N + 1)
    first_on_machine: NDArray[np.int32]  # (B, M)
    machine_prev: NDArray[np.int32]  # (B, N + 1)
    machine_next: NDArray[np.int32]  # (B, N + 1)
    order: NDArray[np.int32]  # (B, N)
    position: NDArray[np.int32]  # (B, N + 1)
    head: NDArray[np.int32]  # (B, N + 1)
    tail: NDArray[np.int32]  # (B, N + 1)
    mark: NDArray[np.bool_]  # (B, N + 1)
    scratch: NDArray[np.int32]  # (B, N + 1)
    # the episode
    job_offsets: NDArray[np.int32]  # (B, jobs + 1)
    best_order: NDArray[np.int32]  # (B, N) topological order of the incumbent
    seed: NDArray[np.uint64]  # (B, 1) of the draws of critical paths
    totals: NDArray[np.int64]  # (B, 11) columns below
    scale: NDArray[np.float64]  # (B, 2) 1 / mean duration, 1 / makespan of the first schedule
    # the neighbourhood
    path: NDArray[np.int32]  # (B, N) critical path
    blocks: NDArray[np.int32]  # (B, N + 1) its blocks
    moves: NDArray[np.int32]  # (B, 2 N, 2)
    estimates: NDArray[np.int32]  # (B, 2 N) of the makespan after each move
    arrival: NDArray[np.uint64]  # (B, A) hash of the schedule that each candidate leads to
    # memory: hash tables
    hash: NDArray[np.uint64]  # (B, 1) of the current schedule
    visited: NDArray[np.uint64]  # (B, V) hash of a schedule ...
    visit: NDArray[np.int32]  # (B, V) ... and the step after which it was left, -1: empty
    pair: NDArray[np.int64]  # (B, P) number of "a before b" ...
    pair_step: NDArray[np.int32]  # (B, P) ... the step that gave it up last ...
    pair_count: NDArray[np.int32]  # (B, P) ... and how many did
    moved: NDArray[np.int32]  # (B, N) step that moved each operation last, -1 for none


#: Columns of ``totals``.
(
    JOBS,
    MACHINES,
    OPERATIONS,
    LOWER_BOUND,
    INITIAL,
    MAKESPAN,
    INCUMBENT,
    STEP,
    IMPROVED,
    CANDIDATES,
    BLOCKS,
) = range(11)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _graph(state, row):
    """The row's schedule as the graph that the kernels of the disjunctive graph take.

    Its arrays are not counted as references, so only kernels that count none may ask for it.
    """
    n = state.totals[row, OPERATIONS]
    return DisjunctiveGraph(
        state.job_prev[row, : n + 1],
        state.job_next[row, : n + 1],
        state.machine[row, :n],
        state.duration[row, : n + 1],
        state.first_on_machine[row],
        state.machine_prev[row, : n + 1],
        state.machine_next[row, : n + 1],
        state.order[row, :n],
        state.position[row, : n + 1],
        state.head[row, : n + 1],
        state.tail[row, : n + 1],
        state.mark[row, : n + 1],
        state.scratch[row, : n + 1],
    )


@njit(cache=True, error_model="numpy", _nrt=False)
def load_row(
    state,
    observation,
    row,
    num_machines,
    job_offsets,
    machines,
    durations,
    lower_bound,
    order,
    moves,
    neighbourhood,
    tabu,
):
    """Put an instance and its first schedule into ``row`` and write its whole observation.

    Args:
        state, observation: batch arrays.
        row: which one.
        num_machines, job_offsets, machines, durations: of the instance, one alternative each.
        lower_bound: on its makespan.
        order: (n,) int32, the operations in a topological order of the first schedule.
        moves: length of an episode.
        neighbourhood: index into NEIGHBOURHOODS.
        tabu: index into TABU_MODES.
    """
    n, jobs, work = len(order), len(job_offsets) - 1, 0
    totals = state.totals[row]
    totals[:] = 0
    totals[JOBS], totals[MACHINES], totals[OPERATIONS] = jobs, num_machines, n
    totals[LOWER_BOUND] = lower_bound
    for job in range(jobs + 1):
        state.job_offsets[row, job] = job_offsets[job]
    for op in range(n):
        state.machine[row, op], state.duration[row, op] = machines[op], durations[op]
        state.best_order[row, op] = order[op]
        state.job_prev[row, op], state.job_next[row, op] = op - 1, op + 1
        work += durations[op]
    state.job_prev[row, n], state.job_next[row, n] = n, n
    for job in range(jobs):
        state.job_prev[row, job_offsets[job]] = n
        state.job_next[row, job_offsets[job + 1] - 1] = n
    state.machine_prev[row, n], state.machine_next[row, n] = n, n
    state.head[row, n], state.tail[row, n], state.position[row, n] = 0, 0, 0
    state.mark[row] = False
    state.seed[row, 0] = _SEED
    graph = _graph(state, row)
    makespan = select(graph, order)
    totals[INITIAL] = totals[MAKESPAN] = totals[INCUMBENT] = makespan
    state.scale[row, 0] = n / max(work, 1)
    state.scale[row, 1] = 1.0 / max(makespan, 1)
    state.visit[row] = -1
    state.pair[row] = -1
    state.moved[row] = -1
    state.hash[row, 0] = 0
    for op in range(n):
        state.hash[row, 0] += _arc(n, op, graph.machine_next[op])
    _observe_graph(state, observation, row)
    observation.candidates[row] = 0
    observation.candidate_nodes[row] = -1
    observation.action_mask[row] = 0
    totals[CANDIDATES] = 0
    _observe(state, observation, row, moves, neighbourhood, tabu)
    if totals[CANDIDATES] == 0:  # nothing to improve: one candidate that changes nothing
        observation.candidate_nodes[row, 0, 0] = 0
        observation.action_mask[row, 0] = 1


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _mix(x):
    """A hash of a number; the finaliser of SplitMix64 (Steele, Lea & Flood, 2014)."""
    z = np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _arc(n, a, b):
    """Hash of the machine arc from a to b; none leaves the number n."""
    return np.uint64(0) if a == n else _mix(np.int64(a) * (n + 1) + b)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _hash_after(state, row, graph, u, before, after):
    """Hash of the schedule in which u stands between two others of its machine."""
    n = state.totals[row, OPERATIONS]
    a, b = graph.machine_prev[u], graph.machine_next[u]
    left = _arc(n, a, u) + _arc(n, u, b) + _arc(n, before, after)
    return state.hash[row, 0] - left + _arc(n, a, b) + _arc(n, before, u) + _arc(n, u, after)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _visit_slot(state, row, key):
    return np.int64(key & np.uint64(state.visited.shape[1] - 1))


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _pair(n, first, second):
    """Number of the order "first before second"."""
    return np.int64(first) * n + second


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _pair_slot(n, pair):
    """Its place in the memory, which depends on the row's own size, not on the padding."""
    slots = np.int64(1)
    while slots < SLOTS_PER_OPERATION * n:
        slots *= 2
    return np.int64(_mix(pair) & np.uint64(slots - 1))


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _give_up(state, row, pair):
    """Note that the move of this step gives up an order."""
    slot = _pair_slot(state.totals[row, OPERATIONS], pair)
    if state.pair[row, slot] != pair:
        state.pair[row, slot] = pair
        state.pair_count[row, slot] = 0
    state.pair_count[row, slot] += 1
    state.pair_step[row, slot] = state.totals[row, STEP]


@njit(cache=True, error_model="numpy", _nrt=False)
def _move(state, row, u, v):
    """Make move (u, v) and remember it."""
    graph, totals = _graph(state, row), state.totals[row]
    n = totals[OPERATIONS]
    before, after = neighbours_after_move(graph, u, v)
    slot = _visit_slot(state, row, state.hash[row, 0])
    state.visited[row, slot], state.visit[row, slot] = state.hash[row, 0], totals[STEP]
    state.hash[row, 0] = _hash_after(state, row, graph, u, before, after)
    forward = before == v
    op = v
    while op != u:
        _give_up(state, row, _pair(n, u, op) if forward else _pair(n, op, u))
        op = graph.machine_prev[op] if forward else graph.machine_next[op]
    state.moved[row, u] = totals[STEP]
    totals[MAKESPAN] = reinsert(graph, u, graph.machine[u], graph.duration[u], before, after)
    totals[STEP] += 1
    if totals[MAKESPAN] < totals[INCUMBENT]:
        totals[INCUMBENT] = totals[MAKESPAN]
        totals[IMPROVED] = totals[STEP]
        for k in range(n):
            state.best_order[row, k] = graph.order[k]


@njit(cache=True, error_model="numpy", _nrt=False)
def find_moves(state, row, graph, neighbourhood):
    """Write moves of a critical path and their estimates, at most as many as candidates."""
    path, blocks, moves = state.path[row], state.blocks[row], state.moves[row]
    totals, estimates = state.totals[row], state.estimates[row]
    num_blocks = critical_blocks(graph, totals[MAKESPAN], state.seed[row], path, blocks)
    if neighbourhood == N5:
        count = n5_moves(graph, path, blocks, num_blocks, moves)
    else:
        count = n6_moves(graph, path, blocks, num_blocks, moves)
    for k in range(count):
        estimates[k] = estimate(graph, moves[k, 0], moves[k, 1])
    limit = state.arrival.shape[1]
    while count > limit:
        worst = 0
        for k in range(1, count):
            if estimates[k] > estimates[worst]:
                worst = k
        count -= 1
        moves[worst, 0], moves[worst, 1] = moves[count, 0], moves[count, 1]
        estimates[worst] = estimates[count]
    totals[BLOCKS], totals[CANDIDATES] = num_blocks, count


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_graph(state, observation, row):
    """Write nodes and edges."""
    jobs, num_machines, n = state.totals[row, JOBS], state.totals[row, MACHINES], 0
    machine_node = state.order.shape[1]
    unit = state.scale[row, 0]
    scale = 1.0 / max(state.totals[row, LOWER_BOUND], 1)
    nodes, node_type = observation.nodes[row], observation.node_type[row]
    edges, edge_type = observation.edges[row], observation.edge_type[row]
    edge_features = observation.edge_features[row]
    nodes[:] = 0
    node_type[:] = -1
    edges[:] = -1
    edge_type[:] = -1
    edge_features[:] = 0
    observation.node_state[row] = 0
    machine, duration = state.machine[row], state.duration[row]
    e = 0
    for job in range(jobs):
        begin, end = state.job_offsets[row, job], state.job_offsets[row, job + 1]
        work, done = 0, 0
        for op in range(begin, end):
            work += duration[op]
        for op in range(begin, end):
            node_type[op] = OPERATION
            nodes[op, 0] = duration[op] * unit
            nodes[op, 1] = done * scale
            nodes[op, 2] = (work - done) * scale
            done += duration[op]
            node = machine_node + machine[op]
            nodes[node, 3] += duration[op] * scale
            nodes[node, 1] += 1  # counts the operations until the mean is known
            edges[0, e], edges[1, e], edge_type[e] = op, node, ON_MACHINE
            edge_features[e, 0] = duration[op] * unit
            e += 1
            if op + 1 < end:
                edges[0, e], edges[1, e], edge_type[e] = op, op + 1, PRECEDES
                edge_features[e, 0] = duration[op] * unit
                e += 1
        n = end
    for m in range(num_machines):
        node = machine_node + m
        node_type[node] = MACHINE
        nodes[node, 0] = nodes[node, 3] / max(nodes[node, 1], 1) * unit / scale
        nodes[node, 1] = 0
    for op in range(n):
        nodes[op, 3] = nodes[machine_node + machine[op], 3]


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_nodes(state, observation, row, graph):
    """Refresh the state of the nodes, the critical path left out."""
    node_state = observation.node_state[row]
    machine_node = state.order.shape[1]
    makespan = state.totals[row, MAKESPAN]
    head, tail, duration = graph.head, graph.tail, graph.duration
    unit, scale = f32(state.scale[row, 0]), f32(1) / f32(max(makespan, 1))
    n = len(graph.order)
    for op in range(n):
        a, b = graph.job_prev[op], graph.machine_prev[op]
        c = node_state[op]
        c[0] = f32(head[op]) * scale
        c[1] = f32(tail[op]) * scale
        c[2] = f32(makespan - head[op] - duration[op] - tail[op]) * unit
        c[3] = 0
        c[4] = f32(head[op] - head[a] - duration[a]) * unit
        c[5] = f32(head[op] - head[b] - duration[b]) * unit
        if b == n:
            node_state[machine_node + graph.machine[op], 0] = c[0]
        if graph.machine_next[op] == n:
            node_state[machine_node + graph.machine[op], 1] = c[1]
    for k in range(state.blocks[row, state.totals[row, BLOCKS]]):
        node_state[state.path[row, k], 3] = 1


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _recency(now, then):
    """1 for this moment, towards 0 for long ago, 0 for never (-1)."""
    return f32(0) if then < 0 else f32(MEMORY) / f32(MEMORY + now - then)


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe(state, observation, row, moves, neighbourhood, tabu):
    """Find the moves of the schedule and write what is seen."""
    graph, totals = _graph(state, row), state.totals[row]
    previous = totals[CANDIDATES]
    find_moves(state, row, graph, neighbourhood)
    _observe_nodes(state, observation, row, graph)
    count, num_blocks = totals[CANDIDATES], totals[BLOCKS]
    candidates, mask = observation.candidates[row], observation.action_mask[row]
    nodes = observation.candidate_nodes[row]
    for a in range(count, max(previous, 1)):
        candidates[a] = 0
        nodes[a] = -1
        mask[a] = 0
    block_of = graph.scratch  # of the operations on the path
    for b in range(num_blocks):
        for k in range(state.blocks[row, b], state.blocks[row, b + 1]):
            block_of[state.path[row, k]] = b
    least = np.int32(2**31 - 1)
    for a in range(count):
        least = min(least, state.estimates[row, a])
    free = 0
    improving, revisits = 0, 0
    for a in range(count):
        _observe_candidate(state, observation, row, graph, a, block_of, least)
        free += candidates[a, 24] > 0
        improving += state.estimates[row, a] < totals[MAKESPAN]
        revisits += candidates[a, 20] > 0
    for a in range(count):
        legal = tabu == NO_TABU or free == 0 or candidates[a, 24] > 0
        candidates[a, 24] = legal
        mask[a] = legal
    g = observation.globals[row]
    inverse = f32(1) / f32(max(count, 1))
    path = state.blocks[row, num_blocks]
    g[0] = min(f32(totals[STEP] - totals[IMPROVED]) / f32(LONGEST_STALL), f32(1))
    g[1] = f32(totals[MAKESPAN] - totals[INCUMBENT]) * f32(state.scale[row, 0])
    g[2] = f32(1) - f32(totals[INCUMBENT]) * f32(state.scale[row, 1])
    g[3] = f32(totals[INCUMBENT]) / f32(max(totals[LOWER_BOUND], 1)) - f32(1)
    g[4] = f32(count) / f32(16)
    g[5] = f32(revisits) * inverse
    g[6] = f32(improving) * inverse
    g[7] = f32(num_blocks) / f32(path)
    g[8] = f32(path) / f32(totals[JOBS] + totals[MACHINES])
    g[9] = f32(totals[JOBS]) / f32(totals[MACHINES] * 4)
    g[10] = f32(MEMORY) / f32(MEMORY + moves - totals[STEP])


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_candidate(state, observation, row, graph, a, block_of, least):
    """Write the features of a move; legal is every one that does not undo the last.

    That is told by the schedule that it leads to: with N6 one and the same move can be undone by
    another one than its reverse, and its reverse may do something else.
    """
    u, v = state.moves[row, a]
    totals, estimates = state.totals[row], state.estimates[row]
    n, step = totals[OPERATIONS], totals[STEP]
    head, tail, duration = graph.head, graph.tail, graph.duration
    job_prev, job_next = graph.job_prev, graph.job_next
    unit, value = f32(state.scale[row, 0]), estimates[a]
    before, after = neighbours_after_move(graph, u, v)
    forward = before == v
    passed, op = 1, v
    while True:
        op = graph.machine_prev[op] if forward else graph.machine_next[op]
        if op == u:
            break
        passed += 1
    rank = 0
    for b in range(totals[CANDIDATES]):
        rank += estimates[b] < value or (estimates[b] == value and b < a)
    block = block_of[u]
    begin = state.blocks[row, block]
    pair = _pair(n, v, u) if forward else _pair(n, u, v)
    slot = _pair_slot(n, pair)
    known = state.pair[row, slot] == pair
    arrival = _hash_after(state, row, graph, u, before, after)
    state.arrival[row, a] = arrival
    place = _visit_slot(state, row, arrival)
    visited = state.visit[row, place] >= 0 and state.visited[row, place] == arrival
    nodes = observation.candidate_nodes[row, a]
    nodes[0], nodes[1] = u, v
    nodes[2] = before if before != n else -1
    nodes[3] = after if after != n else -1
    nodes[4] = state.order.shape[1] + graph.machine[u]
    c = observation.candidates[row, a]
    c[0] = f32(value - totals[MAKESPAN]) * unit
    c[1] = f32(value - totals[INCUMBENT]) * unit
    c[2] = f32(value - least) * unit
    c[3] = f32(rank) / f32(totals[CANDIDATES])
    c[4] = value < totals[MAKESPAN]
    c[5] = value < totals[INCUMBENT]
    c[6] = f32(duration[u]) * unit
    c[7] = f32(duration[v]) * unit
    c[8] = f32(passed) * f32(0.25)
    c[9] = forward
    c[10] = f32(state.blocks[row, block + 1] - begin) * f32(0.25)
    c[11] = f32(head[state.path[row, begin]]) / f32(max(totals[MAKESPAN], 1))
    c[12] = block == 0
    c[13] = block == totals[BLOCKS] - 1
    c[14] = f32(head[u] - head[job_prev[u]] - duration[job_prev[u]]) * unit
    c[15] = f32(head[v] - head[job_prev[v]] - duration[job_prev[v]]) * unit
    c[16] = f32(tail[u] - tail[job_next[u]] - duration[job_next[u]]) * unit
    c[17] = f32(tail[v] - tail[job_next[v]] - duration[job_next[v]]) * unit
    c[18] = _recency(step, state.pair_step[row, slot] if known else -1)
    c[19] = f32(state.pair_count[row, slot]) * f32(0.25) if known else f32(0)
    c[20] = visited
    c[21] = _recency(step, state.visit[row, place] if visited else -1)
    c[22] = _recency(step, state.moved[row, u])
    c[23] = _recency(step, state.moved[row, v])
    c[24] = not (visited and state.visit[row, place] == step - 1)


@njit(cache=True, error_model="numpy", _nrt=False)
def _step_row(state, observation, row, action, moves, neighbourhood, tabu, terminated):
    """Make a move; returns the reward."""
    totals = state.totals[row]
    before = totals[INCUMBENT]
    over = totals[CANDIDATES] == 0
    if not over:
        _move(state, row, state.moves[row, action, 0], state.moves[row, action, 1])
        _observe(state, observation, row, moves, neighbourhood, tabu)
        over = (
            totals[CANDIDATES] == 0
            or totals[STEP] >= moves
            or totals[INCUMBENT] <= totals[LOWER_BOUND]
        )
    if over:
        observation.action_mask[row] = 0
    terminated[row] = over
    return (before - totals[INCUMBENT]) * state.scale[row, 1]


@njit(cache=True, error_model="numpy", _nrt=False)
def step(state, observation, actions, rewards, terminated, moves, neighbourhood, tabu):
    """Apply ``actions`` to every row (-1: leave it), see ``Problem.step``."""
    for row in range(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], moves, neighbourhood, tabu, terminated
            )


@njit(cache=True, error_model="numpy", _nrt=False, parallel=True)
def step_parallel(state, observation, actions, rewards, terminated, moves, neighbourhood, tabu):
    """The same with rows shared among threads."""
    for row in prange(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], moves, neighbourhood, tabu, terminated
            )
