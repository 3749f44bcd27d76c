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

    from makespan.agents.checkpoint import POLICY, load_checkpoint
    from makespan.envs.core.errors import UsageError
    from makespan.envs.core.files import write_atomically

    data = load_checkpoint(checkpoint)
    policy = data.data["policy"]
    if policy["encoder"] != "none":
        raise UsageError(
            f"{checkpoint}: has the encoder {policy['encoder']!r}, expected 'none': only policies "
            "on candidate features can be exported"
        )
    weights = folded(
        {
            name.removeprefix(POLICY): tensor.numpy().astype(np.float64)
            for name, tensor in data.tensors.items()
            if name.startswith(POLICY) and not name.startswith(f"{POLICY}critic")
        },
        policy["attention_layers"],
    )
    about = {
        "problem": data.data["problem"],
        "options": data.data["options"],
        "heads": policy["heads"],
        "layers": policy["attention_layers"],
        "candidate_features": data.data["features"]["candidate_features"],
        "global_features": data.data["features"]["global_features"],
    }
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about)), **weights}
    np.savez(buffer, **arrays)
    write_atomically(out, buffer.getvalue())


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
        x = self._linear("candidate_input", _squash(candidates))
        x += state
        y = _gelu(_norm(x) * w["token.scale"] + w["token.shift"])
        x += self._linear("token.second", _gelu(self._linear("token.first", y)))
        x = np.concatenate([x, (state + w["whole"])[None]])
        for layer in range(self.about["layers"]):
            x = self._attend(f"attention.{layer}", x)
        y = _gelu(self._linear("actor.first", _norm(x[:-1])))
        return np.where(legal, self._linear("actor.second", y)[:, 0], np.float32(-np.inf))

    def _linear(self, name: str, x: NDArray[Any]) -> NDArray[Any]:
        y = np.asarray(x @ self.weights[f"{name}.matrix"])
        y += self.weights[f"{name}.bias"]
        return y

    def _attend(self, name: str, x: NDArray[Any]) -> NDArray[Any]:
        """Attention of all tokens to all, then the position-wise network."""
        heads = self.about["heads"]
        tokens, hidden = x.shape
        normed = _norm(x)
        query = self._linear(f"{name}.query", normed).reshape(tokens, heads, -1)
        pair = self._linear(f"{name}.key_value", normed).reshape(tokens, 2 * heads, -1)
        weight = query.transpose(1, 0, 2) @ pair[:, :heads].transpose(1, 2, 0)
        weight *= np.float32((hidden // heads) ** -0.5)
        weight -= weight.max(axis=2, keepdims=True)
        np.exp(weight, out=weight)
        weight /= weight.sum(axis=2, keepdims=True)
        mixed = weight @ pair[:, heads:].transpose(1, 0, 2)
        x = x + self._linear(f"{name}.out", mixed.transpose(1, 0, 2).reshape(tokens, hidden))
        y = _gelu(self._linear(f"{name}.first", _norm(x)))
        x += self._linear(f"{name}.second", y)
        return x


def _norm(x: NDArray[Any]) -> NDArray[Any]:
    """Layer normalisation without scale and shift, with torch's epsilon."""
    width = np.float32(x.shape[-1])
    centred = np.asarray(x - np.add.reduce(x, axis=-1, keepdims=True) / width)
    variance = np.einsum("ij,ij->i", centred, centred) / width
    centred /= np.sqrt(variance + np.float32(1e-5))[:, None]
    return centred


def _squash(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.copysign(np.log1p(np.abs(x)), x))


def _gelu(x: NDArray[Any]) -> NDArray[Any]:
    """GELU, x Phi(x); the error function as in Abramowitz and Stegun 7.1.26, within 1.5e-7."""
    size = np.abs(x)
    t = size * np.float32(0.3275911 * 0.5**0.5)
    t += 1
    np.reciprocal(t, out=t)
    series = t * np.float32(1.061405429 / 2)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series += np.float32(coefficient / 2)
        series *= t
    tail = np.exp(np.float32(-0.5) * size * size)  # of 1 - Phi
    tail *= series
    tail *= size
    return np.asarray(np.maximum(x, 0) - tail)


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
