r"""Learn the weights of a linear policy for a kind of instance, by the cross-entropy method.

    python -m makespan.baselines.evolve soc --platforms ds3-cpu --initial least_work=4,wait=2 \
        --out weights.json
    python evaluate.py soc --suite ds3-cpu --policies linear:weights=weights.json least-work

A generation draws weights from independent normal distributions, plays every member on the same
instances, and moves the distributions towards the best quarter (Rubinstein 1999; log-ranked shares
as in CMA-ES, Hansen 2016). Costs are relative to those of the initial ones on the same instance.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.linear import LinearPolicy, Weights, read_weights
from makespan.envs.core.errors import MakespanError, UnknownNameError, UsageError
from makespan.envs.core.family import Family
from makespan.envs.core.files import write_atomically
from makespan.envs.core.problem import Generator
from makespan.envs.core.ranges import check_least
from makespan.envs.core.rollout import Policy, rollout

#: First entry of the seeds of these instances, and of those that choose; trainer and suites use
#: others.
STREAM, VALIDATION_STREAM = 3, 4


@dataclass(frozen=True)
class EvolutionConfig:
    """Settings of the search.

    Attributes:
        initial: weights to begin with: a file, the name of a shipped set, or what is not 0 as
            ``term=weight,term=weight``; empty: all 0, or what the command of a family says.
        instances: played by every member in a generation.
        generations: number of them.
        population: members of a generation.
        validation: other instances that choose among the generations; 0 for the last generation.
        spread: standard deviation of the first generation.
        seed: of everything random.
    """

    initial: str = ""
    instances: int = 4
    generations: int = 16
    population: int = 28
    validation: int = 0
    spread: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, instances=1, generations=1, population=4, validation=0, seed=0)
        if not 0 < self.spread < float("inf"):
            raise UsageError(f"spread: found {self.spread}, expected a number above 0")


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        config: settings.
        kind: of linear policy.
        source: of instances.
        first: weights to begin with.
        usual: what costs are relative to.
        figures: ``figures(instances, policy)``: (instances, K) what is to become small.
        shares: of the K figures in the cost.
    """

    config: EvolutionConfig
    kind: type[LinearPolicy]
    source: Generator[Any]
    first: Weights
    usual: Policy
    figures: Callable[[Sequence[Any], Policy], NDArray[np.float64]]
    shares: tuple[float, ...] = (1.0,)

    def run(self, out: Path, about: dict[str, Any]) -> None:
        """Search; the weights are written whenever they are the ones to keep."""
        config = self.config
        rng = np.random.default_rng([STREAM, config.seed])
        mean = self.first.values
        spread = np.full(len(mean), config.spread)
        elite = config.population // 4
        share = np.log(elite + 0.5) - np.log(np.arange(1, elite + 1))
        share /= share.sum()
        choosing, least = self._validation(), np.inf
        usual_of_choosing = self._usual(choosing) if choosing else None
        for generation in range(1, config.generations + 1):
            drawn = [self.source.sample(rng) for _ in range(config.instances)]
            noise = rng.standard_normal((config.population, len(mean)))
            noise[0] = 0
            costs = self._costs(drawn, mean + spread * noise, self._usual(drawn))
            best = spread * noise[np.argsort(costs)[:elite]]
            mean = mean + 0.8 * share @ best
            spread = 0.85 * spread + 0.15 * 1.1 * np.sqrt(share @ best**2)
            line = f"{generation} mean {costs[0]:.4f} best {costs.min():.4f}"
            if usual_of_choosing is not None:
                (cost,) = self._costs(choosing, mean[None], usual_of_choosing)
                line += f" validation {cost:.4f}"
            if not choosing or cost < least:
                least = cost if choosing else least
                write_atomically(out, self.first._replace(values=mean).to_json(about))
            print(line, flush=True)

    def _validation(self) -> list[Any]:
        rng = np.random.default_rng([VALIDATION_STREAM, self.config.seed])
        return [self.source.sample(rng) for _ in range(self.config.validation)]

    def _usual(self, instances: Sequence[Any]) -> NDArray[np.float64]:
        """(instances, K) what figures are relative to."""
        return self.figures(instances, self.usual)

    def _costs(
        self, instances: Sequence[Any], values: NDArray[np.float64], usual: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(population,) mean over the instances of the figures over the usual ones."""
        population, count = len(values), len(instances)
        everyone = self.kind(self.first._replace(values=np.repeat(values, count, axis=0)))
        found = self.figures(population * list(instances), everyone)
        ratios = (found.reshape(population, count, -1) / usual).mean(axis=1)
        return np.asarray(ratios @ self.shares)


def read_initial(
    text: str, kind: type[LinearPolicy], terms: Sequence[str], requires: dict[str, str]
) -> Weights:
    """Weights for ``terms`` from the setting ``initial``; what it does not name is 0.

    Raises:
        UnknownNameError: for a term that the problem does not have.
        UsageError: for a weight that is no number, or a file of something else.
    """
    known: dict[str, float] = {}
    if "=" in text:
        for pair in text.split(","):
            term, _, value = pair.partition("=")
            try:
                known[term] = float(value)
                if not np.isfinite(known[term]):
                    raise ValueError
            except ValueError:
                raise UsageError(
                    f"initial: found {pair!r}, expected term=weight,term=weight"
                ) from None
    elif text:
        weights = read_weights(text, kind.shipped, kind.needed)
        known = dict(zip(weights.terms, weights.values.tolist(), strict=True))
    for term in known:
        if term not in terms:
            raise UnknownNameError("term", term, terms)
    return Weights(tuple(terms), np.array([known.get(term, 0.0) for term in terms]), requires)


def for_family(
    family: Family, generator: Generator[Any], options: dict[str, str], config: EvolutionConfig
) -> Search:
    """The search that makes the mean objective of a family small.

    Raises:
        UnknownNameError, UsageError: see :func:`read_initial`.
    """
    kind = cast(type[LinearPolicy], family.policies.get("linear", LinearPolicy))
    spec = family.make_problem(generator, **options).spec
    first = read_initial(config.initial, kind, kind.terms_of(spec), options)

    def figures(instances: Sequence[Any], policy: Policy) -> NDArray[np.float64]:
        problem = family.make_problem(instances, **options)
        solutions = rollout(problem, instances, policy, np.random.default_rng(0))
        pairs = zip(instances, solutions, strict=True)
        return np.array([[solution.objective(instance)] for instance, solution in pairs])

    return Search(config, kind, generator, first, kind(first), figures)


def run_command(options: Any, description: str | None, run: Callable[[Any], None]) -> None:
    """A command line whose errors are one line."""
    import tyro

    try:
        run(tyro.cli(options, prog="evolve", description=description))
    except MakespanError as error:
        raise SystemExit(f"evolve: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(
            "evolve: interrupted; after the first generation the best weights so far are written"
        ) from None


@dataclass(frozen=True, kw_only=True)
class _Common:
    """Options of every family.

    Attributes:
        out: file of the weights.
    """

    out: Path


def _run(command: Any) -> None:
    from makespan.envs import FAMILIES

    options = asdict(command.physics)
    search = for_family(FAMILIES[command.family](), command.generator, options, command.search)
    search.run(command.out, {"generator": repr(command.generator), **asdict(command.search)})


def main() -> None:
    """Command line."""
    from makespan.envs.core.commands import for_generators

    search = ("search", EvolutionConfig, dataclasses.field(default=EvolutionConfig()))
    run_command(for_generators("Learn a linear policy", _Common, [search]), __doc__, _run)


if __name__ == "__main__":
    main()
