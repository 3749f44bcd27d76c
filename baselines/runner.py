"""Run solvers over instances: every solution validated, results independent of who runs them.

A task is (instance, solver specification, seed, time limit). Its random generator is seeded from
the seed and the content of the instance alone, so the same task gives the same answer in this
process, in another one, and after an interruption.
"""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from makespan import __version__
from makespan.baselines.results import Improvements, Key
from makespan.envs.core.errors import InvalidSolutionError, MakespanError
from makespan.envs.core.family import Family
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import Solver, rollout


class RunError(MakespanError, RuntimeError):
    """A solver failed on an instance or returned an invalid solution; the message names both."""


@dataclass(frozen=True)
class Task:
    """One solver, one instance, one seed.

    Attributes:
        instance: what to solve.
        spec: specification of the solver, see :func:`makespan.baselines.registry.make_solver`.
        seed: of the random generator.
        time_limit_s: seconds allowed; None: the solver's own limit.
        weights_hash: of the solver's policy, see
            :attr:`~makespan.envs.core.rollout.ScorePolicy.weights_hash`.
    """

    instance: Any
    spec: str
    seed: int
    time_limit_s: float | None
    weights_hash: str = ""

    @property
    def key(self) -> Key:
        """Identifies the row of the results file that answers this task."""
        return Key(
            instance=self.instance.name,
            instance_hash=self.instance.content_hash(),
            solver=self.spec,
            seed=self.seed,
            time_limit_s=self.time_limit_s,
            weights_hash=self.weights_hash,
            version=__version__,
        )


@dataclass(frozen=True)
class Outcome:
    """A validated answer.

    Attributes:
        task: the question.
        solution: valid for the instance.
        objective: from the definition, not from the solver.
        metrics: the family's further figures of the solution, by name.
        lower_bound: proven by the solver, or the family's quick bound when that is better.
        seconds: wall clock, as measured by the solver; the first run of a policy, which loads and
            compiles, is not counted.
        optimal: whether the solver proved optimality.
        improvements: as in :class:`~makespan.baselines.results.Row`.
        options: values of the problem's options that the solver decided under, by name; empty for
            a solver that does not go through the simulator.
        hardware: of the machine that solved it.
    """

    task: Task
    solution: Any
    objective: float
    metrics: dict[str, float]
    lower_bound: float
    seconds: float
    optimal: bool
    improvements: Improvements
    options: dict[str, str]
    hardware: str


class InterruptedSolve(KeyboardInterrupt):
    """Ctrl-C cut a solver short; it had an answer, but not the answer to its task.

    Attributes:
        outcome: what it had.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def registered_family(name: str) -> Family:
    """A family by its name; ``partial(registered_family, name)`` can be sent to a process."""
    from makespan.envs import FAMILIES

    return FAMILIES[name]()


class Workbench:
    """A family and the solvers built for it so far, so that weights are loaded once."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._solvers: dict[str, Solver[Any]] = {}
        self._warm: set[str] = set()

    def solver(self, spec: str) -> Solver[Any]:
        """The solver of a specification; raises UnknownNameError or UsageError."""
        from makespan.baselines.registry import make_solver

        if spec not in self._solvers:
            self._solvers[spec] = make_solver(self.family, spec)
        return self._solvers[spec]

    def task(self, instance: Any, spec: str, seed: int, time_limit_s: float | None) -> Task:
        """The task for the solver as it is now; raises as :meth:`solver`."""
        policy = getattr(self.solver(spec), "policy", None)
        return Task(instance, spec, seed, time_limit_s, getattr(policy, "weights_hash", ""))

    def solve(self, task: Task) -> Outcome:
        """Solve and validate one task.

        Raises:
            RunError: naming solver and instance.
            InterruptedSolve: when Ctrl-C made a solver return what it had.
        """
        instance = task.instance
        content = int(instance.content_hash()[:16], 16)
        rng = np.random.default_rng([task.seed, content])
        solver = self.solver(task.spec)
        try:
            self._warm_up(task.spec, instance)
            result = solver.solve(instance, task.time_limit_s, rng)
            result.solution.validate(instance)
        except InvalidSolutionError as error:
            raise RunError(
                f"{task.spec} returned an invalid solution of {instance.name}: {error}"
            ) from None
        except MakespanError as error:
            raise RunError(f"{task.spec} failed on {instance.name}: {error}") from None
        except Exception as error:
            error.add_note(f"while {task.spec} solved {instance.name}")
            raise
        objective = float(result.solution.objective(instance))
        bounds = [float(self.family.lower_bound(instance)), result.lower_bound]
        outcome = Outcome(
            task=task,
            solution=result.solution,
            objective=objective,
            metrics={
                name: float(metric(instance, result.solution))
                for name, metric in self.family.metrics.items()
            },
            lower_bound=max(bound for bound in bounds if bound is not None),
            seconds=result.seconds,
            optimal=result.optimal,
            improvements=tuple(result.details.get("improvements", ())),
            options=_problem_options(solver, instance),
            hardware=hardware(),
        )
        if result.details.get("interrupted"):  # a resumed run solves the task again
            raise InterruptedSolve(outcome)
        return outcome

    def _warm_up(self, spec: str, instance: Any) -> None:
        """Run a policy once before its clock counts: the first run compiles kernels."""
        solver = self.solver(spec)
        make_problem, policy = _simulator(solver), getattr(solver, "policy", None)
        if spec not in self._warm and make_problem is not None and policy is not None:
            rollout(make_problem([instance]), [instance], policy, np.random.default_rng(0))
        self._warm.add(spec)


def _simulator(solver: Solver[Any]) -> Callable[[Sequence[Any]], Problem[Any]] | None:
    """What makes the problem that a policy-based solver decides in, see RolloutSolver."""
    return getattr(solver, "make_problem", None)


def _problem_options(solver: Solver[Any], instance: Any) -> dict[str, str]:
    make_problem = _simulator(solver)
    if make_problem is None:
        return {}
    return {name: str(value) for name, value in make_problem([instance]).options().items()}


@cache
def hardware() -> str:
    """Processor and number of cores, e.g. ``"AMD EPYC 7B13, 2 cores"``."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"
