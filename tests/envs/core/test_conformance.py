"""What every environment registered under ``makespan/`` keeps; a new id enters by itself."""

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cloudpickle
import gymnasium
import numba
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from makespan import envs
from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import IllegalActionError, UnknownNameError, UsageError
from makespan.envs.core.family import Family
from makespan.envs.core.rollout import rollout
from makespan.envs.core.vector_env import SchedulingVectorEnv
from makespan.tests.cases import IDS, VARIANTS


class Case(NamedTuple):
    """An environment id with options."""

    name: str
    options: dict[str, Any]

    def make(self, **options: Any) -> SchedulingEnv[Any]:
        env = gymnasium.make(self.name, **{**self.options, **options}).unwrapped
        assert isinstance(env, SchedulingEnv)
        return env

    def make_vec(self, num_envs: int, **options: Any) -> SchedulingVectorEnv:
        env = gymnasium.make_vec(self.name, num_envs, **{**self.options, **options})
        assert isinstance(env, SchedulingVectorEnv)
        return env


every_id = pytest.mark.parametrize("name", IDS)
every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(name, options), id=f"{name}-{variant}")
        for name in IDS
        for variant, options in VARIANTS.get(name, {"default": {}}).items()
    ],
)
#: For what does not depend on the physics.
one_case_per_id = pytest.mark.parametrize(
    "case", [Case(name, next(iter(VARIANTS.get(name, {"": {}}).values()))) for name in IDS], ids=IDS
)
every_mode = pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)


class Step(NamedTuple):
    action: int
    observation: dict[str, NDArray[Any]]
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def play(env: gymnasium.Env[Any, Any], info: dict[str, Any], rng: Any) -> Iterator[Step]:
    """Random legal actions from here to the end of the episode."""
    terminated = truncated = False
    while not (terminated or truncated):
        action = int(rng.choice(np.flatnonzero(info["action_mask"])))
        observation, reward, terminated, truncated, info = env.step(action)
        yield Step(action, observation, float(reward), terminated, truncated, info)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def assert_same(found: Any, expected: Any) -> None:
    """Equal to the last bit, dtypes included."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def illegal_actions(mask: NDArray[Any]) -> list[int]:
    """What nobody may do: outside the action space, or forbidden by the mask."""
    return [-1, len(mask), *np.flatnonzero(mask == 0)[:2].tolist()]


# ---------------------------------------------------------------- single environment


def test_there_are_environments() -> None:
    assert {"makespan/JobShop-v0", "makespan/FlexibleJobShop-v0"} <= set(IDS)


@every_id
def test_gymnasium_finds_nothing_to_complain_about(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name, render_mode="rgb_array").unwrapped)


@every_case
@pytest.mark.parametrize("observation", ["graph", "candidates"])
def test_observations_stay_in_their_space(case: Case, observation: str) -> None:
    env = case.make(observation=observation)
    for seed in range(3):
        first, info = env.reset(seed=seed)
        assert first in env.observation_space
        for step in play(env, info, rng(seed)):
            assert step.observation in env.observation_space
            assert not step.truncated


@every_case
def test_the_candidates_observation_is_the_other_without_the_graph(case: Case) -> None:
    whole, part = case.make(), case.make(observation="candidates")
    full, info = whole.reset(seed=3)
    observation, _ = part.reset(seed=3)
    assert set(observation) == {"candidates", "globals", "action_mask"}
    assert_same(observation, {key: full[key] for key in observation})
    for step in play(whole, info, rng()):
        found = part.step(step.action)
        assert_same(found[0], {key: step.observation[key] for key in observation})
        assert_same(found[1:], (step.reward, step.terminated, False, step.info))


@every_case
def test_every_observation_is_made_of_fresh_arrays(case: Case) -> None:
    env = case.make()
    first, info = env.reset(seed=0)
    seen, expected = [first], [copy.deepcopy(first)]
    for step in play(env, info, rng()):
        for key, array in step.observation.items():
            assert not np.shares_memory(array, seen[-1][key])
        seen.append(step.observation)
        expected.append(copy.deepcopy(step.observation))
    env.reset(seed=1)
    assert_same(seen, expected)


@every_case
def test_static_keys_stay_the_same_within_an_episode(case: Case) -> None:
    env = case.make()
    first, info = env.reset(seed=0)
    static = env.problem.spec.static_keys
    for step in play(env, info, rng()):
        assert_same({key: step.observation[key] for key in static}, {k: first[k] for k in static})


@every_case
def test_the_mask_is_offered_three_ways(case: Case) -> None:
    env = case.make()
    observation, info = env.reset(seed=0)
    steps = [Step(-1, observation, 0.0, False, False, info)]
    for step in play(env, info, rng()):
        steps.append(step)
        mask = step.info["action_mask"]
        assert mask.dtype == step.observation["action_mask"].dtype == np.int8
        assert env.action_masks().dtype == np.bool_
        np.testing.assert_array_equal(mask, step.observation["action_mask"])
        np.testing.assert_array_equal(mask, env.action_masks())
    *before, last = [step.info["action_mask"] for step in steps]
    assert all(mask.any() for mask in before)
    assert not last.any()
    assert all(mask[env.action_space.sample(mask=mask)] for mask in before)


@every_case
def test_rewards_sum_to_the_rise_of_the_bound(case: Case) -> None:
    env = case.make(illegal_action="raise")
    for seed in range(5):
        _, info = env.reset(seed=seed)
        *_, last = steps = list(play(env, info, rng(seed)))
        objective = last.info["objective"]
        start = last.info.get("initial_bound", last.info["lower_bound"])
        assert sum(step.reward for step in steps) * start == pytest.approx(start - objective)
        assert last.info["lower_bound"] <= objective


@every_case
def test_the_solution_is_valid_and_worth_what_info_says(case: Case) -> None:
    env = case.make()
    for seed in range(5):
        _, info = env.reset(seed=seed)
        with pytest.raises(UsageError, match="not ended"):
            env.solution()
        *_, last = play(env, info, rng(seed))
        solution = env.solution()
        assert env.instance is not None
        solution.validate(env.instance)
        assert solution.objective(env.instance) == last.info["objective"]


@every_case
def test_equal_seeds_give_equal_episodes(case: Case) -> None:
    one, other = case.make(), case.make()
    firsts = []
    for seed in (7, None, 8, None):  # None goes on with the generator
        observation, info = one.reset(seed=seed)
        assert_same(other.reset(seed=seed), (observation, info))
        firsts.append(observation["candidates"].tobytes())
        for step in play(one, info, rng()):
            assert_same(other.step(step.action), step[1:])
    assert len(set(firsts)) > 1


@every_case
def test_a_reset_leaves_nothing_of_an_episode_broken_off(case: Case) -> None:
    used = case.make()
    for seed in range(12):
        _, info = used.reset(seed=100 + seed)
        for _, _ in zip(range(seed % 4), play(used, info, rng(seed)), strict=False):
            pass
        fresh = case.make()
        observation, info = fresh.reset(seed=seed)
        assert_same(used.reset(seed=seed), (observation, info))
        for step in play(fresh, info, rng(seed)):
            assert_same(used.step(step.action), step[1:])


@every_case
def test_an_instance_can_be_given(case: Case) -> None:
    env, other = case.make(), case.make()
    observation, _ = env.reset(seed=5)
    found, _ = other.reset(seed=99, options={"instance": env.instance})
    assert_same(found, observation)
    assert other.instance == env.instance


@one_case_per_id
def test_a_step_needs_a_reset(case: Case) -> None:
    env = case.make()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    _, info = env.reset(seed=0)
    list(play(env, info, rng()))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


@every_case
def test_an_illegal_action_ends_the_episode_as_badly_as_can_be(case: Case) -> None:
    env = case.make()
    _, info = env.reset(seed=1)
    actions = [step.action for step in play(env, info, rng())]
    for taken in range(0, len(actions), 3):
        finishing = [
            sum(step.reward for step in play(env, _replay(env, actions[:taken]), rng(seed)))
            for seed in range(5)
        ]
        mask = _replay(env, actions[:taken])["action_mask"]
        for action in illegal_actions(mask):
            _replay(env, actions[:taken])
            observation, reward, terminated, truncated, info = env.step(action)
            assert (terminated, truncated) == (True, False)
            assert observation in env.observation_space
            assert info["illegal_action"] == action
            assert "objective" not in info
            assert reward <= min(finishing) + 1e-9
            with pytest.raises(UsageError, match="not ended by a legal action"):
                env.solution()
            with pytest.raises(gymnasium.error.ResetNeeded):
                env.step(0)


def _replay(env: SchedulingEnv[Any], actions: list[int]) -> dict[str, Any]:
    _, info = env.reset(seed=1)
    for action in actions:
        *_, info = env.step(action)
    return info


@every_case
def test_an_illegal_action_raises_and_changes_nothing(case: Case) -> None:
    env, reference = case.make(illegal_action="raise"), case.make()
    env.reset(seed=2)
    _, info = reference.reset(seed=2)
    for step in play(reference, info, rng()):
        for action in illegal_actions(env.action_masks()):
            with pytest.raises(IllegalActionError, match=f"action {action} is not legal"):
                env.step(action)
        assert_same(env.step(step.action), step[1:])


@every_case
@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
    ids=["copy", "pickle"],
)
def test_a_copy_goes_on_by_itself(case: Case, duplicate: Callable[[Any], Any]) -> None:
    env = case.make()
    _, info = env.reset(seed=4)
    for _, step in zip(range(2), play(env, info, rng()), strict=False):
        info = step.info
    twin = duplicate(env)
    steps = list(play(env, info, rng(1)))
    for step in steps:
        assert_same(twin.step(step.action), step[1:])
    assert_same(twin.reset(), env.reset())


@one_case_per_id
def test_pictures_are_taken_at_any_time(case: Case) -> None:
    env = case.make(render_mode="rgb_array")
    _, info = env.reset(seed=0)
    pictures = [env.render()]
    for number, _ in enumerate(play(env, info, rng())):
        if number == 2:
            pictures.append(env.render())
    pictures.append(env.render())
    for picture in pictures:
        assert picture is not None
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
    assert not np.array_equal(pictures[0], pictures[-1])  # type: ignore[arg-type]


@one_case_per_id
def test_without_a_render_mode_there_is_a_warning_and_no_picture(case: Case) -> None:
    env = case.make()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


@one_case_per_id
@pytest.mark.parametrize("vector", [False, True], ids=["single", "vector"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation": "grap"}, "did you mean graph"),
        ({"illegal_action": "rise"}, "did you mean raise"),
        ({"render_mode": "rgb"}, "did you mean rgb_array"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium warns of the render mode as well
def test_unknown_modes_are_refused(
    case: Case, vector: bool, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnknownNameError, match=message):
        case.make_vec(2, **options) if vector else case.make(**options)


@one_case_per_id
def test_closing_twice_is_fine(case: Case) -> None:
    for env in (case.make(), case.make_vec(2)):
        env.reset(seed=0)
        env.close()
        env.close()


@one_case_per_id
def test_wrappers_of_gymnasium_work(case: Case) -> None:
    env = gymnasium.make(case.name, max_episode_steps=3, **case.options)
    env = gymnasium.wrappers.RecordEpisodeStatistics(env)
    flat = gymnasium.wrappers.FlattenObservation(env)
    observation, info = flat.reset(seed=0)
    assert observation in flat.observation_space
    *_, last = steps = list(play(flat, info, rng()))
    assert all(step.observation in flat.observation_space for step in steps)
    assert last.truncated == (not last.terminated)
    assert last.info["episode"]["l"] == len(steps) <= 3
    assert last.info["episode"]["r"] == pytest.approx(sum(step.reward for step in steps))


# ---------------------------------------------------------------- padding, rollout


def _family_of(name: str) -> Family:
    families = [make() for make in envs.FAMILIES.values()]
    return next(family for family in families if name in family.env_ids)


#: Options for instances of several sizes, where those of the cases have one.
_SEVERAL_SIZES = {"makespan/SoC-v0": {"platforms": ("toy", "ds3-default")}}


@every_case
def test_padding_changes_nothing(case: Case) -> None:
    """Sized for larger instances too: the same candidates, graph, rewards and solution."""
    env = case.make(**_SEVERAL_SIZES.get(case.name, {}))
    instances = []
    for seed in range(8):
        env.reset(seed=seed)
        instances.append(env.instance)
    options, family = env.problem.options(), _family_of(case.name)
    padded = False
    for instance in instances[:4]:
        tight = family.make_problem([instance], **options)
        wide = family.make_problem([*instances, instance], **options)
        padded |= tight.spec != wide.spec
        for one, other in zip(_trace(tight, instance), _trace(wide, instance), strict=True):
            assert_same(other, one)
    assert padded


def _trace(problem: Any, instance: Any) -> Iterator[Any]:
    """What a policy can see of an episode, whatever the numbering of nodes and candidates."""
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    problem.load(state, observation, 0, instance)
    yield _graph(observation)
    choose = rng()
    while not terminated[0]:
        legal = np.flatnonzero(observation.action_mask[0])
        picked = int(choose.integers(len(legal)))
        yield _view(observation), len(legal), float(rewards[0])
        problem.step(state, observation, legal[[picked]], rewards, terminated)
    yield _view(observation), problem.solution(state, 0), problem.metrics(state, 0)


def _graph(observation: Any) -> Any:
    real = observation.node_type[0] >= 0
    number = np.cumsum(real) - 1  # of a node among the real ones
    used = observation.edge_type[0] >= 0
    return (
        observation.nodes[0][real],
        observation.node_type[0][real],
        number[observation.edges[0][:, used]],
        observation.edge_type[0][used],
        observation.edge_features[0][used],
    )


def _view(observation: Any) -> Any:
    real = observation.node_type[0] >= 0
    number = np.append(np.cumsum(real) - 1, -1)  # the last for "no node"
    exists = (observation.candidate_nodes[0] >= 0).any(axis=1)
    assert not observation.candidates[0][~exists].any()
    return (
        observation.node_state[0][real],
        observation.candidates[0][exists],
        number[observation.candidate_nodes[0][exists]],
        observation.action_mask[0][exists],
        observation.globals[0],
    )


class LastLegal:
    """Takes the legal candidate of the highest index; wants a choice when it is asked."""

    name = "last"

    def start(self, problem: Any, state: Any, observation: Any) -> None: ...

    def act(self, problem: Any, state: Any, observation: Any, rows: Any, rng: Any) -> Any:
        mask = observation.action_mask[rows]
        assert (mask.sum(axis=1) > 1).all()
        return mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)


@every_case
def test_a_rollout_gives_what_the_environment_gives(case: Case) -> None:
    env = case.make()
    instances, solutions = [], []
    for seed in range(6):
        _, info = env.reset(seed=seed)
        terminated = False
        while not terminated:
            action = np.flatnonzero(info["action_mask"])[-1]
            _, _, terminated, _, info = env.step(action)
        instances.append(env.instance)
        solutions.append(env.solution())
    assert rollout(env.problem, instances, LastLegal(), rng()) == solutions


# ---------------------------------------------------------------- vector environment


class Pair(NamedTuple):
    """The native vector environment and Gymnasium's own one of single environments."""

    native: SchedulingVectorEnv
    reference: SyncVectorEnv


def pair(case: Case, num_envs: int, mode: AutoresetMode, **options: Any) -> Pair:
    reference = SyncVectorEnv(
        [lambda: case.make(**options) for _ in range(num_envs)], autoreset_mode=mode
    )
    return Pair(case.make_vec(num_envs, autoreset_mode=mode, **options), reference)


def some_actions(mask: NDArray[Any], chance_illegal: float, rng: Any) -> NDArray[np.int64]:
    """(rows,) random legal actions, now and then an illegal one; 0 where none is legal."""
    noise = rng.random(mask.shape)
    actions: NDArray[np.int64] = np.where(mask > 0, noise, -1).argmax(axis=1)
    illegal = rng.random(len(mask)) < chance_illegal
    actions[illegal] = np.where(mask > 0, -1, noise).argmax(axis=1)[illegal]
    return actions


def assert_same_infos(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Equal in the rows that ``expected`` speaks of."""
    for key, value in expected.items():
        if key.startswith("_"):
            continue
        rows = expected["_" + key]
        np.testing.assert_array_equal(found["_" + key][rows], True)
        if isinstance(value, dict):
            assert_same_infos(found[key], value)
        elif value.dtype == object:
            assert_same(list(found[key][rows]), list(value[rows]))
            assert all(other is None for other in found[key][~rows])
        else:
            assert_same(found[key][rows], value[rows])


def run_together(pair: Pair, steps: int, chance_illegal: float = 0.0) -> int:
    """Step both and compare everything; returns the number of episodes that ended."""
    native, reference = pair
    choose, ended = rng(), 0
    observation, infos = native.reset(seed=11)
    expected, expected_infos = reference.reset(seed=11)
    assert_same(observation, expected)
    assert_same_infos(infos, expected_infos)
    for _ in range(steps):
        actions = some_actions(observation["action_mask"], chance_illegal, choose)
        observation, *outcome, infos = native.step(actions)
        expected, *expected_outcome, expected_infos = reference.step(actions)
        assert_same(observation, expected)
        assert_same(outcome, expected_outcome)
        assert_same_infos(infos, expected_infos)
        done = outcome[1]
        ended += int(done.sum())
        if native.autoreset_mode is AutoresetMode.DISABLED and done.any():
            observation, infos = native.reset(options={"reset_mask": done})
            expected, expected_infos = reference.reset(options={"reset_mask": done})
            assert_same(observation, expected)
            assert_same_infos(infos, expected_infos)
    return ended


@every_case
@every_mode
def test_rows_are_single_environments_bit_for_bit(case: Case, mode: AutoresetMode) -> None:
    """Under each autoreset mode as Gymnasium's own vector environment does it."""
    assert run_together(pair(case, 3, mode), steps=40) > 3


@one_case_per_id
@every_mode
def test_illegal_actions_end_rows_as_they_end_single_environments(
    case: Case, mode: AutoresetMode
) -> None:
    assert run_together(pair(case, 4, mode), steps=30, chance_illegal=0.2) > 10


@one_case_per_id
def test_many_rows_in_threads_are_single_environments_bit_for_bit(case: Case) -> None:
    many = pair(case, 300, AutoresetMode.SAME_STEP)
    assert numba.get_num_threads() > 1
    assert many.native.problem.parallel_rows <= 300
    assert run_together(many, steps=12, chance_illegal=0.01) > 300


@one_case_per_id
@every_mode
def test_the_candidates_observation_has_its_final_observations(
    case: Case, mode: AutoresetMode
) -> None:
    assert run_together(pair(case, 3, mode, observation="candidates"), steps=30) > 3


@one_case_per_id
def test_make_vec_gives_the_native_environment(case: Case) -> None:
    env = case.make_vec(3)
    assert env.metadata["autoreset_mode"] is env.autoreset_mode is AutoresetMode.NEXT_STEP
    assert env.num_envs == 3
    assert env.spec is not None
    assert env.spec.id == case.name
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.action_space.shape == (3,)
    assert case.make_vec(3, autoreset_mode="SameStep").autoreset_mode is AutoresetMode.SAME_STEP


@one_case_per_id
def test_wrong_use_of_the_vector_environment_is_refused(case: Case) -> None:
    with pytest.raises(UsageError, match="num_envs: found 0"):
        case.make_vec(0)
    with pytest.raises(UsageError, match="autoreset_mode: found 'sometimes'"):
        case.make_vec(2, autoreset_mode="sometimes")
    env = case.make_vec(2)
    with pytest.raises(UsageError, match="call reset"):
        env.step([0, 0])
    with pytest.raises(UsageError, match="found 3 seeds, expected 2"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(UsageError, match="first reset must be of all rows"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    for mask in ([1, 0], np.array([True]), np.array([False, False])):
        with pytest.raises(UsageError, match="reset_mask: found"):
            env.reset(options={"reset_mask": mask})


@one_case_per_id
def test_without_autoreset_a_row_that_ended_must_be_reset(case: Case) -> None:
    env = case.make_vec(2, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(UsageError, match="call reset"):
        env.step([0, 0])
    with pytest.raises(UsageError, match="not ended"):
        env.solution(0)
    observation, _ = env.reset(seed=0)
    terminated = np.zeros(2, dtype=np.bool_)
    while not terminated.any():
        actions = some_actions(observation["action_mask"], 0, rng())
        observation, _, terminated, _, _ = env.step(actions)
    with pytest.raises(UsageError, match=r"rows \[.*\] have ended: reset"):
        env.step([0, 0])
    row = int(np.flatnonzero(terminated)[0])
    assert env.solution(row) == env.solution(row)
    env.reset(options={"reset_mask": terminated})
    with pytest.raises(UsageError, match="not ended"):
        env.solution(row)


@one_case_per_id
def test_a_row_that_ended_by_an_illegal_action_has_no_solution(case: Case) -> None:
    env = case.make_vec(2, autoreset_mode=AutoresetMode.DISABLED)
    observation, _ = env.reset(seed=0)
    terminated = np.zeros(2, dtype=np.bool_)
    while not terminated.any():
        actions = some_actions(observation["action_mask"], 0, rng())
        actions[1] = -1
        observation, _, terminated, _, _ = env.step(actions)
    assert terminated[1]
    with pytest.raises(UsageError, match="row 1: the episode has not ended by a legal action"):
        env.solution(1)


@one_case_per_id
def test_actions_of_another_form_are_refused(case: Case) -> None:
    env, single = case.make_vec(2), case.make()
    _, infos = env.reset(seed=0)
    legal = infos["action_mask"].argmax(axis=1)
    for actions in (legal[:1], legal[0], [legal], legal + 0.5, legal > 0, ["0", "0"]):
        with pytest.raises(UsageError, match=r"actions: found .*, expected integers \(2,\)"):
            env.step(actions)
    _, info = single.reset(seed=0)
    first = int(info["action_mask"].argmax())
    for action in (first + 0.5, "0", None, [first], legal):
        with pytest.raises(UsageError, match=r"action: found .*, expected an integer"):
            single.step(action)
    taken, *_ = single.step(np.array(first))
    stepped, *_ = env.step(legal.tolist())
    assert_same({key: array[0] for key, array in stepped.items()}, taken)


@every_case
def test_an_illegal_action_of_one_row_raises_and_changes_no_row(case: Case) -> None:
    env, reference = case.make_vec(3, illegal_action="raise"), case.make_vec(3)
    env.reset(seed=2)
    observation, _ = reference.reset(seed=2)
    for _ in range(15):
        actions = some_actions(observation["action_mask"], 0, rng())
        if observation["action_mask"][1].any():
            wrong = actions.copy()
            wrong[1] = -1
            with pytest.raises(IllegalActionError, match="row 1: action -1 is not legal"):
                env.step(wrong)
        expected = reference.step(actions)
        assert_same(env.step(actions), expected)
        observation = expected[0]


@one_case_per_id
def test_seeds_can_be_given_row_by_row(case: Case) -> None:
    env = case.make_vec(3)
    observation, _ = env.reset(seed=[5, None, 5])
    for array in observation.values():
        np.testing.assert_array_equal(array[0], array[2])
    again, _ = env.reset(seed=[5, 6, 7])
    fresh, _ = case.make_vec(3).reset(seed=5)
    assert_same(again, fresh)


@one_case_per_id
def test_views_are_overwritten_and_copies_are_not(case: Case) -> None:
    copies, views = case.make_vec(3), case.make_vec(3, copy=False)
    kept, _ = copies.reset(seed=0)
    before = copy.deepcopy(kept)
    seen, info = views.reset(seed=0)
    assert_same(seen, kept)
    assert np.shares_memory(info["action_mask"], seen["action_mask"])
    actions = some_actions(kept["action_mask"], 0, rng())
    after, *outcome, _ = copies.step(actions)
    found, *found_outcome, _ = views.step(actions)
    assert_same(found, after)
    assert_same(found_outcome, outcome)
    for key in seen:
        assert np.shares_memory(found[key], seen[key])
        assert not np.shares_memory(after[key], kept[key])
    assert_same(kept, before)
    assert not np.array_equal(seen["candidates"], before["candidates"])
    for one, other in zip(found_outcome, views.step(actions)[1:], strict=False):
        assert not np.shares_memory(one, other)


@one_case_per_id
@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
    ids=["copy", "pickle"],
)
def test_a_copied_vector_environment_goes_on_by_itself(
    case: Case, duplicate: Callable[[Any], Any]
) -> None:
    env = case.make_vec(3, copy=False)
    observation, _ = env.reset(seed=0)
    env.step(some_actions(observation["action_mask"], 0, rng()))
    twin = duplicate(env)
    for seed in range(20):
        actions = some_actions(env.action_masks(), 0, rng(seed))
        expected = copy.deepcopy(env.step(actions))
        assert_same(twin.step(actions), expected)


@one_case_per_id
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_vector_wrappers_of_gymnasium_work(case: Case, mode: AutoresetMode) -> None:
    wrappers = gymnasium.wrappers.vector
    env: Any = wrappers.RecordEpisodeStatistics(case.make_vec(3, autoreset_mode=mode))
    if mode is AutoresetMode.NEXT_STEP:  # all that Gymnasium's observation wrappers take
        env = wrappers.FlattenObservation(env)
    env = wrappers.DictInfoToList(env)
    observation, infos = env.reset(seed=0)
    final: list[dict[str, Any]] = []
    while len(final) < 4:
        mask = np.stack([info["action_mask"] for info in infos])
        observation, _, terminated, _, infos = env.step(some_actions(mask, 0, rng()))
        assert observation in env.observation_space
        final += [info for info, ended in zip(infos, terminated, strict=True) if ended]
    for info in final:
        metrics = info
        if mode is AutoresetMode.SAME_STEP:
            assert info["final_obs"] in env.single_observation_space
            metrics = info["final_info"]
        start, objective = (
            metrics.get("initial_bound", metrics["lower_bound"]),
            metrics["objective"],
        )
        assert info["episode"]["r"] * start == pytest.approx(start - objective)


@one_case_per_id
def test_pictures_of_all_rows(case: Case) -> None:
    env = case.make_vec(2, render_mode="rgb_array")
    env.reset(seed=0)
    pictures = env.render()
    assert pictures is not None
    assert [picture.dtype for picture in pictures] == [np.uint8, np.uint8]
    assert case.make_vec(2).render() is None


@one_case_per_id
def test_it_can_be_sent_to_another_process(case: Case) -> None:
    env = case.make()
    twin = cloudpickle.loads(cloudpickle.dumps(env.spec)).make()
    assert_same(twin.reset(seed=3), env.reset(seed=3))


def test_it_works_in_processes_that_start_afresh() -> None:
    case = Case("makespan/JobShop-v0", VARIANTS["makespan/JobShop-v0"]["active"])
    env = gymnasium.make_vec(
        case.name,
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        **case.options,
    )
    try:
        native = case.make_vec(2)
        observation, _ = env.reset(seed=3)
        expected, _ = native.reset(seed=3)
        for seed in range(10):
            assert_same(observation, expected)
            actions = some_actions(expected["action_mask"], 0, rng(seed))
            observation, *outcome, _ = env.step(actions)
            expected, *expected_outcome, _ = native.step(actions)
            assert_same(outcome, expected_outcome)
    finally:
        env.close()
