"""Generators: the shapes of the graphs, the parameters, determinism, errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.dag.generator import (
    MAX_COUNT,
    MAX_SIZES,
    STRUCTURES,
    LayeredGenerator,
    StructuredGenerator,
)
from makespan.envs.dag.instance import TaskGraphInstance


def structured(name: str, size: int) -> TaskGraphInstance:
    generator = StructuredGenerator(graphs=(name,), size=size, processors=2)
    return generator.sample(np.random.default_rng(0))


def edges(instance: TaskGraphInstance) -> set[tuple[str, str]]:
    return {(instance.tasks[u], instance.tasks[v]) for u, v in instance.edges.tolist()}


def test_cholesky_of_two_tiles_by_hand() -> None:
    """Factor the first tile, solve below it, update and factor the last one."""
    assert edges(structured("cholesky", 2)) == {
        ("potrf(0)", "trsm(1,0)"),
        ("trsm(1,0)", "syrk(1,0)"),
        ("syrk(1,0)", "potrf(1)"),
    }


def test_qr_of_two_tiles_by_hand() -> None:
    assert edges(structured("qr", 2)) == {
        ("geqrt(0)", "unmqr(0,1)"),
        ("geqrt(0)", "tsqrt(1,0)"),
        ("unmqr(0,1)", "tsmqr(1,1,0)"),
        ("tsqrt(1,0)", "tsmqr(1,1,0)"),
        ("tsmqr(1,1,0)", "geqrt(1)"),
    }


#: Numbers of tasks: n(n+1)(n+2)/6 for Cholesky, n(n+1)(2n+1)/6 for LU and QR, (n^2+n-2)/2 for
#: Gaussian elimination, 2 * 2^n - 1 calls and (n + 1) 2^n butterflies for the FFT, n^2 blocks, n^2
#: tasks and n + 1 barriers, 4 n + 4 tasks of Epigenomics, of Montage 2 n of images, 2 n - 3
#: differences and 6 more.
COUNTS = {
    "cholesky": lambda n: n * (n + 1) * (n + 2) // 6,
    "lu": lambda n: n * (n + 1) * (2 * n + 1) // 6,
    "qr": lambda n: n * (n + 1) * (2 * n + 1) // 6,
    "gaussian": lambda n: (n * n + n - 2) // 2,
    "fft": lambda n: 2 * 2**n - 1 + (n + 1) * 2**n,
    "stencil": lambda n: n * n,
    "fork-join": lambda n: n * n + n + 1,
    "epigenomics": lambda n: 4 * n + 4,
    "montage": lambda n: 4 * n + 3,
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structured_graphs_have_the_known_number_of_tasks(name: str) -> None:
    for size in (2, 3, 5):
        instance = structured(name, size)
        assert instance.num_tasks == COUNTS[name](size)
        entries = int((np.diff(instance.first_in) == 0).sum())
        assert entries == (size if name in ("stencil", "montage") else 1)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structured_graphs_are_of_a_size_that_can_be_built(name: str) -> None:
    largest = MAX_SIZES[name]
    assert COUNTS[name](largest) <= MAX_COUNT
    assert StructuredGenerator(graphs=(name,), size=largest).size == largest
    with pytest.raises(UsageError, match=f"size: found {largest + 1}, expected 2 <="):
        StructuredGenerator(graphs=(name,), size=largest + 1)


def test_an_fft_of_four_points_by_hand() -> None:
    """Butterflies of a stage read their own place and its partner."""
    found = edges(structured("fft", 2))
    assert ("call(1,0)", "call(2,1)") in found
    assert ("call(2,3)", "butterfly(0,3)") in found
    assert {u for u, v in found if v == "butterfly(2,0)"} == {"butterfly(1,0)", "butterfly(1,2)"}


def test_tasks_of_one_kind_cost_alike_and_kinds_by_their_operations() -> None:
    generator = StructuredGenerator(graphs=("cholesky",), size=4, processors=2, heterogeneity=0)
    instance = generator.sample(np.random.default_rng(0))
    cost = dict(zip(instance.tasks, instance.costs[:, 0].tolist(), strict=True))
    assert cost["gemm(2,1,0)"] == cost["gemm(3,2,1)"] == pytest.approx(2 * cost["trsm(1,0)"], abs=1)
    assert cost["potrf(0)"] == pytest.approx(cost["trsm(1,0)"] / 3, abs=1)
    assert (instance.costs == instance.costs[:, :1]).all()


@given(seed=st.integers(0, 2**64 - 1), tasks=st.integers(1, 60), processors=st.integers(1, 6))
def test_layered_graphs_keep_their_promises(seed: int, tasks: int, processors: int) -> None:
    generator = LayeredGenerator(
        tasks=(1, tasks), processors=(1, processors), eligible=(0.2, 1.0), bandwidths=(1, 3)
    )
    instance = generator.sample(np.random.default_rng(seed))
    assert instance == generator.sample(np.random.default_rng(seed))
    for found, limit in zip(instance.sizes, generator.largest, strict=True):
        assert found <= limit
    assert (instance.edges[:, 0] < instance.edges[:, 1]).all()
    assert instance.eligible.any(axis=1).all()
    assert (instance.costs[instance.eligible] >= 1).all()


def test_the_parameters_do_what_they_say() -> None:
    def mean(measure: Any, **options: Any) -> float:
        generator = LayeredGenerator(tasks=60, processors=4, **options)
        instances = [generator.sample(np.random.default_rng(seed)) for seed in range(20)]
        return float(np.mean([measure(instance) for instance in instances]))

    def ratio(i: TaskGraphInstance) -> float:
        return i.mean_delays.mean() / i.mean_costs.mean()

    assert mean(ratio, ccr=2.0) == pytest.approx(2, rel=0.1)
    assert mean(ratio, ccr=0.5, bandwidths=(1, 9)) < 1.5
    assert mean(lambda i: i.num_edges, degree=3.0) == pytest.approx(180, rel=0.15)
    assert mean(lambda i: i.eligible.mean(), eligible=0.5) == pytest.approx(0.625, abs=0.05)

    def spread(i: TaskGraphInstance) -> float:
        return float((i.costs.max(axis=1) / i.costs.min(axis=1)).mean())

    assert mean(spread, heterogeneity=0.0) == 1
    assert mean(spread, heterogeneity=0.2) < mean(spread, heterogeneity=1.5)

    def depth(i: TaskGraphInstance) -> int:
        level = np.ones(i.num_tasks)
        for u, v in i.edges.tolist():
            level[v] = max(level[v], level[u] + 1)
        return int(level.max())

    assert mean(depth, shape=2.0) < mean(depth, shape=0.5)


def test_sizes_grow_from_low_to_high() -> None:
    generator = LayeredGenerator(tasks=(10, 40), processors=(2, 8))
    assert generator.grown(0.0).tasks == (10, 10)
    assert generator.grown(0.5).processors == (2, 5)
    assert generator.grown(1.0) == generator
    assert StructuredGenerator(size=(2, 4)).grown(0.5).size == (2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": 0}, "tasks: found 0"),
        ({"tasks": (5, 3)}, r"tasks: found \(5, 3\)"),
        ({"tasks": "many"}, "tasks: found 'many'"),
        ({"processors": 0}, "processors: found 0"),
        ({"ccr": -1.0}, "ccr: found -1.0"),
        ({"heterogeneity": 2.5}, "heterogeneity: found 2.5"),
        ({"eligible": (0.5, 1.5)}, "eligible: found"),
        ({"bandwidths": (0, 1)}, "bandwidths: found"),
        ({"shape": 0}, "shape: found 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LayeredGenerator(**options)


def test_unknown_graphs_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean cholesky"):
        StructuredGenerator(graphs=("cholesk",))
    with pytest.raises(UsageError, match="graphs: found none"):
        StructuredGenerator(graphs=())
