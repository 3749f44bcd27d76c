"""How long an iteration of a replica takes, and how much it holds, by GPU and model.

The iteration-time model, with P prompt tokens of prefill, B decoding requests, K tokens of their
context, and Q the sum over prefill chunks of ``chunk^2 + 2 * chunk * tokens before the chunk``:

    t = base + prefill P + decode B + beyond max(P + B - knee, 0) + context K + quadratic Q

With ``prefill = decode`` this is the "knee" form, linear in tokens up to a knee and steeper beyond;
with ``beyond = 0`` it is the linear form.

Source of the presets "2026": sums of operator times from NVIDIA aiconfigurator-core 0.12.0
(measured under vLLM 0.14.0 on A100-SXM4-80GB and vLLM 0.24.0 on H100-SXM, bf16) plus 1 ms of host
time an iteration, fitted to 3,000 random mixed batches per row; ``fit_error`` is the mean relative
error of the fit against those sums. The same sums with FP8 tables were 5.9 % (mean, absolute) from
measured serving of Llama-3.1-70B FP8 on H100, 3.7 % after scaling by 0.95; errors of a run on
A100 are not known. Presets "2023": linear fits to the end-to-end measurements in splitwise-sim
(Patel et al., ISCA 2024), ``fit_error`` the larger of decode and prefill; the base is that of
decode, so an iteration of prefill alone comes out up to 32 ms slow.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UnknownNameError

#: Columns of an engine, all in seconds but the knee (tokens).
ENGINE = ("base", "prefill", "decode", "beyond", "knee", "context", "quadratic")


class Preset(NamedTuple):
    """A replica: one model on one kind of GPU at one tensor-parallel degree.

    Attributes:
        engine: (7,) the coefficients named in :data:`ENGINE`.
        kv_tokens: tokens of context that fit into its key-value memory.
        fit_error: mean relative error of the coefficients against their source; None if unknown.
        source: what they were fitted to.
    """

    engine: tuple[float, ...]
    kv_tokens: int
    fit_error: float | None
    source: str


def _knee(
    base: float,
    below: float,
    above: float,
    knee: int,
    context: float,
    quadratic: float,
    fit_error: float,
    kv_tokens: int,
) -> Preset:
    """From milliseconds."""
    engine = (base, below, below, above - below, knee * 1e3, context, quadratic)
    source = "operator times, 2026 (vLLM 0.14/0.24)"
    return Preset(tuple(x / 1e3 for x in engine), kv_tokens, fit_error, source)


def _linear(
    base: float,
    prefill: float,
    decode: float,
    context: float,
    quadratic: float,
    fit_error: float | None,
    kv_tokens: int,
    source: str = "splitwise-sim measurements, 2023",
) -> Preset:
    """From milliseconds."""
    engine = (base, prefill, decode, 0.0, 0.0, context, quadratic)
    return Preset(tuple(x / 1e3 for x in engine), kv_tokens, fit_error, source)


#: Presets by ``gpu/model/tensor-parallel degree``, with ``-2023`` for the older software. Memory:
#: 0.9 of it, less weights and 2 GB a GPU, over the key-value bytes of a token. "V100": base and
#: prefill from Jain et al., arXiv 2408.13510, sections 4.2-4.3, the slope of context from their
#: figure 4b (3 ms over 6,000 tokens). They do not say how much memory their GPUs had; of the two
#: kinds that were sold, only 16 GB agrees with the 170 s that they report for round robin on 2,000
#: requests over four replicas (181 s here; 118 s with 32 GB). 0.9 of it, less the weights of a
#: Llama-2-7B, were 229 blocks of 16 tokens in a user's log (vLLM, issue 2418).
PRESETS = {
    "a100/llama-2-7b/1": _knee(10.586, 0.03716, 0.0532, 320, 3.6301e-4, 1.4444e-6, 0.018, 117_924),
    "a100/llama-2-7b/2": _knee(
        6.8675, 0.018656, 0.035898, 96, 1.8149e-4, 6.0105e-7, 0.019, 261_560
    ),
    "a100/llama-2-13b/1": _knee(19.78, 0.025843, 0.090214, 64, 5.7033e-4, 2.473e-6, 0.022, 60_139),
    "a100/llama-3.1-8b/1": _knee(
        11.924, 0.028153, 0.052461, 128, 8.6224e-5, 1.6477e-6, 0.022, 452_014
    ),
    "a100/llama-3.1-8b/2": _knee(
        7.5775, 0.023945, 0.037085, 128, 4.3542e-5, 6.4656e-7, 0.018, 1_026_600
    ),
    "a100/llama-2-70b/4": _knee(28.579, 0.11424, 0.1749, 96, 5.8285e-5, 1.3382e-6, 0.022, 498_247),
    "a100/llama-2-70b/8": _knee(18.213, 0.0888, 0.13074, 64, 2.5789e-5, 0.0, 0.031, 1_417_514),
    "a100/llama-3.1-70b/4": _knee(28.84, 0.1137, 0.17434, 96, 5.8949e-5, 1.4346e-6, 0.020, 488_664),
    "a100/llama-3.1-70b/8": _knee(18.379, 0.088073, 0.13041, 64, 2.732e-5, 0.0, 0.030, 1_407_932),
    "h100/llama-2-7b/1": _knee(
        6.5486, 0.010905, 0.019572, 512, 1.8519e-4, 4.0108e-7, 0.020, 117_924
    ),
    "h100/llama-2-7b/2": _knee(
        4.5717, 0.011413, 0.014752, 512, 9.0344e-5, 1.7876e-7, 0.018, 261_560
    ),
    "h100/llama-2-13b/1": _knee(
        11.131, 0.016312, 0.036755, 384, 2.9751e-4, 6.3537e-7, 0.026, 60_139
    ),
    "h100/llama-3.1-8b/1": _knee(
        7.3256, 0.01099, 0.020522, 512, 4.4231e-5, 4.239e-7, 0.019, 452_014
    ),
    "h100/llama-3.1-8b/2": _knee(
        4.921, 0.011297, 0.015293, 512, 2.109e-5, 1.8527e-7, 0.018, 1_026_600
    ),
    "h100/llama-2-70b/4": _knee(
        16.256, 0.049809, 0.072857, 320, 2.5618e-5, 6.145e-7, 0.021, 498_247
    ),
    "h100/llama-2-70b/8": _knee(
        10.886, 0.043451, 0.049463, 160, 1.1933e-5, 2.8742e-7, 0.024, 1_417_514
    ),
    "h100/llama-3.1-70b/4": _knee(
        16.319, 0.050059, 0.072588, 320, 2.6591e-5, 6.3335e-7, 0.020, 488_664
    ),
    "h100/llama-3.1-70b/8": _knee(
        10.924, 0.044649, 0.049842, 224, 1.2536e-5, 2.2922e-7, 0.023, 1_407_932
    ),
    "h100/qwen2.5-32b/2": _knee(
        14.846, 0.029557, 0.055389, 320, 4.2978e-5, 5.3862e-7, 0.022, 324_600
    ),
    "h100/qwen2.5-32b/4": _knee(
        9.3792, 0.029088, 0.035971, 384, 2.14e-5, 2.4676e-7, 0.026, 899_140
    ),
    "a100/llama-2-70b/4-2023": _linear(
        43.317, 0.21949, 0.18254, 3.7156e-4, 3.9245e-6, 0.11, 498_247
    ),
    "a100/llama-2-70b/8-2023": _linear(
        44.072, 0.12978, 0.18975, 3.3543e-4, 5.5259e-6, 0.11, 1_417_514
    ),
    "h100/llama-2-70b/4-2023": _linear(
        28.823, 0.080325, 0.26419, 1.0077e-4, 4.3968e-6, 0.10, 498_247
    ),
    "h100/llama-2-70b/8-2023": _linear(
        29.889, 0.053147, 0.19928, 1.785e-4, 5.5857e-6, 0.14, 1_417_514
    ),
    "v100/llama-2-7b/1": _linear(
        20.0, 0.32, 0.0, 5e-4, 0.0, None, 3_664, "Jain et al., arXiv 2408.13510"
    ),
}


def preset(name: str) -> Preset:
    """A preset by its name, e.g. ``"h100/llama-3.1-8b/1"``.

    Raises:
        UnknownNameError: with the close matches.
    """
    if name not in PRESETS:
        raise UnknownNameError("GPU/model/TP preset", name, PRESETS)
    return PRESETS[name]


def iteration_time(
    engine: NDArray[np.float64],
    prefill: Any,
    decodes: Any,
    context: Any,
    quadratic: Any = 0.0,
) -> NDArray[np.float64]:
    """Seconds of an iteration, for one engine (7,) or several (m, 7); numbers broadcast."""
    base, per_prefill, per_decode, beyond, knee, per_context, per_square = np.moveaxis(
        np.asarray(engine), -1, 0
    )
    excess = np.maximum(prefill + decodes - knee, 0)
    return np.asarray(
        base
        + per_prefill * prefill
        + per_decode * decodes
        + beyond * excess
        + per_context * context
        + per_square * quadratic
    )


def sustainable_rate(
    engine: NDArray[np.float64],
    kv_tokens: NDArray[Any],
    token_budget: NDArray[Any],
    max_batch: NDArray[Any],
    prompt: float,
    output: float,
) -> NDArray[np.float64]:
    """(m,) requests a second that replicas can serve for ever, estimated.

    In the steady state a full batch of B requests ends B / output of them an iteration, which as
    many prompts replace; B is limited by memory, by the largest batch, and by the budget of tokens.

    Args:
        engine: (m, 7).
        kv_tokens, token_budget, max_batch: (m,) limits of the replicas.
        prompt, output: mean tokens of a request.
    """
    per_decode = prompt / output  # prompt tokens an iteration for each decoding request
    batch = np.minimum(kv_tokens / (prompt + output / 2), max_batch)
    batch = np.maximum(np.minimum(batch, token_budget / (1 + per_decode)), 1e-9)
    tokens = per_decode * batch
    time = iteration_time(engine, tokens, batch, batch * (prompt + output / 2), tokens * prompt)
    return np.asarray(batch / (output * time))
