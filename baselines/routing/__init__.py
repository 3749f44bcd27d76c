"""Rules and solvers of the routing family, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.routing.clairvoyant import Clairvoyant
from makespan.baselines.routing.exact import BruteForce, TrueLengths
from makespan.baselines.routing.linear import LinearPolicy
from makespan.baselines.routing.rules import RULES, RandomChoices, RulePolicy
from makespan.envs.core.observation import ObservationSpec


def _spec(**options: str) -> ObservationSpec:
    """Of a cluster under ``options``, whatever its size."""
    from makespan.envs.routing.instance import Sizes
    from makespan.envs.routing.problem import RoutingProblem

    return RoutingProblem(Sizes(1, 1, 1, 1, 1, 1), **options).spec


def _trained(checkpoint: str = "", device: str = "cpu") -> Any:
    """The shipped policy, or the one in the file ``checkpoint``."""
    from makespan.agents.pretrained import load_trained

    return load_trained("routing", _spec, checkpoint, device)


POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "random": partial(RandomChoices, 1),
    "power-of-two": partial(RandomChoices, 2),
    "clairvoyant": Clairvoyant,
    "linear": LinearPolicy,
    "pretrained": _trained,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {
    "brute-force": BruteForce,
    "true-lengths": TrueLengths,
}
