"""Numba functions on the arrays of a task graph: orders, ranks, and bounds on paths.

Everywhere T tasks, P processors, E edges sorted by source; ``first_out`` (T + 1,) are the offsets
of each task's outgoing edges; ``costs`` (T, P) with -1 where a processor cannot run a task;
``link`` (P, P) the kind of link between two processors, and ``delays`` (E, K) the communication
time of each edge over each kind of link.
"""

import numpy as np
from numba import njit

#: Stands for "not on this processor" in tables of times; larger than any time.
NEVER = 2**30


@njit(cache=True, error_model="numpy")
def topological_order(first_out, targets):
    """The order that always takes the ready task of the lowest index; shorter if there is a cycle.

    Returns:
        (T,) int32, or less when a cycle keeps tasks from becoming ready.
    """
    count = len(first_out) - 1
    missing = np.zeros(count, dtype=np.int32)
    for target in targets:
        missing[target] += 1
    order = np.empty(count, dtype=np.int32)
    # a binary heap of ready tasks
    heap = np.empty(count, dtype=np.int32)
    size = 0
    for task in range(count):
        if missing[task] == 0:
            size = _push(heap, size, task)
    done = 0
    while size > 0:
        task = heap[0]
        size = _pop(heap, size)
        order[done] = task
        done += 1
        for edge in range(first_out[task], first_out[task + 1]):
            target = targets[edge]
            missing[target] -= 1
            if missing[target] == 0:
                size = _push(heap, size, target)
    return order[:done]


@njit(cache=True, error_model="numpy")
def _push(heap, size, value):
    child = size
    while child > 0 and heap[(child - 1) // 2] > value:
        heap[child] = heap[(child - 1) // 2]
        child = (child - 1) // 2
    heap[child] = value
    return size + 1


@njit(cache=True, error_model="numpy")
def _pop(heap, size):
    size -= 1
    value = heap[size]
    parent = 0
    while 2 * parent + 1 < size:
        child = 2 * parent + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[parent] = heap[child]
        parent = child
    heap[parent] = value
    return size


@njit(cache=True, error_model="numpy")
def upward_ranks(order, first_out, targets, mean_costs, mean_delays):
    """(T,) float64: mean cost of a task plus the longest mean path after it."""
    ranks = np.zeros(len(order))
    for task in order[::-1]:
        longest = 0.0
        for edge in range(first_out[task], first_out[task + 1]):
            longest = max(longest, mean_delays[edge] + ranks[targets[edge]])
        ranks[task] = mean_costs[task] + longest
    return ranks


@njit(cache=True, error_model="numpy")
def downward_ranks(order, first_out, targets, mean_costs, mean_delays):
    """(T,) float64: the longest mean path before a task, its own cost left out."""
    ranks = np.zeros(len(order))
    for task in order:
        after = ranks[task] + mean_costs[task]
        for edge in range(first_out[task], first_out[task + 1]):
            target = targets[edge]
            ranks[target] = max(ranks[target], after + mean_delays[edge])
    return ranks


@njit(cache=True, error_model="numpy")
def tails(order, first_out, targets, costs, link, delays):
    """(T, P) int64: least time from the start of a task there to the end of all that follows it.

    ``tail[t, p] = cost[t, p] + max over children c of min over q of delay(p, q) + tail[c, q]``.
    """
    processors = costs.shape[1]
    table = np.full(costs.shape, NEVER, dtype=np.int64)
    for task in order[::-1]:
        for p in range(processors):
            if costs[task, p] < 0:
                continue
            longest = 0
            for edge in range(first_out[task], first_out[task + 1]):
                child = targets[edge]
                least = NEVER
                for q in range(processors):
                    least = min(least, delays[edge, link[p, q]] + table[child, q])
                longest = max(longest, least)
            table[task, p] = costs[task, p] + longest
    return table


@njit(cache=True, error_model="numpy")
def heads(order, first_out, targets, costs, link, delays):
    """(T, P) int64: least time before a task can start there, processors never busy.

    ``head[t, p] = max over parents u of min over q of head[u, q] + cost[u, q] + delay(q, p)``.
    """
    processors = costs.shape[1]
    table = np.zeros(costs.shape, dtype=np.int64)
    for task in order:
        for edge in range(first_out[task], first_out[task + 1]):
            child = targets[edge]
            for p in range(processors):
                least = NEVER
                for q in range(processors):
                    if costs[task, q] >= 0:
                        end = table[task, q] + costs[task, q]
                        least = min(least, end + delays[edge, link[q, p]])
                table[child, p] = max(table[child, p], least)
    return table
