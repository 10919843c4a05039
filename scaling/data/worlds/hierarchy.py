"""The random hierarchy model (Cagnetta et al. 2024, arXiv:2307.02129): sentences with one derivation each.

Letters: L levels, v symbols, m rules of a symbol, s symbols that a rule gives,
B sentences.
"""

from functools import lru_cache

import numpy as np

from scaling.config.worlds import HierarchyWorld
from scaling.data.worlds.draw import integers, order

FIRST_SYMBOL = ord("a")


@lru_cache(maxsize=8)
def grammar(world: HierarchyWorld) -> np.ndarray:
    """(L, v, m, s) int64: what each rule of each symbol gives, the first level the top one.

    At each level the v m strings are drawn from all v^s without replacement.
    """
    every = world.symbols**world.branching
    taken = world.symbols * world.rules
    rules = []
    for level in range(world.depth):
        numbers = order(f"hierarchy rules {level}", world.seed, every)[:taken]
        digits = [numbers // world.symbols**place % world.symbols for place in range(world.branching)]
        rules.append(np.stack(digits, axis=1).reshape(world.symbols, world.rules, world.branching))
    return np.stack(rules)


def text(world: HierarchyWorld, index: int) -> str:
    """A document: a sentence a line."""
    name = f"hierarchy document {index}"
    symbols = integers(f"{name} top", world.seed, world.symbols, world.sentences)[:, None]
    for level, rules in enumerate(grammar(world)):
        chosen = integers(f"{name} level {level}", world.seed, world.rules, symbols.size).reshape(symbols.shape)
        symbols = rules[symbols, chosen].reshape(world.sentences, -1)
    lines = np.pad(symbols + FIRST_SYMBOL, ((0, 0), (0, 1)), constant_values=ord("\n"))
    return lines.astype(np.uint8).tobytes().decode()


def parses(world: HierarchyWorld, sentence: str) -> bool:
    """Whether a sentence belongs to the world: read back level by level, from the characters to one symbol."""
    symbols = np.array([ord(letter) - FIRST_SYMBOL for letter in sentence])
    if len(symbols) != world.branching**world.depth:
        return False
    for rules in reversed(grammar(world)):
        strings = {tuple(string): top for top, of_top in enumerate(rules.tolist()) for string in map(tuple, of_top)}
        found = [strings.get(tuple(part)) for part in symbols.reshape(-1, world.branching).tolist()]
        if None in found:
            return False
        symbols = np.array(found)
    return True


def choices(world: HierarchyWorld) -> float:
    """Nats of a sentence: the top symbol, and a rule for every symbol above the characters."""
    inner = (world.branching**world.depth - 1) // (world.branching - 1)
    return float(np.log(world.symbols) + inner * np.log(world.rules))


def sample_complexity(world: HierarchyWorld) -> int:
    """v m^L: sentences with labels from which a deep network learns their top symbol (their equation 5, n_c = v)."""
    return world.symbols * world.rules**world.depth
