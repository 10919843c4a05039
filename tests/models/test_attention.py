from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models import attention
from scaling.models.attention import attend, attend_plainly
from scaling.models.sight import Pattern, Sight

B, T, S, N, K, H = 2, 32, 32, 4, 2, 8
CAUSAL = Pattern(causal=True)
DOCUMENTS = np.repeat(np.arange(4), T // 4)[None].repeat(B, axis=0).astype(np.int32)
PADDED = np.where(np.arange(S) < [[S], [20]], 0, -1).astype(np.int32)
CASES = {
    "causal": (CAUSAL, Sight(), False),
    "documents": (CAUSAL, Sight(DOCUMENTS, DOCUMENTS), False),
    "full": (Pattern(causal=False), Sight(), False),
    "window": (Pattern(causal=True, window=5), Sight(), False),
    "window both ways": (Pattern(causal=False, window=7), Sight(PADDED, PADDED), False),
    "prefix": (CAUSAL, Sight(prefix_B=np.array([3, 11])), False),
    "prefix and padding": (CAUSAL, Sight(PADDED, PADDED, np.array([3, 25])), True),
    "bias": (CAUSAL, Sight(), True),
    "soft cap": (Pattern(causal=True, softcap=1.5), Sight(), False),
    "all at once": (Pattern(causal=True, window=20, softcap=2.0), Sight(PADDED, PADDED, np.array([2, 9])), True),
}


def literal_attention(q, k, v, pattern, sight, bias):
    """The definition, one query at a time, in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.zeros_like(q)
    for b, t, n in np.ndindex(B, T, N):
        keys = [s for s in range(S) if sees(pattern, sight, b, t, s)]
        scores = np.array([q[b, t, n] @ k[b, s, n // (N // K)] for s in keys]) / np.sqrt(H)
        if pattern.softcap:
            scores = pattern.softcap * np.tanh(scores / pattern.softcap)
        if bias is not None:
            scores = scores + np.asarray(bias)[n, t, keys]
        weights = np.exp(scores - scores.max())
        out[b, t, n] = (weights / weights.sum()) @ v[b, keys, n // (N // K)]
    return out


def sees(pattern, sight, b, t, s):
    by_place = (s <= t or not pattern.causal) and (pattern.window is None or abs(t - s) < pattern.window)
    in_prefix = sight.prefix_B is not None and s < sight.prefix_B[b]
    return (by_place or in_prefix) and (sight.queries_BT is None or sight.queries_BT[b, t] == sight.keys_BS[b, s])


@pytest.fixture(scope="module")
def qkv():
    keys = jax.random.split(jax.random.key(0), 3)
    return tuple(jax.random.normal(key, (B, T, heads, H)) for key, heads in zip(keys, (N, K, K), strict=True))


@pytest.fixture(scope="module")
def bias():
    return jax.random.normal(jax.random.key(1), (N, T, S))


def causal(q, k, v):
    return attend(q, k, v, CAUSAL, scale=H**-0.5)


@pytest.mark.parametrize("case", CASES)
def test_attention_is_its_definition(qkv, bias, case):
    pattern, sight, biased = CASES[case]
    bias = bias if biased else None
    found = attend(*qkv, pattern, sight, scale=H**-0.5, bias_NTS=bias)
    # float32 sums of up to 32 terms of order 1.
    np.testing.assert_allclose(found, literal_attention(*qkv, pattern, sight, bias), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("way", ["plain", "accelerator"])
@pytest.mark.parametrize("case", CASES)
def test_every_path_gives_the_same_values_and_gradients(qkv, bias, case, way, monkeypatch):
    pattern, sight, biased = CASES[case]
    ours = gradients(attend, qkv, bias if biased else None, pattern, sight)
    if way == "accelerator":  # in its XLA form
        monkeypatch.setattr(attention.jax, "default_backend", lambda: "other")
    theirs = gradients(attend_plainly if way == "plain" else attend, qkv, bias if biased else None, pattern, sight)
    # float32 sums of a few thousand terms, in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=4e-5, rtol=2e-4), ours, theirs)


def gradients(function, qkv, bias, pattern, sight):
    """A scalar of the result, and its gradients to queries, keys, values and bias."""

    @jax.jit
    def scalar(qkv, bias):
        return jnp.sum(jnp.sin(3 * function(*qkv, pattern, sight, scale=H**-0.5, bias_NTS=bias)))

    return jax.value_and_grad(scalar, argnums=(0, 1) if bias is not None else 0)(qkv, bias)


def test_queries_and_keys_may_differ_in_number(qkv):
    q, k, v = qkv
    sight = Sight(np.zeros((B, 9), np.int32), PADDED)
    arguments = (q[:, :9], k, v, Pattern(causal=False), sight)
    found, plain = (way(*arguments, scale=0.3) for way in (attend, attend_plainly))
    np.testing.assert_allclose(found, plain, atol=2e-6, rtol=1e-5)  # float32 sums of 32 terms


def test_the_future_does_not_matter(qkv):
    q, k, v = qkv
    cut = 20
    changed = causal(q.at[:, cut:].add(1.0), k.at[:, cut:].add(1.0), v.at[:, cut:].add(1.0))
    np.testing.assert_array_equal(causal(q, k, v)[:, :cut], changed[:, :cut])


def test_padding_does_not_matter(qkv):
    q, k, v = qkv
    full = partial(attend, pattern=Pattern(causal=False), sight=Sight(PADDED, PADDED), scale=H**-0.5)
    changed = full(q, k.at[1, 20:].add(1.0), v.at[1, 20:].add(1.0))
    np.testing.assert_array_equal(full(q, k, v)[1, :20], changed[1, :20])


def test_scores_too_large_for_exp_do_not_overflow(qkv):
    q, k, v = qkv
    out = causal(1e4 * q, k, v)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[:, 0, 0], v[:, 0, 0], rtol=1e-6)  # the first token sees itself alone


def test_keys_outside_every_window_are_not_computed(qkv):
    def flops(pattern):
        step = jax.jit(partial(attend, pattern=pattern, scale=1.0))
        long = [jnp.tile(x, (1, 16, 1, 1)) for x in qkv]  # 512 positions
        return step.lower(*long).compile().cost_analysis()["flops"]

    # Blocks of 64 queries see at most 64 + 15 keys of 512; a causal square is half of it and a little.
    assert flops(Pattern(causal=True, window=16)) < 0.35 * flops(CAUSAL)
