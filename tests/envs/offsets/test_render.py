"""Pictures: made, repeatable, and of a size that does not change."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from makespan.baselines.offsets.greedy import Greedy
from makespan.envs.offsets.examples import FIVE, WITH_FIXED
from makespan.envs.offsets.family import make_env
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.render import draw


@pytest.mark.parametrize("instance", [FIVE, WITH_FIXED], ids=lambda instance: instance.name)
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_equal_arguments_give_equal_bytes(
    tmp_path: Path, instance: OffsetInstance, suffix: str
) -> None:
    solution = Greedy().solve(instance, None, np.random.default_rng(0)).solution
    paths = [tmp_path / f"{number}.{suffix}" for number in range(2)]
    for path in paths:
        draw(instance, solution, path, policy="greedy", lower_bound=12.0)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(paths[0].read_bytes()) > 5000


def test_a_drawing_names_policy_peak_and_capacity(tmp_path: Path) -> None:
    solution = Greedy().solve(FIVE, None, np.random.default_rng(0)).solution
    draw(FIVE, solution, tmp_path / "map.svg", policy="greedy", lower_bound=12.0)
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        draw(FIVE, solution, tmp_path / "text.svg", policy="greedy", lower_bound=12.0)
    text = (tmp_path / "text.svg").read_text()
    for words in ("five (5 buffers), greedy", "peak 12 bytes, 0.00 % above 12", "fits into 12"):
        assert words in text


def test_the_distance_to_the_bound_is_that_of_the_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peak of 12 bytes in a memory of 20 is as good as can be, and not 40 % below."""
    titles: list[str] = []
    monkeypatch.setattr(
        "makespan.envs.offsets.render.write_titles",
        lambda figure, title, subtitle, policy: titles.append(subtitle),
    )
    roomy = replace(FIVE, capacity=20)
    solution = Greedy().solve(roomy, None, np.random.default_rng(0)).solution
    draw(roomy, solution, tmp_path / "map.svg", lower_bound=20.0)
    assert "0.00 % above 20" in titles[0]
    assert "-" not in titles[0]


def test_frames_of_an_episode_have_one_size() -> None:
    env = make_env(FIVE, render_mode="rgb_array")
    env.reset()
    frames = [env.render()]
    terminated = False
    while not terminated:
        _, _, terminated, _, _ = env.step(0)
        frames.append(env.render())
    assert len({frame.shape for frame in frames if frame is not None}) == 1
    assert not np.array_equal(frames[0], frames[-1])  # type: ignore[arg-type]
