"""Training runs: exact resume, checkpoints that survive a kill, clear refusals."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from makespan import train
from makespan.agents.checkpoint import Checkpoint, load_checkpoint, load_policy, save_checkpoint
from makespan.agents.distributed import ALONE
from makespan.agents.ppo import PPOConfig, _advantages, _Moment, _normalized
from makespan.agents.schedules import SCHEDULES, schedule
from makespan.agents.trainer import BEST, CHECKPOINT, METRICS, RunConfig, Trainer
from makespan.baselines.jobshop import _spec
from makespan.envs import FAMILIES
from makespan.envs.core.errors import CheckpointError, UnknownNameError, UsageError
from makespan.envs.core.problem import FixedInstances
from makespan.envs.jobshop.examples import FT06
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.envs.memory.generator import MemoryGenerator
from makespan.models.policy import PolicyConfig

PPO = PPOConfig(instances=2, replicas=3, minibatch=64)
RUN = RunConfig(iterations=4, validation=2, validate_every=2, checkpoint_every=2)


def make_trainer(
    folder: Path,
    run: RunConfig = RUN,
    encoder: str = "gatv2",
    generator: Any = JobShopGenerator(jobs=(3, 5), machines=(2, 4)),  # noqa: B008
) -> Trainer:
    policy = PolicyConfig(encoder=encoder, hidden=16, heads=2, encoder_layers=1)
    options = {"decode": "active", "lookahead": "none"}
    return Trainer(FAMILIES["jobshop"](), generator, options, policy, PPO, run, folder)


def same_tensors(one: Checkpoint, other: Checkpoint) -> bool:
    assert one.tensors.keys() == other.tensors.keys()
    return all(torch.equal(one.tensors[key], other.tensors[key]) for key in one.tensors)


@pytest.mark.parametrize("encoder", ["none", "tokens", "gatv2"])
def test_a_resumed_run_gives_the_same_numbers_as_one_that_never_stopped(tmp_path, encoder):
    whole = make_trainer(tmp_path / "whole", encoder=encoder)
    whole.train()
    first = make_trainer(tmp_path / "parts", encoder=encoder)
    first.train(stop=lambda: first.counters.iteration == 2)
    second = make_trainer(tmp_path / "parts", encoder=encoder)
    second.resume()
    second.train()
    one = load_checkpoint(tmp_path / "whole" / CHECKPOINT)
    other = load_checkpoint(tmp_path / "parts" / CHECKPOINT)
    assert same_tensors(one, other)
    assert one.data["counters"]["best"] == other.data["counters"]["best"]
    assert [row["loss"] for row in one.data["metrics"]] == [
        row["loss"] for row in other.data["metrics"]
    ]


def test_training_changes_the_weights_and_writes_what_it_promises(tmp_path):
    trainer = make_trainer(tmp_path)
    before = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    trainer.train()
    after = trainer.network.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert len((tmp_path / METRICS).read_text().splitlines()) == 1 + RUN.iterations
    assert list(tmp_path.glob("events.out.tfevents*"))
    network, data = load_policy(tmp_path / BEST, "jobshop", _spec)
    assert data["options"] == {"decode": "active", "lookahead": "none"}
    assert not network.training


def test_curriculum_grows_the_instances(tmp_path):
    trainer = make_trainer(tmp_path, replace(RUN, curriculum=True))
    assert trainer.generator.grown(0.0).largest == (3, 2, 6, 1)
    assert trainer.generator.grown(1.0).largest == trainer.generator.largest
    trainer.train()
    steps = [row["steps"] for row in trainer._rows]
    assert steps[0] == 2 * 3 * 3 * 2  # instances x replicas x jobs x machines, all the smallest


@pytest.mark.parametrize(
    ("structure", "smallest"),
    [("layered", 4), ("mixed", 4), ("traced", 47)],  # 47: no traced program has fewer instructions
)
def test_programs_grow_in_a_curriculum(structure, smallest):
    generator = MemoryGenerator(instructions=(4, 70), structure=structure)
    for seed in range(5):
        instance = generator.grown(0.0).sample(np.random.default_rng(seed))
        assert instance.num_instructions == smallest
    assert generator.grown(0.5).largest.instructions < 70
    assert generator.grown(1.0) == generator


def test_a_curriculum_needs_sizes_that_grow(tmp_path):
    run = replace(RUN, curriculum=True)
    with pytest.raises(UsageError, match="curriculum: found FixedInstances, expected a generator"):
        make_trainer(tmp_path, run, generator=FixedInstances([FT06]))


@pytest.mark.parametrize("iterations", [3, 4])
def test_the_last_weights_are_validated_once_and_recorded(tmp_path, monkeypatch, iterations):
    trainer = make_trainer(tmp_path, replace(RUN, iterations=iterations), encoder="none")
    validate, ratios = trainer._validate, []

    def counted() -> None:
        validate()
        ratios.append(trainer._last_ratio)

    monkeypatch.setattr(trainer, "_validate", counted)
    trainer.train()
    with (tmp_path / METRICS).open() as file:
        recorded = [float(row["validation_ratio"]) for row in csv.DictReader(file)]
    assert len(ratios) == 2  # after the second and the last
    assert [recorded[1], recorded[-1]] == ratios


def test_instances_without_choices_are_refused(tmp_path):
    trainer = make_trainer(tmp_path, generator=JobShopGenerator(jobs=1, machines=3))
    with pytest.raises(UsageError, match="leave no decision to learn from: draw larger ones"):
        trainer.train()


def test_the_advantage_of_a_single_decision_is_a_number():
    assert _normalized(torch.tensor([3.0]), ALONE).tolist() == [0.0]


def test_resume_refuses_other_settings(tmp_path):
    make_trainer(tmp_path).train(stop=lambda: True)
    other = make_trainer(tmp_path, encoder="none")
    with pytest.raises(CheckpointError, match="made with policy"):
        other.resume()


def test_resume_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        make_trainer(tmp_path).resume()


def test_resume_from_a_policy_says_what_is_missing(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    shutil.copy(tmp_path / BEST, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError, match=r"checkpoint.safetensors: damaged: .*'last_ratio'"):
        make_trainer(tmp_path).resume()


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors, data: data.pop("algorithm"),
        lambda tensors, data: data.update(run=None),
        lambda tensors, data: data.update(counters={"unknown": 1}),
        lambda tensors, data: tensors.update(odd=torch.zeros(1)),
        lambda tensors, data: tensors.pop("policy.whole"),
        lambda tensors, data: tensors.update({"policy.whole": torch.zeros(3)}),
    ],
)
def test_resume_from_a_damaged_checkpoint_is_refused(tmp_path, damage):
    make_trainer(tmp_path).train(stop=lambda: True)
    tensors, data = load_checkpoint(tmp_path / CHECKPOINT)
    damage(tensors, data)
    save_checkpoint(tmp_path / CHECKPOINT, Checkpoint(tensors, data))
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: damaged: "):
        make_trainer(tmp_path).resume()


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    make_trainer(tmp_path).train(stop=lambda: True)
    tensors, data = load_checkpoint(tmp_path / CHECKPOINT)
    tensors["policy.whole"][0] = float("nan")
    save_checkpoint(tmp_path / BEST, Checkpoint(tensors, data))
    with pytest.raises(CheckpointError, match=r"policy\.whole holds a number that is not finite"):
        load_policy(tmp_path / BEST, "jobshop", _spec)


def test_rows_of_metrics_come_back_and_leave_the_header_small(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    headers = []
    for count in (1, 10_000):
        rows = [{"iteration": i, "loss": 0.1 * i} for i in range(count)]
        save_checkpoint(path, Checkpoint({}, {"metrics": rows}))
        assert load_checkpoint(path).data["metrics"] == rows
        headers.append(int.from_bytes(path.read_bytes()[:8], "little"))
    assert headers[1] - headers[0] < 20  # the digits of a size


def test_a_checkpoint_of_another_problem_is_refused(tmp_path):
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, Checkpoint({"policy.x": torch.zeros(1)}, {"problem": "soc"}))
    with pytest.raises(CheckpointError, match="trained on problem 'soc', expected 'jobshop'"):
        load_policy(path, "jobshop", _spec)


def test_a_checkpoint_with_other_features_is_refused(tmp_path):
    make_trainer(tmp_path).train(stop=lambda: True)
    checkpoint = load_checkpoint(tmp_path / CHECKPOINT)
    checkpoint.data["features"]["candidate_features"][0] = "weight"
    save_checkpoint(tmp_path / "other.safetensors", checkpoint)
    with pytest.raises(CheckpointError, match="other candidate features"):
        load_policy(tmp_path / "other.safetensors", "jobshop", _spec)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04pickle" * 100])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(path)


def test_sigkill_while_checkpointing_leaves_a_loadable_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    program = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from makespan.agents.checkpoint import Checkpoint, save_checkpoint\n"
        "count = 0\n"
        "while True:\n"
        "    count += 1\n"
        "    tensors = {'policy.x': torch.full((500_000,), float(count))}\n"
        "    save_checkpoint(Path(sys.argv[1]), Checkpoint(tensors, {'count': count}))\n"
    )
    rng = np.random.default_rng(0)
    written = 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)])
        while not path.exists() or path.stat().st_mtime_ns == written:
            time.sleep(0.05)
            assert process.poll() is None
        time.sleep(float(rng.uniform(0.02, 0.2)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        tensors, data = load_checkpoint(path)
        assert (tensors["policy.x"] == data["count"]).all()
        written = path.stat().st_mtime_ns


def test_schedules_start_at_one_and_fall():
    for name, factor in SCHEDULES.items():
        assert factor(0.0) == pytest.approx(1.0)
        values = [factor(p) for p in np.linspace(0, 1, 11)]
        assert values == sorted(values, reverse=True), name
    assert schedule("rex")(0.5) == pytest.approx(2 / 3)
    with pytest.raises(UnknownNameError, match="did you mean cosine"):
        schedule("cosin")


def test_advantages_are_discounted_sums_when_lambda_is_one():
    """Two rows, the second ends after one decision; values are zero."""

    def moment(rows: list[int], rewards: list[float]) -> _Moment:
        zeros = np.zeros(len(rows), dtype=np.float32)
        return _Moment(None, np.array(rows), np.array(rows), zeros, zeros, np.array(rewards))

    history = [moment([0, 1], [1.0, 10.0]), moment([0], [2.0]), moment([0], [4.0])]
    config = replace(PPO, discount=0.5, gae_lambda=1.0)
    advantages, returns = _advantages(history, 2, config, value_scale=2.0)
    assert advantages[0].tolist() == [1.5, 5.0]  # (1 + 2/2 + 4/4) / 2, and 10 / 2
    assert advantages[1].tolist() == [2.0]
    assert [r.tolist() for r in returns] == [a.tolist() for a in advantages]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instances": 0}, "instances: found 0, expected more than 0"),
        ({"clip": float("nan")}, "clip: found nan"),
        ({"learning_rate": float("nan")}, "learning_rate: found nan"),
        ({"max_grad_norm": 0}, "max_grad_norm: found 0"),
        ({"max_grad_norm": -1}, "max_grad_norm: found -1"),
        ({"value": -1}, "value: found -1, expected at least 0"),
        ({"entropy": float("nan")}, "entropy: found nan"),
        ({"gae_lambda": 1.5}, "gae_lambda: found 1.5"),
        ({"discount": float("nan")}, "discount: found nan"),
    ],
)
def test_settings_outside_their_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        PPOConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed: found -1, expected at least 0"),
        ({"seed": 2**70}, f"seed: found {2**70}, expected at most {2**63 - 1}"),
        ({"minutes": float("nan")}, "iterations or minutes"),
        ({"minutes": 0}, "iterations or minutes"),
        ({"iterations": 10, "minutes": 1}, "minutes: found 1 with iterations"),
        ({"imitate": "mwkr", "imitate_iterations": -1}, "imitate_iterations: found -1"),
    ],
)
def test_budgets_and_seeds_outside_their_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        RunConfig(**changes)


def test_the_largest_seed_is_usable(tmp_path):
    make_trainer(tmp_path, RunConfig(iterations=1, validation=1, seed=2**63 - 1)).train()


def test_a_longer_budget_goes_on_with_a_run(tmp_path):
    make_trainer(tmp_path, RunConfig(minutes=1e-6, validation=1)).train()
    longer = make_trainer(tmp_path, RunConfig(iterations=2, validation=1))
    longer.resume()
    longer.train()
    assert longer.counters.iteration == 2


def run_train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "makespan.train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_train_refuses_a_wrong_name_in_one_line(tmp_path):
    result = run_train("jobshop", "--out", str(tmp_path), "--encoder", "gatv")
    assert result.returncode == 2
    assert "unknown encoder 'gatv'; did you mean gatv2" in result.stderr
    assert "Traceback" not in result.stderr


def test_train_refuses_layers_that_the_encoder_does_not_have(tmp_path, capsys):
    options = ["jobshop", "--out", str(tmp_path), "--encoder", "none", "--encoder-layers", "2"]
    assert train.main(options) == 2
    assert "found 2, but the encoder 'none' passes no messages" in capsys.readouterr().err


def test_train_keeps_the_run_that_a_folder_holds(tmp_path, capsys):
    options = [
        *("jobshop", "--jobs", "3", "--machines", "2", "--encoder", "none", "--validation", "1"),
        *("--instances", "1", "--replicas", "2", "--threads", "1", "--out", str(tmp_path)),
    ]
    assert train.main([*options, "--iterations", "1"]) == 0
    written = (tmp_path / CHECKPOINT).read_bytes()
    assert train.main([*options, "--iterations", "2"]) == 2
    assert "found a run in" in capsys.readouterr().err
    assert (tmp_path / CHECKPOINT).read_bytes() == written
    assert train.main([*options, "--iterations", "2", "--resume"]) == 0
    assert load_checkpoint(tmp_path / CHECKPOINT).data["counters"]["iteration"] == 2


def test_ctrl_c_outside_the_training_is_no_crash(tmp_path, monkeypatch, capsys):
    def interrupted(command: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_run", interrupted)
    assert train.main(["jobshop", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "train.py: interrupted\n"


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    command = [
        *(sys.executable, "-m", "makespan.train", "jobshop", "--out", str(tmp_path)),
        *("--jobs", "3", "--machines", "3", "--instances", "1", "--replicas", "2"),
        *("--encoder", "none", "--iterations", "1000000", "--validate-every", "1"),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    process.stdout.readline()  # the first iteration is done
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in output
    assert "Traceback" not in errors
    assert load_checkpoint(tmp_path / CHECKPOINT).data["counters"]["iteration"] >= 1
