import jax.numpy as jnp
import numpy as np

from scaling.models.inputs import PADDING
from scaling.objectives.layout import Pair, arranged

FULL = Pair(jnp.array([[1, 2, 3]]), jnp.array([[4, 5]]))
# The same text at both lengths: 0 fills.
PADDED = Pair(jnp.array([[1, 2, 0], [1, 2, 3]]), jnp.array([[4, 5], [4, 0]]), jnp.array([2, 3]), jnp.array([2, 1]))


def test_the_decoder_begins_with_a_start_token():
    found = arranged("encoder_decoder", FULL, positions=2, start=9)
    assert found.inputs.source_BS.tolist() == [[1, 2, 3]]
    assert found.inputs.tokens_BT.tolist() == [[9, 4]]
    assert found.places_BK.tolist() == [[0, 1]]
    assert found.weights_BK.tolist() == [[1, 1]]
    assert found.inputs.source_documents_BS is None and found.inputs.prefix_B is None


def test_the_encoder_is_told_of_padding():
    found = arranged("encoder_decoder", PADDED, positions=2, start=9)
    assert found.inputs.source_documents_BS.tolist() == [[0, 0, PADDING], [0, 0, 0]]
    assert found.inputs.tokens_BT.tolist() == [[9, 4], [9, 4]]
    assert found.weights_BK.tolist() == [[1, 1], [1, 0]]


def test_one_sequence_holds_source_and_target():
    for architecture, prefix in (("decoder", None), ("prefix", [3])):
        found = arranged(architecture, FULL, positions=4, start=9)
        assert found.inputs.tokens_BT.tolist() == [[1, 2, 3, 4]]
        assert found.places_BK.tolist() == [[2, 3]]
        assert found.inputs.source_BS is None and found.inputs.documents_BT is None
        assert prefix == (None if found.inputs.prefix_B is None else found.inputs.prefix_B.tolist())


def test_a_padded_source_leaves_no_gap_before_the_target():
    found = arranged("prefix", PADDED, positions=4, start=9)
    assert found.inputs.tokens_BT[:, :3].tolist() == [[1, 2, 4], [1, 2, 3]]
    assert found.inputs.prefix_B.tolist() == [2, 3]
    assert found.places_BK[0].tolist() == [1, 2] and found.places_BK[1, 0] == 2
    np.testing.assert_array_equal(found.weights_BK, [[1, 1], [1, 0]])


def test_places_of_fillers_stay_within_the_sequence():
    found = arranged("decoder", PADDED, positions=3, start=9)  # the longest of the two pairs, without its last token
    assert found.inputs.tokens_BT.tolist() == [[1, 2, 4], [1, 2, 3]]
    assert found.places_BK.tolist() == [[1, 2], [2, 2]]
