"""Numba kernels of LLM request routing: load, advance the cluster, decide, observe.

A replica works in iterations. When it is idle and has requests it begins one:

1. Every running request whose prompt is done decodes one token, in the order of admission. A token
   that begins a new block of memory takes one; when none is left, the request admitted last is
   preempted until there is: its memory is freed, it returns to the queue, and its prompt with
   everything generated must be processed again (recompute, as in vLLM).
2. The rest of the token budget goes to prompts (chunked prefill), to running requests first.
3. Unless something was preempted, requests are admitted from the queue while budget, batch and
   memory allow: the whole prompt must fit, the watermark stays free. The first that does not fit
   stops admission.

The iteration takes the time of :mod:`makespan.envs.routing.hardware`. At its end each decoded
request has one token more, and a prompt that is complete yields the next token (the first one,
or after recompute the one that was due). A request with all its tokens leaves.

With the prefix cache, blocks of a prompt become shared when its prefill ends; they stay after the
request has left and are evicted, least recently used first, when memory is needed.

At one instant the order is: iterations end (by replica), deliveries, reports, decisions (finished
prefills, held requests, arrivals), then idle replicas begin iterations.

A decision sends one request to a replica or holds it: candidate 0 is hold, candidate 1 + r is
replica r. The router sees replicas as of their last report, and response lengths only as predicted.
What it has sent since that report it adds itself. It keeps its own record of what the prefix caches
hold and hears of evictions at once, so that the overlap with a cache is never old.

The features rest on a projection: what would become of a replica if nothing else arrived and the
predictions were true, computed event by event instead of iteration by iteration. The marginal cost
of a candidate is the sum of all predicted latencies with the request minus the sum without.

All kernels are in this one file because numba's cache looks at no other for changes.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

FCFS, SJF, SRPT, MLFQ, VTC, DLPM = range(6)
#: Orders of the queue at a replica, see :mod:`makespan.envs.routing.replay` for the definitions.
QUEUE_ORDERS = ("fcfs", "sjf", "srpt", "mlfq", "vtc", "dlpm")

#: For what only kernels call: without the entries for Python, which take longer to compile than the
#: functions themselves, since each would unpack the whole state.
_inner = njit(
    cache=True,
    error_model="numpy",
    _nrt=False,
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)

INTEGRAL_REWARD, PROJECTED_REWARD, AWARE_REWARD, GUIDED_REWARD = range(4)
#: How the cost of an episode is spread over its decisions. ``"integral"``: as time passes, by the
#: number of requests in the system. ``"projected"``: as soon as it can be foreseen; the predicted
#: latencies left are added, the sum stays the same (potential-based shaping, Ng et al., ICML 1999).
#: ``"workload-aware"`` and ``"workload-guided"`` (Jain et al., arXiv 2408.13510): the integral and,
#: for each request sent, what :func:`_mixing` of its replica lacks to the best one's, over the
#: number of requests; the guided one fades from episode to episode.
REWARDS = ("integral", "projected", "workload-aware", "workload-guided")

#: Fading of the guidance: episode k of a row counts it exp(-FADING k) times (their beta_d).
FADING = 0.5
#: Seconds by which a request may lengthen an iteration without penalty (their heavy prompt).
HEAVY_S = 0.5

#: Weight of an output token against an input token in the fair orders (Sheng et al., OSDI 2024).
OUTPUT_WEIGHT = 2.0
#: Tokens a client may use before others take their turn under "dlpm".
DLPM_QUANTUM = 2048.0
#: Seconds in the queue after which "mlfq" moves a request to the first level.
STARVATION_S = 30.0

#: Node types, in the order of their index.
ROUTER, REQUEST, REPLICA = range(3)
NODE_TYPES = ("router", "request", "replica")
EDGE_TYPES = ("routes", "candidate")
NODE_FEATURES = (
    "decode_speed",  # fleet mean iteration time of 32 decodes after 512 tokens over the replica's
    "prefill_speed",  # the same for a full budget of prompt
    "kv_capacity",  # over the fleet mean
    "batch",  # largest, / 128
    "prefill_only",
    "decode_only",
    "replicas",  # of the router: number / 8
)
NODE_STATE_FEATURES = (
    "running",  # / largest batch
    "waiting",  # / 16; of the router: held requests
    "kv_used",  # share
    "overlap",  # share of the request's prompt that is cached there
)
EDGE_FEATURES = ("decode_speed",)
CANDIDATE_ROLES = ("target", "request")
CANDIDATE_FEATURES = (
    # "relative": minus the smallest of the legal replicas; times in mean predicted latencies alone
    "hold",
    "marginal_relative",
    "marginal",  # predicted increase of the sum of latencies
    "own_relative",
    "own",  # predicted latency of the request from now
    "inflicted_relative",
    "inflicted",  # predicted delay of the others
    "first_token_relative",
    "first_token",  # predicted time to first token
    "best_marginal",  # 1 for the smallest
    "best_own",
    "running_relative",  # minus the mean, / 16
    "running",  # / largest batch
    "waiting_relative",  # minus the mean, / 8
    "waiting",  # / 8
    "tokens_relative",  # outstanding predicted tokens over the fleet mean, minus 1
    "batch_tokens",  # LMetric's product over the smallest, minus 1
    "kv_free",  # share of the memory, after the request's whole predicted length
    "kv_peak",  # predicted need of everything there with the request / memory
    "kv_peak_relative",  # minus the smallest
    "oldest_wait",  # time of the oldest request in the queue there
    "overlap",  # share of the prompt in the prefix cache
    "overlap_relative",  # minus the largest
    "speed",  # iteration time over the fleet mean, minus 1
    "drain",  # predicted time until everything there has ended
    "drain_relative",
    "progress_wait",  # of hold: share of the holds used
    "legal",
    # share of the memory: not in use, less the prompt tokens not processed there (of running
    # prefills, too, whose blocks are in use already) and the request, whole as predicted
    "room",
    "fits",  # 1 when that is not negative; of hold: when some replica has room
    "pending",  # prompt tokens not processed there / token budget / 8; of hold: the least
)
GLOBAL_FEATURES = (
    "held",  # requests at the router / 8
    "running",  # a replica / 16
    "waiting",  # a replica / 8
    "kv_used",  # mean share
    "kv_used_min",
    "prompt",  # tokens / token budget
    "predicted",  # tokens / 256
    "alone",  # predicted latency alone, in its mean
    "marginal_min",
    "own_min",
    "rate",  # arrivals in a mean latency alone, a replica
    "waited",  # of the request so far
    "can_hold",
    "moving",  # 1 when a decode replica is to be chosen
    "speed_range",  # slowest over fastest replica, minus 1
    "replicas",  # / 8
    "idle_share",  # replicas with nothing to do
    "held_need",  # memory that the held requests need / all memory
    "held_shorter_need",  # the same of those with a shorter predicted latency alone
    "held_shorter",  # number of those / 8
    "hold",  # time until a held request is offered again
)

#: Columns of ``limits``.
BLOCKS, WATERMARK, BUDGET, BATCH, ROLE = range(5)
_UNIFIED, _PREFILL_ONLY, _DECODE_ONLY = range(3)
#: Columns of ``units``.
BLOCK_TOKENS, PREFIX_BLOCKS, PREFIX_TOKENS, MAX_HOLDS, HAS_PRIORITY, EPISODE = range(6)
#: Columns of ``seconds``.
HOLD_S, DELAY_S, STALE_S, TRANSFER_S, LOWER_BOUND, ALONE_SUM, GAP, GUIDANCE = range(8)
#: Columns of ``router``: heads and tails of linked lists of requests, -1 for none, and counters.
(
    NEXT_ARRIVAL,
    HELD_HEAD,
    HELD_TAIL,
    NUM_HELD,
    MOVE_HEAD,
    MOVE_TAIL,
    FLYING_HEAD,
    FLYING_TAIL,
    RELEASED,
    DECISION,
    MOVING,
    IN_SYSTEM,
    DONE,
) = range(13)
#: Columns of ``clock``: time, integral of requests in the system, latencies alone of those arrived,
#: and what rewards have been given for.
NOW, INTEGRAL, CREDIT, NEXT_REPORT, SPENT = range(5)
#: Columns of ``load``.
(
    NUM_RUNNING,
    NUM_WAITING,
    WAIT_HEAD,
    WAIT_TAIL,
    FREE,
    EVICTABLE,
    LRU_HEAD,
    LRU_TAIL,
    CACHED,
    DIRTY,
) = range(10)
#: Columns of ``report``: what a replica last said.
(
    R_RUNNING,
    R_WAITING,
    R_TOKENS,  # outstanding tokens with predicted responses
    R_PROMPTS,  # outstanding prompt tokens, and one for each response
    R_TRUE,  # outstanding tokens with true responses: hidden, for clairvoyant references
    R_PENDING,  # prompt tokens not processed
    R_USED,  # blocks in use
    R_HEAD,  # blocks that the first in the queue needs
    R_OLDEST,  # when the oldest in the queue was sent
    R_CACHED,  # prefix blocks in the cache
    R_START,  # when the current iteration ends
    R_SUM,  # predicted sum of times of completion
    R_LAST,  # predicted time of the last completion
    R_CONTEXT,  # tokens of context and of predicted responses of all
    R_ENTRIES,
    R_SORTED,  # of the entries those that decode, sorted by tokens left
) = range(16)
#: Columns of ``figures``: what a decision may rest on.
(
    V_LEGAL,
    V_RUNNING,
    V_WAITING,
    V_TOKENS,
    V_PROMPTS,
    V_TRUE,
    V_PENDING,
    V_USED,
    V_BLOCKS,
    V_HEAD,
    V_CACHED,
    V_OVERLAP,  # tokens
    V_MARGINAL,
    V_OWN,
    V_FIRST,
    V_NEED,  # blocks of the request's prompt
    V_ROOM,  # blocks of the feature "room"; what has moved and waits to decode counts nothing
) = range(17)
_NEVER = np.inf


class State(NamedTuple):
    """Arrays of a batch of B clusters.

    N, R, X, C, H: requests, replicas, largest batch, clients, distinct prefix blocks; E = X + N.
    """

    # the instance
    sizes: NDArray[np.int64]  # (B, 4) requests, replicas, clients, prefix blocks
    arrival: NDArray[np.float64]  # (B, N)
    prompt: NDArray[np.int64]  # (B, N)
    output: NDArray[np.int64]  # (B, N)
    predicted: NDArray[np.int64]  # (B, N)
    max_tokens: NDArray[np.int64]  # (B, N) limit of the response
    client: NDArray[np.int64]  # (B, N)
    priority: NDArray[np.int64]  # (B, N)
    prefix_offsets: NDArray[np.int64]  # (B, N + 1)
    prefixes: NDArray[np.int64]  # (B, references)
    alone: NDArray[np.float64]  # (B, N) least latency, s
    engine: NDArray[np.float64]  # (B, R, 7)
    mean_engine: NDArray[np.float64]  # (B, 8) and the mean token budget
    limits: NDArray[np.int64]  # (B, R, 5)
    units: NDArray[np.int64]  # (B, 6)
    seconds: NDArray[np.float64]  # (B, 8); the last is a weight
    # requests
    computed: NDArray[np.int64]  # (B, N) tokens in memory
    target: NDArray[np.int64]  # (B, N) tokens that must be in memory before the next can come
    generated: NDArray[np.int64]  # (B, N)
    blocks: NDArray[np.int64]  # (B, N) blocks of its own
    shared: NDArray[np.int64]  # (B, N) prefix blocks of the cache in use
    sequence: NDArray[np.int64]  # (B, N) rank of the release
    link: NDArray[np.int64]  # (B, N) the next of the list that the request is in
    replica: NDArray[np.int64]  # (B, N) -1 before the release
    decoder: NDArray[np.int64]  # (B, N) second replica with disaggregated pools, -1 for none
    holds: NDArray[np.int64]  # (B, N)
    preemptions: NDArray[np.int64]  # (B, N)
    cached: NDArray[np.int64]  # (B, N) prompt tokens found in the cache at the first admission
    level: NDArray[np.int64]  # (B, N) of the multi-level queue
    attained: NDArray[np.float64]  # (B, N) seconds of service in the level
    due: NDArray[np.float64]  # (B, N) when a held request is offered, one in flight arrives
    enqueued: NDArray[np.float64]  # (B, N) at the replica
    release: NDArray[np.float64]  # (B, N)
    moved: NDArray[np.float64]  # (B, N) release to the second replica
    first_token: NDArray[np.float64]  # (B, N)
    end: NDArray[np.float64]  # (B, N)
    # router and replicas
    router: NDArray[np.int64]  # (B, 13)
    clock: NDArray[np.float64]  # (B, 5)
    iteration_end: NDArray[np.float64]  # (B, R) infinite when idle
    duration: NDArray[np.float64]  # (B, R) of the current iteration
    load: NDArray[np.int64]  # (B, R, 10)
    running: NDArray[np.int64]  # (B, R, X) in order of admission
    chunk: NDArray[np.int64]  # (B, R, X) tokens that the current iteration processes
    references: NDArray[np.int64]  # (B, R, H) users of a prefix block, -1 when not cached
    lru_before: NDArray[np.int64]  # (B, R, H)
    lru_after: NDArray[np.int64]  # (B, R, H)
    counter: NDArray[np.float64]  # (B, R, C) service (vtc) or deficit (dlpm)
    # what the router knows
    report: NDArray[np.float64]  # (B, R, 16)
    entry_left: NDArray[np.int64]  # (B, R, E) prompt tokens left
    entry_rest: NDArray[np.int64]  # (B, R, E) predicted tokens left
    entry_context: NDArray[np.int64]  # (B, R, E) tokens in memory
    entry_ready: NDArray[np.float64]  # (B, R, E) when it is there, s; 0: already
    figures: NDArray[np.float64]  # (B, R, 17)
    drain: NDArray[np.float64]  # (B, R)
    estimate: NDArray[np.float64]  # (B, N) least marginal cost when last decided about
    # scratch of the projection
    trial_finish: NDArray[np.int64]  # (B, E + 1)
    trial_context: NDArray[np.int64]  # (B, E + 1)


# ---------------------------------------------------------------- prefix cache and memory


@_inner
def _unlink(state, row, r, h):
    """Take a prefix block out of the list of unused ones."""
    load = state.load[row, r]
    before, after = state.lru_before[row, r, h], state.lru_after[row, r, h]
    if before < 0:
        load[LRU_HEAD] = after
    else:
        state.lru_after[row, r, before] = after
    if after < 0:
        load[LRU_TAIL] = before
    else:
        state.lru_before[row, r, after] = before
    load[EVICTABLE] -= 1


@_inner
def _use(state, row, r, h):
    """One more user of a cached prefix block."""
    if state.references[row, r, h] == 0:
        _unlink(state, row, r, h)
    state.references[row, r, h] += 1


@_inner
def _leave(state, row, r, h):
    """One user less; a block without users becomes the most recently used of those."""
    state.references[row, r, h] -= 1
    if state.references[row, r, h] > 0:
        return
    load = state.load[row, r]
    last = load[LRU_TAIL]
    state.lru_before[row, r, h] = last
    state.lru_after[row, r, h] = -1
    if last < 0:
        load[LRU_HEAD] = h
    else:
        state.lru_after[row, r, last] = h
    load[LRU_TAIL] = h
    load[EVICTABLE] += 1


@_inner
def _take(state, row, r, count):
    """Take blocks, evicting unused prefix blocks as needed; the caller knows there are enough."""
    load = state.load[row, r]
    while load[FREE] < count:
        h = load[LRU_HEAD]
        _unlink(state, row, r, h)
        state.references[row, r, h] = -1
        load[CACHED] -= 1
        load[FREE] += state.units[row, PREFIX_BLOCKS]
    load[FREE] -= count


@_inner
def _match(state, row, r, i):
    """Leading prefix blocks of request ``i`` in the cache of ``r``; the last token is computed."""
    units = state.units[row]
    if units[PREFIX_BLOCKS] == 0:
        return 0
    first = state.prefix_offsets[row, i]
    most = min(
        state.prefix_offsets[row, i + 1] - first,
        (state.prompt[row, i] - 1) // units[PREFIX_TOKENS],
    )
    found = 0
    while found < most and state.references[row, r, state.prefixes[row, first + found]] >= 0:
        found += 1
    return found


@_inner
def _publish(state, row, r, i):
    """Share the prefix blocks of a prompt whose prefill has ended."""
    units = state.units[row]
    if units[PREFIX_BLOCKS] == 0:
        return
    first, last = state.prefix_offsets[row, i], state.prefix_offsets[row, i + 1]
    for k in range(first + state.shared[row, i], last):
        h = state.prefixes[row, k]
        state.blocks[row, i] -= units[PREFIX_BLOCKS]
        if state.references[row, r, h] >= 0:  # another copy came first: ours is freed
            state.load[row, r, FREE] += units[PREFIX_BLOCKS]
            _use(state, row, r, h)
        else:
            state.references[row, r, h] = 1
            state.load[row, r, CACHED] += 1
    state.shared[row, i] = last - first


@_inner
def _free_memory(state, row, r, i):
    """Give back everything that request ``i`` holds; deeper prefix blocks age first."""
    state.load[row, r, FREE] += state.blocks[row, i]
    state.blocks[row, i] = 0
    first = state.prefix_offsets[row, i]
    for k in range(first + state.shared[row, i] - 1, first - 1, -1):
        _leave(state, row, r, state.prefixes[row, k])
    state.shared[row, i] = 0
    state.computed[row, i] = 0


# ---------------------------------------------------------------- the queue of a replica


@_inner
def _enqueue(state, row, r, i, queue):
    """Put request ``i`` into the queue of replica ``r``, which is in order of release."""
    load = state.load[row, r]
    if queue == VTC:
        _lift(state, row, r, i)
    rank = state.sequence[row, i]
    tail = load[WAIT_TAIL]
    if tail >= 0 and state.sequence[row, tail] < rank:
        state.link[row, tail] = i
        state.link[row, i] = -1
        load[WAIT_TAIL] = i
    else:
        before, after = -1, load[WAIT_HEAD]
        while after >= 0 and state.sequence[row, after] < rank:
            before, after = after, state.link[row, after]
        state.link[row, i] = after
        if before < 0:
            load[WAIT_HEAD] = i
        else:
            state.link[row, before] = i
        if after < 0:
            load[WAIT_TAIL] = i
    load[NUM_WAITING] += 1
    load[DIRTY] = 1
    state.enqueued[row, i] = state.clock[row, NOW]


@_inner
def _lift(state, row, r, i):
    """VTC: a client that comes back has at least the least service of those that wait."""
    client = state.client[row, i]
    least = _NEVER
    other = state.load[row, r, WAIT_HEAD]
    while other >= 0:
        if state.client[row, other] == client:
            return
        least = min(least, state.counter[row, r, state.client[row, other]])
        other = state.link[row, other]
    if least < _NEVER:
        state.counter[row, r, client] = max(state.counter[row, r, client], least)


@_inner
def _first_level(state, row, r, i):
    """MLFQ: the first level whose quantum covers the prefill (skip-join)."""
    engine, limits = state.engine[row, r], state.limits[row, r]
    prompt = state.prompt[row, i]
    chunks = (prompt + limits[BUDGET] - 1) // limits[BUDGET]
    time = chunks * engine[0] + engine[1] * prompt
    level, quantum = 0, engine[0]
    while quantum < time:
        level += 1
        quantum *= 2
    return level


@_inner
def _key(state, row, r, i, queue):
    """What a queue order sorts by, the lowest first; ties go to the earlier release."""
    if queue == SJF:
        return float(state.predicted[row, i])
    if queue == SRPT:
        return float(max(state.predicted[row, i] - state.generated[row, i], 1))
    if queue == MLFQ:
        return float(state.level[row, i])
    if queue == VTC:
        return state.counter[row, r, state.client[row, i]]
    if queue == DLPM:
        if state.counter[row, r, state.client[row, i]] <= 0:
            return 1.0
        return -float(_match(state, row, r, i))
    return 0.0


@_inner
def _select(state, row, r, queue):
    """The next request to admit and the one before it in the list; the queue is not empty."""
    head = state.load[row, r, WAIT_HEAD]
    if queue == FCFS and state.units[row, HAS_PRIORITY] == 0:
        return head, -1
    if queue == DLPM:
        _refill(state, row, r)
    now = state.clock[row, NOW]
    best, best_before, best_priority, best_key = -1, -1, 0, 0.0
    before, i = -1, head
    while i >= 0:
        if queue == MLFQ and now - state.enqueued[row, i] > STARVATION_S:
            state.level[row, i] = 0
        priority, key = state.priority[row, i], _key(state, row, r, i, queue)
        if best < 0 or priority > best_priority or (priority == best_priority and key < best_key):
            best, best_before, best_priority, best_key = i, before, priority, key
        before, i = i, state.link[row, i]
    return best, best_before


@_inner
def _refill(state, row, r):
    """DLPM: while no waiting client has credit, each waiting client gets a quantum."""
    while True:
        i = state.load[row, r, WAIT_HEAD]
        while i >= 0:
            if state.counter[row, r, state.client[row, i]] > 0:
                return
            i = state.link[row, i]
        for client in range(state.sizes[row, 2]):
            i = state.load[row, r, WAIT_HEAD]
            while i >= 0 and state.client[row, i] != client:
                i = state.link[row, i]
            if i >= 0:
                state.counter[row, r, client] += DLPM_QUANTUM


@_inner
def _dequeue(state, row, r, i, before):
    load = state.load[row, r]
    after = state.link[row, i]
    if before < 0:
        load[WAIT_HEAD] = after
    else:
        state.link[row, before] = after
    if load[WAIT_TAIL] == i:
        load[WAIT_TAIL] = before
    load[NUM_WAITING] -= 1


# ---------------------------------------------------------------- iterations


@_inner
def _preempt(state, row, r, j, queue):
    """Send the running request at place ``j`` back to the queue, to be recomputed."""
    load, running = state.load[row, r], state.running[row, r]
    i = running[j]
    for k in range(j, load[NUM_RUNNING] - 1):
        running[k] = running[k + 1]
    load[NUM_RUNNING] -= 1
    _free_memory(state, row, r, i)
    state.target[row, i] = state.prompt[row, i] + state.generated[row, i]
    state.preemptions[row, i] += 1
    _enqueue(state, row, r, i, queue)


@_inner
def _demand(state, row, r, i, match):
    """Blocks that request ``i`` needs at admission besides ``match`` cached prefix blocks."""
    tokens = max(state.target[row, i], state.computed[row, i] + 1)
    if state.computed[row, i] == 0:
        tokens = state.target[row, i] - match * state.units[row, PREFIX_TOKENS]
    block = state.units[row, BLOCK_TOKENS]
    return (tokens + block - 1) // block


@_inner
def _fits(state, row, r, i, match):
    """Whether batch and memory allow to admit request ``i``."""
    load, limits = state.load[row, r], state.limits[row, r]
    if load[NUM_RUNNING] >= limits[BATCH]:
        return False
    unused = load[EVICTABLE]
    first = state.prefix_offsets[row, i]
    for k in range(match):
        unused -= state.references[row, r, state.prefixes[row, first + k]] == 0
    available = load[FREE] + unused * state.units[row, PREFIX_BLOCKS]
    return available - _demand(state, row, r, i, match) >= limits[WATERMARK]


@_inner
def _make_way(state, row, r, queue):
    """SRPT and MLFQ: preempt running requests that come after a waiting one that does not fit."""
    load, running = state.load[row, r], state.running[row, r]
    while load[NUM_WAITING] > 0:
        i, _ = _select(state, row, r, queue)
        match = _match(state, row, r, i) if state.computed[row, i] == 0 else 0
        if _fits(state, row, r, i, match):
            break
        worst, worst_priority, worst_key = -1, 0, 0.0
        for j in range(load[NUM_RUNNING]):
            other = running[j]
            priority, key = state.priority[row, other], _key(state, row, r, other, queue)
            later = priority < worst_priority or (priority == worst_priority and key >= worst_key)
            if worst < 0 or later:
                worst, worst_priority, worst_key = j, priority, key
        if worst < 0:
            break
        priority, key = state.priority[row, i], _key(state, row, r, i, queue)
        if worst_priority > priority or (worst_priority == priority and worst_key <= key):
            break
        _preempt(state, row, r, worst, queue)


@_inner
def _start_iteration(state, row, r, queue):
    """Form a batch and begin to process it."""
    load, limits = state.load[row, r], state.limits[row, r]
    engine = state.engine[row, r]
    running, chunk = state.running[row, r], state.chunk[row, r]
    computed, target = state.computed[row], state.target[row]
    blocks, shared = state.blocks[row], state.shared[row]
    block, prefix_tokens = state.units[row, BLOCK_TOKENS], state.units[row, PREFIX_TOKENS]
    preempted = False
    if queue in (SRPT, MLFQ) and load[NUM_WAITING] > 0:
        _make_way(state, row, r, queue)
    decodes, context, prefill, square = 0, 0, 0, 0.0
    j = 0
    while j < load[NUM_RUNNING]:
        i = running[j]
        chunk[j] = 0
        if computed[i] >= target[i]:
            if computed[i] - shared[i] * prefix_tokens >= blocks[i] * block:
                while load[FREE] + load[EVICTABLE] < 1:
                    preempted = True
                    last = load[NUM_RUNNING] - 1
                    _preempt(state, row, r, last, queue)
                    if last == j:
                        break
                if j == load[NUM_RUNNING]:
                    break  # the request itself was the last
                _take(state, row, r, 1)
                blocks[i] += 1
            chunk[j] = 1
            decodes += 1
            context += computed[i]
        j += 1
    left = limits[BUDGET] - decodes
    for j in range(load[NUM_RUNNING]):
        i = running[j]
        if computed[i] < target[i]:
            part = min(left, target[i] - computed[i])
            chunk[j] = part
            left -= part
            prefill += part
            square += float(part) * part + 2.0 * part * computed[i]
    while not preempted and left > 0 and load[NUM_WAITING] > 0:
        i, before = _select(state, row, r, queue)
        match = _match(state, row, r, i) if computed[i] == 0 else 0
        if not _fits(state, row, r, i, match):
            break
        _dequeue(state, row, r, i, before)
        part = _admit(state, row, r, i, match, left, queue)
        left -= part
        if computed[i] < target[i]:
            prefill += part
            square += float(part) * part + 2.0 * part * computed[i]
        else:
            decodes += 1
            context += computed[i]
    tokens = prefill + decodes
    duration = (
        engine[0]
        + engine[1] * prefill
        + engine[2] * decodes
        + engine[3] * max(tokens - engine[4], 0.0)
        + engine[5] * context
        + engine[6] * square
    )
    state.duration[row, r] = duration
    state.iteration_end[row, r] = state.clock[row, NOW] + duration
    load[DIRTY] = 1


@_inner
def _admit(state, row, r, i, match, left, queue):
    """Give request ``i`` its memory and its first chunk of at most ``left``; returns the chunk."""
    load = state.load[row, r]
    first = state.prefix_offsets[row, i]
    demand = _demand(state, row, r, i, match)
    for k in range(match):
        _use(state, row, r, state.prefixes[row, first + k])
    _take(state, row, r, demand)
    state.blocks[row, i] = demand
    state.shared[row, i] = match
    if state.computed[row, i] == 0:
        state.computed[row, i] = match * state.units[row, PREFIX_TOKENS]
        if state.generated[row, i] == 0 and state.preemptions[row, i] == 0:
            state.cached[row, i] = state.computed[row, i]
            cost = float(state.target[row, i] - state.computed[row, i])
            if queue == VTC:
                state.counter[row, r, state.client[row, i]] += cost
            elif queue == DLPM:
                state.counter[row, r, state.client[row, i]] -= cost
    part = min(left, max(state.target[row, i] - state.computed[row, i], 1))
    state.running[row, r, load[NUM_RUNNING]] = i
    state.chunk[row, r, load[NUM_RUNNING]] = part
    load[NUM_RUNNING] += 1
    return part


@_inner
def _end_iteration(state, row, r, queue):
    """Count the tokens of the iteration that ends now; requests with all of theirs leave."""
    load, running, chunk = state.load[row, r], state.running[row, r], state.chunk[row, r]
    computed, target, generated = state.computed[row], state.target[row], state.generated[row]
    now = state.clock[row, NOW]
    kept = 0
    for j in range(load[NUM_RUNNING]):
        i = running[j]
        part = chunk[j]
        prompt_done = computed[i] >= target[i]
        computed[i] += part
        stays = True
        if queue == MLFQ and part > 0:
            _attain(state, row, r, i)
        if part > 0 and computed[i] >= target[i]:
            generated[i] += 1
            if queue == VTC:
                state.counter[row, r, state.client[row, i]] += OUTPUT_WEIGHT
            elif queue == DLPM:
                state.counter[row, r, state.client[row, i]] -= OUTPUT_WEIGHT
            if not prompt_done:
                _publish(state, row, r, i)
            if generated[i] == 1:
                state.first_token[row, i] = now
            if generated[i] == state.output[row, i]:
                stays = False
                state.end[row, i] = now
                _free_memory(state, row, r, i)
                state.router[row, DONE] += 1
                state.router[row, IN_SYSTEM] -= 1
            elif state.limits[row, r, ROLE] == _PREFILL_ONLY:
                stays = False
                _free_memory(state, row, r, i)
                _append(state, row, MOVE_HEAD, i)
        if stays:
            running[kept] = i
            kept += 1
    load[NUM_RUNNING] = kept
    load[DIRTY] = 1
    state.iteration_end[row, r] = _NEVER


@_inner
def _attain(state, row, r, i):
    """MLFQ: a request that has used the quantum of its level goes one down."""
    state.attained[row, i] += state.duration[row, r]
    if state.attained[row, i] >= state.engine[row, r, 0] * 2.0 ** state.level[row, i]:
        state.level[row, i] += 1
        state.attained[row, i] = 0.0


# ---------------------------------------------------------------- the router


@_inner
def _append(state, row, head, i):
    """Append to the list whose head and tail are the columns ``head`` and ``head + 1``."""
    router = state.router[row]
    state.link[row, i] = -1
    if router[head] < 0:
        router[head] = i
    else:
        state.link[row, router[head + 1]] = i
    router[head + 1] = i


@_inner
def _pop(state, row, head):
    """Take the first of a list."""
    router = state.router[row]
    i = router[head]
    router[head] = state.link[row, i]
    return i


@_inner
def _next_decision(state, row):
    """Whether a request is due now; it becomes the one to decide about."""
    router, now = state.router[row], state.clock[row, NOW]
    router[MOVING] = 0
    if router[MOVE_HEAD] >= 0:
        router[DECISION] = _pop(state, row, MOVE_HEAD)
        router[MOVING] = 1
        return True
    held = router[HELD_HEAD]
    if held >= 0 and state.due[row, held] <= now:
        router[DECISION] = _pop(state, row, HELD_HEAD)
        router[NUM_HELD] -= 1
        return True
    i = router[NEXT_ARRIVAL]
    if i < state.sizes[row, 0] and state.arrival[row, i] <= now:
        router[NEXT_ARRIVAL] += 1
        router[IN_SYSTEM] += 1
        router[DECISION] = i
        state.clock[row, CREDIT] += state.alone[row, i]
        _note_arrival(state, row, i)
        return True
    router[DECISION] = -1
    return False


@_inner
def _note_arrival(state, row, i):
    """Running figures of the stream: predicted latency alone, and the gap between arrivals."""
    seconds = state.seconds[row]
    seconds[ALONE_SUM] += _alone(state, row, i)
    if i > 0:
        gap = state.arrival[row, i] - state.arrival[row, i - 1]
        seconds[GAP] += (gap - seconds[GAP]) / min(i, 20)


@_inner
def _alone(state, row, i):
    """Predicted latency of a request alone on the mean replica."""
    engine = state.mean_engine[row]
    prompt, output = float(state.prompt[row, i]), float(state.predicted[row, i])
    chunks = np.ceil(prompt / engine[7])
    decode = engine[0] + engine[2] + engine[5] * (prompt + 0.5 * output)
    return chunks * engine[0] + (engine[1] + engine[6] * prompt) * prompt + (output - 1) * decode


@_inner
def _send(state, row, r, i, delay, queue):
    """On its way to a replica; without delay it is there."""
    state.due[row, i] = state.clock[row, NOW] + delay
    if delay <= 0:
        _enqueue(state, row, r, i, queue)
        return
    _append(state, row, FLYING_HEAD, i)
    state.load[row, r, DIRTY] = 1


@_inner
def _place(state, row, i):
    """The replica that a released request is at."""
    return state.decoder[row, i] if state.decoder[row, i] >= 0 else state.replica[row, i]


@_inner
def _deliver(state, row, queue):
    """Requests in flight that have arrived join their queues, in the order they were sent."""
    router, now = state.router[row], state.clock[row, NOW]
    before, i = -1, router[FLYING_HEAD]
    while i >= 0:
        after = state.link[row, i]
        if state.due[row, i] <= now:
            if before < 0:
                router[FLYING_HEAD] = after
            else:
                state.link[row, before] = after
            if after < 0:
                router[FLYING_TAIL] = before
            _enqueue(state, row, _place(state, row, i), i, queue)
        else:
            before = i
        i = after


@_inner
def _next_time(state, row):
    """Time of the next event; infinite when there is none."""
    router = state.router[row]
    time = _NEVER
    for r in range(state.sizes[row, 1]):
        time = min(time, state.iteration_end[row, r])
    if router[NEXT_ARRIVAL] < state.sizes[row, 0]:
        time = min(time, state.arrival[row, router[NEXT_ARRIVAL]])
    if router[HELD_HEAD] >= 0:
        time = min(time, state.due[row, router[HELD_HEAD]])
    i = router[FLYING_HEAD]
    while i >= 0:
        time = min(time, state.due[row, i])
        i = state.link[row, i]
    return time


@_inner
def _advance(state, row, queue):
    """Let time pass until there is something to decide; False when everything has ended."""
    clock = state.clock[row]
    stale = state.seconds[row, STALE_S]
    while not _next_decision(state, row):
        for r in range(state.sizes[row, 1]):
            load = state.load[row, r]
            work = load[NUM_RUNNING] + load[NUM_WAITING]
            if work > 0 and state.iteration_end[row, r] == _NEVER:
                _start_iteration(state, row, r, queue)
        time = _next_time(state, row)
        if time == _NEVER:
            return False
        if stale > 0:
            time = min(time, clock[NEXT_REPORT])
        clock[INTEGRAL] += state.router[row, IN_SYSTEM] * (time - clock[NOW])
        clock[NOW] = time
        for r in range(state.sizes[row, 1]):
            if state.iteration_end[row, r] <= time:
                _end_iteration(state, row, r, queue)
        if state.router[row, FLYING_HEAD] >= 0:
            _deliver(state, row, queue)
        if stale > 0 and time >= clock[NEXT_REPORT]:
            clock[NEXT_REPORT] += stale
            for r in range(state.sizes[row, 1]):
                _write_report(state, row, r)
    return True


@_inner
def _decide(state, row, action, queue):
    """Carry out the decision about the current request."""
    router, clock = state.router[row], state.clock[row]
    i = router[DECISION]
    r = action - 1
    delay = state.seconds[row, DELAY_S]
    if router[MOVING]:
        state.decoder[row, i] = r
        state.moved[row, i] = clock[NOW]
        tokens = state.target[row, i]
        state.computed[row, i] = tokens
        delay += tokens * state.seconds[row, TRANSFER_S]
    elif action == 0:
        state.holds[row, i] += 1
        state.due[row, i] = clock[NOW] + state.seconds[row, HOLD_S]
        _append(state, row, HELD_HEAD, i)
        router[NUM_HELD] += 1
        return
    else:
        state.replica[row, i] = r
        state.release[row, i] = clock[NOW]
        state.sequence[row, i] = router[RELEASED]
        state.target[row, i] = state.prompt[row, i]
        router[RELEASED] += 1
    if queue == MLFQ:
        state.level[row, i] = _first_level(state, row, r, i)
        state.attained[row, i] = 0.0
    _send(state, row, r, i, delay, queue)
    if state.seconds[row, STALE_S] > 0:
        _note_sent(state, row, r, i)


# ---------------------------------------------------------------- what the router knows


@_inner
def _rest(state, row, i, generated):
    """Predicted tokens left, but at least one and an eighth of those generated.

    That least rest takes over at eight ninths of the prediction, not where it is reached: near its
    end a response is expected to go on even when the prediction is true.
    """
    return max(state.predicted[row, i] - generated, 1 + generated // 8)


@_inner
def _rest_at(state, row, r, i, generated):
    """The same at a replica: one that only does prefills has nothing to do with the rest."""
    if state.limits[row, r, ROLE] == _PREFILL_ONLY:
        return 1
    return _rest(state, row, i, generated)


@_inner
def _true_rest_at(state, row, r, i, generated):
    """The same as it will be."""
    if state.limits[row, r, ROLE] == _PREFILL_ONLY:
        return 1
    return state.output[row, i] - generated


@_inner
def _add_entry(state, row, r, n, left, rest, context, ready):
    state.entry_ready[row, r, n] = ready
    state.entry_left[row, r, n] = left
    state.entry_rest[row, r, n] = rest
    state.entry_context[row, r, n] = context
    report = state.report[row, r]
    report[R_TOKENS] += left + rest
    report[R_PROMPTS] += left + 1
    report[R_PENDING] += left
    report[R_CONTEXT] += context + left + rest


@_inner
def _add_waiting(state, row, r, i, n, ready):
    """A request that waits at a replica, or will from the time ``ready`` on."""
    left = state.target[row, i] - state.computed[row, i]
    if state.computed[row, i] == 0:
        left -= _match(state, row, r, i) * state.units[row, PREFIX_TOKENS]
    left = max(left, 0)
    context = state.target[row, i] - left
    rest = _rest_at(state, row, r, i, state.generated[row, i])
    _add_entry(state, row, r, n, left, rest, context, ready)
    report = state.report[row, r]
    report[R_TRUE] += left + _true_rest_at(state, row, r, i, state.generated[row, i])
    report[R_WAITING] += 1
    report[R_OLDEST] = min(report[R_OLDEST], state.release[row, i])
    if report[R_WAITING] == 1:
        block = state.units[row, BLOCK_TOKENS]
        report[R_HEAD] = (state.target[row, i] + block - 1) // block


@_inner
def _write_report(state, row, r):
    """State of a replica as of the end of its current iteration, responses as predicted."""
    load, report = state.load[row, r], state.report[row, r]
    running, chunk = state.running[row, r], state.chunk[row, r]
    report[:] = 0
    report[R_OLDEST] = _NEVER
    busy = state.iteration_end[row, r] < _NEVER
    report[R_START] = state.iteration_end[row, r] if busy else state.clock[row, NOW]
    rest = state.entry_rest[row, r]
    count = 0
    for j in range(load[NUM_RUNNING]):
        i = running[j]
        computed = state.computed[row, i] + (chunk[j] if busy else 0)
        if computed < state.target[row, i]:
            continue
        emitted = state.generated[row, i] + (1 if busy and chunk[j] > 0 else 0)
        tokens = _rest_at(state, row, r, i, emitted)
        at = count  # keep those that decode sorted by tokens left
        while at > 0 and rest[at - 1] > tokens:
            rest[at] = rest[at - 1]
            state.entry_context[row, r, at] = state.entry_context[row, r, at - 1]
            state.entry_left[row, r, at] = 0
            at -= 1
        _add_entry(state, row, r, at, 0, tokens, computed, 0.0)
        report[R_TRUE] += _true_rest_at(state, row, r, i, emitted)
        count += 1
    report[R_SORTED] = count
    for j in range(load[NUM_RUNNING]):
        i = running[j]
        computed = state.computed[row, i] + (chunk[j] if busy else 0)
        left = state.target[row, i] - computed
        if left > 0:
            tokens = _rest_at(state, row, r, i, state.generated[row, i])
            _add_entry(state, row, r, count, left, tokens, computed, 0.0)
            report[R_TRUE] += left + _true_rest_at(state, row, r, i, state.generated[row, i])
            count += 1
    report[R_RUNNING] = load[NUM_RUNNING]
    i = load[WAIT_HEAD]
    while i >= 0:
        _add_waiting(state, row, r, i, count, 0.0)
        count += 1
        i = state.link[row, i]
    i = state.router[row, FLYING_HEAD]
    while i >= 0:
        if _place(state, row, i) == r:
            _add_waiting(state, row, r, i, count, state.due[row, i])
            count += 1
        i = state.link[row, i]
    prefix_blocks = state.units[row, PREFIX_BLOCKS]
    unused = load[EVICTABLE] * prefix_blocks
    report[R_USED] = state.limits[row, r, BLOCKS] - load[FREE] - unused
    report[R_ENTRIES] = count
    report[R_CACHED] = load[CACHED]
    load[DIRTY] = 0
    total, last, _, _ = _project(state, row, r, -1, 0, 0, 0)
    report[R_SUM] = total
    report[R_LAST] = last


@_inner
def _note_sent(state, row, r, i):
    """Between reports the router adds what it has sent itself, less what is cached there now."""
    report = state.report[row, r]
    _add_waiting(state, row, r, i, int(report[R_ENTRIES]), state.due[row, i])
    report[R_ENTRIES] += 1
    total, last, _, _ = _project(state, row, r, -1, 0, 0, 0)
    report[R_SUM] = total
    report[R_LAST] = last


@_inner
def _project(state, row, r, request, left, rest, context):
    """What becomes of replica ``r`` if nothing else comes and predictions are true.

    From an older report on, what has happened since is projected as well; the added request is
    there from now on.

    Args:
        state, row, r: the replica, as reported.
        request: -1, or a request to add at the end of its queue.
        left, rest, context: of that request, see the entries.

    Returns:
        the sum of all times of completion, the last of them, and for the added request its times
        of first token and completion.
    """
    report, engine, limits = state.report[row, r], state.engine[row, r], state.limits[row, r]
    entry_left, entry_rest = state.entry_left[row, r], state.entry_rest[row, r]
    entry_context, entry_ready = state.entry_context[row, r], state.entry_ready[row, r]
    now = state.clock[row, NOW] + state.seconds[row, DELAY_S]
    finish, start_context = state.trial_finish[row], state.trial_context[row]
    capacity = (limits[BLOCKS] - limits[WATERMARK]) * state.units[row, BLOCK_TOKENS]
    time = report[R_START]
    entries = int(report[R_ENTRIES])
    head, tail = 0, int(report[R_SORTED])
    in_memory = 0
    for n in range(tail):
        finish[n] = entry_rest[n]
        start_context[n] = entry_context[n]
        in_memory += entry_context[n]
    waiting = tail
    end = entries + (1 if request >= 0 else 0)
    done = 0  # iterations so far
    total, first_token, completion, own = 0.0, 0.0, 0.0, -1
    while head < tail or waiting < end:
        decodes = tail - head
        room = limits[BUDGET] - decodes
        prefill, square, joining = 0, 0.0, 0
        while waiting + joining < end and decodes + joining < limits[BATCH]:
            n = waiting + joining
            if time < (now if n == entries else entry_ready[n]):
                break
            tokens = left if n == entries else entry_left[n]
            before = context if n == entries else entry_context[n]
            if joining > 0 and prefill + tokens > room:
                break
            if in_memory + prefill + tokens + before > capacity and decodes + joining > 0:
                break
            prefill += tokens
            square += float(tokens) * tokens + 2.0 * tokens * before
            joining += 1
        ready = 0.0
        if waiting + joining < end:
            ready = now if waiting + joining == entries else entry_ready[waiting + joining]
        if decodes + joining == 0:
            time = ready
            continue
        steps = finish[head] - done if decodes > 0 else 1
        excess = 0.0
        if joining > 0:
            steps = max((prefill + room - 1) // max(room, 1), 1)
            excess = max(prefill / steps + decodes - engine[4], 0.0)
        else:
            excess = max(decodes - engine[4], 0.0)
            if time < ready:
                one = engine[0] + engine[2] * decodes + engine[3] * excess + engine[5] * in_memory
                steps = min(steps, max(int(np.ceil((ready - time) / one)), 1))
        duration = (
            steps
            * (
                engine[0]
                + engine[2] * decodes
                + engine[3] * excess
                + engine[5] * (in_memory + 0.5 * decodes * (steps - 1))
            )
            + engine[1] * prefill
            + engine[6] * square
        )
        while head < tail and finish[head] <= done + steps:
            at = time + duration * (finish[head] - done) / steps
            total += at
            if finish[head] == own:
                completion = at
            in_memory -= start_context[head] + done
            head += 1
        in_memory += steps * (tail - head)
        time += duration
        done += steps
        for n in range(waiting, waiting + joining):
            added = n == entries
            tokens = (rest if added else entry_rest[n]) - 1
            memory = left + context if added else entry_left[n] + entry_context[n]
            if added:
                first_token = time
            if tokens <= 0:
                total += time
                if added:
                    completion = time
                continue
            at = tail
            while at > head and finish[at - 1] > done + tokens:
                finish[at] = finish[at - 1]
                start_context[at] = start_context[at - 1]
                at -= 1
            finish[at] = done + tokens
            start_context[at] = memory - done
            in_memory += memory
            tail += 1
            if added:
                own = done + tokens
        waiting += joining
    return total, time, first_token, completion


# ---------------------------------------------------------------- observation


@_inner
def _look(state, row):
    """Fill ``figures`` for the current decision."""
    router, now = state.router[row], state.clock[row, NOW]
    i = router[DECISION]
    block = state.units[row, BLOCK_TOKENS]
    stale = state.seconds[row, STALE_S] > 0
    whole = (state.prompt[row, i] + state.max_tokens[row, i] + block - 1) // block
    for r in range(state.sizes[row, 1]):
        if state.load[row, r, DIRTY] and not stale:
            _write_report(state, row, r)
        limits, report, view = state.limits[row, r], state.report[row, r], state.figures[row, r]
        unable = _PREFILL_ONLY if router[MOVING] else _DECODE_ONLY
        view[V_LEGAL] = limits[ROLE] != unable and whole <= limits[BLOCKS] - limits[WATERMARK]
        view[V_RUNNING] = report[R_RUNNING]
        view[V_WAITING] = report[R_WAITING]
        view[V_TOKENS] = report[R_TOKENS]
        view[V_PROMPTS] = report[R_PROMPTS]
        view[V_TRUE] = report[R_TRUE]
        view[V_PENDING] = report[R_PENDING]
        view[V_USED] = report[R_USED]
        view[V_BLOCKS] = limits[BLOCKS]
        view[V_HEAD] = report[R_HEAD]
        view[V_CACHED] = report[R_CACHED]
        overlap = 0 if router[MOVING] else _match(state, row, r, i)
        overlap *= state.units[row, PREFIX_TOKENS]
        view[V_OVERLAP] = overlap
        left = 0 if router[MOVING] else state.prompt[row, i] - overlap
        view[V_NEED] = (state.prompt[row, i] + block - 1) // block
        queued = (report[R_PENDING] + state.predicted[row, i] - overlap) / block
        view[V_ROOM] = limits[BLOCKS] - report[R_USED] - view[V_NEED] - queued
        rest = _rest_at(state, row, r, i, state.generated[row, i])
        context = state.prompt[row, i] - left
        total, _, first, completion = _project(state, row, r, i, left, rest, context)
        view[V_MARGINAL] = total - report[R_SUM] - now
        view[V_OWN] = completion - now
        view[V_FIRST] = first - now
        state.drain[row, r] = max(report[R_LAST] - now, 0.0) if report[R_ENTRIES] > 0 else 0.0


@_inner
def _least(state, row, column):
    """Smallest value of a column of ``figures`` among the legal replicas."""
    least = _NEVER
    for r in range(state.sizes[row, 1]):
        if state.figures[row, r, V_LEGAL]:
            least = min(least, state.figures[row, r, column])
    return least


@_inner
def _bounded(x):
    """Within the bounds of the observation space."""
    return np.float32(min(max(x, -1e5), 1e5))


@_inner
def _observe(state, observation, row):
    """Write what may be observed of the current decision."""
    _look(state, row)
    replicas = state.sizes[row, 1]
    router, now = state.router[row], state.clock[row, NOW]
    i = router[DECISION]
    view, seconds = state.figures[row], state.seconds[row]
    unit = router[NEXT_ARRIVAL] / max(seconds[ALONE_SUM], 1e-9)  # 1 / mean latency alone
    marginal_min, own_min = _least(state, row, V_MARGINAL), _least(state, row, V_OWN)
    state.estimate[row, i] = marginal_min
    first_min = _least(state, row, V_FIRST)
    inflicted_min, product_min, peak_min, drain_min = _NEVER, _NEVER, _NEVER, _NEVER
    running_mean, waiting_mean, tokens_mean, overlap_max = 0.0, 0.0, 0.0, 0.0
    used_mean, used_min, speed_min, speed_max, idle = 0.0, _NEVER, _NEVER, 0.0, 0
    whole = state.prompt[row, i] + state.predicted[row, i]
    for r in range(replicas):
        running_mean += view[r, V_RUNNING] / replicas
        waiting_mean += view[r, V_WAITING] / replicas
        tokens_mean += view[r, V_TOKENS] / replicas
        used = view[r, V_USED] / view[r, V_BLOCKS]
        used_mean += used / replicas
        used_min = min(used_min, used)
        speed = observation.nodes[row, 2 + r, 0]
        speed_min, speed_max = min(speed_min, speed), max(speed_max, speed)
        idle += view[r, V_RUNNING] + view[r, V_WAITING] == 0
        if view[r, V_LEGAL]:
            inflicted_min = min(inflicted_min, view[r, V_MARGINAL] - view[r, V_OWN])
            product_min = min(product_min, _batch_tokens(state, row, r, i))
            peak_min = min(peak_min, _peak(state, row, r, whole))
            drain_min = min(drain_min, state.drain[row, r])
            overlap_max = max(overlap_max, view[r, V_OVERLAP])
    room_max, pending_min = -1e5, 1e5
    node_state = observation.node_state[row]
    mask = observation.action_mask[row]
    prompt = state.prompt[row, i]
    for r in range(replicas):
        legal = view[r, V_LEGAL] > 0
        mask[1 + r] = legal
        limits = state.limits[row, r]
        marginal, own = view[r, V_MARGINAL], view[r, V_OWN]
        c = observation.candidates[row, 1 + r]
        c[1] = _bounded((marginal - marginal_min) * unit)
        c[2] = _bounded(marginal * unit)
        c[3] = _bounded((own - own_min) * unit)
        c[4] = _bounded(own * unit)
        c[5] = _bounded((marginal - own - inflicted_min) * unit)
        c[6] = _bounded((marginal - own) * unit)
        c[7] = _bounded((view[r, V_FIRST] - first_min) * unit)
        c[8] = _bounded(view[r, V_FIRST] * unit)
        c[9] = marginal == marginal_min
        c[10] = own == own_min
        c[11] = (view[r, V_RUNNING] - running_mean) / 16
        c[12] = view[r, V_RUNNING] / limits[BATCH]
        c[13] = _bounded((view[r, V_WAITING] - waiting_mean) / 8)
        c[14] = _bounded(view[r, V_WAITING] / 8)
        c[15] = _bounded(view[r, V_TOKENS] / max(tokens_mean, 1.0) - 1)
        c[16] = _bounded(_batch_tokens(state, row, r, i) / max(product_min, 1.0) - 1)
        block = state.units[row, BLOCK_TOKENS]
        c[17] = (view[r, V_BLOCKS] - view[r, V_USED] - whole / block) / view[r, V_BLOCKS]
        peak = _peak(state, row, r, whole)
        c[18] = _bounded(peak)
        c[19] = _bounded(peak - peak_min)
        oldest = state.report[row, r, R_OLDEST]
        c[20] = _bounded((now - oldest) * unit) if oldest < _NEVER else 0
        c[21] = view[r, V_OVERLAP] / prompt
        c[22] = (view[r, V_OVERLAP] - overlap_max) / prompt
        c[23] = 1 / observation.nodes[row, 2 + r, 0] - 1
        c[24] = _bounded(state.drain[row, r] * unit)
        c[25] = _bounded((state.drain[row, r] - drain_min) * unit)
        c[27] = legal
        room = view[r, V_ROOM] / view[r, V_BLOCKS]
        c[28] = _bounded(room)
        c[29] = room >= 0
        c[30] = _bounded(view[r, V_PENDING] / limits[BUDGET] / 8)
        if legal:
            room_max = max(room_max, room)
            pending_min = min(pending_min, c[30])
        node = node_state[2 + r]
        node[0] = c[12]
        node[1] = _bounded(view[r, V_WAITING] / 16)
        node[2] = view[r, V_USED] / view[r, V_BLOCKS]
        node[3] = c[21]
    can_hold = router[MOVING] == 0 and state.holds[row, i] < state.units[row, MAX_HOLDS]
    mask[0] = can_hold
    c = observation.candidates[row, 0]
    c[0] = 1
    c[2] = _bounded(marginal_min * unit)
    c[4] = _bounded(own_min * unit)
    c[8] = _bounded(first_min * unit)
    c[26] = state.holds[row, i] / max(state.units[row, MAX_HOLDS], 1)
    c[27] = can_hold
    c[28] = room_max
    c[29] = room_max >= 0
    c[30] = pending_min
    node_state[0, 1] = _bounded(router[NUM_HELD] / 16)
    g = observation.globals[row]
    g[0] = _bounded(router[NUM_HELD] / 8)
    g[1] = running_mean / 16
    g[2] = _bounded(waiting_mean / 8)
    g[3] = used_mean
    g[4] = used_min
    g[5] = prompt / state.mean_engine[row, 7]
    g[6] = state.predicted[row, i] / 256
    g[7] = _bounded(_alone(state, row, i) * unit)
    g[8] = _bounded(marginal_min * unit)
    g[9] = _bounded(own_min * unit)
    g[10] = _bounded(1 / (max(seconds[GAP], 1e-6) * unit * replicas))
    g[11] = _bounded((now - state.arrival[row, i]) * unit)
    g[12] = can_hold
    g[13] = router[MOVING]
    g[14] = speed_max / speed_min - 1
    g[15] = replicas / 8
    g[16] = idle / replicas
    _observe_held(state, row, i, g, unit)


@_inner
def _observe_held(state, row, i, g, unit):
    """The last of the global features: what else is held, and how long a hold is."""
    alone = _alone(state, row, i)
    need, shorter_need, shorter = 0, 0, 0
    j = state.router[row, HELD_HEAD]
    while j >= 0:
        tokens = state.prompt[row, j] + state.predicted[row, j]
        need += tokens
        if _alone(state, row, j) < alone:
            shorter_need += tokens
            shorter += 1
        j = state.link[row, j]
    memory = 0
    for r in range(state.sizes[row, 1]):
        memory += state.limits[row, r, BLOCKS] * state.units[row, BLOCK_TOKENS]
    g[17] = _bounded(need / memory)
    g[18] = _bounded(shorter_need / memory)
    g[19] = _bounded(shorter / 8)
    g[20] = _bounded(state.seconds[row, HOLD_S] * unit)


@_inner
def _foreseen(state, row):
    """Predicted latencies left of all requests in the system."""
    router, now = state.router[row], state.clock[row, NOW]
    total = state.estimate[row, router[DECISION]]
    for r in range(state.sizes[row, 1]):
        report = state.report[row, r]
        total += report[R_SUM] - report[R_ENTRIES] * now
    i = router[HELD_HEAD]
    while i >= 0:
        total += state.estimate[row, i]
        i = state.link[row, i]
    return total


@_inner
def _mixing(state, row, r):
    """How well the request to be decided about would mix with what is at a replica, -1 to 1.

    Half is a penalty on long iterations (equation 1 of Jain et al.), half falls with the time that
    the request adds to those who decode there (equation 2). The text gives the equations in part,
    so this is a reconstruction.
    """
    i = state.router[row, DECISION]
    engine, report = state.engine[row, r], state.report[row, r]
    prompt = engine[1] * state.prompt[row, i]
    longer = prompt + engine[5] * report[R_CONTEXT]
    by_prompt = -min(max(longer / HEAVY_S - 1, 0.0), 1.0)
    delay = report[R_RUNNING] * (prompt + engine[5] * state.predicted[row, i])
    return 0.5 * by_prompt + 0.5 * max(1 - delay, -1.0)


@_inner
def _shortfall(state, row, r):
    """What the mixing of replica ``r`` lacks to that of the best legal one."""
    own = best = _mixing(state, row, r)
    for other in range(state.sizes[row, 1]):
        if other != r and state.figures[row, other, V_LEGAL]:
            best = max(best, _mixing(state, row, other))
    return best - own


@_inner
def _batch_tokens(state, row, r, i):
    """LMetric: prompt tokens to process if the request goes there, times the batch then."""
    view = state.figures[row, r]
    tokens = view[V_PENDING] + state.prompt[row, i] - view[V_OVERLAP]
    return tokens * (view[V_RUNNING] + view[V_WAITING] + 1)


@_inner
def _peak(state, row, r, whole):
    """Tokens that everything there and the request would hold at their ends, over the memory."""
    tokens = state.report[row, r, R_CONTEXT] + whole
    return tokens / (state.limits[row, r, BLOCKS] * state.units[row, BLOCK_TOKENS])


@_inner
def _finish(state, observation, row):
    """The last observation of an episode: nothing is left to decide."""
    observation.action_mask[row] = 0
    observation.candidates[row, 1 : 1 + state.sizes[row, 1], 1:] = 0
    observation.candidates[row, 0, 1:] = 0
    observation.globals[row] = 0
    observation.node_state[row] = 0


@_inner
def _observe_graph(state, observation, row):
    """Write nodes and edges, and which node each candidate touches."""
    replicas = state.sizes[row, 1]
    observation.nodes[row] = 0
    observation.node_state[row] = 0
    observation.node_type[row] = -1
    observation.edges[row] = -1
    observation.edge_type[row] = -1
    observation.edge_features[row] = 0
    observation.candidates[row] = 0
    observation.candidate_nodes[row] = -1
    observation.action_mask[row] = 0
    nodes = observation.nodes[row]
    decode_mean, prefill_mean, kv_mean = 0.0, 0.0, 0.0
    for r in range(replicas):
        decode_mean += _decode_time(state, row, r) / replicas
        prefill_mean += _prefill_time(state, row, r) / replicas
        kv_mean += state.limits[row, r, BLOCKS] / replicas
    for r in range(replicas):
        node = 2 + r
        limits = state.limits[row, r]
        observation.node_type[row, node] = REPLICA
        nodes[node, 0] = decode_mean / _decode_time(state, row, r)
        nodes[node, 1] = prefill_mean / _prefill_time(state, row, r)
        nodes[node, 2] = limits[BLOCKS] / kv_mean
        nodes[node, 3] = limits[BATCH] / 128
        nodes[node, 4] = limits[ROLE] == _PREFILL_ONLY
        nodes[node, 5] = limits[ROLE] == _DECODE_ONLY
        for edge, source in ((2 * r, 0), (2 * r + 1, 1)):
            observation.edges[row, 0, edge] = source
            observation.edges[row, 1, edge] = node
            observation.edge_type[row, edge] = source
            observation.edge_features[row, edge, 0] = nodes[node, 0]
        observation.candidate_nodes[row, 1 + r, 0] = node
        observation.candidate_nodes[row, 1 + r, 1] = 1
    observation.node_type[row, 0] = ROUTER
    observation.node_type[row, 1] = REQUEST
    nodes[0, 6] = replicas / 8
    observation.candidate_nodes[row, 0, 0] = 0
    observation.candidate_nodes[row, 0, 1] = 1


@_inner
def _decode_time(state, row, r):
    """Seconds of an iteration of 32 requests of 512 tokens."""
    engine = state.engine[row, r]
    excess = max(32 - engine[4], 0.0)
    return engine[0] + 32 * engine[2] + engine[3] * excess + 32 * 512 * engine[5]


@_inner
def _prefill_time(state, row, r):
    """Seconds of an iteration that processes a full budget of prompt."""
    engine, tokens = state.engine[row, r], float(state.limits[row, r, BUDGET])
    excess = max(tokens - engine[4], 0.0)
    return engine[0] + tokens * (engine[1] + tokens * engine[6]) + engine[3] * excess


# ---------------------------------------------------------------- load and step


@njit(cache=True, error_model="numpy")
def reset_row(state, observation, row, queue):
    """Empty cluster at time 0, advanced to the first decision; the instance is in place."""
    requests, replicas = state.sizes[row, 0], state.sizes[row, 1]
    for per_request in (
        state.computed,
        state.target,
        state.generated,
        state.blocks,
        state.shared,
        state.holds,
        state.preemptions,
        state.cached,
        state.level,
    ):
        per_request[row] = 0
    for times in (state.attained, state.due, state.enqueued, state.estimate):
        times[row] = 0
    for unknown in (state.release, state.moved, state.first_token, state.end):
        unknown[row] = np.nan
    for indices in (state.sequence, state.link, state.replica, state.decoder):
        indices[row] = -1
    state.router[row] = 0
    for head in (HELD_HEAD, HELD_TAIL, MOVE_HEAD, MOVE_TAIL, FLYING_HEAD, FLYING_TAIL, DECISION):
        state.router[row, head] = -1
    state.clock[row] = 0
    state.seconds[row, ALONE_SUM] = 0
    state.seconds[row, GAP] = 0
    state.iteration_end[row] = _NEVER
    state.duration[row] = 0
    state.load[row] = 0
    for r in range(replicas):
        for head in (WAIT_HEAD, WAIT_TAIL, LRU_HEAD, LRU_TAIL):
            state.load[row, r, head] = -1
        state.load[row, r, FREE] = state.limits[row, r, BLOCKS]
        state.load[row, r, DIRTY] = 1
    state.references[row] = -1
    state.counter[row] = 0
    state.report[row] = 0
    state.figures[row] = 0
    state.mean_engine[row] = 0
    for r in range(replicas):
        for column in range(7):
            state.mean_engine[row, column] += state.engine[row, r, column] / replicas
        state.mean_engine[row, 7] += state.limits[row, r, BUDGET]
    # integers add up exactly, so the order of the replicas cannot move a prompt to another chunk
    state.mean_engine[row, 7] /= replicas
    alone = 0.0
    for i in range(requests):
        alone += state.alone[row, i]
    state.seconds[row, LOWER_BOUND] = alone / requests
    state.clock[row, NEXT_REPORT] = state.seconds[row, STALE_S]
    for r in range(replicas):
        _write_report(state, row, r)
    _observe_graph(state, observation, row)
    _advance(state, row, queue)
    _observe(state, observation, row)


@_inner
def _step_row(state, observation, row, action, queue, reward, terminated):
    """One decision; returns the reward."""
    clock = state.clock[row]
    guidance = 0.0
    if reward >= AWARE_REWARD and action > 0 and state.router[row, MOVING] == 0:
        guidance = state.seconds[row, GUIDANCE] * _shortfall(state, row, action - 1)
    _decide(state, row, action, queue)
    terminated[row] = not _advance(state, row, queue)
    spent = clock[INTEGRAL] - clock[CREDIT]
    if terminated[row]:
        _finish(state, observation, row)
    else:
        _observe(state, observation, row)
        if reward == PROJECTED_REWARD:
            spent += _foreseen(state, row)
    change = clock[SPENT] - spent
    clock[SPENT] = spent
    return (change / state.seconds[row, LOWER_BOUND] - guidance) / state.sizes[row, 0]


@njit(cache=True, error_model="numpy", _nrt=False)
def step(state, observation, actions, rewards, terminated, queue, reward):
    """Apply ``actions`` to every row (-1: leave it), see ``Problem.step``."""
    for row in range(len(actions)):
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], queue, reward, terminated
            )


@njit(cache=True, error_model="numpy", _nrt=False, parallel=True)
def step_parallel(state, observation, actions, rewards, terminated, queue, reward):
    """The same with rows shared among threads."""
    for number in prange(len(actions)):
        row = np.int64(number)  # a type of its own would compile everything once more
        rewards[row] = 0
        if actions[row] >= 0:
            rewards[row] = _step_row(
                state, observation, row, actions[row], queue, reward, terminated
            )
