from typing import get_args

from scaling.config import SPECIALS
from scaling.objectives.special_tokens import Name, sentinel, special


def test_special_tokens_follow_the_ordinary_ones_and_sentinels_follow_them():
    ids = [special(300, name) for name in SPECIALS] + [sentinel(300, index) for index in range(3)]
    assert ids == list(range(300, 300 + len(SPECIALS) + 3))


def test_every_special_token_can_be_named():
    assert get_args(Name) == SPECIALS
