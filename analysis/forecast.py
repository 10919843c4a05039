"""What a larger run will reach, and how it should be split."""

from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import Bootstrap, percentiles
from analysis.doubt import Doubt
from analysis.frontier import Kappa, optimum
from analysis.words import Estimate, short

FAR = 300.0  # extrapolation ratio in compute beyond which a warning stands
LARGEST = 1e300  # draws that flee further are held here: percentiles between infinities are not numbers


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The best model for a budget, by the fitted surface."""

    flops: float
    ratio: float  # budget over the largest one trained
    params: Estimate
    tokens: Estimate
    tokens_per_param: Estimate
    loss: Estimate  # of the curve, nats a token
    run: Estimate  # of one run: the curve's interval, and the noise of a run
    warnings: tuple[Doubt, ...]  # "extrapolation", "beyond_sizes"


def forecast(boot: Bootstrap, kappa: Kappa, flops: float, largest_flops: float) -> Forecast:
    """Loss and optimal split at `flops`; the intervals hold if the law does.

    Raises ValueError for a budget that is not finite and positive.
    """
    if not (np.isfinite(flops) and flops > 0):
        raise ValueError(f"forecast: flops={flops}: must be finite and positive")
    budget, law = np.array([flops]), boot.fit.law
    best = optimum(law, boot.fit.theta[None], budget, kappa)
    drawn = optimum(law, boot.theta, budget, kappa)
    # A fixed seed of its own: the forecast of a given bootstrap never changes.
    noise = boot.noise.scale * np.random.default_rng(0).standard_normal(len(boot.theta))
    error = noise[:, None] if not law.in_log else drawn.loss * np.expm1(noise[:, None])
    return Forecast(
        flops=flops,
        ratio=flops / largest_flops,
        params=_estimate(best.params, drawn.params),
        tokens=_estimate(best.tokens, drawn.tokens),
        tokens_per_param=_estimate(best.tokens / best.params, drawn.tokens / drawn.params),
        loss=_estimate(best.loss, drawn.loss),
        run=_estimate(best.loss, drawn.loss + error),
        warnings=_warnings(flops / largest_flops, float(best.params[0, 0]), kappa),
    )


def _warnings(ratio: float, params: float, kappa: Kappa) -> tuple[Doubt, ...]:
    found = []
    if ratio > FAR:
        text = (
            f"the forecast reaches {ratio:,.0f} times beyond the largest run (warned about above {FAR:g}): "
            "its interval holds only if the law keeps its form"
        )
        found.append(Doubt(name="extrapolation", text=text))
    if len(kappa.values) > 1 and params > np.exp(kappa.log_params[-1]):
        text = (
            f"the optimal model ({short(params)} parameters) is larger than any trained; "
            "its FLOPs are counted with kappa carried on towards 6"
        )
        found.append(Doubt(name="beyond_sizes", text=text))
    return tuple(found)


def _estimate(value: np.ndarray, draws: np.ndarray) -> Estimate:
    low, high = percentiles(np.clip(draws[:, 0], -LARGEST, LARGEST))
    return Estimate(value=float(value[0, 0]), low=float(low), high=float(high))
