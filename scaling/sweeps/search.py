"""Points drawn from ranges of fields: at random, or spread evenly by a Sobol sequence."""

import itertools
import math
from collections.abc import Iterable, Mapping
from random import Random
from typing import Literal

from scaling.config.fields import frozen, strict
from scaling.sweeps.algebra import crossed
from scaling.sweeps.rows import Runs, Sweep

BITS = 30  # of a Sobol point's coordinates
MOST = 1 << 20  # points: nobody trains more
HUNDRED = 100  # parts of a share: weights that a person can read, and a short period of their order


@strict
@frozen
class Range:
    """Values from `low` to `high`, evenly by themselves or by their logarithms."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    whole: bool = False  # rounded to whole numbers, `low` and `high` among them, each as likely

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"Range(low={self.low}, high={self.high}): give finite numbers, low below high")
        if self.whole and math.ceil(self.low) > math.floor(self.high):
            raise ValueError(f"Range(low={self.low}, high={self.high}, whole=True): no whole number lies between")
        if self.scale not in ("linear", "log"):
            raise ValueError(f"Range.scale={self.scale!r}: give 'linear' or 'log'")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"Range(low={self.low}, scale='log'): a logarithm needs low above 0")

    def at(self, share: float) -> float | int:
        """The value at a share of the way, in [0, 1)."""
        low, high = (math.ceil(self.low) - 0.5, math.floor(self.high) + 0.5) if self.whole else (self.low, self.high)
        value = low * (high / low) ** share if self.scale == "log" else low + share * (high - low)
        return min(math.floor(self.high), max(math.ceil(self.low), round(value))) if self.whole else value


def random(runs: Runs, ranges: Mapping[str, Range], count: int, seed: int = 0) -> Sweep:
    """Every run at `count` points drawn independently; more points begin with the same ones.

    ranges: by the dotted path of a field.
    """
    _check("random", ranges, count)
    draw = Random(seed)  # its numbers are the same in every version of Python
    return _at(runs, ranges, ([draw.random() for _ in ranges] for _ in range(count)))


def simplex(parts: int, points: int, seed: int = 0, least: float = 0.0) -> list[tuple[float, ...]]:
    """Weights of `points` mixtures of so many parts: each part alone, then equal shares, then others spread evenly.

    For the axis "data.mixture.weights". The others are the gaps between sorted
    Sobol coordinates, even over all mixtures (Devroye 1986, Non-Uniform Random
    Variate Generation, chapter V, theorem 2.1). Shares are whole hundredths, and no
    mixture comes twice. least: share of every part, of which "alone" leaves the others as much.
    """
    floor = math.ceil(round(HUNDRED * least, 6))
    spare = HUNDRED - parts * floor
    most = math.comb(spare + parts - 1, parts - 1) if spare > 0 and parts > 1 else 0
    if floor < 0 or not 1 <= points <= most:
        raise ValueError(
            f"simplex(parts={parts}, points={points}, least={least:g}): {most} mixtures in hundredths have so much of "
            "each part; give at least 2 parts, a smaller least share or fewer points"
        )
    corners = [[spare * (part == corner) for part in range(parts)] for corner in range(parts)]
    equal = [(spare + part) // parts for part in range(parts)]
    cuts = (sorted(round(spare * share) for share in point) for point in _sobol_shares(parts - 1, 16 * points, seed))
    spread = ([end - start for start, end in itertools.pairwise([0, *inner, spare])] for inner in cuts)
    every = (tuple((floor + share) / HUNDRED for share in shares) for shares in (*corners, equal, *spread))
    found = list(dict.fromkeys(every))[:points]
    if len(found) < points:
        raise ValueError(f"simplex: points={points}, but only {len(found)} of {most} mixtures were met; give fewer")
    return found


def sobol(runs: Runs, ranges: Mapping[str, Range], count: int, seed: int = 0) -> Sweep:
    """Every run at `count` points that fill the ranges evenly; best a power of two. More begin with the same ones.

    Sobol's sequence with a random digital shift: each coordinate's 30 bits are
    flipped where a number drawn from the seed has a one (Owen 2003, section 2),
    which keeps one point in each of 2^k equal parts of an axis.
    """
    _check("sobol", ranges, count)
    return _at(runs, ranges, _sobol_shares(len(ranges), count, seed))


def _sobol_shares(axes: int, count: int, seed: int) -> list[list[float]]:
    """The first points of the shifted sequence, each coordinate in (0, 1)."""
    from scipy.stats import qmc  # half a second, which only a study that searches should pay

    points = qmc.Sobol(axes, scramble=False, bits=BITS).random_base2(math.ceil(math.log2(count)))[:count]
    draw = Random(seed)
    shifts = [draw.getrandbits(BITS) for _ in range(axes)]
    return [
        [((int(x * 2**BITS) ^ shift) + 0.5) / 2**BITS for x, shift in zip(point, shifts, strict=True)]
        for point in points
    ]


def _at(runs: Runs, ranges: Mapping[str, Range], points: Iterable[list[float]]) -> Sweep:
    return crossed(
        runs,
        [
            {path: place.at(share) for (path, place), share in zip(ranges.items(), point, strict=True)}
            for point in points
        ],
    )


def _check(function: str, ranges: Mapping[str, Range], count: int) -> None:
    if not ranges:
        raise ValueError(f"{function}: no ranges; give at least one")
    if not 1 <= count <= MOST:
        raise ValueError(f"{function}: count={count}; give a number from 1 to {MOST:,}")
