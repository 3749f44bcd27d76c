"""Pipeline-parallel training as a task graph with a memory limit: the zero-bubble family.

A network is cut into stages, one device each; a batch into microbatches. Stage s runs three passes
of microbatch i: forward F(s, i) after F(s - 1, i), backward B(s, i) after B(s + 1, i) (the last
stage: after its own forward), and the weight gradient W(s, i) after B(s, i). A result takes
``communication`` to a neighbouring stage. A stage runs one pass at a time and keeps the order of
the microbatches in each kind of pass; a forward holds one unit of memory from its start to the end
of its weight gradient. The objective is the longest span of a stage, from its first start to its
last end: the plain makespan hides what a larger memory limit gains, since steps follow each other
stage by stage.

The order of the microbatches makes the limit a precedence: with room for M forwards, forward i + M
follows the weight pass of microbatch i. So a pipeline is also a plain task graph, which all
schedulers of task graphs take, though they minimise its makespan.
Source: P. Qi, X. Wan, G. Huang, M. Lin, Zero bubble pipeline parallelism, ICLR 2024.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import InstanceError, InvalidSolutionError
from makespan.envs.core.instance import Instance
from makespan.envs.dag.instance import INELIGIBLE, TaskGraphInstance
from makespan.envs.dag.solution import TaskGraphSolution

#: Kinds of passes, in the order of their index.
FORWARD, BACKWARD, WEIGHT = range(3)
PASSES = "FBW"


@dataclass(frozen=True, eq=False)
class PipelineInstance(Instance):
    """Stages, their passes, and the memory of each stage.

    Attributes:
        microbatches: m, number of microbatches.
        times: (3, p) int64, time of a forward, backward and weight pass on each stage.
        memory: (p,) int64, forwards that a stage can hold, at least 1.
        communication: time of a transfer to a neighbouring stage.

    Raises:
        InstanceError: naming field and stage.
    """

    kind: ClassVar[str] = "pipeline"

    microbatches: int
    times: NDArray[np.int64]
    memory: NDArray[np.int64]
    communication: int = 0

    @classmethod
    def uniform(
        cls, stages: int, microbatches: int, memory: int, communication: int = 0
    ) -> "PipelineInstance":
        """All passes take one time unit, all stages hold the same."""
        return cls(
            f"pipeline-{stages}x{microbatches}-memory-{memory}",
            microbatches,
            np.ones((3, stages), dtype=np.int64),
            np.full(stages, memory, dtype=np.int64),
            communication,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild an instance; ``communication`` may be left out, ``memory`` be one number.

        Raises:
            InstanceError: naming the field, whatever ``data`` is.
        """
        cls.check_header(data)
        known = {field.name for field in fields(cls)}
        for what, names in (
            ("missing", known - set(data) - {"communication"}),
            ("unknown", set(data) - known - {"kind", "version"}),
        ):
            if names:
                raise InstanceError(f"{what} field(s) {sorted(names)} in a {cls.kind} instance")
        times = _numbers("times", data["times"])
        if times.ndim != 2:
            raise InstanceError(f"times: found {times.ndim} dimension(s), expected (3, stages)")
        memory = _numbers("memory", data["memory"])
        if not memory.ndim:
            memory = np.full(times.shape[1], memory)
        scalars = {}
        for field in ("microbatches", "communication"):
            scalars[field] = _numbers(field, data.get(field, 0))
            if scalars[field].ndim:
                raise InstanceError(f"{field}: found {data[field]!r}, expected one number")
        return cls(
            str(data["name"]),
            int(scalars["microbatches"]),
            times,
            memory,
            int(scalars["communication"]),
        )

    @property
    def stages(self) -> int:
        """p, number of stages."""
        return int(self.times.shape[1])

    def check(self) -> None:
        """Raise InstanceError naming field and stage."""
        if self.times.ndim != 2 or self.times.shape[0] != 3 or not self.times.shape[1]:
            raise InstanceError(f"times: found the shape {self.times.shape}, expected (3, stages)")
        if self.memory.shape != (self.stages,):
            raise InstanceError(
                f"memory: found the shape {self.memory.shape}, expected {(self.stages,)}, "
                "one per stage"
            )
        for field, value, least in (
            ("microbatches", self.microbatches, 1),
            ("communication", self.communication, 0),
        ):
            if value < least:
                raise InstanceError(f"{field}: found {value}, expected at least {least}")
        for stage in range(self.stages):
            if self.memory[stage] < 1:
                raise InstanceError(
                    f"memory of stage {stage}: found {self.memory[stage]}, expected at least 1"
                )
            if (self.times[:, stage] < 1).any():
                raise InstanceError(
                    f"times of stage {stage}: found {self.times[:, stage].tolist()}, "
                    "expected at least 1"
                )

    def parent(self, kind: int, stage: int, microbatch: int) -> tuple[int, int, int] | None:
        """The pass whose result a pass waits for; None for the first forwards."""
        if kind == FORWARD:
            return (FORWARD, stage - 1, microbatch) if stage else None
        if kind == BACKWARD and stage + 1 < self.stages:
            return BACKWARD, stage + 1, microbatch
        return kind - 1, stage, microbatch

    def passes(self) -> Iterator[tuple[int, int, int]]:
        """(kind, stage, microbatch) of all passes."""
        for kind in range(3):
            for stage in range(self.stages):
                for microbatch in range(self.microbatches):
                    yield kind, stage, microbatch

    def task_graph(self) -> TaskGraphInstance:
        """The same with makespan as objective, for the schedulers of task graphs.

        Every stage is a processor, and every pass can run on its stage only. Edges from pass to
        pass of a stage stand for the order of the microbatches and for the memory limit.
        """
        index = {key: task for task, key in enumerate(self.passes())}
        costs = np.full((len(index), self.stages), INELIGIBLE, dtype=np.int64)
        edges = []
        for (kind, stage, microbatch), task in index.items():
            costs[task, stage] = self.times[kind, stage]
            parent = self.parent(kind, stage, microbatch)
            if parent is not None:
                edges.append((index[parent], task))
            if microbatch:
                edges.append((index[kind, stage, microbatch - 1], task))
            freed = microbatch - int(self.memory[stage])
            if kind == FORWARD and freed >= 0:
                edges.append((index[WEIGHT, stage, freed], task))
        return TaskGraphInstance.from_arrays(
            costs,
            edges,
            np.full(len(edges), self.communication),
            name=self.name,
            tasks=[f"{PASSES[kind]}({stage},{i})" for kind, stage, i in index],
            processors=[f"stage {stage}" for stage in range(self.stages)],
        )


@dataclass(frozen=True, eq=False)
class PipelineSolution:
    """When each pass starts.

    Attributes:
        starts: (3, p, m) int64, by kind, stage and microbatch.
    """

    starts: NDArray[np.int64]

    def spans(self, instance: PipelineInstance) -> NDArray[np.int64]:
        """(p,) time from the first start to the last end on each stage."""
        ends = self.starts + instance.times[:, :, None]
        spans: NDArray[np.int64] = ends.max(axis=(0, 2)) - self.starts.min(axis=(0, 2))
        return spans

    def objective(self, instance: PipelineInstance) -> float:
        """The longest span."""
        return float(self.spans(instance).max())

    def validate(self, instance: PipelineInstance) -> None:
        """Raise InvalidSolutionError listing every violated constraint with numbers."""
        shape = (3, instance.stages, instance.microbatches)
        if self.starts.shape != shape:
            raise InvalidSolutionError(
                [f"starts: found the shape {self.starts.shape}, expected {shape}"]
            )
        violations = [*self._too_early(instance)]
        for stage in range(instance.stages):
            violations += [*self._serial(instance, stage), *self._memory(instance, stage)]
        if violations:
            raise InvalidSolutionError(violations)

    def _too_early(self, instance: PipelineInstance) -> Iterator[str]:
        for kind, stage, i in instance.passes():
            start = int(self.starts[kind, stage, i])
            parent = instance.parent(kind, stage, i)
            arrival = 0
            if parent is not None:
                delay = instance.communication if parent[1] != stage else 0
                arrival = int(self.starts[parent] + instance.times[parent[:2]]) + delay
            if start < arrival:
                yield f"{_label(kind, stage, i)}: starts at {start}, expected {arrival} or later"

    def _serial(self, instance: PipelineInstance, stage: int) -> Iterator[str]:
        """Passes that overlap, and microbatches out of order."""
        rows = sorted(
            (int(self.starts[kind, stage, i]), kind, i)
            for kind in range(3)
            for i in range(instance.microbatches)
        )
        following = [0, 0, 0]
        for (start, kind, i), (after, other, j) in pairwise(rows):
            if after < start + instance.times[kind, stage]:
                yield f"{_label(kind, stage, i)} and {_label(other, stage, j)} overlap"
        for _, kind, i in rows:
            if i != following[kind]:
                yield f"{_label(kind, stage, i)}: before {_label(kind, stage, following[kind])}"
            following[kind] += 1

    def _memory(self, instance: PipelineInstance, stage: int) -> Iterator[str]:
        released = self.starts[WEIGHT, stage] + instance.times[WEIGHT, stage]
        for i, start in enumerate(self.starts[FORWARD, stage].tolist()):
            held = int((self.starts[FORWARD, stage] <= start).sum() - (released <= start).sum())
            if held > instance.memory[stage]:
                yield (
                    f"{_label(FORWARD, stage, i)}: the stage holds {held} forwards, "
                    f"expected at most {instance.memory[stage]}"
                )

    @classmethod
    def from_task_graph(
        cls, instance: PipelineInstance, solution: TaskGraphSolution
    ) -> "PipelineSolution":
        """The schedule that a solution of :meth:`PipelineInstance.task_graph` stands for."""
        starts = solution.starts[np.argsort(solution.tasks)]
        return cls(starts.reshape(3, instance.stages, instance.microbatches))

    def as_task_graph(self, instance: PipelineInstance) -> TaskGraphSolution:
        """The schedule of :meth:`PipelineInstance.task_graph`, e.g. to draw it."""
        keys = list(instance.passes())
        return TaskGraphSolution.from_tasks(
            instance.task_graph(),
            [stage for _, stage, _ in keys],
            [int(self.starts[key]) for key in keys],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {"kind": "pipeline-solution", "version": 1, "starts": self.starts.tolist()}


def _numbers(field: str, value: Any) -> NDArray[np.int64]:
    """Whole numbers of a file as an array; raises InstanceError for anything else."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise InstanceError(f"{field}: found rows of different lengths") from None
    if array.dtype.kind != "i":
        raise InstanceError(f"{field}: found {value!r}, expected whole numbers")
    return array.astype(np.int64)


def _label(kind: int, stage: int, microbatch: int) -> str:
    return f"{PASSES[kind]} of stage {stage}, microbatch {microbatch}"


def lower_bound(instance: PipelineInstance) -> int:
    """The most work of a stage, which no span can be below."""
    return int(instance.times.sum(axis=0).max()) * instance.microbatches
