"""The cluster in plain Python, token by token and block by block, to compare the kernel with.

Written from the definition in ``envs/routing/kernel.py`` for replicas that do everything and serve
in order of release, higher priorities first. Every block of memory is an object with an owner, and
every step asserts that nothing is lost: blocks, tokens, requests.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from makespan.envs.routing.instance import Fleet, RoutingInstance
from makespan.envs.routing.solution import RoutingSolution


@dataclass(eq=False)
class Job:
    number: int
    rank: int
    prompt: int
    output: int
    prefixes: list[int]
    priority: int
    tokens: list[str] = field(default_factory=list)  # in memory: "cached" or "computed"
    goal: int = 0
    emitted: list[float] = field(default_factory=list)
    blocks: set[int] = field(default_factory=set)  # of its own
    uses: list[int] = field(default_factory=list)  # prefixes
    work: int = 0
    evictions: int = 0
    found: int | None = None
    processed: int = 0  # tokens
    recomputed: int = 0
    reused: int = 0  # tokens found in the cache, at every admission

    def place(self) -> tuple[int, int]:
        """In the queue, the lowest first."""
        return -self.priority, self.rank


class Engine:
    def __init__(self, instance: RoutingInstance, number: int) -> None:
        self.i, self.number = instance, number
        self.count = int(instance.kv_blocks[number])
        self.unowned = set(range(self.count))
        self.prefix_blocks: dict[int, set[int]] = {}
        self.last_used: dict[int, tuple[int, int]] = {}  # of prefixes: when released, depth
        self.batch: list[Job] = []
        self.queue: list[Job] = []
        self.end: float | None = None
        self.clock = 0

    def users(self, prefix: int) -> int:
        return sum(prefix in job.uses for job in self.batch)

    def idle_prefixes(self) -> list[int]:
        return [p for p in self.prefix_blocks if not self.users(p)]

    def check(self) -> None:
        """Every block has exactly one owner."""
        owned = [b for job in self.batch for b in job.blocks]
        owned += [b for blocks in self.prefix_blocks.values() for b in blocks]
        assert len(owned) == len(set(owned))
        assert not set(owned) & self.unowned
        assert len(owned) + len(self.unowned) == self.count
        for job in self.batch:
            own = len(job.tokens) - len(job.uses) * self.i.prefix_tokens
            assert len(job.blocks) * self.i.block_tokens >= own
        for job in self.queue:
            assert not job.blocks
            assert not job.uses

    def grab(self, job: Job, blocks: int) -> None:
        while len(self.unowned) < blocks:
            oldest = min(self.idle_prefixes(), key=self.last_used.__getitem__)
            self.unowned |= self.prefix_blocks.pop(oldest)
        for _ in range(blocks):
            job.blocks.add(self.unowned.pop())

    def drop(self, job: Job) -> None:
        self.batch.remove(job)
        self.unowned |= job.blocks
        self.clock += 1
        for depth, prefix in enumerate(job.uses):
            self.last_used[prefix] = (self.clock, -depth)
        job.blocks, job.uses, job.tokens = set(), [], []

    def evict(self, job: Job) -> None:
        job.recomputed += len(job.tokens)
        self.drop(job)
        job.evictions += 1
        job.goal = job.prompt + len(job.emitted)
        self.queue.append(job)
        self.queue.sort(key=Job.place)

    def room(self) -> int:
        per = self.i.prefix_tokens // self.i.block_tokens
        return len(self.unowned) + per * len(self.idle_prefixes())

    def cached_prefixes(self, job: Job) -> list[int]:
        found: list[int] = []
        while (
            self.i.prefix_cache
            and len(found) < len(job.prefixes)
            and (len(found) + 1) * self.i.prefix_tokens < job.prompt
            and job.prefixes[len(found)] in self.prefix_blocks
        ):
            found.append(job.prefixes[len(found)])
        return found

    def begin(self, now: float) -> None:
        size, evicted = self.i.block_tokens, False
        for job in self.batch:
            job.work = 0
        decoding = []
        for job in list(self.batch):
            if job not in self.batch or len(job.tokens) < job.goal:
                continue
            own = len(job.tokens) + 1 - len(job.uses) * self.i.prefix_tokens
            if own > len(job.blocks) * size:
                while self.room() == 0 and job in self.batch:
                    self.evict(self.batch[-1])
                    evicted = True
                if job not in self.batch:
                    continue
                self.grab(job, 1)
            decoding.append(job)
        budget = int(self.i.token_budget[self.number]) - len(decoding)
        chunks = []
        for job in self.batch:
            if len(job.tokens) < job.goal:
                job.work = min(budget, job.goal - len(job.tokens))
                budget -= job.work
                chunks.append(job)
        while not evicted and self.queue and budget > 0:
            job = self.queue[0]
            found = self.cached_prefixes(job)
            need = -(-(job.goal - len(found) * self.i.prefix_tokens) // size)
            kept = [p for p in found if not self.users(p)]
            room = self.room() - len(kept) * (self.i.prefix_tokens // size)
            full = len(self.batch) >= self.i.max_batch[self.number]
            if full or room - need < int(self.i.watermark * self.count):
                break
            self.queue.pop(0)
            job.uses = found
            self.batch.append(job)
            self.grab(job, need)
            job.tokens = ["cached"] * (len(found) * self.i.prefix_tokens)
            job.found = len(job.tokens) if job.found is None else job.found
            job.reused += len(job.tokens)
            job.work = min(budget, job.goal - len(job.tokens))
            budget -= job.work
            chunks.append(job)
        for job in decoding:
            job.work = 1
        base, per_prompt, per_decode, beyond, knee, context, square = self.i.engine[self.number]
        prompt = sum(job.work for job in chunks)
        assert prompt + len(decoding) <= self.i.token_budget[self.number]
        time = base + per_prompt * prompt + per_decode * len(decoding)
        time += beyond * max(0, prompt + len(decoding) - knee)
        time += context * sum(len(job.tokens) for job in decoding)
        time += square * sum(job.work**2 + 2 * job.work * len(job.tokens) for job in chunks)
        self.end = now + time
        self.check()

    def finish(self) -> list[Job]:
        now, self.end = self.end, None
        assert now is not None
        done = []
        for job in list(self.batch):
            was_prompt = len(job.tokens) < job.goal
            job.tokens += ["computed"] * job.work
            job.processed += job.work
            if not job.work or len(job.tokens) < job.goal:
                continue
            job.emitted.append(now)
            if was_prompt and self.i.prefix_cache:
                self.share(job)
            if len(job.emitted) == job.output:
                done.append(job)
                self.drop(job)
        self.check()
        return done

    def share(self, job: Job) -> None:
        per = self.i.prefix_tokens // self.i.block_tokens
        for prefix in job.prefixes[len(job.uses) :]:
            moved = {job.blocks.pop() for _ in range(per)}
            if prefix in self.prefix_blocks:
                self.unowned |= moved
            else:
                self.prefix_blocks[prefix] = moved
        job.uses = list(job.prefixes)


def simulate(instance: RoutingInstance, solution: RoutingSolution) -> list[Job]:
    """Follow the decisions of ``solution``; the jobs in order of the requests."""
    offsets = instance.prefix_offsets
    jobs = [
        Job(i, int(solution.order[i]), int(p), int(o), instance.prefixes[a:b].tolist(), int(h))
        for i, (p, o, a, b, h) in enumerate(
            zip(
                instance.prompt,
                instance.output,
                offsets[:-1],
                offsets[1:],
                instance.priority,
                strict=True,
            )
        )
    ]
    engines = [Engine(instance, r) for r in range(instance.num_replicas)]
    to_come = sorted(
        (float(solution.release[job.number]) + instance.delay_s, job.rank) for job in jobs
    )
    by_rank = {job.rank: job for job in jobs}
    finished = 0
    while finished < len(jobs):
        times = [e.end for e in engines if e.end is not None]
        now = min([*times, *(time for time, _ in to_come[:1])])
        for engine in engines:
            if engine.end == now:
                finished += len(engine.finish())
        while to_come and to_come[0][0] <= now:
            job = by_rank[to_come.pop(0)[1]]
            job.goal = job.prompt
            engines[int(solution.replica[job.number])].queue.append(job)
            engines[int(solution.replica[job.number])].queue.sort(key=Job.place)
        for engine in engines:
            if engine.end is None and (engine.batch or engine.queue):
                engine.begin(now)
        inside = sum(len(e.batch) + len(e.queue) for e in engines)
        assert inside + finished + len(to_come) == len(jobs)
    for job in jobs:
        assert len(job.emitted) == job.output
        assert job.emitted == sorted(job.emitted)
    return jobs


def random_cluster(rng: np.random.Generator, **options: Any) -> RoutingInstance:
    """A small cluster short of memory, with random options; ``options`` override them."""
    replicas, count = int(rng.integers(1, 5)), int(rng.integers(1, 40))
    block = int(rng.choice([4, 16]))
    prefix = block * int(rng.choice([1, 2, 4]))
    blocks = int(rng.integers(20, 80))
    engine = np.abs(rng.normal(size=(replicas, 7)))
    engine *= np.array([1e-2, 1e-4, 1e-4, 1e-4, 30, 1e-5, 1e-7])
    engine[:, 0] += 1e-3
    budget = rng.integers(4, 60, replicas)
    fleet = Fleet(
        kinds=tuple(f"kind {r}" for r in range(replicas)),
        engine=engine,
        kv_blocks=blocks + rng.integers(0, 9, replicas),
        token_budget=budget,
        max_batch=np.minimum(budget, rng.integers(1, 20, replicas)),
        role=np.zeros(replicas, dtype=np.int64),
    )
    most = max(2, (int(blocks * 0.9) * block - 2) // 3)
    prompt, output = rng.integers(1, most, count), rng.integers(1, most, count)
    arrival = np.cumsum(rng.exponential(size=count)) * rng.choice([0.001, 0.02, 0.1])
    if rng.random() < 0.3:
        arrival = np.round(arrival, 1)  # several at once
    branch = rng.integers(0, 3, count)
    prefixes = [
        [int(branch[i]) * 100 + k + (50 * int(rng.integers(2)) if k == 6 else 0) for k in range(7)][
            : int(prompt[i]) // prefix
        ]
        for i in range(count)
    ]
    own = rng.spawn(1)[0]  # does not change what ``rng`` gives next
    values: dict[str, Any] = {
        "predicted": np.maximum(1, output * rng.lognormal(0, 0.5, count)).astype(int),
        "client": rng.integers(0, 4, count),
        "prefixes": prefixes,
        "block_tokens": block,
        "prefix_tokens": prefix,
        "prefix_cache": bool(rng.random() < 0.5),
        "watermark": float(rng.choice([0, 0.01, 0.05])),
        "hold_s": float(rng.choice([0.05, 0.2])),
        "max_holds": int(rng.integers(0, 4)),
        "delay_s": float(rng.choice([0, 0.01])),
        "stale_s": float(rng.choice([0, 0.1])),
        "priority": own.integers(0, 3, count) * own.integers(0, 2),
    }
    return RoutingInstance.build(arrival, prompt, output, fleet, **{**values, **options})
