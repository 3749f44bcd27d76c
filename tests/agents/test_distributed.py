"""Training in two processes gives what training in one gives."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from makespan.agents import distributed
from makespan.agents.checkpoint import load_checkpoint
from makespan.agents.distributed import Processes
from makespan.agents.ppo import PPOConfig, collect, select
from makespan.envs.core.errors import UsageError
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.models.policy import GraphPolicy, PolicyConfig

ROOT = Path(__file__).parents[2]

#: Of the weights after three iterations: sums of float32 in another order. See docs/scaling.md.
TOLERANCE = 1e-4


def train(folder: Path, processes: int) -> None:
    """Three iterations of the job shop, three instances each; five decisions are a minibatch."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [
        *(launcher if processes > 1 else []),
        *(str(ROOT / "train.py"), "jobshop", "--iterations", "3", "--jobs", "3", "4"),
        *("--machines", "3", "--instances", "3", "--replicas", "2", "--minibatch", "5"),
        *("--hidden", "16", "--encoder", "gine", "--encoder-layers", "1", "--validation", "2"),
        *("--threads", "1", "--out", str(folder)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=environment)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    for processes in (1, 2):
        train(tmp_path / str(processes), processes)
    one, two = (load_checkpoint(tmp_path / f"{n}/checkpoint.safetensors") for n in (1, 2))
    assert one.tensors.keys() == two.tensors.keys()
    for name, tensor in one.tensors.items():
        np.testing.assert_allclose(two.tensors[name], tensor, rtol=0, atol=TOLERANCE, err_msg=name)
    assert one.data["counters"]["steps"] == two.data["counters"]["steps"]
    rows = [list(csv.DictReader((tmp_path / f"{n}/metrics.csv").open())) for n in (1, 2)]
    for first, second in zip(*rows, strict=True):
        for key in ("mean_return", "policy_loss", "value_loss", "entropy", "kl"):
            assert float(second[key]) == pytest.approx(float(first[key]), abs=1e-3), key


def test_shares_cover_all_and_each_process_has_one() -> None:
    shares = [Processes(rank, 3).share(8) for rank in range(3)]
    assert [index for share in shares for index in share] == list(range(8))
    with pytest.raises(UsageError, match=r"instances: found 2, expected at least 3 \(processes\)"):
        Processes(0, 3).share(2)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the second of two processes on a machine."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("launched")
def test_a_device_is_found_before_others_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.distributed, "init_process_group", pytest.fail)
    with pytest.raises(UsageError, match="device: found 'gpu', which cannot be used"):
        Processes.join("gpu")


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize(
    ("name", "own", "backend"),
    [
        ("cpu", "cpu", "gloo"),
        ("cuda", "cuda:1", "cpu:gloo,cuda:nccl"),
        ("cuda:0", "cuda:0", "cpu:gloo,cuda:nccl"),
    ],
)
def test_each_process_has_its_device_and_a_group_for_all_tensors(
    monkeypatch: pytest.MonkeyPatch, name: str, own: str, backend: str
) -> None:
    made: list[str] = []
    current: list[torch.device] = []
    monkeypatch.setattr(distributed, "find_device", torch.device)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(distributed.distributed, "init_process_group", made.append)
    processes = Processes.join(name)
    assert processes == Processes(1, 2)
    assert processes.device(name) == torch.device(own)
    assert current == ([] if own == "cpu" else [torch.device(own)])
    assert made == [backend]


class BesideOthers(Processes):
    """One of two processes, of which the other took so many decisions."""

    others = 5

    def sum(self, values: Tensor) -> Tensor:
        return values + self.others


@pytest.mark.parametrize("encoder", ["none", "tokens"])
def test_a_process_without_decisions_takes_part(
    monkeypatch: pytest.MonkeyPatch, encoder: str
) -> None:
    generator = JobShopGenerator(jobs=1, machines=3)  # nothing to choose
    problem = JobShopProblem(generator.largest)
    network = GraphPolicy(problem.spec, PolicyConfig(encoder, hidden=8, heads=2))
    config = PPOConfig(instances=2, replicas=2)

    def play() -> Any:
        rng, device = np.random.default_rng(0), torch.device("cpu")
        processes = BesideOthers(1, 2)
        return collect(network, problem, generator, config, rng, device, 1.0, None, processes)

    experience = play()
    assert len(experience.rows) == len(experience.actions) == len(experience.returns) == 0
    kept = select(experience.decisions, torch.arange(0))
    assert len(kept.candidates) == 0
    monkeypatch.setattr(BesideOthers, "others", 0)
    with pytest.raises(UsageError, match="leave no decision to learn from: draw larger ones"):
        play()


def test_alone_nothing_is_communicated() -> None:
    alone = Processes.join("cpu")
    assert alone == Processes(0, 1)
    assert alone.gather("x") == ["x"]
