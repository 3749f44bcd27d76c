"""Rules and solvers of the streaming family, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from makespan.baselines.random import RandomPolicy
from makespan.baselines.soc.clairvoyant import Clairvoyant
from makespan.baselines.soc.linear import LinearPolicy
from makespan.baselines.soc.rules import RULES, RulePolicy
from makespan.envs.core.observation import ObservationSpec


def _spec(**options: str) -> ObservationSpec:
    """Of a stream under ``options``, whatever its size."""
    from makespan.envs.soc.instance import Sizes
    from makespan.envs.soc.problem import StreamProblem

    return StreamProblem(Sizes(1, 1, 1, 1, 1, 1, 1), **options).spec


def _trained(checkpoint: str = "", device: str = "cpu") -> Any:
    """The shipped policy, or the one in the file ``checkpoint``."""
    from makespan.agents.pretrained import load_trained

    return load_trained("soc", _spec, checkpoint, device)


POLICIES: Mapping[str, Callable[..., Any]] = {
    **{rule: partial(RulePolicy, rule) for rule in RULES},
    "clairvoyant": Clairvoyant,
    "linear": LinearPolicy,
    "random": RandomPolicy,
    "pretrained": _trained,
}
SOLVERS: Mapping[str, Callable[..., Any]] = {}
