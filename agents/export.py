"""A trained policy as one small file that numpy alone can score.

``python -m makespan.agents.export policy.safetensors policy.npz`` writes the weights of a policy
without graph encoder (``--encoder none``); :class:`NumpyPolicy` reads the file and scores one
decision at a time. The class needs nothing else of this package, so it can be copied into a
gateway.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[Any]]


def export_policy(checkpoint: Path, out: Path) -> None:
    """Write the policy of a checkpoint to an ``.npz`` file.

    Raises:
        CheckpointError: when the checkpoint cannot be used.
        UsageError: when the policy needs the graph, which this form does not hold.
    """
    import io

    from makespan.agents.checkpoint import load_checkpoint, naming_damage
    from makespan.envs.core.files import write_atomically

    loaded = load_checkpoint(checkpoint)
    with naming_damage(checkpoint):
        arrays = _exported(checkpoint, loaded.tensors, loaded.data)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(out, buffer.getvalue())


def _exported(checkpoint: Path, tensors: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Arrays of the file."""
    from makespan.agents.checkpoint import POLICY
    from makespan.envs.core.errors import UsageError

    policy = data["policy"]
    if policy["encoder"] != "none":
        raise UsageError(
            f"{checkpoint}: has the encoder {policy['encoder']!r}, expected 'none': only policies "
            "on candidate features can be exported"
        )
    weights = folded(
        {
            name.removeprefix(POLICY): tensor.numpy().astype(np.float64)
            for name, tensor in tensors.items()
            if name.startswith(POLICY) and not name.startswith(f"{POLICY}critic")
        },
        policy["attention_layers"],
    )
    about = {
        "problem": data["problem"],
        "options": data["options"],
        "heads": policy["heads"],
        "layers": policy["attention_layers"],
        "candidate_features": data["features"]["candidate_features"],
        "global_features": data["features"]["global_features"],
    }
    prepared = _prepared(weights, policy["attention_layers"])
    return {"about": np.array(json.dumps(about)), **prepared}


def folded(w: dict[str, NDArray[np.float64]], layers: int) -> Weights:
    """Matrices ready to be multiplied from the right, the scale and shift of norms within them."""
    out: Weights = {"whole": w["whole"]}

    def put(target: str, linear: str, norm: str | None = None) -> None:
        matrix, bias = w[f"{linear}.weight"].T, w[f"{linear}.bias"]
        if norm is not None:
            bias = bias + w[f"{norm}.bias"] @ matrix
            matrix = w[f"{norm}.weight"][:, None] * matrix
        out[f"{target}.matrix"], out[f"{target}.bias"] = matrix, bias

    put("global_input", "global_input")
    put("candidate_input", "candidate_input")
    # a norm before an activation stays one: it cannot be folded into a matrix
    out["token.scale"], out["token.shift"] = w["token.0.weight"], w["token.0.bias"]
    put("token.first", "token.2")
    put("token.second", "token.4")
    for layer in range(layers):
        name = f"attention.{layer}"
        for part in ("query", "key_value"):
            put(f"{name}.{part}", f"{name}.{part}", f"{name}.norm")
        put(f"{name}.out", f"{name}.out")
        put(f"{name}.first", f"{name}.feed_forward.1", f"{name}.feed_forward.0")
        put(f"{name}.second", f"{name}.feed_forward.3")
    put("actor.first", "actor.1", "actor.0")
    put("actor.second", "actor.3")
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in out.items()}


def _prepared(w: Weights, layers: int) -> Weights:
    """Folded weights with more done beforehand, for fewer calls of numpy in a decision.

    Embeddings are only read through layer norms, which take their mean away: so what writes them
    is centred here. The matrices after a norm get the square root of the width that :func:`_norm`
    leaves out, those after an activation the half that :func:`_gelu` does.
    """
    w = {name: array.astype(np.float64) for name, array in w.items()}
    names = [f"attention.{layer}" for layer in range(layers)]
    root = len(w["whole"]) ** 0.5
    for name in names:
        for part in ("matrix", "bias"):
            parts = (w.pop(f"{name}.query.{part}"), w.pop(f"{name}.key_value.{part}"))
            w[f"{name}.in.{part}"] = np.concatenate(parts, axis=-1)
    after_norm = ["actor.first", *(f"{n}.in" for n in names), *(f"{n}.first" for n in names)]
    for name in ("token.scale", *(f"{name}.matrix" for name in after_norm)):
        w[name] = root * w[name]
    for name in ("token.first", "token.second", "actor.second", *(f"{n}.second" for n in names)):
        w[f"{name}.matrix"] = w[f"{name}.matrix"] / 2
    writers = ["global_input", "candidate_input", "token.second"]
    writers += [f"{name}.{part}" for name in names for part in ("out", "second")]
    for name in ("whole", *(f"{n}.{part}" for n in writers for part in ("matrix", "bias"))):
        w[name] = w[name] - w[name].mean(axis=-1, keepdims=True)
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in w.items()}


@dataclass(frozen=True)
class NumpyPolicy:
    """Scores the candidates of one decision, as the network that was exported does.

    Attributes:
        about: problem, options and names of the features, in order.
        weights: matrices and biases by name.
    """

    about: dict[str, Any]
    weights: Weights

    @classmethod
    def load(cls, path: str | Path) -> "NumpyPolicy":
        """Read an exported file; nothing in it is executed."""
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            return cls(about, {name: file[name] for name in file.files if name != "about"})

    def scores(
        self,
        candidates: NDArray[Any],
        whole: NDArray[Any],
        legal: NDArray[np.bool_],
    ) -> NDArray[Any]:
        """(A,) scores, -inf where illegal; the highest is the decision.

        Args:
            candidates: (A, C) features of the candidates that exist.
            whole: (H,) global features.
            legal: (A,) which may be chosen.
        """
        w = self.weights
        state = self._linear("global_input", _squash(whole))
        x = np.empty((len(candidates) + 1, len(state)), dtype=np.float32)
        tokens = x[:-1]
        tokens[:] = self._linear("candidate_input", _squash(candidates))
        tokens += state
        np.add(state, w["whole"], out=x[-1])
        y = _norm(tokens)
        y *= w["token.scale"]
        y += w["token.shift"]
        tokens += self._linear("token.second", _gelu(self._linear("token.first", _gelu(y))))
        for layer in range(self.about["layers"]):
            self._attend(f"attention.{layer}", x)
        y = _gelu(self._linear("actor.first", _norm(tokens)))
        return np.where(legal, self._linear("actor.second", y)[:, 0], np.float32(-np.inf))

    def _linear(self, name: str, x: NDArray[Any]) -> NDArray[Any]:
        y: NDArray[Any] = np.dot(x, self.weights[f"{name}.matrix"])
        y += self.weights[f"{name}.bias"]
        return y

    def _attend(self, name: str, x: NDArray[Any]) -> None:
        """Add to ``x`` attention of all tokens to all, then the position-wise network."""
        heads = self.about["heads"]
        tokens, hidden = x.shape
        parts = self._linear(f"{name}.in", _norm(x)).reshape(tokens, 3, heads, -1)
        query, key, value = parts.transpose(1, 2, 0, 3)
        weight = np.matmul(query, key.transpose(0, 2, 1))
        weight *= np.float32((hidden // heads) ** -0.5)
        weight -= np.maximum.reduce(weight, axis=2, keepdims=True)
        np.exp(weight, out=weight)
        mixed = np.matmul(weight, value)
        mixed /= np.add.reduce(weight, axis=2, keepdims=True)
        x += self._linear(f"{name}.out", mixed.transpose(1, 0, 2).reshape(tokens, hidden))
        x += self._linear(f"{name}.second", _gelu(self._linear(f"{name}.first", _norm(x))))


def _norm(x: NDArray[Any]) -> NDArray[Any]:
    """Layer normalisation of centred rows, with torch's epsilon, over the root of the width."""
    size = np.einsum("ij,ij->i", x, x)
    size += np.float32(1e-5 * x.shape[1])
    np.sqrt(size, out=size)
    return np.asarray(x / size[:, None])


def _squash(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.copysign(np.log1p(np.abs(x)), x))


#: Coefficients of :func:`_gelu`, the highest power first: least squares on 0 to 8, refined until
#: the largest error there was 3e-6.
_GELU = tuple(
    np.float32(c)
    for c in (1.11908779e-6, -3.05810993e-5, -1.24861191e-4, 3.64682703e-2, 7.97828136e-1)
)


def _gelu(x: NDArray[Any]) -> NDArray[Any]:
    """Twice GELU, ``x (1 + tanh(x p(x^2)))`` with a polynomial that makes it so within 6e-6."""
    square = x * x
    y = square * _GELU[0]
    for coefficient in _GELU[1:-1]:
        y += coefficient
        y *= square
    y += _GELU[-1]
    y *= x
    np.tanh(y, out=y)
    y += 1
    y *= x
    return np.asarray(y)


def main() -> None:
    """Command line: checkpoint and output file."""
    import sys

    from makespan.envs.core.errors import MakespanError

    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m makespan.agents.export policy.safetensors policy.npz")
    try:
        export_policy(Path(sys.argv[1]), Path(sys.argv[2]))
    except MakespanError as error:
        raise SystemExit(f"export: {error}") from None


if __name__ == "__main__":
    main()
