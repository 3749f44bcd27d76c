"""The pictures of the documentation: a validated solution of each family, drawn as in reports."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from makespan.baselines.registry import make_solver
from makespan.envs import FAMILIES

#: Family -> suite, number of the instance in it, and what solves it.
PICTURES = {
    "blocking": ("ft-10", 0, "mwkr"),
    "dag": ("golden", 0, "heft"),
    "improve": ("ta01-10", 0, "best-improvement"),
    "jobshop": ("ta01-10", 0, "nondelay/fdd-mwkr"),
    "memory": ("validation", 0, "hybrid"),
    "offsets": ("cuts", 0, "iterated-beam"),
    "routing": ("heterogeneous-validation", 0, "central-queue"),
    "soc": ("toy", 0, "etf"),
}


@dataclass(frozen=True)
class Options:
    """Draw the pictures of the documentation.

    Attributes:
        out: folder of the pictures.
        families: whose; none: all.
    """

    out: Path = Path(__file__).parents[1] / "docs" / "figures"
    families: tuple[str, ...] = ()


def main(options: Options) -> None:
    """Solve, validate, draw."""
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.families or PICTURES:
        suite, number, spec = PICTURES[name]
        family = FAMILIES[name]()
        instance = family.suites[suite]()[number]
        result = make_solver(family, spec).solve(instance, 5.0, np.random.default_rng(0))
        result.solution.validate(instance)
        path = options.out / f"{name}.png"
        family.draw(
            instance,
            result.solution,
            path,
            policy=spec,
            lower_bound=family.lower_bound(instance),
            best_known=family.best_known(instance.name),
        )
        print(path)


if __name__ == "__main__":
    main(tyro.cli(Options))
