"""What the rules of all families share: a table of them by name, and chance by rank."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.rollout import ScorePolicy


class NamedRule(ScorePolicy):
    """A rule; at temperature T > 0 rank r is drawn with weight exp(-r / T).

    A family's class has the table, and scores each candidate by minus its rank.

    Args:
        rule: a key of :attr:`rules`.
        temperature: see :class:`ScorePolicy`.

    Raises:
        UnknownNameError: for an unknown rule.
    """

    #: Every rule by its name.
    rules: ClassVar[Mapping[str, Any]]
    #: Options that the problem must have, for the rules that need some.
    needs: ClassVar[Mapping[str, Mapping[str, str]]] = MappingProxyType({})

    def __init__(self, rule: str, temperature: float | NDArray[np.float64] = 0.0) -> None:
        if rule not in self.rules:
            raise UnknownNameError("rule", rule, self.rules)
        super().__init__(rule, temperature)
        self.requires = self.needs.get(rule, {})

    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """The same rule at another temperature."""
        return type(self)(self.name, temperature)
