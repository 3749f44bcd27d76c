"""Options that are a number, or the smallest and largest of a range to draw from."""

import operator
from typing import Any

import numpy as np

from makespan.envs.core.errors import UsageError

#: An integer, or the smallest and largest to draw from, both included.
Range = int | tuple[int, int]
#: The same of real numbers.
RealRange = float | tuple[float, float]


def check_range(option: str, value: Any, low: int, high: int) -> tuple[int, int]:
    """Smallest and largest of a range of integers.

    Raises:
        UsageError: unless ``low`` <= smallest <= largest <= ``high``.
    """
    try:
        first, last = map(operator.index, ends(value))
    except (TypeError, ValueError):
        raise UsageError(
            f"{option}: found {value!r}, expected an integer or a pair (smallest, largest)"
        ) from None
    _check_order(option, value, low, first, last, high)
    return first, last


def check_real_range(option: str, value: Any, low: float, high: float) -> tuple[float, float]:
    """Smallest and largest of a range of real numbers.

    Raises:
        UsageError: unless ``low`` <= smallest <= largest <= ``high``.
    """
    try:
        first, last = map(float, ends(value))
    except (TypeError, ValueError):
        raise UsageError(
            f"{option}: found {value!r}, expected a number or a pair (smallest, largest)"
        ) from None
    _check_order(option, value, low, first, last, high)
    return first, last


def check_least(settings: object, **least: int) -> None:
    """Check fields of ``settings`` that are numbers or None (no limit).

    Raises:
        UsageError: for one below what ``least`` says.
    """
    for field, value in least.items():
        found = getattr(settings, field)
        if found is not None and not found >= value:
            raise UsageError(f"{field}: found {found}, expected at least {value}")


def _check_order(option: str, value: Any, low: Any, first: Any, last: Any, high: Any) -> None:
    if not low <= first <= last <= high:
        raise UsageError(
            f"{option}: found {value!r}, expected {low} <= smallest <= largest <= {high}"
        )


def ends(value: Any) -> tuple[Any, Any]:
    """Smallest and largest; a number is both."""
    if isinstance(value, int | float | np.integer | np.floating):
        return value, value
    low, high = value
    return low, high


def grown(value: Range, progress: float) -> Range:
    """The range with its high end moved ``progress`` of the way from low."""
    low, high = ends(value)
    return low, low + round(progress * (high - low))


def draw(rng: np.random.Generator, value: Range) -> int:
    """One of the integers, all equally likely."""
    low, high = ends(value)
    return int(rng.integers(low, high + 1))


def draw_real(rng: np.random.Generator, value: RealRange) -> float:
    """A number from the range; of a single one without asking ``rng``."""
    low, high = ends(value)
    return float(low) if low == high else float(rng.uniform(low, high))
