import jax
import numpy as np

from scaling.config import Completion, lengths
from scaling.models.inputs import PADDING
from scaling.objectives.build import example
from tests.objectives.made import ORDINARY, SPECIALS, model

START = ORDINARY  # the first special token


def made(window, objective):
    keys = jax.random.split(jax.random.key(0), len(window))
    return example(model("encoder_decoder", context=32), objective, SPECIALS, np.array(window, np.int32), keys)


def test_the_encoder_reads_the_prompt_and_the_decoder_predicts_the_completion():
    found = made([[5, 6, 9, -1, 7, 8, 9, -1, -1, -1], [9, -1, -1, -1, 1, 2, 3, 4, 9, -1]], Completion(text=9, prompt=4))
    assert found.inputs.source_BS.tolist() == [[5, 6, 9, 0], [9, 0, 0, 0]]
    assert found.inputs.source_documents_BS.tolist() == [[0, 0, 0, PADDING], [0, PADDING, PADDING, PADDING]]
    assert found.inputs.tokens_BT.tolist() == [[START, 7, 8, 9, 0], [START, 1, 2, 3, 4]]
    assert found.targets_BK.tolist() == [[7, 8, 9, 0, 0], [1, 2, 3, 4, 9]]
    assert found.weights_BK.tolist() == [[1, 1, 1, 0, 0], [1] * 5]


def test_a_shorter_window_is_cut_in_the_same_proportion():
    for objective in (Completion(text=48, prompt=32, shapes=3), Completion(prompt=16, shapes=3)):
        longest = lengths(model("encoder_decoder", context=32), objective)
        for shape in range(3):
            source, target = longest.source >> shape, longest.positions >> shape
            found = made(np.full((2, source + target + 1), 5), objective)
            assert found.inputs.source_BS.shape == (2, source)
            assert found.targets_BK.shape == found.inputs.tokens_BT.shape == (2, target)
