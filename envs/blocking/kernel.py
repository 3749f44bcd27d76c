"""Numba kernels of the blocking job shop: load, step, legal moves, observe.

Time goes from event to event: the end of an operation, the beginning or end of a shutdown. At each
event the policy chooses which job enters the machine of its next operation, one job at a time
while any can, or ``wait``: nobody enters before the next event. Waiting is allowed while some
operation is in process; it happens by itself when no job can enter. So every interruption is
followed by new decisions.

A job can enter a machine that is up and free, or held by itself. With swaps a job also enters when
following the jobs that hold the wanted machines leads around in a circle of jobs that are all
done and whose machines are all up; the whole circle moves at once, and the candidate is its lowest
job. Without swaps such circles are deadlocks:

* ``mask``: a move is legal only if afterwards the jobs in the shop could leave one after the other,
  each passing through machines that are free by then. This look-ahead never leads to a deadlock
  and always leaves a job that can go on; it forbids some moves that would not end in one, since
  telling exactly is NP-hard. Source: the banker's algorithm (Dijkstra, 1965), for manufacturing
  Lawley, Reveliotis & Ferreira, IEEE Transactions on Robotics and Automation 14(5), 1998.
* ``end``: any move is legal; as soon as jobs in the shop hold each other's next machines in a
  circle, which nothing can open, the episode ends with the worst makespan.

With ``lookahead`` every legal candidate is also tried: the schedule is completed by some rules, as
if no other shutdown would come, and the shortest makespan found becomes a feature (the pilot
method, Duin & Voss, Networks 34, 1999). Each decision tries the rule of the best trial of what was
chosen before, so that its plan is not lost, and the next few of the others. A rule is a vector of
weights, one for each of ``TRIAL_TERMS``: of the jobs that can enter a machine the one with the
largest weighted sum does, and time passes when none is positive while a job in the shop is not done
where it is.

The length of a shutdown is revealed when it begins. The bound behind the reward is the largest of:
for each job the time at which it could be done if nothing kept it waiting; for each machine the
time from which it can be free plus the work that has not begun there.

All kernels are in this one file because numba's cache looks at no other for changes.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

f32 = np.float32

MASK, END = range(2)
DEADLOCK_MODES = ("mask", "end")
RESUME, RESTART, HOLD = range(3)
#: A shop is crowded with this many jobs per machine.
CROWDED = 0.7
#: Times that the rule of a trial weighs are cut to this, in mean durations.
LONG = 5.0
#: Rules tried at a decision, if there are as many.
TRIALS = 8
#: A trial lets at most this many operations begin; the bound then stands for what is left.
TRIAL_OPERATIONS = 256
_NEVER = np.int64(2**62)
#: Features are cut to this range: a shutdown may be as long as it likes.
LIMIT = 1e4

OPERATION, JOB, MACHINE = range(3)
NODE_TYPES = ("operation", "job", "machine")
PRECEDES, ON_MACHINE, OF_JOB = range(3)
EDGE_TYPES = ("precedes", "on_machine", "of_job")

NODE_FEATURES = (
    "duration",  # in mean durations; for a job and a machine the mean of their operations
    "work_before",  # of the job before the operation / initial bound
    "work_after",  # of the job from the operation on / initial bound
    "load",  # of the machine, or of the job / initial bound
)
NODE_STATE_FEATURES = (
    "done",  # operation: 1 once begun; job, machine: share of the work begun
    "busy",  # machine: a job is on it; job: it is in the shop
    "processing",  # the operation there has not ended
    "time_left",  # until its end, in mean durations
    "down",  # machine: time until it is up again, in mean durations
)
EDGE_FEATURES = ("duration",)  # of the operation, in mean durations
CANDIDATE_ROLES = ("operation", "next_operation", "job", "machine", "next_machine")
CANDIDATE_FEATURES = (
    # times in mean durations, relative to now; all 0 for waiting
    "wait",  # 1 for the candidate that lets time pass
    "legal",
    "duration",
    "work_left",  # of the job, this operation included / initial bound
    "operations_left",  # / machines
    "job_slack",  # bound - time at which it can go on - work left of the job
    "progress",  # share of the job's operations that have begun
    "outside",  # 1 for a job that has not entered the shop
    "processing",  # 1 while its operation has not ended
    "time_left",  # until that
    "waited",  # since that
    "held",  # 1 when the wanted machine is held by another job
    "held_for",  # until the operation of that job ends
    "down",  # until the wanted machine is up
    "swap",  # 1 when the move is a swap
    "machine_load",  # work that has not begun there / initial bound
    "machine_slack",  # bound - time from which it can be free - work that has not begun there
    "rivals",  # other jobs that want the machine next / 4
    "rivals_inside",  # those in the shop / 4
    "followers",  # jobs in the shop that want the machine this one would leave / 4
    "followers_waiting",  # those that are done where they are / 4
    "next_duration",  # of the operation after this one
    "next_held",  # 1 when its machine is held by another job
    "next_wait",  # from the end here until that machine can be free; negative if it is before
    "next_load",  # work that has not begun on the next machine / initial bound
    "next_rivals",  # jobs in the shop that want the next machine next / 4
    # jobs one after the other that hold what the one before wants, from the next machine on / 4;
    # of a circle without the wanted machine one more than there are jobs
    "chain",
    "circle",  # 1 when that chain comes back to the wanted machine
    "last",  # 1 for the last operation of the job
)
LOOKAHEAD_FEATURES = (
    "lookahead",  # makespan of the shortest trial, relative to the best candidate's
    "lookahead_gap",  # the same relative to the bound
)
#: What the rule of a trial weighs of a job that can enter; times in mean durations, at most LONG.
TRIAL_TERMS = (
    "enter",  # 1
    "outside",  # 1 for a job that has not entered the shop
    "crowd",  # for such a job, jobs in the shop / machines
    "crowded",  # for such a job, 1 while the shop is crowded
    "work_left",  # of the job, this operation included / initial bound
    "duration",
    "last",  # 1 for the last operation of the job
    "load",  # work that has not begun on the machine / initial bound
    "rivals",  # other jobs in the shop that want the machine next / 2
    "followers_waiting",  # 1 when a job that is done wants the machine this one would leave
    "next_held",  # 1 when the machine after this one is held by another job
    "next_wait",  # time between the end here and the end of that job's operation
    "next_load",  # work that has not begun on that machine / initial bound
    "next_rivals",  # other jobs in the shop that want that machine next / 2
)
GLOBAL_FEATURES = (
    "progress",  # share of operations that have begun
    "bound_increase",  # bound / initial bound - 1
    "horizon",  # (bound - now) / mean duration / 100
    "inside",  # jobs in the shop / machines
    "blocked",  # those of them that are done where they are / machines
    "down",  # share of machines that are down
    "legal",  # legal moves / jobs that have not finished
    "unfinished",  # jobs that have not finished / machines / 4
    "first_end",  # time until the first operation in process ends, in mean durations
    "swap",  # 1 when swaps are allowed
    "shutdowns",  # begun so far / machines / time in mean durations, at most 1
)


class State(NamedTuple):
    """Arrays of a batch of B shops; J, M, N, D: jobs, machines, operations, shutdowns."""

    # the instance
    first_operation: NDArray[np.int32]  # (B, J + 1)
    machine: NDArray[np.int32]  # (B, N)
    duration: NDArray[np.int64]  # (B, N)
    tail: NDArray[np.int64]  # (B, N) work of the job from the operation on
    total_load: NDArray[np.int64]  # (B, M)
    first_down: NDArray[np.int32]  # (B, M + 1)
    down_start: NDArray[np.int64]  # (B, D)
    down_end: NDArray[np.int64]  # (B, D)
    scale: NDArray[np.float64]  # (B, 2) 1 / mean duration, 1 / initial bound
    # the partial schedule
    totals: NDArray[np.int64]  # (B, 15) columns below
    next_operation: NDArray[np.int32]  # (B, J) that has not begun
    place: NDArray[np.int32]  # (B, J) machine on which the job is, -1 for none
    ready: NDArray[np.int64]  # (B, J) end of its operation there, as known so far
    holder: NDArray[np.int32]  # (B, M) job on the machine, -1 for none
    up: NDArray[np.int64]  # (B, M) time at which the machine is up again
    next_down: NDArray[np.int32]  # (B, M) its first shutdown that has not begun
    load: NDArray[np.int64]  # (B, M) work that has not begun there
    start: NDArray[np.int64]  # (B, N) when the job enters, -1 for not yet
    end: NDArray[np.int64]  # (B, N) of processing
    leave: NDArray[np.int64]  # (B, N)
    lookahead: NDArray[np.int64]  # (B, 1 + J) makespan of the best trial of each legal candidate
    best_rule: NDArray[np.int32]  # (B, 1 + J) that completed this trial
    # scratch
    wants: NDArray[np.int32]  # (B, J) machine of the next operation, -1 for none
    taken: NDArray[np.int32]  # (B, M) holder in a look-ahead
    inside: NDArray[np.int32]  # (B, J) jobs in the shop in a look-ahead
    wanting: NDArray[np.int32]  # (B, M) jobs in the shop that want the machine next
    waiting: NDArray[np.int32]  # (B, M) those that are done where they are
    # scratch of a trial: the partial schedule, fields as above
    trial_totals: NDArray[np.int64]
    trial_next_operation: NDArray[np.int32]
    trial_place: NDArray[np.int32]
    trial_ready: NDArray[np.int64]
    trial_holder: NDArray[np.int32]
    trial_up: NDArray[np.int64]
    trial_next_down: NDArray[np.int32]
    trial_load: NDArray[np.int64]
    trial_start: NDArray[np.int64]
    trial_end: NDArray[np.int64]
    trial_leave: NDArray[np.int64]
    trial_wants: NDArray[np.int32]


#: Columns of ``totals``. WORST is the makespan of a shop that does one operation at a time; RULE
#: completed the best trial of the last choice, TRIED is where the turn of the rules has come to.
(
    JOBS,
    MACHINES,
    OPERATIONS,
    SWAP,
    ON_DOWN,
    TIME,
    INITIAL,
    BOUND,
    BEGUN,
    FINISHED,
    DEADLOCK,
    SHUTDOWNS,
    WORST,
    RULE,
    TRIED,
) = range(15)


@njit(cache=True, error_model="numpy")
def load_row(
    state,
    observation,
    row,
    num_machines,
    job_offsets,
    machines,
    durations,
    down_offsets,
    down_starts,
    down_ends,
    swap,
    on_down,
    worst,
    deadlock,
    rules,
):
    """Put an instance into ``row`` and write its whole observation.

    Args:
        state, observation: batch arrays.
        row: which one.
        num_machines, job_offsets, machines, durations, down_offsets, down_starts, down_ends, swap:
            of the instance.
        on_down: index of its mode.
        worst: makespan that no episode exceeds.
        deadlock: index into DEADLOCK_MODES.
        rules: (rules, terms) of the trials, none for no look-ahead.
    """
    jobs, n = len(job_offsets) - 1, len(machines)
    totals = state.totals[row]
    totals[:] = 0
    totals[JOBS], totals[MACHINES], totals[OPERATIONS] = jobs, num_machines, n
    totals[SWAP], totals[ON_DOWN], totals[WORST] = swap, on_down, worst
    state.first_operation[row, : jobs + 1] = job_offsets
    state.machine[row, :n] = machines
    state.duration[row, :n] = durations
    state.first_down[row, : num_machines + 1] = down_offsets
    state.down_start[row, : len(down_starts)] = down_starts
    state.down_end[row, : len(down_ends)] = down_ends
    state.next_operation[row, :jobs] = job_offsets[:jobs]
    state.next_down[row, :num_machines] = down_offsets[:num_machines]
    state.place[row] = -1
    state.holder[row] = -1
    state.ready[row] = 0
    state.up[row] = 0
    state.start[row] = -1
    state.end[row] = -1
    state.leave[row] = -1
    state.total_load[row] = 0
    bound = 0
    for job in range(jobs):
        tail = 0
        for op in range(job_offsets[job + 1] - 1, job_offsets[job] - 1, -1):
            tail += durations[op]
            state.tail[row, op] = tail
            state.total_load[row, machines[op]] += durations[op]
        bound = max(bound, tail)
    for m in range(num_machines):
        state.load[row, m] = state.total_load[row, m]
        bound = max(bound, state.load[row, m])
    totals[INITIAL] = totals[BOUND] = bound
    state.scale[row, 0] = n / max(durations.sum(), 1)
    state.scale[row, 1] = 1.0 / max(bound, 1)
    _observe_graph(state, observation, row)
    observation.candidates[row] = 0
    observation.candidate_nodes[row] = -1
    observation.action_mask[row] = 0
    _arrive(state, row)
    _continue(state, observation, row, deadlock, rules)


@njit(cache=True, error_model="numpy")
def _observe_graph(state, observation, row):
    """Write nodes and edges."""
    jobs, num_machines, _ = state.totals[row, :3]
    job_node = state.start.shape[1]
    machine_node = job_node + state.place.shape[1]
    unit, scale = state.scale[row]
    nodes, node_type = observation.nodes[row], observation.node_type[row]
    edges, edge_type = observation.edges[row], observation.edge_type[row]
    edge_features = observation.edge_features[row]
    nodes[:] = 0
    node_type[:] = -1
    edges[:] = -1
    edge_type[:] = -1
    edge_features[:] = 0
    observation.node_state[row] = 0
    visits = np.zeros(num_machines)
    e = 0
    for job in range(jobs):
        begin, end = state.first_operation[row, job], state.first_operation[row, job + 1]
        total = state.tail[row, begin]
        node = job_node + job
        node_type[node] = JOB
        nodes[node, 0] = total / (end - begin) * unit
        nodes[node, 3] = total * scale
        for op in range(begin, end):
            m, duration = state.machine[row, op], state.duration[row, op]
            visits[m] += 1
            node_type[op] = OPERATION
            nodes[op, 0] = duration * unit
            nodes[op, 1] = (total - state.tail[row, op]) * scale
            nodes[op, 2] = state.tail[row, op] * scale
            nodes[op, 3] = state.total_load[row, m] * scale
            for target, kind in (
                (op + 1, PRECEDES),
                (machine_node + m, ON_MACHINE),
                (node, OF_JOB),
            ):
                if kind != PRECEDES or op + 1 < end:
                    edges[0, e], edges[1, e], edge_type[e] = op, target, kind
                    edge_features[e, 0] = duration * unit
                    e += 1
    for m in range(num_machines):
        node = machine_node + m
        node_type[node] = MACHINE
        nodes[node, 0] = state.total_load[row, m] / max(visits[m], 1) * unit
        nodes[node, 3] = state.total_load[row, m] * scale


@njit(cache=True, error_model="numpy", _nrt=False)
def _arrive(state, row):
    """Everything that happens at this moment by itself."""
    totals = state.totals[row]
    time = totals[TIME]
    for m in range(totals[MACHINES]):
        k = state.next_down[row, m]
        if k < state.first_down[row, m + 1] and state.down_start[row, k] <= time:
            state.next_down[row, m] = k + 1
            state.up[row, m] = state.down_end[row, k]
            totals[SHUTDOWNS] += 1
            job = state.holder[row, m]
            if job >= 0 and state.ready[row, job] > time:
                op = state.next_operation[row, job] - 1
                if totals[ON_DOWN] == RESUME:
                    state.ready[row, job] += state.down_end[row, k] - time
                elif totals[ON_DOWN] == RESTART:
                    state.ready[row, job] = state.down_end[row, k] + state.duration[row, op]
    for job in range(totals[JOBS]):
        m, op = state.place[row, job], state.next_operation[row, job]
        done = m >= 0 and state.ready[row, job] <= time
        if done:
            state.end[row, op - 1] = state.ready[row, job]
        if done and op == state.first_operation[row, job + 1]:
            state.leave[row, op - 1] = time
            state.place[row, job] = -1
            state.holder[row, m] = -1
            totals[FINISHED] += 1


@njit(cache=True, error_model="numpy", _nrt=False)
def _next_event(state, row):
    """The time of the next event, _NEVER for none."""
    totals = state.totals[row]
    time, event = totals[TIME], _NEVER
    for job in range(totals[JOBS]):
        if state.place[row, job] >= 0 and state.ready[row, job] > time:
            event = min(event, state.ready[row, job])
    for m in range(totals[MACHINES]):
        if state.up[row, m] > time:
            event = min(event, state.up[row, m])
        k = state.next_down[row, m]
        if k < state.first_down[row, m + 1]:
            event = min(event, state.down_start[row, k])
    return event


@njit(cache=True, error_model="numpy", _nrt=False)
def _find_wants(state, row):
    """Machine of the next operation of each job, -1 when there is none."""
    for job in range(state.totals[row, JOBS]):
        op = state.next_operation[row, job]
        more = op < state.first_operation[row, job + 1]
        state.wants[row, job] = state.machine[row, op] if more else -1


@njit(cache=True, error_model="numpy", _nrt=False)
def _chain(state, row, machine, stop):
    """Follow the jobs that hold what the one before wants.

    Args:
        machine: to begin with.
        stop: machine at which the chain has come around.

    Returns:
        number of jobs in the chain, and whether it came around.
    """
    length, m = 0, machine
    while m >= 0 and length <= state.totals[row, JOBS]:
        if m == stop:
            return length, True
        job = state.holder[row, m]
        if job < 0:
            break
        length += 1
        if state.wants[row, job] == m:  # it goes on where it is
            break
        m = state.wants[row, job]
    return length, False


@njit(cache=True, error_model="numpy", _nrt=False)
def _is_swap(state, row, job):
    """Whether the job can change places in a circle of which it is the lowest."""
    time, here, m = state.totals[row, TIME], state.place[row, job], state.wants[row, job]
    for _ in range(state.totals[row, MACHINES]):
        if m < 0 or state.up[row, m] > time:
            return False
        if m == here:
            return True
        other = state.holder[row, m]
        if other < job or state.ready[row, other] > time or state.wants[row, other] == m:
            return False
        m = state.wants[row, other]
    return False


@njit(cache=True, error_model="numpy", _nrt=False)
def _is_safe(state, row, job):
    """Whether the jobs in the shop can leave one by one after ``job`` has made its move."""
    totals, taken, inside = state.totals[row], state.taken[row], state.inside[row]
    for m in range(totals[MACHINES]):
        taken[m] = state.holder[row, m]
    if state.place[row, job] >= 0:
        taken[state.place[row, job]] = -1
    taken[state.wants[row, job]] = job
    count = 0
    for other in range(totals[JOBS]):
        if state.place[row, other] >= 0 or other == job:
            inside[count] = other
            count += 1
    k = 0
    while k < count:
        other = inside[k]
        free = True
        op = state.next_operation[row, other] + (other == job)
        while free and op < state.first_operation[row, other + 1]:
            job_there = taken[state.machine[row, op]]
            free = job_there < 0 or job_there == other
            op += 1
        if not free:
            k += 1
            continue
        place = state.wants[row, other] if other == job else state.place[row, other]
        taken[place] = -1
        count -= 1
        inside[k] = inside[count]
        k = 0
    return count == 0


@njit(cache=True, error_model="numpy", _nrt=False)
def _can_enter(state, row, job, deadlock):
    """0 when the job cannot enter its next machine now, 1 when it can, 2 by a swap."""
    totals, m = state.totals[row], state.wants[row, job]
    time = totals[TIME]
    if m < 0 or state.up[row, m] > time:
        return 0
    if state.place[row, job] >= 0 and state.ready[row, job] > time:
        return 0
    if state.holder[row, m] < 0 or state.holder[row, m] == job:
        if totals[SWAP] or deadlock == END or _is_safe(state, row, job):
            return 1
        return 0
    if totals[SWAP] and state.place[row, job] >= 0 and _is_swap(state, row, job):
        return 2
    return 0


@njit(cache=True, error_model="numpy", _nrt=False)
def _enter(state, row, job, m):
    """The job leaves its machine, which its successor in a swap may hold by now, for ``m``."""
    totals, time = state.totals[row], state.totals[row, TIME]
    op, here = state.next_operation[row, job], state.place[row, job]
    if here >= 0:
        state.leave[row, op - 1] = time
        if state.holder[row, here] == job:
            state.holder[row, here] = -1
    state.place[row, job] = m
    state.holder[row, m] = job
    state.start[row, op] = time
    state.ready[row, job] = time + state.duration[row, op]
    state.next_operation[row, job] = op + 1
    state.load[row, m] -= state.duration[row, op]
    totals[BEGUN] += 1


@njit(cache=True, error_model="numpy", _nrt=False)
def _move(state, row, job):
    """The job enters its next machine, and with it all that are in a circle with it."""
    m = state.wants[row, job]
    other = state.holder[row, m]
    _enter(state, row, job, m)
    while other >= 0 and other != job:
        m = state.wants[row, other]
        following = state.holder[row, m]
        _enter(state, row, other, m)
        other = following


@njit(cache=True, error_model="numpy", _nrt=False)
def _refresh_bound(state, row):
    """A lower bound on the makespan by what is known now; it never falls."""
    totals = state.totals[row]
    time, bound = totals[TIME], totals[BOUND]
    for job in range(totals[JOBS]):
        op = state.next_operation[row, job]
        more = op < state.first_operation[row, job + 1]
        if more or state.place[row, job] >= 0:
            left = state.tail[row, op] if more else 0
            bound = max(bound, max(time, state.ready[row, job]) + left)
    for m in range(totals[MACHINES]):
        if state.load[row, m] > 0:
            bound = max(bound, _free_from(state, row, m) + state.load[row, m])
    totals[BOUND] = bound


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _free_from(state, row, m):
    """The earliest time at which a job can enter the machine, by what is known now."""
    free = max(state.totals[row, TIME], state.up[row, m])
    if state.holder[row, m] >= 0:
        free = max(free, state.ready[row, state.holder[row, m]])
    return free


@njit(cache=True, error_model="numpy", _nrt=False)
def _continue(state, observation, row, deadlock, rules):
    """Let time pass until a job can enter a machine or all is over; returns whether it is."""
    totals, mask = state.totals[row], observation.action_mask[row]
    while True:
        _find_wants(state, row)
        _refresh_bound(state, row)
        moves = 0
        for job in range(totals[JOBS]):
            how = _can_enter(state, row, job, deadlock)
            mask[1 + job] = how > 0
            observation.candidates[row, 1 + job, 14] = how == 2
            moves += how > 0
        over = totals[FINISHED] == totals[JOBS] or totals[DEADLOCK] > 0
        if over or moves > 0:
            break
        _pass_time(state, row)
    if over:
        mask[:] = 0
        if totals[DEADLOCK]:
            totals[BOUND] = totals[WORST]
    else:
        mask[0] = _in_process(state, row) > 0
    _observe(state, observation, row, moves)
    if len(rules):
        _observe_lookahead(state, observation, row, deadlock, rules)
    return over


@njit(cache=True, error_model="numpy", _nrt=False)
def _pass_time(state, row):
    """Go to the next event."""
    state.totals[row, TIME] = _next_event(state, row)
    _arrive(state, row)


@njit(cache=True, error_model="numpy", _nrt=False)
def _in_process(state, row):
    """Number of operations that have begun and not ended."""
    count = 0
    for job in range(state.totals[row, JOBS]):
        count += state.place[row, job] >= 0 and state.ready[row, job] > state.totals[row, TIME]
    return count


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _feature(value):
    return f32(min(max(value, -LIMIT), LIMIT))


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe(state, observation, row, moves):
    """Write what is seen at this moment."""
    totals = state.totals[row]
    jobs, num_machines, time, bound = (
        totals[JOBS],
        totals[MACHINES],
        totals[TIME],
        totals[BOUND],
    )
    unit, scale = state.scale[row]
    inside, blocked, down, first_end = 0, 0, 0, _NEVER
    for job in range(jobs):
        if state.place[row, job] >= 0:
            inside += 1
            if state.ready[row, job] > time:
                first_end = min(first_end, state.ready[row, job])
            else:
                blocked += 1
    for m in range(num_machines):
        down += state.up[row, m] > time
    _observe_nodes(state, observation, row)
    for job in range(jobs):
        if state.wants[row, job] < 0:
            observation.candidates[row, 1 + job] = 0
            observation.candidate_nodes[row, 1 + job] = -1
        else:
            _observe_candidate(state, observation, row, job)
    wait, nodes = observation.candidates[row, 0], observation.candidate_nodes[row, 0]
    wait[0], wait[1] = 1, observation.action_mask[row, 0]
    nodes[0] = 0  # of some operation, to exist
    unfinished = max(jobs - totals[FINISHED], 1)
    g = observation.globals[row]
    g[0] = totals[BEGUN] / totals[OPERATIONS]
    g[1] = _feature((bound - totals[INITIAL]) * scale)
    g[2] = _feature((bound - time) * unit * 0.01)
    g[3] = inside / num_machines
    g[4] = blocked / num_machines
    g[5] = down / num_machines
    g[6] = moves / unfinished
    g[7] = unfinished / num_machines * 0.25
    g[8] = _feature((first_end - time) * unit) if first_end < _NEVER else 0
    g[9] = totals[SWAP]
    g[10] = min(totals[SHUTDOWNS] / num_machines / max(time * unit, 1.0), 1.0)


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_nodes(state, observation, row):
    totals, node_state = state.totals[row], observation.node_state[row]
    time, unit = totals[TIME], state.scale[row, 0]
    job_node = state.start.shape[1]
    machine_node = job_node + state.place.shape[1]
    for job in range(totals[JOBS]):
        begin, end = state.first_operation[row, job], state.first_operation[row, job + 1]
        op, m = state.next_operation[row, job], state.place[row, job]
        left = max(state.ready[row, job] - time, 0) if m >= 0 else 0
        if op > begin:
            node_state[op - 1, 0] = 1
            node_state[op - 1, 2] = left > 0
            node_state[op - 1, 3] = _feature(left * unit)
        c = node_state[job_node + job]
        total = max(state.tail[row, begin], 1)
        c[0] = 1 - (state.tail[row, op] if op < end else 0) / total
        c[1] = m >= 0
        c[2] = left > 0
        c[3] = _feature(left * unit)
        if op - begin >= 2:  # what it left before
            node_state[op - 2, 2] = 0
            node_state[op - 2, 3] = 0
    for m in range(totals[MACHINES]):
        job = state.holder[row, m]
        left = max(state.ready[row, job] - time, 0) if job >= 0 else 0
        c = node_state[machine_node + m]
        c[0] = 1 - state.load[row, m] / max(state.total_load[row, m], 1)
        c[1] = job >= 0
        c[2] = left > 0
        c[3] = _feature(left * unit)
        c[4] = _feature(max(state.up[row, m] - time, 0) * unit)


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_candidate(state, observation, row, job):
    """Write the features of a job that has operations left, all but ``swap``."""
    totals = state.totals[row]
    time, bound, num_machines = totals[TIME], totals[BOUND], totals[MACHINES]
    unit, scale = state.scale[row]
    begin, end = state.first_operation[row, job], state.first_operation[row, job + 1]
    op, m, here = state.next_operation[row, job], state.wants[row, job], state.place[row, job]
    duration, ready, holder = state.duration[row, op], state.ready[row, job], state.holder[row, m]
    following = state.machine[row, op + 1] if op + 1 < end else -1
    rivals, rivals_inside, followers, followers_waiting, next_rivals = 0, 0, 0, 0, 0
    for other in range(totals[JOBS]):
        wanted, inside = state.wants[row, other], state.place[row, other] >= 0
        if other == job or wanted < 0:
            continue
        rivals += wanted == m
        rivals_inside += wanted == m and inside
        next_rivals += wanted == following and inside
        if wanted == here and inside:
            followers += 1
            followers_waiting += state.ready[row, other] <= time
    job_node = state.start.shape[1]
    machine_node = job_node + state.place.shape[1]
    nodes, c = observation.candidate_nodes[row, 1 + job], observation.candidates[row, 1 + job]
    nodes[0] = op
    nodes[1] = op + 1 if op + 1 < end else -1
    nodes[2] = job_node + job
    nodes[3] = machine_node + m
    nodes[4] = machine_node + following if following >= 0 else -1
    held = holder >= 0 and holder != job
    c[1] = observation.action_mask[row, 1 + job]
    c[2] = duration * unit
    c[3] = state.tail[row, op] * scale
    c[4] = (end - op) / num_machines
    c[5] = _feature((bound - max(time, ready) - state.tail[row, op]) * unit)
    c[6] = (op - begin) / (end - begin)
    c[7] = here < 0
    c[8] = here >= 0 and ready > time
    c[9] = _feature(max(ready - time, 0) * unit) if here >= 0 else 0
    c[10] = _feature(max(time - ready, 0) * unit) if here >= 0 else 0
    c[11] = held
    c[12] = _feature(max(state.ready[row, holder] - time, 0) * unit) if held else 0
    c[13] = _feature(max(state.up[row, m] - time, 0) * unit)
    c[15] = state.load[row, m] * scale
    c[16] = _feature((bound - _free_from(state, row, m) - state.load[row, m]) * unit)
    c[17] = rivals * 0.25
    c[18] = rivals_inside * 0.25
    c[19] = followers * 0.25
    c[20] = followers_waiting * 0.25
    c[21:28] = 0
    if following >= 0:
        blocker = state.holder[row, following]
        next_held = blocker >= 0 and blocker != job
        length, circle = _chain(state, row, following, m)
        c[21] = state.duration[row, op + 1] * unit
        c[22] = next_held
        free = max(_free_from(state, row, following), time)
        c[23] = _feature((free - max(time, ready) - duration) * unit)
        c[24] = state.load[row, following] * scale
        c[25] = next_rivals * 0.25
        c[26] = length * 0.25
        c[27] = circle and following != m
    c[28] = op + 1 == end


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe_lookahead(state, observation, row, deadlock, rules):
    """Try every legal candidate of a row that has a choice."""
    totals, mask, lookahead = state.totals[row], observation.action_mask[row], state.lookahead[row]
    column = len(CANDIDATE_FEATURES)
    count, best = 0, _NEVER
    for a in range(totals[JOBS] + 1):
        count += mask[a]
        state.best_rule[row, a] = totals[RULE]
        observation.candidates[row, a, column] = 0
        observation.candidates[row, a, column + 1] = 0
    if count < 2:
        return
    for a in range(totals[JOBS] + 1):
        if mask[a]:
            _try(state, row, a, deadlock, rules)
            best = min(best, lookahead[a])
    totals[TRIED] = (totals[TRIED] + min(len(rules), TRIALS) - 1) % len(rules)
    unit, bound = state.scale[row, 0], totals[BOUND]
    for a in range(totals[JOBS] + 1):
        if mask[a]:
            observation.candidates[row, a, column] = _feature((lookahead[a] - best) * unit)
            observation.candidates[row, a, column + 1] = _feature((lookahead[a] - bound) * unit)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _trial(state):
    """The state whose partial schedule is the scratch of the trial."""
    return State(
        state.first_operation,
        state.machine,
        state.duration,
        state.tail,
        state.total_load,
        state.first_down,
        state.down_start,
        state.down_end,
        state.scale,
        state.trial_totals,
        state.trial_next_operation,
        state.trial_place,
        state.trial_ready,
        state.trial_holder,
        state.trial_up,
        state.trial_next_down,
        state.trial_load,
        state.trial_start,
        state.trial_end,
        state.trial_leave,
        state.lookahead,
        state.best_rule,
        state.trial_wants,
        state.taken,
        state.inside,
        state.wanting,
        state.waiting,
        state.trial_totals,
        state.trial_next_operation,
        state.trial_place,
        state.trial_ready,
        state.trial_holder,
        state.trial_up,
        state.trial_next_down,
        state.trial_load,
        state.trial_start,
        state.trial_end,
        state.trial_leave,
        state.trial_wants,
    )


@njit(cache=True, error_model="numpy", _nrt=False)
def _try(state, row, action, deadlock, rules):
    """Find the shortest makespan with the candidate (a bound for large shops) and its rule."""
    trial, totals = _trial(state), state.totals[row]
    best = _NEVER
    for k in range(min(len(rules), TRIALS)):
        rule = (totals[TRIED] + k) % len(rules) if k else totals[RULE]
        _begin_trial(state, trial, row)
        if action == 0:
            _pass_time(trial, row)
        else:
            _move(trial, row, action - 1)
            _arrive(trial, row)
        last = trial.totals[row, BEGUN] + TRIAL_OPERATIONS
        makespan = _complete(trial, row, rules[rule], deadlock, last, best)
        if makespan < best:
            best = makespan
            state.best_rule[row, action] = rule
    state.lookahead[row, action] = best


@njit(cache=True, error_model="numpy", _nrt=False)
def _begin_trial(state, trial, row):
    """Copy the partial schedule; no other shutdown is foreseen."""
    totals = trial.totals[row]
    for k in range(len(totals)):
        totals[k] = state.totals[row, k]
    for job in range(totals[JOBS]):
        trial.next_operation[row, job] = state.next_operation[row, job]
        trial.place[row, job] = state.place[row, job]
        trial.ready[row, job] = state.ready[row, job]
    for m in range(totals[MACHINES]):
        trial.holder[row, m] = state.holder[row, m]
        trial.up[row, m] = state.up[row, m]
        trial.load[row, m] = state.load[row, m]
        trial.next_down[row, m] = state.first_down[row, m + 1]
    _find_wants(trial, row)


@njit(cache=True, error_model="numpy", _nrt=False)
def _complete(state, row, rule, deadlock, last, enough):
    """Decide by a rule until all jobs are done, or a limit is met.

    Args:
        state, row: which shop.
        rule: (terms,) weights.
        deadlock: index into DEADLOCK_MODES.
        last: the number of operations begun at which to stop.
        enough: the bound at which to stop.

    Returns:
        the makespan, or the bound at the limit; after a deadlock the bound and all work once more:
        the worst makespan would tell of shutdowns that are still to come.
    """
    totals = state.totals[row]
    while totals[FINISHED] < totals[JOBS] and totals[BEGUN] < last and totals[BOUND] < enough:
        _find_wants(state, row)
        job = _first_job(state, row, rule, deadlock)
        if job >= 0:
            _move(state, row, job)
            _arrive(state, row)
        elif _next_event(state, row) == _NEVER:
            return totals[BOUND] + _total_work(state, row)  # a deadlock
        else:
            _refresh_bound(state, row)
            _pass_time(state, row)
    _refresh_bound(state, row)
    return totals[BOUND]


@njit(cache=True, error_model="numpy", _nrt=False)
def _total_work(state, row):
    """Of all operations, begun or not."""
    work = 0
    for m in range(state.totals[row, MACHINES]):
        work += state.total_load[row, m]
    return work


@njit(cache=True, error_model="numpy", _nrt=False)
def _first_job(state, row, rule, deadlock):
    """The job that the rule lets enter a machine now, -1 for none."""
    inside, active = _count_wants(state, row)
    best, highest = -1, -np.inf
    for job in range(state.totals[row, JOBS]):
        if _can_enter(state, row, job, deadlock):
            score = _score(state, row, job, inside, rule)
            if score > highest:
                best, highest = job, score
    return best if highest > 0 or not active else -1


@njit(cache=True, error_model="numpy", _nrt=False)
def _count_wants(state, row):
    """Count who in the shop wants each machine.

    Returns:
        the number of jobs in the shop, and whether one of them is not done where it is.
    """
    totals, wanting, waiting = state.totals[row], state.wanting[row], state.waiting[row]
    for m in range(totals[MACHINES]):
        wanting[m] = waiting[m] = 0
    inside, active = 0, False
    for job in range(totals[JOBS]):
        if state.place[row, job] >= 0:
            inside += 1
            done = state.ready[row, job] <= totals[TIME]
            active |= not done
            m = state.wants[row, job]
            if m >= 0:
                wanting[m] += 1
                waiting[m] += done
    return inside, active


@njit(cache=True, error_model="numpy", _nrt=False)
def _score(state, row, job, inside, rule):
    """The weighted sum of the terms of a job that can enter; ``inside``: jobs in the shop."""
    time, num_machines = state.totals[row, TIME], state.totals[row, MACHINES]
    unit, scale = state.scale[row]
    op, m, here = state.next_operation[row, job], state.wants[row, job], state.place[row, job]
    score = rule[0] + rule[4] * state.tail[row, op] * scale
    score += rule[5] * min(state.duration[row, op] * unit, LONG)
    score += rule[7] * state.load[row, m] * scale
    score += rule[8] * 0.5 * (state.wanting[row, m] - (here >= 0))
    if here < 0:
        score += rule[1] + rule[2] * inside / num_machines
        score += rule[3] * (inside >= CROWDED * num_machines)
    else:
        score += rule[9] * (state.waiting[row, here] > (m == here))
    if op + 1 == state.first_operation[row, job + 1]:
        return score + rule[6]
    following = state.machine[row, op + 1]
    score += rule[12] * state.load[row, following] * scale
    score += rule[13] * 0.5 * (state.wanting[row, following] - (here >= 0 and following == m))
    blocker = state.holder[row, following]
    if blocker >= 0 and blocker != job:
        wait = max(state.ready[row, blocker], time) - time - state.duration[row, op]
        score += rule[10] + rule[11] * min(max(wait * unit, 0.0), LONG)
    return score


@njit(cache=True, error_model="numpy", _nrt=False)
def _step_row(state, observation, row, action, deadlock, rules, terminated):
    """One decision; returns the reward."""
    totals = state.totals[row]
    before = totals[BOUND]
    totals[RULE] = state.best_rule[row, action]
    if action == 0:
        _pass_time(state, row)
    else:
        job = action - 1
        machine = state.wants[row, job]
        _move(state, row, job)
        _find_wants(state, row)
        wanted = state.wants[row, job]
        if wanted >= 0 and wanted != machine and not totals[SWAP]:
            _, circle = _chain(state, row, wanted, machine)
            totals[DEADLOCK] = circle
        _arrive(state, row)
    terminated[row] = _continue(state, observation, row, deadlock, rules)
    return (before - totals[BOUND]) * state.scale[row, 1]


@njit(cache=True, error_model="numpy", _nrt=False)
def step(state, observation, actions, rewards, terminated, deadlock, rules):
    """Apply ``actions`` to every row (-1: leave it), see ``Problem.step``."""
    for row in range(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], deadlock, rules, terminated
            )


@njit(cache=True, error_model="numpy", _nrt=False, parallel=True)
def step_parallel(state, observation, actions, rewards, terminated, deadlock, rules):
    """The same with rows shared among threads."""
    for row in prange(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], deadlock, rules, terminated
            )
