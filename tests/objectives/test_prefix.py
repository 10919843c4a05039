import jax.numpy as jnp
import pytest

from scaling.config import Prefix
from scaling.objectives.prefix import prefix


@pytest.mark.parametrize(("given", "length"), [(None, 2), (1, 1), (3, 3)])
def test_the_window_is_cut_in_two_behind_the_prefix(given, length):
    pair = prefix(Prefix(prefix=given), jnp.array([[3, 1, 4, 1, 5]]))
    assert pair.source_BS.tolist() == [[3, 1, 4, 1, 5][:length]]
    assert pair.target_BK.tolist() == [[3, 1, 4, 1, 5][length:]]
    assert pair.source_length_B is None and pair.target_length_B is None
