"""A family made for tests of what works with any family: sequencing tasks on one machine.

The objective is the sum of completion times, so shortest first is optimal. It is importable by
name, as worker processes of the evaluator need.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import InstanceError, InvalidSolutionError
from makespan.envs.core.family import BestKnown, Family, Source
from makespan.envs.core.instance import Instance
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.core.problem import Problem
from makespan.envs.core.solution import Result

AS_OF = "2020-02-20"


@dataclass(frozen=True, eq=False)
class Tasks(Instance):
    kind: ClassVar[str] = "tasks"
    durations: NDArray[np.int64]

    @property
    def size(self) -> str:
        return f"{len(self.durations)} tasks"

    def check(self) -> None:
        if (self.durations < 1).any():
            raise InstanceError("durations: expected at least 1")


@dataclass(frozen=True)
class Order:
    order: tuple[int, ...]

    def validate(self, instance: Tasks) -> None:
        if sorted(self.order) != list(range(len(instance.durations))):
            raise InvalidSolutionError([f"order: {self.order} is not a permutation"])

    def objective(self, instance: Tasks) -> float:
        return float(instance.durations[list(self.order)].cumsum().sum())

    def to_dict(self) -> dict[str, Any]:
        return {"order": self.order}


class State(NamedTuple):
    durations: NDArray[np.int64]  # (B, N)
    order: NDArray[np.int64]  # (B, N)
    taken: NDArray[np.int64]  # (B,)


class TasksProblem(Problem[Tasks]):
    name: ClassVar[str] = "tasks"

    def __init__(self, size: int, view: str) -> None:
        self.size, self.view = size, view
        self.spec = ObservationSpec(
            max_nodes=1,
            max_edges=1,
            max_candidates=size,
            node_types=("task",),
            edge_types=("before",),
            node_features=(),
            node_state_features=(),
            edge_features=(),
            candidate_features=("duration",),
            candidate_roles=(),
            global_features=(),
        )

    def options(self) -> dict[str, Any]:
        return {"view": self.view}

    def allocate(self, batch: int) -> State:
        shape = (batch, self.size)
        return State(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(batch, int))

    def fits(self, instance: Tasks) -> str | None:
        return None if len(instance.durations) <= self.size else "too many tasks"

    def load(self, state: State, observation: Observation, row: int, instance: Tasks) -> None:
        count = len(instance.durations)
        state.durations[row, :count] = instance.durations
        state.taken[row] = 0
        sign = 1 if self.view == "clear" else -1
        observation.candidates[row, :count, 0] = sign * instance.durations
        observation.action_mask[row] = np.arange(self.size) < count

    def step(
        self,
        state: State,
        observation: Observation,
        actions: NDArray[np.int64],
        rewards: NDArray[np.float64],
        terminated: NDArray[np.bool_],
    ) -> None:
        for row in np.flatnonzero(actions >= 0):
            state.order[row, state.taken[row]] = actions[row]
            state.taken[row] += 1
            observation.action_mask[row, actions[row]] = 0
            terminated[row] = not observation.action_mask[row].any()

    def solution(self, state: State, row: int) -> Order:
        return Order(tuple(state.order[row, : state.taken[row]].tolist()))

    def worst_case_reward(self, state: State, row: int) -> float:
        return 0.0

    def metrics(self, state: State, row: int) -> dict[str, float]:
        return {"objective": 0.0, "lower_bound": 0.0}

    def render(self, state: State, row: int) -> NDArray[np.uint8]:
        return np.zeros((1, 1, 3), np.uint8)


class ShortestFirst:
    """Optimal when the view is clear, the worst when it is inverted."""

    name = "shortest"
    requires: Mapping[str, str] = MappingProxyType({})

    def start(self, problem: Any, state: Any, observation: Observation) -> None: ...

    def act(
        self, problem: Any, state: Any, observation: Observation, rows: Any, rng: Any
    ) -> NDArray[np.int64]:
        legal = observation.action_mask[rows] > 0
        return np.where(legal, observation.candidates[rows, :, 0], np.inf).argmin(axis=1)


class InOrder(ShortestFirst):
    """The tasks as they come."""

    name = "inorder"

    def act(
        self, problem: Any, state: Any, observation: Observation, rows: Any, rng: Any
    ) -> NDArray[np.int64]:
        return (observation.action_mask[rows] > 0).argmax(axis=1)


class Learnt(InOrder):
    """The tasks as they come, unless its file says otherwise."""

    name = "learnt"

    def __init__(self, file: str) -> None:
        self.weights_hash = Path(file).read_text()

    def act(
        self, problem: Any, state: Any, observation: Observation, rows: Any, rng: Any
    ) -> NDArray[np.int64]:
        kind = ShortestFirst if self.weights_hash == "shortest" else InOrder
        return kind().act(problem, state, observation, rows, rng)


@dataclass(frozen=True)
class Shuffle:
    """A random order: depends on the generator it is given."""

    name: str = "shuffle"

    def solve(self, instance: Tasks, time_limit_s: float | None, rng: Any) -> Result[Order]:
        return Result(Order(tuple(rng.permutation(len(instance.durations)).tolist())), 0.01)


@dataclass(frozen=True)
class Exact(Shuffle):
    """Shortest first, with proof."""

    name: str = "exact"

    def solve(self, instance: Tasks, time_limit_s: float | None, rng: Any) -> Result[Order]:
        solution = Order(tuple(np.argsort(instance.durations, kind="stable").tolist()))
        return Result(solution, 0.5, lower_bound=solution.objective(instance), optimal=True)


@dataclass(frozen=True)
class Liar(Shuffle):
    """Leaves out a task of ``b2`` and hopes that nobody looks."""

    name: str = "liar"

    def solve(self, instance: Tasks, time_limit_s: float | None, rng: Any) -> Result[Order]:
        last = len(instance.durations) - (instance.name == "b2")
        return Result(Order(tuple(range(last))), 0.01)


@dataclass(frozen=True)
class Boaster(Shuffle):
    """Claims a bound that it cannot have."""

    name: str = "boaster"

    def solve(self, instance: Tasks, time_limit_s: float | None, rng: Any) -> Result[Order]:
        return Result(Order(tuple(range(len(instance.durations)))), 0.01, lower_bound=1e6)


@dataclass(frozen=True)
class Patience(Shuffle):
    """As :class:`Shuffle`, but is stopped by Ctrl-C on instance ``b2`` while a file exists."""

    name: str = "patience"
    trap: str = ""

    def solve(self, instance: Tasks, time_limit_s: float | None, rng: Any) -> Result[Order]:
        if instance.name == "b2" and Path(self.trap).exists():
            raise KeyboardInterrupt
        return super().solve(instance, time_limit_s, rng)


@dataclass(frozen=True)
class Asleep(Shuffle):
    """Leaves its process number in a folder and does not return in time."""

    name: str = "asleep"
    folder: str = ""

    def solve(self, instance: Tasks, time_limit_s: float | None, rng: Any) -> Result[Order]:
        (Path(self.folder) / str(os.getpid())).touch()
        time.sleep(600)
        raise AssertionError("somebody waited")


def suite(prefix: str, length: int, count: int) -> list[Tasks]:
    rng = np.random.default_rng(length)
    return [Tasks(f"{prefix}{i + 1}", rng.integers(1, 99, length)) for i in range(count)]


def best_known(name: str) -> BestKnown | None:
    """Known for the ``a`` instances alone."""
    for instance in suite("a", 4, 4):
        if instance.name == name:
            optimum = float(np.sort(instance.durations).cumsum().sum())
            return BestKnown(optimum, optimum, AS_OF, "by hand")
    return None


def read_instance(path: Path) -> Tasks:
    text = path.read_text()
    try:
        durations = [int(word) for word in text.split()]
    except ValueError as error:
        raise InstanceError(f"{path}, line 1: {error}, expected integers") from None
    return Tasks(path.stem, np.asarray(durations, dtype=np.int64))


def read_durations(text: str) -> list[Tasks]:
    try:
        return [Tasks(f"given-{text}", np.array([int(word) for word in text.split("-")]))]
    except ValueError:
        raise InstanceError(f"--durations: found {text!r}, expected integers joined by -") from None


def write_solution(instance: Tasks, solution: Order, path: Path) -> list[Path]:
    file = path.with_suffix(".json")
    file.write_text(json.dumps(solution.to_dict()))
    return [file]


def draw(instance: Tasks, solution: Order, path: Path, **options: Any) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 1.5))
    axes = figure.add_subplot(title=f"{instance.name}, {options['policy']}")
    lengths = instance.durations[list(solution.order)]
    axes.barh([0] * len(lengths), lengths, left=lengths.cumsum() - lengths, edgecolor="white")
    figure.savefig(path, metadata={"Software": None})


def make_problem(instances: Sequence[Tasks], view: str = "clear") -> TasksProblem:
    return TasksProblem(max(len(instance.durations) for instance in instances), view)


def make_family() -> Family:
    return Family(
        name="tasks",
        env_ids=(),
        make_problem=make_problem,
        problem_options={"view": ("clear", "inverted")},
        generators={},
        suites={
            "known": lambda: suite("a", 4, 4),
            "unknown": lambda: suite("b", 5, 3),
            "mixed": lambda: suite("a", 4, 4) + suite("b", 5, 3),
        },
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lambda instance: float(instance.durations.sum()),
        draw=draw,
        policies={"shortest": ShortestFirst, "inorder": InOrder, "learnt": Learnt},
        solvers={
            "shuffle": Shuffle,
            "exact": Exact,
            "liar": Liar,
            "boaster": Boaster,
            "patience": Patience,
            "asleep": Asleep,
        },
        metrics={"first duration": lambda instance, order: instance.durations[order.order[0]]},
        sources={"durations": Source("A-B-C", "Durations of the tasks.", read_durations)},
    )


FAMILIES = {"tasks": make_family}
