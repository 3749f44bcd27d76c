"""The instances of every suite are what they were when results on them were published."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.envs import FAMILIES
from makespan.envs.core.errors import UsageError
from makespan.envs.routing.examples import EIGHT

DIGESTS = dict(
    line.split()
    for line in (Path(__file__).parents[1] / "data" / "suites_sha256.txt").read_text().splitlines()
)
#: Instances that a user has in a folder; no digest of them ships.
READ = {"offsets/minimalloc"}


def digest(instances: Sequence[Any]) -> str:
    """SHA-256 of the data of the instances, in their order, the names left out.

    Of real numbers nine digits count: the last bit of a logarithm is not the same on all
    processors.
    """
    found = hashlib.sha256()
    for instance in instances:
        for field in dataclasses.fields(instance):
            if field.name != "name":
                found.update(f"{field.name}=".encode() + written(getattr(instance, field.name)))
    return found.hexdigest()


def written(value: Any) -> bytes:
    if isinstance(value, float):
        return f"{value:.9g}".encode()
    if not isinstance(value, np.ndarray):
        return repr(value).encode()
    if value.dtype.kind == "f":
        return " ".join(f"{x:.9g}" for x in value.ravel().tolist()).encode()
    return f"{value.dtype}{value.shape}".encode() + value.tobytes()


def test_a_digest_tells_of_digits_that_count() -> None:
    one, *others = (
        EIGHT,
        *(dataclasses.replace(EIGHT, hold_s=EIGHT.hold_s * x) for x in (1 + 1e-15, 1 + 1e-7)),
    )
    assert [digest([one]) == digest([other]) for other in others] == [True, False]
    assert digest([one]) != digest([dataclasses.replace(EIGHT, prompt=EIGHT.prompt + 1)])


def test_every_suite_has_a_digest() -> None:
    suites = {f"{name}/{suite}" for name, make in FAMILIES.items() for suite in make().suites}
    assert suites - READ == set(DIGESTS)


@pytest.mark.parametrize("suite", DIGESTS)
def test_suites_are_what_they_were(suite: str) -> None:
    family, name = suite.split("/")
    try:
        instances = FAMILIES[family]().suites[name]()
    except UsageError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))
    assert digest(instances) == DIGESTS[suite]
