"""The disjunctive graph of a complete job-shop schedule: heads, tails, critical blocks, moves.

Nodes are operations. Arcs join consecutive operations of a job and consecutive operations of a
machine, and weigh the duration of their source. The head of an operation is the longest path to it,
its earliest start; its tail is the longest path from its end to the end of the schedule; the
makespan is the largest head + duration + tail. Source: Roy & Sussmann (1964); Balas (1969).

A critical path is a longest path; its blocks are its maximal runs on one machine. To shorten the
schedule, some operation of a block has to leave its inside for the front or the end:

* N5 swaps the first two or the last two operations of a block; in the first block only the last
  two, in the last block only the first two. Source: Nowicki & Smutnicki, A fast taboo search
  algorithm for the job shop problem, Management Science 42(6), 1996.
* N6 moves any operation of a block right behind its last or right before its first one, except to
  the front of the first block and to the end of the last one. Source: Balas & Vazacopoulos, Guided
  local search with shifting bottleneck for job shop scheduling, Management Science 44(2), 1998.

A move is a pair (u, v) of operations on one machine: u goes right behind v if it stands before v,
and right before v if it stands behind. More generally, u can be taken out and put between any two
neighbours on any machine. A topological order of all operations is kept up to date, so that a move
costs one pass over a part of it. All numba kernels here are linear in the operations and allocate
nothing; where an argument is named ``seed`` it is the (1,) uint64 state of :func:`draw`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class DisjunctiveGraph(NamedTuple):
    """A schedule of n operations; index n stands for "none" and has duration, head and tail 0."""

    job_prev: NDArray[np.int32]  # (n + 1,) the operation before in the job, or n
    job_next: NDArray[np.int32]  # (n + 1,)
    machine: NDArray[np.int32]  # (n,) the machine that processes each operation
    duration: NDArray[np.int32]  # (n + 1,) and how long it takes there
    first_on_machine: NDArray[np.int32]  # (machines,) or n
    machine_prev: NDArray[np.int32]  # (n + 1,) the operation before on the machine, or n
    machine_next: NDArray[np.int32]  # (n + 1,)
    order: NDArray[np.int32]  # (n,) a topological order of the operations
    position: NDArray[np.int32]  # (n + 1,) where each operation stands in it
    head: NDArray[np.int32]  # (n + 1,) time units
    tail: NDArray[np.int32]  # (n + 1,) time units
    mark: NDArray[np.bool_]  # (n + 1,) scratch, all False between calls
    scratch: NDArray[np.int32]  # (n + 1,)


def allocate(job_offsets: NDArray[np.int32], num_machines: int) -> DisjunctiveGraph:
    """A graph with the arcs of the jobs alone; fill machine and duration, then :func:`select`.

    Args:
        job_offsets: (jobs + 1,) job j has the operations ``job_offsets[j]:job_offsets[j + 1]``.
        num_machines: machines are numbered below this.
    """
    n = int(job_offsets[-1])
    job_prev = np.arange(-1, n, dtype=np.int32)
    job_prev[job_offsets] = n
    job_next = np.arange(1, n + 2, dtype=np.int32)
    job_next[job_offsets[1:] - 1] = n
    job_next[n] = n
    return DisjunctiveGraph(
        job_prev=job_prev,
        job_next=job_next,
        machine=_integers(n),
        duration=_integers(n + 1),
        first_on_machine=_integers(num_machines),
        machine_prev=_integers(n + 1),
        machine_next=_integers(n + 1),
        order=_integers(n),
        position=_integers(n + 1),
        head=_integers(n + 1),
        tail=_integers(n + 1),
        mark=np.zeros(n + 1, dtype=np.bool_),
        scratch=_integers(n + 1),
    )


def _integers(size: int) -> NDArray[np.int32]:
    return np.zeros(size, dtype=np.int32)


@njit(cache=True, error_model="numpy")
def draw(seed, count):
    """A random integer from 0 to ``count`` - 1; advances ``seed``.

    Source: SplitMix64, Steele, Lea & Flood, Fast splittable pseudorandom number generators, 2014.
    """
    seed[0] += np.uint64(0x9E3779B97F4A7C15)
    z = seed[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.int64((z >> np.uint64(32)) * np.uint64(count) >> np.uint64(32))


@njit(cache=True, error_model="numpy")
def select(graph, order):
    """Let every machine process its operations in the order given; returns the makespan.

    Args:
        graph: with machine and duration filled.
        order: (n,) all operations, those of a job in their order. Any such sequence is feasible,
            and any feasible schedule follows from one.
    """
    n = len(order)
    graph.first_on_machine[:] = n
    graph.duration[n] = 0
    for k in range(n - 1, -1, -1):
        op = order[k]
        graph.order[k] = op
        graph.position[op] = k
        _link(graph, op, n, graph.first_on_machine[graph.machine[op]])
    return heads_tails(graph)


@njit(cache=True, error_model="numpy")
def heads_tails(graph):
    """Compute all heads and tails, one pass over the order each way; returns the makespan."""
    return _refresh(graph, 0, len(graph.order) - 1)


@njit(cache=True, error_model="numpy")
def _refresh(graph, first, last):
    """Heads from position ``first`` on, tails from position ``last`` back; returns the makespan.

    Some longest path ends at ``first`` or behind, or else begins at ``last`` or before.
    """
    duration, head, tail, order = graph.duration, graph.head, graph.tail, graph.order
    job_prev, machine_prev = graph.job_prev, graph.machine_prev
    job_next, machine_next = graph.job_next, graph.machine_next
    makespan = 0
    for k in range(first, len(order)):
        op = order[k]
        a, b = job_prev[op], machine_prev[op]
        start = max(head[a] + duration[a], head[b] + duration[b])
        head[op] = start
        makespan = max(makespan, start + duration[op])
    for k in range(last, -1, -1):
        op = order[k]
        a, b = job_next[op], machine_next[op]
        rest = max(tail[a] + duration[a], tail[b] + duration[b])
        tail[op] = rest
        makespan = max(makespan, rest + duration[op])
    return makespan


@njit(cache=True, error_model="numpy")
def critical_blocks(graph, makespan, seed, path, blocks):
    """Walk one critical path, drawn at random where there are several.

    Args:
        graph: with heads and tails up to date.
        makespan: of the graph.
        seed: for :func:`draw`.
        path: (n,) int32, written: the operations of the path, first to last.
        blocks: (n + 1,) int32, written: block b is ``path[blocks[b]:blocks[b + 1]]``.

    Returns:
        The number of blocks.
    """
    n = len(graph.order)
    duration, head, tail = graph.duration, graph.head, graph.tail
    op, ties = n, 0
    for k in range(n):
        if head[k] == 0 and duration[k] + tail[k] == makespan:
            ties += 1
            if ties == 1 or draw(seed, ties) == 0:
                op = k
    length, count = 0, 0
    while op != n:
        if length == 0 or graph.machine[path[length - 1]] != graph.machine[op]:
            blocks[count] = length
            count += 1
        path[length] = op
        length += 1
        a, b, end = graph.job_next[op], graph.machine_next[op], head[op] + duration[op]
        by_job = a != n and head[a] == end and end + duration[a] + tail[a] == makespan
        by_machine = b != n and head[b] == end and end + duration[b] + tail[b] == makespan
        if by_job and by_machine:
            op = a if draw(seed, 2) == 0 else b
        else:
            op = a if by_job else b if by_machine else n
    blocks[count] = length
    return count


@njit(cache=True, error_model="numpy")
def may_reach(graph, a, b):
    """Whether there may be a path from ``a`` to ``b``; False is a proof that there is none.

    A path needs a to end before b starts, the time behind a to hold b and what follows it, and a to
    stand before b in every topological order. For positive durations this proves all that the
    conditions on heads and tails of Balas & Vazacopoulos (1998) prove; the order helps with
    operations of duration 0.
    """
    n = len(graph.order)
    if a == n or b == n:
        return False
    return a == b or (
        graph.position[a] < graph.position[b]
        and graph.head[a] + graph.duration[a] <= graph.head[b]
        and graph.tail[b] + graph.duration[b] <= graph.tail[a]
    )


@njit(cache=True, error_model="numpy")
def fits_between(graph, u, before, after):
    """Whether u, taken out, can provably stand between two neighbours on a machine, or n."""
    return not (
        may_reach(graph, graph.job_next[u], before) or may_reach(graph, after, graph.job_prev[u])
    )


@njit(cache=True, error_model="numpy")
def neighbours_after_move(graph, u, v):
    """The operations between which move (u, v) puts u."""
    if graph.position[u] < graph.position[v]:
        return v, graph.machine_next[v]
    return graph.machine_prev[v], v


@njit(cache=True, error_model="numpy")
def n5_moves(graph, path, blocks, num_blocks, moves):
    """Write the N5 moves of a critical path to ``moves``, (2n, 2) int32; returns their number."""
    count = 0
    for b in range(num_blocks):
        first, last = blocks[b], blocks[b + 1] - 1
        if first == last:
            continue
        not_first, not_last = b > 0, b < num_blocks - 1
        if not_last:
            count = _add(graph, path[last - 1], path[last], moves, count)
        if not_first and not (not_last and last == first + 1):
            count = _add(graph, path[first], path[first + 1], moves, count)
    return count


@njit(cache=True, error_model="numpy")
def n6_moves(graph, path, blocks, num_blocks, moves):
    """Write the N6 moves of a critical path to ``moves``, (2n, 2) int32; returns their number.

    A move to a place from which a cycle cannot be ruled out by :func:`fits_between` is left out.
    """
    count = 0
    for b in range(num_blocks):
        first, last = blocks[b], blocks[b + 1] - 1
        not_first, not_last = b > 0, b < num_blocks - 1
        if not_last:
            for k in range(first, last):
                count = _add(graph, path[k], path[last], moves, count)
        if not_first:
            # in a block of two, both moves are the same swap
            begin = first + 2 if not_last and last == first + 1 else first + 1
            for k in range(begin, last + 1):
                count = _add(graph, path[k], path[first], moves, count)
    return count


@njit(cache=True, error_model="numpy")
def _add(graph, u, v, moves, count):
    before, after = neighbours_after_move(graph, u, v)
    if not fits_between(graph, u, before, after):
        return count
    moves[count, 0], moves[count, 1] = u, v
    return count + 1


@njit(cache=True, error_model="numpy")
def estimate(graph, u, v):
    """Longest path through the operations that move (u, v) shifts, by today's heads and tails.

    An estimate of the makespan after the move; for a swap it is at most that. Source: Taillard,
    ORSA Journal on Computing 6(2), 1994, for swaps; Balas & Vazacopoulos (1998).
    """
    if graph.position[u] < graph.position[v]:
        return _estimate(
            graph.duration,
            graph.job_prev,
            graph.job_next,
            graph.machine_prev,
            graph.machine_next,
            graph.head,
            graph.tail,
            graph.scratch,
            u,
            v,
        )
    # a move to the front is a move to the end, seen from the end of the schedule
    return _estimate(
        graph.duration,
        graph.job_next,
        graph.job_prev,
        graph.machine_next,
        graph.machine_prev,
        graph.tail,
        graph.head,
        graph.scratch,
        u,
        v,
    )


@njit(cache=True, error_model="numpy")
def _estimate(duration, job_prev, job_next, machine_prev, machine_next, head, tail, new_head, u, v):
    """As :func:`estimate`, for u before v."""
    a, first = machine_prev[u], machine_next[u]
    ready = head[a] + duration[a]
    op = first
    while op != u:
        a = job_prev[op]
        new_head[op] = max(ready, head[a] + duration[a])
        ready = new_head[op] + duration[op]
        op = machine_next[op] if op != v else u
    a, b, c = job_prev[u], job_next[u], machine_next[v]
    rest = max(tail[b] + duration[b], tail[c] + duration[c]) + duration[u]
    longest = max(ready, head[a] + duration[a]) + rest
    op = v
    while op != u:
        b = job_next[op]
        rest = max(rest, tail[b] + duration[b]) + duration[op]
        longest = max(longest, new_head[op] + rest)
        op = machine_prev[op]
    return longest


@njit(cache=True, error_model="numpy")
def estimate_insertion(graph, u, duration, before, after):
    """Longest path through u when it is put between two operations of another machine.

    Exact for that path but for the arcs that lead around u on its present machine.
    """
    head, tail, length = graph.head, graph.tail, graph.duration
    a, b = graph.job_prev[u], graph.job_next[u]
    return (
        max(head[a] + length[a], head[before] + length[before])
        + duration
        + max(tail[b] + length[b], tail[after] + length[after])
    )


@njit(cache=True, error_model="numpy")
def reinsert(graph, u, machine, duration, before, after):
    """Take u out, put it between two operations, and bring order, heads and tails up to date.

    Args:
        graph: with heads and tails up to date.
        u: the operation.
        machine: that is to process it.
        duration: of u there.
        before, after: neighbours on that machine once u is out; n: none.

    Returns:
        The new makespan, or -1 when this would close a cycle; the graph is then unchanged.
    """
    n = len(graph.order)
    place = graph.position[u]
    first, last = place, place
    old_before, old_after = graph.machine_prev[u], graph.machine_next[u]
    _unlink(graph, u)
    acyclic = True
    if before != n and graph.position[before] > place:
        last = graph.position[before]
        acyclic = _shift(graph, u, before, 1, graph.job_prev, graph.machine_prev)
    elif after != n and graph.position[after] < place:
        first = graph.position[after]
        acyclic = _shift(graph, u, after, -1, graph.job_next, graph.machine_next)
    if not acyclic:
        _link(graph, u, old_before, old_after)
        return -1
    graph.machine[u] = machine
    graph.duration[u] = duration
    _link(graph, u, before, after)
    return _refresh(graph, first, last)


@njit(cache=True, error_model="numpy")
def _unlink(graph, u):
    """Take u out of the sequence of its machine."""
    n = len(graph.order)
    before, after = graph.machine_prev[u], graph.machine_next[u]
    if after != n:
        graph.machine_prev[after] = before
    if before != n:
        graph.machine_next[before] = after
    else:
        graph.first_on_machine[graph.machine[u]] = after


@njit(cache=True, error_model="numpy")
def _link(graph, u, before, after):
    """Put u between two neighbours on its machine."""
    n = len(graph.order)
    graph.machine_prev[u], graph.machine_next[u] = before, after
    if after != n:
        graph.machine_prev[after] = u
    if before != n:
        graph.machine_next[before] = u
    else:
        graph.first_on_machine[graph.machine[u]] = u


@njit(cache=True, error_model="numpy")
def _shift(graph, u, v, step, job_prev, machine_prev):
    """Bring u, which its machine does not hold now, behind v in the topological order.

    What depends on u and stands between them goes behind v too, in its order; all else stays.
    With ``step`` -1 and successors for predecessors, all directions are reversed.

    Returns:
        False, with nothing changed, when v depends on u.
    """
    order, position, mark, moved = graph.order, graph.position, graph.mark, graph.scratch
    begin, end = position[u], position[v] + step
    mark[u] = True
    for k in range(begin + step, end, step):
        op = order[k]
        mark[op] = mark[job_prev[op]] or mark[machine_prev[op]]
    acyclic = not mark[v]
    place, count = begin, 0
    for k in range(begin, end, step):
        op = order[k]
        if acyclic and mark[op]:
            moved[count] = op
            count += 1
        elif acyclic:
            order[place], position[op] = op, place
            place += step
        mark[op] = False
    for k in range(count):
        op = moved[k]
        order[place], position[op] = op, place
        place += step
    return acyclic
