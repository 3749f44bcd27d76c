"""The instances of every suite are what they were when results on them were published."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from makespan.envs import FAMILIES
from makespan.envs.core.errors import UsageError

DIGESTS = dict(
    line.split()
    for line in (Path(__file__).parents[1] / "data" / "suites_sha256.txt").read_text().splitlines()
)
#: Instances that a user has in a folder; no digest of them ships.
READ = {"offsets/minimalloc"}


def digest(instances: Sequence[Any]) -> str:
    """SHA-256 of the hashes of the instances, in their order."""
    hashes = "".join(instance.content_hash() for instance in instances)
    return hashlib.sha256(hashes.encode()).hexdigest()


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
