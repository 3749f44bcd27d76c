"""What goes wrong outside of us: broken files, full disks, kills, lost devices, diverging losses.

The long versions (``make soak``) take MAKESPAN_SOAK as the share of their full size.
"""

import contextlib
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from makespan import evaluate, train
from makespan.agents import trainer as trainer_module
from makespan.agents.checkpoint import load_checkpoint
from makespan.agents.device import find_device
from makespan.baselines.results import ResultsFile
from makespan.envs import FAMILIES
from makespan.envs.core.errors import InstanceError, UsageError
from makespan.envs.core.files import MAX_FILE_SIZE, write_atomically
from makespan.tests.cases import IDS, VARIANTS
from makespan.tests.fuzz import SMALL, Reader, mutated, readers

SHARE = float(os.environ.get("MAKESPAN_SOAK", "1"))
INPUTS, EPISODES, KILLS = (round(SHARE * n) for n in (100_000, 1_000_000, 20))
#: Random episodes on each random instance: drawing it takes longer than playing it.
EPISODES_PER_INSTANCE = 4

#: A run small enough for a test; iterations take a few hundredths of a second.
TINY = [
    "jobshop",
    "--jobs",
    "3",
    "--machines",
    "2",
    "--encoder",
    "none",
    "--lookahead",
    "none",
    "--hidden",
    "8",
    "--heads",
    "2",
    "--instances",
    "2",
    "--replicas",
    "2",
    "--validation",
    "2",
    "--threads",
    "1",
]


@pytest.fixture(scope="module")
def all_readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("valid"))


def check_reader(reader: Reader, folder: Path, inputs: int, seed: int) -> tuple[int, float]:
    """Feed broken files; returns how many were read after all, and the longest seconds of CPU."""
    rng = np.random.default_rng(seed)
    names = list(reader.files)
    accepted, longest = 0, 0.0
    for number in range(inputs):
        name = names[number % len(names)]
        content = mutated(reader.files[name], rng)
        path = folder / name
        path.write_bytes(content)
        started = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about instances that are valid and unwise
                reader.read(path)
            accepted += 1
        except reader.errors:
            pass
        except Exception as error:
            error.add_note(f"input {number} of seed {seed}: {content[:3000]!r}")
            raise
        longest = max(longest, time.process_time() - started)
    return accepted, longest


def test_valid_files_are_read(all_readers: dict[str, Reader], tmp_path: Path) -> None:
    for reader in all_readers.values():
        for name, content in reader.files.items():
            (tmp_path / name).write_bytes(content)
            reader.read(tmp_path / name)


def test_broken_files_get_a_clear_error(all_readers: dict[str, Reader], tmp_path: Path) -> None:
    for reader in all_readers.values():
        check_reader(reader, tmp_path, 60, seed=0)  # its time depends on what is compiled yet


@pytest.mark.soak
def test_many_broken_files(all_readers: dict[str, Reader], tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))  # a MemoryError is a failure
    try:
        for name, reader in all_readers.items():
            accepted, longest = check_reader(reader, tmp_path, INPUTS, seed=1)
            print(f"{name}: {INPUTS} inputs, {accepted} accepted, at most {longest:.3f} s")
            assert longest < 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def play_random_episodes(name: str, options: dict[str, Any], episodes: int, seed: int) -> None:
    """Random masked episodes in a vector environment, every solution validated."""
    rows = min(256, episodes)
    envs = gymnasium.make_vec(name, rows, **options, autoreset_mode="Disabled", copy=False)
    sample = envs.generator.sample
    drawn: list[Any] = []

    class Recorded:
        """The generator, giving each instance several times and remembering what it gave."""

        given = 0

        def sample(self, rng: np.random.Generator) -> Any:
            if self.given % EPISODES_PER_INSTANCE == 0:
                self.instance = sample(rng)
            self.given += 1
            drawn.append(self.instance)
            return self.instance

    envs.generator = Recorded()
    rng = np.random.default_rng(seed)
    _, infos = envs.reset(seed=seed)
    instances = np.empty(rows, dtype=object)
    instances[:] = drawn
    played = 0
    while played < episodes:
        mask = infos["action_mask"]
        actions = (mask * rng.random(mask.shape, dtype=np.float32)).argmax(axis=1)
        _, _, ended, _, infos = envs.step(actions)
        assert "illegal_action" not in infos
        if ended.any():
            for row in np.flatnonzero(ended):
                solution = envs.solution(row)
                solution.validate(instances[row])
                objective = solution.objective(instances[row])
                np.testing.assert_allclose(objective, infos["objective"][row], rtol=1e-9)
            played += int(ended.sum())
            drawn.clear()
            _, infos = envs.reset(options={"reset_mask": ended})
            instances[ended] = drawn


CASES = [(name, options) for name in IDS for options in VARIANTS.get(name, {"": {}}).values()]


@pytest.mark.soak
def test_a_million_random_episodes() -> None:
    for name, options in CASES:
        count = -(-EPISODES // len(CASES))
        play_random_episodes(name, options, count, seed=0)
        print(f"{name} {options}: {count} episodes")


@pytest.mark.soak
def test_kills_during_training_lose_nothing(tmp_path: Path) -> None:
    options = [*TINY, "--iterations", "100000", "--checkpoint-every", "1", "--validate-every", "5"]
    command = [sys.executable, "-m", "makespan.train", *options, "--out", str(tmp_path)]
    rng = np.random.default_rng(0)
    reached = 0
    for kill in range(KILLS):
        process = subprocess.Popen([*command, *(["--resume"] if kill else [])])
        path = tmp_path / trainer_module.CHECKPOINT
        while not path.exists() or iterations(path) <= reached:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert iterations(path) > reached
        reached = iterations(path)
    print(f"{KILLS} kills, {reached} iterations")


def iterations(path: Path) -> int:
    return int(load_checkpoint(path).data["counters"]["iteration"])


@pytest.mark.soak
def test_kills_during_a_sweep_lose_nothing(tmp_path: Path) -> None:
    options = [
        "jobshop",
        "--suite",
        "ta15x15",
        "--policies",
        "spt",
        "mwkr",
        "random",
        "mor",
        "--seeds",
        "5",
        "--quiet",
        "--out",
    ]
    command = [sys.executable, "-m", "makespan.evaluate", *options]
    rng = np.random.default_rng(0)
    results = tmp_path / "killed" / "results.csv"
    lines = 0
    for _ in range(KILLS):
        process = subprocess.Popen([*command, str(results.parent)])
        while process.poll() is None and (not results.exists() or count_lines(results) <= lines):
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert count_lines(results) >= lines
        lines = count_lines(results)
    assert evaluate.main([*options, str(results.parent)]) == 0
    assert evaluate.main([*options, str(tmp_path / "whole")]) == 0
    assert answers(results) == answers(tmp_path / "whole" / "results.csv")
    print(f"{KILLS} kills, {len(answers(results))} results")


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def answers(path: Path) -> list[tuple[Any, ...]]:
    rows = ResultsFile(path, ("decode", "lookahead")).rows
    assert len({row.key for row in rows}) == len(rows)
    return sorted((*row.key, row.objective) for row in rows)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow past 4 kB: writing more fails as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, "old")
    with (
        full_disk(),
        pytest.raises(UsageError, match=r"file.json: cannot be written: File too large"),
    ):
        write_atomically(path, "x" * 10_000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_training_on_a_full_disk_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*TINY, "--iterations", "1", "--out"]
    # what is compiled now need not be written to numba's cache later
    assert train.main([*command, str(tmp_path / "warm")]) == 0
    with full_disk():
        assert train.main([*command, str(tmp_path / "run")]) == 2
    assert "cannot be written: File too large" in capsys.readouterr().err


def test_a_result_that_does_not_fit_on_the_disk_leaves_whole_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["jobshop", "--policies", "spt", "mwkr", "--quiet"]
    assert evaluate.main([*command, "--suite", "ta15x15", "--out", str(tmp_path / "warm")]) == 0
    with full_disk():
        assert evaluate.main([*command, "--suite", "taillard", "--out", str(tmp_path)]) == 2
    assert "results.csv" in capsys.readouterr().err
    assert (tmp_path / "results.csv").read_bytes().endswith(b"\n")
    assert len(ResultsFile(tmp_path / "results.csv", ("decode", "lookahead")).rows) > 5


@pytest.mark.parametrize(
    ("main", "options"),
    [
        (train.main, [*TINY, "--iterations", "1"]),
        (evaluate.main, ["jobshop", "--suite", "ta01-10", "--policies", "spt"]),
    ],
)
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], main: Any, options: list[str]
) -> None:
    # root may write into read-only folders, but not even root below a file
    (tmp_path / "file").touch()
    assert main([*options, "--out", str(tmp_path / "file" / "run")]) == 2
    error = capsys.readouterr().err
    assert "Not a directory" in error
    assert len(error.splitlines()) == 1


def test_an_unknown_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main([*TINY, "--device", "gpu", "--out", str(tmp_path)]) == 2
    assert "device: found 'gpu', which cannot be used" in capsys.readouterr().err
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="'cuda', which cannot be used"):
            find_device("cuda")
    options = f"jobshop --suite ta01-10 --policies pretrained:device=gpu --out {tmp_path}"
    assert evaluate.main(options.split()) == 2
    assert "device: found 'gpu', which cannot be used" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*TINY, "--iterations", "4", "--checkpoint-every", "1", "--out", str(tmp_path)]
    collect, calls = trainer_module.collect, []

    def poisoned(*arguments: Any, **named: Any) -> Any:
        experience = collect(*arguments, **named)
        calls.append(experience)
        if len(calls) == 3:
            return experience._replace(returns=experience.returns * float("nan"))
        return experience

    monkeypatch.setattr(trainer_module, "collect", poisoned)
    assert train.main(options) == 2
    assert "iteration 3: loss, policy_loss, value_loss" in capsys.readouterr().err
    checkpoint = load_checkpoint(tmp_path / trainer_module.CHECKPOINT)
    assert checkpoint.data["counters"]["iteration"] == 2
    assert all(tensor.isfinite().all() for tensor in checkpoint.tensors.values())


class Exploit:
    """What runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_checkpoint_of_a_stranger_runs_no_code(tmp_path: Path) -> None:
    traces = tmp_path / "ran"
    path = tmp_path / "policy.safetensors"
    options = f"jobshop --suite ta01-10 --out {tmp_path / 'out'} --policies".split()
    path.write_bytes(pickle.dumps(Exploit(traces)))
    assert evaluate.main([*options, f"pretrained:checkpoint={path}"]) == 2
    torch.save({"policy.x": Exploit(traces)}, path)
    assert evaluate.main([*options, f"pretrained:checkpoint={path}"]) == 2
    assert not traces.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shop.txt", "1000000000 1000000000\n0 1\n"),
        ("shop.txt", "1000000 1000\n0 1\n"),
        ("shop.fjs", "1 1 1\n1000000 1 1 1\n"),
        ("shop.json", json.dumps({"kind": "job-shop", "version": 1, "num_machines": 10**9})),
    ],
)
def test_a_declared_size_is_not_believed(tmp_path: Path, name: str, text: str) -> None:

    from makespan.envs.jobshop.formats import read_instance

    (tmp_path / name).write_text(text)
    tracemalloc.start()
    try:
        with pytest.raises(InstanceError):
            read_instance(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 2 * MAX_FILE_SIZE  # read at once
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", SMALL)
def test_a_number_beyond_all_floats_is_no_crash(tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]()
    data = json.loads(SMALL[name](family).to_json())
    path = tmp_path / "instance.json"
    for key in (key for key, value in data.items() if type(value) in (int, float)):
        path.write_text(json.dumps({**data, key: 10**400}))
        with contextlib.suppress(InstanceError):  # what is not calculated with may be any number
            family.read_instance(path)


def test_a_number_beyond_all_floats_in_a_trace_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    row = {"timestamp": 0, "input_length": 10**400, "output_length": 5, "hash_ids": [46]}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(InstanceError, match="input_length: found 10000"):
        FAMILIES["routing"]().sources["trace"].read(f"{path}:requests=1,windows=1")
