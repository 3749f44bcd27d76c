"""Call numba kernels with little overhead."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UsageError


def entry_point(kernel: Any, *arguments: Any) -> Callable[..., Any]:
    """The machine code of ``kernel`` for the types of ``arguments``, compiled now if need be.

    Calling a numba dispatcher looks up the types of all arguments each time, which for tuples of
    many arrays takes longer than a simulator step. The caller promises to pass the same types.
    """
    signature = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    kernel.compile(signature)
    return kernel.overloads[signature].entry_point  # type: ignore[no-any-return]


def check_step_arrays(
    rows: int,
    actions: NDArray[np.int64],
    rewards: NDArray[np.float64],
    terminated: NDArray[np.bool_],
) -> None:
    """Raise UsageError unless these are what a compiled step expects: it would not notice."""
    for name, array, dtype in (
        ("actions", actions, np.int64),
        ("rewards", rewards, np.float64),
        ("terminated", terminated, np.bool_),
    ):
        if array.dtype != dtype or array.shape != (rows,) or not array.flags.c_contiguous:
            layout = "contiguous" if array.flags.c_contiguous else "strided"
            raise UsageError(
                f"{name}: found {array.dtype} {array.shape}, {layout}; "
                f"expected {np.dtype(dtype)} ({rows},), contiguous"
            )
