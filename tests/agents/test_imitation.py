"""A warm start: the network learns what a rule does before it learns from rewards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from makespan.agents.checkpoint import load_checkpoint
from makespan.agents.following import Follower
from makespan.agents.ppo import PPOConfig
from makespan.agents.trainer import CHECKPOINT, METRICS, RunConfig, Trainer
from makespan.baselines.memory.relaxed import MixedInteger
from makespan.envs import FAMILIES
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.envs.memory.examples import CAPACITY, SUPPLY
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.problem import MemoryProblem
from makespan.models.policy import PolicyConfig

RUN = RunConfig(
    iterations=6, validation=2, validate_every=6, imitate="active/mwkr", imitate_iterations=4
)


def make_trainer(folder: Path, run: RunConfig = RUN, encoder: str = "none") -> Trainer:
    policy = PolicyConfig(encoder=encoder, hidden=16, heads=2, encoder_layers=1)
    ppo = PPOConfig(instances=4, replicas=3, minibatch=64, epochs=4, learning_rate=3e-3)
    options = {"decode": "active", "lookahead": "none"}
    generator = JobShopGenerator(jobs=5, machines=4)
    return Trainer(FAMILIES["jobshop"](), generator, options, policy, ppo, run, folder)


@pytest.mark.parametrize("encoder", ["none", "gatv2"])
def test_the_network_comes_to_agree_with_its_teacher(tmp_path: Path, encoder: str) -> None:
    trainer = make_trainer(tmp_path, encoder=encoder)
    trainer.train()
    agreement = [row.get("agreement") for row in trainer._rows]
    losses = [row["policy_loss"] for row in trainer._rows]
    assert losses[3] < 0.8 * losses[0]
    assert agreement[3] > 0.8
    assert agreement[4:] == [None, None]  # by then it learns from rewards
    assert all("kl" in row for row in trainer._rows[4:])
    header, *lines = (tmp_path / METRICS).read_text().splitlines()
    assert {"agreement", "kl"} <= set(header.split(","))
    assert len(lines) == 6


def test_iterations_of_imitation_need_something_to_imitate() -> None:
    with pytest.raises(UsageError, match="imitate_iterations: found 4 without imitate"):
        RunConfig(imitate_iterations=4)


def test_a_resumed_run_imitates_as_one_that_never_stopped(tmp_path: Path) -> None:
    make_trainer(tmp_path / "whole").train()
    first = make_trainer(tmp_path / "parts")
    first.train(stop=lambda: first.counters.iteration == 2)
    second = make_trainer(tmp_path / "parts")
    second.resume()
    second.train()
    one = load_checkpoint(tmp_path / "whole" / CHECKPOINT)
    other = load_checkpoint(tmp_path / "parts" / CHECKPOINT)
    assert all(torch.equal(one.tensors[key], other.tensors[key]) for key in one.tensors)


def test_a_solver_is_followed_by_its_solutions() -> None:
    follower = Follower(MixedInteger())
    rng = np.random.default_rng(0)
    follower.solve([CAPACITY, SUPPLY], 2, rng.spawn(2))
    rows = [CAPACITY, CAPACITY, SUPPLY, SUPPLY]
    plans = rollout(MemoryProblem.for_instances(rows), rows, follower, rng)
    latencies = [plan.objective(instance) for plan, instance in zip(plans, rows, strict=True)]
    assert latencies == [6, 6, 10, 10]  # the optima


def test_learning_from_a_solver(tmp_path: Path) -> None:
    run = RunConfig(iterations=2, validation=2, imitate="milp:time_limit_s=1", imitate_iterations=2)
    policy = PolicyConfig(encoder="none", hidden=16, heads=2)
    ppo = PPOConfig(instances=2, replicas=2)
    trainer = Trainer(FAMILIES["memory"](), MemoryGenerator(8), {}, policy, ppo, run, tmp_path)
    trainer.train()
    assert all(0 <= row["agreement"] <= 1 for row in trainer._rows)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("mwrk", UnknownNameError, "did you mean mwkr"),
        ("cp-sat", UsageError, "imitate: found 'cp-sat', expected a policy run once"),
        ("mwkr:samples=4", UsageError, "expected a policy run once"),
        (
            "nondelay/mwkr",
            UsageError,
            "imitate: 'nondelay/mwkr' decides under decode nondelay, this run has active",
        ),
    ],
)
def test_teachers_that_cannot_be_are_refused(
    tmp_path: Path, spec: str, error: type[Exception], message: str
) -> None:
    options: dict[str, Any] = {"imitate": spec}
    with pytest.raises(error, match=message):
        make_trainer(tmp_path, replace(RUN, **options))
