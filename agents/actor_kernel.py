"""Scores of candidates, as :class:`GraphPolicy` without graph encoder computes them.

Weights are a :class:`makespan.agents.actor.Weights`; all arrays are float32.
"""

import math

import numpy as np
from numba import njit

#: Tokens multiplied at once: small enough for the first cache, and for BLAS not to start threads.
CHUNK = 48

_F = np.float32
_HALF, _ONE, _EPSILON = _F(0.5), _F(1), _F(1e-5)
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(math.log2(math.e)), _F(0.693359375), _F(-2.12194440e-4)
_LOWEST = _F(-87.0)  # the exponential of what is lower is no normal number
# Taylor's series; |r| <= ln(2) / 2 leaves a relative error of 2e-7
_E2, _E3, _E4, _E5, _E6 = (_F(1 / math.factorial(n)) for n in (2, 3, 4, 5, 6))
# of the error function, Abramowitz and Stegun 7.1.26, within 1.5e-7; halved, of x / sqrt(2)
_P = _F(0.3275911 / math.sqrt(2))
_A1, _A2, _A3 = _F(0.254829592 / 2), _F(-0.284496736 / 2), _F(1.421413741 / 2)
_A4, _A5 = _F(-1.453152027 / 2), _F(1.061405429 / 2)

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})


@_compiled
def _exp(x):
    """Exponential of a float32 that is not positive, without a call, so that loops vectorise."""
    x = max(x, _LOWEST)
    n = np.floor(x * _LOG2E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    y = _E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))
    power = (np.int32(n) + np.int32(127)) << np.int32(23)
    return (_ONE + r + r * r * y) * np.int32(power).view(np.float32)


@_compiled
def _gelu(x):
    """GELU, x Phi(x)."""
    size = abs(x)
    t = _ONE / (_ONE + _P * size)
    series = t * (_A1 + t * (_A2 + t * (_A3 + t * (_A4 + t * _A5))))
    tail = size * series * _exp(-_HALF * size * size)
    return max(x, _F(0)) - tail


@_compiled
def _gelu_rows(x):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = _gelu(x[i, j])


@_compiled
def _add_rows(x, row):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += row[j]


@_compiled
def _sum_rows(x, y):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += y[i, j]


@_compiled
def _norm_rows(x, out):
    """Layer normalisation without scale and shift."""
    width = _F(x.shape[1])
    for i in range(x.shape[0]):
        total = _F(0)
        for j in range(x.shape[1]):
            total += x[i, j]
        mean = total / width
        square = _F(0)
        for j in range(x.shape[1]):
            square += (x[i, j] - mean) * (x[i, j] - mean)
        scale = _ONE / np.sqrt(square / width + _EPSILON)
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - mean) * scale


@_compiled
def _squash(x):
    return np.copysign(np.log1p(abs(x)), x)


@_compiled
def _linear(x, matrix, bias, out):
    np.dot(x, matrix, out)
    _add_rows(out, bias)


@_compiled
def _embed(w, features, state, x):
    """Tokens from the squashed features of some candidates and the embedding of the whole."""
    y, z = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    _linear(features, w.candidate_matrix, w.candidate_bias, x)
    _add_rows(x, state)
    _norm_rows(x, y)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = _gelu(y[i, j] * w.token_scale[j] + w.token_shift[j])
    _linear(y, w.token_matrices[0], w.token_biases[0], z)
    _gelu_rows(z)
    _linear(z, w.token_matrices[1], w.token_biases[1], y)
    _sum_rows(x, y)


@_compiled
def _softmax_rows(x):
    for i in range(x.shape[0]):
        highest, total = x[i, 0], _F(0)
        for j in range(x.shape[1]):
            highest = max(highest, x[i, j])
        for j in range(x.shape[1]):
            x[i, j] = _exp(x[i, j] - highest)
            total += x[i, j]
        scale = _ONE / total
        for j in range(x.shape[1]):
            x[i, j] *= scale


@_compiled
def _mix(query, keys, values, out):
    """Softmax attention of queries (queries, hidden) to all tokens, by heads.

    Args:
        query: (queries, hidden).
        keys: (heads, width, tokens).
        values: (heads, tokens, width).
        out: (queries, hidden).
    """
    heads, width, tokens = keys.shape
    part = np.empty((len(query), width), np.float32)
    mixed = np.empty((len(query), width), np.float32)
    weight = np.empty((len(query), tokens), np.float32)
    scale = _F(1 / math.sqrt(width))
    for head in range(heads):
        for i in range(len(query)):
            for d in range(width):
                part[i, d] = query[i, head * width + d] * scale
        np.dot(part, keys[head], weight)
        _softmax_rows(weight)
        np.dot(weight, values[head], mixed)
        for i in range(len(query)):
            for d in range(width):
                out[i, head * width + d] = mixed[i, d]


@_compiled
def _keys_values(w, layer, x, keys, values):
    """Keys (heads, width, tokens) and values (heads, tokens, width) of all tokens."""
    tokens, hidden = x.shape
    heads, width, _ = keys.shape
    normed, pair = np.empty((CHUNK, hidden), np.float32), np.empty((CHUNK, 2 * hidden), np.float32)
    for first in range(0, tokens, CHUNK):
        count = min(CHUNK, tokens - first)
        _norm_rows(x[first : first + count], normed)
        _linear(normed[:count], w.pair_matrix[layer], w.pair_bias[layer], pair[:count])
        for head in range(heads):
            for d in range(width):
                for i in range(count):
                    keys[head, d, first + i] = pair[i, head * width + d]
            for i in range(count):
                for d in range(width):
                    values[head, first + i, d] = pair[i, hidden + head * width + d]


@_compiled
def _attend(w, layer, heads, x, queries):
    """New embeddings of the tokens ``queries``, (len(queries), hidden)."""
    tokens, hidden = x.shape
    width = hidden // heads
    keys = np.empty((heads, width, tokens), np.float32)
    values = np.empty((heads, tokens, width), np.float32)
    _keys_values(w, layer, x, keys, values)
    result = np.empty((len(queries), hidden), np.float32)
    for k in range(len(queries)):
        for d in range(hidden):
            result[k, d] = x[queries[k], d]
    for first in range(0, len(queries), CHUNK):
        _answer(w, layer, result[first : first + CHUNK], keys, values)
    return result


@_compiled
def _answer(w, layer, y, keys, values):
    """Attention and position-wise network for a few queries ``y``, in place."""
    normed, query = np.empty(y.shape, np.float32), np.empty(y.shape, np.float32)
    mixed = np.empty(y.shape, np.float32)
    wide = np.empty((y.shape[0], w.wide_matrix.shape[2]), np.float32)
    _norm_rows(y, normed)
    _linear(normed, w.query_matrix[layer], w.query_bias[layer], query)
    _mix(query, keys, values, mixed)
    _linear(mixed, w.out_matrix[layer], w.out_bias[layer], normed)
    _sum_rows(y, normed)
    _norm_rows(y, normed)
    _linear(normed, w.wide_matrix[layer], w.wide_bias[layer], wide)
    _gelu_rows(wide)
    _linear(wide, w.narrow_matrix[layer], w.narrow_bias[layer], mixed)
    _sum_rows(y, mixed)


@_compiled
def _score(w, x, out):
    """The actor's head on a few tokens."""
    y, z = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    _norm_rows(x, y)
    _linear(y, w.actor_matrix, w.actor_bias, z)
    _gelu_rows(z)
    _linear(z, w.score_matrix, w.score_bias, out)


@_compiled
def _tokens(w, features, whole, existing):
    """Embeddings of the candidates that exist, then of the state of the whole."""
    state = np.empty((1, len(w.whole)), np.float32)
    squashed = np.empty((1, len(whole)), np.float32)
    for j in range(len(whole)):
        squashed[0, j] = _squash(whole[j])
    _linear(squashed, w.global_matrix, w.global_bias, state)
    x = np.empty((len(existing) + 1, len(w.whole)), np.float32)
    chunk = np.empty((CHUNK, features.shape[1]), np.float32)
    for first in range(0, len(existing), CHUNK):
        count = min(CHUNK, len(existing) - first)
        for i in range(count):
            for j in range(features.shape[1]):
                chunk[i, j] = _squash(features[existing[first + i], j])
        _embed(w, chunk[:count], state[0], x[first : first + count])
    for d in range(len(w.whole)):
        x[len(existing), d] = state[0, d] + w.whole[d]
    return x


@_compiled
def score_rows(w, heads, candidates, candidate_nodes, whole, mask, rows, out):
    """Write the scores of the legal candidates of some rows of a batch.

    Args:
        w: the weights.
        heads: of the attention.
        candidates, candidate_nodes, whole, mask: of the observation, (batch, ...).
        rows: (rows,) int64.
        out: (rows, slots), as many slots as hold all that exist; the others keep what they hold.
    """
    slots = candidates.shape[1]
    everything, existing = np.empty(slots + 1, np.int64), np.empty(slots, np.int64)
    legal = np.empty(slots, np.int64)  # places among the existing
    score = np.empty((slots, 1), np.float32)
    for slot in range(slots + 1):
        everything[slot] = slot
    for i in range(len(rows)):
        row, count, choices = rows[i], 0, 0
        for slot in range(slots):
            if candidate_nodes[row, slot, 0] >= 0:
                if mask[row, slot]:
                    legal[choices] = count
                    choices += 1
                existing[count] = slot
                count += 1
        x = _tokens(w, candidates[row], whole[row], existing[:count])
        last = len(w.query_matrix) - 1
        for layer in range(last):
            x = _attend(w, layer, heads, x, everything[: count + 1])
        y = _attend(w, last, heads, x, legal[:choices])
        for first in range(0, choices, CHUNK):
            part = y[first : first + CHUNK]
            _score(w, part, score[first : first + len(part)])
        for k in range(choices):
            out[i, existing[legal[k]]] = score[k, 0]
