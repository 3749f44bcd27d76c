"""The blocking job shop in plain Python, time unit by time unit, written from the definition."""

from itertools import pairwise, permutations
from typing import Any

import numpy as np
from hypothesis import strategies as st

from makespan.envs.blocking.instance import ON_DOWN_MODES, BlockingInstance
from makespan.envs.blocking.problem import BlockingProblem
from makespan.envs.blocking.solution import BlockingSolution
from makespan.envs.jobshop.instance import JobShopInstance


@st.composite
def instances(draw: st.DrawFn, jobs: int = 4, shutdowns: bool = True) -> BlockingInstance:
    """A few jobs on up to three machines; machines that come again are there."""
    operation = st.tuples(st.integers(0, 2), st.integers(1, 5))
    routes = draw(st.lists(st.lists(operation, min_size=1, max_size=4), min_size=1, max_size=jobs))
    shop = JobShopInstance.from_routes(routes, num_machines=3)
    times = st.lists(st.integers(0, 40), max_size=8, unique=True).map(sorted)
    pairs = [
        list(zip(found[::2], found[1::2], strict=False)) if shutdowns else []
        for found in (draw(times) for _ in range(3))
    ]
    return BlockingInstance.from_shop(
        shop, pairs, draw(st.booleans()), draw(st.sampled_from(ON_DOWN_MODES))
    )


class Job:
    def __init__(self, route: list[tuple[int, int]]) -> None:
        self.route = route
        self.begun = 0  # operations
        self.left = 0  # processing time of the operation it is at
        self.ended = 0  # when that operation did
        self.machine: int | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended what it has begun."""
        return self.left == 0

    @property
    def wants(self) -> int | None:
        return self.route[self.begun][0] if self.begun < len(self.route) else None

    @property
    def work(self) -> int:
        """Of the operations that have not begun."""
        return sum(duration for _, duration in self.route[self.begun :])


class Shop:
    """The simulator. A policy is asked at every time unit, so between events too."""

    def __init__(self, instance: BlockingInstance) -> None:
        self.instance = instance
        self.jobs = [
            Job(
                [
                    (int(instance.machines[op]), int(instance.durations[op]))
                    for op in range(first, last)
                ]
            )
            for first, last in pairwise(instance.job_offsets.tolist())
        ]
        self.time = 0
        self.starts: dict[tuple[int, int], int] = {}
        loads = map(self.load, range(instance.num_machines))
        self.initial_bound = self.bound = max(*loads, *(job.work for job in self.jobs))
        self.leave_finished()
        self.raise_bound()

    def down(self, machine: int, time: int) -> bool:
        return any(start <= time < end for start, end in self.instance.shutdowns[machine])

    def holder(self, machine: int) -> Job | None:
        return next((job for job in self.jobs if job.machine == machine), None)

    def leave_finished(self) -> None:
        for job in self.jobs:
            if job.machine is not None and job.done and job.wants is None:
                job.machine = None

    @property
    def finished(self) -> bool:
        return all(job.wants is None and job.machine is None for job in self.jobs)

    @property
    def in_process(self) -> bool:
        return any(not job.done for job in self.jobs)

    def circle(self, job: Job) -> list[Job] | None:
        """Jobs that can change places with this one, itself first."""
        found = [job]
        while True:
            last = found[-1]
            if not last.done or last.machine is None or last.wants is None:
                return None
            if self.down(last.wants, self.time) or last.wants == last.machine:
                return None
            following = self.holder(last.wants)
            if following is None:
                return None
            if following is job:
                return found
            if following in found:
                return None
            found.append(following)

    def legal(self, safe: bool) -> list[int]:
        """Jobs that can enter their next machine now, of a circle the lowest."""
        found = []
        for number, job in enumerate(self.jobs):
            if not job.done or job.wants is None or self.down(job.wants, self.time):
                continue
            holder = self.holder(job.wants)
            if holder is None or holder is job:
                if self.instance.swap or not safe or self.is_safe(job):
                    found.append(number)
            elif self.instance.swap:
                circle = self.circle(job)
                if circle and min(map(self.jobs.index, circle)) == number:
                    found.append(number)
        return found

    def is_safe(self, moved: Job) -> bool:
        """Whether the jobs in the shop can leave in some order once ``moved`` has made its move."""
        place = {id(job): job.machine for job in self.jobs if job.machine is not None}
        begun = {id(job): job.begun for job in self.jobs}
        place[id(moved)] = moved.wants
        begun[id(moved)] += 1
        inside = [job for job in self.jobs if id(job) in place]
        return any(self._can_leave(order, place, begun) for order in permutations(inside))

    @staticmethod
    def _can_leave(order: Any, place: Any, begun: Any) -> bool:
        held = {place[id(job)] for job in order}
        for job in order:
            held.discard(place[id(job)])
            if any(machine in held for machine, _ in job.route[begun[id(job)] :]):
                return False
        return True

    def enter(self, number: int) -> None:
        job = self.jobs[number]
        holder = self.holder(job.wants) if job.wants is not None else None
        moving = [job] if holder is None or holder is job else self.circle(job)
        assert moving is not None
        for one in moving:
            one.machine = one.wants
        for one in moving:
            one.left = one.route[one.begun][1]
            self.starts[self.jobs.index(one), one.begun] = self.time
            one.begun += 1
        self.leave_finished()
        self.raise_bound()

    def tick(self) -> None:
        """One unit of processing, then the shutdowns that begin at its end."""
        for job in self.jobs:
            if job.machine is None or job.done:
                continue
            held = self.instance.on_down == "hold"
            if held or not self.down(job.machine, self.time):
                job.left -= 1
            if (
                not job.done
                and self.instance.on_down == "restart"
                and self.down(job.machine, self.time + 1)
            ):
                job.left = job.route[job.begun - 1][1]
            if job.done:
                job.ended = self.time + 1
        self.time += 1
        self.leave_finished()
        self.raise_bound()

    # what is known

    def down_for(self, machine: int) -> int:
        """Time until the machine is up."""
        pairs = self.instance.shutdowns[machine]
        return next((end - self.time for start, end in pairs if start <= self.time < end), 0)

    def time_left(self, job: Job) -> int:
        """Until the operation of the job ends, unless another shutdown comes."""
        if job.done or job.machine is None:
            return 0
        return job.left + (0 if self.instance.on_down == "hold" else self.down_for(job.machine))

    def free_in(self, machine: int) -> int:
        """Time until the machine can be free."""
        holder = self.holder(machine)
        return max(self.down_for(machine), self.time_left(holder) if holder else 0)

    def load(self, machine: int) -> int:
        """Work that has not begun on the machine."""
        ahead = (operation for job in self.jobs for operation in job.route[job.begun :])
        return sum(duration for m, duration in ahead if m == machine)

    def raise_bound(self) -> None:
        left = [self.time_left(job) + job.work for job in self.jobs if job.wants is not None]
        left += [self.time_left(job) for job in self.jobs if job.machine is not None]
        loads = {machine: self.load(machine) for machine in range(self.instance.num_machines)}
        left += [self.free_in(machine) + load for machine, load in loads.items() if load]
        self.bound = max(self.bound, self.time + max(left, default=0))

    def chain(self, machine: int | None, stop: int) -> tuple[int, bool]:
        """Jobs that hold what the one before wants, and whether this comes around to ``stop``."""
        length = 0
        while machine is not None and machine != stop and length <= len(self.jobs):
            holder = self.holder(machine)
            if holder is None:
                return length, False
            length += 1
            machine = None if holder.wants == machine else holder.wants
        return length, machine == stop

    def features(self, number: int) -> dict[str, float]:
        """What the comments beside CANDIDATE_FEATURES say of a job with operations left."""
        job, machines = self.jobs[number], self.instance.num_machines
        wanted, duration = job.route[job.begun]
        unit, scale = 1 / float(np.mean(self.instance.durations)), 1 / self.initial_bound
        others = [other for other in self.jobs if other is not job]
        inside = [other for other in others if other.machine is not None]
        holder = self.holder(wanted)
        held = holder is not None and holder is not job
        followers = [one for one in inside if one.wants is not None and one.wants == job.machine]
        found = {
            "wait": 0,
            "legal": number in self.legal(safe=True),
            "duration": duration * unit,
            "work_left": job.work * scale,
            "operations_left": (len(job.route) - job.begun) / machines,
            "job_slack": (self.bound - self.time - self.time_left(job) - job.work) * unit,
            "progress": job.begun / len(job.route),
            "outside": job.machine is None,
            "processing": not job.done,
            "time_left": self.time_left(job) * unit,
            "waited": (self.time - job.ended) * unit if job.machine is not None and job.done else 0,
            "held": held,
            "held_for": self.time_left(holder) * unit if held and holder else 0,
            "down": self.down_for(wanted) * unit,
            "swap": held and number in self.legal(safe=True),
            "machine_load": self.load(wanted) * scale,
            "machine_slack": (self.bound - self.time - self.free_in(wanted) - self.load(wanted))
            * unit,
            "rivals": sum(one.wants == wanted for one in others) / 4,
            "rivals_inside": sum(one.wants == wanted for one in inside) / 4,
            "followers": len(followers) / 4,
            "followers_waiting": sum(one.done for one in followers) / 4,
            "last": job.begun + 1 == len(job.route),
        }
        following = dict.fromkeys(
            ("next_duration", "next_held", "next_wait", "next_load", "next_rivals", "chain"), 0.0
        )
        following["circle"] = 0
        if job.begun + 1 < len(job.route):
            machine, length = job.route[job.begun + 1]
            chain, circle = self.chain(machine, wanted)
            following = {
                "next_duration": length * unit,
                "next_held": self.holder(machine) not in (None, job),
                "next_wait": (self.free_in(machine) - self.time_left(job) - duration) * unit,
                "next_load": self.load(machine) * scale,
                "next_rivals": sum(one.wants == machine for one in inside) / 4,
                "chain": chain / 4,
                "circle": circle and machine != wanted,
            }
        return {**found, **following}

    def whole(self) -> dict[str, float]:
        """What the comments beside GLOBAL_FEATURES say."""
        unit, machines = 1 / float(np.mean(self.instance.durations)), self.instance.num_machines
        inside = [job for job in self.jobs if job.machine is not None]
        unfinished = sum(job.machine is not None or job.wants is not None for job in self.jobs)
        shutdowns = [start for pairs in self.instance.shutdowns for start, _ in pairs]
        begun = sum(start <= self.time for start in shutdowns)
        return {
            "progress": len(self.starts) / self.instance.num_operations,
            "bound_increase": self.bound / self.initial_bound - 1,
            "horizon": (self.bound - self.time) * unit / 100,
            "inside": len(inside) / machines,
            "blocked": sum(job.done for job in inside) / machines,
            "down": sum(self.down_for(machine) > 0 for machine in range(machines)) / machines,
            "legal": len(self.legal(safe=True)) / unfinished,
            "unfinished": unfinished / machines / 4,
            "first_end": min((self.time_left(j) for j in self.jobs if not j.done), default=0)
            * unit,
            "swap": self.instance.swap,
            "shutdowns": min(begun / machines / max(self.time * unit, 1), 1),
        }

    def solution(self) -> BlockingSolution:
        return BlockingSolution.from_starts(
            self.instance, [self.starts[key] for key in sorted(self.starts)]
        )


def optimum(instance: BlockingInstance) -> int:
    """The shortest makespan over all decisions of the environment."""
    problem = BlockingProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    best = [problem.metrics(state, 0)["objective"] + 10**6]

    def search(state: Any, observation: Any) -> None:
        if problem.metrics(state, 0)["objective"] >= best[0]:
            return
        for action in np.flatnonzero(observation.action_mask[0]).tolist():
            copies = [type(one)(*(array.copy() for array in one)) for one in (state, observation)]
            ended = np.zeros(1, dtype=np.bool_)
            problem.step(*copies, np.array([action]), np.zeros(1), ended)
            if ended[0]:
                best[0] = min(best[0], problem.metrics(copies[0], 0)["objective"])
            else:
                search(*copies)

    search(state, observation)
    return int(best[0])
