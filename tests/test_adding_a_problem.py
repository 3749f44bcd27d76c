"""The guide of a new problem: its code is short, works, and needs nothing but what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[1] / "docs" / "adding-a-problem.md"
BLOCK = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)

#: Besides what the page shows: the environment is sound, and its rewards sum to what they should.
CHECKS = """\
from gymnasium.utils.env_checker import check_env
import gymnasium, numpy as np, register
check_env(gymnasium.make("OneMachine-v0").unwrapped)
env = gymnasium.make("OneMachine-v0", jobs=6)
_, info = env.reset(seed=1)
total, ended = 0.0, False
while not ended:
    action = np.random.default_rng(0).choice(np.flatnonzero(info["action_mask"]))
    _, reward, ended, _, info = env.step(action)
    total += reward
solution, instance = env.unwrapped.solution(), env.unwrapped.instance
solution.validate(instance)
assert info["objective"] == solution.objective(instance)
assert np.isclose(total, (info["lower_bound"] - info["objective"]) / info["lower_bound"])
"""


def test_the_guide_adds_a_problem(tmp_path: Path) -> None:
    blocks = dict(BLOCK.findall(GUIDE.read_text()))
    for name, code in blocks.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    (tmp_path / "main.py").write_text(CHECKS + blocks["use.py"])
    process = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "best policy" in process.stdout
    assert (tmp_path / "report" / "report.html").exists()


def test_the_family_of_the_guide_is_short() -> None:
    family = [code for name, code in BLOCK.findall(GUIDE.read_text()) if "/" in name]
    lines = [line for code in family for line in code.splitlines()]
    assert len([line for line in lines if line.strip() and not line.startswith('"""')]) < 150
