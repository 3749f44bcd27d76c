"""Linear policies of all families and how their weights are learnt."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.baselines.evolve import EvolutionConfig, for_family, main, read_initial
from makespan.baselines.linear import LinearPolicy, Weights, read_weights
from makespan.envs import FAMILIES
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import Policy, rollout
from makespan.envs.soc.generator import StreamGenerator

SOC = FAMILIES["soc"]()
BUSY = StreamGenerator(("ds3-cpu",), jobs=(15, 15), load=(0.9, 0.9))
#: Weights that follow the plan of a list scheduler, and wait where it waits.
PLANS = {"least-work": "least_work=4,wait=2", "etf": "etf=4,wait=2"}


def following(rule: str, **options: str) -> Weights:
    spec = SOC.make_problem(BUSY).spec
    return read_initial(PLANS[rule], LinearPolicy, LinearPolicy.terms_of(spec), options)


def latencies(policy: Policy, binding: str = "late") -> list[float]:
    streams = [BUSY.sample(np.random.default_rng(seed)) for seed in (3, 4)]
    problem = SOC.make_problem(streams, binding=binding)
    solutions: list[Any] = rollout(problem, streams, policy, np.random.default_rng(0))
    for stream, solution in zip(streams, solutions, strict=True):
        solution.validate(stream)
    pairs = zip(streams, solutions, strict=True)
    return [solution.objective(stream) for stream, solution in pairs]


@pytest.mark.parametrize("rule", PLANS)
def test_it_can_follow_a_list_scheduler(rule: str) -> None:
    followed = latencies(LinearPolicy(following(rule)))
    assert followed == pytest.approx(latencies(SOC.policies[rule]()), rel=1e-2)


def test_rows_can_have_weights_of_their_own() -> None:
    both = [following(rule) for rule in PLANS]
    stacked = both[0]._replace(values=np.stack([weights.values for weights in both]))
    each = [latencies(LinearPolicy(weights)) for weights in both]
    assert latencies(LinearPolicy(stacked)) == [each[0][0], each[1][1]]


def test_a_product_of_features_is_a_term() -> None:
    """Waiting is worth more the fewer tasks are ready: with a large weight, it never pays."""
    weights = Weights(("least_work", "wait", "wait*ready"), np.array([4.0, 2.0, 0.0]))
    usual = latencies(LinearPolicy(weights))
    never = latencies(LinearPolicy(weights._replace(values=np.array([4.0, 2.0, -100.0]))))
    assert never != usual


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_it_and_what_ships_can_be_used(name: str) -> None:
    family = FAMILIES[name]()
    kind = family.policies["linear"]
    for weights in kind.shipped:
        policy = kind(weights)
        generator = next(iter(family.generators.values()))
        problem = family.make_problem(generator, **policy.requires)
        assert set(policy.weights.terms) <= set(kind.terms_of(problem.spec))


@pytest.mark.parametrize("name", ["routing", "soc"])
def test_without_a_name_it_is_the_first_set(name: str) -> None:
    kind = FAMILIES[name]().policies["linear"]
    first = kind(next(iter(kind.shipped)))
    np.testing.assert_array_equal(kind().weights.values, first.weights.values)


def test_an_option_that_is_required_is_named() -> None:
    with pytest.raises(UsageError, match="linear needs a problem with binding='late'"):
        latencies(LinearPolicy(following("etf", binding="late")), "eager")


def test_terms_of_another_problem_are_named() -> None:
    with pytest.raises(UsageError, match="linear: soc has no term 'bound_rise'"):
        latencies(LinearPolicy(Weights(("bound_rise",), np.ones(1))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("least_werk=4", "did you mean least_work"),
        ("least_work=four", "found 'least_work=four', expected term=weight"),
        ("least_work=nan", "found 'least_work=nan', expected term=weight"),
    ],
)
def test_mistyped_initial_weights_are_named(text: str, message: str) -> None:
    terms = LinearPolicy.terms_of(SOC.make_problem(BUSY).spec)
    with pytest.raises((UnknownNameError, UsageError), match=message):
        read_initial(text, LinearPolicy, terms, {})


def test_files_of_something_else_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    for content in ("{}", '{"weights": {"etf": "much"}}', '{"weights": {"etf": 1e999}}'):
        path.write_text(content)
        with pytest.raises(UsageError, match=r"w\.json: expected 'weights' with a number for each"):
            read_weights(str(path))
    with pytest.raises(UsageError, match="found no weights, expected weights=FILE"):
        LinearPolicy()


def test_the_command_repeats_and_keeps_the_best_generation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("a.json", "b.json"):
        command = f"evolve soc --platforms toy --jobs 8 8 --initial etf=4,wait=2 --out {name}"
        settings = "--instances 2 --population 8 --generations 3 --validation 2 --spread 2"
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", f"{command} {settings}".split())
        main()
        found.append(json.loads((tmp_path / name).read_text()))
    assert found[0] == found[1]
    assert found[0]["requires"] == {"binding": "late", "processors": "distinct"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == lines[3:]
    costs = [float(line.split()[-1]) for line in lines[:3]]
    policy = LinearPolicy(str(tmp_path / "a.json"))
    search = for_family(
        SOC,
        StreamGenerator(("toy",), jobs=(8, 8), load=(0.3, 1.2), noise=(0.0, 0.3), variation=0.3),
        dict(found[0]["requires"]),
        EvolutionConfig(initial="etf=4,wait=2", validation=2),
    )
    instances = search._validation()
    ratios = search.figures(instances, policy) / search.figures(instances, search.usual)
    assert ratios.mean() == pytest.approx(min(costs), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--population 3", "evolve: population: found 3, expected at least 4"),
        ("--initial etv=1", "evolve: unknown term 'etv'"),
        ("--initial missing.json", "evolve: .missing.json.: cannot be read"),
        ("--platforms toi", "evolve: .*toi.*did you mean toy"),
        (
            "--generations 1 --population 4 --out /proc/none/w.json",
            "evolve: /proc/none/w.json: cannot be written",
        ),
    ],
)
def test_mistakes_at_the_command_line_are_one_line(
    arguments: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    command = f"evolve soc --jobs 3 3 --instances 1 --platforms toy --out w.json {arguments}"
    monkeypatch.setattr("sys.argv", command.split())
    with pytest.raises(SystemExit, match=message) as caught:
        main()
    assert "\n" not in str(caught.value)


def test_a_setting_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="population: found 3, expected at least 4"):
        EvolutionConfig(population=3)
