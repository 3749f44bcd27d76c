"""An exported policy scores as the network does, without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from makespan.agents.checkpoint import (
    Checkpoint,
    feature_names,
    load_checkpoint,
    save_checkpoint,
)
from makespan.agents.export import NumpyPolicy, export_policy
from makespan.baselines.routing import _spec
from makespan.envs.core.errors import CheckpointError, UsageError
from makespan.models.policy import Decisions, GraphPolicy, PolicyConfig


def checkpoint(path: Path, **config: object) -> GraphPolicy:
    """A network of random weights, its checkpoint written to ``path``."""
    torch.manual_seed(3)
    shape = PolicyConfig(**{"encoder": "none", "hidden": 32, "attention_layers": 2} | config)  # type: ignore[arg-type]
    network = GraphPolicy(_spec(), shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    data = {
        "problem": "routing",
        "options": {"queue": "fcfs"},
        "features": feature_names(_spec()),
        "policy": shape.to_dict(),
    }
    weights = {f"policy.{key}": value for key, value in network.state_dict().items()}
    save_checkpoint(path, Checkpoint(weights, data))
    return network.eval()


def test_scores_are_those_of_the_network(tmp_path: Path) -> None:
    network = checkpoint(tmp_path / "policy.safetensors")
    export_policy(tmp_path / "policy.safetensors", tmp_path / "policy.npz")
    policy = NumpyPolicy.load(tmp_path / "policy.npz")
    rng = np.random.default_rng(0)
    for count in (2, 5, 11):
        candidates = 3 * rng.normal(size=(count, len(policy.about["candidate_features"])))
        whole = rng.normal(size=len(policy.about["global_features"])).astype(np.float32)
        legal = np.arange(count) > 0
        decision = Decisions(
            torch.from_numpy(candidates.astype(np.float32))[None],
            torch.zeros(1, count, 2, dtype=torch.int64),
            torch.from_numpy(whole)[None],
            torch.from_numpy(legal)[None],
            None,
        )
        with torch.inference_mode():
            expected = network(decision, None, None)[0][0].numpy()
        scores = policy.scores(candidates.astype(np.float32), whole, legal)
        assert scores[0] == -np.inf
        np.testing.assert_allclose(scores[1:], expected[1:], rtol=1e-4, atol=1e-5)


def test_the_file_is_read_without_torch(tmp_path: Path) -> None:
    checkpoint(tmp_path / "policy.safetensors")
    export_policy(tmp_path / "policy.safetensors", tmp_path / "policy.npz")
    code = (
        "import sys; from makespan.agents.export import NumpyPolicy; "
        f"print(NumpyPolicy.load({str(tmp_path / 'policy.npz')!r}).about['problem']); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "routing"


@pytest.mark.parametrize("lost", ["policy", "features", "policy.whole", "policy.token.2.weight"])
def test_a_checkpoint_that_lacks_something_is_refused(tmp_path: Path, lost: str) -> None:
    path = tmp_path / "policy.safetensors"
    checkpoint(path)
    tensors, data = load_checkpoint(path)
    for entries in (tensors, data):
        entries.pop(lost, None)
    save_checkpoint(path, Checkpoint(tensors, data))
    with pytest.raises(CheckpointError, match=r"policy\.safetensors: damaged: KeyError"):
        export_policy(path, tmp_path / "policy.npz")


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path / "policy.safetensors", encoder="gatv2")
    with pytest.raises(UsageError, match="expected 'none'"):
        export_policy(tmp_path / "policy.safetensors", tmp_path / "policy.npz")
    with pytest.raises(CheckpointError, match="no such file"):
        export_policy(tmp_path / "nothing.safetensors", tmp_path / "policy.npz")
