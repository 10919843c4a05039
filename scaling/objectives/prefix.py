"""The rest of a text from its beginning (Liu et al. 2018, arXiv:1801.10198; Raffel et al. 2020, section 3.2.1)."""

from jax import Array

from scaling.config import Prefix
from scaling.config.lengths import prefix_tokens
from scaling.objectives.layout import Pair


def prefix(objective: Prefix, window_BW: Array) -> Pair:
    """The windows cut in two, for each (B, W), W one more than the tokens of text.

    The token after the text is predicted too, as in next_token: so a prefix
    model and a decoder read as many tokens, and no end is marked.
    """
    length = prefix_tokens(objective, window_BW.shape[1] - 1)
    return Pair(window_BW[:, :length], window_BW[:, length:])
