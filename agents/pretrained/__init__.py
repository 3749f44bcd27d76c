"""Policies that ship with the package: ``<problem>.safetensors`` and its card, ``.json``."""

from collections.abc import Callable
from pathlib import Path

from makespan.agents.checkpoint import load_policy
from makespan.agents.neural import NeuralPolicy
from makespan.envs.core.observation import ObservationSpec


def load_trained(
    problem: str,
    make_spec: Callable[..., ObservationSpec],
    checkpoint: str = "",
    device: str = "cpu",
) -> NeuralPolicy:
    """A trained policy, greedy.

    Args:
        problem: its name, e.g. ``"jobshop"``.
        make_spec: ``make_spec(**options)``: the observation of the problem under those options.
        checkpoint: a file; empty for the policy that ships.
        device: where the network is put.

    Raises:
        CheckpointError: when the file is missing, damaged, or of another problem or version.
    """
    path = Path(checkpoint) if checkpoint else Path(__file__).parent / f"{problem}.safetensors"
    network, data = load_policy(path, problem, make_spec, device)
    name = path.parent.name + "/" + path.stem if checkpoint else "pretrained"
    return NeuralPolicy(name, network, requires=data["options"])
