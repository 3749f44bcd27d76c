"""An evaluation from end to end: what to run, running it, and what to make of the results.

``evaluate.py`` is a thin command line over this module; notebooks can use it directly.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from makespan.baselines.backends import BACKENDS, MakeFamily, Places
from makespan.baselines.report import Picture
from makespan.baselines.results import ResultsFile, Row, with_gaps
from makespan.baselines.runner import InterruptedSolve, Outcome, Task, Workbench
from makespan.baselines.summary import Summary, summarise
from makespan.envs.core.errors import MakespanError, UnknownNameError, UsageError
from makespan.envs.core.family import BestKnown, Family
from makespan.envs.core.rollout import RolloutSolver, Solver


@dataclass(frozen=True)
class Plan:
    """What is to be run; made before anything runs, so that mistakes surface at once.

    Attributes:
        make_family: importable by name, since worker processes call it themselves.
        workbench: the family, and the solvers of this process.
        instances: with distinct names.
        best_known: published bounds by name of instance.
        specs: solvers, see :func:`makespan.baselines.registry.make_solver`.
        seeds: every solver is run with each.
        time_limit_s: per instance.
        own_files: whether the instances are a person's own: then every solution is written out.
        out: folder of results, report and pictures.
    """

    make_family: MakeFamily
    workbench: Workbench
    instances: tuple[Any, ...]
    best_known: dict[str, BestKnown | None]
    specs: tuple[str, ...]
    seeds: tuple[int, ...]
    time_limit_s: float | None
    own_files: bool
    out: Path

    @property
    def family(self) -> Family:
        """The family of the instances."""
        return self.workbench.family

    @property
    def tasks(self) -> list[Task]:
        """All tasks, instance by instance, so that an interruption leaves a fair comparison."""
        return [
            self.workbench.task(instance, spec, seed, self.time_limit_s)
            for instance in self.instances
            for spec in self.specs
            for seed in self.seeds
        ]

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the problem's options."""
        return tuple(self.family.problem_options)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the family's further figures."""
        return tuple(self.family.metrics)

    @property
    def rules(self) -> list[str]:
        """Specifications of dispatching rules, see :func:`is_rule`."""
        solvers = {spec: self.workbench.solver(spec) for spec in self.specs}
        return [spec for spec, solver in solvers.items() if is_rule(solver)]

    def check(self, baseline: str | None = None) -> None:
        """Build every solver once.

        Raises:
            UnknownNameError: for an unknown solver, or a baseline that is not among them.
            UsageError: for wrong options of a solver, or names that give the same file names.
        """
        _check_distinct("instances", [instance.name for instance in self.instances])
        _check_distinct("policies", self.specs)
        for spec in self.specs:
            self.workbench.solver(spec)
        if baseline is not None and baseline not in self.specs:
            raise UnknownNameError("baseline among the policies", baseline, self.specs)


def is_rule(solver: Solver[Any]) -> bool:
    """Whether it is one run of a policy that was not learnt and does not see the future."""
    if not isinstance(solver, RolloutSolver):
        return False
    return not any(getattr(solver.policy, name, False) for name in ("learnt", "sees_future"))


@dataclass
class Evaluation:
    """Runs a plan, keeps what is done, and continues from it.

    Attributes:
        plan: what to run.
        results: the results file in the plan's folder.
        solutions: best solution found here, by (instance name, specification).
    """

    plan: Plan
    results: ResultsFile = field(init=False)
    solutions: dict[tuple[str, str], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.results = ResultsFile(
            self.plan.out / "results.csv", self.plan.option_names, self.plan.metric_names
        )

    def missing(self) -> list[Task]:
        """Tasks without a row in the results file."""
        done = {row.key for row in self.results.rows}
        return [task for task in self.plan.tasks if task.key not in done]

    def run(self, backend: str = "serial", workers: int = 1, threads: int = 1) -> Iterator[Row]:
        """Run the missing tasks; each row is on the disk before it is yielded.

        Args:
            backend: where, a key of :data:`makespan.baselines.backends.BACKENDS`.
            workers: number of processes.
            threads: of each, for neural networks.

        Raises:
            RunError: naming solver and instance, when a solution is invalid.
            UsageError: for a backend that is not installed, or has no workers.
        """
        plan = self.plan
        places = Places(workers, threads)
        outcomes = BACKENDS[backend](plan.workbench, plan.make_family, self.missing(), places)
        with contextlib.closing(outcomes):
            try:
                for outcome in outcomes:
                    self._keep(outcome)
                    row = self._to_row(outcome)
                    self.results.append(row)
                    yield row
            except InterruptedSolve as stopped:
                self._keep(stopped.outcome)
                raise

    def _keep(self, outcome: Outcome) -> None:
        """Remember the solution if it is the solver's best; a person's own is written out."""
        if self._is_best(outcome):
            self.solutions[outcome.task.instance.name, outcome.task.spec] = outcome.solution
            if self.plan.own_files:
                self._write_out(outcome)

    def rows(self) -> list[Row]:
        """This plan's rows with gaps, in the plan's order; the file is put into that order too.

        Rows of other plans in the same folder stay in the file, behind.
        """
        rows = {row.key: row for row in with_gaps(self.results.rows)}
        own = [rows.pop(task.key) for task in self.plan.tasks if task.key in rows]
        self.results.rewrite([*own, *rows.values()])
        return own

    def pictures(self, summary: Summary | None) -> list[Picture]:
        """Draw the best solver and the best rule on the first and on the worst instance.

        A solution found in an earlier process is shown when its picture was drawn then.
        """
        if summary is None:
            return []
        best = summary.solvers[0]
        rules = [s.spec for s in summary.solvers if s.spec in self.plan.rules]
        worst = summary.instances[max(range(len(best.gaps)), key=best.gaps.__getitem__)]
        found = []
        for name in dict.fromkeys([summary.instances[0], worst]):
            for spec in dict.fromkeys([best.spec, *rules[:1]]):
                path = self._picture_path(name, spec)
                if (name, spec) in self.solutions:
                    self._draw(name, spec, self.solutions[name, spec])
                if path.exists():
                    found.append(Picture(path, f"{name}, {spec}"))
        return found

    def _to_row(self, outcome: Outcome) -> Row:
        task = outcome.task
        known = self.plan.best_known[task.instance.name]
        return Row(
            instance=task.instance.name,
            instance_hash=task.instance.content_hash(),
            size=getattr(task.instance, "size", ""),
            solver=task.spec,
            options=tuple(outcome.options.get(name, "") for name in self.plan.option_names),
            seed=task.seed,
            time_limit_s=task.time_limit_s,
            weights_hash=task.weights_hash,
            objective=outcome.objective,
            metrics=tuple(outcome.metrics[name] for name in self.plan.metric_names),
            lower_bound=outcome.lower_bound,
            best_known_lower=known.lower_bound if known else None,
            best_known_upper=known.upper_bound if known else None,
            best_known_as_of=known.as_of if known else "",
            gap_percent=float("nan"),
            gap_to="",
            seconds=outcome.seconds,
            status="optimal" if outcome.optimal else "feasible",
            version=task.key.version,
            hardware=outcome.hardware,
            improvements=outcome.improvements,
        )

    def _is_best(self, outcome: Outcome) -> bool:
        """Whether no other seed did as well at the same task, in any process."""
        task = outcome.task.key
        return all(
            row.objective > outcome.objective
            for row in self.results.rows
            if row.key._replace(seed=task.seed) == task
        )

    def _write_out(self, outcome: Outcome) -> None:
        """The solution's files and its picture."""
        name, spec = outcome.task.instance.name, outcome.task.spec
        folder = self.plan.out / "solutions"
        folder.mkdir(exist_ok=True)
        stem = folder / file_name(name, spec)
        self.plan.family.write_solution(outcome.task.instance, outcome.solution, stem)
        self._draw(name, spec, outcome.solution, outcome.lower_bound)

    def _picture_path(self, name: str, spec: str) -> Path:
        return self.plan.out / "pictures" / f"{file_name(name, spec)}.png"

    def _draw(self, name: str, spec: str, solution: Any, lower_bound: float = -math.inf) -> None:
        """Draw a solution; the bound shown is the best that is known by now."""
        instance = next(each for each in self.plan.instances if each.name == name)
        content = instance.content_hash()
        bounds = [r.lower_bound for r in self.results.rows if r.instance_hash == content]
        path = self._picture_path(name, spec)
        path.parent.mkdir(exist_ok=True)
        draw: Callable[..., None] = self.plan.family.draw
        draw(
            instance,
            solution,
            path,
            policy=spec,
            lower_bound=max([lower_bound, *bounds]),
            best_known=self.plan.best_known[name],
        )


def load_suite(family: Family, name: str) -> tuple[tuple[Any, ...], dict[str, BestKnown | None]]:
    """Instances of a benchmark suite and their published bounds.

    Raises:
        UnknownNameError: with the close matches.
    """
    if name not in family.suites:
        raise UnknownNameError(f"suite of {family.name}", name, family.suites)
    instances = tuple(family.suites[name]())
    return instances, {i.name: family.best_known(i.name) for i in instances}


def load_own(
    family: Family, paths: Sequence[Path], sources: Mapping[str, Sequence[str]]
) -> tuple[tuple[Any, ...], dict[str, BestKnown | None]]:
    """A person's own instances; published bounds only for what is a benchmark instance.

    Args:
        family: of the instances.
        paths: of instance files.
        sources: name of a source of the family -> what was given to it.

    Raises:
        InstanceError: naming file and line.
        OSError: when a file cannot be read.
    """
    instances = [family.read_instance(path) for path in paths]
    for name, texts in sources.items():
        for text in texts:
            instances.extend(family.sources[name].read(text))
    return tuple(instances), {i.name: _bounds_of_file(family, i) for i in instances}


def _bounds_of_file(family: Family, instance: Any) -> BestKnown | None:
    """Bounds published under the file's name, if its content is that benchmark instance's."""
    known = family.best_known(instance.name)
    if known is None:
        return None
    for load in family.suites.values():
        with contextlib.suppress(MakespanError, ImportError):  # a suite may need another package
            for other in load():
                if other.name == instance.name:
                    return known if other.content_hash() == instance.content_hash() else None
    return None


def split_specs(texts: Sequence[str]) -> tuple[str, ...]:
    """Specifications separated by spaces or commas, without repetitions.

    A piece like ``key=value`` behind a comma belongs to the specification before it:
    ``"cp-sat:workers=2,hint=mwkr,tabu"`` is two specifications.
    """
    pieces = [piece.strip() for text in texts for piece in re.split(r",(?![^:/,]+=)", text)]
    return tuple(dict.fromkeys(filter(None, pieces)))


def compare(
    evaluation: Evaluation, baseline: str | None = None
) -> tuple[list[Row], Summary | None]:
    """The rows of an evaluation and their comparison."""
    rows = evaluation.rows()
    if not rows:
        return rows, None
    plan = evaluation.plan
    return rows, summarise(
        rows, plan.option_names, plan.rules, baseline, plan.metric_names, plan.specs
    )


def _check_distinct(what: str, names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        file = file_name(name).lower()
        if file in seen:
            raise UsageError(
                f"{what} {seen[file]!r} and {name!r} would share their files; rename one"
            )
        seen[file] = name


def file_name(*parts: str) -> str:
    """A file name that every system takes, without dots, from an instance and a specification."""
    return "__".join(re.sub(r"[^A-Za-z0-9_-]+", "-", part).strip("-") for part in parts)
