import jax.numpy as jnp
import numpy as np

from scaling.objectives.next_token import next_token


def test_each_place_predicts_the_token_after_it():
    found = next_token(jnp.array([[3, 1, 4, 1], [5, 9, 2, 6]]))
    np.testing.assert_array_equal(found.inputs.tokens_BT, [[3, 1, 4], [5, 9, 2]])
    np.testing.assert_array_equal(found.targets_BK, [[1, 4, 1], [9, 2, 6]])
    np.testing.assert_array_equal(found.places_BK, [[0, 1, 2]] * 2)
    assert found.weights_BK.dtype == jnp.float32 and (found.weights_BK == 1).all()
    assert all(field is None for field in found.inputs[1:]) and found.next_B is None
