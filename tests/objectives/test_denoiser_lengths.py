import pytest
from scipy.stats import poisson

from scaling.config import Denoising, MixtureOfDenoisers, lengths
from scaling.config.lengths import Denoiser, denoising_source, infill_masks, noise_tokens, ul2_denoisers, ul2_lengths
from tests.objectives.made import model


def test_ul2s_denoisers_are_those_of_its_table():
    assert ul2_denoisers(512) == (
        Denoiser(77, 26, "regular", True),  # 15% of 512 is 76.8; spans of 3
        Denoiser(77, 10, "regular", True),  # of 8
        Denoiser(256, 85, "extreme", True),
        Denoiser(256, 32, "extreme", True),
        Denoiser(77, 1, "extreme", True),  # of 64
        Denoiser(256, 4, "extreme", True),
        Denoiser(128, 1, "sequential", False),
    )


def test_ul2s_lengths_are_its_longest():
    # Source: mode, 512 - 77 tokens, 26 sentinels, end. Target: 256 tokens, 85 sentinels, end.
    assert ul2_lengths(512) == (1 + 435 + 26 + 1, 256 + 85 + 1)
    # One sequence: all tokens, every sentinel twice, mode, two ends, without the last token.
    assert lengths(model("decoder", 1024), MixtureOfDenoisers(text=512)).positions == 512 + 2 * 85 + 3 - 1


def test_the_source_of_bart_counts_what_its_noise_leaves():
    for noise, expected in (("mask", 101), ("delete", 71), ("infill", 71 + infill_masks(100, 0.3, 3.0))):
        assert denoising_source(Denoising(noise=noise), 100) == expected


@pytest.mark.parametrize(("text", "rate", "mean"), [(2, 0.5, 3.0), (128, 0.3, 3.0), (512, 0.3, 3.0), (128, 0.3, 0.5)])
def test_infilling_hardly_ever_needs_more_masks_than_it_has_room_for(text, rate, mean):
    masks, noise = infill_masks(text, rate, mean), noise_tokens(text, rate)
    # All masks but the last hold a Poisson number of tokens together.
    assert poisson.cdf(noise - 1, mean * (masks - 1)) < 1 / 30_000
