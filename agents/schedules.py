"""Learning-rate schedules: factor of the initial rate as a function of progress in [0, 1]."""

import math
from collections.abc import Callable

from makespan.envs.core.errors import UnknownNameError


def constant(progress: float) -> float:
    """Always 1."""
    return 1.0


def linear(progress: float) -> float:
    """From 1 to 0 in a straight line."""
    return 1.0 - progress


def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0. Source: Loshchilov & Hutter, SGDR, ICLR 2017."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def rex(progress: float) -> float:
    """Reflected exponential, slow at first and fast at the end. Source: Chen et al., REX, 2021."""
    return (1.0 - progress) / (0.5 + 0.5 * (1.0 - progress))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "rex": rex,
}


def schedule(name: str) -> Callable[[float], float]:
    """The schedule of that name; raises UnknownNameError with close matches."""
    if name not in SCHEDULES:
        raise UnknownNameError("schedule", name, SCHEDULES)
    return SCHEDULES[name]
