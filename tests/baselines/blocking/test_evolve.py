"""How the rules that complete trials are learnt."""

import json
from pathlib import Path

import numpy as np

from makespan.baselines.blocking.evolve import Evolution, play, shops, to_json
from makespan.envs.blocking import kernel
from makespan.envs.blocking.generator import BlockingGenerator
from makespan.envs.blocking.trials import RULES, weights


def test_the_shops_that_rules_are_tried_on_stay_as_they_are() -> None:
    state = shops(BlockingGenerator(4, 3), 5, np.random.default_rng(0))
    assert 0 < state.totals[:, kernel.BEGUN].sum() < 5 * 12
    before = state.totals.copy()
    first, again = (play(state, RULES["dispatch"]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(state.totals, before)
    assert (first >= 1).all()


def test_a_search_is_written_and_repeats(tmp_path: Path) -> None:
    texts = []
    for name in ("a.json", "b.json"):
        path = tmp_path / name
        sizes = {"jobs": (3, 4), "machines": (2, 3)}
        Evolution(path, rules=2, population=4, shops=3, generations=2, **sizes).run()
        texts.append(json.loads(path.read_text())["rules"])
    assert texts[0] == texts[1]
    assert weights(texts[0]).shape == (2, len(kernel.TRIAL_TERMS))


def test_what_is_written_can_be_read() -> None:
    rules = json.loads(to_json(RULES["dispatch"], {}))["rules"]
    np.testing.assert_array_equal(weights(rules), RULES["dispatch"])
