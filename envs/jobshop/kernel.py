"""Numba kernels of the (flexible) job shop: load, step, legal candidates, observe.

A decision picks a candidate: the next operation of a job on one of its alternatives. Candidate
``job * K + k`` is alternative k of the job's next operation, K the largest number of alternatives
(K = 1: the candidate is the job). The decode mode, a schedule-generation scheme, fixes which
candidates are legal and when the chosen operation starts:

* ``append``: any job; after everything already on the machine (semi-active schedules).
* ``insert``: any job; in the earliest idle interval of the machine that is long enough.
* ``nondelay``: only candidates that can start first, so no machine idles while work waits.
* ``active``: Giffler & Thompson (1960): with C* the smallest completion time of any candidate and
  m* its machine, the candidates on m* that can start before C*. Contains an optimal schedule for
  every regular objective; for alternatives too, since moving the candidate that attains C* into
  an interval of m* unused before C* delays nothing.

With ``lookahead`` every legal candidate is also tried: the schedule is completed by the
non-delay ATC rule with all jobs due at the bound (Vepsalainen & Morton, Management Science 33(8),
1987) and the makespan found becomes a feature. This is the pilot method (Duin & Voss, Networks 34,
1999) offered to the policy.

All kernels are in this one file because numba's cache looks at no other for changes.

The bound behind the reward is the largest of: completion so far; for each job its earliest next
start plus its remaining work; for each machine its ready time plus the work that only it can do;
with alternatives also the mean over machines of ready time plus remaining work.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

f32 = np.float32

APPEND, INSERT, NONDELAY, ACTIVE = range(4)
DECODE_MODES = ("append", "insert", "nondelay", "active")

NO_LOOKAHEAD, ATC_LOOKAHEAD = range(2)
LOOKAHEAD_MODES = ("none", "atc")
#: A trial schedules at most this many operations, fewer when there are many jobs to choose from:
#: that limits its cost on large shops; the bound then stands for what is left.
TRIAL_OPERATIONS = 512
#: Most operations of a trial times jobs.
TRIAL_WORK = 2**15
#: Slack is weighed against this many mean durations; Vepsalainen & Morton use 2 to 3 in job shops.
ATC_DURATIONS = 3.0
_NEVER = np.int32(2**31 - 1)

#: Node types, in the order of their index.
OPERATION, JOB, MACHINE = range(3)
NODE_TYPES = ("operation", "job", "machine")
PRECEDES, ON_MACHINE, OF_JOB = range(3)
EDGE_TYPES = ("precedes", "on_machine", "of_job")

NODE_FEATURES = (
    "duration",  # of the shortest alternative, in mean durations
    "work_before",  # of the job before this operation / initial bound
    "work_after",  # of the job from this operation on / initial bound
    "position",  # in the job, 0 to 1
    "load",  # of the machine(s) / initial bound; for a job its total work
    "choice",  # alternatives / machines
)
NODE_STATE_FEATURES = (
    "done",  # operation: 1 once scheduled; job: share of its operations; machine: of its work
    "ready",  # operation: its completion once scheduled; job, machine: free from / initial bound
    "work_left",  # unscheduled work / initial bound
)
EDGE_FEATURES = ("duration",)  # of the alternative, in mean durations
CANDIDATE_ROLES = ("operation", "next_operation", "job", "machine")
CANDIDATE_FEATURES = (
    # times in mean durations; "first" is the earliest start of any candidate
    "duration",
    "job_ready",  # relative to first
    "machine_ready",  # relative to first
    "earliest_start",  # relative to first
    "earliest_end",  # relative to the earliest completion of any candidate
    "job_waits",  # earliest start - job ready
    "machine_waits",  # earliest start - machine ready: idle time this choice creates
    "job_slack",  # bound - earliest start - remaining work of the job
    "machine_slack",  # bound - machine ready (or start) - remaining load of the machine
    "work_left",  # of the job / horizon, the horizon being bound - first
    "load_left",  # of the machine / horizon
    "operations_left",  # of the job / machines
    "progress",  # share of the job's operations that are scheduled
    "rivals",  # candidates of other jobs on the machine / 4
    "rivals_blocked",  # those that could start before this one ends / 4
    "shortest_rival",
    "rival_delay",  # total delay to rivals' earliest starts
    "bound_increase",  # of the bound if this is chosen, by the rivals that have to wait
    "least_bound_increase",  # 1 if no candidate on the machine delays its rivals less
    "next_duration",
    "next_machine_waits",  # next machine ready - end; negative: the machine idles
    "next_load_left",  # of the next operation's machine / horizon
    "next_rivals",  # candidates on the next operation's machine / 4
    "next_rivals_work",  # their durations
    "second_duration",  # of the operation after the next
    "second_machine_waits",  # its machine's ready time - end - next duration
    "second_load_left",
    "last",  # 1 for the last operation of a job
    "excess_duration",  # over the shortest alternative
    "excess_end",  # over the earliest completion among the alternatives
    "legal",
)
LOOKAHEAD_FEATURES = (
    "lookahead",  # makespan of the trial, relative to the best candidate's
    "lookahead_gap",  # the same relative to the bound
)
GLOBAL_FEATURES = (
    "progress",  # share of operations scheduled
    "bound_increase",  # (bound - initial bound) / initial bound
    "first",  # earliest start / bound
    "horizon",  # (bound - first) / mean duration / 100
    "legal_share",  # legal candidates / unfinished jobs
    "unfinished_jobs",  # / jobs
    "jobs_per_machine",  # / 4
    "operations_per_job",  # left, of unfinished jobs / machines
)


class State(NamedTuple):
    """Arrays of a batch of B job shops; J, M, O, X: jobs, machines, operations, alternatives."""

    # the instance
    sizes: NDArray[np.int32]  # (B, 3) jobs, machines, operations
    first_operation: NDArray[np.int32]  # (B, J + 1)
    first_alternative: NDArray[np.int32]  # (B, O + 1)
    machine: NDArray[np.int32]  # (B, X)
    duration: NDArray[np.int32]  # (B, X)
    tail: NDArray[np.int32]  # (B, O) work of the job from the operation on, shortest alternatives
    shortest: NDArray[np.int32]  # (B, O) duration of the shortest alternative
    scale: NDArray[np.float64]  # (B, 2) 1 / mean duration, 1 / initial bound
    # the partial schedule
    next_operation: NDArray[np.int32]  # (B, J) first_operation[j + 1] once the job is finished
    job_ready: NDArray[np.int32]  # (B, J)
    machine_ready: NDArray[np.int32]  # (B, M) end of the last operation on the machine
    fixed_load: NDArray[np.int32]  # (B, M) unscheduled work that only this machine can do
    load: NDArray[np.float32]  # (B, M) expected unscheduled work, alternatives shared equally
    earliest: NDArray[np.int32]  # (B, A) earliest start of each candidate
    front: NDArray[np.int32]  # (B, A, 3) candidates of unfinished jobs, columns below
    ahead: NDArray[np.int32]  # (B, J, 6) unfinished jobs, columns below
    start: NDArray[np.int32]  # (B, O) -1 while unscheduled
    assigned: NDArray[np.int32]  # (B, O) alternative chosen
    first_on_machine: NDArray[np.int32]  # (B, M) operations in order of start, a linked list
    next_on_machine: NDArray[np.int32]  # (B, O)
    totals: NDArray[np.int32]  # (B, 6) columns below
    # candidates by machine, linked lists
    queue: NDArray[np.int32]  # (B, M) first candidate
    queue_next: NDArray[np.int32]  # (B, A)
    queue_size: NDArray[np.int32]  # (B, M)
    queue_work: NDArray[np.int32]  # (B, M) durations of the candidates
    queue_changed: NDArray[np.int32]  # (B, M) 1 until features of rivals are written again
    delay_bound: NDArray[np.int32]  # (B, A) last completion of the rivals if it is chosen
    # lookahead
    log_duration: NDArray[np.float32]  # (B, X)
    lookahead: NDArray[np.int32]  # (B, A) makespan after each legal candidate
    # scratch of a trial: what changes in the partial schedule, by candidate
    trial_next: NDArray[np.int32]  # (B, J) next_operation of the trial
    trial_ready: NDArray[np.int32]  # (B, M) machine_ready of the trial
    trial_load: NDArray[np.int32]  # (B, M) fixed_load of the trial
    trial_start: NDArray[np.int32]  # (B, A) earliest start of each candidate, _NEVER for none
    trial_machine: NDArray[np.int32]  # (B, A) its machine, -1 for none
    trial_tail: NDArray[np.int32]  # (B, A) work left of its job, -_NEVER for none
    trial_log: NDArray[np.float32]  # (B, A) logarithm of its duration
    trial_queue: NDArray[np.int32]  # (B, M) first candidate of each machine, a linked list
    trial_queue_next: NDArray[np.int32]  # (B, A)


#: Columns of ``totals``; READY_SUM is the sum of ``machine_ready``.
INITIAL_BOUND, BOUND, COMPLETION, SCHEDULED, WORK_LEFT, READY_SUM = range(6)
#: Columns of ``front``: what a candidate is, kept together because every step reads all of them.
#: MACHINE is -1 where there is no candidate; REMAINING is the work of the job from the start of the
#: candidate on, if it is chosen.
FRONT_MACHINE, FRONT_DURATION, FRONT_REMAINING = range(3)
#: Columns of ``ahead``: operations left (0: finished), their work, and for the two operations after
#: the next one the machine (-1: no such operation) and the duration there.
(
    AHEAD_OPERATIONS,
    AHEAD_WORK,
    AHEAD_MACHINE,
    AHEAD_DURATION,
    AHEAD_SECOND_MACHINE,
    AHEAD_SECOND_DURATION,
) = range(6)


@njit(cache=True, error_model="numpy")
def load_row(
    state,
    observation,
    row,
    num_machines,
    job_offsets,
    alternative_offsets,
    machines,
    durations,
    width,
    decode,
    lookahead,
):
    """Put an instance into ``row`` and write its whole observation.

    Args:
        state, observation: batch arrays.
        row: which one.
        num_machines, job_offsets, alternative_offsets, machines, durations: of the instance.
        width: K, candidates per job.
        decode: index into DECODE_MODES.
        lookahead: index into LOOKAHEAD_MODES.
    """
    num_jobs = len(job_offsets) - 1
    num_operations = len(alternative_offsets) - 1
    state.sizes[row, 0] = num_jobs
    state.sizes[row, 1] = num_machines
    state.sizes[row, 2] = num_operations
    state.first_operation[row, : num_jobs + 1] = job_offsets
    state.first_alternative[row, : num_operations + 1] = alternative_offsets
    state.machine[row, : len(machines)] = machines
    state.duration[row, : len(machines)] = durations
    _clear(state, row)
    bound = _tails_and_loads(state, row)
    total = 0.0
    for x in range(len(machines)):
        total += durations[x]
        state.log_duration[row, x] = np.log(max(durations[x], 1))
    state.scale[row, 0] = len(machines) / max(total, 1.0)
    state.scale[row, 1] = 1.0 / max(bound, 1)
    state.totals[row, INITIAL_BOUND] = bound
    state.totals[row, BOUND] = bound
    _observe_graph(state, observation, row)
    # all of it: the row may hold a larger instance in the middle of its episode
    observation.candidates[row] = 0
    observation.candidate_nodes[row] = -1
    observation.action_mask[row] = 0
    for job in range(num_jobs):
        _touch_candidates(state, observation, row, job, width)
    _observe(state, observation, row, width, decode, lookahead)


@njit(cache=True, error_model="numpy")
def _clear(state, row):
    """The empty schedule."""
    num_jobs = state.sizes[row, 0]
    state.next_operation[row, :num_jobs] = state.first_operation[row, :num_jobs]
    state.job_ready[row] = 0
    state.machine_ready[row] = 0
    state.fixed_load[row] = 0
    state.load[row] = 0
    state.start[row] = -1
    state.assigned[row] = -1
    state.first_on_machine[row] = -1
    state.next_on_machine[row] = -1
    state.totals[row] = 0
    state.earliest[row] = 0
    state.front[row, :, FRONT_MACHINE] = -1
    state.queue[row] = -1
    state.queue_size[row] = 0
    state.queue_work[row] = 0


@njit(cache=True, error_model="numpy")
def _tails_and_loads(state, row):
    """Fill tails, shortest durations and loads; returns the initial bound."""
    num_jobs, num_machines = state.sizes[row, 0], state.sizes[row, 1]
    bound = 0
    work = 0
    for job in range(num_jobs):
        tail = 0
        for op in range(
            state.first_operation[row, job + 1] - 1, state.first_operation[row, job] - 1, -1
        ):
            first, end = state.first_alternative[row, op], state.first_alternative[row, op + 1]
            shortest = state.duration[row, first]
            for x in range(first, end):
                shortest = min(shortest, state.duration[row, x])
                state.load[row, state.machine[row, x]] += state.duration[row, x] / (end - first)
            if end == first + 1:
                state.fixed_load[row, state.machine[row, first]] += shortest
            tail += shortest
            state.tail[row, op] = tail
            state.shortest[row, op] = shortest
        bound = max(bound, tail)
        work += tail
    for m in range(num_machines):
        bound = max(bound, state.fixed_load[row, m])
    state.totals[row, WORK_LEFT] = work
    return max(bound, (work + num_machines - 1) // num_machines)


@njit(cache=True, error_model="numpy")
def _observe_graph(state, observation, row):
    """Write nodes, edges and the initial node state."""
    num_jobs, num_machines, _ = state.sizes[row]
    job_node = state.start.shape[1]
    machine_node = job_node + state.job_ready.shape[1]
    unit, scale = state.scale[row]
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
    e = 0
    for job in range(num_jobs):
        begin, end = state.first_operation[row, job], state.first_operation[row, job + 1]
        total = state.tail[row, begin]
        node = job_node + job
        node_type[node] = JOB
        nodes[node, 0] = total / (end - begin) * unit
        nodes[node, 2] = total * scale
        nodes[node, 4] = total * scale
        node_state[node, 2] = total * scale
        for op in range(begin, end):
            first, last = state.first_alternative[row, op], state.first_alternative[row, op + 1]
            node_type[op] = OPERATION
            nodes[op, 0] = state.shortest[row, op] * unit
            nodes[op, 1] = (total - state.tail[row, op]) * scale
            nodes[op, 2] = state.tail[row, op] * scale
            nodes[op, 3] = (op - begin) / max(end - begin - 1, 1)
            nodes[op, 5] = (last - first) / num_machines
            node_state[op, 2] = state.shortest[row, op] * scale
            if op + 1 < end:
                edges[0, e], edges[1, e], edge_type[e] = op, op + 1, PRECEDES
                e += 1
            edges[0, e], edges[1, e], edge_type[e] = op, node, OF_JOB
            e += 1
            for x in range(first, last):
                m = state.machine[row, x]
                nodes[op, 4] += state.load[row, m] * scale / (last - first)
                edges[0, e], edges[1, e], edge_type[e] = op, machine_node + m, ON_MACHINE
                edge_features[e, 0] = state.duration[row, x] * unit
                e += 1
    for m in range(num_machines):
        node = machine_node + m
        node_type[node] = MACHINE
        nodes[node, 4] = state.load[row, m] * scale
        node_state[node, 2] = state.load[row, m] * scale


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _join_queue(state, row, a):
    """Put candidate ``a`` into the queue of its machine."""
    m = state.front[row, a, FRONT_MACHINE]
    state.queue_next[row, a] = state.queue[row, m]
    state.queue[row, m] = a
    state.queue_size[row, m] += 1
    state.queue_work[row, m] += state.front[row, a, FRONT_DURATION]
    state.queue_changed[row, m] = 1


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _leave_queue(state, row, a):
    """Take candidate ``a`` out of the queue of its machine."""
    m = state.front[row, a, FRONT_MACHINE]
    previous, current = -1, state.queue[row, m]
    while current != a:
        previous, current = current, state.queue_next[row, current]
    if previous < 0:
        state.queue[row, m] = state.queue_next[row, a]
    else:
        state.queue_next[row, previous] = state.queue_next[row, a]
    state.queue_size[row, m] -= 1
    state.queue_work[row, m] -= state.front[row, a, FRONT_DURATION]
    state.queue_changed[row, m] = 1


@njit(cache=True, error_model="numpy", _nrt=False)
def _look_ahead(state, row, job, ready):
    """Fill ``ahead``: the two operations after the next one of ``job``, if that ends at ``ready``.

    Each is taken on the alternative that would end first when appended.
    """
    ahead = state.ahead[row, job]
    op, last = state.next_operation[row, job] + 1, state.first_operation[row, job + 1]
    ahead[AHEAD_MACHINE] = -1
    ahead[AHEAD_SECOND_MACHINE] = -1
    if op < last:
        x = _soonest_alternative(state, row, op, ready)
        ahead[AHEAD_MACHINE] = state.machine[row, x]
        ahead[AHEAD_DURATION] = state.duration[row, x]
        ready = max(ready, state.machine_ready[row, state.machine[row, x]]) + state.duration[row, x]
    if op + 1 < last:
        x = _soonest_alternative(state, row, op + 1, ready)
        ahead[AHEAD_SECOND_MACHINE] = state.machine[row, x]
        ahead[AHEAD_SECOND_DURATION] = state.duration[row, x]


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _soonest_alternative(state, row, op, ready):
    """The alternative of ``op`` that would end first when appended, the operation being ready."""
    best = state.first_alternative[row, op]
    best_end = _NEVER
    for x in range(best, state.first_alternative[row, op + 1]):
        end = max(ready, state.machine_ready[row, state.machine[row, x]]) + state.duration[row, x]
        if end < best_end:
            best_end = end
            best = x
    return best


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _touch_candidates(state, observation, row, job, width):
    """Write what stays of a job's candidates until it is scheduled again.

    That is nodes, ``front``, ``ahead``, queues, and the features that depend on the job alone.
    """
    job_node = state.start.shape[1]
    machine_node = job_node + state.job_ready.shape[1]
    op, end = state.next_operation[row, job], state.first_operation[row, job + 1]
    first = state.first_alternative[row, op]
    alternatives = state.first_alternative[row, op + 1] - first if op < end else 0
    ahead = state.ahead[row, job]
    ahead[AHEAD_OPERATIONS] = end - op
    if op < end:
        ahead[AHEAD_WORK] = state.tail[row, op]
        _look_ahead(state, row, job, state.job_ready[row, job])
    unit = f32(state.scale[row, 0])
    left = f32(end - op)
    for k in range(width):
        a = job * width + k
        nodes, c = observation.candidate_nodes[row, a], observation.candidates[row, a]
        c[:] = 0
        if state.front[row, a, FRONT_MACHINE] >= 0:
            _leave_queue(state, row, a)
        if k < alternatives:
            m, duration = state.machine[row, first + k], state.duration[row, first + k]
            excess = duration - state.shortest[row, op]
            state.front[row, a, FRONT_MACHINE] = m
            state.front[row, a, FRONT_DURATION] = duration
            state.front[row, a, FRONT_REMAINING] = excess + state.tail[row, op]
            _join_queue(state, row, a)
            nodes[0] = op
            nodes[1] = op + 1 if op + 1 < end else -1
            nodes[2] = job_node + job
            nodes[3] = machine_node + m
            c[0] = f32(duration) * unit
            c[11] = left / f32(state.sizes[row, 1])
            c[12] = f32(1) - left / f32(end - state.first_operation[row, job])
            c[27] = op + 1 == end
            c[28] = f32(excess) * unit
        else:
            state.front[row, a, FRONT_MACHINE] = -1
            nodes[:] = -1
            observation.action_mask[row, a] = 0


@njit(cache=True, error_model="numpy", _nrt=False)
def _earliest_gap(state, row, m, ready, duration):
    """Start of the earliest long enough idle interval of machine ``m`` from ``ready`` on."""
    time = ready
    op = state.first_on_machine[row, m]
    while op >= 0:
        begin = state.start[row, op]
        if time + duration <= begin:
            return time
        time = max(time, begin + state.duration[row, state.assigned[row, op]])
        op = state.next_on_machine[row, op]
    return time


@njit(cache=True, error_model="numpy", _nrt=False)
def _link(state, row, m, op):
    """Insert a scheduled operation into its machine's list, ordered by start."""
    begin = state.start[row, op]
    previous, current = -1, state.first_on_machine[row, m]
    while current >= 0 and state.start[row, current] <= begin:
        previous, current = current, state.next_on_machine[row, current]
    state.next_on_machine[row, op] = current
    if previous < 0:
        state.first_on_machine[row, m] = op
    else:
        state.next_on_machine[row, previous] = op


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _refresh_start(state, row, a, width, decode):
    """Earliest start of candidate ``a``."""
    m, ready = state.front[row, a, FRONT_MACHINE], state.job_ready[row, a // width]
    if decode == INSERT:
        duration = state.front[row, a, FRONT_DURATION]
        state.earliest[row, a] = _earliest_gap(state, row, m, ready, duration)
    else:
        state.earliest[row, a] = max(ready, state.machine_ready[row, m])


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _job_completion(state, row, job, width):
    """Earliest completion of an unfinished job if nothing else delayed it."""
    completion = _NEVER
    for a in range(job * width, (job + 1) * width):
        if state.front[row, a, FRONT_MACHINE] >= 0:
            remaining = state.front[row, a, FRONT_REMAINING]
            completion = min(completion, state.earliest[row, a] + remaining)
    return completion


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _refresh_starts_and_bound(state, row, job, m, width, decode):
    """After an operation of ``job`` was put on machine ``m``: nothing changed elsewhere."""
    totals, num_machines = state.totals[row], state.sizes[row, 1]
    bound = max(totals[BOUND], totals[COMPLETION])
    if decode != INSERT:
        if state.fixed_load[row, m] > 0:
            bound = max(bound, state.machine_ready[row, m] + state.fixed_load[row, m])
        if width > 1:
            load = totals[READY_SUM] + totals[WORK_LEFT]
            bound = max(bound, (load + num_machines - 1) // num_machines)
    if state.ahead[row, job, AHEAD_OPERATIONS] > 0:
        for a in range(job * width, (job + 1) * width):
            if state.front[row, a, FRONT_MACHINE] >= 0:
                _refresh_start(state, row, a, width, decode)
        bound = max(bound, _job_completion(state, row, job, width))
    a = state.queue[row, m]
    while a >= 0:
        _refresh_start(state, row, a, width, decode)
        bound = max(bound, _job_completion(state, row, a // width, width))
        a = state.queue_next[row, a]
    totals[BOUND] = bound


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _schedule(state, observation, row, action, width, decode):
    """Put the candidate into the schedule at its earliest start."""
    job = action // width
    op = state.next_operation[row, job]
    first, last = state.first_alternative[row, op], state.first_alternative[row, op + 1]
    chosen = first + action % width
    m, duration = state.machine[row, chosen], state.duration[row, chosen]
    begin = state.earliest[row, action]
    end = begin + duration
    state.start[row, op] = begin
    state.assigned[row, op] = chosen
    state.next_operation[row, job] = op + 1
    state.job_ready[row, job] = end
    totals = state.totals[row]
    totals[READY_SUM] += max(end - state.machine_ready[row, m], 0)
    state.machine_ready[row, m] = max(state.machine_ready[row, m], end)
    totals[COMPLETION] = max(totals[COMPLETION], end)
    totals[SCHEDULED] += 1
    totals[WORK_LEFT] -= state.shortest[row, op]
    if last == first + 1:
        state.fixed_load[row, m] -= duration
    scale = state.scale[row, 1]
    node_state = observation.node_state[row]
    job_node = state.start.shape[1]
    machine_node = job_node + state.job_ready.shape[1]
    for x in range(first, last):
        other = state.machine[row, x]
        state.load[row, other] = max(
            state.load[row, other] - f32(state.duration[row, x] / (last - first)), f32(0)
        )
        node_state[machine_node + other, 2] = state.load[row, other] * scale
    node_state[op, 0] = 1
    node_state[op, 1] = end * scale
    node_state[op, 2] = 0
    begin_op, end_op = state.first_operation[row, job], state.first_operation[row, job + 1]
    node_state[job_node + job, 0] = (op + 1 - begin_op) / (end_op - begin_op)
    node_state[job_node + job, 1] = end * scale
    node_state[job_node + job, 2] = state.tail[row, op + 1] * scale if op + 1 < end_op else 0
    node_state[machine_node + m, 1] = state.machine_ready[row, m] * scale
    total = observation.nodes[row, machine_node + m, 4]
    if total > 0:
        node_state[machine_node + m, 0] = 1 - node_state[machine_node + m, 2] / total
    _touch_candidates(state, observation, row, job, width)
    if decode == INSERT:
        _link(state, row, m, op)
    _refresh_starts_and_bound(state, row, job, m, width, decode)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _survey(state, row, width):
    """Earliest start of any candidate, earliest completion of any, and the candidate with that."""
    earliest, front = state.earliest[row], state.front[row]
    first, first_end = _NEVER, _NEVER
    first_candidate = -1
    for a in range(state.sizes[row, 0] * width):
        if front[a, FRONT_MACHINE] < 0:
            continue
        first = min(first, earliest[a])
        end = earliest[a] + front[a, FRONT_DURATION]
        if end < first_end:
            first_end, first_candidate = end, a
    return first, first_end, first_candidate


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _alternatives(state, row, job, width):
    """Number of alternatives of the next operation of an unfinished job."""
    if width == 1:
        return 1
    op = state.next_operation[row, job]
    return state.first_alternative[row, op + 1] - state.first_alternative[row, op]


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _observe(state, observation, row, width, decode, lookahead):
    """Refresh bound, legality, candidate features and globals of a row."""
    first, first_end, first_candidate = _survey(state, row, width)
    first_machine = state.front[row, first_candidate, FRONT_MACHINE]
    num_jobs, num_machines, num_operations = state.sizes[row]
    totals = state.totals[row]
    bound = totals[BOUND]
    unit = f32(state.scale[row, 0])
    horizon = f32(1.0 / max(bound - first, 1))
    quarter = f32(0.25)
    job_ready, machine_ready = state.job_ready[row], state.machine_ready[row]
    earliest, front, load = state.earliest[row], state.front[row], state.load[row]
    queue_size, queue_work = state.queue_size[row], state.queue_work[row]
    candidates, mask = observation.candidates[row], observation.action_mask[row]
    delay_bound = state.delay_bound[row]
    for m in range(num_machines):
        if state.queue_changed[row, m]:
            state.queue_changed[row, m] = 0
            _observe_rivals(state, candidates, row, m, unit)
    legal_count = 0
    unfinished = 0
    for job in range(num_jobs):
        ahead = state.ahead[row, job]
        if ahead[AHEAD_OPERATIONS] == 0:
            continue
        unfinished += 1
        ready, work = job_ready[job], ahead[AHEAD_WORK]
        begin = job * width
        end = begin + _alternatives(state, row, job, width)
        soonest_end = earliest[begin] + front[begin, FRONT_DURATION]
        for a in range(begin + 1, end):
            soonest_end = min(soonest_end, earliest[a] + front[a, FRONT_DURATION])
        for a in range(begin, end):
            m, time = front[a, FRONT_MACHINE], earliest[a]
            time_end = time + front[a, FRONT_DURATION]
            free, machine_load = machine_ready[m], load[m]
            if decode == NONDELAY:
                legal = time == first
            elif decode == ACTIVE:
                legal = m == first_machine and (time < first_end or a == first_candidate)
            else:
                legal = True
            mask[a] = legal
            legal_count += legal
            c = candidates[a]
            c[1] = f32(ready - first) * unit
            c[2] = f32(free - first) * unit
            c[3] = f32(time - first) * unit
            c[4] = f32(time_end - first_end) * unit
            c[5] = f32(time - ready) * unit
            c[6] = f32(time - free) * unit
            c[7] = f32(bound - time - work) * unit
            c[8] = (f32(bound - max(free, first)) - machine_load) * unit
            c[9] = f32(work) * horizon
            c[10] = machine_load * horizon
            c[17] = f32(delay_bound[a] - bound) * unit if queue_size[m] > 1 else f32(0)
            c[29] = f32(time_end - soonest_end) * unit
            c[30] = legal
            if width > 1:
                _look_ahead(state, row, job, time_end)
            following = ahead[AHEAD_MACHINE]
            if following >= 0:
                next_free, next_duration = machine_ready[following], ahead[AHEAD_DURATION]
                c[19] = f32(next_duration) * unit
                c[20] = f32(next_free - time_end) * unit
                c[21] = load[following] * horizon
                c[22] = f32(queue_size[following]) * quarter
                c[23] = f32(queue_work[following]) * unit
                next_end = max(time_end, next_free) + next_duration
                following = ahead[AHEAD_SECOND_MACHINE]
                if following >= 0:
                    c[24] = f32(ahead[AHEAD_SECOND_DURATION]) * unit
                    c[25] = f32(machine_ready[following] - next_end) * unit
                    c[26] = load[following] * horizon
    if lookahead != NO_LOOKAHEAD:
        _observe_lookahead(state, observation, row, width, legal_count, len(CANDIDATE_FEATURES))
    g = observation.globals[row]
    g[0] = totals[SCHEDULED] / num_operations
    g[1] = (bound - totals[INITIAL_BOUND]) * state.scale[row, 1]
    left = num_operations - totals[SCHEDULED]
    if left == 0:
        g[2:] = 0
        return
    inverse_machines = f32(1) / f32(num_machines)
    g[2] = first / max(bound, 1)
    g[3] = (bound - first) * unit * f32(0.01)
    g[4] = legal_count / unfinished
    g[5] = unfinished / num_jobs
    g[6] = num_jobs * inverse_machines * quarter
    g[7] = left / unfinished * inverse_machines


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _observe_rivals(state, candidates, row, m, unit):
    """Features of what choosing each candidate of machine ``m`` does to the others there."""
    earliest, front = state.earliest[row], state.front[row]
    queue_next, delay_bound = state.queue_next[row], state.delay_bound[row]
    first = state.queue[row, m]
    rivals = state.queue_size[row, m] - 1
    least = _NEVER
    a = first
    while a >= 0:
        end = earliest[a] + front[a, FRONT_DURATION]
        blocked, delay, shortest, latest = 0, 0, _NEVER, np.int32(0)
        b = first
        while b >= 0:
            if b != a:
                begin = earliest[b]
                shortest = min(shortest, front[b, FRONT_DURATION])
                wait = max(end - begin, 0)
                blocked += wait > 0
                delay += wait
                latest = max(latest, begin + wait + front[b, FRONT_REMAINING])
            b = queue_next[b]
        delay_bound[a] = latest
        least = min(least, latest)
        c = candidates[a]
        c[13] = f32(rivals) * f32(0.25)
        c[14] = f32(blocked) * f32(0.25)
        c[15] = f32(shortest) * unit if rivals else f32(0)
        c[16] = f32(delay) * unit
        a = queue_next[a]
    a = first
    while a >= 0:
        candidates[a, 18] = delay_bound[a] == least
        a = queue_next[a]


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _observe_lookahead(state, observation, row, width, legal_count, column):
    """Try every legal candidate of a row that has a choice; write features from ``column`` on."""
    count = state.sizes[row, 0] * width
    mask, lookahead = observation.action_mask[row], state.lookahead[row]
    best = _NEVER
    for a in range(count):
        lookahead[a] = 0
        observation.candidates[row, a, column] = 0
        observation.candidates[row, a, column + 1] = 0
        if legal_count > 1 and mask[a]:
            lookahead[a] = _trial_makespan(state, row, a, width)
            best = min(best, lookahead[a])
    if legal_count <= 1:
        return
    unit, bound = state.scale[row, 0], state.totals[row, BOUND]
    for a in range(count):
        if mask[a]:
            observation.candidates[row, a, column] = (lookahead[a] - best) * unit
            observation.candidates[row, a, column + 1] = (lookahead[a] - bound) * unit


@njit(cache=True, error_model="numpy", _nrt=False)
def _trial_makespan(state, row, a, width):
    """Makespan when candidate ``a`` is followed by non-delay ATC, a bound on it for large shops.

    A trial takes most of the time of an episode with lookahead, so only what an operation changes
    is written, and the search for the earliest start runs over neighbouring numbers.
    """
    count = state.sizes[row, 0] * width
    start, tail = state.trial_start[row, :count], state.trial_tail[row, :count]
    log_duration = state.trial_log[row, :count]
    weight = f32(state.scale[row, 0] / ATC_DURATIONS)
    makespan, time = state.totals[row, COMPLETION], state.earliest[row, a]
    bound, latest = state.totals[row, BOUND], _begin_trial(state, row, a, width)
    for _ in range(min(TRIAL_OPERATIONS, TRIAL_WORK // count + 1)):
        end, changed = _append_in_trial(state, row, a, width, time)
        makespan = max(makespan, end)
        time = _NEVER
        for b in range(count):
            time = min(time, start[b])
        if time == _NEVER:
            return makespan
        latest = max(latest, changed)
        least = f32(np.inf)
        for b in range(count):
            if start[b] == time:
                slack = max(bound - time - tail[b], 0)
                priority = log_duration[b] + f32(slack) * weight
                if priority < least:
                    least, a = priority, b
        bound = latest
    for m in range(state.sizes[row, 1]):
        if state.trial_load[row, m] > 0:
            bound = max(bound, state.trial_ready[row, m] + state.trial_load[row, m])
    return max(makespan, bound)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _begin_trial(state, row, a, width):
    """Copy the partial schedule; returns the bound by all jobs but that of candidate ``a``."""
    for m in range(state.sizes[row, 1]):
        state.trial_ready[row, m] = state.machine_ready[row, m]
        state.trial_load[row, m] = state.fixed_load[row, m]
        state.trial_queue[row, m] = -1
    bound = state.totals[row, BOUND]
    for job in range(state.sizes[row, 0]):
        state.trial_next[row, job] = state.next_operation[row, job]
        completion = _join_trial(state, row, job, width, state.job_ready[row, job])
        if job != a // width:
            bound = max(bound, completion)
    return bound


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _join_trial(state, row, job, width, ready):
    """Write the candidates of a job of the trial that is free from ``ready`` on.

    Returns:
        the earliest completion of the job, 0 for a finished one.
    """
    op = state.trial_next[row, job]
    first, alternatives = 0, 0
    if op < state.first_operation[row, job + 1]:
        first = state.first_alternative[row, op]
        alternatives = state.first_alternative[row, op + 1] - first
    for k in range(width):
        b = job * width + k
        if k < alternatives:
            m = state.machine[row, first + k]
            state.trial_machine[row, b] = m
            state.trial_start[row, b] = max(ready, state.trial_ready[row, m])
            state.trial_tail[row, b] = state.tail[row, op]
            state.trial_log[row, b] = state.log_duration[row, first + k]
            state.trial_queue_next[row, b] = state.trial_queue[row, m]
            state.trial_queue[row, m] = b
        else:
            state.trial_machine[row, b] = -1
            state.trial_start[row, b] = _NEVER
            state.trial_tail[row, b] = -_NEVER
    return _completion_in_trial(state, row, job, width)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _completion_in_trial(state, row, job, width):
    """Earliest start of a job in the trial plus its work left, 0 for a finished job."""
    soonest = _NEVER
    for b in range(job * width, (job + 1) * width):
        soonest = min(soonest, state.trial_start[row, b])
    return soonest + state.trial_tail[row, job * width]


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _append_in_trial(state, row, a, width, begin):
    """Let candidate ``a`` of the trial start at ``begin``.

    Returns:
        its end, and the latest earliest completion of the jobs that this changes.
    """
    job = a // width
    op, m = state.trial_next[row, job], state.trial_machine[row, a]
    first = state.first_alternative[row, op]
    duration = state.duration[row, first + a % width]
    end = begin + duration
    state.trial_ready[row, m] = max(state.trial_ready[row, m], end)
    if state.first_alternative[row, op + 1] == first + 1:
        state.trial_load[row, m] -= duration
    for b in range(job * width, (job + 1) * width):
        if state.trial_machine[row, b] >= 0:
            _leave_trial(state, row, b)
    state.trial_next[row, job] = op + 1
    latest = _join_trial(state, row, job, width, end)
    ready = state.trial_ready[row, m]
    b = state.trial_queue[row, m]
    while b >= 0:
        state.trial_start[row, b] = max(state.trial_start[row, b], ready)
        latest = max(latest, _completion_in_trial(state, row, b // width, width))
        b = state.trial_queue_next[row, b]
    return end, latest


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _leave_trial(state, row, b):
    """Take candidate ``b`` of the trial out of the queue of its machine."""
    queue_next, m = state.trial_queue_next[row], state.trial_machine[row, b]
    current = state.trial_queue[row, m]
    if current == b:
        state.trial_queue[row, m] = queue_next[b]
        return
    while queue_next[current] != b:
        current = queue_next[current]
    queue_next[current] = queue_next[b]


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _step_row(state, observation, row, action, width, decode, lookahead, terminated):
    """One decision; returns the reward."""
    before = state.totals[row, BOUND]
    _schedule(state, observation, row, action, width, decode)
    _observe(state, observation, row, width, decode, lookahead)
    terminated[row] = state.totals[row, SCHEDULED] == state.sizes[row, 2]
    return (before - state.totals[row, BOUND]) * state.scale[row, 1]


@njit(cache=True, error_model="numpy", _nrt=False)
def step(state, observation, actions, rewards, terminated, width, decode, lookahead):
    """Apply ``actions`` to every row (-1: leave it), see ``Problem.step``."""
    for row in range(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], width, decode, lookahead, terminated
            )


@njit(cache=True, error_model="numpy", _nrt=False, parallel=True)
def step_parallel(state, observation, actions, rewards, terminated, width, decode, lookahead):
    """The same with rows shared among threads."""
    for row in prange(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], width, decode, lookahead, terminated
            )
