"""What a family of problems hands to the trainer and the evaluator: one record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from makespan.envs.core.problem import Generator, Problem


@dataclass(frozen=True)
class BestKnown:
    """Best known bounds on an objective to be minimised, as of a date.

    Attributes:
        lower_bound: the best proven lower bound.
        upper_bound: the best objective of a known solution.
        as_of: ISO date of the collection.
        source: where the bounds were read.
    """

    lower_bound: float
    upper_bound: float
    as_of: str
    source: str

    @property
    def closed(self) -> bool:
        """Whether the optimum is known."""
        return self.lower_bound == self.upper_bound


@dataclass(frozen=True)
class Source:
    """A way of naming one's own instances on the command line besides ``--instance FILE``.

    Attributes:
        metavar: what follows the option, e.g. ``"FILE"``.
        help: one sentence for ``--help``.
        read: the instances that the text after the option stands for.
    """

    metavar: str
    help: str
    read: Callable[[str], Sequence[Any]]


@dataclass(frozen=True)
class Family:
    """Everything the command lines need to know of a family.

    Attributes:
        name: the word on the command line, e.g. ``"jobshop"``.
        env_ids: ids registered with Gymnasium.
        make_problem: ``make_problem(source, **options)``: a problem sized for the instances, or
            for all that the generator can give.
        problem_options: names of the options and their allowed values, first the default.
        generators: what ``train.py NAME`` trains on: generators (dataclasses, whose fields become
            options of the command line) with the default sizes for training.
        suites: named sets of benchmark instances; a call loads them.
        read_instance: an instance from a file of any supported format.
        write_solution: ``write_solution(instance, solution, stem)``: write stem.json and stem.csv;
            returns the files written.
        best_known: dated bounds of a benchmark instance by its name, or None.
        lower_bound: a quick lower bound for any instance.
        draw: ``draw(instance, solution, path, policy=, lower_bound=, best_known=)``: a picture.
        policies: named online policies (rules), ``name -> make(**options)``.
        solvers: named solvers, ``name -> make(**options)``.
        metrics: further figures of a solution besides the objective, for tables: name (with its
            unit) -> ``metric(instance, solution)``.
        sources: further ways of naming one's own instances: name of the option -> source.
    """

    name: str
    env_ids: tuple[str, ...]
    make_problem: Callable[..., Problem[Any]]
    problem_options: Mapping[str, tuple[str, ...]]
    generators: Mapping[str, Generator[Any]]
    suites: Mapping[str, Callable[[], Sequence[Any]]]
    read_instance: Callable[[Path], Any]
    write_solution: Callable[[Any, Any, Path], list[Path]]
    best_known: Callable[[str], BestKnown | None]
    lower_bound: Callable[[Any], float]
    draw: Callable[..., None]
    policies: Mapping[str, Callable[..., Any]]
    solvers: Mapping[str, Callable[..., Any]]
    metrics: Mapping[str, Callable[[Any, Any], float]] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
