"""What a scheduler of streams sees, from the simulation by clock ticks, column by column."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from makespan.envs.soc.bounds import upward_ranks
from makespan.tests.soc_reference import Option, Task, TickSimulation


class End(NamedTuple):
    """Where a task would end first."""

    end: int
    cluster: int
    processor: int


class Sight:
    """One decision: all that the comments beside the features of the kernel speak of."""

    def __init__(self, simulation: TickSimulation) -> None:
        self.simulation, self.platform = simulation, simulation.instance.platform
        self.now, self.ready = simulation.now, simulation.ready
        self.late = simulation.binding == "late"
        self.free = dict(enumerate(simulation.expected_free))
        self.clusters = range(len(self.platform.clusters))
        times = [min(row[row >= 0]) for row in self.platform.cost]
        self.unit = 1 / max(float(np.mean([t for t in times if t] or [1])), 1e-9)
        self.idle = {p for p in self.free if self._is_idle(p)}
        self.plans = [self._plan(by_work) for by_work in (False, True)] if self.late else []

    # of tasks

    def number(self, task: Task) -> int:
        """Of a task among those of all job types."""
        job_type = self.simulation.instance.types[task.job]
        return int(self.platform.task_offsets[job_type]) + task.number

    def times(self, task: Task) -> list[tuple[int, int]]:
        """(time, cluster) of a task, the fastest first."""
        row = self.platform.cost[self.number(task)].tolist()
        return sorted((time, k) for k, time in enumerate(row) if time >= 0)

    def shortest(self, task: Task) -> int:
        return self.times(task)[0][0]

    def loss(self, task: Task) -> int:
        """On the second cluster."""
        return self.times(task)[min(1, len(self.times(task)) - 1)][0] - self.shortest(task)

    def fastest(self, task: Task) -> int:
        return self.times(task)[0][1]

    def consumers(self, task: Task) -> list[Task]:
        return [one for one in self.of_job(task.job) if task.number in dict(one.producers)]

    def unlocked(self, task: Task) -> list[Task]:
        """Consumers that wait for this task only."""
        tasks = self.simulation.tasks
        return [
            one
            for one in self.consumers(task)
            if sum(not tasks[one.job, number].ended for number, _ in one.producers) == 1
        ]

    def of_job(self, job: int) -> list[Task]:
        return [task for (j, _), task in self.simulation.tasks.items() if j == job]

    def behind(self, task: Task, cluster: int) -> int:
        """Longest expected path behind a task that runs on a cluster, the best one each time."""
        longest = 0
        for one in self.consumers(task):
            volume = dict(one.producers)[task.number]
            longest = max(
                longest,
                min(
                    volume // self._bandwidth(cluster, k) + time + self.behind(one, k)
                    for time, k in self.times(one)
                ),
            )
        return longest

    def _bandwidth(self, a: int, b: int) -> int:
        return self.platform.same_core_bandwidth if a == b else int(self.platform.bandwidths[a, b])

    # of jobs

    def path_end(self, job: int) -> int:
        """Expected end of the longest path of the job that goes through bound and ready tasks."""
        ends = [self.now, self.simulation.entered[job]]
        for task in self.of_job(job):
            if task.processor is not None:
                cluster = int(self.platform.cluster_of[task.processor])
                ends.append(task.expected_end + self.behind(task, cluster))
        for task in self.ready:
            if task.job == job:
                best = self.best(task)
                ends.append(best.end + self.behind(task, best.cluster))
        return max(ends)

    def path(self, job: int) -> int:
        """Longest path of a job that has all processors for itself."""
        tasks = self.of_job(job)
        return max(min(t + self.behind(one, k) for t, k in self.times(one)) for one in tasks)

    def work(self, job: int) -> int:
        return sum(self.shortest(task) for task in self.of_job(job) if task.processor is None)

    # of processors

    def _is_idle(self, p: int) -> bool:
        return self.simulation._running(p) is None and not self.simulation._queue(p)

    def wait_for_data(self, task: Task, p: int) -> int:
        return max(self.simulation._arrival(task, p) - self.now, 0)

    def ends(self, task: Task, free: dict[int, int]) -> list[End]:
        """The earliest end on each cluster, the first one first; ties to the lowest numbers."""
        found: dict[int, End] = {}
        for p, cost in sorted(task.costs.items()):
            cluster = int(self.platform.cluster_of[p])
            start = max(free[p], self.now + self.wait_for_data(task, p))
            end = End(start + cost, cluster, p)
            found[cluster] = min(found.get(cluster, end), end, key=lambda one: one.end)
        return sorted(found.values(), key=lambda one: one.end)

    def best(self, task: Task) -> End:
        return self.ends(task, self.free)[0]

    def _plan(self, by_work: bool) -> dict[int, tuple[End, bool]]:
        """Each ready task to its earliest end in turn, and whether that is to be bound now."""
        free, left = dict(self.free), list(self.ready)
        plan = {}
        while left:
            task = min(
                left, key=lambda t: self.work(t.job) if by_work else self.ends(t, free)[0].end
            )
            chosen = self.ends(task, free)[0]
            p = chosen.processor
            plan[id(task)] = chosen, p in self.idle and free[p] == self.free[p]
            free[p] = max(chosen.end, free[p] + 1)
            left.remove(task)
        return plan

    # the columns

    @cached_property
    def least(self) -> dict[str, float]:
        """Over the ready tasks."""
        jobs = {task.job for task in self.ready}
        ranks = upward_ranks(self.platform)
        return {
            "end": min(self.best(task).end for task in self.ready),
            "left": min(self.path_end(job) - self.now for job in jobs),
            "work": min(self.work(job) for job in jobs),
            "highest rank": max([1e-9, *(ranks[self.number(task)] for task in self.ready)]),
        }

    def candidate(self, option: Option) -> dict[str, float]:
        """The features of a candidate by their names."""
        task = self.simulation.tasks[option.job, option.task]
        p, job, unit = option.processor, option.job, self.unit
        cluster, cost = int(self.platform.cluster_of[p]), option.end - option.start
        best, ends = self.best(task), self.ends(task, self.free)
        elsewhere = [one.end for one in ends if one.cluster != cluster]
        behind, left = self.behind(task, cluster), self.path_end(job) - self.now
        age = self.now - self.simulation.entered[job]
        fastest = self.fastest(task) == cluster
        tasks = self.of_job(job)
        return {
            "cost": cost * unit,
            "cost_excess": (cost - self.shortest(task)) * unit,
            "speed": self.shortest(task) / cost if cost else 1,
            "start": (option.start - self.now) * unit,
            "end": (option.end - self.now) * unit,
            "end_excess": (option.end - best.end) * unit,
            "end_excess_all": (option.end - self.least["end"]) * unit,
            "data_wait": self.wait_for_data(task, p) * unit,
            "processor_wait": (self.free[p] - self.now) * unit,
            "alternative": (min(elsewhere, default=option.end) - option.end) * unit,
            "alternatives": (len(ends) - 1) / 4,
            "path_after": behind * unit,
            "slack": (self.path_end(job) - option.end - behind) * unit,
            "job_left": left * unit,
            "job_left_excess": (left - self.least["left"]) * unit,
            "job_age": age * unit,
            "job_stretch": (age + left) / max(self.path(job), 1),
            "job_work": self.work(job) * unit,
            "job_progress": sum(one.ended for one in tasks) / len(tasks),
            "rank": upward_ranks(self.platform)[self.number(task)] / self.least["highest rank"],
            "consumers": len(self.consumers(task)) / 4,
            "unlocks": len(self.unlocked(task)) / 4,
            "siblings": (sum(one.job == job for one in self.ready) - 1) / 4,
            "own_loss": self.loss(task) * unit,
            "fastest": fastest,
            "fastest_wait": (self._end_on(task, self.fastest(task)) - option.end) * unit,
            "job_work_excess": (self.work(job) - self.least["work"]) * unit,
            "wait": 0,
            **self._of_cluster(task, cluster),
            **self._of_lists(task, option, best),
        }

    def _end_on(self, task: Task, cluster: int) -> int:
        return next(one.end for one in self.ends(task, self.free) if one.cluster == cluster)

    def _of_cluster(self, task: Task, cluster: int) -> dict[str, float]:
        """What is to come to the cluster of a candidate."""
        cores = [p for p in self.free if self.platform.cluster_of[p] == cluster]
        idle = len(self.idle & set(cores))
        own = [one for one in self.ready if self.fastest(one) == cluster]
        others = [one for one in own if one is not task]
        running = [one for p in self.free if (one := self.simulation._running(p)) is not None]
        coming = [
            self.shortest(one)
            for source in running
            for one in self.unlocked(source)
            if self.fastest(one) == cluster
        ]
        can_run = self.platform.cost[:, cluster] >= 0
        return {
            "idle": idle / len(cores),
            "next_free": (sorted(self.free[p] for p in cores)[:2][-1] - self.now) * self.unit,
            "demand": sum(map(self.shortest, own)) / len(cores) * self.unit,
            "rivals": (len(others) - idle) / 4,
            "coming": sum(coming) / len(cores) * self.unit,
            "rival_loss": max(map(self.loss, others), default=0) * self.unit,
            "general": float(can_run.mean()),
        }

    def _of_lists(self, task: Task, option: Option, best: End) -> dict[str, float]:
        """What the list schedulers would do."""
        if not self.late:
            first = self.least["end"]
            least = self.work(task.job) == self.least["work"]
            return {
                "etf": option.end == first,
                "etf_gain": (first - option.end) * self.unit,
                "least_work": least and option.end == best.end,
                "least_work_gain": 0,
            }
        found: dict[str, float] = {}
        for name, plan in zip(("etf", "least_work"), self.plans, strict=True):
            chosen, now = plan[id(task)]
            found[name] = now and chosen.processor == option.processor
            found[f"{name}_gain"] = (chosen.end - option.end) * self.unit
        return found

    def whole(self) -> dict[str, float]:
        """The global features by their names."""
        simulation, processors = self.simulation, len(self.free)
        instance, present = simulation.instance, len(simulation.entered) - len(simulation.left)
        running = [(p, one) for p in self.free if (one := simulation._running(p)) is not None]
        ends = [max(self.now, (one.start or 0) + one.costs[p]) for p, one in running]
        last = simulation.entered[-1]
        return {
            "jobs": present / 8,
            "capacity": present / instance.cap if instance.cap else 0,
            "blocked": instance.cap > 0,
            "ready": len(self.ready) / 8,
            "idle": len(self.idle) / processors,
            "ready_work": sum(map(self.shortest, self.ready)) * self.unit / processors,
            "next_end": (min(ends) - self.now) * self.unit if ends else 0,
            "gap": last / len(simulation.entered) * self.unit,
            "since_entry": (self.now - last) * self.unit,
            "noise": instance.noise,
            "processors": processors / 16,
            "held": 0,
        }
