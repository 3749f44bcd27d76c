"""The training run around an algorithm: schedule, validation, logs, checkpoints, exact resume.

A run lives in a folder: ``checkpoint.safetensors`` (everything needed to go on),
``policy.safetensors`` (the best on the validation instances), ``metrics.csv`` and TensorBoard
event files.
"""

import csv
import dataclasses
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch

from makespan.agents.checkpoint import (
    POLICY,
    ROWS,
    Checkpoint,
    check_features,
    check_problem,
    feature_names,
    load_checkpoint,
    naming_damage,
    save_checkpoint,
)
from makespan.agents.distributed import ALONE, Processes
from makespan.agents.following import Follower
from makespan.agents.neural import NeuralPolicy
from makespan.agents.ppo import Experience, PPOConfig, collect, update
from makespan.agents.schedules import schedule
from makespan.envs.core.errors import CheckpointError, DivergenceError, UsageError
from makespan.envs.core.family import Family
from makespan.envs.core.files import write_atomically
from makespan.envs.core.problem import Generator, GrowingGenerator, Problem
from makespan.envs.core.ranges import check_least
from makespan.envs.core.rollout import Policy, RolloutSolver, rollout
from makespan.models.policy import GraphPolicy, PolicyConfig

CHECKPOINT = "checkpoint.safetensors"
BEST = "policy.safetensors"
METRICS = "metrics.csv"

#: First entry of the seeds of training instances; validation and benchmarks use others.
TRAINING_STREAM = 1
VALIDATION_STREAM = 2


@dataclass(frozen=True)
class RunConfig:
    """How long a run takes and what it keeps.

    Attributes:
        iterations: of the algorithm; with 0, ``minutes`` decides.
        minutes: wall-clock budget of the iterations, validating and saving not counted; the
            schedule then follows the clock, and a resumed run goes on exactly but its schedule
            depends on the time that was left.
        seed: of everything random, 0 to 2^63 - 1.
        schedule: of the learning rate, over the budget.
        curriculum: sizes grow from the low to the high end of their ranges over the first half.
        validation: instances drawn for the choice of the best policy.
        validate_every: iterations between validations.
        checkpoint_every: iterations between checkpoints.
        imitate: specification of a policy of the family, e.g. a rule, or of a solver, that the
            first iterations learn from; empty for none.
        imitate_iterations: number of those iterations.
    """

    iterations: int = 0
    minutes: float = 20.0
    seed: int = 0
    schedule: str = "cosine"
    curriculum: bool = False
    validation: int = 32
    validate_every: int = 20
    checkpoint_every: int = 20
    imitate: str = ""
    imitate_iterations: int = 20

    def __post_init__(self) -> None:
        schedule(self.schedule)
        if self.iterations < 0 or (self.iterations == 0 and not self.minutes > 0):
            raise UsageError("iterations or minutes: expected one of them to be more than 0")
        if self.iterations and self.minutes != type(self).minutes:
            raise UsageError(f"minutes: found {self.minutes} with iterations, expected one of them")
        check_least(
            self, seed=0, validation=1, validate_every=1, checkpoint_every=1, imitate_iterations=0
        )
        if self.seed >= 2**63:
            raise UsageError(f"seed: found {self.seed}, expected at most {2**63 - 1}")
        if not self.imitate and self.imitate_iterations != type(self).imitate_iterations:
            raise UsageError(f"imitate_iterations: found {self.imitate_iterations} without imitate")


@dataclass
class Counters:
    """What a run has done so far."""

    iteration: int = 0
    steps: int = 0
    seconds: float = 0.0
    value_scale: float = 0.0
    best: float = float("inf")


class Learnt(NamedTuple):
    """What one iteration of an algorithm did."""

    steps: int
    mean_return: float  # of the episodes that ended
    losses: dict[str, float]


class Trainer:
    """Trains a policy by PPO.

    Args:
        family: of problems.
        generator: of training instances.
        options: of the problem, e.g. ``{"decode": "active"}``.
        policy: shape of the network.
        ppo: settings of the algorithm.
        run: budget, seed, validation.
        folder: of the run.
        device: where the network lives.
        processes: among which the work is shared; only the first writes and validates.

    Raises:
        UsageError: for settings that the algorithm does not have, or a curriculum that the
            generator does not.
    """

    #: Stored in checkpoints.
    algorithm: ClassVar[str] = "ppo"
    #: Settings of PPO that the algorithm has no use for.
    unused: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        family: Family,
        generator: Generator[Any],
        options: dict[str, Any],
        policy: PolicyConfig,
        ppo: PPOConfig,
        run: RunConfig,
        folder: Path,
        device: str = "cpu",
        processes: Processes = ALONE,
    ) -> None:
        for name in self.unused:
            if getattr(ppo, name) != getattr(PPOConfig, name):
                raise UsageError(
                    f"{name}: found {getattr(ppo, name)}, {self.algorithm} has no such setting"
                )
        if run.curriculum and not hasattr(generator, "grown"):
            raise UsageError(
                f"curriculum: found {type(generator).__name__}, expected a generator with a "
                "method grown(progress)"
            )
        self.family, self.generator, self.options = family, generator, options
        self.ppo, self.run, self.folder = ppo, run, folder
        self.device, self.processes = processes.device(device), processes
        self.problem = family.make_problem(generator, **options)
        torch.manual_seed(run.seed)
        self.network = GraphPolicy(self.problem.spec, policy).to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=ppo.learning_rate, eps=1e-5)
        self.counters = Counters()
        self.validation = _draw(generator, run.validation, VALIDATION_STREAM)
        self._bounds = np.array([family.lower_bound(i) for i in self.validation])
        self._rows: list[dict[str, Any]] = []
        self._expert = self._make_expert()
        self._prepare()

    def _prepare(self) -> None:
        """What an algorithm sets up besides; ours needs nothing."""

    def _make_expert(self) -> Policy | None:
        """What to imitate first; raises UsageError for what cannot be."""
        if not self.run.imitate:
            return None
        return make_expert(self.family, self.run.imitate, self.problem)

    @property
    def progress(self) -> float:
        """Share of the budget used, 0 to 1."""
        if self.run.iterations:
            return self.counters.iteration / self.run.iterations
        return min(1.0, self.counters.seconds / (60 * self.run.minutes))

    def train(
        self,
        report: Callable[[dict[str, Any]], None] = lambda row: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run until the budget is used or ``stop()``; always ends with a checkpoint.

        Args:
            report: gets the figures of every iteration.
            stop: asked after every iteration.
        """
        if not self.processes.first:
            while not self._finished(stop):
                self._iterate()
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with _event_writer(self.folder, self.counters.iteration) as events:
            while not self._finished(stop):
                row = self._iterate()
                self._rows.append(row)
                for key, value in row.items():
                    events.add_scalar(key, value, row["iteration"])
                if self.counters.iteration % self.run.checkpoint_every == 0:
                    self.save()
                report(row)
            if self.progress >= 1 and self.counters.iteration % self.run.validate_every:
                self._validate()
                self._rows[-1]["validation_ratio"] = self._last_ratio
        self.save()

    def _finished(self, stop: Callable[[], bool]) -> bool:
        """Whether the budget is used or any process is asked to stop; by the first's clock."""
        self.counters.seconds = self.processes.agree(self.counters.seconds)
        return self.progress >= 1 or any(self.processes.gather(stop()))

    def _iterate(self) -> dict[str, Any]:
        """One iteration of the algorithm; returns its figures."""
        started = time.perf_counter()
        counters, run = self.counters, self.run
        rate = self.ppo.learning_rate * schedule(run.schedule)(self.progress)
        generator = self.generator
        if run.curriculum:
            growing = cast(GrowingGenerator[Any], generator)
            generator = growing.grown(min(1.0, 2 * self.progress))
        learnt = self._learn(rate, generator)
        self._check_finite(learnt.losses)
        counters.iteration += 1
        counters.steps += learnt.steps
        seconds = time.perf_counter() - started
        counters.seconds += seconds
        if counters.iteration % run.validate_every == 0 and self.processes.first:
            self._validate()
        return {
            "iteration": counters.iteration,
            "steps": counters.steps,
            "seconds": counters.seconds,
            "steps_per_second": learnt.steps / seconds,
            "learning_rate": rate,
            "mean_return": learnt.mean_return,
            "validation_ratio": self._last_ratio,
            **learnt.losses,
        }

    def _check_finite(self, losses: dict[str, float]) -> None:
        """Raise DivergenceError when a loss or a weight is no number, before it is saved."""
        wrong = [name for name, value in losses.items() if not np.isfinite(value)]
        weights = self.network.state_dict().items()
        wrong += [name for name, value in weights if not value.isfinite().all()]
        if wrong:
            raise DivergenceError(
                f"iteration {self.counters.iteration + 1}: {', '.join(wrong[:4])} not finite; the "
                f"checkpoint in {self.folder}, if there is one, is from before: try a lower "
                "--learning-rate or --max-grad-norm"
            )

    def _learn(self, rate: float, generator: Generator[Any]) -> Learnt:
        """Collect and update once, at that learning rate, on instances of ``generator``."""
        counters = self.counters
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng([TRAINING_STREAM, self.run.seed, counters.iteration])
        self.problem.first_episode = counters.iteration
        expert = self._expert if self._imitates() else None
        experience = collect(
            self.network,
            self.problem,
            generator,
            self.ppo,
            rng,
            self.device,
            counters.value_scale or 1.0,
            expert,
            self.processes,
        )
        if not counters.value_scale:
            # the first returns set the unit of values for the whole run
            counters.value_scale = self._mean_size(experience.returns) + 1e-6
            experience = experience._replace(returns=experience.returns / counters.value_scale)
        experience, imitate = self._targets(experience)
        losses = update(
            self.network, self.optimizer, experience, self.ppo, rng, imitate, self.processes
        )
        return Learnt(experience.steps, experience.mean_return, losses)

    def _imitates(self) -> bool:
        """Whether this iteration learns from the expert."""
        return self._expert is not None and self.counters.iteration < self.run.imitate_iterations

    def _targets(self, experience: Experience) -> tuple[Experience, bool]:
        """What is learnt from an iteration, and whether its actions are imitated."""
        return experience, self._imitates()

    def _mean_size(self, values: torch.Tensor) -> float:
        """Mean absolute value over all processes."""
        sums = torch.stack([values.abs().double().sum(), values.new_tensor(len(values)).double()])
        total, count = self.processes.sum(sums)
        return float(total / count)

    _last_ratio = float("nan")

    def _validate(self) -> None:
        """Greedy runs on the validation instances; keeps the policy if it is the best so far."""
        policy = NeuralPolicy("validation", self.network)
        objectives = evaluate(self.family, self.options, self.validation, policy)
        self._last_ratio = float((objectives / self._bounds).mean())
        if self._last_ratio < self.counters.best:
            self.counters.best = self._last_ratio
            save_checkpoint(self.folder / BEST, Checkpoint(self._weights(), self._data()))

    def _weights(self) -> dict[str, torch.Tensor]:
        return {POLICY + key: value for key, value in self.network.state_dict().items()}

    def _data(self) -> dict[str, Any]:
        return {
            "algorithm": self.algorithm,
            "problem": self.problem.name,
            "options": self.options,
            "features": feature_names(self.problem.spec),
            "policy": self.network.config.to_dict(),
            "ppo": self.ppo.to_dict(),
            "run": dataclasses.asdict(self.run),
            "generator": repr(self.generator),
            "counters": dataclasses.asdict(self.counters),
        }

    def save(self) -> None:
        """Write the checkpoint and the metrics so far."""
        tensors = self._weights()
        state = self.optimizer.state_dict()["state"]
        for index, entries in state.items():
            for key, value in entries.items():
                tensors[f"optimizer.{index}.{key}"] = value
        data = {**self._data(), "last_ratio": self._last_ratio, ROWS: self._rows}
        save_checkpoint(self.folder / CHECKPOINT, Checkpoint(tensors, data))
        write_atomically(self.folder / METRICS, _as_csv(self._rows))

    def resume(self) -> None:
        """Go on from the checkpoint in the folder.

        Raises:
            CheckpointError: when it is missing, damaged, or of a run with other settings.
        """
        path = self.folder / CHECKPOINT
        checkpoint = load_checkpoint(path)
        with naming_damage(path):
            self._check_settings(checkpoint.data, path)
            self._restore(checkpoint)

    def _check_settings(self, data: dict[str, Any], path: Path) -> None:
        """Raise CheckpointError unless the run that wrote ``data`` had these settings."""
        check_problem(data, self.problem.name, path)
        check_features(data, self.problem.spec, path)
        for key in ("algorithm", "options", "policy", "ppo", "run", "generator"):
            found, expected = data[key], _plain(self._data()[key])
            if key == "run":
                # a longer budget is the usual reason to resume
                found, expected = (
                    {k: v for k, v in part.items() if k not in ("minutes", "iterations")}
                    for part in (found, expected)
                )
            if found != expected:
                raise CheckpointError(
                    f"{path}: made with {key} {found}, this run has {expected}; "
                    "use the same settings, or another folder"
                )

    def _restore(self, checkpoint: Checkpoint) -> None:
        weights: dict[str, torch.Tensor] = {}
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in checkpoint.tensors.items():
            if name.startswith(POLICY):
                weights[name.removeprefix(POLICY)] = value
            else:
                _, index, key = name.split(".")
                moments.setdefault(int(index), {})[key] = value
        self.network.load_state_dict(weights)
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**state, "state": moments})
        self.counters = Counters(**checkpoint.data["counters"])
        self._last_ratio = checkpoint.data["last_ratio"]
        self._rows = checkpoint.data[ROWS]


def make_expert(family: Family, spec: str, problem: Problem[Any]) -> Policy:
    """The policy of a specification, or what follows the solutions of its solver.

    Raises:
        UsageError: for a policy that decides under other options than the problem has; for a
            solver, unless solutions of the problem can be followed step by step.
    """
    from makespan.baselines.registry import make_solver

    solver = make_solver(family, spec)
    if isinstance(solver, RolloutSolver):
        made_with = solver.make_problem
        asked = made_with.keywords if isinstance(made_with, partial) else {}
        for option, value in asked.items():
            own = problem.options().get(option)
            if str(own) != str(value):
                raise UsageError(
                    f"imitate: {spec!r} decides under {option} {value}, this run has {own}: "
                    "expected the same"
                )
        return solver.policy
    if type(problem).follow is Problem.follow:
        raise UsageError(f"imitate: found {spec!r}, expected a policy run once")
    return Follower(solver)


def evaluate(
    family: Family, options: dict[str, Any], instances: Sequence[Any], policy: Any
) -> np.ndarray:
    """(instances,) objectives of one run of ``policy`` on each, every solution validated."""
    problem = family.make_problem(instances, **options)
    solutions = rollout(problem, instances, policy, np.random.default_rng(0))
    for instance, solution in zip(instances, solutions, strict=True):
        solution.validate(instance)
    return np.array([s.objective(i) for i, s in zip(instances, solutions, strict=True)])


def _draw(generator: Generator[Any], count: int, stream: int) -> list[Any]:
    return [generator.sample(np.random.default_rng([stream, index])) for index in range(count)]


def _plain(value: Any) -> Any:
    """As it comes back from JSON: tuples become lists."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _as_csv(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _event_writer(folder: Path, iteration: int) -> Any:
    """TensorBoard's writer; what an interrupted run logged past the checkpoint is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=iteration + 1 if iteration else None)
