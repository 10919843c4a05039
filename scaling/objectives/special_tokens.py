"""Ids of the special tokens. They follow the ordinary ones; sentinels follow them."""

from typing import Literal

from jax import Array

from scaling.config import SPECIALS

Name = Literal["start", "end", "mask", "class", "separator", "regular", "extreme", "sequential"]


def special(ordinary: int, name: Name) -> int:
    """ordinary: number of ordinary tokens, which is the id of the first special one."""
    return ordinary + SPECIALS.index(name)


def sentinel(ordinary: int, index: int | Array) -> int | Array:
    """The token that stands for span number `index`, counted from 0."""
    return ordinary + len(SPECIALS) + index
