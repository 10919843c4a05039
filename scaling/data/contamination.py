"""Was a model trained on this list of examples? The order tells (Oren et al. 2023, arXiv:2310.17623).

If the examples are exchangeable, a model that never saw the list finds all
its orders equally likely on average. One that was trained on the list in the
order in which it is published finds that order likelier than shuffled ones.

Their sharded likelihood comparison: the list is cut into shards; in each the
log-probability of the published order is compared with the mean over random
orders; a one-sided t-test asks whether these differences are above zero.
Shards are not quite independent, and few are not quite normal: of models that
saw nothing, about the stated share is called contaminated.

It finds the order, not the examples: a model that saw them shuffled, or
spread over documents, passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats

Example = TypeVar("Example")


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """differences: nats by which a shard's order is likelier than its shuffles are on average, (shards,)."""

    differences: np.ndarray
    shuffles: int
    statistic: float  # Student's t, shards - 1 degrees of freedom
    p_value: float  # of differences as large if all orders were equally likely

    @property
    def nats(self) -> float:
        """By which a shard's order is likelier, on average."""
        return float(self.differences.mean())


def order_test(
    log_probability: Callable[[Sequence[Example]], float],
    examples: Sequence[Example],
    *,
    shards: int = 50,
    shuffles: int = 25,
    seed: int = 0,
) -> Contamination:
    """The sharded likelihood comparison.

    log_probability: of examples read one after another in the given order, in
    nats; must count what an example makes of the next. examples: in the order
    in which they are published. It is asked for shards * (1 + shuffles) orders.

    Raises ValueError for fewer than two shards, or fewer than two examples in one.
    """
    if shards < 2 or shuffles < 1:
        raise ValueError(f"order_test(shards={shards}, shuffles={shuffles}): give at least 2 shards and 1 shuffle")
    if len(examples) < 2 * shards:
        raise ValueError(
            f"order_test: {len(examples)} examples in {shards} shards; a shard needs two, so give more examples or "
            f"at most {len(examples) // 2} shards"
        )
    generator = np.random.default_rng(seed)
    differences = np.array(
        [
            _difference(log_probability, [examples[place] for place in places], shuffles, generator)
            for places in np.array_split(np.arange(len(examples)), shards)
        ]
    )
    if np.ptp(differences) == 0:  # as of a model without memory, to which every order is the same
        statistic, p_value = 0.0, 1.0
    else:
        statistic, p_value = stats.ttest_1samp(differences, 0, alternative="greater")
    return Contamination(differences=differences, shuffles=shuffles, statistic=float(statistic), p_value=float(p_value))


def _difference(
    log_probability: Callable[[Sequence[Example]], float],
    shard: list[Example],
    shuffles: int,
    generator: np.random.Generator,
) -> float:
    shuffled = [[shard[place] for place in generator.permutation(len(shard))] for _ in range(shuffles)]
    return log_probability(shard) - float(np.mean([log_probability(order) for order in shuffled]))
