"""Named sets of streams: for validation, for reports, and worked examples.

Streams to report on are drawn from ``numpy.random.default_rng((TEST_SEED, i))``, those to choose
policies with from ``(VALIDATION_SEED, i)``. Both seeds have 96 bits, so these are none of the
generators that training makes from seeds of ordinary size.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from makespan.envs.core.errors import UnknownNameError
from makespan.envs.soc.generator import StreamGenerator
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.platform import PRESETS, load_platform

TEST_SEED = 0x6D616B657370616E2D736F63
VALIDATION_SEED = 0x6D616B657370616E2D76616C
#: Streams of each kind in a suite.
STREAMS = 20
#: Mean gaps of DS3's scheduling case study (microseconds), and two beyond.
SCALES = (500, 200, 100, 60, 50, 40, 30)
LOADS = (0.3, 0.5, 0.7, 0.9)
NOISES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def draw(
    seed: int, generators: Mapping[str, StreamGenerator], streams: int = STREAMS
) -> list[StreamInstance]:
    """``streams`` streams of each generator, named after its label; more continue fewer.

    Stream i of every label comes from the same random generator, so that along a sweep only what is
    swept changes.
    """
    return [
        dataclasses.replace(
            generator.sample(np.random.default_rng((seed, number))), name=f"{label}-{number:02}"
        )
        for label, generator in generators.items()
        for number in range(streams)
    ]


def _default(scale: float, **options: object) -> StreamGenerator:
    return StreamGenerator(jobs=(100, 100), scale=scale, **options)  # type: ignore[arg-type]


def _on(platform: str, load: float, **options: object) -> StreamGenerator:
    return StreamGenerator(
        (platform,),
        jobs=(100, 100),
        load=(load, load),
        **options,  # type: ignore[arg-type]
    )


def _noise_sweep(platform: str, load: float) -> dict[str, StreamGenerator]:
    return {f"noise-{noise}": _on(platform, load, noise=(noise, noise)) for noise in NOISES}


_GENERATORS: Mapping[str, Callable[[], dict[str, StreamGenerator]]] = {
    "ds3-default": lambda: {f"scale-{scale}": _default(scale) for scale in SCALES},
    "ds3-cpu": lambda: {f"load-{load}": _on("ds3-cpu", load) for load in LOADS},
    "toy": lambda: {f"load-{load}": _on("toy", load) for load in LOADS},
    "ds3-default-noise": lambda: _noise_sweep("ds3-default", 0.5),
    "ds3-cpu-noise": lambda: _noise_sweep("ds3-cpu", 0.5),
    "ds3-default-open": lambda: {
        f"load-{load}": _on("ds3-default", load, cap=0, warmup=10) for load in LOADS[:3]
    },
    "ds3-cpu-open": lambda: {
        f"load-{load}": _on("ds3-cpu", load, cap=0, warmup=10) for load in LOADS[:3]
    },
}


def _suite(name: str, streams: int = STREAMS) -> list[StreamInstance]:
    return draw(TEST_SEED, _GENERATORS[name](), streams)


def _validation() -> list[StreamInstance]:
    platforms = {
        f"{platform}-{load}": StreamGenerator(
            (platform,), jobs=(60, 60), load=(load, load), noise=(0.0, 0.3)
        )
        for platform in PRESETS
        for load in (0.5, 0.9)
    }
    return draw(VALIDATION_SEED, platforms, 8)


#: Every suite by its name; a call draws it.
SUITES: Mapping[str, Callable[..., list[StreamInstance]]] = MappingProxyType(
    {**{name: partial(_suite, name) for name in _GENERATORS}, "validation": _validation}
)


def single_job(platform: str, job_type: str) -> StreamInstance:
    """One job alone: the static problem of its task graph.

    Raises:
        UnknownNameError: for an unknown platform or job type.
    """
    found = load_platform(platform)
    if job_type not in found.job_names:
        raise UnknownNameError(f"job type of {platform}", job_type, found.job_names)
    width = int(np.diff(found.task_offsets).max())
    types = np.array([found.job_names.index(job_type)])
    return StreamInstance(
        f"{platform}-{job_type}", found, types, np.zeros(1, dtype=np.int64), np.ones((1, width))
    )


def load_instance(name: str) -> StreamInstance:
    """A stream of a suite by its name, as ``"ds3-cpu/load-0.5-03"``, or one job, ``"toy/Top_1"``.

    Raises:
        UnknownNameError: with the close matches.
    """
    suite, _, stream = name.partition("/")
    if suite in PRESETS and stream in load_platform(suite).job_names:
        return single_job(suite, stream)
    if suite not in SUITES:
        raise UnknownNameError("stream (SUITE/NAME or PLATFORM/JOB_TYPE)", name, SUITES)
    streams = {instance.name: instance for instance in SUITES[suite]()}
    if stream not in streams:
        raise UnknownNameError(f"stream of {suite}", stream, streams)
    return streams[stream]
