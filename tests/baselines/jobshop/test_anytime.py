"""The anytime solver: its stages, its neighbourhoods, and that Ctrl-C loses nothing."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.baselines.evaluation import Evaluation, Plan
from makespan.baselines.jobshop import anytime
from makespan.baselines.jobshop.anytime import Anytime
from makespan.baselines.jobshop.tabu import TabuSearch
from makespan.baselines.runner import InterruptedSolve, Workbench, registered_family
from makespan.envs.core.errors import UsageError
from makespan.envs.jobshop.examples import FT06
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator

FLEXIBLE = FlexibleJobShopGenerator(6, 4).sample(np.random.default_rng(0))


def search(instance: Any, seed: int = 0) -> Any:
    """A search that has the schedule of its rule."""
    rng = np.random.default_rng(seed)
    found = anytime._Search(instance, 60.0, 1, anytime._network(instance.max_alternatives > 1), rng)
    found._rule()
    return found


def test_stages_hand_their_schedule_on() -> None:
    instance = JobShopGenerator(9, 6).sample(np.random.default_rng(1))
    for shop in (instance, FLEXIBLE):
        anytime._network(shop.max_alternatives > 1)
        started = time.perf_counter()
        result = Anytime(workers=1).solve(shop, 2.0, np.random.default_rng(0))
        assert time.perf_counter() - started < 30
        result.solution.validate(shop)
        makespans = [makespan for _, makespan in result.details["improvements"]]
        assert makespans == sorted(set(makespans), reverse=True)
        assert makespans[-1] == result.solution.makespan
        names = [name for name, _, _ in result.details["stages"]]
        assert names == ["rule", "policy", "tabu", "polishing"][: len(names)]


@pytest.mark.parametrize("shop", [FT06, FLEXIBLE], ids=["classical", "flexible"])
def test_the_policy_plays(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedily, then sampled, up to the most samples of a batch."""
    played: list[int] = []

    def rollout(problem: Any, instances: Any, policy: Any, rng: Any) -> list[Any]:
        played.append(len(instances))
        return []

    found = search(shop)
    monkeypatch.setattr(anytime, "rollout", rollout)
    found._policy()
    assert played == [1, 2, 4, 8, 16, 32, 64]


def test_ctrl_c_in_a_stage_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    solve = TabuSearch.solve

    def interrupted(self: Any, *arguments: Any) -> Any:
        result = solve(self, *arguments)
        result.details["interrupted"] = True
        return result

    monkeypatch.setattr(TabuSearch, "solve", interrupted)
    result = Anytime(workers=1).solve(FT06, 60.0, np.random.default_rng(0))
    assert result.details["interrupted"]
    assert [name for name, _, _ in result.details["stages"]] == ["rule"]


def test_a_neighbourhood_of_everything_proves_the_optimum() -> None:
    found = search(FT06)
    assert found.best.makespan > 55
    everything = np.ones(36, dtype=np.bool_)
    while found._shorter(everything):
        found.best.validate(FT06)
    assert found.best.makespan == 55


def test_fixed_operations_keep_their_order() -> None:
    found = search(FT06)
    before = found.best
    nothing = np.zeros(36, dtype=np.bool_)
    assert found._shorter(nothing) is False  # semi-active: nothing to gain with the same orders
    assert found.best is before
    free = found._free_operations(10)
    assert free.sum() == 10


def test_ctrl_c_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anytime._Search, "_tabu", interrupted)
    workbench = Workbench(registered_family("jobshop"))
    plan = Plan(
        make_family=lambda: registered_family("jobshop"),
        workbench=workbench,
        instances=(FT06,),
        best_known={"ft06": None},
        specs=("anytime",),
        seeds=(0,),
        time_limit_s=5.0,
        own_files=True,
        out=tmp_path,
    )
    evaluation = Evaluation(plan)
    with pytest.raises(InterruptedSolve) as stopped:
        list(evaluation.run())
    stopped.value.outcome.solution.validate(FT06)
    assert (tmp_path / "solutions" / "ft06__anytime.json").exists()
    assert evaluation.missing()  # a resumed run solves it again


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="workers"):
        Anytime(workers=0)
    with pytest.raises(UsageError, match="time_limit_s"):
        Anytime(time_limit_s=0)
