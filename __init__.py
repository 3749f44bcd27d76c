"""Gymnasium environments, learned policies and honest baselines for scheduling problems."""

__version__ = "0.1.0"

from makespan import envs

__all__ = ["__version__", "envs"]
