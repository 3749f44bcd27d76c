"""Instances, presets and the bound."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from makespan.baselines.routing.rules import RulePolicy
from makespan.envs.core.errors import InstanceError, UnknownNameError
from makespan.envs.core.rollout import rollout
from makespan.envs.routing.bounds import latency_alone, lower_bound
from makespan.envs.routing.examples import ALONE, EIGHT, example, simple_fleet
from makespan.envs.routing.hardware import PRESETS, iteration_time, preset, sustainable_rate
from makespan.envs.routing.instance import DECODE, PREFILL, Fleet, RoutingInstance
from makespan.envs.routing.problem import RoutingProblem


def build(**options: Any) -> RoutingInstance:
    values: dict[str, Any] = {"arrival": [0.0, 1.0], "prompt": [10, 20], "output": [3, 4]}
    return RoutingInstance.build(**(values | {"replicas": simple_fleet()} | options))


def test_it_survives_json() -> None:
    instance = example(
        "json", [(0.0, 40, 3)], prefixes=[[1, 2]], prefix_tokens=16, prefix_cache=True
    )
    assert RoutingInstance.from_json(instance.to_json()) == instance


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arrival": [1.0, 0.5]}, r"arrival\[1\]: found 0.5 after 1.0"),
        ({"arrival": [-1.0, 0.5]}, r"arrival\[0\]: found -1.0, expected at least 0"),
        ({"arrival": [0.0, np.nan]}, "arrival: found nan at 1, expected finite"),
        ({"prompt": [0, 20]}, r"prompt\[0\]: found 0, expected 1 to"),
        ({"output": [3, 4.5]}, r"output\[1\]: found 4.5, expected a vector of integers"),
        ({"prompt": [10]}, r"prompt: found the shape \(1,\), expected \(2,\)"),
        ({"prompt": [10, 5000]}, "request 1: its prompt of 5000 .* need 313 blocks"),
        ({"prefixes": [[1], []]}, "request 0 has 1 blocks, expected at most 0"),
        ({"watermark": 1.5}, "watermark: found 1.5"),
        ({"prefix_tokens": 24}, "prefix_tokens: found 24, expected a multiple"),
        ({"hold_s": 0.0}, "max_holds, hold_s"),
        ({"delay_s": -1.0}, "delay_s: found -1.0, expected at least 0"),
        ({"replicas": simple_fleet(base=-1.0)}, r"engine\[0\], base: found -1.0"),
        ({"replicas": simple_fleet(base=0.0)}, r"engine\[0\], base: found 0.0, expected more"),
        ({"stale_s": 1e-9}, "stale_s: found 1e-09, expected 0 or at least 0.001"),
        ({"prefix_cache": "false"}, "prefix_cache: found 'false', expected true or false"),
        ({"prompt": ["100.0", "20"]}, "prompt: found .*'100.0'.*, expected integers"),
        ({"arrival": ["0", "1"]}, "arrival: found .*, expected numbers"),
        ({"arrival": [[0.0, 1.0]]}, r"arrival: found the shape \(1, 2\), expected a vector"),
        (
            {"prompt": [300, 1000], "output": [10, 500], "replicas": simple_fleet(kv_blocks=38)},
            "request 1: its prompt of 1000 and response of at most 500 tokens need 94 blocks",
        ),
        ({"replicas": simple_fleet(token_budget=8)}, r"token_budget\[0\]: found 8"),
        ({"replicas": simple_fleet(2, roles=[PREFILL, PREFILL])}, "expected both"),
        ({"replicas": simple_fleet(2, roles=[DECODE, DECODE])}, "expected both"),
        ({"arrival": [], "prompt": [], "output": []}, "found 0 requests"),
        ({"max_tokens": [2, 4]}, r"max_tokens\[0\]: found 2, expected at least the response of 3"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        build(**options)


def test_a_limit_of_responses_is_lowered_to_what_memory_takes() -> None:
    """100 blocks of 16 tokens, one of them below the watermark: 1584 tokens."""
    assert build().max_tokens.tolist() == [4, 4]
    instance = build(prompt=[10, 1500], max_tokens=100)
    assert instance.max_tokens.tolist() == [100, 84]


def test_an_unknown_preset_lists_close_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*h100/llama-2-7b/1"):
        Fleet.of(["h100/llama2-7b/1"])


def test_presets_give_the_reference_times() -> None:
    """Of the table they were taken from: B = 1 at 512 tokens, B = 64 at 64k, prefill of 1024."""
    engine = np.array(preset("a100/llama-2-7b/1").engine)
    assert iteration_time(engine, 0, 1, 512) == pytest.approx(0.0112, rel=0.05)
    assert iteration_time(engine, 0, 64, 65536) == pytest.approx(0.0357, rel=0.05)
    assert iteration_time(engine, 1024, 0, 0, 1024**2) == pytest.approx(0.062, rel=0.05)
    for name, found in PRESETS.items():
        assert found.fit_error is None or 0 < found.fit_error < 0.15, name
        assert found.kv_tokens > (3_000 if name.startswith("v100") else 20_000)


def test_the_sustainable_rate_of_a_simple_engine() -> None:
    """Prompts of 100, responses of 100, batch 10: ten decodes and ten prompt tokens an iteration.

    10 ms + 10 * 0.05 + 10 * 0.04 = 10.9 ms, in which a tenth of a request ends.
    """
    fleet = simple_fleet(max_batch=10)
    args = (fleet.engine, fleet.kv_blocks * 1000, fleet.token_budget, fleet.max_batch)
    np.testing.assert_allclose(sustainable_rate(*args, 100, 100), [0.1 / 0.0109])


def test_the_bound_is_the_latency_of_a_request_alone() -> None:
    np.testing.assert_allclose(latency_alone(ALONE), [0.03508])
    slow_and_fast = dataclasses.replace(
        EIGHT, engine=EIGHT.engine * np.array([[1.0], [0.5]]), max_holds=0
    )
    np.testing.assert_allclose(latency_alone(slow_and_fast), latency_alone(EIGHT) / 2)
    assert lower_bound(EIGHT) == pytest.approx(float(latency_alone(EIGHT).mean()))


def test_the_bound_counts_what_a_cache_may_hold() -> None:
    """The second prompt can find 32 of its 40 tokens: 10 + 8 * 0.05 ms instead of 12."""
    options = {"prefixes": [[7, 8], [7, 8]], "prefix_tokens": 16}
    requests = [(0.0, 40, 1), (1.0, 40, 1)]
    cached = example("cache", requests, prefix_cache=True, **options)
    np.testing.assert_allclose(latency_alone(cached), [0.012, 0.0104])
    np.testing.assert_allclose(latency_alone(example("none", requests, **options)), [0.012] * 2)


def test_the_bound_holds_when_a_later_request_fills_the_cache() -> None:
    """Beyond 16 tokens each takes a millisecond more, so two short iterations beat a long one.

    The second request goes first (1 ms), then the first finds 16 of its 32 tokens (1 ms more).
    """
    engine = np.array([[1e-3, 0, 0, 1e-3, 16, 0, 0]])
    fleet = simple_fleet(token_budget=64, max_batch=1)._replace(engine=engine)
    instance = RoutingInstance.build(
        [0.0, 0.0], [32, 16], [1, 1], fleet,
        priority=[0, 1], prefixes=[[1], [1]], prefix_tokens=16, prefix_cache=True,
    )  # fmt: skip
    problem = RoutingProblem.for_instances([instance])
    jsq = RulePolicy("jsq")
    solution = rollout(problem, [instance], jsq, np.random.default_rng(0))[0]
    assert solution.objective(instance) == pytest.approx(1.5e-3)
    np.testing.assert_allclose(latency_alone(instance), [1e-3, 1e-3])


def test_offered_load_is_the_rate_over_what_the_fleet_sustains() -> None:
    requests = [(0.1 * i, 100, 100) for i in range(11)]
    one = example("one", requests, kv_blocks=10_000)
    two = example("two", requests, kv_blocks=10_000, replicas=2)
    assert one.offered_load == pytest.approx(2 * two.offered_load)
    assert (one.size, two.size) == ("1 replicas", "2 replicas")
    pools = example("pools", requests, kv_blocks=10_000, replicas=2, roles=[PREFILL, DECODE])
    assert pools.offered_load == one.offered_load
    huge = example("huge", requests, kv_blocks=2**24, block_tokens=2**8, prefix_tokens=2**8)
    assert huge.offered_load == pytest.approx(one.offered_load)
