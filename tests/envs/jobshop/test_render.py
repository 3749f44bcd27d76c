"""Charts show what they should: sizes, colours, bounds, the same bytes every time."""

from itertools import pairwise

import numpy as np
import pytest

from makespan.envs.core.family import BestKnown
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.render import draw, job_colours, rgb_array
from makespan.envs.jobshop.solution import JobShopSolution

INSTANCE = JobShopInstance.from_routes([[(0, 1), (1, 2), (2, 10)], [(1, 8), (0, 1), (2, 1)]])
#: The optimum of reference example B: 14.
SOLUTION = JobShopSolution(
    jobs=np.array([0, 0, 0, 1, 1, 1]),
    positions=np.array([0, 1, 2, 0, 1, 2]),
    machines=np.array([0, 1, 2, 1, 0, 2]),
    starts=np.array([0, 1, 3, 3, 11, 13]),
    ends=np.array([1, 3, 13, 11, 12, 14]),
)
COLUMNS = {name: getattr(SOLUTION, name) for name in ("jobs", "machines", "starts", "ends")}


def text_of(path):
    """The words in an SVG; matplotlib notes the text of each path in a comment."""
    return [
        line.strip() for line in path.read_text().splitlines() if line.strip().startswith("<!-")
    ]


def test_picture_names_instance_policy_makespan_bound_and_gap(tmp_path):
    path = tmp_path / "chart.svg"
    known = BestKnown(lower_bound=13, upper_bound=14, as_of="2020-02-20", source="by hand")
    draw(INSTANCE, SOLUTION, path, policy="cp-sat", lower_bound=12.0, best_known=known)
    words = " ".join(text_of(path))
    assert "job-shop (2 jobs, 3 machines), cp-sat" in words
    assert "gap 0.00 % to 14, the best known makespan (bounds of 2020-02-20)" in words
    assert "lower bound 13" in words
    assert "M2" in words


def test_gap_is_to_the_lower_bound_when_nothing_is_published(tmp_path):
    path = tmp_path / "chart.svg"
    draw(INSTANCE, SOLUTION, path, lower_bound=10.0)
    assert "makespan 14, gap 40.00 % to 10, the lower bound" in " ".join(text_of(path))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_schedule_gives_the_same_bytes(tmp_path, suffix):
    pictures = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for picture in pictures:
        draw(INSTANCE, SOLUTION, picture, policy="cp-sat", lower_bound=12.0)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_a_persons_matplotlib_settings_change_nothing(tmp_path):
    import matplotlib

    draw(INSTANCE, SOLUTION, tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 30}):
        draw(INSTANCE, SOLUTION, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_frames_of_a_film_have_one_size_and_change_with_the_schedule():
    def frame(count):
        columns = {name: column[:count] for name, column in COLUMNS.items()}
        return rgb_array(columns, num_jobs=2, num_machines=3, lower_bound=13, horizon=20)

    frames = [frame(count) for count in range(7)]
    assert {picture.shape for picture in frames} == {frames[0].shape}
    assert frames[0].ndim == 3
    assert frames[0].dtype == np.uint8
    for earlier, later in pairwise(frames):
        assert (earlier != later).any()


def test_every_operation_is_drawn_in_the_colour_of_its_job_for_its_whole_length():
    picture = rgb_array(COLUMNS, num_jobs=2, num_machines=3, horizon=14)
    widths = []
    for job in range(2):
        colour = np.round(job_colours(2)[job] * 255)
        widths.append((np.abs(picture - colour).max(axis=2) <= 1).any(axis=0).sum())
    # job 0 is at work during 13 of 14 time units, job 1 during 10
    assert widths[0] / widths[1] == pytest.approx(13 / 10, rel=0.05)


def test_thirty_jobs_have_different_colours():
    colours = job_colours(31)
    distances = np.abs(colours[:30, None] - colours[None, :30]).sum(axis=2)
    assert distances[~np.eye(30, dtype=bool)].min() > 0.05
    assert (colours[30] == colours[0]).all()
