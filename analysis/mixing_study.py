"""A study of mixtures: the law of its proxies, the mixture that it predicts as the best, and what larger runs say."""

# m mixtures at the larger size, K parts

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr

from analysis.doubt import Doubt
from analysis.mixing import DRAWS, Mixing, best_intervals, fit_mixing, same_mixture
from analysis.tables.manifest import AskedMixture, Manifest
from analysis.tables.table import LeftOut, Selection, column, select
from analysis.words import Estimate, percent

LEAST_RANKED = 4  # mixtures: the interval of a rank correlation divides by their number less 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Larger:
    """The runs of the larger size. The predicted best is among them once it is trained."""

    table: pa.Table
    shares_mK: np.ndarray
    loss_m: np.ndarray  # of the run: the mean of its parts' held-out losses by the study's target
    loss_se_m: np.ndarray  # over held-out sequences
    law_m: np.ndarray  # what the law says of the mixture at the proxies' size
    proxy_m: np.ndarray  # what proxies on the mixture measured, the mean over seeds; NaN where there were none
    best: int | None  # row of the predicted best

    @property
    def order(self) -> np.ndarray:
        """(m,) rows, the lowest loss first."""
        return np.argsort(self.loss_m, kind="stable")

    @property
    def place(self) -> int | None:
        """Of the predicted best among all, from 1."""
        return None if self.best is None else 1 + int((self.loss_m < self.loss_m[self.best]).sum())

    @property
    def ahead(self) -> float | None:
        """Loss of the predicted best over the lowest of the others, less 1: negative where it is the best."""
        if self.best is None or len(self.loss_m) < 2:
            return None
        return float(self.loss_m[self.best] / np.delete(self.loss_m, self.best).min() - 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class MixtureStudy:
    """All that a study of mixtures says."""

    asked: AskedMixture
    selection: Selection
    proxies: pa.Table  # that the law is fitted to
    mixing: Mixing
    best_K2: np.ndarray | None  # the 95% interval of each share of the best mixture; None while it is not decided
    larger: Larger | None
    rank_proxy: Estimate | None  # Spearman's correlation of proxies and larger runs on the same mixtures
    rank_law: Estimate | None  # of the law and the larger runs, the predicted best included
    seed_noise: float | None  # standard deviation of ln loss between proxies that differ in their seed alone
    seed_freedom: int
    warnings: tuple[Doubt, ...]

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return self.selection.left_out


def study_mixture(table: pa.Table, manifest: Manifest, *, draws: int = DRAWS, seed: int = 0) -> MixtureStudy:
    """Fit the law to the proxies of a study, and hold what it predicts against the larger runs.

    table: of run directories. FitError where the proxies cannot identify the law.
    """
    asked = manifest.best_mixture
    selection = select(table, manifest)
    arm_of = {run.run_id: run.arm for run in manifest.runs}
    arms = np.array([arm_of[name] for name in selection.table["run_id"].to_pylist()])
    proxies = selection.table.filter(pa.array(arms == asked.proxies))
    mixing = fit_mixing(proxies, asked.parts, asked.target, draws=draws, seed=seed)
    larger = _larger(selection.table, arms, asked, mixing)
    noise, freedom = _seed_noise(mixing)
    best = best_intervals(mixing, asked.least, asked.most) if asked.weights else None
    return MixtureStudy(
        asked=asked,
        selection=selection,
        proxies=proxies,
        mixing=mixing,
        best_K2=best,
        larger=larger,
        rank_proxy=larger and rank_correlation(larger.proxy_m, larger.loss_m),
        rank_law=larger and rank_correlation(larger.law_m, larger.loss_m),
        seed_noise=noise,
        seed_freedom=freedom,
        warnings=(*selection.doubts, *_cautions(asked, mixing, larger, noise)),
    )


def rank_correlation(one: np.ndarray, other: np.ndarray) -> Estimate | None:
    """Spearman's, with its 95% interval by Fisher's z and 1.03 / sqrt(n - 3) (Fieller et al. 1957); None below 4.

    Where all agree, z is that of half an exchange of two neighbours: an interval
    of no width would say that nothing else can happen.
    """
    both = np.isfinite(one) & np.isfinite(other)
    count = int(both.sum())
    if count < LEAST_RANKED:
        return None
    value = float(spearmanr(one[both], other[both]).statistic)
    most = 1 - 6 / (count * (count**2 - 1))
    z, half = np.arctanh(np.clip(value, -most, most)), 1.96 * 1.03 / np.sqrt(count - 3)
    low, high = min(value, float(np.tanh(z - half))), max(value, float(np.tanh(z + half)))
    return Estimate(value=value, low=low, high=high)


def _larger(table: pa.Table, arms: np.ndarray, asked: AskedMixture, mixing: Mixing) -> Larger | None:
    rows = table.filter(pa.array(arms != asked.proxies))
    if not rows.num_rows:
        return None
    shares_mK = np.stack([column(rows, f"share_{name}") for name in asked.parts], axis=1)
    measured_n = mixing.mean(mixing.measured_nK)
    same_mn = same_mixture(shares_mK, mixing.shares_nK)
    proxy = [float(measured_n[same].mean()) if same.any() else np.nan for same in same_mn]
    of_best = np.flatnonzero(arms[arms != asked.proxies] == asked.arm)
    return Larger(
        table=rows,
        shares_mK=shares_mK,
        loss_m=column(rows, "loss"),
        loss_se_m=column(rows, "loss_se"),
        law_m=mixing.mean(mixing.losses(shares_mK)),
        proxy_m=np.array(proxy),
        best=int(of_best[0]) if len(of_best) else None,
    )


def _seed_noise(mixing: Mixing) -> tuple[float | None, int]:
    """Of ln mean loss, pooled over the mixtures that several proxies read, and its degrees of freedom."""
    logs, same_nn = np.log(mixing.mean(mixing.measured_nK)), same_mixture(mixing.shares_nK)
    groups = {tuple(np.flatnonzero(same)) for same in same_nn}
    freedom = sum(len(rows) - 1 for rows in groups)
    squares = sum(float(((logs[list(rows)] - logs[list(rows)].mean()) ** 2).sum()) for rows in groups)
    return (float(np.sqrt(squares / freedom)), freedom) if freedom else (None, 0)


def _cautions(asked: AskedMixture, mixing: Mixing, larger: Larger | None, noise: float | None) -> list[Doubt]:
    found = []
    error, spread = mixing.left_out_error()[-1], mixing.spread()[-1]
    if error > 0.5 * spread:
        text = f"on mixtures left out the law errs by {percent(error)} of the mean loss, which itself varies by "
        found.append(Doubt(name="weak_law", text=f"{text}{percent(spread)}: it explains little of what mixtures do"))
    at = [name for name, found_fit in zip(mixing.parts, mixing.fits, strict=True) if found_fit.at_bound]
    if at:
        text = f"a parameter ran to a bound in the law of {', '.join(at)}: its losses do not hold all of them"
        found.append(Doubt(name="at_bound", text=text))
    for name, share, most in zip(asked.parts, asked.weights, asked.most, strict=False):
        if share >= most - 0.01 < 0.99:
            text = f"the best share of {name}, {share:.2f}, is the most that may be read of it: more text might help"
            found.append(Doubt(name="runs_dry", text=text))
    if not asked.weights:
        found.append(Doubt(name="not_decided", text="proxies are missing: the best mixture is not decided yet"))
    if noise and larger and larger.ahead is not None and abs(larger.ahead) < 2 * noise:
        text = (
            f"the predicted best and the best of the others differ by {percent(abs(larger.ahead))} at the larger size"
        )
        found.append(
            Doubt(name="near", text=f"{text}, and seeds of a proxy by {percent(noise)}: that is no difference")
        )
    return found
