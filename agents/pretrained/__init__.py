"""Policies that ship with the package: ``<problem>.safetensors`` and its card, ``.json``."""

from collections.abc import Callable, Iterator
from pathlib import Path

from makespan.agents.checkpoint import load_policy
from makespan.agents.neural import NeuralPolicy
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.observation import ObservationSpec

#: Name of the shipped policy among the policies of its family.
POLICY = "pretrained"


def load_trained(
    problem: str,
    make_spec: Callable[..., ObservationSpec],
    checkpoint: str = "",
    device: str = "cpu",
    shipped: str = "",
) -> NeuralPolicy:
    """A trained policy, greedy.

    Args:
        problem: its name, e.g. ``"jobshop"``.
        make_spec: ``make_spec(**options)``: the observation of the problem under those options.
        checkpoint: a file; empty for the policy that ships.
        device: where the network is put.
        shipped: name of the policy that ships, when it is not that of the problem.

    Raises:
        CheckpointError: when the file is missing, damaged, or of another problem or version.
    """
    path = Path(checkpoint or Path(__file__).parent / f"{shipped or problem}.safetensors")
    network, data = load_policy(path, problem, make_spec, device)
    name = path.parent.name + "/" + path.stem if checkpoint else POLICY
    return NeuralPolicy(name, network, requires=data["options"])


def shipped_policies() -> Iterator[tuple[str, Callable[..., NeuralPolicy]]]:
    """Each policy that ships: what it was trained on (the word after ``train.py``), its maker."""
    from makespan.envs import FAMILIES

    for make_family in FAMILIES.values():
        family = make_family()
        for word in family.generators:
            variant = word.removesuffix(family.name).rstrip("-")
            name = f"{POLICY}-{variant}" if variant else POLICY
            if name in family.policies:
                yield word, family.policies[name]


def load_shipped(name: str, device: str = "cpu") -> NeuralPolicy:
    """A shipped policy by what it was trained on, see :func:`makespan.load_policy`."""
    makers = dict(shipped_policies())
    if name not in makers:
        raise UnknownNameError("shipped policy", name, makers)
    return makers[name](device=device)
