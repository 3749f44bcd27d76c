"""Linear policies: the score of a candidate is a weighted sum of its features.

The weights are learnt for one kind of instance by :mod:`makespan.baselines.evolve`, in minutes of
processor time; those that ship stand in the family's ``linear.json``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.files import parse_json, read_text
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy

#: Between a feature of the candidate and one of the whole whose product is a term.
TIMES = "*"
#: The feature that is 1 for the candidate that does nothing, in families that have one.
WAIT = "wait"


class Weights(NamedTuple):
    """What a linear policy has learnt.

    Attributes:
        terms: what is weighted: features of the candidate, or ``candidate*whole``, the product of
            one and a global feature; sizes are taken as logarithms, see :func:`squash`.
        values: (terms,) the weights, or (batch, terms), others for each row of a batch.
        requires: options that the problem must have.
    """

    terms: tuple[str, ...]
    values: NDArray[np.float64]
    requires: Mapping[str, str] = MappingProxyType({})

    def to_json(self, about: Mapping[str, Any]) -> str:
        """What :func:`read_weights` reads; ``about`` says how the weights were found."""
        rounded = dict(zip(self.terms, np.round(self.values, 4).tolist(), strict=True))
        data = {"about": about, "requires": dict(self.requires), "weights": rounded}
        return json.dumps(data, indent=1) + "\n"


def read_weights(
    text: str, shipped: Mapping[str, Any] = MappingProxyType({}), needed: Sequence[str] = ()
) -> Weights:
    """The weights in a file, or of a name in ``shipped``.

    Args:
        text: name of the file or of the set.
        shipped: sets by name.
        needed: terms that must be there, in this order; none: all that are there.

    Raises:
        UsageError: for a file of something else, or one that is missing.
    """
    if not text:
        raise UsageError("linear: found no weights, expected weights=FILE")
    if text in shipped:
        data = shipped[text]
    elif not Path(text).suffix:
        raise UnknownNameError("set of weights", text, shipped)
    else:
        content = read_text(Path(text), UsageError)
        data = parse_json(content, lambda m: UsageError(f"{text}: {m}"))
    try:
        terms = tuple(needed or data["weights"])
        values = np.array([float(data["weights"][term]) for term in terms])
        requires = {str(name): str(value) for name, value in data.get("requires", {}).items()}
        if not (len(values) and np.isfinite(values).all()):
            raise ValueError
    except (TypeError, KeyError, ValueError, AttributeError):
        expected = f"of {', '.join(needed)}" if needed else "term"
        raise UsageError(f"{text}: expected 'weights' with a number for each {expected}") from None
    return Weights(terms, values, requires)


class LinearPolicy(ScorePolicy):
    """The candidate with the largest weighted sum.

    Args:
        weights: a file of :mod:`makespan.baselines.evolve`, the name of a set that ships, or the
            weights themselves; empty for the first set that ships.
        temperature: see :class:`ScorePolicy`.

    Raises:
        UsageError: for a file that does not hold weights, or for none where none ship.
    """

    learnt: ClassVar[bool] = True
    #: What ships with a family, by the kind of instance it was learnt on.
    shipped: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    #: Terms that weights must have, in this order, where they are not free.
    needed: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        weights: str | Weights = "",
        temperature: float | NDArray[np.float64] = 0.0,
    ) -> None:
        super().__init__("linear", temperature)
        if isinstance(weights, str):
            name = weights or next(iter(self.shipped), "")
            weights = read_weights(name, self.shipped, self.needed)
        self.weights = weights
        self.requires = weights.requires

    @classmethod
    def terms_of(cls, spec: ObservationSpec) -> tuple[str, ...]:
        """All terms that a problem offers: candidates' features, and when to wait."""
        features = spec.candidate_features
        waiting = spec.global_features if WAIT in features else ()
        return (*features, *(f"{WAIT}{TIMES}{whole}" for whole in waiting))

    def start(self, problem: Problem[Any], state: Any, observation: Observation) -> None:
        """Called once after all rows are loaded.

        Raises:
            UsageError: when the problem lacks a term or an option.
        """
        super().start(problem, state, observation)
        unknown = set(self.weights.terms) - set(self.terms_of(problem.spec))
        if unknown:
            raise UsageError(f"linear: {problem.name} has no term {min(unknown)!r}")

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Scores (len(rows), candidates), -inf where illegal."""
        legal = observation.action_mask[rows] > 0
        used = np.flatnonzero(legal.any(axis=0)).max(initial=0) + 1
        values = self.weights.values
        values = values[rows] if values.ndim > 1 else np.tile(values, (len(rows), 1))
        scores = np.full(legal.shape, -np.inf)
        candidates, whole = observation.candidates[rows, :used], observation.globals[rows]
        scores[:, :used] = self._sums(problem.spec, candidates, whole, values)
        return np.where(legal, scores, -np.inf)

    def _sums(
        self,
        spec: ObservationSpec,
        candidates: NDArray[np.float32],
        whole: NDArray[np.float32],
        values: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """The weighted sums (D, A).

        Args:
            spec: names the features.
            candidates: (D, A, C) features of D decisions.
            whole: (D, H) global features.
            values: (D, terms) weights.
        """
        places = _places(self.weights.terms, spec.candidate_features, spec.global_features)
        own = np.zeros((len(candidates), candidates.shape[2]), dtype=np.float32)
        own[:, places.column] = values[:, places.single]
        # not a product of matrices, whose rounding depends on how many candidates there are
        sums: NDArray[np.float64] = np.einsum("dac,dc->da", squash(candidates), own).astype(float)
        if len(places.product):
            weighted = values[:, places.product] * squash(whole[:, places.whole])
            sums += np.einsum("dap,dp->da", squash(candidates[:, :, places.factor]), weighted)
        return sums

    @property
    def weights_hash(self) -> str:
        """Of terms and weights."""
        text = ",".join(self.weights.terms).encode()
        return hashlib.sha256(text + self.weights.values.tobytes()).hexdigest()[:16]

    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """The same weights at another temperature."""
        return type(self)(self.weights, temperature)


class _Places(NamedTuple):
    """Where terms are among weights and features, indices of each."""

    single: list[int]  # terms that are one feature
    column: list[int]  # their features of the candidate
    product: list[int]  # terms that are a product
    factor: list[int]  # their features of the candidate
    whole: list[int]  # their global features


@cache
def _places(
    terms: tuple[str, ...], features: tuple[str, ...], of_whole: tuple[str, ...]
) -> _Places:
    places = _Places([], [], [], [], [])
    for k, term in enumerate(terms):
        feature, _, other = term.partition(TIMES)
        if other:
            places.product.append(k)
            places.factor.append(features.index(feature))
            places.whole.append(of_whole.index(other))
        else:
            places.single.append(k)
            places.column.append(features.index(feature))
    return places


def shipped_weights(folder: Path) -> Mapping[str, Any]:
    """The sets in ``linear.json`` of a family's folder."""
    return json.loads((folder / "linear.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def squash(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """``sign(x) log(1 + |x|)``: features reach from thousandths to thousands."""
    return np.asarray(np.copysign(np.log1p(np.abs(x)), x))
