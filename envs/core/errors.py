"""Errors meant for people: what was found, what was expected, what to do.

Every error that a user can cause derives from :class:`MakespanError`; the command lines print its
message without a traceback.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class MakespanError(Exception):
    """Base class of every error that a person can cause and mend."""

    def __reduce__(self) -> tuple[Any, ...]:  # pickle would pass the message to __init__
        return _unpickled, (type(self), self.args), vars(self)


def _unpickled(kind: type[MakespanError], args: tuple[Any, ...]) -> MakespanError:
    return kind.__new__(kind, *args)


class InstanceError(MakespanError, ValueError):
    """An instance, or a file that should hold one, breaks its definition."""


class InvalidSolutionError(MakespanError, ValueError):
    """A solution violates constraints of its instance.

    Attributes:
        violations: one sentence per violated constraint, with the numbers involved.
    """

    def __init__(self, violations: Iterable[str]) -> None:
        self.violations = list(violations)
        super().__init__(
            f"{len(self.violations)} constraint(s) violated:\n  " + "\n  ".join(self.violations)
        )


class IllegalActionError(MakespanError, ValueError):
    """An action that the mask forbids was taken; the state is unchanged."""


class CheckpointError(MakespanError, ValueError):
    """A checkpoint cannot be used: damaged, of another problem, or of another version."""


class DivergenceError(MakespanError, ArithmeticError):
    """Training has left the finite numbers; the last checkpoint was written before."""


class UsageError(MakespanError, ValueError):
    """Options that contradict each other or values outside their range."""


class UnknownNameError(MakespanError, KeyError):
    """A name that is not registered; the message lists close matches."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, str(name), sorted(known)  # a file may hold a 2
        close = difflib.get_close_matches(self.name, self.known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(self.known)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")

    def __str__(self) -> str:  # KeyError would show the repr of its argument
        return str(self.args[0])
