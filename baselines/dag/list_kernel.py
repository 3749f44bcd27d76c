"""Numba kernels of list scheduling: choose a ready task, choose its processor, place it, repeat.

Arrays as in :mod:`makespan.envs.dag.analysis`.
"""

import numpy as np
from numba import njit

from makespan.envs.dag.analysis import NEVER

#: Rules of :func:`by_pairs`.
MIN_MIN, MAX_MIN, SUFFERAGE, ETF, DLS, STF, EFT = range(7)


@njit(cache=True, error_model="numpy")
def earliest_start(first, following, starts, ends, p, arrival, cost, insertion):
    """When a task whose data arrive at ``arrival`` can start on processor ``p``.

    Args:
        first: (P,) first task on each processor, -1 for none.
        following: (T,) the task after each on its processor, -1 for none.
        starts, ends: (T,).
        p, arrival, cost: of the task to place.
        insertion: whether idle intervals between tasks may be used.
    """
    time = arrival
    task = first[p]
    while task >= 0:
        if insertion and time + cost <= starts[task]:
            return time
        time = max(time, ends[task])
        task = following[task]
    return time


@njit(cache=True, error_model="numpy")
def place(first, following, starts, ends, p, task, start, cost):
    """Put a task into its processor's list, which is ordered by start."""
    starts[task], ends[task] = start, start + cost
    before, after = -1, first[p]
    while after >= 0 and starts[after] <= start:
        before, after = after, following[after]
    following[task] = after
    if before < 0:
        first[p] = task
    else:
        following[before] = task


@njit(cache=True, error_model="numpy")
def remove(first, following, p, task):
    """Take a task out of its processor's list."""
    if first[p] == task:
        first[p] = following[task]
        return
    before = first[p]
    while following[before] != task:
        before = following[before]
    following[before] = following[task]


@njit(cache=True, error_model="numpy")
def deliver(task, p, end, first_out, targets, link, delays, arrivals):
    """Let the results of a task that ends on ``p`` arrive at its children, wherever they run."""
    for edge in range(first_out[task], first_out[task + 1]):
        for q in range(link.shape[0]):
            time = end + delays[edge, link[p, q]]
            arrivals[targets[edge], q] = max(arrivals[targets[edge], q], time)


@njit(cache=True, error_model="numpy")
def _parents(count, targets):
    missing = np.zeros(count, dtype=np.int32)
    for target in targets:
        missing[target] += 1
    return missing


@njit(cache=True, error_model="numpy")
def by_priority(
    priority, penalty, order, first_out, targets, costs, link, delays, insertion, lookahead
):
    """Always the ready task of the highest priority; on the processor of the least finish time.

    Args:
        priority: (T,); ties go to the task that is first in ``order``.
        penalty: (T, P) added to the finish time when processors are compared.
        order: (T,) a topological order.
        first_out, targets, costs, link, delays: the task graph.
        insertion: whether idle intervals may be used.
        lookahead: compare processors by the latest finish time of the task's children instead.

    Returns:
        processors and starts, (T,) int64 each.
    """
    count, width = costs.shape
    first = np.full(width, -1, dtype=np.int64)
    following = np.full(count, -1, dtype=np.int64)
    starts, ends = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    chosen = np.full(count, -1, dtype=np.int64)
    arrivals = np.zeros((count, width), dtype=np.int64)
    missing = _parents(count, targets)
    rank = np.empty(count, dtype=np.int64)  # position by priority
    for position, task in enumerate(order[np.argsort(-priority[order], kind="mergesort")]):
        rank[task] = position
    ready = np.empty(count, dtype=np.int64)
    size = 0
    for task in order:
        if missing[task] == 0:
            ready[size] = task
            size += 1
    while size > 0:
        at = 0
        for i in range(1, size):
            if rank[ready[i]] < rank[ready[at]]:
                at = i
        task = ready[at]
        size -= 1
        ready[at] = ready[size]
        least, least_end, where, when = np.inf, NEVER, -1, 0
        for p in range(width):
            cost = costs[task, p]
            if cost < 0:
                continue
            start = earliest_start(
                first, following, starts, ends, p, arrivals[task, p], cost, insertion
            )
            value = start + cost + penalty[task, p]
            if lookahead:
                place(first, following, starts, ends, p, task, start, cost)
                value = _last_child(
                    task, p, first, following, starts, ends, arrivals, rank, chosen,
                    first_out, targets, costs, link, delays, insertion,
                )  # fmt: skip
                remove(first, following, p, task)
            if value < least or (value == least and start + cost < least_end):
                least, least_end, where, when = value, start + cost, p, start
        place(first, following, starts, ends, where, task, when, costs[task, where])
        chosen[task] = where
        deliver(task, where, ends[task], first_out, targets, link, delays, arrivals)
        for edge in range(first_out[task], first_out[task + 1]):
            missing[targets[edge]] -= 1
            if missing[targets[edge]] == 0:
                ready[size] = targets[edge]
                size += 1
    return chosen, starts


@njit(cache=True, error_model="numpy")
def _last_child(
    task, p, first, following, starts, ends, arrivals, rank, on,
    first_out, targets, costs, link, delays, insertion,
):  # fmt: skip
    """Latest finish time of the children of a task on ``p`` when HEFT places them next.

    They are placed by rank, one after the other, and taken out again; parents of a child that are
    not placed yet are left out. ``on`` (T,) is scratch.
    """
    latest = ends[task]
    begin, end = first_out[task], first_out[task + 1]
    previous = -1
    for _ in range(begin, end):
        edge = -1  # to the child that is next by rank
        for other in range(begin, end):
            position = rank[targets[other]]
            if position > previous and (edge < 0 or position < rank[targets[edge]]):
                edge = other
        child = targets[edge]
        previous = rank[child]
        least, when = NEVER, 0
        for q in range(costs.shape[1]):
            if costs[child, q] >= 0:
                arrival = max(arrivals[child, q], ends[task] + delays[edge, link[p, q]])
                start = earliest_start(
                    first, following, starts, ends, q, arrival, costs[child, q], insertion
                )
                if start + costs[child, q] < least:
                    least, when, on[child] = start + costs[child, q], start, q
        place(first, following, starts, ends, on[child], child, when, least - when)
        latest = max(latest, least)
    for edge in range(begin, end):
        remove(first, following, on[targets[edge]], targets[edge])
    return latest


@njit(cache=True, error_model="numpy")
def by_pairs(rule, levels, order, first_out, targets, costs, link, delays, insertion):
    """Compares all ready tasks on all processors before each placement.

    Args:
        rule: one of the constants above.
        levels: (T,) static levels, for ETF and DLS.
        order, first_out, targets, costs, link, delays, insertion: see :func:`by_priority`.

    Returns:
        processors and starts, (T,) int64 each.
    """
    count, width = costs.shape
    first = np.full(width, -1, dtype=np.int64)
    following = np.full(count, -1, dtype=np.int64)
    starts, ends = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    chosen = np.full(count, -1, dtype=np.int64)
    arrivals = np.zeros((count, width), dtype=np.int64)
    released = np.zeros(count, dtype=np.int64)  # end of the last parent
    missing = _parents(count, targets)
    for _ in range(count):
        best, second, task, where, when = np.inf, np.inf, -1, -1, 0
        for t in order:
            if missing[t] != 0:
                continue
            key, tie, p, start = _best_processor(
                rule, t, levels, first, following, starts, ends, arrivals, released, costs,
                insertion,
            )  # fmt: skip
            if key < best or (key == best and tie < second):
                best, second, task, where, when = key, tie, t, p, start
        missing[task] = -1
        place(first, following, starts, ends, where, task, when, costs[task, where])
        chosen[task] = where
        deliver(task, where, ends[task], first_out, targets, link, delays, arrivals)
        for edge in range(first_out[task], first_out[task + 1]):
            missing[targets[edge]] -= 1
            released[targets[edge]] = max(released[targets[edge]], ends[task])
    return chosen, starts


@njit(cache=True, error_model="numpy")
def _best_processor(
    rule, task, levels, first, following, starts, ends, arrivals, released, costs, insertion
):
    """The key of a ready task (the lowest goes first), its tie-break, processor and start.

    Processors are compared by finish time; in ETF by start, in DLS by dynamic level; then by
    finish time.
    """
    total, able, cheapest = 0.0, 0, NEVER
    for cost in costs[task]:
        if cost >= 0:
            total += cost
            able += 1
            cheapest = min(cheapest, cost)
    least, next_least, least_end, where, when = np.inf, np.inf, NEVER, -1, 0
    for p in range(costs.shape[1]):
        cost = costs[task, p]
        if cost < 0:
            continue
        start = earliest_start(
            first, following, starts, ends, p, arrivals[task, p], cost, insertion
        )
        end = start + cost
        value = float(end)
        if rule == ETF:
            value = float(start)
        elif rule == DLS:
            value = start - (total / able - cost) - levels[task]
        if value < least or (value == least and end < least_end):
            next_least = least
            least, least_end, where, when = value, end, p, start
        else:
            next_least = min(next_least, value)
    if rule == MAX_MIN:
        return -least, 0.0, where, when
    if rule == SUFFERAGE:
        return least - next_least, least, where, when
    if rule == ETF:
        return least, -levels[task], where, when
    if rule == STF:
        return float(cheapest), least, where, when
    if rule == EFT:
        return float(released[task]), 0.0, where, when
    return least, 0.0, where, when


@njit(cache=True, error_model="numpy")
def optimistic_costs(order, first_out, targets, costs, link, delays):
    """(T, P) float64, PEFT's optimistic cost table; ``delays`` (E, 2) none and mean."""
    width = costs.shape[1]
    table = np.zeros(costs.shape)
    for task in order[::-1]:
        for p in range(width):
            for edge in range(first_out[task], first_out[task + 1]):
                child = targets[edge]
                least = np.inf
                for q in range(width):
                    if costs[child, q] >= 0:
                        path = table[child, q] + costs[child, q] + delays[edge, link[p, q]]
                        least = min(least, path)
                table[task, p] = max(table[task, p], least)
    return table
