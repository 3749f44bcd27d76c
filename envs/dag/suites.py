"""Named sets of task graphs, and single ones by name.

Validation sets are to choose among policies with; results are reported on the others. Instance i of
a set is drawn from ``numpy.random.default_rng((seed, i))``, where the seeds have 96 bits, so these
are none of the generators that training makes from seeds of ordinary size, below 2**64.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType

import numpy as np

from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.problem import Generator
from makespan.envs.dag.examples import EXAMPLES
from makespan.envs.dag.generator import LayeredGenerator, StructuredGenerator
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.pipeline import PipelineInstance

VALIDATION_SEED = 0x6D616B657370616E2D76616C
TEST_SEED = 0x6D616B657370616E2D746573

_FACTORISATIONS = ("cholesky", "lu", "qr")

#: Generator and number of instances of each drawn suite.
_DRAWN: Mapping[str, tuple[int, Generator[TaskGraphInstance], int]] = MappingProxyType(
    {
        "validation": (VALIDATION_SEED, LayeredGenerator(tasks=(20, 60)), 60),
        "layered-30": (TEST_SEED, LayeredGenerator(tasks=30), 50),
        "layered-100": (TEST_SEED + 1, LayeredGenerator(tasks=100), 50),
        "layered-30-100": (TEST_SEED + 2, LayeredGenerator(tasks=(30, 100)), 100),
        "layered-1000": (
            TEST_SEED + 3,
            LayeredGenerator(tasks=1000, processors=16, degree=2.0),
            10,
        ),
        "linear-algebra": (
            TEST_SEED + 4,
            StructuredGenerator(graphs=_FACTORISATIONS, size=(4, 6)),
            30,
        ),
        "structured": (
            TEST_SEED + 5,
            StructuredGenerator(graphs=("fft", "gaussian", "stencil"), size=(3, 6)),
            30,
        ),
        "workflows": (
            TEST_SEED + 6,
            StructuredGenerator(graphs=("fork-join", "epigenomics", "montage"), size=(5, 9)),
            30,
        ),
    }
)


#: Training steps of p stages and m microbatches of unit passes, with memory p and 2 p - 1, for
#: which the published schedules ZB-H1 and ZB-H2 have spans of 3 m + p - 1 and 3 m.
PIPELINES: Mapping[str, TaskGraphInstance] = MappingProxyType(
    {
        graph.name: graph
        for stages, microbatches in ((4, 8), (4, 12), (8, 16), (8, 24))
        for memory in (stages, 2 * stages - 1)
        for graph in [PipelineInstance.uniform(stages, microbatches, memory).task_graph()]
    }
)


@cache
def _drawn(name: str) -> tuple[TaskGraphInstance, ...]:
    seed, generator, count = _DRAWN[name]
    return tuple(
        dataclasses.replace(
            generator.sample(np.random.default_rng((seed, number))), name=f"{name}-{number:02}"
        )
        for number in range(count)
    )


def load_instance(name: str) -> TaskGraphInstance:
    """A worked example (``"heft-2002"``) or a member of a suite (``"layered-30-07"``) by its name.

    Raises:
        UnknownNameError: with the close matches.
    """
    fixed = {**EXAMPLES, **PIPELINES}
    if name in fixed:
        return fixed[name]
    members = {f"{suite}-{i:02}": (suite, i) for suite in _DRAWN for i in range(_DRAWN[suite][2])}
    if name not in members:
        raise UnknownNameError("instance", name, {*fixed, *members})
    suite, number = members[name]
    return _drawn(suite)[number]


def _load(suite: str) -> list[TaskGraphInstance]:
    return list(_drawn(suite))


#: Every suite by its name; a call loads it.
SUITES: Mapping[str, Callable[[], list[TaskGraphInstance]]] = MappingProxyType(
    {
        "golden": lambda: list(EXAMPLES.values()),
        "pipeline": lambda: list(PIPELINES.values()),
        **{name: partial(_load, name) for name in _DRAWN},
    }
)
