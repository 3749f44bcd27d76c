"""Numba kernels of task-graph scheduling: load, step, legal candidates, observe.

A schedule is built task by task. A task is ready once all its parents are scheduled; the first
``WINDOW`` ready tasks by upward rank are offered. A decision picks

* ``task-processor``: a ready task and the processor for it, or
* ``order``: a ready task, which goes to the processor where it would end first.

It starts as early as its data and the placement allow:

* ``insertion``: in the earliest idle interval of the processor that is long enough;
* ``append``: after everything already on the processor.

The dispatch mode fixes which candidates are legal:

* ``free``: all. Any schedule that wastes no time can be reached with ``task-processor``.
* ``nondelay``: those that can start first, so no processor idles while a task could run on it.
* ``skip``: the same, and a candidate to let the time of the first start pass: nothing starts before
  the next time at which one of the offered tasks could start. Waiting can pay: list schedules
  without it may exclude every optimum.

Processors that are alike (costs and links) and empty are offered once.

With ``lookahead`` legal candidates are also tried: two list rules complete the schedule, with
the placement of the problem, and the smaller makespan becomes a feature. Both take tasks by upward
rank; one puts a task where it ends first (HEFT), the other where its start plus tail is least (the
idea of PEFT, with exact communication). This is the pilot method (Duin & Voss, Networks 34, 1999)
offered to the policy. While more than ``TRIAL_TASKS`` tasks are left, each task is tried only where
it would end first and where its path is least; the others count as one unit worse than the worst
that was tried.

All kernels are in this one file because numba's cache looks at no other for changes.

The bound behind the reward is the largest of: completion so far; for each task with a scheduled
parent, and each one offered, the least over processors of its earliest start plus its tail (the
dynamic program over tasks and processors, communication counted); time used up plus cheapest work
left, shared by all processors.

With lookahead the reward is the change of the least makespan of any trial instead, which foresees
far more of it: what a decision loses against the best known plan, or gains, is seen at once.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

f32 = np.float32

TASK_PROCESSOR, ORDER = range(2)
ACTION_MODES = ("task-processor", "order")
INSERTION, APPEND = range(2)
PLACEMENT_MODES = ("insertion", "append")
FREE, NONDELAY, SKIP = range(3)
DISPATCH_MODES = ("free", "nondelay", "skip")
NO_LOOKAHEAD, LISTS_LOOKAHEAD = range(2)
LOOKAHEAD_MODES = ("none", "lists")

#: Ready tasks offered at a time.
WINDOW = 16
#: With more tasks left, not every processor is tried.
TRIAL_TASKS = 128
_NEVER = np.int32(2**30)

#: Node types, in the order of their index.
TASK, PROCESSOR, WAITING = range(3)
NODE_TYPES = ("task", "processor", "clock")
PRECEDES, RUNS_ON = range(2)
EDGE_TYPES = ("precedes", "runs_on")

NODE_FEATURES = (
    # costs and delays in mean costs; of a processor: means over the tasks that it can run
    "cost",  # mean over processors
    "least_cost",
    "spread",  # dearest - cheapest
    "rank",  # upward rank / initial bound
    "head",  # least time before it can start / initial bound
    "parents",  # / 4
    "children",  # / 4
    "choice",  # share of the processors that can run it; of a processor: of the tasks
    "delay_in",  # mean communication time of all inputs
    "delay_out",
)
NODE_STATE_FEATURES = (
    "done",  # task: scheduled; processor: its share of the tasks scheduled
    "ready",  # task: its end once scheduled; processor: free from / initial bound
    "missing",  # task: parents not scheduled / 4; processor: work assigned / initial bound
)
EDGE_FEATURES = ("time",)  # mean delay, or cost, in mean costs
CANDIDATE_ROLES = ("task", "processor")
CANDIDATE_FEATURES = (
    # times in mean costs; "first" is the earliest start of any candidate, "path" start plus tail
    "cost",
    "excess_cost",  # over the cheapest processor
    "start",  # relative to first
    "end",  # relative to the earliest end of any candidate
    "arrival",  # of all data, relative to first
    "task_waits",  # start - arrival
    "processor_waits",  # start - processor free; negative in an idle interval
    "excess_end",  # over the earliest end of the task
    "excess_path",  # over the least path of the task
    "sufferage",  # second earliest end of the task - earliest
    "path_gap",  # bound - path
    "criticality",  # least path of the task - largest among the offered tasks
    "rank",  # relative to the highest offered
    "rank_share",  # rank / horizon, the horizon being bound - first
    "position",  # by rank among the offered, 0 to 1
    "highest_rank",  # 1 for the highest rank
    "earliest_end",  # 1 on the processor of the earliest end
    "least_path",  # 1 on the processor of the least path
    "choice",  # share of processors that can run the task
    "children",  # / 4
    "releases",  # children that become ready / 4
    "child_wait",  # latest earliest end of a child - end
    "child_path",  # largest least path of a child - bound
    "excess_child_path",  # over the least of the task's candidates
    "delay_out",  # longest mean communication time to a child
    "local",  # share of the task's input, by mean delay, that is on the processor
    "rivals",  # other offered tasks that would end first on the processor / 4
    "rival_delay",  # total delay of the earliest ends of other offered tasks
    "rival_path",  # largest least path of another offered task then - bound
    "processor_lead",  # processor free - mean over processors
    "legal",
    "skip",
)
LOOKAHEAD_FEATURES = (
    "lookahead",  # of the trial, relative to the best candidate's
    "lookahead_gap",  # relative to the bound
    "lookahead_best",  # 1 for the best
)
GLOBAL_FEATURES = (
    "progress",  # share of tasks scheduled
    "bound_increase",  # (bound - initial bound) / initial bound
    "first",  # earliest start / bound
    "horizon",  # (bound - first) / mean cost / 100
    "ready",  # ready tasks / processors / 4
    "legal_share",
    "processors",  # / 16
    "communication",  # mean delay / mean cost
    "pressure",  # cheapest work left / processors / horizon
    "idle",  # first - mean of processors free, in mean costs
)


class State(NamedTuple):
    """Arrays of a batch of B task graphs; T, P, E, K, A: tasks, processors, edges, links, actions.

    W is the number of tasks offered. Times are in the unit of the instance.
    """

    # the instance
    sizes: NDArray[np.int32]  # (B, 4) tasks, processors, edges, links
    first_out: NDArray[np.int32]  # (B, T + 1)
    target: NDArray[np.int32]  # (B, E)
    first_in: NDArray[np.int32]  # (B, T + 1)
    edge_in: NDArray[np.int32]  # (B, E) edges sorted by target
    source: NDArray[np.int32]  # (B, E)
    delay: NDArray[np.int32]  # (B, E, K)
    mean_delay: NDArray[np.float32]  # (B, E)
    link: NDArray[np.int32]  # (B, P, P)
    twin: NDArray[np.int32]  # (B, P) the first processor that is alike
    cost: NDArray[np.int32]  # (B, T, P) -1 where ineligible
    least_cost: NDArray[np.int32]  # (B, T)
    tail: NDArray[np.int32]  # (B, T, P)
    rank: NDArray[np.float32]  # (B, T) upward rank
    rank_order: NDArray[np.int32]  # (B, T) tasks by decreasing rank
    position: NDArray[np.int32]  # (B, T) of a task in rank_order
    scale: NDArray[np.float64]  # (B, 3) 1 / mean cost, 1 / initial bound, 1 / initial prospect
    # the partial schedule
    missing: NDArray[np.int32]  # (B, T) parents not scheduled
    arrival: NDArray[np.int32]  # (B, T, P) of the results of the scheduled parents
    start: NDArray[np.int32]  # (B, T)
    end: NDArray[np.int32]  # (B, T)
    processor: NDArray[np.int32]  # (B, T) -1 while not scheduled
    free: NDArray[np.int32]  # (B, P) end of the last task on the processor
    assigned: NDArray[np.int32]  # (B, P) tasks on the processor
    work: NDArray[np.int32]  # (B, P) their costs
    usable: NDArray[np.int32]  # (B, P) insertion: idle time before is of no use any more
    first_on: NDArray[np.int32]  # (B, P) insertion: tasks that end after that, by start
    next_on: NDArray[np.int32]  # (B, T)
    ready: NDArray[np.int32]  # (B, T) ready tasks by position
    earliest: NDArray[np.int32]  # (B, T, P) earliest start of each ready task
    totals: NDArray[np.int32]  # (B, TOTALS) columns below
    # what is offered
    candidate_task: NDArray[np.int32]  # (B, A) -1: skip
    candidate_processor: NDArray[np.int32]  # (B, A)
    best: NDArray[np.int32]  # (B, W, 6) of each offered task, columns below
    # lookahead
    lookahead: NDArray[np.int32]  # (B, A) outcome of each trial
    trial_end: NDArray[np.int32]  # (B, T) copies of the partial schedule that a trial works on
    trial_start: NDArray[np.int32]  # (B, T)
    trial_processor: NDArray[np.int32]  # (B, T)
    trial_free: NDArray[np.int32]  # (B, P)
    trial_first: NDArray[np.int32]  # (B, P)
    trial_next: NDArray[np.int32]  # (B, T)
    trial_arrival: NDArray[np.int32]  # (B, P)


#: Columns of ``totals``.
(
    INITIAL_BOUND,
    BOUND,
    COMPLETION,
    SCHEDULED,
    WORK_LEFT,  # cheapest costs of the tasks left
    CLOCK,  # nothing may start before
    READY,  # number of ready tasks
    OFFERED,  # number of candidates
    NEXT_EVENT,  # the clock after a skip
    NEXT_RANKED,  # position of the first task in rank order that is not scheduled
    PROSPECT,  # what rewards are changes of: the bound; with lookahead the least of the last trials
    INITIAL_PROSPECT,
) = range(TOTALS := 12)
#: Columns of ``best``: earliest and second earliest end, its processor; the same for the path.
END, SECOND_END, END_AT, PATH, SECOND_PATH, PATH_AT = range(6)


@njit(cache=True, error_model="numpy")
def load_row(
    state,
    observation,
    row,
    first_out,
    edges,
    first_in,
    edges_in,
    delays,
    mean_delays,
    link,
    costs,
    tails,
    heads,
    ranks,
    rank_order,
    lower_bound,
    actions,
    placement,
    dispatch,
    lookahead,
):
    """Put an instance into ``row`` and write its whole observation.

    Args:
        state, observation: batch arrays.
        row: which one.
        first_out, edges, first_in, edges_in, delays, mean_delays, link, costs, tails, heads, ranks,
            rank_order: of the instance.
        lower_bound: on its makespan.
        actions, placement, dispatch, lookahead: indices into ACTION_MODES, ...
    """
    num_tasks, num_processors = costs.shape
    num_edges, num_links = delays.shape
    state.sizes[row, 0], state.sizes[row, 1] = num_tasks, num_processors
    state.sizes[row, 2], state.sizes[row, 3] = num_edges, num_links
    state.first_out[row, : num_tasks + 1] = first_out
    state.first_in[row, : num_tasks + 1] = first_in
    for e in range(num_edges):
        state.source[row, e], state.target[row, e] = edges[e, 0], edges[e, 1]
        state.edge_in[row, e] = edges_in[e]
        state.mean_delay[row, e] = mean_delays[e]
        for k in range(num_links):
            state.delay[row, e, k] = delays[e, k]
    state.link[row, :num_processors, :num_processors] = link
    _find_twins(state, row, costs, link)
    totals = state.totals[row]
    totals[:] = 0
    total, able = 0.0, 0
    for t in range(num_tasks):
        least = _NEVER
        for p in range(num_processors):
            state.cost[row, t, p] = costs[t, p]
            state.tail[row, t, p] = tails[t, p]
            if costs[t, p] >= 0:
                least = min(least, costs[t, p])
                total += costs[t, p]
                able += 1
        state.least_cost[row, t] = least
        state.rank[row, t] = ranks[t]
        state.rank_order[row, t] = rank_order[t]
        state.position[row, rank_order[t]] = t
        totals[WORK_LEFT] += least
    state.scale[row, 0] = able / max(total, 1.0)
    state.scale[row, 1] = 1.0 / max(lower_bound, 1)
    totals[INITIAL_BOUND] = lower_bound
    totals[BOUND] = lower_bound
    _clear(state, row)
    _observe_graph(state, observation, row, heads)
    # all of it: the row may hold a larger instance in the middle of its episode
    observation.candidates[row] = 0
    observation.candidate_nodes[row] = -1
    observation.action_mask[row] = 0
    for position in range(num_tasks):
        t = rank_order[position]
        if state.missing[row, t] == 0:
            _enter(state, row, t, placement)
    totals[PROSPECT] = lower_bound
    _observe(state, observation, row, actions, placement, dispatch, lookahead)
    if lookahead != NO_LOOKAHEAD and observation.action_mask[row].sum() == 1:
        # a forced decision, which is not tried for its features
        totals[PROSPECT] = _trials(state, row, observation.action_mask[row].argmax(), placement)
    totals[INITIAL_PROSPECT] = totals[PROSPECT]
    state.scale[row, 2] = 1.0 / max(totals[PROSPECT], 1)


@njit(cache=True, error_model="numpy")
def _clear(state, row):
    """The empty schedule."""
    for t in range(state.sizes[row, 0]):
        state.missing[row, t] = state.first_in[row, t + 1] - state.first_in[row, t]
    state.arrival[row] = 0
    state.start[row] = 0
    state.end[row] = 0
    state.processor[row] = -1
    state.free[row] = 0
    state.assigned[row] = 0
    state.work[row] = 0
    state.usable[row] = 0
    state.first_on[row] = -1
    state.next_on[row] = -1


@njit(cache=True, error_model="numpy")
def _find_twins(state, row, costs, link):
    """For each processor the first one whose exchange with it changes nothing."""
    num_tasks, num_processors = costs.shape
    for p in range(num_processors):
        state.twin[row, p] = p
        for q in range(p):
            if state.twin[row, q] != q or link[p, q] != link[q, p]:
                continue
            alike = True
            for r in range(num_processors):
                if r not in (p, q) and (link[p, r] != link[q, r] or link[r, p] != link[r, q]):
                    alike = False
            for t in range(num_tasks):
                if costs[t, p] != costs[t, q]:
                    alike = False
                    break
            if alike:
                state.twin[row, p] = q
                break


@njit(cache=True, error_model="numpy")
def _observe_graph(state, observation, row, heads):
    """Write nodes, edges and the initial node state."""
    num_tasks, num_processors, num_edges, _ = state.sizes[row]
    processor_node = state.start.shape[1]
    waiting_node = processor_node + state.free.shape[1]
    unit, scale, _ = state.scale[row]
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
    node_type[waiting_node] = WAITING
    for e in range(num_edges):
        u, v = state.source[row, e], state.target[row, e]
        time = state.mean_delay[row, e] * unit
        edges[0, e], edges[1, e], edge_type[e] = u, v, PRECEDES
        edge_features[e, 0] = time
        nodes[u, 9] += time
        nodes[v, 8] += time
    e = num_edges
    for p in range(num_processors):
        node_type[processor_node + p] = PROCESSOR
    for t in range(num_tasks):
        node = nodes[t]
        node_type[t] = TASK
        head, total, able, most = _NEVER, 0, 0, 0
        for p in range(num_processors):
            cost = state.cost[row, t, p]
            if cost < 0:
                continue
            head = min(head, heads[t, p])
            total += cost
            able += 1
            most = max(most, cost)
            edges[0, e], edges[1, e], edge_type[e] = t, processor_node + p, RUNS_ON
            edge_features[e, 0] = cost * unit
            e += 1
            of_processor = nodes[processor_node + p]
            of_processor[7] += 1.0 / num_tasks
            of_processor[0] += cost * unit
            of_processor[1] += state.least_cost[row, t] * unit
            of_processor[2] += (cost - state.least_cost[row, t]) * unit
        node[0] = total / able * unit
        node[1] = state.least_cost[row, t] * unit
        node[2] = (most - state.least_cost[row, t]) * unit
        node[3] = state.rank[row, t] * scale
        node[4] = head * scale
        node[5] = (state.first_in[row, t + 1] - state.first_in[row, t]) * 0.25
        node[6] = (state.first_out[row, t + 1] - state.first_out[row, t]) * 0.25
        node[7] = able / num_processors
        node_state[t, 2] = state.missing[row, t] * 0.25
    for p in range(num_processors):
        of_processor = nodes[processor_node + p]
        count = max(of_processor[7] * num_tasks, f32(1))
        for i in range(3):
            of_processor[i] /= count


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _earliest(first, following, starts, ends, free, arrival, cost, placement):
    """When a task can start on a processor, given what is there.

    Args:
        first: of the tasks on the processor that may be in the way, -1 for none.
        following, starts, ends: (T,).
        free: end of the last task on the processor.
        arrival, cost: of the task to place.
        placement: index into PLACEMENT_MODES.
    """
    if placement == APPEND or arrival >= free:
        return max(arrival, free)
    time = arrival
    task = first
    while task >= 0:
        if time + cost <= starts[task]:
            break
        time = max(time, ends[task])
        task = following[task]
    return time


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _link_in(first, following, starts, p, task):
    """Put a task into the list of its processor, ordered by start."""
    begin = starts[task]
    before, after = -1, first[p]
    while after >= 0 and starts[after] <= begin:
        before, after = after, following[after]
    following[task] = after
    if before < 0:
        first[p] = task
    else:
        following[before] = task


@njit(cache=True, error_model="numpy", _nrt=False)
def _refresh(state, row, task, p, placement):
    """Earliest start of a ready task on a processor that can run it."""
    arrival = max(state.arrival[row, task, p], state.usable[row, p], state.totals[row, CLOCK])
    state.earliest[row, task, p] = _earliest(
        state.first_on[row, p],
        state.next_on[row],
        state.start[row],
        state.end[row],
        state.free[row, p],
        arrival,
        state.cost[row, task, p],
        placement,
    )


@njit(cache=True, error_model="numpy", _nrt=False)
def _enter(state, row, task, placement):
    """A task has become ready."""
    ready, position = state.ready[row], state.position[row]
    at = state.totals[row, READY]
    while at > 0 and position[ready[at - 1]] > position[task]:
        ready[at] = ready[at - 1]
        at -= 1
    ready[at] = task
    state.totals[row, READY] += 1
    for p in range(state.sizes[row, 1]):
        if state.cost[row, task, p] >= 0:
            _refresh(state, row, task, p, placement)


@njit(cache=True, error_model="numpy", _nrt=False)
def _leave(state, row, task):
    """A ready task is being scheduled."""
    ready = state.ready[row]
    state.totals[row, READY] -= 1
    at = 0
    while ready[at] != task:
        at += 1
    for i in range(at, state.totals[row, READY]):
        ready[i] = ready[i + 1]


@njit(cache=True, error_model="numpy", _nrt=False)
def _schedule(state, observation, row, task, p, placement):
    """Put a ready task on a processor at its earliest start there."""
    totals = state.totals[row]
    begin = state.earliest[row, task, p]
    cost = state.cost[row, task, p]
    end = begin + cost
    state.start[row, task], state.end[row, task] = begin, end
    state.processor[row, task] = p
    state.free[row, p] = max(state.free[row, p], end)
    state.assigned[row, p] += 1
    state.work[row, p] += cost
    totals[COMPLETION] = max(totals[COMPLETION], end)
    totals[SCHEDULED] += 1
    totals[WORK_LEFT] -= state.least_cost[row, task]
    if placement == INSERTION:
        _link_in(state.first_on[row], state.next_on[row], state.start[row], p, task)
    _leave(state, row, task)
    for i in range(totals[READY]):
        t = state.ready[row, i]
        if state.cost[row, t, p] >= 0:
            _refresh(state, row, t, p, placement)
    order = state.rank_order[row]
    while (
        totals[NEXT_RANKED] < state.sizes[row, 0]
        and state.processor[row, order[totals[NEXT_RANKED]]] >= 0
    ):
        totals[NEXT_RANKED] += 1
    node_state = observation.node_state[row]
    processor_node = state.start.shape[1] + p
    scale = state.scale[row, 1]
    node_state[task, 0] = 1
    node_state[task, 1] = end * scale
    node_state[processor_node, 0] = state.assigned[row, p] / state.sizes[row, 0]
    node_state[processor_node, 1] = state.free[row, p] * scale
    node_state[processor_node, 2] = state.work[row, p] * scale
    for e in range(state.first_out[row, task], state.first_out[row, task + 1]):
        _deliver(state, row, e, p, end, placement)
        node_state[state.target[row, e], 2] -= f32(0.25)


@njit(cache=True, error_model="numpy", _nrt=False)
def _deliver(state, row, edge, p, end, placement):
    """The result of a task that ends on ``p`` is on its way to a child; raises the bound."""
    child = state.target[row, edge]
    least = _NEVER
    for q in range(state.sizes[row, 1]):
        time = max(
            state.arrival[row, child, q], end + state.delay[row, edge, state.link[row, p, q]]
        )
        state.arrival[row, child, q] = time
        if state.cost[row, child, q] >= 0:
            if placement == APPEND:
                time = max(time, state.free[row, q])
            least = min(least, time + state.tail[row, child, q])
    state.totals[row, BOUND] = max(state.totals[row, BOUND], least)
    state.missing[row, child] -= 1
    if state.missing[row, child] == 0:
        _enter(state, row, child, placement)


@njit(cache=True, error_model="numpy", _nrt=False)
def _skip(state, row, placement):
    """Let time pass: nothing starts before the next event."""
    state.totals[row, CLOCK] = state.totals[row, NEXT_EVENT]
    for i in range(state.totals[row, READY]):
        t = state.ready[row, i]
        for p in range(state.sizes[row, 1]):
            if state.cost[row, t, p] >= 0:
                _refresh(state, row, t, p, placement)


@njit(cache=True, error_model="numpy", _nrt=False)
def _survey(state, row, actions, placement):
    """Fill ``best`` of the offered tasks and refresh the bound.

    Returns:
        number of offered tasks, earliest start and end of any candidate, the largest least path,
        and the earliest start that is later than the first (``_NEVER``: none).
    """
    num_processors = state.sizes[row, 1]
    totals = state.totals[row]
    offered = min(totals[READY], WINDOW)
    first, first_end, second, longest = _NEVER, _NEVER, _NEVER, 0
    for k in range(offered):
        t = state.ready[row, k]
        best = state.best[row, k]
        best[END], best[SECOND_END], best[END_AT] = _NEVER, _NEVER, -1
        best[PATH], best[SECOND_PATH], best[PATH_AT] = _NEVER, _NEVER, -1
        for p in range(num_processors):
            cost = state.cost[row, t, p]
            if cost < 0:
                continue
            start = state.earliest[row, t, p]
            end, path = start + cost, start + state.tail[row, t, p]
            if actions == TASK_PROCESSOR:
                first, second = _two_least(first, second, start)
            if end < best[END]:
                best[SECOND_END] = best[END]
                best[END], best[END_AT] = end, p
            else:
                best[SECOND_END] = min(best[SECOND_END], end)
            if path < best[PATH]:
                best[SECOND_PATH] = best[PATH]
                best[PATH], best[PATH_AT] = path, p
            else:
                best[SECOND_PATH] = min(best[SECOND_PATH], path)
        if actions == ORDER:
            start = state.earliest[row, t, best[END_AT]]
            first, second = _two_least(first, second, start)
        first_end = min(first_end, best[END])
        longest = max(longest, best[PATH])
    totals[BOUND] = max(totals[BOUND], totals[COMPLETION], longest)
    used = totals[WORK_LEFT]
    for p in range(num_processors):
        used += state.free[row, p] if placement == APPEND else state.work[row, p]
    totals[BOUND] = max(totals[BOUND], (used + num_processors - 1) // num_processors)
    return offered, first, first_end, longest, second


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _two_least(first, second, value):
    """The two least different values after one more."""
    if value < first:
        return value, first
    if first < value < second:
        return first, value
    return first, second


@njit(cache=True, error_model="numpy", _nrt=False)
def _trim(state, row):
    """Insertion: drop what ends by the frontier, the earliest start of any ready task."""
    num_processors = state.sizes[row, 1]
    frontier = _NEVER
    for i in range(state.totals[row, READY]):
        t = state.ready[row, i]
        for p in range(num_processors):
            if state.cost[row, t, p] >= 0:
                frontier = min(frontier, state.earliest[row, t, p])
    for p in range(num_processors):
        task = state.first_on[row, p]
        while task >= 0 and state.end[row, task] <= frontier:
            # not the last end: a task without length may be linked behind one of equal start
            state.usable[row, p] = max(state.usable[row, p], state.end[row, task])
            task = state.next_on[row, task]
        state.first_on[row, p] = task


@njit(cache=True, error_model="numpy", _nrt=False)
def _is_spare(state, row, p):
    """Whether an empty processor has an empty twin of lower index."""
    if state.assigned[row, p] or state.twin[row, p] == p:
        return False
    for q in range(state.twin[row, p], p):
        if state.twin[row, q] == state.twin[row, p] and not state.assigned[row, q]:
            return True
    return False


@njit(cache=True, error_model="numpy", _nrt=False)
def _offer(state, observation, row, offered, first, second, actions, dispatch):
    """Fill the candidates: task, processor, nodes, legality; returns how many are legal."""
    totals = state.totals[row]
    nodes, mask = observation.candidate_nodes[row], observation.action_mask[row]
    processor_node = state.start.shape[1]
    count, legal_count = 0, 0
    for k in range(offered):
        t = state.ready[row, k]
        for p in range(state.sizes[row, 1]):
            if state.cost[row, t, p] < 0 or _is_spare(state, row, p):
                continue
            if actions == ORDER and p != state.best[row, k, END_AT]:
                continue
            state.candidate_task[row, count], state.candidate_processor[row, count] = t, p
            nodes[count, 0], nodes[count, 1] = t, processor_node + p
            legal = dispatch == FREE or state.earliest[row, t, p] == first
            mask[count] = legal
            legal_count += legal
            count += 1
    if dispatch == SKIP and offered and second < _NEVER:
        state.candidate_task[row, count], state.candidate_processor[row, count] = -1, -1
        nodes[count, 0], nodes[count, 1] = processor_node + state.free.shape[1], -1
        mask[count] = 1
        legal_count += 1
        count += 1
        totals[NEXT_EVENT] = second
    for a in range(count, totals[OFFERED]):
        nodes[a] = -1
        mask[a] = 0
        observation.candidates[row, a] = 0
    totals[OFFERED] = count
    return legal_count


@njit(cache=True, error_model="numpy", _nrt=False)
def _rivals(state, row, k, p, offered, start, end, placement):
    """What choosing a candidate does to the other offered tasks.

    Returns:
        how many of them would end first on the processor, the total delay of their earliest ends,
        and the largest least path of any of them afterwards.
    """
    wanting, delay, longest = 0, 0, 0
    for other in range(offered):
        if other == k:
            continue
        t = state.ready[row, other]
        best = state.best[row, other]
        cost = state.cost[row, t, p]
        wanting += best[END_AT] == p
        if cost < 0:
            longest = max(longest, best[PATH])
            continue
        begin = state.earliest[row, t, p]
        if placement == APPEND or (begin < end and begin + cost > start):
            begin = max(begin, end)
        if best[END_AT] == p:
            delay += min(best[SECOND_END], begin + cost) - best[END]
        elsewhere = best[SECOND_PATH] if best[PATH_AT] == p else best[PATH]
        longest = max(longest, min(elsewhere, begin + state.tail[row, t, p]))
    return wanting, delay, longest


@njit(cache=True, error_model="numpy", _nrt=False)
def _children(state, row, task, p, end):
    """What the children of a candidate can make of it.

    Returns:
        the latest of their earliest ends, the largest of their least paths, how many become ready,
        and the longest mean delay to one.
    """
    latest, longest, released, delay = end, 0, 0, f32(0)
    free = state.free[row]
    for e in range(state.first_out[row, task], state.first_out[row, task + 1]):
        child = state.target[row, e]
        released += state.missing[row, child] == 1
        delay = max(delay, state.mean_delay[row, e])
        least_end, least_path = _NEVER, _NEVER
        for q in range(state.sizes[row, 1]):
            cost = state.cost[row, child, q]
            if cost < 0:
                continue
            begin = max(
                state.arrival[row, child, q], end + state.delay[row, e, state.link[row, p, q]]
            )
            begin = max(begin, free[q])
            least_end = min(least_end, begin + cost)
            least_path = min(least_path, begin + state.tail[row, child, q])
        latest = max(latest, least_end)
        longest = max(longest, least_path)  # type: ignore[assignment]
    return latest, longest, released, delay


@njit(cache=True, error_model="numpy", _nrt=False)
def _local_share(state, row, task, p):
    """Share of a task's input, by mean delay, that is on the processor."""
    here, total = f32(0), f32(0)
    for i in range(state.first_in[row, task], state.first_in[row, task + 1]):
        e = state.edge_in[row, i]
        total += state.mean_delay[row, e]
        if state.processor[row, state.source[row, e]] == p:
            here += state.mean_delay[row, e]
    return here / total if total > 0 else f32(0)


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe(state, observation, row, actions, placement, dispatch, lookahead):
    """Refresh bound, candidates, their features and the globals of a row."""
    if placement == INSERTION:
        _trim(state, row)
    offered, first, first_end, longest, second = _survey(state, row, actions, placement)
    legal_count = _offer(state, observation, row, offered, first, second, actions, dispatch)
    num_tasks, num_processors = state.sizes[row, 0], state.sizes[row, 1]
    totals = state.totals[row]
    bound = totals[BOUND]
    unit = f32(state.scale[row, 0])
    horizon = f32(1.0 / max(bound - first, 1))
    quarter = f32(0.25)
    mean_free = f32(0)
    for p in range(num_processors):
        mean_free += f32(state.free[row, p]) / f32(num_processors)
    highest = state.rank[row, state.ready[row, 0]]
    a = 0
    for k in range(offered):
        t = state.ready[row, k]
        best = state.best[row, k]
        able = 0
        for p in range(num_processors):
            able += state.cost[row, t, p] >= 0
        children = state.first_out[row, t + 1] - state.first_out[row, t]
        begin_a, least_child_path = a, _NEVER
        while a < totals[OFFERED] and state.candidate_task[row, a] == t:
            p = state.candidate_processor[row, a]
            cost, start = state.cost[row, t, p], state.earliest[row, t, p]
            end, path = start + cost, start + state.tail[row, t, p]
            arrival = max(state.arrival[row, t, p], totals[CLOCK])
            latest, child_path, released, delay_out = _children(state, row, t, p, end)
            least_child_path = min(least_child_path, child_path)
            wanting, rival_delay, rival_path = _rivals(
                state, row, k, p, offered, start, end, placement
            )
            c = observation.candidates[row, a]
            c[0] = f32(cost) * unit
            c[1] = f32(cost - state.least_cost[row, t]) * unit
            c[2] = f32(start - first) * unit
            c[3] = f32(end - first_end) * unit
            c[4] = f32(arrival - first) * unit
            c[5] = f32(start - arrival) * unit
            c[6] = f32(start - state.free[row, p]) * unit
            c[7] = f32(end - best[END]) * unit
            c[8] = f32(path - best[PATH]) * unit
            c[9] = f32(best[SECOND_END] - best[END]) * unit if able > 1 else f32(0)
            c[10] = f32(bound - path) * unit
            c[11] = f32(best[PATH] - longest) * unit
            c[12] = (state.rank[row, t] - highest) * unit
            c[13] = state.rank[row, t] * horizon
            c[14] = f32(k) / f32(offered)
            c[15] = k == 0
            c[16] = p == best[END_AT]
            c[17] = p == best[PATH_AT]
            c[18] = f32(able) / f32(num_processors)
            c[19] = f32(children) * quarter
            c[20] = f32(released) * quarter
            c[21] = f32(latest - end) * unit
            c[22] = f32(child_path - bound) * unit if children else f32(0)
            c[23] = f32(child_path) * unit
            c[24] = delay_out * unit
            c[25] = _local_share(state, row, t, p)
            c[26] = f32(wanting) * quarter
            c[27] = f32(rival_delay) * unit
            c[28] = f32(rival_path - bound) * unit if offered > 1 else f32(0)
            c[29] = (f32(state.free[row, p]) - mean_free) * unit
            c[30] = observation.action_mask[row, a]
            c[31] = 0
            a += 1
        for i in range(begin_a, a):
            observation.candidates[row, i, 23] -= f32(least_child_path) * unit
    if a < totals[OFFERED]:  # skip
        c = observation.candidates[row, a]
        c[:] = 0
        c[2] = f32(second - first) * unit
        c[10] = f32(bound - longest) * unit
        c[30], c[31] = 1, 1
    if lookahead != NO_LOOKAHEAD:
        _observe_lookahead(state, observation, row, legal_count, placement, len(CANDIDATE_FEATURES))
    if lookahead == NO_LOOKAHEAD or totals[SCHEDULED] == num_tasks:
        totals[PROSPECT] = bound
    g = observation.globals[row]
    g[0] = totals[SCHEDULED] / num_tasks
    g[1] = (bound - totals[INITIAL_BOUND]) * state.scale[row, 1]
    if not offered:
        g[2:] = 0
        return
    delays = f32(0)
    for e in range(state.sizes[row, 2]):
        delays += state.mean_delay[row, e]
    g[2] = first / max(bound, 1)
    g[3] = (bound - first) * unit * f32(0.01)
    g[4] = totals[READY] / num_processors * quarter
    g[5] = legal_count / totals[OFFERED]
    g[6] = num_processors / 16
    g[7] = delays / max(state.sizes[row, 2], 1) * unit
    g[8] = totals[WORK_LEFT] / num_processors * horizon
    g[9] = (first - mean_free) * unit


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_lookahead(state, observation, row, legal_count, placement, column):
    """Try legal candidates of a row that has a choice; write features from ``column`` on."""
    mask, lookahead = observation.action_mask[row], state.lookahead[row]
    every = state.sizes[row, 0] - state.totals[row, SCHEDULED] <= TRIAL_TASKS
    best, worst = _NEVER, 0
    for a in range(state.totals[row, OFFERED]):
        c = observation.candidates[row, a]
        lookahead[a] = -1
        c[column : column + 3] = 0
        # the features earliest_end, least_path and skip
        if legal_count > 1 and mask[a] and (every or c[16] or c[17] or c[31]):
            lookahead[a] = _trials(state, row, a, placement)
            best, worst = min(best, lookahead[a]), max(worst, lookahead[a])
    if legal_count <= 1:
        return
    state.totals[row, PROSPECT] = best
    unit = state.scale[row, 0]
    for a in range(state.totals[row, OFFERED]):
        if mask[a]:
            c = observation.candidates[row, a]
            if lookahead[a] < 0:
                lookahead[a] = worst + 1
            c[column] = (lookahead[a] - best) * unit
            c[column + 1] = (lookahead[a] - state.totals[row, BOUND]) * unit
            c[column + 2] = lookahead[a] == best


@njit(cache=True, error_model="numpy", _nrt=False)
def _trials(state, row, a, placement):
    """The smaller makespan when the two list rules complete the schedule after candidate ``a``."""
    by_end = _trial(state, row, a, state.cost, placement)
    by_path = _trial(state, row, a, state.tail, placement)
    return min(by_end, by_path)


@njit(cache=True, error_model="numpy", _nrt=False)
def _trial(state, row, a, after, placement):
    """The makespan when a list rule completes the schedule after candidate ``a``.

    Args:
        state, row, a: the candidate.
        after: (B, T, P) added to the starts when processors are compared: costs, or tails.
        placement: index into PLACEMENT_MODES.
    """
    num_tasks, num_processors = state.sizes[row, 0], state.sizes[row, 1]
    totals = state.totals[row]
    starts, ends, on = state.trial_start[row], state.trial_end[row], state.trial_processor[row]
    free, first, following = state.trial_free[row], state.trial_first[row], state.trial_next[row]
    arrivals = state.trial_arrival[row]
    for t in range(num_tasks):  # loops: copies of slices would allocate
        starts[t], ends[t] = state.start[row, t], state.end[row, t]
        on[t], following[t] = state.processor[row, t], state.next_on[row, t]
    for q in range(num_processors):
        free[q], first[q] = state.free[row, q], state.first_on[row, q]
    clock = totals[CLOCK]
    task, p = state.candidate_task[row, a], state.candidate_processor[row, a]
    makespan = totals[COMPLETION]
    if task < 0:
        clock = totals[NEXT_EVENT]
    else:
        starts[task] = state.earliest[row, task, p]
        ends[task] = starts[task] + state.cost[row, task, p]
        on[task] = p
        free[p] = max(free[p], ends[task])
        makespan = max(makespan, ends[task])
        if placement == INSERTION:
            _link_in(first, following, starts, p, task)
    for position in range(totals[NEXT_RANKED], num_tasks):
        t = state.rank_order[row, position]
        if on[t] >= 0:
            continue
        for q in range(num_processors):
            arrivals[q] = max(clock, state.usable[row, q])
        for i in range(state.first_in[row, t], state.first_in[row, t + 1]):
            e = state.edge_in[row, i]
            u = state.source[row, e]
            for q in range(num_processors):
                time = ends[u] + state.delay[row, e, state.link[row, on[u], q]]
                arrivals[q] = max(arrivals[q], time)
        least, where = _NEVER, -1
        for q in range(num_processors):
            cost = state.cost[row, t, q]
            if cost < 0 or arrivals[q] + after[row, t, q] >= least:
                continue
            begin = _earliest(
                first[q], following, starts, ends, free[q], arrivals[q], cost, placement
            )
            if begin + after[row, t, q] < least:
                least, where, starts[t] = begin + after[row, t, q], q, begin
        ends[t] = starts[t] + state.cost[row, t, where]
        on[t] = where
        free[where] = max(free[where], ends[t])
        makespan = max(makespan, ends[t])
        if placement == INSERTION:
            _link_in(first, following, starts, where, t)
    return makespan


@njit(cache=True, error_model="numpy", _nrt=False)
def _step_row(state, observation, row, action, actions, placement, dispatch, lookahead, terminated):
    """One decision; returns the reward."""
    before = state.totals[row, PROSPECT]
    task = state.candidate_task[row, action]
    if task < 0:
        _skip(state, row, placement)
    else:
        p = state.candidate_processor[row, action]
        _schedule(state, observation, row, task, p, placement)
    _observe(state, observation, row, actions, placement, dispatch, lookahead)
    terminated[row] = state.totals[row, SCHEDULED] == state.sizes[row, 0]
    return (before - state.totals[row, PROSPECT]) * state.scale[row, 2]


@njit(cache=True, error_model="numpy", _nrt=False)
def step(state, observation, chosen, rewards, terminated, actions, placement, dispatch, lookahead):
    """Apply the candidates ``chosen`` to every row (-1: leave it), see ``Problem.step``."""
    for row in range(len(chosen)):
        rewards[row] = 0
        if chosen[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, chosen[row],
                actions, placement, dispatch, lookahead, terminated,
            )  # fmt: skip


@njit(cache=True, error_model="numpy", _nrt=False, parallel=True)
def step_parallel(
    state, observation, chosen, rewards, terminated, actions, placement, dispatch, lookahead
):
    """The same with rows shared among threads."""
    for row in prange(len(chosen)):
        rewards[row] = 0
        if chosen[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, chosen[row],
                actions, placement, dispatch, lookahead, terminated,
            )  # fmt: skip
