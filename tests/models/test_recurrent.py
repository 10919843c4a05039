from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import RecurrentConfig
from scaling.models import recurrent
from scaling.models.inputs import PADDING, Inputs

DECODER = RecurrentConfig(vocab=11, dim=6, layers=2, context=8)
TRANSLATOR = replace(DECODER, architecture="encoder_decoder")
CELLS = ["rnn", "lstm"]


@partial(jax.jit, static_argnums=0)
def jitted(model, params, inputs):
    return recurrent.states(model, params, inputs).x_BTD


def tokens(rows, length, seed=0):
    return jax.random.randint(jax.random.key(seed), (rows, length), 0, 11)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(cell, weights, x, h, c):
    """One cell, one sequence, float64."""
    z = x @ weights["input"]["kernel"] + h @ weights["state"]["kernel"] + weights["input"]["bias"]
    if cell == "rnn":
        return np.tanh(z), c
    i, f, g, o = np.split(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def layer(cell, weights, inputs):
    h = c = np.zeros(len(weights["state"]["kernel"]))
    found = []
    for x in inputs:
        h, c = step(cell, weights, x, h, c)
        found.append(h)
    return np.array(found)


def literal_decoder(model, params, row):
    x = params["embedding"][np.asarray(row)]
    for index in range(model.layers):
        x = layer(model.cell, params["decoder"][str(index)], x)
    return x


def literal_translator(model, params, row, source):
    """Bahdanau et al. 2015, appendix A, for one sequence whose source has no padding."""
    x = params["embedding"][np.asarray(source)]
    for index in range(model.layers):
        cells = params["encoder"][str(index)]
        backward = layer(model.cell, cells["backward"], x[::-1])[::-1]
        x = np.concatenate([layer(model.cell, cells["forward"], x), backward], axis=1)
    attention, found = params["attention"], []
    h, c = np.tanh(backward[0] @ params["start"]["kernel"]), np.zeros(model.dim)
    contexts, embedded = [], params["embedding"][np.asarray(row)]
    for token in embedded:
        hidden = np.tanh(h @ attention["query"]["kernel"] + x @ attention["key"]["kernel"])
        weights = np.exp(hidden @ attention["score"])
        contexts.append(weights @ x / weights.sum())
        h, c = step(model.cell, params["decoder"]["0"], np.concatenate([token, contexts[-1]]), h, c)
        found.append(h)
    top = np.array(found)
    for index in range(1, model.layers):
        top = layer(model.cell, params["decoder"][str(index)], top)
    return np.concatenate([top, embedded, contexts], axis=1) @ params["combine"]["kernel"]


def double(params):
    """In float64, and with larger weights than a fresh model's, so that nothing is nearly linear."""
    return jax.tree.map(lambda p: np.asarray(p, np.float64), params)


def lively(model):
    return jax.tree.map(lambda p: 2 * p, recurrent.init(model, 0))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("vocab", [11, 400])  # fewer and more than half of the 40 tokens: see `_first_layer`
def test_a_decoder_is_its_equations(cell, vocab):
    model = replace(DECODER, cell=cell, vocab=vocab)
    params, rows = lively(model), tokens(5, 8)
    expected = [literal_decoder(model, double(params), row) for row in rows]
    np.testing.assert_allclose(jitted(model, params, Inputs(rows)), expected, atol=1e-5)  # float32, states below one


@pytest.mark.parametrize("cell", ["lstm", pytest.param("rnn", marks=pytest.mark.slow)])
def test_a_translator_is_the_paper_s_and_skips_padding_wherever_it_is(cell):
    model = replace(TRANSLATOR, cell=cell)
    params, rows, sources = lively(model), tokens(4, 5), tokens(4, 7, seed=1)
    texts = np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 0], [1, 0, 1, 1, 0, 0, 1]], bool)
    found = jitted(model, params, Inputs(rows, source_BS=sources, source_documents_BS=np.where(texts, 0, PADDING)))
    expected = [
        literal_translator(model, double(params), row, source[text])
        for row, source, text in zip(np.asarray(rows), np.asarray(sources), texts, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # float32, sums of 18 terms of order one


def test_a_source_without_padding_needs_no_documents():
    params, rows, sources = lively(TRANSLATOR), tokens(4, 5), tokens(4, 7, seed=1)
    without, zeros = (
        jitted(TRANSLATOR, params, Inputs(rows, source_BS=sources, source_documents_BS=documents))
        for documents in (None, jnp.zeros((4, 7), jnp.int32))
    )
    np.testing.assert_allclose(without, zeros, rtol=1e-5, atol=1e-6)  # float32


@pytest.mark.parametrize("model", [DECODER, TRANSLATOR], ids=["decoder", "translator"])
def test_the_future_does_not_change_a_state(model):
    params, rows, sources = lively(model), tokens(5, 8), tokens(5, 8, seed=1)
    changed = rows.at[:, 4:].set((rows[:, 4:] + 1) % 11)
    before, after = (jitted(model, params, Inputs(x, source_BS=sources)) for x in (rows, changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before[:, 4:] - after[:, 4:]).max(axis=2) > 1e-4).all()


@pytest.mark.parametrize("cell", CELLS)
def test_other_documents_do_not_change_a_state(cell):
    model = replace(DECODER, cell=cell)
    params, rows = lively(model), tokens(5, 8)
    documents = jnp.tile(jnp.array([0, 0, 0, 1, 1, 1, 1, 2]), (5, 1))
    whole = jitted(model, params, Inputs(rows, documents_BT=documents))
    for first, last in ((0, 3), (3, 7), (7, 8)):
        alone = [literal_decoder(model, double(params), row[first:last]) for row in rows]
        np.testing.assert_allclose(whole[:, first:last], alone, atol=1e-5)  # float32


def test_the_first_target_document_begins_with_the_source():
    params, rows, sources = lively(TRANSLATOR), tokens(4, 5), tokens(4, 7, seed=1)
    documents = jnp.tile(jnp.array([0, 0, 1, 1, 1]), (4, 1))
    parted, whole = (
        jitted(TRANSLATOR, params, Inputs(rows, documents_BT=given, source_BS=sources)) for given in (documents, None)
    )
    np.testing.assert_allclose(parted[:, :2], whole[:, :2], rtol=1e-5, atol=1e-6)  # float32
    assert (np.abs(parted[:, 2:] - whole[:, 2:]).max(axis=2) > 1e-4).all()


@pytest.mark.parametrize("model", [DECODER, TRANSLATOR], ids=["decoder", "translator"])
@pytest.mark.parametrize("cell", ["lstm", pytest.param("rnn", marks=pytest.mark.slow)])
def test_every_parameter_learns(model, cell):
    model = replace(model, cell=cell)
    params, inputs = lively(model), Inputs(tokens(5, 8), source_BS=tokens(5, 8, seed=1))
    gradients = jax.jit(jax.grad(lambda params: jnp.sum(recurrent.states(model, params, inputs).x_BTD ** 2)))(params)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, path


def test_an_untied_head_is_a_matrix_of_its_own():
    assert "head" not in recurrent.init(DECODER, 0)
    assert recurrent.init(replace(DECODER, tied=False), 0)["head"].shape == (11, 6)


def test_an_initialisation_is_a_function_of_its_seed_alone():
    first, again, other = (recurrent.init(TRANSLATOR, seed) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    jax.tree.map(np.testing.assert_array_equal, first, recurrent.init(TRANSLATOR, jax.random.key(3)))
    assert np.abs(first["embedding"] - other["embedding"]).max() > 0


def test_initial_weights_have_the_stated_spread():
    model = RecurrentConfig(vocab=1000, dim=128, layers=1)
    params = recurrent.init(model, 0)
    cell = params["decoder"]["0"]
    for values, std in ((params["embedding"], recurrent.EMBEDDING_STD), (cell["input"]["kernel"], 128**-0.5)):
        # 65,536 draws or more: their standard deviation is known to 0.3%, so 2% is seven sigma.
        assert float(values.std()) == pytest.approx(std, rel=0.02)
    np.testing.assert_array_equal(cell["input"]["bias"], np.repeat([0, 1, 0, 0], 128))
