"""Wrappers that turn a policy into a stronger solver: sampling, beam search, tree search."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UsageError
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.ranges import check_least
from makespan.envs.core.rollout import MAX_TEMPERATURE, ScorePolicy, rollout, step_forced
from makespan.envs.core.solution import Result

#: Rows times nodes of one batched rollout; more samples are played in several batches.
BATCH_NODES = 300_000
#: Added to the prior of every legal decision, so that tree search rules nothing out.
LEAST_PRIOR = 1e-3
#: Samples of the first batch when there is a time limit; each batch doubles the one before.
FIRST_BATCH = 8


@dataclass(frozen=True)
class Sampling:
    """The best of ``samples`` runs, the first of them greedy.

    Attributes:
        name: for tables.
        policy: what decides.
        make_problem: the problem sized for the given instances.
        samples: number of runs.
        temperature: of the sampled runs.

    Raises:
        UsageError: unless samples >= 1 and 0 < temperature <= MAX_TEMPERATURE.
    """

    name: str
    policy: ScorePolicy
    make_problem: Callable[[Sequence[Any]], Problem[Any]]
    samples: int = 128
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_least(self, samples=1)
        if not 0 < self.temperature <= MAX_TEMPERATURE:
            raise UsageError(
                f"temperature: found {self.temperature}, expected more than 0 and at most "
                f"{MAX_TEMPERATURE:,.0f}"
            )

    def solve(
        self, instance: Any, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[Any]:
        """Sample in batches; stops early when the next batch would pass ``time_limit_s``."""
        started = time.perf_counter()
        problem = self.make_problem([instance])
        largest = max(1, BATCH_NODES // problem.spec.max_nodes)
        # under a time limit the first batch only measures what a sample costs
        batch = largest if time_limit_s is None else min(FIRST_BATCH, largest)
        best, value, taken = None, np.inf, 0
        improvements: list[tuple[float, float]] = []
        while taken < self.samples:
            count = min(batch, self.samples - taken)
            temperature = np.full(count, self.temperature)
            if not taken:
                temperature[0] = 0
            policy = self.policy.with_temperature(temperature)
            for solution in rollout(problem, [instance] * count, policy, rng):
                objective = solution.objective(instance)
                if objective < value:
                    best, value = solution, objective
            taken += count
            batch = min(2 * batch, largest)
            spent = time.perf_counter() - started
            if not improvements or value < improvements[-1][1]:
                improvements.append((spent, value))
            ahead = min(batch, self.samples - taken)
            if time_limit_s is not None and spent * (1 + ahead / taken) > time_limit_s:
                break
        details = {"samples": taken, "improvements": improvements}
        return Result(best, time.perf_counter() - started, details=details)


@dataclass(frozen=True)
class BeamSearch:
    """Keeps the greedy run and the ``width - 1`` other partial solutions of highest likelihood.

    Without its place the greedy run could be dropped for runs that begin more likely and end worse.

    Attributes:
        name: for tables.
        policy: what scores.
        make_problem: the problem sized for the given instances.
        width: partial solutions kept.

    Raises:
        UsageError: unless width >= 1.
    """

    name: str
    policy: ScorePolicy
    make_problem: Callable[[Sequence[Any]], Problem[Any]]
    width: int = 16

    def __post_init__(self) -> None:
        check_least(self, width=1)

    def solve(
        self, instance: Any, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[Any]:
        """Expand until all kept solutions are complete; the search stops by itself."""
        started = time.perf_counter()
        problem = self.make_problem([instance])
        state, observation = problem.allocate(self.width), problem.spec.allocate(self.width)
        for row in range(self.width):
            problem.load(state, observation, row, instance)
        self.policy.start(problem, state, observation)
        done = np.ones(self.width, dtype=np.bool_)
        done[0] = False
        likelihood = np.where(done, -np.inf, 0.0)
        rewards = np.zeros(self.width)
        while True:
            step_forced(problem, state, observation, done, rewards)
            active = np.flatnonzero(~done)
            if not len(active):
                break
            parents, actions, likelihood = self._expand(
                problem, state, observation, done, likelihood
            )
            for arrays in (state, observation):
                for array in arrays:
                    array[:] = array[parents]
            # a dead branch counts as done, so that it is never expanded
            done[:] = done[parents] | ~np.isfinite(likelihood)
            problem.step(state, observation, actions, rewards, done)
        solutions = [
            problem.solution(state, row)
            for row in range(self.width)
            if np.isfinite(likelihood[row])
        ]
        best = min(solutions, key=lambda solution: solution.objective(instance))
        return Result(best, time.perf_counter() - started, details={"width": self.width})

    def _expand(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        done: NDArray[np.bool_],
        likelihood: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """The successors kept: their parents, actions (-1: complete), likelihoods.

        Row 0 holds the greedy run.
        """
        active = np.flatnonzero(~done)
        complete = np.flatnonzero(done & np.isfinite(likelihood))
        scores = self.policy.scores(problem, state, observation, active).astype(np.float64)
        greedy = int(scores[0].argmax())
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        total = (likelihood[active, None] + scores).ravel()
        values = np.concatenate([total, likelihood[complete]])
        parents = np.concatenate([np.repeat(active, scores.shape[1]), complete])
        actions = np.concatenate(
            [np.tile(np.arange(scores.shape[1]), len(active)), np.full(len(complete), -1)]
        )
        if done[0]:
            greedy = len(total)
        ranking = np.argsort(-values, kind="stable")
        keep = np.append(greedy, ranking[ranking != greedy][: self.width - 1])
        keep = keep[np.isfinite(values[keep])]
        missing = self.width - len(keep)
        # rows without a successor repeat the first as a dead branch of likelihood zero
        padding = np.full(missing, keep[0])
        chosen = np.concatenate([keep, padding])
        kept_actions = actions[chosen]
        kept_actions[len(keep) :] = -1
        values = values[chosen]
        values[len(keep) :] = -np.inf
        return parents[chosen], kept_actions, values


@dataclass(frozen=True)
class TreeSearch:
    """Monte-Carlo tree search over the deterministic simulator, the policy as prior and to finish.

    A simulation walks down the tree by PUCT (Rosin, Annals of Mathematics and Artificial
    Intelligence 61, 2011; Silver et al. 2017), adds one decision, and lets the policy play greedily
    to the end; its objective, scaled by the best and worst seen, is the value of the nodes passed.
    The best complete run is kept. In ``stages`` the root moves along that run, so that late
    decisions are searched as well; there is no learned value.

    Attributes:
        name: for tables.
        policy: what scores.
        make_problem: the problem sized for the given instances.
        simulations: most complete runs in all, the greedy ones that a stage begins with included.
        stages: times that the root moves; simulations are shared equally. A stage whose share
            would not go beyond its greedy run leaves it to the next.
        exploration: weight of the prior in PUCT.
        batch: simulations that are played at once.

    Raises:
        UsageError: unless all numbers are positive.
    """

    name: str
    policy: ScorePolicy
    make_problem: Callable[[Sequence[Any]], Problem[Any]]
    simulations: int = 256
    stages: int = 16
    exploration: float = 1.0
    batch: int = 16

    def __post_init__(self) -> None:
        for name in ("simulations", "stages", "exploration", "batch"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name}: found {getattr(self, name)}, expected more than 0")

    def solve(
        self, instance: Any, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[Any]:
        """Search until the simulations are used, or about ``time_limit_s``, whichever is first."""
        started = time.perf_counter()
        problem = self.make_problem([instance])
        (greedy,) = self._play(problem, instance, [()], rng)
        best = greedy
        improvements = [(time.perf_counter() - started, best.objective)]
        played = 1
        for stage in range(self.stages):
            root = best.decisions[: stage * len(best.decisions) // self.stages]
            share = self.simulations * (stage + 1) // self.stages
            if root and share - played < 2:
                continue
            tree = _Tree(root, self.exploration)
            if not root:
                tree.record(root, greedy)
            while played < share:
                if time_limit_s is not None:
                    spent = time.perf_counter() - started
                    allowed = time_limit_s * (stage + 1) / self.stages
                    if spent + spent / played * self.batch > allowed:
                        break
                paths = tree.select(min(self.batch, share - played))
                if not paths:
                    break  # everything below the root is known
                runs = self._play(problem, instance, paths, rng)
                for path, run in zip(paths, runs, strict=True):
                    tree.record(path, run)
                    if run.objective < best.objective:
                        best = run
                        improvements.append((time.perf_counter() - started, best.objective))
                played += len(paths)
        details = {"simulations": played, "improvements": improvements}
        return Result(best.solution, time.perf_counter() - started, details=details)

    def _play(
        self,
        problem: Problem[Any],
        instance: Any,
        paths: Sequence[tuple[int, ...]],
        rng: np.random.Generator,
    ) -> "list[_Run]":
        """Runs that begin with the given decisions and are finished greedily.

        Decisions with one legal candidate are taken by themselves and do not count.
        """
        count = len(paths)
        state, observation = problem.allocate(count), problem.spec.allocate(count)
        for row in range(count):
            problem.load(state, observation, row, instance)
        policy = self.policy.with_temperature(0.0)
        policy.start(problem, state, observation)
        done, rewards = np.zeros(count, dtype=np.bool_), np.zeros(count)
        taken: list[list[int]] = [[] for _ in paths]
        priors: list[NDArray[np.float64] | None] = [None] * count
        while True:
            step_forced(problem, state, observation, done, rewards)
            active = np.flatnonzero(~done)
            if not len(active):
                break
            actions = np.full(count, -1, dtype=np.int64)
            free = [row for row in active.tolist() if len(taken[row]) >= len(paths[row])]
            for row in set(active.tolist()) - set(free):
                actions[row] = paths[row][len(taken[row])]
            if free:
                scores = policy.scores(problem, state, observation, np.array(free))
                actions[free] = scores.argmax(axis=1)
                for row, row_scores in zip(free, scores.astype(np.float64), strict=True):
                    if priors[row] is None:
                        prior = np.exp(row_scores - row_scores.max())
                        priors[row] = np.where(np.isfinite(row_scores), prior + LEAST_PRIOR, 0)
            for row in active.tolist():
                taken[row].append(int(actions[row]))
            problem.step(state, observation, actions, rewards, done)
        solutions = [problem.solution(state, row) for row in range(count)]
        return [
            _Run(tuple(taken[row]), priors[row], solution, float(solution.objective(instance)))
            for row, solution in enumerate(solutions)
        ]


class _Run(NamedTuple):
    """A complete run."""

    decisions: tuple[int, ...]
    prior: NDArray[np.float64] | None  # (A,) of the first decision made by the policy; 0: illegal
    solution: Any
    objective: float


@dataclass
class _Node:
    prior: NDArray[np.float64]  # (A,) of the decision to take here; 0: illegal
    visits: NDArray[np.float64]  # (A,) those whose outcome is not yet known included
    outcomes: NDArray[np.float64]  # (A,) number of objectives known
    total: NDArray[np.float64]  # (A,) their sum
    closed: set[int] = field(default_factory=set)  # decisions below which nothing is left to try


class _Tree:
    """Nodes by the decisions that lead to them."""

    def __init__(self, root: tuple[int, ...], exploration: float) -> None:
        self.root, self.exploration = root, exploration
        self.nodes: dict[tuple[int, ...], _Node] = {}
        self.best, self.worst = np.inf, -np.inf

    def select(self, count: int) -> list[tuple[int, ...]]:
        """Up to ``count`` different paths to new nodes."""
        paths: list[tuple[int, ...]] = []
        blocked: set[tuple[int, ...]] = set()  # below these, all is known or on its way
        while len(paths) < count and self.root not in blocked:
            path = self._descend(blocked)
            if path not in self.nodes:
                paths.append(path)
                for depth in range(len(self.root), len(path)):
                    self.nodes[path[:depth]].visits[path[depth]] += 1
            blocked.add(path)
        return paths

    def _descend(self, blocked: set[tuple[int, ...]]) -> tuple[int, ...]:
        """A path to a new node, or to a node below which there is nothing to choose."""
        path = self.root
        while path in self.nodes:
            node = self.nodes[path]
            left = node.prior > 0
            left[list(node.closed)] = False
            if not left.any() and path != self.root:
                self.nodes[path[:-1]].closed.add(path[-1])
            left[[a for a in np.flatnonzero(left) if (*path, int(a)) in blocked]] = False
            if not left.any():
                return path
            path = (*path, self._best(node, left))
        return path

    def _best(self, node: _Node, left: NDArray[np.bool_]) -> int:
        """PUCT over what is left to try."""
        mean = np.where(node.outcomes > 0, node.total / np.maximum(node.outcomes, 1), self.worst)
        value = (self.worst - mean) / max(self.worst - self.best, 1e-12)
        prior = node.prior / node.prior.sum()
        bonus = self.exploration * prior * np.sqrt(node.visits.sum() + 1) / (1 + node.visits)
        return int(np.where(left, value + bonus, -np.inf).argmax())

    def record(self, path: tuple[int, ...], run: _Run) -> None:
        """Add the node at ``path`` and tell the nodes above what came of it."""
        self.best, self.worst = min(self.best, run.objective), max(self.worst, run.objective)
        for depth in range(len(self.root), len(path)):
            node, action = self.nodes[path[:depth]], path[depth]
            node.outcomes[action] += 1
            node.total[action] += run.objective
        if run.prior is not None:
            self.nodes[path] = _Node(run.prior, *np.zeros((3, len(run.prior))))
        elif path != self.root:  # complete: nothing comes after
            self.nodes[path[:-1]].closed.add(path[-1])
