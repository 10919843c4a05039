import pytest

from scaling.config import Completion, Denoising, Masked, Prefix, ReplacedTokens, SkipGram, SpanCorruption


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prefix(prefix=0), "Prefix.prefix=0: must be positive"),
        (lambda: Completion(shapes=0), "Completion.shapes=0: must be positive"),
        (lambda: Completion(shapes=9), "Completion.shapes=9: must be at most 8: each is compiled by itself"),
        (lambda: Masked(rate=1.0), "Masked.rate=1.0: must lie between 0 and 1"),
        (lambda: Masked(mask_share=0.8, random_share=0.3), "mask_share=0.8 . random_share=0.3: must not exceed 1"),
        (lambda: Masked(random_share=-0.1), r"random_share=-0.1: must be in \[0, 1\]"),
        (lambda: SpanCorruption(mean_span=0.5), "mean_span=0.5: must be at least 1"),
        (lambda: Denoising(mean_span=0.0), "mean_span=0.0: must be positive"),
        (lambda: ReplacedTokens(generator_share=0.0), r"generator_share=0.0: must lie in \(0, 1\]"),
        (lambda: ReplacedTokens(detection_weight=0.0), "detection_weight=0.0: must be positive"),
        (lambda: SkipGram(negatives=0), "negatives=0: must be positive"),
    ],
)
def test_an_impossible_objective_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
