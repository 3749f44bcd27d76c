"""What follows from given routing decisions, computed from the definition alone.

This is the slow, plain statement of the simulator that solutions are checked with; it shares no
code with the kernel. The rules of a replica are listed there and in the functions below. Orders of
the queue at a replica (ties: the earlier release; a higher priority always goes first):

* ``fcfs``: by release.
* ``sjf``: by predicted response length.
* ``srpt``: by predicted tokens left; a running request gives way to a waiting one that comes before
  it and does not fit (Schrage 1968, with predictions).
* ``mlfq``: skip-join multi-level feedback queue (Wu et al., FastServe, 2023): level l has a quantum
  of ``base * 2^l`` seconds; a request joins the first level whose quantum covers its prefill, goes
  one down when it has used its quantum, and to level 0 after 30 s in the queue; gives way as above.
* ``vtc``: by the service its client has had (Sheng et al., Fairness in Serving Large Language
  Models, OSDI 2024): prompt tokens at admission, two for each output token; a client that comes
  back is lifted to the least of those that wait.
* ``dlpm``: longest prefix match among clients with a positive deficit (Cao et al., Locality-aware
  Fair Scheduling in LLM Serving, 2025); when none has one, each that waits gets a quantum.
"""

import heapq
from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.routing.instance import PREFILL, RoutingInstance

PREEMPTING = ("srpt", "mlfq")
#: Orders in which the rank of a request may change while it waits.
CHANGING = ("mlfq", "vtc", "dlpm")
STARVATION_S = 30.0
OUTPUT_WEIGHT = 2.0
DLPM_QUANTUM = 2048.0


class Decisions(NamedTuple):
    """Columns (n,): where and when each request was sent."""

    replica: NDArray[np.int64]
    order: NDArray[np.int64]  # rank of the release
    release: NDArray[np.float64]
    decoder: NDArray[np.int64]  # second replica, -1 for none


class Outcome(NamedTuple):
    """What followed, columns (n,)."""

    moved: NDArray[np.float64]  # when the second replica was chosen, NaN for none
    first_token: NDArray[np.float64]
    end: NDArray[np.float64]
    preemptions: NDArray[np.int64]
    cached: NDArray[np.int64]  # prompt tokens found in the cache at the first admission
    tokens: list[list[float]]  # times of all tokens of each request, when they were asked for
    iterations: list["Iteration"]  # of all replicas, when they were asked for


class Iteration(NamedTuple):
    """One iteration, for pictures and conservation checks."""

    replica: int
    start: float
    end: float
    prefill: int  # prompt tokens
    decodes: int
    batch: int  # requests that run
    used: int  # blocks in use, unused cache left out
    waiting: int


@dataclass(eq=False)
class _Request:
    index: int
    prompt: int
    output: int
    predicted: int
    client: int
    priority: int
    order: int
    prefixes: list[int]
    in_memory: int = 0
    wanted: int = 0  # tokens to have in memory before the next token can come
    generated: int = 0
    blocks: int = 0
    borrowed: list[int] = field(default_factory=list)  # prefix blocks of the cache in use
    part: int = 0  # tokens in the current iteration
    level: int = 0
    attained: float = 0.0
    since: float = 0.0  # in the queue
    preemptions: int = 0
    cached: int | None = None

    @property
    def decodes(self) -> bool:
        return self.in_memory >= self.wanted


class _Replica:
    """One engine; see the module of the kernel for the rules."""

    def __init__(self, instance: RoutingInstance, number: int, queue: str) -> None:
        self.number, self.queue = number, queue
        self.engine = instance.engine[number].tolist()
        self.budget = int(instance.token_budget[number])
        self.max_batch = int(instance.max_batch[number])
        self.free = int(instance.kv_blocks[number])
        self.total = self.free
        self.watermark = int(instance.watermark_blocks[number])
        self.block, self.prefix_tokens = instance.block_tokens, instance.prefix_tokens
        self.per_prefix = instance.prefix_tokens // instance.block_tokens
        self.caching = instance.prefix_cache
        self.prefill_only = int(instance.role[number]) == PREFILL
        self.running: list[_Request] = []
        self.waiting: list[_Request] = []
        self.users: dict[int, int] = {}  # of each cached prefix block
        self.unused: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self.service: dict[int, float] = {}  # by client
        self.busy = False
        self.started = 0.0

    # -------------------------------------------------------- memory

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.block)

    def available(self, keep: tuple[int, ...] = ()) -> int:
        """Blocks that could be had by evicting every unused prefix block but those to keep."""
        kept = sum(block in self.unused for block in keep)
        return self.free + (len(self.unused) - kept) * self.per_prefix

    def take(self, blocks: int) -> None:
        while self.free < blocks:
            oldest, _ = self.unused.popitem(last=False)
            del self.users[oldest]
            self.free += self.per_prefix
        self.free -= blocks

    def borrow(self, block: int) -> None:
        self.unused.pop(block, None)
        self.users[block] += 1

    def found(self, request: _Request) -> list[int]:
        """Leading prefix blocks in the cache; at least the last prompt token is computed."""
        if not self.caching:
            return []
        hits: list[int] = []
        for block in request.prefixes[: (request.prompt - 1) // self.prefix_tokens]:
            if block not in self.users:
                break
            hits.append(block)
        return hits

    def release(self, request: _Request) -> None:
        self.free += request.blocks
        for block in reversed(request.borrowed):
            self.users[block] -= 1
            if not self.users[block]:
                self.unused[block] = None
        request.blocks, request.borrowed, request.in_memory = 0, [], 0

    def share(self, request: _Request) -> None:
        """After prefill the full prefix blocks of the prompt belong to the cache."""
        if not self.caching:
            return
        for block in request.prefixes[len(request.borrowed) :]:
            request.blocks -= self.per_prefix
            if block in self.users:
                self.free += self.per_prefix
                self.borrow(block)
            else:
                self.users[block] = 1
        request.borrowed = list(request.prefixes)

    # -------------------------------------------------------- queue

    def enqueue(self, request: _Request, now: float) -> None:
        if self.queue == "vtc" and all(w.client != request.client for w in self.waiting):
            least = min((self.service.get(w.client, 0.0) for w in self.waiting), default=0.0)
            self.service[request.client] = max(self.service.get(request.client, 0.0), least)
        request.since = now
        insort(self.waiting, request, key=self.order)

    def order(self, request: _Request) -> tuple[float, ...]:
        """By which those that wait are sorted: by rank, unless that changes while they do."""
        return (request.order,) if self.queue in CHANGING else self.rank(request)

    def rank(self, request: _Request) -> tuple[float, float, int]:
        """Lowest first."""
        value = 0.0
        if self.queue == "sjf":
            value = request.predicted
        elif self.queue == "srpt":
            value = max(request.predicted - request.generated, 1)
        elif self.queue == "mlfq":
            value = request.level
        elif self.queue == "vtc":
            value = self.service.get(request.client, 0.0)
        elif self.queue == "dlpm":
            positive = self.service.get(request.client, 0.0) > 0
            value = -len(self.found(request)) if positive else 1.0
        return (-request.priority, value, request.order)

    def next(self, now: float) -> _Request:
        if self.queue == "mlfq":
            for request in self.waiting:
                if now - request.since > STARVATION_S:
                    request.level = 0
        if self.queue == "dlpm":
            clients = {request.client for request in self.waiting}
            while all(self.service.get(client, 0.0) <= 0 for client in clients):
                for client in clients:
                    self.service[client] = self.service.get(client, 0.0) + DLPM_QUANTUM
        return min(self.waiting, key=self.rank) if self.queue in CHANGING else self.waiting[0]

    def join_level(self, request: _Request) -> None:
        """Skip-join: the first level whose quantum covers the prefill."""
        base, per_token = self.engine[0], self.engine[1]
        time = -(-request.prompt // self.budget) * base + per_token * request.prompt
        request.level, request.attained = 0, 0.0
        while base * 2**request.level < time:
            request.level += 1

    def charge(self, client: int, tokens: float) -> None:
        if self.queue in ("vtc", "dlpm"):
            sign = 1 if self.queue == "vtc" else -1
            self.service[client] = self.service.get(client, 0.0) + sign * tokens

    # -------------------------------------------------------- iterations

    def demand(self, request: _Request, hits: list[int]) -> int:
        if request.in_memory:  # moved here from a prefill replica
            return self._blocks(max(request.wanted, request.in_memory + 1))
        return self._blocks(request.wanted - len(hits) * self.prefix_tokens)

    def admissible(self, request: _Request, hits: list[int]) -> bool:
        left = self.available(tuple(hits)) - self.demand(request, hits)
        return len(self.running) < self.max_batch and left >= self.watermark

    def hits(self, request: _Request) -> list[int]:
        return [] if request.in_memory else self.found(request)

    def preempt(self, request: _Request, now: float) -> None:
        self.running.remove(request)
        self.release(request)
        request.wanted = request.prompt + request.generated
        request.preemptions += 1
        self.enqueue(request, now)

    def give_way(self, now: float) -> None:
        while self.waiting:
            request = self.next(now)
            if self.admissible(request, self.hits(request)) or not self.running:
                return
            # of equal ranks (but for the release) the one admitted last
            last = max(reversed(self.running), key=lambda r: self.rank(r)[:2])
            if self.rank(last)[:2] <= self.rank(request)[:2]:
                return
            self.preempt(last, now)

    def start(self, now: float) -> float:
        """Form a batch; returns how long it takes."""
        if self.queue in PREEMPTING:
            self.give_way(now)
        preempted = False
        decoding: list[_Request] = []
        for request in list(self.running):
            request.part = 0
            if not request.decodes or (preempted and request not in self.running):
                continue
            own = request.in_memory + 1 - len(request.borrowed) * self.prefix_tokens
            if self._blocks(own) > request.blocks:
                while not self.available() and request in self.running:
                    preempted = True
                    self.preempt(self.running[-1], now)
                if request not in self.running:
                    continue
                self.take(1)
                request.blocks += 1
            decoding.append(request)
        left = self.budget - len(decoding)
        chunks: list[tuple[int, int]] = []  # tokens, and those in memory before them
        for request in self.running:
            if not request.decodes:
                request.part = min(left, request.wanted - request.in_memory)
                left -= request.part
                chunks.append((request.part, request.in_memory))
        while self.waiting and left > 0 and not preempted:
            request = self.next(now)
            hits = self.hits(request)
            if not self.admissible(request, hits):
                break
            self.waiting.remove(request)
            self.admit(request, hits)
            if request.decodes:
                decoding.append(request)
                left -= 1
            else:
                request.part = min(left, request.wanted - request.in_memory)
                left -= request.part
                chunks.append((request.part, request.in_memory))
        for request in decoding:
            request.part = 1
        self.busy, self.started = True, now
        self.prefill, self.decodes = sum(part for part, _ in chunks), len(decoding)
        self.duration = self._time(chunks, [request.in_memory for request in decoding])
        return self.duration

    def admit(self, request: _Request, hits: list[int]) -> None:
        demand = self.demand(request, hits)
        for block in hits:
            self.borrow(block)
        self.take(demand)
        request.blocks, request.borrowed = demand, list(hits)
        if not request.in_memory:
            request.in_memory = len(hits) * self.prefix_tokens
            if request.cached is None:
                request.cached = request.in_memory
                self.charge(request.client, request.wanted - request.in_memory)
        self.running.append(request)

    def _time(self, chunks: list[tuple[int, int]], contexts: list[int]) -> float:
        base, prefill, decode, beyond, knee, context, quadratic = self.engine
        tokens = sum(part for part, _ in chunks)
        square = float(sum(part * part + 2 * part * before for part, before in chunks))
        return float(
            base
            + prefill * tokens
            + decode * len(contexts)
            + beyond * max(tokens + len(contexts) - knee, 0.0)
            + context * sum(contexts)
            + quadratic * square
        )

    def finish(self) -> list[_Request]:
        """The requests that get a token at the end of the iteration."""
        self.busy = False
        served = []
        for request in self.running:
            prompt_done = request.decodes
            request.in_memory += request.part
            if request.part and self.queue == "mlfq":
                request.attained += self.duration
                if request.attained >= self.engine[0] * 2**request.level:
                    request.level, request.attained = request.level + 1, 0.0
            if request.part and request.decodes:
                request.generated += 1
                self.charge(request.client, OUTPUT_WEIGHT)
                if not prompt_done:
                    self.share(request)
                served.append(request)
        return served

    def leave(self, request: _Request) -> None:
        self.running.remove(request)
        self.release(request)


ENDS, ARRIVES, IS_SENT = range(3)


def replay(
    instance: RoutingInstance, decisions: Decisions, queue: str = "fcfs", detail: bool = False
) -> Outcome:
    """Run the cluster on given decisions.

    Args:
        instance: requests and replicas.
        decisions: for every request; the caller has checked that replicas exist and may be used.
        queue: order of the queue at the replicas.
        detail: whether to list the times of all tokens, and all iterations.
    """
    n = instance.num_requests
    requests = _requests(instance, decisions)
    replicas = [_Replica(instance, r, queue) for r in range(instance.num_replicas)]
    place = decisions.replica.tolist()
    moved, first, end = (np.full(n, np.nan) for _ in range(3))
    tokens: list[list[float]] = [[] for _ in range(n if detail else 0)]
    iterations: list[Iteration] = []
    events: list[tuple[float, int, int, int]] = []
    for i, (time, order) in enumerate(
        zip(decisions.release.tolist(), decisions.order.tolist(), strict=True)
    ):
        events.append((time, IS_SENT, order, i))
    heapq.heapify(events)
    sent = 0

    def send(request: _Request, now: float, delay: float) -> None:
        nonlocal sent
        if queue == "mlfq":
            replicas[place[request.index]].join_level(request)
        if delay > 0:
            heapq.heappush(events, (now + delay, ARRIVES, sent, request.index))
            sent += 1
        else:
            replicas[place[request.index]].enqueue(request, now)

    while events:
        now = events[0][0]
        touched = set()
        moving: list[_Request] = []
        while events and events[0][0] == now:
            if moving and events[0][1] == IS_SENT:
                _move(moving, instance, decisions, place, moved, now, send)
            _, kind, number, i = heapq.heappop(events)
            if kind == ENDS:
                replica = replicas[number]
                touched.add(number)
                if detail:
                    iterations.append(_iteration(replica, now))
                for request in replica.finish():
                    if detail:
                        tokens[request.index].append(now)
                    if request.generated == 1:
                        first[request.index] = now
                    if request.generated == request.output:
                        end[request.index] = now
                        replica.leave(request)
                    elif replica.prefill_only:
                        replica.leave(request)
                        moving.append(request)
            elif kind == ARRIVES:
                replicas[place[i]].enqueue(requests[i], now)
                touched.add(place[i])
            else:
                requests[i].wanted = requests[i].prompt
                send(requests[i], now, instance.delay_s)
                touched.add(place[i])
        if moving:
            _move(moving, instance, decisions, place, moved, now, send)
        for replica in replicas:
            if not replica.busy and (replica.running or replica.waiting):
                heapq.heappush(events, (now + replica.start(now), ENDS, replica.number, -1))
    return Outcome(
        moved,
        first,
        end,
        np.array([request.preemptions for request in requests]),
        np.array([request.cached or 0 for request in requests]),
        tokens,
        iterations,
    )


def _move(
    moving: list[_Request],
    instance: RoutingInstance,
    decisions: Decisions,
    place: list[int],
    moved: NDArray[np.float64],
    now: float,
    send: Any,
) -> None:
    """Send requests whose prefill has ended to their second replicas, with their memory."""
    for request in moving:
        moved[request.index] = now
        place[request.index] = int(decisions.decoder[request.index])
        request.in_memory = request.wanted
        send(request, now, instance.delay_s + request.wanted * instance.transfer_s)
    moving.clear()


def _iteration(replica: _Replica, now: float) -> Iteration:
    used = replica.total - replica.available()
    return Iteration(
        replica=replica.number,
        start=replica.started,
        end=now,
        prefill=replica.prefill,
        decodes=replica.decodes,
        batch=len(replica.running),
        used=used,
        waiting=len(replica.waiting),
    )


def _requests(instance: RoutingInstance, decisions: Decisions) -> list[_Request]:
    columns = ("prompt", "output", "predicted", "client", "priority")
    prompt, output, predicted, client, priority = (getattr(instance, c).tolist() for c in columns)
    order = decisions.order.tolist()
    prefixes = np.split(instance.prefixes, instance.prefix_offsets[1:-1])
    return [
        _Request(
            index=i,
            prompt=prompt[i],
            output=output[i],
            predicted=predicted[i],
            client=client[i],
            priority=priority[i],
            order=order[i],
            prefixes=prefixes[i].tolist(),
        )
        for i in range(instance.num_requests)
    ]
