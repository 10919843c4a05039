"""What a fitted law says to do: for a model that will be used, short data, a given size, or another recipe.

    >>> import numpy as np
    >>> from analysis.frontier import constant
    >>> from analysis.laws.pretraining import chinchilla
    >>> theta = chinchilla.theta(dict(E=1.69, A=406.4, alpha=0.336, B=410.7, beta=0.283))
    >>> arm = Arm(law=chinchilla, theta=theta[None], kappa=constant(6.0))
    >>> used = serve(arm, flops=1e23, inference_tokens=2e12)
    >>> used.params.value < used.plain_params.value
    True
    >>> capped(arm, flops=1e23, unique_tokens=25e9).epochs.value > 4
    True

Every number comes with the interval of the law's draws: the same question is put
to each of them. The intervals hold if the law does. kappa counts training
FLOPs per parameter and token, 2 parts forward and 4 backward, so that a token
of inference costs a third of a token of training.
"""

from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import Bootstrap, percentiles
from analysis.cheapest import FORWARD, TOKENS, Arm, cheapest
from analysis.frontier import Kappa, Optimum, at_runs, optimum
from analysis.law import Law
from analysis.laws.constrained import SUMMANDS, data_constrained
from analysis.words import Estimate, short

R_D, R_N = 15.39, 5.31  # decays of repeated data and excess parameters (Muennighoff et al. 2023, arXiv:2305.16264)


@dataclass(frozen=True, kw_only=True)
class Served:
    """The model whose training and use together cost least, for a loss and a number of tokens of inference."""

    loss: Estimate  # to be reached
    inference_tokens: float
    params: Estimate
    tokens: Estimate  # of training
    ratio: Estimate  # tokens per parameter
    flops: Estimate  # training and inference
    training_flops: Estimate
    plain_params: Estimate  # of the model that is cheapest to train for this loss
    plain_flops: Estimate  # training it, and using it as much
    saving: Estimate  # share of plain_flops

    def describe(self) -> str:
        return (
            f"for loss {self.loss.value:.4g} and {short(self.inference_tokens)} tokens of inference: "
            f"{short(self.params.value)} parameters on {short(self.tokens.value)} tokens, "
            f"{self.saving.value:.1%} cheaper in all than the {short(self.plain_params.value)} parameters "
            "that are cheapest to train"
        )


@dataclass(frozen=True, kw_only=True)
class Capped:
    """The best use of a budget when there are only so many different tokens."""

    flops: float
    unique_tokens: float
    params: Estimate
    tokens: Estimate  # seen, repetitions counted
    epochs: Estimate  # tokens over unique_tokens: below 1 where the data are not used up
    loss: Estimate
    free_loss: Estimate  # with as many different tokens as one likes
    source: str  # where the worth of a repetition is from


@dataclass(frozen=True, kw_only=True)
class FixedSize:
    """A budget spent on a model of a given size."""

    params: float
    flops: float
    tokens: float
    ratio: float  # tokens per parameter
    loss: Estimate
    best_params: Estimate  # the optimum for the same budget
    best_loss: Estimate
    over_training: Estimate  # ratio over that of the optimum: above 1 the model is smaller than the optimum
    same_loss_flops: Estimate  # that the optimum would need for the loss of this model
    waste: Estimate  # flops over same_loss_flops: 1 at the optimum


@dataclass(frozen=True, kw_only=True)
class Multiplier:
    """How many times the compute of one arm another needs for the same loss, each at its own optimum."""

    flops: float  # of the first arm
    loss: Estimate  # that it reaches
    factor: Estimate  # infinite where the second arm never reaches it
    reached: float  # share of the draws in which it does

    def describe(self) -> str:
        if np.isinf(self.factor.value):
            return f"the loss {self.loss.value:.4g} cannot be reached: the second arm stays above it at any compute"
        some = "" if self.reached == 1 else f"; in {1 - self.reached:.0%} of the draws it is never reached"
        return (
            f"the loss {self.loss.value:.4g} takes {self.factor.value:.3g} times the compute "
            f"[{self.factor.low:.3g}, {self.factor.high:.3g}]{some}"
        )


def arm(boot: Bootstrap, kappa: Kappa) -> Arm:
    """A fit and its bootstrap as an arm."""
    return Arm(law=boot.fit.law, theta=np.vstack([boot.fit.theta, boot.theta]), kappa=kappa)


def estimate(values_R: np.ndarray, level: float = 0.95) -> Estimate:
    """The first value with the interval of the others; NaN ends where there are no others.

    A draw that is NaN says nothing: it counts as low at the low end and as high at the high one.
    """
    value, draws = float(values_R[0]), np.asarray(values_R[1:], float)
    if not len(draws):
        return Estimate(value=value, low=np.nan, high=np.nan)
    # Ranks between two infinite draws are not a number; between two huge ones they are.
    low, high = (np.clip(np.where(np.isnan(draws), end, draws), -1e300, 1e300) for end in (-np.inf, np.inf))
    ends = percentiles(low, level)[0], percentiles(high, level)[1]
    low, high = (float(end) if abs(end) < 1e290 else float(np.sign(end) * np.inf) for end in ends)
    return Estimate(value=value, low=low, high=high)


def serve(arm: Arm, *, inference_tokens: float, flops: float | None = None, loss: float | None = None) -> Served:
    """min over N, D of kappa N (D + D_inf / 3) with L(N, D) = loss (Sardana et al. 2023, arXiv:2401.00448, eq. 2).

    With kappa = 6 that is 6 N D + 2 N D_inf. loss: the loss to reach; or flops: then it is the loss
    of the compute-optimal model of that training budget, by each draw its own.
    """
    if (flops is None) == (loss is None):
        raise ValueError(f"serve(flops={flops}, loss={loss}): give one of them, the other as None")
    _positive("serve", **({"flops": flops} if loss is None else {"loss": loss}))
    if not (np.isfinite(inference_tokens) and inference_tokens >= 0):
        raise ValueError(f"serve(inference_tokens={inference_tokens}): must be zero or a positive number")
    goal = np.full(len(arm.theta), loss) if flops is None else _best(arm, flops).loss[:, 0]
    plain, found = cheapest(arm, goal), cheapest(arm, goal, inference_tokens)
    used = plain.training_flops + FORWARD * inference_tokens * _per_token(arm, plain.params)
    plain_flops = np.where(np.isfinite(plain.training_flops), used, np.inf)
    with np.errstate(invalid="ignore"):  # never reached: infinite against infinite is not a number
        saving = 1 - found.flops / plain_flops
    return Served(
        loss=estimate(goal),
        inference_tokens=float(inference_tokens),
        params=estimate(found.params),
        tokens=estimate(found.tokens),
        ratio=estimate(found.tokens / found.params),
        flops=estimate(found.flops),
        training_flops=estimate(found.training_flops),
        plain_params=estimate(plain.params),
        plain_flops=estimate(plain_flops),
        saving=estimate(saving),
    )


def capped(arm: Arm, *, flops: float, unique_tokens: float, decay: float = R_D, excess: float = R_N) -> Capped:
    """The best N, D and epochs for a budget with `unique_tokens` different tokens (Muennighoff et al. 2023).

    A law with the column tokens_unique is taken as it is fitted. Any other is taken for the law of
    fresh data, and repetitions lose their worth by `decay` (R_D of laws.data_constrained);
    parameters in excess of what the unique tokens can fill by `excess` (R_N), if the law has
    A, alpha, B and beta. The defaults are the published values.
    """
    _positive("capped", flops=flops, unique_tokens=unique_tokens, decay=decay, excess=excess)
    limited, theta, source = _limited(arm, decay, excess)
    held = dict(arm.held)
    few, many = (
        optimum(limited, theta, np.array([flops]), arm.kappa, held | {"tokens_unique": unique})
        for unique in (float(unique_tokens), TOKENS[1])
    )
    return Capped(
        flops=float(flops),
        unique_tokens=float(unique_tokens),
        params=estimate(few.params[:, 0]),
        tokens=estimate(few.tokens[:, 0]),
        epochs=estimate(few.tokens[:, 0] / unique_tokens),
        loss=estimate(few.loss[:, 0]),
        free_loss=estimate(many.loss[:, 0]),
        source=source,
    )


def _limited(arm: Arm, decay: float, excess: float) -> tuple[Law, np.ndarray, str]:
    """A law with the column tokens_unique, its vectors (R, P), and where its decays are from."""
    if "tokens_unique" in arm.law.columns:
        return arm.law, arm.theta, "fitted to runs with repeated data"
    with_params = all(name in arm.law.parameters for name in SUMMANDS)
    decays = [decay, excess] if with_params else [decay]
    added = np.broadcast_to(np.log(decays), (len(arm.theta), len(decays)))
    said = f"R_D {decay:g}" + (f", R_N {excess:g}" if with_params else "")
    published = " of Muennighoff et al. 2023" if (decay, excess) == (R_D, R_N) else ""
    return data_constrained(arm.law, with_params), np.hstack([arm.theta, added]), said + published + ", not fitted"


def fixed_size(arm: Arm, *, params: float, flops: float) -> FixedSize:
    """What a budget brings to a model of `params`, and what the optimum would have made of it."""
    _positive("fixed_size", params=params, flops=flops)
    tokens = flops / float(_per_token(arm, np.array([params]))[0])
    runs = (np.full((len(arm.theta), 1), value) for value in (params, tokens, flops))
    loss = at_runs(arm.law, arm.theta, *runs, arm.held)[:, 0]
    best, same = _best(arm, flops), cheapest(arm, loss).flops
    with np.errstate(divide="ignore"):
        over = tokens / params / (best.tokens / best.params)[:, 0]
    return FixedSize(
        params=float(params),
        flops=float(flops),
        tokens=tokens,
        ratio=tokens / params,
        loss=estimate(loss),
        best_params=estimate(best.params[:, 0]),
        best_loss=estimate(best.loss[:, 0]),
        over_training=estimate(over),
        same_loss_flops=estimate(same),
        waste=estimate(flops / same),
    )


def multiplier(first: Arm, second: Arm, flops: float) -> Multiplier:
    """Compute of `second` over `flops` for the loss that `first` reaches at its optimum with `flops`.

    Draws are taken in pairs: draws of one common fit keep what they share; those of two separate
    fits are independent. The longer set of draws is cut.
    """
    _positive("multiplier", flops=flops)
    pairs = min(len(first.theta), len(second.theta))
    a, b = (Arm(law=x.law, theta=x.theta[:pairs], kappa=x.kappa, held=x.held) for x in (first, second))
    goal = _best(a, flops).loss[:, 0]
    needed = cheapest(b, goal).flops
    return Multiplier(
        flops=float(flops),
        loss=estimate(goal),
        factor=estimate(needed / flops),
        reached=float(np.isfinite(needed[1:] if pairs > 1 else needed).mean()),
    )


def _best(arm: Arm, flops: float) -> Optimum:
    return optimum(arm.law, arm.theta, np.array([float(flops)]), arm.kappa, arm.held)


def _per_token(arm: Arm, params: np.ndarray) -> np.ndarray:
    """Training FLOPs of one token."""
    return arm.kappa(np.log(params)) * params


def _positive(where: str, **given: float) -> None:
    for name, value in given.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{where}({name}={value}): must be finite and positive")
