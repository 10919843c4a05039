"""Which part of a mixture each place of an order belongs to: as evenly as can be, and without memory.

Shares are whole numbers over their sum, the period: one period is a table, and
every place is found in it.

How even: among the first n places of an order a part of share w has n w of
them, give or take 1 - 1 / (2K - 2), where K parts have a share (Tijdeman 1980,
"The chairman assignment problem", Discrete Mathematics 32: no order does
better for all shares). Any window of n places lies between two such beginnings:
it has n w of a part, give or take 2 - 1 / (K - 1). So for two parts every
window is within 1, for more within less than 2; n of whole periods are exact.
Within 1 in every window is beyond any order of three or more parts but for
special shares: windows of one length would differ by at most one document, and
such balanced orders of unequal shares are known only for 4:2:1, 8:4:2:1 and so on
(Fraenkel's conjecture; Altman, Gaujal & Hordijk 2000, Journal of the ACM 47).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LONGEST = 1 << 16  # period
CLOSE = 1e-9  # how far a share may lie from the one that was asked for, if a period up to LONGEST comes so close


@dataclass(frozen=True, eq=False)
class Pattern:
    """One period of places. K parts, M places."""

    shares: tuple[int, ...]  # K: places of each part
    part: np.ndarray  # (M,) int64: of each place
    before: np.ndarray  # (M + 1, K) int64: places of each part before each place

    def of(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of each place (int, from 0, without end), and how many places of it come before."""
        periods, offsets = np.divmod(places, len(self.part))
        part = self.part[offsets]
        return part, periods * np.array(self.shares)[part] + self.before[offsets, part]

    def counts(self, places: int) -> np.ndarray:
        """(K,) int64: places of each part among the first so many."""
        periods, offset = divmod(places, len(self.part))
        return periods * np.array(self.shares) + self.before[offset]


@lru_cache(maxsize=64)
def shares(weights: tuple[float, ...], temperature: float = 1.0) -> tuple[int, ...]:
    """Whole numbers in the proportion of weights ** (1 / temperature), with the least sum that comes within CLOSE.

    Where no sum up to LONGEST does, they are rounded to a sum of LONGEST, by
    largest remainder: each is off by less than 1 / 65,536. Raises ValueError if
    a weight above 0 is left without a share.
    """
    weight = np.array(weights, np.float64)
    power = (weight / weight.max()) ** (1 / temperature)
    share_K = power / power.sum()
    periods = np.arange(1, LONGEST + 1)
    nearest = np.rint(share_K[:, None] * periods)
    close = np.abs(nearest / periods - share_K[:, None]).max(axis=0) <= CLOSE
    found = nearest[:, close.argmax()].astype(int) if close.any() else _rounded(share_K)
    lost = np.flatnonzero((found == 0) & (weight > 0))
    if len(lost):
        raise ValueError(
            f"weights {weights} at temperature {temperature:g}: the share of number {lost[0] + 1}, "
            f"{share_K[lost[0]]:.2g}, rounds to none of {LONGEST}; make it larger, or 0"
        )
    return tuple(found.tolist())


@lru_cache(maxsize=64)
def pattern(shares: tuple[int, ...]) -> Pattern:
    """The most even order of one period.

    The j-th place of a part may be taken from where the part would otherwise
    be too far behind, and must be before it is too far ahead; of those that may
    be taken, the one that must be first is (Tijdeman's rule). All in whole numbers.
    """
    period, held = sum(shares), [part for part, share in enumerate(shares) if share]
    slack = max(1, 2 * len(held) - 2)
    chosen, taken = np.zeros(period, np.int64), dict.fromkeys(held, 0)

    def deadline(part: int) -> int:
        return period * (slack * (taken[part] + 1) - 1) // (slack * shares[part])

    deadlines = {part: deadline(part) for part in held}
    for place in range(period if len(held) > 1 else 0):
        ready = [part for part in held if slack * (shares[part] * (place + 1) - period * taken[part]) >= period]
        chosen[place] = part = min(ready, key=deadlines.__getitem__)
        taken[part] += 1
        deadlines[part] = deadline(part)
    if len(held) == 1:
        chosen[:] = held[0]
    before = np.zeros((period + 1, len(shares)), np.int64)
    before[np.arange(1, period + 1), chosen] = 1
    return Pattern(shares=shares, part=chosen, before=before.cumsum(axis=0))


def _rounded(share_K: np.ndarray) -> np.ndarray:
    whole = np.floor(share_K * LONGEST).astype(int)
    remainders = share_K * LONGEST - whole
    whole[np.argsort(-remainders, kind="stable")[: LONGEST - whole.sum()]] += 1
    return whole
