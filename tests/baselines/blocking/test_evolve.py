"""How the rules that complete trials are learnt."""

import json
from pathlib import Path

import numpy as np

from makespan.baselines.blocking.evolve import Evolution, play, to_json
from makespan.envs.blocking import kernel
from makespan.envs.blocking.examples import CROSSING, CROSSING_WITHOUT_SWAP
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.trials import RULES, weights


def test_a_rule_alone_schedules_the_worked_examples() -> None:
    down = BlockingInstance.from_shop(CROSSING.shop, [[(2, 5)], []])
    makespans = play([CROSSING, CROSSING_WITHOUT_SWAP, down], RULES["dispatch"])
    assert makespans.tolist() == [[7, 11, 10]]


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
