import jax
import jax.numpy as jnp
import numpy as np

from scaling.config import ReplacedTokens
from scaling.config.lengths import noise_tokens
from scaling.objectives.example import Example
from scaling.objectives.replaced import replace
from scaling.objectives.special_tokens import special
from tests.objectives.made import ORDINARY, ROWS, SPECIALS, TEXT, assert_share, made, quick_jit

OBJECTIVE = ReplacedTokens(text=TEXT)
VOCAB = ORDINARY + SPECIALS
jitted_replace = quick_jit(replace)


def example():
    found = made("encoder", OBJECTIVE)
    text = np.pad(
        found.text_BT, ((0, 0), (1, 1)), constant_values=(special(ORDINARY, "class"), special(ORDINARY, "separator"))
    )
    return found, text


def replaced(logits_BKV):
    """With the keys of the example."""
    found, _ = example()
    fields = ("inputs", "targets_BK", "weights_BK", "places_BK")
    given = Example(**{name: getattr(found, name) for name in fields})
    return jax.tree.map(np.asarray, jitted_replace(given, logits_BKV, jax.random.split(jax.random.key(0), ROWS)))


def test_the_generator_sees_every_chosen_token_masked():
    found, text = example()
    assert found.targets_BK.shape == (ROWS, noise_tokens(TEXT, 0.15)) and (found.weights_BK == 1).all()
    expected = text.copy()
    np.put_along_axis(expected, found.places_BK, special(ORDINARY, "mask"), axis=1)
    np.testing.assert_array_equal(found.inputs.tokens_BT, expected)


def test_a_generator_that_is_right_replaces_nothing():
    found, text = example()
    inputs, labels, weights = replaced(100.0 * jax.nn.one_hot(found.targets_BK, VOCAB))
    np.testing.assert_array_equal(inputs.tokens_BT, text)
    assert not labels.any() and (weights[:, 1:-1] == 1).all() and not weights[:, [0, -1]].any()
    assert weights[0].sum() == found.lengths.predicted


def test_a_wrong_token_is_labelled_where_it_stands_and_only_there():
    found, text = example()
    wrong = (found.targets_BK + 1) % ORDINARY
    inputs, labels, _ = replaced(100.0 * jax.nn.one_hot(wrong, VOCAB))
    expected = np.zeros_like(labels)
    np.put_along_axis(expected, found.places_BK, 1, axis=1)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(np.take_along_axis(inputs.tokens_BT, found.places_BK, axis=1), wrong)
    np.testing.assert_array_equal(np.where(labels == 1, text, inputs.tokens_BT), text)


def test_a_generator_in_doubt_is_right_by_chance():
    found, text = example()
    # Three quarters on the true token, a quarter on the next.
    right, next_token = (jax.nn.one_hot(tokens, VOCAB) for tokens in (found.targets_BK, found.targets_BK + 1))
    logits = jnp.log(0.75 * right + 0.25 * next_token)
    inputs, labels, _ = replaced(logits)
    assert_share(labels.sum() / found.targets_BK.size, 0.25, found.targets_BK.size)
    np.testing.assert_array_equal(labels == 1, inputs.tokens_BT != text)
