"""Gymnasium environments, learned policies and honest baselines for scheduling problems."""

from typing import TYPE_CHECKING

from makespan import envs

if TYPE_CHECKING:
    from makespan.agents.neural import NeuralPolicy

__version__ = "0.1.0"

__all__ = ["__version__", "envs", "load_policy"]


def load_policy(name: str, device: str = "cpu") -> "NeuralPolicy":
    """A policy that ships with the package.

    Args:
        name: what it was trained on, the word after ``train.py``, e.g. ``"jobshop"``.
        device: where the network is put.

    Returns:
        A policy: ``policy.decide(observation)`` is the action for an observation of the
        environment, ``policy.requires`` the options that the environment must have.

    Raises:
        UnknownNameError: when no policy of that name ships.
    """
    from makespan.agents.pretrained import load_shipped  # imports torch

    return load_shipped(name, device)
