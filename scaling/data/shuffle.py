"""A pseudo-random order of n things that needs no memory of what came before.

Any host computes any part of the order by itself.
"""

import hashlib
from functools import lru_cache, partial

import numpy as np

ROUNDS = 8
BLOCK = 1024  # places computed at once: numpy's cost per call is shared by as many
# Of no dimension: numpy takes them half a microsecond sooner than numbers, and small orders are little else.
_SHIFTS = tuple(np.array(bits, np.uint64) for bits in (30, 27, 31))
_FACTORS = tuple(np.array(factor, np.uint64) for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def shuffled(places: np.ndarray, n: int, *, seed: int) -> np.ndarray:
    """What stands at `places` (int, from 0, without end) of 0 .. n-1, shuffled anew for every epoch of n places."""
    epochs, inner = np.divmod(np.asarray(places, np.int64), n)
    blocks, offsets = np.divmod(inner, BLOCK)
    chosen = np.empty_like(inner)
    for epoch, block in set(zip(epochs.tolist(), blocks.tolist(), strict=True)):
        here = (epochs == epoch) & (blocks == block)
        chosen[here] = _block(n, seed, epoch, block).at(offsets[here])
    return chosen


def permuted(positions: np.ndarray, n: int, *, seed: int, epoch: int) -> np.ndarray:
    """What stands at `positions` (each in 0 .. n-1) of one epoch's order, a permutation of 0 .. n-1.

    A Feistel network (Luby & Rackoff 1988) on the pairs (row, column) of a
    table of at least n cells. A result beyond n-1 is put through again until
    it falls inside (cycle walking, Black & Rogaway 2002); the table has at
    most sqrt(n) cells too many, so this is rare.
    """
    rows = max(1, int(np.ceil(np.sqrt(n))))
    columns = -(-n // rows)
    keys = _keys(seed, epoch)
    cells = _feistel(np.asarray(positions, np.uint64), rows, columns, keys)
    while (outside := cells >= n).any():
        cells[outside] = _feistel(cells[outside], rows, columns, keys)
    return cells.astype(np.int64)


def _feistel(cells: np.ndarray, rows: int, columns: int, keys: np.ndarray) -> np.ndarray:
    rows, columns = np.array(rows, np.uint64), np.array(columns, np.uint64)
    row, column = np.divmod(cells, columns)
    for even, odd in keys.reshape(-1, 2):
        row += _mixed(column ^ even) % rows
        row %= rows
        column += _mixed(row ^ odd) % columns
        column %= columns
    return row * columns + column


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea & Flood 2014), in place: every bit depends on every other."""
    values ^= values >> _SHIFTS[0]
    values *= _FACTORS[0]
    values ^= values >> _SHIFTS[1]
    values *= _FACTORS[1]
    values ^= values >> _SHIFTS[2]
    return values


class _Block:
    """So many places of an epoch. They are computed together when a second call shows that they are read in turn."""

    def __init__(self, n: int, seed: int, epoch: int, block: int) -> None:
        self._start, self._stop = block * BLOCK, min((block + 1) * BLOCK, n)
        self._permuted = partial(permuted, n=n, seed=seed, epoch=epoch)
        self._whole: np.ndarray | None = None
        self._asked = False

    def at(self, offsets: np.ndarray) -> np.ndarray:
        """What stands at places of the block, counted from its beginning."""
        if not self._asked:
            self._asked = True
            return self._permuted(self._start + offsets)
        if self._whole is None:
            self._whole = self._permuted(np.arange(self._start, self._stop))
        return self._whole[offsets]


_block = lru_cache(maxsize=64)(_Block)


@lru_cache(maxsize=64)
def _keys(seed: int, epoch: int) -> np.ndarray:
    digest = hashlib.blake2b(f"{seed}:{epoch}".encode(), digest_size=8 * ROUNDS).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)
