from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scaling.config import SkipGram, Word2VecConfig
from scaling.models import word2vec

MODEL = Word2VecConfig(vocab=11, dim=6)
NOISE = np.arange(1, 12, dtype=np.float32) / 66

draw_all = jax.jit(jax.vmap(word2vec._draw, in_axes=(None, 0, None, None)), static_argnums=(0, 2))


@partial(jax.jit, static_argnums=(0, 1))
def jitted(model, objective, params, tokens, keys):
    """Nats, pairs, and the gradient of all nats."""

    def total(params):
        nats, pairs = word2vec.losses(model, objective, params, tokens, keys, jnp.asarray(NOISE))
        return nats.sum(), (nats, pairs)

    (_, (nats, pairs)), gradient = jax.value_and_grad(total, has_aux=True)(params)
    return nats, pairs, gradient


@pytest.fixture(scope="module")
def params():
    keys = jax.random.split(jax.random.key(0))
    return {name: jax.random.normal(key, (11, 6)) for name, key in zip(("embedding", "neighbours"), keys, strict=True)}


def keys(rows, seed=0):
    return jax.random.split(jax.random.key(seed), rows)


def literal(objective, params, tokens, keys):
    """Equation 4, pair by pair, in float64, with the draws that the key makes; and its gradient."""
    centres, others = (np.asarray(params[name], np.float64) for name in ("embedding", "neighbours"))
    reach, noise = (np.asarray(drawn[0]) for drawn in draw_all(objective, keys, len(tokens), NOISE))
    share = objective.negatives / len(noise)
    nats, pairs, gradient = 0.0, 0, {"embedding": np.zeros_like(centres), "neighbours": np.zeros_like(others)}

    def add(centre, other, sign, weight):
        nonlocal nats
        score = sign * centres[centre] @ others[other]
        nats += weight * np.log1p(np.exp(-score))
        slope = -sign * weight / (1 + np.exp(score))
        gradient["embedding"][centre] += slope * others[other]
        gradient["neighbours"][other] += slope * centres[centre]

    for t, centre in enumerate(tokens):
        for s in range(max(0, t - reach[t]), min(len(tokens), t + reach[t] + 1)):
            if s != t:
                pairs += 1
                add(centre, tokens[s], 1, 1.0)
                for drawn in noise:
                    add(centre, drawn, -1, share)
    return nats, pairs, gradient


@pytest.mark.parametrize("text", [3, 70])  # less than a block, and two whole ones and a bit
def test_losses_and_gradients_are_those_of_equation_4(params, text):
    objective = SkipGram(window=4, negatives=3)
    tokens = np.random.default_rng(text).integers(0, 11, (1, text))
    nats, pairs, gradient = literal(objective, params, tokens[0], keys(1))
    found_nats, found_pairs, found = jitted(MODEL, objective, params, tokens, keys(1))
    assert found_pairs.tolist() == [pairs]
    # float32 sums of some hundred terms of order one.
    np.testing.assert_allclose(found_nats, [nats], rtol=1e-5)
    for name, expected in gradient.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_sequence_of_one_token_has_no_pair(params):
    nats, pairs, _ = jitted(MODEL, SkipGram(), params, np.array([[3]]), keys(1))
    assert nats.tolist() == pairs.tolist() == [0]


def test_nearer_neighbours_are_met_more_often():
    objective = SkipGram(window=5)
    reach = np.asarray(draw_all(objective, keys(1), 100_000, NOISE)[0][0])
    # Uniform on 1 .. 5; a share of 1/5 among 100,000 draws has a standard error of 0.0013.
    np.testing.assert_allclose(np.bincount(reach, minlength=7)[1:] / 1e5, [0.2] * 5 + [0], atol=0.006)


def test_negatives_are_drawn_as_often_as_the_noise_says():
    drawn = np.asarray(draw_all(SkipGram(), keys(2000), 1, NOISE)[1]).reshape(-1)
    # 128,000 draws: the standard error of a share is at most 0.001.
    np.testing.assert_allclose(np.bincount(drawn, minlength=11) / drawn.size, NOISE, atol=0.005)


def test_more_negatives_than_draws_make_more_draws():
    assert draw_all(SkipGram(negatives=100), keys(3), 4, NOISE)[1].shape == (3, 100)


def test_sequences_do_not_depend_on_each_other(params):
    tokens = jax.random.randint(jax.random.key(1), (4, 40), 0, 11)
    whole = jitted(MODEL, SkipGram(), params, tokens, keys(4))
    half = jitted(MODEL, SkipGram(), params, tokens[2:], keys(4)[2:])
    for both, one in zip(whole[:2], half[:2], strict=True):
        np.testing.assert_allclose(both[2:], one, rtol=1e-6)  # float32


def test_an_initialisation_is_that_of_the_original_and_a_function_of_its_seed():
    model = Word2VecConfig(vocab=500, dim=20)
    first, again, other = (word2vec.init(model, seed) for seed in (1, jax.random.key(1), 2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert np.abs(first["embedding"] - other["embedding"]).max() > 0
    assert not first["neighbours"].any()
    assert np.abs(first["embedding"]).max() <= 0.5 / 20
    # The standard deviation of a uniform width of 1/20; 10,000 draws know it to 0.5%.
    assert float(first["embedding"].std()) == pytest.approx(12**-0.5 / 20, rel=0.03)


def train(objective, model, tokens, noise, steps, lr):
    """Parameters after Adam on one text with fresh draws each step."""
    params = word2vec.init(model, 0)
    tokens = jnp.asarray(tokens)

    def mean(params, key):
        nats, pairs = word2vec.losses(model, objective, params, tokens, jax.random.split(key, len(tokens)), noise)
        return nats.sum() / pairs.sum()

    optimizer = optax.adam(optax.cosine_decay_schedule(lr, steps))

    def step(carry, key):
        params, moments = carry
        updates, moments = optimizer.update(jax.grad(mean)(params, key), moments)
        return (optax.apply_updates(params, updates), moments), None

    run = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys)[0][0])
    return run((params, optimizer.init(params)), jax.random.split(jax.random.key(1), steps))


@pytest.mark.slow
def test_the_optimum_is_the_shifted_pointwise_mutual_information():
    """Levy & Goldberg 2014, equation 9: u_o . v_c = log(#(c, o) / (#c p(o))) - log k, with p the noise."""
    vocab, window, negatives = 5, 3, 2
    draw = np.random.default_rng(0)
    transitions = draw.dirichlet(np.full(vocab, 1.5), size=vocab)
    tokens = np.zeros((32, 64), np.int64)
    for t in range(1, 64):
        tokens[:, t] = [draw.choice(vocab, p=transitions[before]) for before in tokens[:, t - 1]]
    noise = np.bincount(tokens.reshape(-1), minlength=vocab) ** 0.75
    noise = (noise / noise.sum()).astype(np.float32)

    pairs = np.zeros((vocab, vocab))
    for distance in range(1, window + 1):
        share = (window - distance + 1) / window  # of the reaches that reach so far
        np.add.at(pairs, (tokens[:, :-distance], tokens[:, distance:]), share)
        np.add.at(pairs, (tokens[:, distance:], tokens[:, :-distance]), share)
    expected = np.log(pairs / (pairs.sum(axis=1, keepdims=True) * noise)) - np.log(negatives)

    model = Word2VecConfig(vocab=vocab, dim=8)
    params = train(SkipGram(window=window, negatives=negatives), model, tokens, jnp.asarray(noise), 600, 0.05)
    found = np.asarray(params["embedding"] @ params["neighbours"].T)
    # What the random draws leave; on texts of other seeds it was 0.013 at most.
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_tokens_in_the_same_contexts_get_similar_vectors():
    """0 and 1 stand between 4 and 5; 2 and 3 between 6 and 7."""
    draw = np.random.default_rng(0)
    pair = draw.integers(0, 2, (16, 32))
    middle = draw.integers(0, 2, (16, 32)) + 2 * pair
    tokens = np.stack([4 + 2 * pair, middle, 5 + 2 * pair], axis=-1).reshape(16, 96)
    noise = np.bincount(tokens.reshape(-1)) ** 0.75
    noise = jnp.asarray(noise / noise.sum(), jnp.float32)
    vectors = train(SkipGram(window=1), Word2VecConfig(vocab=8, dim=8), tokens, noise, 200, 0.05)["embedding"]
    unit = vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    cosines = np.asarray(unit @ unit.T)
    assert min(cosines[0, 1], cosines[2, 3]) > 0.9
    assert cosines[:2, 2:4].max() < 0.5
