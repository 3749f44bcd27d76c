"""Call numba kernels with little overhead."""

from collections.abc import Callable
from typing import Any


def entry_point(kernel: Any, *arguments: Any) -> Callable[..., Any]:
    """The machine code of ``kernel`` for the types of ``arguments``, compiled now if need be.

    Calling a numba dispatcher looks up the types of all arguments each time, which for tuples of
    many arrays takes longer than a simulator step. The caller promises to pass the same types.
    """
    signature = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    kernel.compile(signature)
    return kernel.overloads[signature].entry_point  # type: ignore[no-any-return]
