"""Rules and solvers of the improvement of job-shop schedules, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.improve.rules import RULES, RulePolicy
from makespan.baselines.jobshop.exact import CpSat
from makespan.baselines.jobshop.tabu import TabuSearch
from makespan.baselines.linear import LinearPolicy
from makespan.baselines.random import RandomPolicy
from makespan.envs.core.observation import ObservationSpec

#: Options that a policy has to be used under as it was trained; start and moves are free.
FIXED_OPTIONS = ("neighbourhood", "tabu")


def _spec(**options: str) -> ObservationSpec:
    """Of an improvement under ``options``, whatever its size."""
    from makespan.envs.improve.problem import ImproveProblem
    from makespan.envs.jobshop.instance import Sizes

    return ImproveProblem(Sizes(1, 1, 1, 1), **options).spec


def _trained(checkpoint: str = "", device: str = "cpu") -> Any:
    """The shipped policy, or the one in the file ``checkpoint``."""
    from makespan.agents.pretrained import load_trained

    policy = load_trained("improve", _spec, checkpoint, device)
    policy.requires = {name: policy.requires[name] for name in FIXED_OPTIONS}
    return policy


POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "linear": LinearPolicy,
    "random": RandomPolicy,
    "pretrained": _trained,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {"cp-sat": CpSat, "tabu": TabuSearch}
