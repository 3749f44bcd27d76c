"""Numba kernels of tabu search on the disjunctive graph.

One step walks a random critical path, estimates every move of the neighbourhood on it, and makes
the best that is not tabu; what undoes it is then tabu for a while. A tabu move is made only if it
promises a new best makespan, or, drawn at random, when all are tabu. With alternatives, moving a
critical operation to any place on another of its machines is a move too.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from makespan.envs.jobshop.disjunctive import (
    critical_blocks,
    draw,
    estimate,
    estimate_insertion,
    fits_between,
    n5_moves,
    n6_moves,
    neighbours_after_move,
    reinsert,
)

N5, N6 = range(2)
NEIGHBOURHOODS = ("n5", "n6")


class Alternatives(NamedTuple):
    """Where operations can be processed; of an instance, in its order."""

    offsets: NDArray[np.int32]  # (n + 1,) of the alternatives of each operation
    machine: NDArray[np.int32]  # (alternatives,)
    duration: NDArray[np.int32]  # (alternatives,)
    chosen: NDArray[np.int32]  # (n,) alternative of each operation in the current schedule


class Memory(NamedTuple):
    """What a search remembers between steps."""

    seed: NDArray[np.uint64]  # (1,) state of the random numbers
    counts: NDArray[np.int64]  # (5,) see the constants below
    move: NDArray[np.int64]  # (6,) the move to make, see the constants below
    attribute: NDArray[np.int64]  # (2^k,) hash table: what is tabu ...
    until: NDArray[np.int64]  # (2^k,) ... before which step
    best_order: NDArray[np.int32]  # (n,) topological order of the best schedule of this run
    best_chosen: NDArray[np.int32]  # (n,) and its alternatives
    path: NDArray[np.int32]  # (n,) scratch: critical path
    blocks: NDArray[np.int32]  # (n + 1,) scratch: its blocks
    moves: NDArray[np.int32]  # (2n, 2) scratch: moves of its neighbourhood


STEP, IMPROVED, MAKESPAN, BEST, EVALUATED = range(5)
VALUE, TIES, OPERATION, ALTERNATIVE, BEFORE, AFTER = range(6)

#: Larger than any makespan and any makespan with the mark of a tabu move.
NO_MOVE = 2**40
#: Added to the value of a tabu move, so that any other goes first.
TABU = 2**32


def allocate_memory(operations: int, seed: int) -> Memory:
    """Memory of a search that has not begun."""
    slots = 1 << (16 * operations - 1).bit_length()
    return Memory(
        seed=np.array([seed], dtype=np.uint64),
        counts=np.zeros(5, dtype=np.int64),
        move=np.zeros(6, dtype=np.int64),
        attribute=np.full(slots, -1, dtype=np.int64),
        until=np.zeros(slots, dtype=np.int64),
        best_order=np.zeros(operations, dtype=np.int32),
        best_chosen=np.zeros(operations, dtype=np.int32),
        path=np.zeros(operations, dtype=np.int32),
        blocks=np.zeros(operations + 1, dtype=np.int32),
        moves=np.zeros((2 * operations, 2), dtype=np.int32),
    )


@njit(cache=True, error_model="numpy")
def search(graph, alternatives, memory, neighbourhood, steps, stall, tenure, bound):
    """Make up to ``steps`` moves.

    Args:
        graph: :class:`DisjunctiveGraph` of the current schedule.
        alternatives: of the instance.
        memory: :class:`Memory`; counts, best schedule and tabu list are continued.
        neighbourhood: index into NEIGHBOURHOODS.
        steps: number of moves.
        stall: number of moves without a new best makespan after which the run is over.
        tenure: a move is tabu for ``tenure`` to 1.4 ``tenure`` moves.
        bound: a lower bound on the makespan.

    Returns:
        Whether the run is over: stalled, at the bound, or at a schedule without moves.
    """
    counts, move = memory.counts, memory.move
    for _ in range(steps):
        if counts[STEP] - counts[IMPROVED] >= stall or counts[BEST] <= bound:
            return True
        _choose(graph, alternatives, memory, neighbourhood)
        if move[VALUE] == NO_MOVE:
            return True
        until = counts[STEP] + 1 + tenure + draw(memory.seed, tenure * 4 // 10 + 1)
        _forbid_return(graph, alternatives, memory, until)
        u, x = move[OPERATION], move[ALTERNATIVE]
        alternatives.chosen[u] = x
        counts[MAKESPAN] = reinsert(
            graph,
            u,
            alternatives.machine[x],
            alternatives.duration[x],
            move[BEFORE],
            move[AFTER],
        )
        counts[STEP] += 1
        if counts[MAKESPAN] < counts[BEST]:
            counts[BEST] = counts[MAKESPAN]
            counts[IMPROVED] = counts[STEP]
            memory.best_order[:] = graph.order
            memory.best_chosen[:] = alternatives.chosen
    return False


@njit(cache=True, error_model="numpy")
def _choose(graph, alternatives, memory, neighbourhood):
    """Evaluate all moves on a critical path and write the one to make to ``memory.move``."""
    path, blocks, moves = memory.path, memory.blocks, memory.moves
    num_blocks = critical_blocks(graph, memory.counts[MAKESPAN], memory.seed, path, blocks)
    if neighbourhood == N5:
        count = n5_moves(graph, path, blocks, num_blocks, moves)
    else:
        count = n6_moves(graph, path, blocks, num_blocks, moves)
    memory.move[VALUE] = NO_MOVE
    for k in range(count):
        u, v = moves[k]
        value = estimate(graph, u, v)
        if value <= memory.move[VALUE]:
            before, after = neighbours_after_move(graph, u, v)
            tabu = _is_tabu(memory, _precedence(graph, v, u, before == v))
            _offer(memory, value, tabu, u, alternatives.chosen[u], before, after)
    memory.counts[EVALUATED] += count
    if len(alternatives.machine) > len(graph.order):
        for k in range(blocks[num_blocks]):
            _offer_other_machines(graph, alternatives, memory, path[k])


@njit(cache=True, error_model="numpy")
def _offer_other_machines(graph, alternatives, memory, u):
    """Offer every place for u on its other machines."""
    n = len(graph.order)
    for x in range(alternatives.offsets[u], alternatives.offsets[u + 1]):
        if x == alternatives.chosen[u]:
            continue
        duration = alternatives.duration[x]
        tabu = _is_tabu(memory, _assignment(graph, x))
        before, after = n, graph.first_on_machine[alternatives.machine[x]]
        while True:
            value = estimate_insertion(graph, u, duration, before, after)
            memory.counts[EVALUATED] += 1
            if value <= memory.move[VALUE] and fits_between(graph, u, before, after):
                _offer(memory, value, tabu, u, x, before, after)
            if after == n:
                break
            before, after = after, graph.machine_next[after]


@njit(cache=True, error_model="numpy")
def _offer(memory, value, tabu, u, alternative, before, after):
    """Take this move instead of the one in ``memory.move`` if it is better; ties are drawn."""
    move = memory.move
    if tabu and value >= memory.counts[BEST]:
        value = TABU  # whatever it promises: drawn at random among all that are tabu
    if value > move[VALUE]:
        return
    if value < move[VALUE]:
        move[TIES] = 0
    move[TIES] += 1
    if move[TIES] == 1 or draw(memory.seed, move[TIES]) == 0:
        move[VALUE] = value
        move[OPERATION], move[ALTERNATIVE] = u, alternative
        move[BEFORE], move[AFTER] = before, after


@njit(cache=True, error_model="numpy")
def _forbid_return(graph, alternatives, memory, until):
    """Make tabu what undoes ``memory.move``: the order it reverses, or the machine it leaves."""
    move = memory.move
    u = move[OPERATION]
    if move[ALTERNATIVE] != alternatives.chosen[u]:
        _forbid(memory, _assignment(graph, alternatives.chosen[u]), until)
        return
    forward = move[BEFORE] != len(graph.order) and (
        graph.position[move[BEFORE]] > graph.position[u]
    )
    op = move[BEFORE] if forward else move[AFTER]
    while op != u:
        _forbid(memory, _precedence(graph, u, op, forward), until)
        op = graph.machine_prev[op] if forward else graph.machine_next[op]


@njit(cache=True, error_model="numpy")
def _precedence(graph, a, b, first):
    """Number of the attribute "a before b" (``first``) or "b before a"."""
    n = np.int64(len(graph.order))
    return a * n + b if first else b * n + a


@njit(cache=True, error_model="numpy")
def _assignment(graph, alternative):
    """Number of the attribute "this alternative is chosen"."""
    n = np.int64(len(graph.order))
    return n * n + alternative


@njit(cache=True, error_model="numpy")
def _slot(memory, attribute):
    """Fibonacci hashing; a newer entry replaces an older one in its slot."""
    mixed = np.uint64(attribute) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(32)) & np.uint64(len(memory.until) - 1)


@njit(cache=True, error_model="numpy")
def _forbid(memory, attribute, until):
    slot = _slot(memory, attribute)
    memory.attribute[slot] = attribute
    memory.until[slot] = until


@njit(cache=True, error_model="numpy")
def _is_tabu(memory, attribute):
    slot = _slot(memory, attribute)
    return memory.attribute[slot] == attribute and memory.until[slot] > memory.counts[STEP]


@njit(cache=True, error_model="numpy")
def construct(job_offsets, alternatives, num_machines, priority, order):
    """A non-delay schedule: what can start first goes first, of those the highest priority.

    Each operation takes the alternative on which it ends first.

    Args:
        job_offsets: (jobs + 1,).
        alternatives: ``chosen`` is written.
        num_machines: of the instance.
        priority: (n,) float64, of each operation; ties go to the lowest job.
        order: (n,) written: the operations in the order of their start.
    """
    jobs, n = len(job_offsets) - 1, len(order)
    offsets, durations = alternatives.offsets, alternatives.duration
    upcoming = job_offsets[:-1].copy()
    job_ready = np.zeros(jobs, np.int64)
    machine_ready = np.zeros(num_machines, np.int64)
    for k in range(n):
        chosen, earliest, chosen_job, chosen_end = -1, NO_MOVE, -1, NO_MOVE
        for job in range(jobs):
            op = upcoming[job]
            if op == job_offsets[job + 1]:
                continue
            best, best_end = -1, NO_MOVE
            for x in range(offsets[op], offsets[op + 1]):
                start = max(job_ready[job], machine_ready[alternatives.machine[x]])
                if start + durations[x] < best_end:
                    best, best_end = x, start + durations[x]
            start = best_end - durations[best]
            if start < earliest or (
                start == earliest and priority[op] > priority[upcoming[chosen_job]]
            ):
                chosen, earliest, chosen_job, chosen_end = best, start, job, best_end
        op = upcoming[chosen_job]
        order[k] = op
        alternatives.chosen[op] = chosen
        upcoming[chosen_job] += 1
        job_ready[chosen_job] = chosen_end
        machine_ready[alternatives.machine[chosen]] = chosen_end
