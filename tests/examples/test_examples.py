"""Every file in examples runs as a user would run it, and says what it should."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

#: File, options of a short run, a package that it needs besides ours, what it prints at its end.
RUNS = [
    ("sb3_ppo.py", "--steps 1024", None, r"complete schedules: \d+ of 32"),
    ("sb3_maskable_ppo.py", "--steps 1024 --jobs 4 --machines 3", None, r"lower bound: 1\.\d+"),
    ("cleanrl_ppo.py", "--steps 2048 --num-steps 128 --num-envs 8", None, r"gap .* \d+\.\d %"),
    (
        "minari_dataset.py",
        "jobshop --episodes 5 --epochs 2 --iterations 1",
        "minari",
        r"after PPO: +1\.\d+",
    ),
    ("torchrl_ppo.py", "--steps 500 --frames 250 --epochs 1", "torchrl", r"return -0\.\d+"),
    ("rllib_ppo.py", "--iterations 1 --batch 250", "ray.rllib", r"decisions 12\.0"),
]
SLOW_RUNS = [
    (
        "minari_dataset.py",
        "dag --episodes 20 --epochs 5 --iterations 10",
        "minari",
        r"after PPO: +1\.\d+",
    ),
    ("cleanrl_ppo.py", "--env-id makespan/SoC-v0 --steps 20000", None, r"gap .* \d+\.\d %"),
]


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {name for name, *_ in RUNS}


@pytest.mark.parametrize(
    ("name", "options", "package", "expected"),
    [*RUNS, *(pytest.param(*run, marks=pytest.mark.slow) for run in SLOW_RUNS)],
    ids=lambda value: value if str(value).endswith(".py") else "",
)
def test_an_example_runs(
    tmp_path: Path, name: str, options: str, package: str | None, expected: str
) -> None:
    if package is not None:
        pytest.importorskip(package)
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *options.split()],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert re.search(expected, process.stdout), process.stdout[-2000:]
