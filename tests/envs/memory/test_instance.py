"""Instances: what they derive, their JSON form, and clear errors for anything wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest

from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.memory.examples import CAPACITY, EXAMPLES, REUSE
from makespan.envs.memory.formats import (
    read_instance,
    read_solution,
    write_instance,
    write_solution,
)
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.program import HARDWARE, Program, load_program, program_names
from makespan.envs.memory.solution import MemoryPlan
from makespan.envs.memory.suites import FAMILIES, SUITES, load_instance, programs_of, split_name

#: Two tensors that share memory: the cache before and after its update.
CACHE = {
    "kind": "memory-mapping",
    "version": 1,
    "capacity": 8,
    "bandwidth": {"slow": 2, "fast_read": None, "fast_write": None, "copy": 4},
    "tensors": [
        {"name": "cache", "size": 6, "alias": "kv"},
        {"name": "updated", "size": 6, "alias": "kv", "output": True},
        {"name": "token", "size": 3},
    ],
    "instructions": [
        {"name": "embed", "compute": 1, "reads": [], "writes": ["token"]},
        {
            "name": "append",
            "compute": 2,
            "reads": [{"tensor": "cache", "bytes": 1}, "token"],
            "writes": ["updated"],
        },
    ],
}


def cache(**changes):
    return MemoryInstance.from_dict({**json.loads(json.dumps(CACHE)), **changes})


def test_aliases_share_a_buffer_and_times_are_rounded_up():
    instance = cache()
    assert instance.num_buffers == 2
    assert instance.buffers.tolist() == [1, 0, 1, 0]
    assert instance.writes.tolist() == [True, False, False, True]
    assert instance.outputs.tolist() == [True, False]
    assert instance.slow_times.tolist() == [2, 1, 2, 3]  # 3, 1, 3 and 6 bytes at 2 per unit
    assert instance.copy_times.tolist() == [2, 1]
    assert instance.evict_times.tolist() == [3, 2]
    assert instance.slow_latencies.tolist() == [2, 6]
    assert (instance.all_slow, instance.all_fast) == (8, 3)
    assert instance.previous.tolist() == [-1, -1, 0, 1]
    assert instance.next.tolist() == [2, 3, -1, -1]
    assert instance.max_load == 9
    assert instance.access_label(1) == "instruction 1 (append), read of buffer 0 (cache)"


@pytest.mark.parametrize("instance", [*EXAMPLES.values(), cache()], ids=lambda i: i.name)
def test_an_instance_survives_its_json_form(instance, tmp_path):
    path = tmp_path / "instance.json"
    write_instance(instance, path)
    again = read_instance(path)
    for name in ("sizes", "outputs", "buffers", "writes", "access_bytes", "compute"):
        np.testing.assert_array_equal(getattr(again, name), getattr(instance, name))
    assert again.all_slow == instance.all_slow
    assert again.copy_model == instance.copy_model


def broken(path, value):
    """``CACHE`` with the entry at ``path`` replaced (None: left out)."""
    data = json.loads(json.dumps(CACHE))
    *parents, last = path
    place = data
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            broken(["tensors", 1, "size"], 5),
            "tensor 'updated': size: found 5, expected 6, that of ",
        ),
        (broken(["tensors", 1, "name"], "cache"), "tensor 'cache': found twice"),
        (broken(["tensors", 2, "size"], 0), "tensor 'token': size: found 0, expected an integer"),
        (broken(["tensors", 2, "colour"], 1), "tensor 2: found unknown field.* 'colour'"),
        (
            broken(["instructions", 1, "reads"], ["x"]),
            r"instruction 1 \(append\): reads: found 'x'",
        ),
        (
            broken(["instructions", 1, "reads"], [{"tensor": "cache", "bytes": 7}]),
            "'cache': bytes: found 7, expected an integer from 0 to 6",
        ),
        (broken(["instructions", 0, "writes"], ["token", "token"]), "found twice, expected once"),
        (broken(["instructions", 0, "compute"], -1), "compute: found -1"),
        (broken(["bandwidth", "slow"], 0), "slow_bandwidth: found 0, expected more than 0"),
        (broken(["bandwidth", "slow"], 10**400), "slow_bandwidth: found 1000.*, expected more"),
        (broken(["bandwidth", "fast_read"], 1), "expected at least that of slow memory, 2.0"),
        (broken(["capacity"], -1), "capacity: found -1"),
        (broken(["capacity"], None), "missing 'capacity'"),
        (broken(["instructions"], []), "at least one"),
        ({"kind": "x"}, "field 'kind': found 'x'"),
    ],
)
def test_wrong_data_are_refused_by_name(data, message):
    with pytest.raises(InstanceError, match=message):
        MemoryInstance.from_dict(data)


def test_a_live_range_cannot_end_before_it_begins():
    data = broken(["tensors", 2, "input"], False)
    data["instructions"].reverse()  # the token is read, then written
    message = r"instruction 0 \(append\): reads: 'token': read before its first write"
    with pytest.raises(InstanceError, match=message):
        MemoryInstance.from_dict(data)


def test_other_mistakes():
    with pytest.raises(UnknownNameError, match="copy model 'statik'; did you mean static"):
        replace(REUSE, copy_model="statik")
    with pytest.raises(InstanceError, match="buffer 7, expected 0 to 1"):
        replace(REUSE, buffers=np.array([0, 7, 1, 0]))
    with pytest.raises(InstanceError, match="follows a write of the same instruction"):
        replace(CAPACITY, access_offsets=np.array([0, 1, 3, 3, 4]))
    with pytest.raises(InstanceError, match="use a coarser time unit"):
        replace(REUSE, compute=np.full(6, 2**50))
    with pytest.raises(UsageError, match="instructions: found 1"):
        MemoryGenerator(1)
    with pytest.raises(UsageError, match="structure: found 'ring'"):
        MemoryGenerator(9, "ring")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [2**62, 2**62]}, "sizes: found 2 buffers of 9223372036854775808 bytes"),
        ({"compute": np.full(6, 2**62)}, "times: found a total of 2.77e\\+19, expected at most"),
        ({"sizes": [2**50, 2**50], "slow_bandwidth": 0.25}, "times: found a total of"),
    ],
    ids=["sizes", "arithmetic", "evictions"],
)
def test_what_64_bits_do_not_hold_is_refused(changes, message):
    with pytest.raises(InstanceError, match=message):
        replace(REUSE, copy_bandwidth=np.inf, **changes)


def test_a_broken_file_names_file_and_line(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text('{"kind": "memory-mapping",\n "version": }')
    with pytest.raises(InstanceError, match=r"broken\.json: line 2: not JSON"):
        read_instance(path)
    with pytest.raises(InstanceError, match=r"missing\.json"):
        read_instance(tmp_path / "missing.json")


def test_plans_are_written_and_read(tmp_path):
    plan = MemoryPlan(np.array([1, 0, 0, 1]), np.full(4, -1), np.array([0, -1, -1, 0]))
    files = write_solution(CAPACITY, plan, tmp_path / "plan")
    assert [file.name for file in files] == ["plan.json", "plan.csv"]
    assert read_solution(files[0]) == plan
    data = json.loads(files[0].read_text())
    assert (data["all_slow"], data["static_latency"], data["dynamic_latency"]) == (14, 6, 6)
    assert files[1].read_text().splitlines()[1] == "0,0,write,no-copy,-1,0"


# ---------------------------------------------------------------- programs and suites


def test_the_sets_are_split_by_family():
    names = {split: programs_of(split) for split in FAMILIES}
    assert sorted(name for split in names.values() for name in split) == program_names()
    assert all(names.values())
    families = {split: {load_program(n).family for n in names[split]} for split in names}
    assert not families["test"] & (families["train"] | families["validation"])
    assert not families["train"] & families["validation"]
    assert any(name.endswith("-train") for name in names["test"])


def test_a_program_on_hardware():
    program = load_program("resnet18")
    assert program.flops[0] == 236_027_904  # of the first convolution, 2 * 64 * 112**2 * 3 * 7 * 7
    instance = program.on(HARDWARE["tpu-v4i"], 0.1)
    assert instance.capacity == program.max_load // 10
    # 1 microsecond of overhead and the arithmetic at 138 TFLOP/s, in picoseconds
    assert instance.compute[0] == 10**6 + -(-236_027_904 * 10**12 // int(138e12))
    assert instance.all_fast < instance.all_slow
    assert Program.from_json(program.to_json()) == program


def test_instances_have_names():
    assert load_instance("capacity") is CAPACITY
    assert load_instance("gpt-tiny@edge-npu-20").capacity == load_program("gpt-tiny").max_load // 5
    assert load_instance("gpt-tiny@edge-npu").capacity == 4 * 2**20
    assert split_name("pkg:make")[1:] == (None, None)
    with pytest.raises(UnknownNameError, match="did you mean gpt-tiny@tpu-v4i-10"):
        load_instance("gpt-tiniest@tpu-v4i-10")
    with pytest.raises(UnknownNameError, match="unknown hardware 'tpu-v9'"):
        load_instance("gpt-tiny@tpu-v9")
    for percent in ("0", "inf", "nan"):
        message = f"found {percent} %, expected a finite percentage above 0"
        with pytest.raises(UsageError, match=message):
            load_instance(f"gpt-tiny@tpu-v4i-{percent}")
    for share in (0.0, np.inf, np.nan, 1e305):
        with pytest.raises(UsageError, match="capacity share: found"):
            load_program("gpt-tiny").on(HARDWARE["tpu-v4i"], share)
    assert len(SUITES["validation-random"]()) == 24


def test_generated_programs_are_reproducible_and_of_the_size_asked_for():
    generator = MemoryGenerator((10, 30))
    for seed in range(40):
        instance = generator.sample(np.random.default_rng(seed))
        assert instance == generator.sample(np.random.default_rng(seed))
        assert all(np.array(instance.extent) <= generator.largest)
        assert 0 < instance.capacity <= 0.5 * instance.max_load
        assert instance.all_fast < instance.all_slow
