"""Rules and solvers of the job-shop family, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.jobshop.anytime import Anytime
from makespan.baselines.jobshop.exact import CpSat
from makespan.baselines.jobshop.rules import RULES, RulePolicy
from makespan.baselines.jobshop.tabu import TabuSearch
from makespan.baselines.linear import LinearPolicy
from makespan.baselines.random import RandomPolicy
from makespan.envs.core.observation import ObservationSpec


def _spec(**options: str) -> ObservationSpec:
    """Of a job shop under ``options``, whatever its size."""
    from makespan.envs.jobshop.instance import Sizes
    from makespan.envs.jobshop.problem import JobShopProblem

    return JobShopProblem(Sizes(1, 1, 1, 1), **options).spec


def _trained(checkpoint: str = "", device: str = "cpu") -> Any:
    """The shipped policy, or the one in the file ``checkpoint``."""
    from makespan.agents.pretrained import load_trained

    return load_trained("jobshop", _spec, checkpoint, device)


def _trained_flexible(checkpoint: str = "", device: str = "cpu") -> Any:
    """The same, shipped for the flexible job shop."""
    from makespan.agents.pretrained import load_trained

    return load_trained("jobshop", _spec, checkpoint, device, shipped="flexible-jobshop")


POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "linear": LinearPolicy,
    "random": RandomPolicy,
    "pretrained": _trained,
    "pretrained-flexible": _trained_flexible,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {
    "anytime": Anytime,
    "cp-sat": CpSat,
    "tabu": TabuSearch,
}
