"""Imitation of the best own samples, and of the policy that sees the future."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from makespan.agents.checkpoint import load_checkpoint
from makespan.agents.hindsight import HindsightTrainer, SelfLabellingTrainer, best_episodes
from makespan.agents.ppo import PPOConfig, collect
from makespan.agents.trainer import CHECKPOINT, RunConfig, Trainer
from makespan.envs import FAMILIES
from makespan.envs.core.errors import UsageError
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.models.policy import GraphPolicy, PolicyConfig


def job_shop(kind: type[Trainer], folder: Path, run: RunConfig, **settings: float) -> Trainer:
    policy = PolicyConfig(hidden=16, heads=2)
    ppo = replace(PPOConfig(instances=2, replicas=3, minibatch=64), **settings)
    options = {"decode": "active", "lookahead": "none"}
    generator = JobShopGenerator(jobs=4, machines=3)
    return kind(FAMILIES["jobshop"](), generator, options, policy, ppo, run, folder)


@pytest.mark.parametrize("kind", [SelfLabellingTrainer, HindsightTrainer])
@pytest.mark.parametrize("settings", [{"clip": 0.3}, {"center": 0.5}], ids=str)
def test_settings_of_rewards_are_refused_where_all_is_imitated(
    kind: type[Trainer], settings: dict[str, float], tmp_path: Path
) -> None:
    name, value = next(iter(settings.items()))
    with pytest.raises(UsageError, match=f"{name}: found {value}, {kind.algorithm} has no such"):
        job_shop(kind, tmp_path, RunConfig(iterations=1), **settings)


def test_the_best_episode_of_each_instance_is_kept() -> None:
    family = FAMILIES["jobshop"]()
    generator = JobShopGenerator(jobs=(3, 5), machines=3)
    problem = family.make_problem(generator)
    config = PPOConfig(instances=3, replicas=4)
    network = GraphPolicy(problem.spec, PolicyConfig(encoder="none", hidden=16))
    rng, device = np.random.default_rng(0), torch.device("cpu")
    experience = collect(network, problem, generator, config, rng, device, value_scale=1.0)
    best = best_episodes(experience, config.replicas)
    kept = np.unique(best.rows)
    assert (kept // config.replicas).tolist() == [0, 1, 2]  # one of each instance
    for row in kept:
        others = experience.totals.reshape(3, 4)[row // config.replicas]
        assert experience.totals[row] == others.max()
        decisions = (experience.rows == row).sum()
        assert (best.rows == row).sum() == decisions
        own = torch.from_numpy(np.flatnonzero(experience.rows == row))
        assert torch.equal(
            best.actions[torch.from_numpy(best.rows == row)], experience.actions[own]
        )


def test_hindsight_needs_something_that_sees_the_future(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jobshop has no 'clairvoyant'"):
        job_shop(HindsightTrainer, tmp_path, RunConfig(iterations=1))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("soc", {"platforms": ("toy",), "jobs": (2, 3)}),
        ("routing", {"num_requests": 12, "num_replicas": 2}),
    ],
)
def test_hindsight_imitates_what_sees_the_future(
    name: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    family = FAMILIES[name]()
    generator = replace(family.generators[name], **sizes)
    policy, ppo = PolicyConfig(encoder="none", hidden=16), PPOConfig(instances=2, replicas=2)
    run = RunConfig(iterations=2, validation=1)
    options = {name: values[0] for name, values in family.problem_options.items()}
    trainer = HindsightTrainer(family, generator, options, policy, ppo, run, tmp_path)
    trainer.train()
    assert all("agreement" in row for row in trainer._rows)


def test_a_resumed_run_labels_as_one_that_never_stopped(tmp_path: Path) -> None:
    run = RunConfig(iterations=4, validation=2)
    job_shop(SelfLabellingTrainer, tmp_path / "whole", run).train()
    first = job_shop(SelfLabellingTrainer, tmp_path / "parts", run)
    first.train(stop=lambda: first.counters.iteration == 2)
    second = job_shop(SelfLabellingTrainer, tmp_path / "parts", run)
    second.resume()
    second.train()
    one, other = (load_checkpoint(tmp_path / part / CHECKPOINT) for part in ("whole", "parts"))
    assert one.data["algorithm"] == "self-labelling"
    assert all(torch.equal(one.tensors[key], other.tensors[key]) for key in one.tensors)


def test_self_labelling_may_begin_as_an_imitation_of_a_rule(tmp_path: Path) -> None:
    run = RunConfig(iterations=3, validation=2, imitate="mwkr", imitate_iterations=1)
    job_shop(SelfLabellingTrainer, tmp_path / "mwkr", run).train()
    job_shop(SelfLabellingTrainer, tmp_path / "spt", replace(run, imitate="spt")).train()
    mwkr, spt = (
        load_checkpoint(tmp_path / name / CHECKPOINT).data["metrics"] for name in ("mwkr", "spt")
    )
    assert all("agreement" in row for row in mwkr)  # what imitates its own samples imitates too
    assert mwkr[0]["policy_loss"] != spt[0]["policy_loss"]
