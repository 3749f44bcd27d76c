"""Training runs: exact resume, checkpoints that survive a kill, clear refusals."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from makespan import train
from makespan.agents.checkpoint import Checkpoint, load_checkpoint, load_policy, save_checkpoint
from makespan.agents.ppo import PPOConfig, _advantages, _Moment
from makespan.agents.schedules import SCHEDULES, schedule
from makespan.agents.trainer import BEST, CHECKPOINT, METRICS, RunConfig, Trainer
from makespan.baselines.jobshop import _spec
from makespan.envs import FAMILIES
from makespan.envs.core.errors import CheckpointError, UnknownNameError, UsageError
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.models.policy import PolicyConfig

PPO = PPOConfig(instances=2, replicas=3, minibatch=64)
RUN = RunConfig(iterations=4, validation=2, validate_every=2, checkpoint_every=2)


def make_trainer(folder: Path, run: RunConfig = RUN, encoder: str = "gatv2") -> Trainer:
    policy = PolicyConfig(encoder=encoder, hidden=16, heads=2, encoder_layers=1)
    options = {"decode": "active", "lookahead": "none"}
    generator = JobShopGenerator(jobs=(3, 5), machines=(2, 4))
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


def test_resume_refuses_other_settings(tmp_path):
    make_trainer(tmp_path).train(stop=lambda: True)
    other = make_trainer(tmp_path, encoder="none")
    with pytest.raises(CheckpointError, match="made with policy"):
        other.resume()


def test_resume_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        make_trainer(tmp_path).resume()


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
    process = subprocess.Popen([sys.executable, "-c", program, str(path)])
    while not path.exists():
        time.sleep(0.05)
        assert process.poll() is None
    for _ in range(4):
        time.sleep(float(rng.uniform(0.02, 0.2)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        tensors, data = load_checkpoint(path)
        assert (tensors["policy.x"] == data["count"]).all()
        process = subprocess.Popen([sys.executable, "-c", program, str(path)])
    process.kill()
    process.wait()


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
    [({"instances": 0}, "instances"), ({"gae_lambda": 1.5}, "gae_lambda"), ({"clip": 0}, "clip")],
)
def test_settings_outside_their_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        PPOConfig(**changes)


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
