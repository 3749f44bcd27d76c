"""Pictures show what they should and are the same every time."""

from dataclasses import replace

import numpy as np
import pytest

from makespan.envs.memory.examples import REUSE, SUPPLY
from makespan.envs.memory.family import make_env
from makespan.envs.memory.render import chart, chart_of_state, draw, draw_difference
from makespan.envs.memory.solution import MemoryPlan

BEST = MemoryPlan(np.array([2, 1, 1, 0]), np.array([-1, -1, -1, -1]), np.array([0, 0, 0, -1]))


def words(path):
    return " ".join(line for line in path.read_text().splitlines() if line.strip()[:3] == "<!-")


def test_the_chart_of_the_example():
    shown = chart(REUSE, BEST)
    # buffer, first and last instruction, offset, size, end of the copy: W arrives during 0
    assert shown.pieces.tolist() == [[0, 0, 1, 0, 3, 1], [1, 2, 2, 0, 3, 2], [1, 3, 4, 0, 3, 3]]
    assert shown.served.tolist() == [[1, 0, 3], [2, 0, 3], [4, 0, 3]]
    assert shown.load.tolist() == [0.75, 0, 0, 0, 0, 0]  # 3 of 4 units
    assert shown.saved.tolist() == [0, 1, 1, 0, 1, 0]


def test_instructions_that_take_no_time_use_and_save_nothing():
    compute = np.array([0, 0, 4, 0, 0, 0])
    idle = replace(REUSE, compute=compute, access_bytes=np.zeros(4, dtype=np.int64))
    env = make_env(instance=idle)
    env.reset()
    for shown in (chart(idle, MemoryPlan.all_slow(idle)), chart_of_state(env._state, 0)):
        assert not shown.load.any()
        assert not shown.saved.any()


def test_a_program_that_takes_no_time_is_drawn(tmp_path):
    idle = replace(REUSE, compute=np.zeros(6, dtype=np.int64), access_bytes=np.zeros(4, np.int64))
    slow = MemoryPlan.all_slow(idle)
    assert idle.all_slow == 0
    draw(idle, slow, tmp_path / "plan.svg", lower_bound=1.0)
    draw_difference(idle, (slow, slow), tmp_path / "two.svg")
    assert "latency 0.00 % of everything" in words(tmp_path / "plan.svg")


def test_a_game_in_play_gives_the_same_chart_as_its_plan():
    env = make_env(instance=REUSE)
    env.reset()
    for count, action in enumerate([2, 1, 1, 0]):
        partial = chart_of_state(env._state, 0)
        assert len(partial.pieces) == count
        env.step(action)
    whole = chart_of_state(env._state, 0)
    np.testing.assert_array_equal(whole.pieces, chart(REUSE, BEST).pieces)
    np.testing.assert_allclose(whole.load, chart(REUSE, BEST).load)
    np.testing.assert_allclose(whole.saved, chart(REUSE, BEST).saved)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_pictures_name_what_they_show_and_repeat(tmp_path, suffix):
    pictures = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for picture in pictures:
        draw(REUSE, BEST, picture, policy="by hand", lower_bound=8.0)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    if suffix == ".svg":
        text = words(pictures[0])
        assert "reuse, by hand" in text
        assert "latency 55.00 % of everything in slow memory" in text
        assert "1 copies" in text


def test_the_difference_of_two_plans(tmp_path):
    path = tmp_path / "difference.svg"
    draw_difference(SUPPLY, (MemoryPlan.all_slow(SUPPLY), _copied()), path, ("slow", "copied"))
    text = words(path)
    assert "faster in 3 of 5 instructions; 3 accesses are served otherwise" in text
    assert "copied" in text


def _copied():
    return MemoryPlan(np.full(3, 2), np.array([-1, 0, 1]), np.array([0, 2, 5]))
