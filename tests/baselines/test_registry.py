"""Specifications: what a line of text stands for, and what is said of a wrong one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pytest

from makespan.agents.search import BeamSearch, Sampling
from makespan.baselines.random import RandomPolicy
from makespan.baselines.registry import Spec, make_solver, parse_spec
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import RolloutSolver, Solver
from makespan.tests.fake_family import ShortestFirst, make_family


@dataclass(frozen=True)
class Search:
    """A solver with an option of each type."""

    name: str = "search"
    steps: int = 1
    factor: float = 1.0
    restart: bool = False
    moves: Literal["n5", "n6"] = "n6"
    limit: float | None = 10.0
    start: Solver[Any] | None = None


class ShortestInInvertedView(ShortestFirst):
    """A policy that can decide in one view only."""

    requires: Mapping[str, str] = MappingProxyType({"view": "inverted"})


FAMILY = replace(
    make_family(),
    solvers={"search": Search},
    policies={"shortest": ShortestFirst, "random": RandomPolicy, "bound": ShortestInInvertedView},
)


def make_search(text: str) -> Search:
    solver: Any = make_solver(FAMILY, text)
    assert isinstance(solver, Search)
    return solver


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("tabu", Spec((), "tabu", {})),
        ("tabu:moves=n5,steps=3", Spec((), "tabu", {"moves": "n5", "steps": "3"})),
        ("nondelay/mwkr", Spec(("nondelay",), "mwkr", {})),
        ("cp-sat:hint=nondelay/mwkr", Spec((), "cp-sat", {"hint": "nondelay/mwkr"})),
        ("cp-sat:hint=tabu:steps=3", Spec((), "cp-sat", {"hint": "tabu:steps=3"})),
    ],
)
def test_a_specification_is_taken_apart(text: str, spec: Spec):
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "found no name"),
        (":steps=3", "found no name"),
        ("nondelay/", "found no name"),
        ("tabu:", "found '', expected key=value"),
        ("tabu:steps", "found 'steps', expected key=value"),
        ("tabu:steps=", "found 'steps=', expected key=value"),
        ("tabu:=3", "found '=3', expected key=value"),
        ("tabu:steps=3,,moves=n5", "found '', expected key=value"),
        ("tabu:steps=3,steps=4", "option steps is given twice"),
    ],
)
def test_a_malformed_specification_is_rejected(text: str, complaint: str):
    with pytest.raises(UsageError, match=complaint):
        parse_spec(text)


def test_options_are_read_by_their_types():
    solver = make_search("search:steps=7,factor=2,restart=true,moves=n5,limit=none")
    assert solver == Search(steps=7, factor=2.0, restart=True, moves="n5", limit=None)
    assert type(solver.factor) is float


def test_an_option_can_be_another_solver():
    solver = make_search("search:start=inverted/shortest,limit=2.5")
    assert solver.limit == 2.5
    assert isinstance(solver.start, RolloutSolver)
    assert isinstance(solver.start.policy, ShortestFirst)
    assert make_search("search:start=none") == Search()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("search:steps=1.5", "option steps: found '1.5', expected an integer"),
        ("search:limit=soon", "option limit: found 'soon', expected none or a number"),
        ("search:restart=1", "option restart: found '1', expected true or false"),
        ("search:moves=n7", "option moves: found 'n7', expected n5 or n6"),
        ("search:step=3", "unknown option 'step'; did you mean steps. known: .*moves.* steps"),
        ("search:name=x", "unknown option 'name'"),
        ("search:start=search:steps=x", "option steps: found 'x', expected an integer"),
        ("shortest:speed=3", "unknown option 'speed'; known: samples, simulations, width"),
        ("random:samples=3,width=2", "found samples and width, expected one of them"),
        ("random:samples=0", "samples: found 0, expected at least 1"),
        ("random:width=2,temperature=2", "unknown option 'temperature'; known: samples"),
        ("random:simulations=2,temperature=2", "unknown option 'temperature'; known: batch"),
        ("clear/inverted/shortest", "view is given twice"),
        ("clear/bound", "bound needs view inverted, found clear"),
        ("clear/search", "found clear before search, expected nothing"),
    ],
)
def test_wrong_options_are_explained(text: str, complaint: str):
    with pytest.raises(UsageError, match=complaint):
        make_solver(FAMILY, text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("serch", "unknown policy or solver of tasks 'serch'; did you mean search"),
        ("search:start=shortst", "'shortst'; did you mean shortest"),
        ("cleer/shortest", "unknown view 'cleer'; did you mean clear"),
    ],
)
def test_unknown_names_list_the_close_ones(text: str, complaint: str):
    with pytest.raises(UnknownNameError, match=complaint):
        make_solver(FAMILY, text)


def test_a_policy_becomes_a_solver_under_the_chosen_problem():
    instance = FAMILY.suites["known"]()[0]
    rng = np.random.default_rng(0)
    shortest = make_solver(FAMILY, "shortest").solve(instance, None, rng).solution
    longest = make_solver(FAMILY, "inverted/shortest").solve(instance, None, rng).solution
    assert shortest.objective(instance) < longest.objective(instance)
    for text in ("bound", "inverted/bound"):  # the policy itself asks for that view
        assert make_solver(FAMILY, text).solve(instance, None, rng).solution == longest


def test_a_policy_is_sampled_or_searched_on_request():
    sampling = make_solver(FAMILY, "random:samples=5,temperature=2")
    beam = make_solver(FAMILY, "random:width=3")
    assert isinstance(sampling, Sampling)
    assert (sampling.samples, sampling.temperature) == (5, 2.0)
    assert isinstance(beam, BeamSearch)
    assert beam.width == 3
    assert isinstance(make_solver(FAMILY, "random:temperature=0.5"), RolloutSolver)
