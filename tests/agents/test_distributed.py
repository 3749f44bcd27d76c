"""Training in two processes gives what training in one gives."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from makespan.agents.checkpoint import load_checkpoint
from makespan.agents.distributed import Processes
from makespan.envs.core.errors import UsageError

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


def test_alone_nothing_is_communicated() -> None:
    alone = Processes.join("cpu")
    assert alone == Processes(0, 1)
    assert alone.gather("x") == ["x"]
