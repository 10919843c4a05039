import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models.head import (
    LOGITS_AT_ONCE,
    chunked_losses,
    chunks_of,
    gaps_of_states,
    mean_logit_gaps,
    softcapped,
    token_losses,
    unembed,
)

M, D, V = 12, 8, 30


@pytest.fixture(scope="module")
def given():
    keys = jax.random.split(jax.random.key(0), 3)
    targets = jax.random.randint(keys[2], (M,), 0, V)
    return jax.random.normal(keys[0], (M, D)), jax.random.normal(keys[1], (V, D)), targets


def by_the_book(x, head, targets):
    return -jnp.take_along_axis(jax.nn.log_softmax(x @ head.T), targets[:, None], axis=-1)[:, 0]


def test_token_losses_are_minus_log_softmax(given):
    x, head, targets = given
    np.testing.assert_allclose(token_losses(unembed(x, head), targets), by_the_book(*given), rtol=1e-5)


def test_the_written_out_gradients_are_those_of_the_definition(given):
    x, head, targets = given
    weights = jnp.arange(1.0, M + 1)  # every token's loss counts differently

    def ours(x, head):
        return weights @ token_losses(unembed(x, head), targets)

    def theirs(x, head):
        return weights @ by_the_book(x, head, targets)

    for found, expected in zip(*(jax.grad(f, argnums=(0, 1))(x, head) for f in (ours, theirs)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # float32 sums of terms up to 100


def test_large_logits_do_not_overflow():
    logits = jnp.array([[1e4, 0.0], [0.0, 1e4]])
    np.testing.assert_allclose(token_losses(logits, jnp.array([0, 0])), [0.0, 1e4])


def test_half_precision_inputs_give_float32_logits(given):
    x, head, _ = given
    logits = unembed(x.astype(jnp.bfloat16), head.astype(jnp.bfloat16))
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, x @ head.T, atol=0.1)  # 8 significant bits, sums of 8 terms of order 1


def test_smoothing_adds_the_gap_between_the_target_and_the_mean(given):
    x, head, targets = given
    logits, share = unembed(x, head), 0.1
    smoothed = (1 - share) * jnp.eye(V)[targets] + share / V
    expected = -jnp.sum(smoothed * jax.nn.log_softmax(logits), axis=-1)
    found = token_losses(logits, targets) + share * mean_logit_gaps(logits, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # float32 logits of order 10


def test_a_soft_cap_bends_large_logits_and_keeps_small_ones():
    np.testing.assert_allclose(softcapped(jnp.array([1e-3, 1e6]), 30.0), [1e-3, 30.0], rtol=1e-6)
    np.testing.assert_array_equal(softcapped(jnp.array([5.0]), None), [5.0])


WEIGHTS = jnp.arange(M) % 3 / 2.0  # some targets bear no loss, some half of theirs
BIAS = jnp.linspace(-1.0, 1.0, V)


def whole(x, head, bias, targets, weights, cap):
    """What the parts together must be."""
    logits = unembed(x, head) + (0.0 if bias is None else bias.astype(jnp.float32))
    return token_losses(softcapped(logits, cap), targets) * weights


@pytest.mark.parametrize("chunks", [1, 3, 5, M])  # 5 does not divide the targets
@pytest.mark.parametrize(("bias", "cap"), [(None, None), (BIAS, None), (BIAS, 3.0)], ids=["plain", "bias", "cap"])
def test_losses_in_parts_and_their_gradients_are_those_of_the_whole(given, chunks, bias, cap):
    x, head, targets = given
    parts = chunked_losses(x, head, bias, targets, WEIGHTS, cap, chunks)
    np.testing.assert_allclose(parts, whole(x, head, bias, targets, WEIGHTS, cap), rtol=1e-5, atol=1e-6)

    def in_parts(x, head, bias, weights):
        return 0.5 * jnp.sum(chunked_losses(x, head, bias, targets, weights, cap, chunks))

    def at_once(x, head, bias, weights):
        return 0.5 * jnp.sum(whole(x, head, bias, targets, weights, cap))

    found, expected = (jax.grad(f, argnums=(0, 1, 2, 3))(x, head, bias, WEIGHTS) for f in (in_parts, at_once))
    # float32 sums of at most 30 terms up to 10, in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_losses_in_parts_are_those_of_the_whole_in_half_precision(given):
    x, head, targets = given
    x, head, bias = (a.astype(jnp.bfloat16) for a in (x, head, BIAS))
    found = chunked_losses(x, head, bias, targets, WEIGHTS, None, 4)
    np.testing.assert_allclose(found, whole(x, head, bias, targets, WEIGHTS, None), rtol=1e-5, atol=1e-6)
    gradients = [
        jax.grad(lambda *of, how=how: jnp.sum(how(*of)), argnums=(0, 1, 2))(x, head, bias)
        for how in (
            lambda *of: chunked_losses(*of, targets, WEIGHTS, None, 4),
            lambda *of: whole(*of, targets, WEIGHTS, None),
        )
    ]
    for ours, theirs in zip(*gradients, strict=True):
        assert ours.dtype == jnp.bfloat16
        # Two ways to round to 8 bits: 0.8%; of the head's gradient, whose terms of order 3 cancel, 0.03.
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs.astype(jnp.float32), rtol=0.01, atol=0.03)


def test_gradients_of_losses_that_count_differently_are_refused_loudly(given):
    x, head, targets = given

    def uneven(x):
        return jnp.arange(1.0, M + 1) @ chunked_losses(x, head, None, targets, WEIGHTS, None, 3)

    assert np.isnan(jax.grad(uneven)(x)).all()


def test_losses_in_parts_of_many_models_at_once_are_those_of_each(given):
    x, head, targets = given
    heads = jnp.stack([head, 2 * head])

    def summed(head):
        return jnp.sum(chunked_losses(x, head, None, targets, WEIGHTS, None, 3))

    alone = jnp.stack([jax.grad(summed)(head) for head in heads])
    np.testing.assert_allclose(jax.vmap(jax.grad(summed))(heads), alone, rtol=1e-4, atol=1e-5)


def test_the_compiled_loss_in_parts_never_holds_all_logits():
    tokens, width, vocab, chunks = 512, 8, 1000, 8

    def compiled(loss):
        x, head = jnp.zeros((tokens, width)), jnp.zeros((vocab, width))
        targets, weights = jnp.zeros(tokens, jnp.int32), jnp.ones(tokens)
        summed = jax.value_and_grad(lambda x, head, *rest: jnp.sum(loss(x, head, None, *rest)), argnums=(0, 1))
        return jax.jit(summed).lower(x, head, targets, weights).compile()

    parts = compiled(lambda *of: chunked_losses(*of, None, chunks))
    at_once = compiled(lambda *of: whole(*of, None))
    all_logits = 4 * tokens * vocab
    assert at_once.memory_analysis().temp_size_in_bytes >= all_logits
    assert parts.memory_analysis().temp_size_in_bytes < all_logits / 2  # two buffers of a part's logits are a quarter
    holds = re.compile(rf"f32\[({tokens},{vocab}|{vocab},{tokens})\]")
    assert holds.search(at_once.as_text()) and not holds.search(parts.as_text())


def test_the_gap_of_smoothing_needs_no_logits(given):
    x, head, targets = given
    expected = mean_logit_gaps(unembed(x, head) + BIAS, targets)
    np.testing.assert_allclose(gaps_of_states(x, head, BIAS, targets), expected, atol=1e-5)  # float32 sums of order 10


def test_as_few_parts_as_hold_no_more_logits_than_allowed():
    assert chunks_of(1024, LOGITS_AT_ONCE // 1024) == 1
    assert chunks_of(1025, LOGITS_AT_ONCE // 1024) == 2
    assert chunks_of(32 * 1024, 50_304) == 7
