"""Random clusters, workloads, predictors and suites."""

from dataclasses import replace

import numpy as np
import pytest

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.routing.generator import RoutingGenerator
from makespan.envs.routing.instance import DECODE, PREFILL
from makespan.envs.routing.suites import RECIPES, SUITES, draw
from makespan.envs.routing.workloads import BUCKET_LENGTHS, WORKLOADS, predict


def test_equal_seeds_give_equal_instances_within_the_largest_sizes() -> None:
    generator = RoutingGenerator(num_requests=(5, 30), num_replicas=(1, 6))
    for seed in range(40):
        one, other = (generator.sample(np.random.default_rng(seed)) for _ in range(2))
        assert one == other
        assert all(a <= b for a, b in zip(one.sizes, generator.largest, strict=True))
        assert 5 <= one.num_requests <= 30
        assert 1 <= one.num_replicas <= 6


def test_the_load_is_what_was_asked_for() -> None:
    unified = RoutingGenerator(
        num_requests=3000, num_replicas=4, workload="five-tasks", load=(0.7, 0.7)
    )
    for generator in (unified, replace(unified, pools="disaggregated")):
        loads = [generator.sample(np.random.default_rng(seed)).offered_load for seed in range(5)]
        assert np.mean(loads) == pytest.approx(0.7, rel=0.05)


def test_fleets_are_of_one_kind_or_of_several() -> None:
    same = RoutingGenerator(5, 8, fleet="homogeneous", model="llama-2-7b")
    assert len(set(same.sample(np.random.default_rng(0)).kinds)) == 1
    mixed = RoutingGenerator(5, 8, fleet="heterogeneous", model="llama-2-7b")
    assert len(set(mixed.sample(np.random.default_rng(0)).kinds)) > 1
    named = RoutingGenerator(5, 2, fleet="h100/llama-2-7b/1")
    assert named.sample(np.random.default_rng(0)).kinds == ("h100/llama-2-7b/1",) * 2
    pools = RoutingGenerator(5, 5, pools="disaggregated")
    assert set(pools.sample(np.random.default_rng(0)).role.tolist()) == {PREFILL, DECODE}


def test_workloads_have_their_published_means() -> None:
    """As near as a lognormal of the same logarithms comes, truncation included."""
    rng = np.random.default_rng(0)
    for name, prompt, output in (
        ("azure-conversation", 1155, 211),
        ("azure-code", 2048, 27.9),
        ("five-tasks", 84.4, 164.5),  # the five means, equally weighted
        ("sharegpt", 161, 338),
        ("alpaca", 19.3, 58.5),
        ("lmsys", 69.5, 214.5),
    ):
        requests = WORKLOADS[name].draw(rng, 40_000, 10**9)
        assert requests.prompt.mean() == pytest.approx(prompt, rel=0.17), name
        assert requests.output.mean() == pytest.approx(output, rel=0.17), name


def test_gaps_have_their_variation() -> None:
    gaps = np.diff(WORKLOADS["azure-code"].arrivals(np.random.default_rng(0), 50_000, 2.0))
    assert gaps.mean() == pytest.approx(0.5, rel=0.1)
    assert gaps.std() / gaps.mean() == pytest.approx(4, rel=0.1)


def test_conversations_share_their_prefixes() -> None:
    requests = WORKLOADS["mooncake"].draw(np.random.default_rng(0), 600, 10**9)
    seen: set[int] = set()
    found = 0
    for blocks, prompt in zip(requests.prefixes, requests.prompt, strict=True):
        assert len(blocks) <= prompt // 512
        hits = [block in seen for block in blocks]
        assert hits == sorted(hits, reverse=True)  # what is known is a prefix
        found += 512 * sum(hits)
        seen.update(blocks)
    assert 0.3 < found / requests.prompt.sum() < 0.7


def test_predictors() -> None:
    rng = np.random.default_rng(0)
    output = rng.integers(1, 3000, 20_000)
    np.testing.assert_array_equal(predict(output, "exact", 0.0, rng), output)
    right = predict(output, "bucket", 0.0, rng)
    assert set(right.tolist()) == set(BUCKET_LENGTHS)
    wrong = predict(output, "bucket", 0.25, rng)
    assert (wrong != right).mean() == pytest.approx(0.25, abs=0.02)
    ratio = predict(output, "noise", 0.5, rng) / output
    assert np.log(ratio[output > 100]).std() == pytest.approx(0.5, rel=0.05)
    np.testing.assert_allclose(predict(output, "bias", 0.5, rng), output * 1.5, atol=0.51)
    shuffled = predict(output, "rank", 1.0, rng)
    assert sorted(shuffled.tolist()) == sorted(output.tolist())
    assert abs(np.corrcoef(shuffled, output)[0, 1]) < 0.05
    assert set(predict(output, "mean", 0.0, rng).tolist()) == {round(output.mean())}
    with pytest.raises(UnknownNameError, match="did you mean bucket"):
        predict(output, "buckets", 0.0, rng)
    with pytest.raises(UsageError, match="error: found 2"):
        predict(output, "rank", 2.0, rng)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_requests": 0}, UsageError, "num_requests: found 0"),
        ({"num_replicas": (4, 2)}, UsageError, "num_replicas"),
        ({"load": (0.0, 1.0)}, UsageError, "load: found"),
        ({"memory": (0.5, 1.5)}, UsageError, "memory: found"),
        ({"rate": -1.0}, UsageError, "rate: found -1"),
        ({"model": "llama-2-8b"}, UnknownNameError, "did you mean"),
        ({"fleet": "homogenous"}, UnknownNameError, "did you mean homogeneous"),
        ({"workload": "azure"}, UnknownNameError, "unknown workload"),
        ({"predictor": "exakt"}, UnknownNameError, "did you mean exact"),
        ({"num_replicas": 1, "pools": "disaggregated"}, UsageError, "need at least 2"),
        ({"pools": "disagregated"}, UnknownNameError, "did you mean disaggregated"),
        ({"error": (0, 2)}, UsageError, "error: found 2, expected 0.0 to 1.0 for bucket"),
        ({"error": -0.5, "predictor": "noise"}, UsageError, "error: found -0.5"),
        ({"token_budget": 0}, UsageError, r"token_budget\[0\]: found 0, expected 1"),
        ({"max_holds": (3, 1)}, UsageError, r"max_holds: found \(3, 1\)"),
        ({"hold_s": 0.0, "max_holds": (0, 1)}, UsageError, "max_holds, hold_s: found 1 and 0.0"),
        ({"hold_s": -1.0}, UsageError, "hold_s: found -1.0, expected 0 <= smallest"),
        ({"stale_s": 1e-9}, UsageError, "stale_s: found 1e-09"),
        (
            {"model": "llama-2-13b", "fleet": "a100/llama-2-7b/1"},
            UsageError,
            "model: found llama-2-13b, expected that of the fleet, a100/llama-2-7b/1, or any",
        ),
    ],
)
def test_wrong_options_are_explained(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        RoutingGenerator(**({"num_requests": 5, "num_replicas": 2} | options))  # type: ignore[arg-type]


def test_a_rate_takes_the_place_of_the_load() -> None:
    requests = RoutingGenerator(4000, 3, rate=5.0).sample(np.random.default_rng(0)).arrival
    assert len(requests) / requests[-1] == pytest.approx(15, rel=0.2)


def test_how_requests_may_be_held_can_be_drawn_and_changes_nothing_else() -> None:
    fixed = RoutingGenerator(50, 3, hold_s=0.1, max_holds=7)
    drawn = replace(fixed, hold_s=(0.5, 1.5), max_holds=(2, 9))
    found = set()
    for seed in range(20):
        one, other = (g.sample(np.random.default_rng(seed)) for g in (fixed, drawn))
        found.add(other.max_holds)
        assert 0.5 <= other.hold_s <= 1.5
        assert replace(other, hold_s=0.1, max_holds=7) == one
    assert len(found) > 3
    assert found <= set(range(2, 10))


def test_suites_have_a_validation_set_of_the_same_kind_with_other_requests() -> None:
    for name in RECIPES:
        assert {name, f"{name}-validation"} <= set(SUITES)
    one = draw("homogeneous", RECIPES["homogeneous"], 1, count=2)
    assert [instance.name for instance in one] == ["homogeneous-0", "homogeneous-1"]
    other = draw("homogeneous", RECIPES["homogeneous"], 2, count=1)
    assert one[0].kinds == other[0].kinds
    assert one[0] != other[0]
