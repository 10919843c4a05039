"""How a run of a search will end, judged by runs of its group that have ended: plain numbers, no JAX.

A run's training loss so far is continued as a power law, y = b x^-c (M1 of
Alabdulmohsin et al. 2022, arXiv:2209.06640, as `m1` in `analysis.laws.curves`),
a straight line in logarithms through the last half of what is seen. That is
wrong in ways that its group shares: the loss levels off, the learning rate
decays, and held-out loss is not training loss. So the same is done for each run
that has ended, cut off at the same share of its tokens, and how far it missed
corrects the forecast. High rates gain more from their decay than low ones, so
the miss is a straight line in ln lr where the rates differ. The interval is that
of a new observation in this regression: few runs, or a rate far from theirs, make
it wide.

A low rate lags: while its curve is still on the plateau that the others left
long ago, no power law through it tells of the fall to come. So the bound is never
above where the run would come to if, from the level that it has reached, it went
on like the one of its group that did best from that level, over as many times
the tokens.

Measured (`benchmarks/outlook.py`) on 21 searches of 150 runs whose ends are known: with a
confidence of 0.95, 0.983 for each look, the bound holds in 99.4% of forecasts, and in 98.7%
of those of a rate below all that ended (97.3% and 88.9% by the straight lines alone). It
stops 65% of the runs that end 5% above the best, as many as without, and none that won.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_ROWS = 8  # of a curve, through which the line goes
LEVEL_SHARE = 0.2  # of the tokens seen, over which the level of a curve is a mean
LEAST_FREEDOM = 2  # runs that have ended less parameters of the line through their misses


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A run's training losses, n steps. lr: its peak rate."""

    tokens: NDArray  # (n,)
    losses: NDArray  # (n,) nats a token; what is not finite is left out
    lr: float


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run of the group that has finished, and its held-out loss."""

    curve: Curve
    loss: float
    loss_se: float


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The held-out loss that a run is expected to end with; it ends above `low` with the confidence asked for."""

    loss: float
    low: float


def outlook(curve: Curve, ended: Sequence[Ended], *, share: float, tokens: int, confidence: float) -> Outlook | None:
    """Where a run is going, None where that cannot be said yet.

    share: of its `tokens`, up to which curves are looked at. confidence: one-sided.
    """
    from scipy.special import stdtrit  # here: only a launch that stops runs needs it

    own = trend(curve, share=share, tokens=tokens)
    trends = [(run, trend(run.curve, share=share, tokens=tokens)) for run in ended]
    known = [(run, value) for run, value in trends if value is not None]
    rates = np.log([run.curve.lr for run, _ in known])
    powers = np.arange(2 if len(set(rates)) > 1 else 1)  # a constant, and a slope where rates differ
    freedom = len(known) - len(powers)
    if own is None or freedom < LEAST_FREEDOM:
        return None
    misses = np.array([np.log(run.loss) - value for run, value in known])
    centred = rates - rates.mean()
    design, place = centred[:, None] ** powers, (np.log(curve.lr) - rates.mean()) ** powers
    line, *_ = np.linalg.lstsq(design, misses, rcond=None)
    scatter = np.sum((misses - design @ line) ** 2) / freedom
    spread = np.sqrt(scatter * (1 + place @ np.linalg.inv(design.T @ design) @ place))
    expected = own + place @ line
    low = expected - stdtrit(freedom, confidence) * spread
    caught_up = min(follow(curve, run, share=share, tokens=tokens) for run, _ in known)
    return Outlook(loss=float(np.exp(expected)), low=float(np.exp(min(low, caught_up))))


def follow(curve: Curve, ended: Ended, *, share: float, tokens: int) -> float:
    """ln of the loss at `tokens` if the curve goes on, in ln tokens, as another did from where it was at its level."""
    own_tokens, own = _levels(curve)
    other_tokens, other = _levels(ended.curve)
    reached = own[max(0, np.searchsorted(own_tokens, share * tokens, side="right") - 1)]
    below = np.flatnonzero(other <= reached)
    then = other_tokens[below[0]] / share if len(below) else tokens
    if then >= tokens:
        return float(np.log(ended.loss))
    return float(np.log(other[np.searchsorted(other_tokens, then, side="right") - 1]))


def _levels(curve: Curve) -> tuple[NDArray, NDArray]:
    """Tokens, and the lowest mean loss so far over the last fifth of what was seen by then."""
    sound = np.isfinite(curve.losses) & (curve.losses > 0)
    tokens, losses = curve.tokens[sound], curve.losses[sound]
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    first = np.searchsorted(tokens, (1 - LEVEL_SHARE) * tokens, side="right")
    after = np.arange(1, len(tokens) + 1)
    return tokens, np.minimum.accumulate((sums[after] - sums[first]) / (after - first))


def trend(curve: Curve, *, share: float, tokens: int) -> float | None:
    """ln of the training loss at `tokens` if it went on as a power law from the first `share` of them."""
    seen = share * tokens
    sound = np.isfinite(curve.losses) & (curve.losses > 0)
    used = sound & (curve.tokens > seen / 2) & (curve.tokens <= seen)
    if used.sum() < LEAST_ROWS:
        return None
    _, at_end = np.polyfit(np.log(curve.tokens[used] / tokens), np.log(curve.losses[used]), 1)
    return float(at_end)
