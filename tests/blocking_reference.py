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
        self.machine: int | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended what it has begun."""
        return self.left == 0

    @property
    def wants(self) -> int | None:
        return self.route[self.begun][0] if self.begun < len(self.route) else None


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
        self.leave_finished()

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
        self.time += 1
        self.leave_finished()

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
