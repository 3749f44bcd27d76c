"""Numba kernels of streaming jobs on a system on chip: load, step, candidates, observe.

The simulation goes from event to event: the end of a task, the arrival of data at a processor that
waits for it, the entry of a job. At an event, tasks that end make their consumers ready, then jobs
enter, then decisions are asked for until none is left, then processors start what they can.

A decision binds a ready task (all its producers have ended) to a processor. The mode ``binding``
says which decisions there are:

* ``late``: to processors that have nothing to do; or to wait for the next event (action 0).
* ``eager``: every ready task at once, as in DS3; a processor keeps a queue and takes the task of
  the oldest job whose data have arrived (of one job: the task bound first).

Candidate 0 is to wait. Then, by the time at which tasks became ready, come for each ready task the
clusters that can run it; of the identical processors of a cluster only the one on which the task
would start first (ties: the lowest number). With ``processors="all"`` every processor is listed.
When there are more candidates than places, the tasks that became ready last have to wait.

What a scheduler sees are expected durations: the kernel uses true ones only to move time. All times
are integers, in microseconds.

The reward is the fall of a lower bound on the total time of the counted jobs in the system: for
each job the latest of its tasks' paths, a task that has started ending when it truly ends and the
tasks behind it taking their shortest true durations, without communication. It sums to the time
integral of the number of jobs in the system.

All kernels are in this one file because numba's cache looks at no other for changes.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

f32 = np.float32

LATE, EAGER = range(2)
BINDING_MODES = ("late", "eager")
DISTINCT, ALL = range(2)
PROCESSOR_MODES = ("distinct", "all")
_NEVER = np.int32(2**31 - 1)

#: Ready tasks that are candidates, the first to become ready; the others wait.
WINDOW = 48
#: Candidates at most, the wait included.
MAX_CANDIDATES = 128

TASK, JOB_TYPE, CLUSTER, WAIT = range(4)
NODE_TYPES = ("task", "job_type", "cluster", "wait")
PRECEDES, OF_JOB, RUNS_ON = range(3)
EDGE_TYPES = ("precedes", "of_job", "runs_on")
NODE_FEATURES = (
    "time",  # task: shortest; job type: longest path; in mean task times
    "path",  # task: longest path to the end of the job / that of the job type
    "work",  # job type: sum of its tasks' shortest times, in mean task times
    "producers",  # / 4
    "consumers",  # / 4
    "choice",  # clusters that can run the task / clusters; cluster: tasks that it can run / tasks
    "size",  # job type: tasks / 32; cluster: processors / 8
    "share",  # job type: probability; cluster: tasks that are fastest on it / tasks
)
NODE_STATE_FEATURES = (
    "count",  # ready instances / 4; jobs of the type with ready tasks / 4; idle processors / 8
    "wait",  # cluster: until a processor is free, in mean task times
)
EDGE_FEATURES = (
    "time",  # runs_on: of the task on the cluster; precedes: typical communication
    "excess",  # runs_on: over the task's shortest time, relative
)
CANDIDATE_ROLES = ("task", "job_type", "cluster")
CANDIDATE_FEATURES = (
    # times in mean task times, relative to now unless said otherwise
    "cost",
    "cost_excess",  # over the task's shortest
    "speed",  # the task's shortest / cost
    "start",
    "end",
    "end_excess",  # over the task's earliest end anywhere
    "end_excess_all",  # over the earliest end of any ready task anywhere
    "data_wait",
    "processor_wait",
    "alternative",  # earliest end on another cluster - end
    "alternatives",  # clusters that can run the task - 1, / 4
    "path_after",  # longest path behind the task, communication from here included
    "slack",  # end of the job on its longest path - end on this path; negative: delays the job
    "job_left",  # longest path left of the job
    "job_left_excess",  # over the shortest of any ready task's job
    "job_age",
    "job_stretch",  # (age + longest path left) / longest path of the type
    "job_work",  # shortest times of the job's tasks that are not bound
    "job_progress",  # share of its tasks that ended
    "rank",  # upward rank / highest of any ready task
    "consumers",  # / 4
    "unlocks",  # consumers that wait for this task only, / 4
    "siblings",  # other ready tasks of the job / 4
    "idle",  # idle processors of the cluster / processors of it
    "next_free",  # second earliest processor of the cluster, if there are two
    "demand",  # work of ready tasks that are fastest on the cluster, per processor
    "rivals",  # such other tasks - idle processors, / 4
    "coming",  # the same of tasks that running ones unlock
    "rival_loss",  # most that such another task loses on its second cluster
    "own_loss",  # what this task loses on its second cluster
    "fastest",  # 1 on the fastest cluster for the task, of equally fast ones on the first
    "fastest_wait",  # earliest end on the fastest cluster - end
    "etf",  # 1 if the list scheduler ETF would do this now
    "etf_gain",  # end of the task in its plan - end
    "least_work",  # 1 if the list scheduler by least work left would do this now
    "least_work_gain",
    "general",  # share of all tasks that the cluster can run
    "job_work_excess",  # work left of the job - least of any ready task's job
    "wait",  # 1 for waiting
)
GLOBAL_FEATURES = (
    "jobs",  # in the system / 8
    "capacity",  # jobs in the system / cap, 0 with open arrivals
    "blocked",  # 1 with a cap
    "ready",  # ready tasks / 8
    "idle",  # share of processors that are idle
    "ready_work",  # shortest times of the ready tasks, per processor
    "next_end",  # earliest expected end of a running task
    "gap",  # mean time between entries so far
    "since_entry",
    "noise",
    "processors",  # / 16
    "held",  # ready tasks beyond the places for candidates / 8
)


class State(NamedTuple):
    """Arrays of a batch of B streams, with their last axis named by the columns below.

    N jobs, J job types, T tasks of all job types, W tasks of the largest, E edges, K clusters, P
    processors, A candidates. Task w of job n is task instance ``n * W + w``.
    """

    # the platform
    sizes: NDArray[np.int32]  # (B, SIZES)
    types: NDArray[np.int32]  # (B, J + 1, TYPE_COLUMNS)
    tasks: NDArray[np.int32]  # (B, T + 1, TASK_COLUMNS)
    times: NDArray[np.int32]  # (B, T, K, TIME_COLUMNS)
    rank: NDArray[np.float64]  # (B, T) upward rank, mean times (HEFT)
    edges: NDArray[np.int32]  # (B, E, EDGE_COLUMNS)
    bandwidth: NDArray[np.int32]  # (B, K, K)
    first_processor: NDArray[np.int32]  # (B, K + 1) of each cluster
    scale: NDArray[np.float64]  # (B, 3) 1 / mean task time, 1 / initial bound, noise
    # the stream and its progress
    factor: NDArray[np.float64]  # (B, N, W) hidden
    jobs: NDArray[np.int32]  # (B, N, JOB_COLUMNS)
    instances: NDArray[np.int32]  # (B, N * W, INSTANCE_COLUMNS)
    processors: NDArray[np.int32]  # (B, P, PROCESSOR_COLUMNS)
    ready: NDArray[np.int32]  # (B, N * W) ready task instances, in the order of becoming so
    arrival: NDArray[np.int32]  # (B, WINDOW, P) of the data of the first ready ones
    totals: NDArray[np.int64]  # (B, TOTALS)
    # the decision
    candidates: NDArray[np.int32]  # (B, A, CANDIDATE_COLUMNS)
    look: NDArray[np.int32]  # (B, WINDOW, LOOK_COLUMNS) of each ready task
    survey: NDArray[np.float32]  # (B, K, SURVEY_COLUMNS) of each cluster


#: Columns of ``sizes``.
(
    JOBS, TASKS, EDGES, TYPES, CLUSTERS, PROCESSORS, CAP, WARMUP, HORIZON, SAME_CORE, COUNTED
) = range(SIZES := 11)  # fmt: skip
#: Columns of ``types``: first task, expected longest path.
OFFSET, PATH = range(TYPE_COLUMNS := 2)
#: Columns of ``tasks``: first edge as producer and as consumer; expected time on the fastest
#: cluster, on the second (the same where there is none), the fastest cluster, how many can run it.
FIRST_OUT, FIRST_IN, SHORTEST, SECOND, FASTEST, CHOICES = range(TASK_COLUMNS := 6)
#: Columns of ``times``: expected, -1 where it cannot run; expected path behind the task from there.
COST, AFTER = range(TIME_COLUMNS := 2)
#: Columns of ``edges``: consumers by producer; producers and volumes by consumer.
OUT_TASK, IN_TASK, IN_VOLUME = range(EDGE_COLUMNS := 3)
#: Columns of ``jobs``: type, gap, when it entered and was completed (-1 before), tasks that have
#: not ended, expected shortest times of tasks not bound, bound on its completion, expected end of
#: the paths of bound tasks and of all, its ready tasks.
(
    TYPE, GAP, ENTERED, COMPLETED, TASKS_LEFT, WORK_LEFT, JOB_BOUND, EXPECTED, EXPECTED_ALL,
    SIBLINGS,
) = range(JOB_COLUMNS := 10)  # fmt: skip
#: Columns of ``instances``: producers that have not ended, processor (-1 while not bound), arrival
#: of the data there, start (-1 before), true end (a scheduler learns it then), next in its queue,
#: hidden: the shortest true path from the task on; its job and its task.
WAITS_FOR, ON, DATA, START, END, NEXT, TAIL, JOB, TASK_OF = range(INSTANCE_COLUMNS := 9)
#: Columns of ``processors``: cluster, running task instance (-1 for none), first bound one that has
#: not started, expected end of all bound ones, number bound since time last moved, the end in a
#: plan.
CLUSTER_OF, RUNNING, QUEUE, FREE, BOUND_NOW, PLAN_FREE = range(PROCESSOR_COLUMNS := 6)
#: Columns of ``totals``; UNDER_WAY are the tasks that are bound and have not ended.
(
    NOW, NEXT_JOB, NEXT_ENTRY, IN_SYSTEM, READY, UNDER_WAY, BOUND, INITIAL_BOUND, INTEGRAL,
    CANDIDATES, SURVEYED, ENDED,
) = range(TOTALS := 12)  # fmt: skip
#: Columns of ``candidates``: index into ``ready``, processor, expected start and end.
PLACE, PROCESSOR, BEGIN, FINISH = range(CANDIDATE_COLUMNS := 4)
#: Columns of ``look``: earliest expected end and where, earliest on another cluster, and on the
#: fastest; end and place in the plan by end, and 1 if it binds the task now; the same by work.
BEST_END, BEST_ON, SECOND_END, FASTEST_END, PLAN_END, PLAN_ON, PLAN_NOW = range(7)
BY_END, BY_WORK = range(2)
PLAN_COLUMNS = 3
LOOK_COLUMNS = PLAN_END + 2 * PLAN_COLUMNS
#: Columns of ``survey``, see ``_survey``.
IDLE, FIRST_FREE, NEXT_FREE, DEMAND, RIVALS, COMING, LOSS, SECOND_LOSS, GENERAL = range(
    SURVEY_COLUMNS := 9
)


@njit(cache=True, error_model="numpy")
def load_row(
    state, observation, row, sizes, task_offset, cost, edges, bandwidth, probability, rank,
    job_type, gap, factor, noise, binding, listing,
):  # fmt: skip
    """Put an instance into ``row`` and write its whole observation.

    Args:
        state, observation: batch arrays.
        row: which one.
        sizes: the columns of ``State.sizes``.
        task_offset, cost, edges, bandwidth, probability: of the platform.
        rank: (T,) upward ranks.
        job_type, gap, factor, noise: of the stream.
        binding, listing: index into BINDING_MODES and PROCESSOR_MODES.
    """
    state.sizes[row] = sizes
    num_tasks, num_types, num_clusters = sizes[TASKS], sizes[TYPES], sizes[CLUSTERS]
    state.types[row, : num_types + 1, OFFSET] = task_offset
    state.times[row, :num_tasks, :num_clusters, COST] = cost
    state.rank[row, :num_tasks] = rank
    state.bandwidth[row, :num_clusters, :num_clusters] = bandwidth
    state.jobs[row, : sizes[JOBS], TYPE] = job_type
    state.jobs[row, : sizes[JOBS], GAP] = gap
    state.factor[row, : sizes[JOBS], : factor.shape[1]] = factor
    state.scale[row, 2] = noise
    _load_edges(state, row, edges)
    _load_costs(state, row)
    _load_paths(state, row)
    _clear(state, row)
    _load_jobs(state, row)
    _observe_graph(state, observation, row, probability)
    # all of it: the row may hold a larger instance in the middle of its episode
    observation.candidates[row] = 0
    observation.candidate_nodes[row] = -1
    observation.action_mask[row] = 0
    state.totals[row, CANDIDATES] = 0
    _enter_jobs(state, observation, row)
    _advance(state, observation, row, False, binding, listing)
    _observe(state, observation, row, binding)


@njit(cache=True, error_model="numpy")
def _load_edges(state, row, edges):
    """Edges by producer (as given) and by consumer."""
    num_tasks = state.sizes[row, TASKS]
    first_out, first_in = state.tasks[row, :, FIRST_OUT], state.tasks[row, :, FIRST_IN]
    first_out[:] = 0
    first_in[:] = 0
    for e in range(len(edges)):
        first_out[edges[e, 0] + 1] += 1
        first_in[edges[e, 1] + 1] += 1
        state.edges[row, e, OUT_TASK] = edges[e, 1]
    for t in range(num_tasks):
        first_out[t + 1] += first_out[t]
        first_in[t + 1] += first_in[t]
    filled = np.zeros(num_tasks, dtype=np.int32)
    for e in range(len(edges)):
        t = edges[e, 1]
        state.edges[row, first_in[t] + filled[t], IN_TASK] = edges[e, 0]
        state.edges[row, first_in[t] + filled[t], IN_VOLUME] = edges[e, 2]
        filled[t] += 1


@njit(cache=True, error_model="numpy")
def _load_costs(state, row):
    """Shortest and second times, the unit of time, processors by cluster."""
    num_tasks, num_clusters = state.sizes[row, TASKS], state.sizes[row, CLUSTERS]
    total = 0.0
    count = 0
    for t in range(num_tasks):
        first, second = _NEVER, _NEVER
        state.tasks[row, t, CHOICES] = 0
        for k in range(num_clusters):
            cost = state.times[row, t, k, COST]
            if cost < 0:
                continue
            state.tasks[row, t, CHOICES] += 1
            if cost < first:
                first, second = cost, first
                state.tasks[row, t, FASTEST] = k
            elif cost < second:
                second = cost
        state.tasks[row, t, SHORTEST] = first
        state.tasks[row, t, SECOND] = first if second == _NEVER else second
        if first > 0:
            total += first
            count += 1
    state.scale[row, 0] = count / max(total, 1.0)
    for k in range(num_clusters):
        state.survey[row, k, GENERAL] = (state.times[row, :num_tasks, k, COST] >= 0).mean()


@njit(cache=True, error_model="numpy")
def _load_paths(state, row):
    """Expected longest paths with communication, the best cluster each time."""
    num_clusters = state.sizes[row, CLUSTERS]
    state.times[row, :, :, AFTER] = 0
    for j in range(state.sizes[row, TYPES]):
        first, end = state.types[row, j, OFFSET], state.types[row, j + 1, OFFSET]
        state.types[row, j, PATH] = 0
        for t in range(end - 1, first - 1, -1):
            soonest = _NEVER
            for k in range(num_clusters):
                if state.times[row, t, k, COST] >= 0:
                    soonest = min(
                        soonest, state.times[row, t, k, COST] + state.times[row, t, k, AFTER]
                    )
            state.types[row, j, PATH] = max(state.types[row, j, PATH], soonest)
            for e in range(state.tasks[row, t, FIRST_IN], state.tasks[row, t + 1, FIRST_IN]):
                producer, volume = state.edges[row, e, IN_TASK], state.edges[row, e, IN_VOLUME]
                for k in range(num_clusters):
                    path = _NEVER
                    for q in range(num_clusters):
                        if state.times[row, t, q, COST] < 0:
                            continue
                        band = state.sizes[row, SAME_CORE]
                        if q != k:
                            band = state.bandwidth[row, k, q]
                        ahead = (
                            volume // band
                            + state.times[row, t, q, COST]
                            + state.times[row, t, q, AFTER]
                        )
                        path = min(path, ahead)
                    state.times[row, producer, k, AFTER] = max(
                        state.times[row, producer, k, AFTER], path
                    )


@njit(cache=True, error_model="numpy")
def _clear(state, row):
    """Time 0, nothing has entered."""
    state.instances[row, :, ON] = -1
    state.instances[row, :, START] = -1
    state.instances[row, :, END] = -1
    state.jobs[row, :, ENTERED] = -1
    state.jobs[row, :, COMPLETED] = -1
    state.processors[row, :, RUNNING] = -1
    state.processors[row, :, QUEUE] = -1
    state.processors[row, :, FREE] = 0
    state.processors[row, :, BOUND_NOW] = 0
    state.totals[row] = 0
    state.totals[row, NEXT_ENTRY] = state.jobs[row, 0, GAP]
    k = 0
    state.first_processor[row] = 0
    for p in range(state.sizes[row, PROCESSORS]):
        k = state.processors[row, p, CLUSTER_OF]
        state.first_processor[row, k + 1] = p + 1


@njit(cache=True, error_model="numpy")
def _load_jobs(state, row):
    """Producers to wait for, true paths, and the initial bound."""
    width = state.factor.shape[2]
    arrives = 0
    horizon = state.sizes[row, HORIZON]
    for n in range(state.sizes[row, JOBS]):
        j = state.jobs[row, n, TYPE]
        first, end = state.types[row, j, OFFSET], state.types[row, j + 1, OFFSET]
        state.jobs[row, n, TASKS_LEFT] = end - first
        state.jobs[row, n, SIBLINGS] = 0
        state.jobs[row, n, WORK_LEFT] = state.tasks[row, first:end, SHORTEST].sum()
        longest = 0
        for t in range(end - 1, first - 1, -1):
            w = t - first
            state.instances[row, n * width + w, JOB] = n
            state.instances[row, n * width + w, TASK_OF] = t
            state.instances[row, n * width + w, WAITS_FOR] = (
                state.tasks[row, t + 1, FIRST_IN] - state.tasks[row, t, FIRST_IN]
            )
            behind = 0
            for e in range(state.tasks[row, t, FIRST_OUT], state.tasks[row, t + 1, FIRST_OUT]):
                consumer = n * width + state.edges[row, e, OUT_TASK] - first
                behind = max(behind, state.instances[row, consumer, TAIL])
            true = _true_duration(state.tasks[row, t, SHORTEST], state.factor[row, n, w])
            state.instances[row, n * width + w, TAIL] = behind + true
            longest = max(longest, behind + true)
        state.jobs[row, n, JOB_BOUND] = longest  # from its entry on
        arrives += state.jobs[row, n, GAP]
        if n >= state.sizes[row, WARMUP]:
            if horizon:
                longest = min(longest, horizon - arrives)
            state.totals[row, BOUND] += longest
    state.totals[row, INITIAL_BOUND] = state.totals[row, BOUND]
    state.scale[row, 1] = 1.0 / max(state.totals[row, INITIAL_BOUND], 1)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _true_duration(expected, factor):
    """See :func:`makespan.envs.soc.instance.true_duration`."""
    if expected == 0:
        return 0
    return max(1, int(np.floor(expected * factor + 0.5)))


@njit(cache=True, error_model="numpy")
def _observe_graph(state, observation, row, probability):
    """Write nodes, edges and the initial node state."""
    num_tasks, num_types = state.sizes[row, TASKS], state.sizes[row, TYPES]
    num_clusters = state.sizes[row, CLUSTERS]
    type_node, cluster_node, wait_node = _first_nodes(state)
    unit = state.scale[row, 0]
    nodes, node_type = observation.nodes[row], observation.node_type[row]
    edges, edge_type = observation.edges[row], observation.edge_type[row]
    edge_features = observation.edge_features[row]
    nodes[:] = 0
    observation.node_state[row] = 0
    node_type[:] = -1
    edges[:] = -1
    edge_type[:] = -1
    edge_features[:] = 0
    node_type[wait_node] = WAIT
    e = 0
    for j in range(num_types):
        first, end = state.types[row, j, OFFSET], state.types[row, j + 1, OFFSET]
        node_type[type_node + j] = JOB_TYPE
        x = nodes[type_node + j]
        x[0] = state.types[row, j, PATH] * unit
        x[2] = state.tasks[row, first:end, SHORTEST].sum() * unit
        x[6] = (end - first) / 32
        x[7] = probability[j]
        for t in range(first, end):
            node_type[t] = TASK
            x = nodes[t]
            x[0] = state.tasks[row, t, SHORTEST] * unit
            soonest = _NEVER
            for k in range(num_clusters):
                if state.times[row, t, k, COST] >= 0:
                    soonest = min(
                        soonest, state.times[row, t, k, COST] + state.times[row, t, k, AFTER]
                    )
            x[1] = soonest / max(state.types[row, j, PATH], 1)
            x[3] = (state.tasks[row, t + 1, FIRST_IN] - state.tasks[row, t, FIRST_IN]) / 4
            x[4] = (state.tasks[row, t + 1, FIRST_OUT] - state.tasks[row, t, FIRST_OUT]) / 4
            x[5] = state.tasks[row, t, CHOICES] / num_clusters
            edges[0, e], edges[1, e], edge_type[e] = t, type_node + j, OF_JOB
            e += 1
            for i in range(state.tasks[row, t, FIRST_IN], state.tasks[row, t + 1, FIRST_IN]):
                edges[0, e], edges[1, e], edge_type[e] = state.edges[row, i, IN_TASK], t, PRECEDES
                q = state.tasks[row, state.edges[row, i, IN_TASK], FASTEST]
                band = state.bandwidth[row, q, state.tasks[row, t, FASTEST]]
                if band > 0:
                    edge_features[e, 0] = (state.edges[row, i, IN_VOLUME] // band) * unit
                e += 1
            for k in range(num_clusters):
                cost = state.times[row, t, k, COST]
                if cost >= 0:
                    edges[0, e], edges[1, e], edge_type[e] = t, cluster_node + k, RUNS_ON
                    edge_features[e, 0] = cost * unit
                    edge_features[e, 1] = cost / max(state.tasks[row, t, SHORTEST], 1) - 1
                    e += 1
            nodes[cluster_node + state.tasks[row, t, FASTEST], 7] += 1 / num_tasks
    for k in range(num_clusters):
        node_type[cluster_node + k] = CLUSTER
        nodes[cluster_node + k, 5] = state.survey[row, k, GENERAL]
        nodes[cluster_node + k, 6] = (
            state.first_processor[row, k + 1] - state.first_processor[row, k]
        ) / 8


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _first_nodes(state):
    """Nodes of job type 0, cluster 0, and of waiting; tasks come first."""
    type_node = state.times.shape[1]
    cluster_node = type_node + (state.types.shape[1] - 1)
    return type_node, cluster_node, cluster_node + state.times.shape[2]


# ---------------------------------------------------------------------- simulation


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _raise_bound(state, row, n, value):
    """Job ``n`` completes at ``value`` or later."""
    if state.sizes[row, HORIZON]:
        value = min(value, state.sizes[row, HORIZON])
    if value > state.jobs[row, n, JOB_BOUND]:
        if n >= state.sizes[row, WARMUP]:
            state.totals[row, BOUND] += value - state.jobs[row, n, JOB_BOUND]
        state.jobs[row, n, JOB_BOUND] = value


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _may_enter(state, row):
    """Whether another job enters without any completing first."""
    totals, cap = state.totals[row], state.sizes[row, CAP]
    return totals[NEXT_JOB] < state.sizes[row, JOBS] and (cap == 0 or totals[IN_SYSTEM] < cap)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _enter_jobs(state, observation, row):
    """Let the jobs enter whose time has come."""
    totals, width = state.totals[row], state.factor.shape[2]
    while _may_enter(state, row) and totals[NEXT_ENTRY] <= totals[NOW]:
        n = totals[NEXT_JOB]
        now = totals[NOW]
        state.jobs[row, n, ENTERED] = now
        shortest = state.jobs[row, n, JOB_BOUND]
        state.jobs[row, n, JOB_BOUND] = now + shortest
        if state.sizes[row, HORIZON]:
            state.jobs[row, n, JOB_BOUND] = min(now + shortest, state.sizes[row, HORIZON])
        state.jobs[row, n, EXPECTED] = now
        totals[IN_SYSTEM] += 1
        totals[NEXT_JOB] += 1
        if totals[NEXT_JOB] < state.sizes[row, JOBS]:
            totals[NEXT_ENTRY] = now + state.jobs[row, n + 1, GAP]
        j = state.jobs[row, n, TYPE]
        for w in range(state.types[row, j + 1, OFFSET] - state.types[row, j, OFFSET]):
            if state.instances[row, n * width + w, WAITS_FOR] == 0:
                _make_ready(state, observation, row, n * width + w)


@njit(cache=True, error_model="numpy", _nrt=False)
def _make_ready(state, observation, row, u):
    """Append task ``u`` to the ready ones."""
    place = state.totals[row, READY]
    state.ready[row, place] = u
    state.totals[row, READY] += 1
    _count_ready(state, observation, row, u, 1)
    if place < WINDOW:
        _arrivals(state, row, place)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _count_ready(state, observation, row, u, change):
    """Count ready tasks by task and by job, and jobs that have any by type."""
    n, t = state.instances[row, u, JOB], state.instances[row, u, TASK_OF]
    node_state = observation.node_state[row]
    before = state.jobs[row, n, SIBLINGS]
    state.jobs[row, n, SIBLINGS] = before + change
    node_state[t, 0] += f32(0.25) * f32(change)
    if min(before, before + change) == 0:
        type_node, _, _ = _first_nodes(state)
        node_state[type_node + state.jobs[row, n, TYPE], 0] += f32(0.25) * f32(change)


@njit(cache=True, error_model="numpy", _nrt=False)
def _arrivals(state, row, place):
    """When the data of the ready task at ``place`` are on each processor that can run it."""
    u = state.ready[row, place]
    n, t = state.instances[row, u, JOB], state.instances[row, u, TASK_OF]
    arrival = state.arrival[row, place]
    for p in range(state.sizes[row, PROCESSORS]):
        arrival[p] = state.jobs[row, n, ENTERED]
    for e in range(state.tasks[row, t, FIRST_IN], state.tasks[row, t + 1, FIRST_IN]):
        producer = u - t + state.edges[row, e, IN_TASK]
        sent, volume = state.instances[row, producer, END], state.edges[row, e, IN_VOLUME]
        q = state.instances[row, producer, ON]
        here = max(arrival[q], sent + volume // state.sizes[row, SAME_CORE])
        for k in range(state.sizes[row, CLUSTERS]):
            if state.times[row, t, k, COST] < 0:
                continue
            there = sent + volume // state.bandwidth[row, state.processors[row, q, CLUSTER_OF], k]
            for p in range(state.first_processor[row, k], state.first_processor[row, k + 1]):
                arrival[p] = max(arrival[p], there)
        arrival[q] = here


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _bind(state, observation, row, place, p, end):
    """Put the ready task at ``place`` into the queue of processor ``p``."""
    u = state.ready[row, place]
    n, t = state.instances[row, u, JOB], state.instances[row, u, TASK_OF]
    _count_ready(state, observation, row, u, -1)
    state.totals[row, UNDER_WAY] += 1
    state.instances[row, u, ON] = p
    state.instances[row, u, DATA] = state.arrival[row, place, p]
    state.processors[row, p, FREE] = end
    state.processors[row, p, BOUND_NOW] += 1
    state.jobs[row, n, WORK_LEFT] -= state.tasks[row, t, SHORTEST]
    behind = state.times[row, t, state.processors[row, p, CLUSTER_OF], AFTER]
    state.jobs[row, n, EXPECTED] = max(state.jobs[row, n, EXPECTED], end + behind)
    # the queue is in the order of jobs, then of binding
    previous, current = -1, state.processors[row, p, QUEUE]
    while current >= 0 and state.instances[row, current, JOB] <= n:
        previous, current = current, state.instances[row, current, NEXT]
    state.instances[row, u, NEXT] = current
    if previous < 0:
        state.processors[row, p, QUEUE] = u
    else:
        state.instances[row, previous, NEXT] = u
    # close the gap in the list of ready tasks
    count = state.totals[row, READY] - 1
    state.totals[row, READY] = count
    ready, arrival = state.ready[row], state.arrival[row]
    for i in range(place, count):
        ready[i] = ready[i + 1]
    num_processors = state.sizes[row, PROCESSORS]
    for i in range(place, min(count, WINDOW - 1)):
        for q in range(num_processors):
            arrival[i, q] = arrival[i + 1, q]
    if place < WINDOW <= count:
        _arrivals(state, row, WINDOW - 1)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _start_bound(state, row):
    """Idle processors start the first task of their queue whose data are there.

    Returns:
        the time of the next event, _NEVER when there is none.
    """
    now = state.totals[row, NOW]
    time = np.int64(_NEVER)
    if _may_enter(state, row):
        time = max(state.totals[row, NEXT_ENTRY], now)
    for p in range(state.sizes[row, PROCESSORS]):
        u = state.processors[row, p, RUNNING]
        if u >= 0:
            time = min(time, state.instances[row, u, END])
            continue
        previous, u, first_data = -1, state.processors[row, p, QUEUE], time
        while u >= 0 and state.instances[row, u, DATA] > now:
            first_data = min(first_data, state.instances[row, u, DATA])
            previous, u = u, state.instances[row, u, NEXT]
        if u < 0:
            time = first_data
            continue
        if previous < 0:
            state.processors[row, p, QUEUE] = state.instances[row, u, NEXT]
        else:
            state.instances[row, previous, NEXT] = state.instances[row, u, NEXT]
        time = min(time, _start(state, row, u, p, now))
    return time


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _start(state, row, u, p, now):
    """Processor ``p`` starts task ``u``; returns when that truly ends."""
    n, t = state.instances[row, u, JOB], state.instances[row, u, TASK_OF]
    factor = state.factor[row, n, t - state.types[row, state.jobs[row, n, TYPE], OFFSET]]
    expected = state.times[row, t, state.processors[row, p, CLUSTER_OF], COST]
    end = now + _true_duration(expected, factor)
    state.instances[row, u, START] = now
    state.instances[row, u, END] = end
    state.processors[row, p, RUNNING] = u
    shortest = _true_duration(state.tasks[row, t, SHORTEST], factor)
    _raise_bound(state, row, n, end + state.instances[row, u, TAIL] - shortest)
    return end


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _end_tasks(state, observation, row):
    """Tasks that end now make their consumers ready; jobs without tasks left are complete."""
    totals = state.totals[row]
    now = totals[NOW]
    for p in range(state.sizes[row, PROCESSORS]):
        u = state.processors[row, p, RUNNING]
        if u < 0 or state.instances[row, u, END] > now:
            continue
        state.processors[row, p, RUNNING] = -1
        totals[UNDER_WAY] -= 1
        n, t = state.instances[row, u, JOB], state.instances[row, u, TASK_OF]
        for e in range(state.tasks[row, t, FIRST_OUT], state.tasks[row, t + 1, FIRST_OUT]):
            v = u - t + state.edges[row, e, OUT_TASK]
            state.instances[row, v, WAITS_FOR] -= 1
            if state.instances[row, v, WAITS_FOR] == 0:
                _make_ready(state, observation, row, v)
        state.jobs[row, n, TASKS_LEFT] -= 1
        if state.jobs[row, n, TASKS_LEFT] == 0:
            state.jobs[row, n, COMPLETED] = now
            totals[IN_SYSTEM] -= 1


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _move_bounds(state, row):
    """Tasks that have not started cannot start before now."""
    now = state.totals[row, NOW]
    for i in range(state.totals[row, READY]):
        u = state.ready[row, i]
        _raise_bound(state, row, state.instances[row, u, JOB], now + state.instances[row, u, TAIL])
    for p in range(state.sizes[row, PROCESSORS]):
        u = state.processors[row, p, QUEUE]
        while u >= 0:
            n = state.instances[row, u, JOB]
            _raise_bound(state, row, n, now + state.instances[row, u, TAIL])
            u = state.instances[row, u, NEXT]


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _expect_free(state, row):
    """When each processor is expected to have done what is bound to it."""
    now = state.totals[row, NOW]
    for p in range(state.sizes[row, PROCESSORS]):
        k = state.processors[row, p, CLUSTER_OF]
        free = now
        u = state.processors[row, p, RUNNING]
        if u >= 0:
            cost = state.times[row, state.instances[row, u, TASK_OF], k, COST]
            # a task that takes longer than expected may end any time, but has not ended now
            free = max(now + 1, state.instances[row, u, START] + cost)
        u = state.processors[row, p, QUEUE]
        while u >= 0:
            cost = state.times[row, state.instances[row, u, TASK_OF], k, COST]
            free = max(free, state.instances[row, u, DATA]) + cost
            u = state.instances[row, u, NEXT]
        state.processors[row, p, FREE] = free
        state.processors[row, p, BOUND_NOW] = 0


@njit(cache=True, error_model="numpy", _nrt=False)
def _advance(state, observation, row, wait, binding, listing):
    """Move time until there is a decision to take or the episode ends.

    Args:
        state, observation, row: which stream.
        wait: move it although there may be a decision to take now.
        binding, listing: see :func:`load_row`.
    """
    totals = state.totals[row]
    horizon = state.sizes[row, HORIZON]
    while wait or not (totals[READY] and _list_candidates(state, row, binding, listing)):
        wait = False
        time = _start_bound(state, row)
        ends = time == _NEVER
        if horizon and time >= horizon:
            time, ends = np.int64(horizon), True
        elif ends:
            time = totals[NOW]
        totals[INTEGRAL] += totals[IN_SYSTEM] * (time - totals[NOW])
        totals[NOW] = time
        _move_bounds(state, row)
        _end_tasks(state, observation, row)
        if ends:
            totals[ENDED] = 1
            totals[CANDIDATES] = 0
            return
        _enter_jobs(state, observation, row)
        _expect_free(state, row)


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _list_candidates(state, row, binding, listing):
    """List the candidates and look over the ready tasks; returns whether there is a decision."""
    places = state.candidates.shape[1]
    now = np.int32(state.totals[row, NOW])
    count = 1
    surveyed = 0
    job_path = state.jobs[row, :, EXPECTED_ALL]
    listed = state.candidates[row]
    ready_count = min(state.totals[row, READY], WINDOW)
    for i in range(ready_count):
        n = state.instances[row, state.ready[row, i], JOB]
        job_path[n] = max(state.jobs[row, n, EXPECTED], now)
    for i in range(ready_count):
        u = state.ready[row, i]
        n, t = state.instances[row, u, JOB], state.instances[row, u, TASK_OF]
        arrival, look = state.arrival[row, i], state.look[row, i]
        best, second, best_on = _NEVER, _NEVER, -1
        before = count
        for k in range(state.sizes[row, CLUSTERS]):
            cost = state.times[row, t, k, COST]
            if cost < 0:
                continue
            first, idle_first = _NEVER, _NEVER
            chosen, idle = -1, -1
            for p in range(state.first_processor[row, k], state.first_processor[row, k + 1]):
                begin = max(max(arrival[p], state.processors[row, p, FREE]), now)
                if begin < first:
                    first, chosen = begin, p
                if binding == LATE:
                    if not _is_idle(state, row, p):
                        continue
                    if begin < idle_first:
                        idle_first, idle = begin, p
                if listing == ALL and count < places:
                    listed[count, PLACE], listed[count, PROCESSOR] = i, p
                    listed[count, BEGIN], listed[count, FINISH] = begin, begin + cost
                    count += 1
            end = first + cost
            if k == state.tasks[row, t, FASTEST]:
                look[FASTEST_END] = end
            if end < best:
                best, second, best_on = end, best, chosen
            elif end < second:
                second = end
            if binding == LATE:
                first, chosen = idle_first, idle
            if listing == DISTINCT and chosen >= 0 and count < places:
                listed[count, PLACE], listed[count, PROCESSOR] = i, chosen
                listed[count, BEGIN], listed[count, FINISH] = first, first + cost
                count += 1
        if count == places:  # a task is listed with all its processors or not at all
            count = before
            break
        surveyed += 1
        look[BEST_END], look[BEST_ON], look[SECOND_END] = best, best_on, second
        behind = state.times[row, t, state.processors[row, best_on, CLUSTER_OF], AFTER]
        job_path[n] = max(job_path[n], best + behind)
    state.totals[row, CANDIDATES] = count
    state.totals[row, SURVEYED] = surveyed
    return count > 1


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _is_idle(state, row, p):
    """Whether a processor has nothing to do."""
    return state.processors[row, p, RUNNING] < 0 and state.processors[row, p, QUEUE] < 0


# ---------------------------------------------------------------------- observation


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _survey(state, row, ready_count):
    """Fill the columns of ``survey``; returns the earliest expected end of a running task."""
    now = state.totals[row, NOW]
    unit = f32(state.scale[row, 0])
    cluster = state.survey[row]
    next_end = np.int64(_NEVER)
    for k in range(state.sizes[row, CLUSTERS]):
        idle = 0
        first, second = _NEVER, _NEVER
        for p in range(state.first_processor[row, k], state.first_processor[row, k + 1]):
            free = state.processors[row, p, FREE]
            idle += _is_idle(state, row, p)
            if free < first:
                first, second = free, first
            elif free < second:
                second = free
        if second == _NEVER:
            second = first
        cluster[k, IDLE] = idle
        cluster[k, FIRST_FREE] = f32(max(first - now, 0)) * unit
        cluster[k, NEXT_FREE] = f32(max(second - now, 0)) * unit
        for column in range(DEMAND, SECOND_LOSS + 1):
            cluster[k, column] = 0
    for i in range(ready_count):
        t = state.instances[row, state.ready[row, i], TASK_OF]
        c = cluster[state.tasks[row, t, FASTEST]]
        c[DEMAND] += f32(state.tasks[row, t, SHORTEST])
        c[RIVALS] += 1
        loss = f32(state.tasks[row, t, SECOND] - state.tasks[row, t, SHORTEST])
        if loss > c[LOSS]:
            c[SECOND_LOSS] = c[LOSS]
            c[LOSS] = loss
        elif loss > c[SECOND_LOSS]:
            c[SECOND_LOSS] = loss
    for p in range(state.sizes[row, PROCESSORS]):
        u = state.processors[row, p, RUNNING]
        if u < 0:
            continue
        t = state.instances[row, u, TASK_OF]
        cost = state.times[row, t, state.processors[row, p, CLUSTER_OF], COST]
        next_end = min(next_end, max(now, state.instances[row, u, START] + cost))
        for e in range(state.tasks[row, t, FIRST_OUT], state.tasks[row, t + 1, FIRST_OUT]):
            v = state.edges[row, e, OUT_TASK]
            if state.instances[row, u - t + v, WAITS_FOR] == 1:
                cluster[state.tasks[row, v, FASTEST], COMING] += f32(state.tasks[row, v, SHORTEST])
    return next_end


@njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
def _soonest(state, row, i, t, free, now):
    """Earliest expected end of the ready task at ``i``, processors being free then; and where."""
    best, best_on = _NEVER, -1
    arrival = state.arrival[row, i]
    for k in range(state.sizes[row, CLUSTERS]):
        cost = state.times[row, t, k, COST]
        if cost < 0:
            continue
        for p in range(state.first_processor[row, k], state.first_processor[row, k + 1]):
            end = max(max(arrival[p], free[p]), now) + cost
            if end < best:
                best, best_on = end, p
    return best, best_on


@njit(cache=True, error_model="numpy", _nrt=False)
def _plan(state, row, ready_count, order):
    """What a list scheduler would do with the ready tasks, each to its earliest end in turn.

    Args:
        state, row: which stream.
        ready_count: number of ready tasks.
        order: BY_END takes the task that ends first (ETF), BY_WORK a task of the job with the least
            work left.
    """
    now = np.int32(state.totals[row, NOW])
    free, look = state.processors[row, :, PLAN_FREE], state.look[row]
    plan_end = look[:, PLAN_END + order * PLAN_COLUMNS]
    plan_on = look[:, PLAN_ON + order * PLAN_COLUMNS]
    plan_now = look[:, PLAN_NOW + order * PLAN_COLUMNS]
    for p in range(state.sizes[row, PROCESSORS]):
        free[p] = state.processors[row, p, FREE]
    for i in range(ready_count):
        plan_end[i] = look[i, BEST_END]
        plan_on[i] = look[i, BEST_ON]
        plan_now[i] = -1
    for _ in range(ready_count):
        chosen, least = -1, _NEVER
        for i in range(ready_count):
            if plan_now[i] >= 0:
                continue
            key = plan_end[i]
            if order == BY_WORK:
                key = state.jobs[row, state.instances[row, state.ready[row, i], JOB], WORK_LEFT]
            if chosen < 0 or key < least:
                chosen, least = i, key
        p = plan_on[chosen]
        # bound now if the processor has nothing to do, neither really nor in the plan
        plan_now[chosen] = _is_idle(state, row, p) and free[p] == state.processors[row, p, FREE]
        free[p] = max(plan_end[chosen], free[p] + 1)
        for i in range(ready_count):
            if plan_now[i] < 0 and plan_on[i] == p:
                t = state.instances[row, state.ready[row, i], TASK_OF]
                plan_end[i], plan_on[i] = _soonest(state, row, i, t, free, now)


@njit(cache=True, error_model="numpy", _nrt=False)
def _observe(state, observation, row, binding):
    """Refresh candidates, node state and globals of a row."""
    totals = state.totals[row]
    count = totals[CANDIDATES]
    mask = observation.action_mask[row]
    nodes = observation.candidate_nodes[row]
    for a in range(count, mask.shape[0]):
        if nodes[a, 0] < 0:
            break
        mask[a] = 0
        for r in range(3):
            nodes[a, r] = -1
        for f in range(len(CANDIDATE_FEATURES)):
            observation.candidates[row, a, f] = 0
    if totals[ENDED]:
        mask[:] = 0
        observation.globals[row] = 0
        return
    type_node, cluster_node, wait_node = _first_nodes(state)
    now = totals[NOW]
    unit = f32(state.scale[row, 0])
    ready_count = totals[SURVEYED]
    next_end = _survey(state, row, ready_count)
    if binding == LATE:
        _plan(state, row, ready_count, BY_END)
        _plan(state, row, ready_count, BY_WORK)
    cluster = state.survey[row]
    job_path = state.jobs[row, :, EXPECTED_ALL]
    earliest, least_left, least_work, highest_rank = _NEVER, _NEVER, _NEVER, 1e-9
    ready_work = f32(0)
    for i in range(ready_count):
        u = state.ready[row, i]
        n, t = state.instances[row, u, JOB], state.instances[row, u, TASK_OF]
        earliest = min(earliest, state.look[row, i, BEST_END])
        least_left = min(least_left, job_path[n] - now)
        least_work = min(least_work, state.jobs[row, n, WORK_LEFT])
        highest_rank = max(highest_rank, state.rank[row, t])
        ready_work += f32(state.tasks[row, t, SHORTEST])
    nodes[0, 0], nodes[0, 1], nodes[0, 2] = wait_node, -1, -1
    mask[0] = binding == LATE and (totals[UNDER_WAY] > 0 or _may_enter(state, row))
    observation.candidates[row, 0, len(CANDIDATE_FEATURES) - 1] = 1
    a = 1
    for i in range(ready_count):
        u = state.ready[row, i]
        n, t = state.instances[row, u, JOB], state.instances[row, u, TASK_OF]
        j = state.jobs[row, n, TYPE]
        look = state.look[row, i]
        best, second = look[BEST_END], look[SECOND_END]
        best_cluster = state.processors[row, look[BEST_ON], CLUSTER_OF]
        shortest, fastest = state.tasks[row, t, SHORTEST], state.tasks[row, t, FASTEST]
        own = f32(state.tasks[row, t, SECOND] - shortest)
        left = job_path[n] - now
        work = state.jobs[row, n, WORK_LEFT]
        age = now - state.jobs[row, n, ENTERED]
        stretch = f32(age + left) / f32(max(state.types[row, j, PATH], 1))
        tasks = state.types[row, j + 1, OFFSET] - state.types[row, j, OFFSET]
        progress = f32(1) - f32(state.jobs[row, n, TASKS_LEFT]) / f32(tasks)
        rank = f32(state.rank[row, t] / highest_rank)
        first_out, end_out = state.tasks[row, t, FIRST_OUT], state.tasks[row, t + 1, FIRST_OUT]
        unlocks = 0
        for e in range(first_out, end_out):
            v = u - t + state.edges[row, e, OUT_TASK]
            unlocks += state.instances[row, v, WAITS_FOR] == 1
        while a < count and state.candidates[row, a, PLACE] == i:
            p = state.candidates[row, a, PROCESSOR]
            k = state.processors[row, p, CLUSTER_OF]
            nodes[a, 0], nodes[a, 1], nodes[a, 2] = t, type_node + j, cluster_node + k
            mask[a] = 1
            c = observation.candidates[row, a]
            cost = state.times[row, t, k, COST]
            begin, end = state.candidates[row, a, BEGIN], state.candidates[row, a, FINISH]
            other = second if best_cluster == k else best
            if other == _NEVER:
                other = end
            cores = state.first_processor[row, k + 1] - state.first_processor[row, k]
            behind = state.times[row, t, k, AFTER]
            is_fastest = fastest == k
            loss = cluster[k, LOSS]
            if is_fastest and own == loss:
                loss = cluster[k, SECOND_LOSS]
            c[0] = f32(cost) * unit
            c[1] = f32(cost - shortest) * unit
            c[2] = f32(shortest) / f32(max(cost, 1)) if cost else f32(1)
            c[3] = f32(begin - now) * unit
            c[4] = f32(end - now) * unit
            c[5] = f32(end - best) * unit
            c[6] = f32(end - earliest) * unit
            c[7] = f32(max(state.arrival[row, i, p] - now, 0)) * unit
            c[8] = f32(max(state.processors[row, p, FREE] - now, 0)) * unit
            c[9] = f32(other - end) * unit
            c[10] = f32(state.tasks[row, t, CHOICES] - 1) * f32(0.25)
            c[11] = f32(behind) * unit
            c[12] = f32(job_path[n] - end - behind) * unit
            c[13] = f32(left) * unit
            c[14] = f32(left - least_left) * unit
            c[15] = f32(age) * unit
            c[16] = stretch
            c[17] = f32(work) * unit
            c[18] = progress
            c[19] = rank
            c[20] = f32(end_out - first_out) * f32(0.25)
            c[21] = f32(unlocks) * f32(0.25)
            c[22] = f32(state.jobs[row, n, SIBLINGS] - 1) * f32(0.25)
            c[23] = cluster[k, IDLE] / f32(cores)
            c[24] = cluster[k, NEXT_FREE]
            c[25] = cluster[k, DEMAND] / f32(cores) * unit
            c[26] = (cluster[k, RIVALS] - f32(is_fastest) - cluster[k, IDLE]) * f32(0.25)
            c[27] = cluster[k, COMING] / f32(cores) * unit
            c[28] = loss * unit
            c[29] = own * unit
            c[30] = is_fastest
            c[31] = f32(look[FASTEST_END] - end) * unit
            if binding == LATE:
                for order in range(2):
                    plan = look[order * PLAN_COLUMNS :]
                    c[32 + 2 * order] = plan[PLAN_NOW] == 1 and plan[PLAN_ON] == p
                    c[33 + 2 * order] = f32(plan[PLAN_END] - end) * unit
            else:
                c[32] = end == earliest
                c[33] = f32(earliest - end) * unit
                c[34] = work == least_work and end == best
                c[35] = 0
            c[36] = cluster[k, GENERAL]
            c[37] = f32(work - least_work) * unit
            a += 1
    node_state = observation.node_state[row]
    idle = f32(0)
    for k in range(state.sizes[row, CLUSTERS]):
        idle += cluster[k, IDLE]
        node_state[cluster_node + k, 0] = cluster[k, IDLE] * f32(0.125)
        node_state[cluster_node + k, 1] = cluster[k, FIRST_FREE]
    g = observation.globals[row]
    num_processors = state.sizes[row, PROCESSORS]
    g[0] = f32(totals[IN_SYSTEM]) * f32(0.125)
    cap = state.sizes[row, CAP]
    g[1] = f32(totals[IN_SYSTEM]) / f32(cap) if cap else f32(0)
    g[2] = cap > 0
    g[3] = f32(totals[READY]) * f32(0.125)
    g[4] = idle / f32(num_processors)
    g[5] = ready_work * unit / f32(num_processors)
    g[6] = f32(next_end - now) * unit if next_end < _NEVER else f32(0)
    last_entry = state.jobs[row, totals[NEXT_JOB] - 1, ENTERED]
    g[7] = f32(last_entry) / f32(totals[NEXT_JOB]) * unit
    g[8] = f32(now - last_entry) * unit
    g[9] = state.scale[row, 2]
    g[10] = f32(num_processors) / f32(16)
    g[11] = f32(totals[READY] - ready_count) * f32(0.125)


# ---------------------------------------------------------------------- steps


@njit(cache=True, error_model="numpy", _nrt=False)
def _step_row(state, observation, row, action, binding, listing, terminated):
    """One decision; returns the reward."""
    before = state.totals[row, BOUND]
    if action > 0:
        chosen = state.candidates[row, action]
        _bind(state, observation, row, chosen[PLACE], chosen[PROCESSOR], chosen[FINISH])
    _advance(state, observation, row, action == 0, binding, listing)
    _observe(state, observation, row, binding)
    terminated[row] = state.totals[row, ENDED] == 1
    return (before - state.totals[row, BOUND]) * state.scale[row, 1]


@njit(cache=True, error_model="numpy", _nrt=False)
def step(state, observation, actions, rewards, terminated, binding, listing):
    """Apply ``actions`` to every row (-1: leave it), see ``Problem.step``."""
    for row in range(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], binding, listing, terminated
            )


@njit(cache=True, error_model="numpy", _nrt=False, parallel=True)
def step_parallel(state, observation, actions, rewards, terminated, binding, listing):
    """The same with rows shared among threads."""
    for row in prange(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], binding, listing, terminated
            )
