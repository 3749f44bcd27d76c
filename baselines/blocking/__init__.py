"""Rules and solvers of the blocking job shop, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.blocking.exact import CpSat
from makespan.baselines.blocking.rules import RULES, Pilot, RulePolicy
from makespan.baselines.linear import LinearPolicy
from makespan.baselines.random import RandomPolicy
from makespan.envs.core.observation import ObservationSpec


def _spec(**options: str) -> ObservationSpec:
    """Of a blocking job shop under ``options``, whatever its size."""
    from makespan.envs.blocking.problem import BlockingProblem, Sizes

    return BlockingProblem(Sizes(1, 1, 1, 0), **options).spec


def _trained(checkpoint: str = "", device: str = "cpu") -> Any:
    """The shipped policy, or the one in the file ``checkpoint``."""
    from makespan.agents.pretrained import load_trained

    return load_trained("blocking", _spec, checkpoint, device)


POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "pilot": Pilot,
    "linear": LinearPolicy,
    "random": RandomPolicy,
    "pretrained": _trained,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {"cp-sat": CpSat}
