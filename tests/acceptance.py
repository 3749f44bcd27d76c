"""Whether a validator accepts a solution."""

from typing import Any

from makespan.envs.core.errors import InvalidSolutionError


def accepts(instance: Any, solution: Any) -> bool:
    """What ``solution.validate(instance)`` says; another error than its own is one here too."""
    try:
        solution.validate(instance)
    except InvalidSolutionError:
        return False
    return True
