"""Command lines with a command for every generator of every family."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union

from makespan.envs.core.family import Family
from makespan.envs.core.problem import Generator

Field = tuple[str, Any, Any]


def for_generators(verb: str, common: type, fields: Sequence[Field]) -> Any:
    """The union of the commands of all families, one for each generator.

    Args:
        verb: for the help: ``verb`` on such instances.
        common: dataclass of the options that all commands have.
        fields: further groups of options, as for :func:`dataclasses.make_dataclass`; their names
            are left out on the command line.

    Returns:
        A type for tyro; what it makes has ``family`` (its name), ``generator`` and ``physics`` (the
        problem's options) besides.
    """
    import tyro

    from makespan.envs import FAMILIES

    commands = []
    for make_family in FAMILIES.values():
        family = make_family()
        for name, generator in family.generators.items():
            command = tyro.conf.subcommand(name, description=f"{verb} on {name} instances.")
            options = _options(family, generator, common, fields)
            commands.append(Annotated[options, command])
    if len(commands) == 1:
        return commands[0]
    return Union[tuple(commands)]  # noqa: UP007 - built at run time


def _options(
    family: Family, generator: Generator[Any], common: type, fields: Sequence[Field]
) -> Any:
    """A dataclass with the options of the command line for one generator of a family."""
    import tyro

    flat = tyro.conf.arg(name="")
    physics = dataclasses.make_dataclass(
        "Physics",
        [
            (name, Literal[values], dataclasses.field(default=values[0]))
            for name, values in family.problem_options.items()
        ],
        frozen=True,
    )
    return dataclasses.make_dataclass(
        "Options",
        [
            ("family", tyro.conf.Suppress[str], dataclasses.field(default=family.name)),
            ("generator", Annotated[type(generator), flat], dataclasses.field(default=generator)),
            ("physics", Annotated[physics, flat], dataclasses.field(default=physics())),
            *((name, Annotated[kind, flat], default) for name, kind, default in fields),
        ],
        bases=(common,),
        frozen=True,
    )
