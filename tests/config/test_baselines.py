import pytest

from scaling.config import NgramConfig, RecurrentConfig, Word2VecConfig


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecurrentConfig(vocab=9, dim=0, layers=1), "RecurrentConfig.dim=0: must be positive"),
        (
            lambda: RecurrentConfig(vocab=9, dim=7, layers=1, architecture="encoder_decoder"),
            "dim=7 with an encoder: the encoder reads in both directions",
        ),
        (lambda: NgramConfig(vocab=9, order=0), "NgramConfig.order=0: must be positive"),
        (lambda: NgramConfig(vocab=9, pseudocounts=0.0), "NgramConfig.pseudocounts=0.0: must be positive"),
        (lambda: NgramConfig(vocab=9, order=2, rows=4), "NgramConfig.rows=4 with order=2, pseudocounts=None: rows are"),
        (lambda: NgramConfig(vocab=9, order=3, pseudocounts=1.0, rows=4), "NgramConfig.rows=4 with order=3"),
        (lambda: NgramConfig(vocab=9, order=2, pseudocounts=1.0, rows=0), "NgramConfig.rows=0: must be positive"),
        (lambda: Word2VecConfig(vocab=9, dim=-1), "Word2VecConfig.dim=-1: must be positive"),
    ],
)
def test_an_impossible_baseline_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
