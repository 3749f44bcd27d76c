"""Options of ``gymnasium.make``: the same rules in every family."""

from pathlib import Path
from typing import Any

import gymnasium
import pytest

import makespan  # noqa: F401
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.jobshop.family import make_env, make_vector_env
from makespan.envs.jobshop.formats import write_instance
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.envs.jobshop.suites import load_instance

GENERATOR = JobShopGenerator(jobs=(2, 3), machines=2)


@pytest.mark.parametrize(
    "env_id", sorted(i for i in gymnasium.registry if i.startswith("makespan/"))
)
def test_a_mistyped_option_gets_the_close_matches(env_id: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown option 'instanze'.*instance"):
        gymnasium.make(env_id, instanze="ta01")


def test_a_reset_takes_no_other_option() -> None:
    with pytest.raises(UnknownNameError, match="option of reset 'instanze'; did you mean instance"):
        make_env("ft06").reset(options={"instanze": "ta01"})
    with pytest.raises(UnknownNameError, match="option of reset 'instance'; known: reset_mask"):
        make_vector_env(2, "ft06").reset(options={"instance": "ta01"})


def test_options_that_exclude_each_other_are_named() -> None:
    with pytest.raises(UsageError, match="jobs: not with a fixed instance"):
        make_env("ta01", jobs=3)
    with pytest.raises(UsageError, match="generator: not with a fixed instance"):
        make_env("ta01", generator=GENERATOR)
    with pytest.raises(UsageError, match="jobs: not with a generator"):
        make_env(generator=GENERATOR, jobs=3)


def test_instances_come_from_a_generator_a_name_a_file_or_objects(tmp_path: Path) -> None:
    ta01 = load_instance("ta01")
    path = tmp_path / "no_suffix"
    write_instance(ta01, path)
    for source in ("ta01", str(path), path, ta01, [ta01]):
        env = make_env(source)
        env.reset(seed=0)
        assert env.unwrapped.instance.durations.tolist() == ta01.durations.tolist()
    env = make_env(generator=GENERATOR)
    env.reset(seed=0)
    assert 2 <= env.unwrapped.instance.num_jobs <= 3


def test_instances_come_from_several_names() -> None:
    env = gymnasium.make("makespan/JobShop-v0", instance=["ft06", "ft10"])
    names = set()
    for seed in range(10):
        env.reset(seed=seed)
        names.add(env.unwrapped.instance.name)  # type: ignore[attr-defined]
    assert names == {"ft06", "ft10"}


@pytest.mark.parametrize("instance", [5, [5], ["ft06", None]], ids=str)
def test_what_is_no_instance_is_refused(instance: Any) -> None:
    with pytest.raises(UsageError, match=r"instance: found .*, expected a name, a file, a JobShop"):
        gymnasium.make("makespan/JobShop-v0", instance=instance)


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("SoC-v0", {"jobs": 20, "load": 0.5, "noise": 0.1}),
        ("LLMRouting-v0", {"load": 0.8, "memory": 0.5}),
        ("MemoryMapping-v0", {"capacity": 0.1}),
        ("BlockingJobShop-v0", {"shutdowns": 0.1, "durations": 5}),
        ("DagScheduling-v0", {"bandwidths": 2}),
        ("JobShop-v0", {"durations": 5}),
    ],
)
def test_a_range_may_be_one_number(env_id: str, options: dict[str, Any]) -> None:
    def drawn(**options: Any) -> Any:
        env = gymnasium.make(f"makespan/{env_id}", **options)
        env.reset(seed=0)
        return env.unwrapped.instance  # type: ignore[attr-defined]

    pairs = {name: (value, value) for name, value in options.items()}
    assert drawn(**options) == drawn(**pairs)


@pytest.mark.parametrize("given", ["ft06", 5, GENERATOR], ids=str)
def test_a_reset_refuses_what_is_no_instance(given: Any) -> None:
    env = make_env("ft06")
    with pytest.raises(UsageError, match=r"instance: found .*, expected a JobShopInstance"):
        env.reset(options={"instance": given})


def test_a_reset_refuses_an_instance_of_another_problem() -> None:
    other = gymnasium.make("makespan/DagScheduling-v0")
    other.reset(seed=0)
    given = other.unwrapped.instance  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"instance: found .*, expected a JobShopInstance"):
        make_env("ft06").reset(options={"instance": given})


def test_a_missing_file_is_not_taken_for_a_name() -> None:
    with pytest.raises(InstanceError, match=r"missing\.txt"):
        make_env("missing.txt")
    with pytest.raises(UnknownNameError, match="ta001"):
        make_env("ta001")
