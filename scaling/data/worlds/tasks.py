"""Copying, retrieval and arithmetic: lines whose end follows from their beginning.

Letters: B lines of a document, n characters or pairs of a line.
"""

import math
import re

import numpy as np

from scaling.config.worlds import ArithmeticWorld, CopyingWorld, RetrievalWorld
from scaling.data.worlds.draw import integers, uniforms


def copying(world: CopyingWorld, index: int) -> str:
    letters = integers(f"copying document {index}", world.seed, world.symbols, world.lines * world.length) + ord("a")
    rows_Bn = letters.reshape(world.lines, world.length)
    words = [bytes(row).decode() for row in rows_Bn.astype(np.uint8)]
    return "".join(f"{word}>{word}\n" for word in words)


def retrieval(world: RetrievalWorld, index: int) -> str:
    name, shape = f"retrieval document {index}", (world.lines, world.pairs)
    # The smallest of some random numbers are a choice without replacement.
    places = uniforms(f"{name} keys", world.seed, world.lines * world.keys).reshape(world.lines, world.keys)
    keys_Bn = np.argsort(places, axis=1, kind="stable")[:, : world.pairs]
    values_Bn = integers(f"{name} values", world.seed, world.values, world.lines * world.pairs).reshape(shape)
    asked_B = integers(f"{name} asked", world.seed, world.pairs, world.lines)
    lines = []
    for keys, values, asked in zip(keys_Bn.tolist(), values_Bn.tolist(), asked_B.tolist(), strict=True):
        pairs = [f"{chr(ord('A') + key)}{value}" for key, value in zip(keys, values, strict=True)]
        lines.append(f"{''.join(pairs)}?{pairs[asked]}\n")
    return "".join(lines)


def arithmetic(world: ArithmeticWorld, index: int) -> str:
    below, wide = 10**world.digits, world.digits
    first, second = integers(f"arithmetic document {index}", world.seed, below, 2 * world.lines).reshape(2, -1).tolist()
    return "".join(f"{a:0{wide}}+{b:0{wide}}={a + b:0{wide + 1}}\n" for a, b in zip(first, second, strict=True))


def right(world: CopyingWorld | RetrievalWorld | ArithmeticWorld, line: str) -> bool:
    """Whether the end of a line, itself without a line end, is what its beginning asks for, and all is of the form."""
    match world:
        case CopyingWorld():
            word = f"[{_letters('a', world.symbols)}]{{{world.length}}}"
            return re.fullmatch(f"({word})>\\1", line) is not None
        case RetrievalWorld():
            pair = f"[{_letters('A', world.keys)}][{_letters('0', world.values)}]"
            found = re.fullmatch(f"((?:{pair}){{{world.pairs}}})\\?({pair})", line)
            pairs = re.findall("..", found[1]) if found else []
            return len({key for key, _ in pairs}) == world.pairs and found[2] in pairs
        case ArithmeticWorld():
            number = f"([0-9]{{{world.digits}}})"
            found = re.fullmatch(f"{number}\\+{number}=([0-9]{{{world.digits + 1}}})", line)
            return found is not None and int(found[1]) + int(found[2]) == int(found[3])


def _letters(first: str, count: int) -> str:
    """A range of a regular expression."""
    return f"{first}-{chr(ord(first) + count - 1)}"


def choices(world: CopyingWorld | RetrievalWorld | ArithmeticWorld) -> float:
    """Nats of a line: of its random part, for the rest follows from it."""
    match world:
        case CopyingWorld():
            return world.length * math.log(world.symbols)
        case RetrievalWorld():
            keys = math.lgamma(world.keys + 1) - math.lgamma(world.keys - world.pairs + 1)
            return keys + world.pairs * math.log(world.values) + math.log(world.pairs)
        case ArithmeticWorld():
            return 2 * world.digits * math.log(10)


def line_length(world: CopyingWorld | RetrievalWorld | ArithmeticWorld) -> int:
    """Characters of a line, its end included."""
    match world:
        case CopyingWorld():
            return 2 * world.length + 2
        case RetrievalWorld():
            return 2 * world.pairs + 4
        case ArithmeticWorld():
            return 3 * world.digits + 4
