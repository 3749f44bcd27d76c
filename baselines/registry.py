"""Policies and solvers of a family from a line of text.

A specification is ``name``, ``name:key=value,key=value`` or ``choice/name...``:

* ``cp-sat:workers=1,hint=mwkr`` is a solver with options, one of them another specification;
* ``nondelay/mwkr`` is a policy that decides under a value of a problem option (here ``decode``);
* ``mor:samples=128``, ``mor:width=16`` and ``mor:simulations=256`` wrap a policy: sampling, beam
  search, and Monte-Carlo tree search.

Names come from the ``policies`` and ``solvers`` of the :class:`Family`. Options are the parameters
of what stands there, by their type hints, so a new policy or solver needs nothing here.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from makespan.agents.search import BeamSearch, Sampling, TreeSearch
from makespan.envs.core.errors import MakespanError, UnknownNameError, UsageError
from makespan.envs.core.family import Family
from makespan.envs.core.rollout import RolloutSolver, Solver

#: Wrappers of a policy by the option that asks for them.
WRAPPERS: dict[str, Callable[..., Any]] = {
    "samples": Sampling,
    "width": BeamSearch,
    "simulations": TreeSearch,
}


class Spec(NamedTuple):
    """A specification taken apart."""

    choices: tuple[str, ...]  # values of problem options
    name: str
    options: dict[str, str]


def parse_spec(text: str) -> Spec:
    """Take a specification apart.

    Raises:
        UsageError: when the name is missing, or an option is not ``key=value`` or given twice.
    """
    head, colon, tail = text.partition(":")
    *choices, name = head.split("/")
    if not name:
        raise UsageError(f"{text!r}: found no name, expected name or name:key=value,...")
    options: dict[str, str] = {}
    for item in tail.split(",") if colon else []:
        key, _, value = item.partition("=")
        if not (key and value):
            raise UsageError(f"{text!r}: found {item!r}, expected key=value")
        if key in options:
            raise UsageError(f"{text!r}: option {key} is given twice")
        options[key] = value
    return Spec(tuple(choices), name, options)


def make_solver(family: Family, text: str) -> Solver[Any]:
    """The solver that a specification stands for; a policy is run once, sampled, or searched.

    Raises:
        UnknownNameError: for an unknown name or choice, with the close matches.
        UsageError: for a malformed specification, an unknown option or a wrong value.
    """
    spec = parse_spec(text)
    if spec.name in family.policies:
        return _policy_solver(family, text, spec)
    if spec.name not in family.solvers:
        kind = f"policy or solver of {family.name}"
        raise UnknownNameError(kind, spec.name, [*family.policies, *family.solvers])
    if spec.choices:
        raise UsageError(
            f"{text!r}: found {'/'.join(spec.choices)} before {spec.name}, expected nothing: "
            "only policies decide step by step"
        )
    factory = family.solvers[spec.name]
    solver: Solver[Any] = factory(**_values(text, spec.options, _readers(family, factory)))
    return solver


def _policy_solver(family: Family, text: str, spec: Spec) -> Solver[Any]:
    """A policy run once, or in the wrapper that its options ask for."""
    wanted = [key for key in WRAPPERS if key in spec.options]
    if len(wanted) > 1:
        raise UsageError(f"{text!r}: found {' and '.join(wanted)}, expected one of them")
    wrapper: Callable[..., Any] = WRAPPERS[wanted[0]] if wanted else RolloutSolver
    make_policy = family.policies[spec.name]
    options = _problem_options(family, text, spec.choices)
    search = {key: _readers(family, WRAPPERS[key])[key] for key in WRAPPERS}
    search |= _readers(family, wrapper)
    own = _readers(family, make_policy)
    if wanted:  # a wrapper plays by the scores: at a temperature of its own, or without chance
        own.pop("temperature", None)
    values = _values(text, spec.options, own | search)
    policy = make_policy(**{key: values[key] for key in values if key not in search})
    for option, value in policy.requires.items():
        if option not in family.problem_options:
            raise UsageError(f"{text!r}: needs the option {option}, which {family.name} has not")
        if options.setdefault(option, value) != value:
            raise UsageError(
                f"{text!r}: {spec.name} needs {option} {value}, found {options[option]}"
            )
    solver: Solver[Any] = wrapper(
        name=text,
        policy=policy,
        make_problem=partial(family.make_problem, **options),
        **{key: values[key] for key in values if key in search},
    )
    return solver


def _problem_options(family: Family, text: str, choices: tuple[str, ...]) -> dict[str, str]:
    """Options of the problem by their values, e.g. ``{"decode": "nondelay"}``."""
    found: dict[str, str] = {}
    option_of = {v: option for option, values in family.problem_options.items() for v in values}
    for choice in choices:
        if choice not in option_of:
            raise UnknownNameError(" or ".join(family.problem_options), choice, option_of)
        option = option_of[choice]
        if option in found:
            raise UsageError(f"{text!r}: {option} is given twice, {found[option]} and {choice}")
        found[option] = choice
    return found


class Reader(NamedTuple):
    """One way of reading a value from text; ``read`` raises KeyError or ValueError."""

    expected: str
    read: Callable[[str], Any]


#: Readers of plain types. None comes first, so that it wins over text and names.
PLAIN: dict[Any, Reader] = {
    NoneType: Reader("none", {"none": None}.__getitem__),
    bool: Reader("true or false", {"true": True, "false": False}.__getitem__),
    int: Reader("an integer", int),
    float: Reader("a number", float),
    str: Reader("text", str),
}


def _readers(family: Family, factory: Callable[..., Any]) -> dict[str, list[Reader]]:
    """The parameters of ``factory`` that can be given as text; ``name`` is for tables only."""
    parameters = inspect.signature(factory, eval_str=True).parameters.values()
    readers = {p.name: _readers_of_type(family, p.annotation) for p in parameters}
    return {name: found for name, found in readers.items() if found and name != "name"}


def _readers_of_type(family: Family, annotation: Any) -> list[Reader]:
    """How text becomes a value of a type; empty when it cannot."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        parts = sorted(get_args(annotation), key=lambda part: part is not NoneType)
        return [reader for part in parts for reader in _readers_of_type(family, part)]
    if origin is Literal:
        values = {str(value): value for value in get_args(annotation)}
        return [Reader(" or ".join(values), values.__getitem__)]
    if Solver in (annotation, origin):
        return [Reader("a policy or solver", partial(make_solver, family))]
    return [PLAIN[annotation]] if annotation in PLAIN else []


def _values(
    text: str, given: Mapping[str, str], known: Mapping[str, list[Reader]]
) -> dict[str, Any]:
    """Values of the given options; raises UsageError."""
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            names = f"known: {', '.join(sorted(known))}" if known else "it takes none"
            raise UsageError(f"{text!r}: unknown option {key!r}; {hint}{names}")
    return {key: _read(f"{text!r}: option {key}", given[key], known[key]) for key in given}


def _read(where: str, word: str, readers: list[Reader]) -> Any:
    """``word`` read in the first way that fits; raises UsageError."""
    for reader in readers:
        try:
            return reader.read(word)
        except MakespanError:  # of another specification, with a message of its own
            raise
        except (KeyError, ValueError):
            continue
    expected = " or ".join(reader.expected for reader in readers)
    raise UsageError(f"{where}: found {word!r}, expected {expected}")
