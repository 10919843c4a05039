"""One fit over several groups of runs that share some parameters, and the test whether they do.

Arms of an experiment (two data sets, two optimizers) often differ in how far a
run gets and not in how fast it improves with scale. Then their exponents are
shared, and each arm has its own coefficients:

    L = E[g] + A[g] / N^alpha + B[g] / D^beta    for runs of group g

    >>> import numpy as np
    >>> from analysis.laws.curves import power_law_offset
    >>> size, noise = np.tile(np.geomspace(1e6, 1e9, 9), 2), np.random.default_rng(0).normal(0, 1e-3, 18)
    >>> arm, factor = np.repeat(["web", "code"], 9), np.repeat([60.0, 40.0], 9)
    >>> table = {"params": size, "arm": arm, "loss": (1.5 + factor * size**-0.3) * np.exp(noise)}
    >>> found = pool(power_law_offset("loss", "params"), table, shared=("b",))
    >>> sorted(found.fit.params)
    ['E[code]', 'E[web]', 'a[code]', 'a[web]', 'b']
    >>> found.equality.p > 0.05
    True
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType, SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.special import fdtrc

from analysis.bootstrap import Bootstrap
from analysis.cheapest import Arm
from analysis.decisions import Multiplier, multiplier
from analysis.engine.starts import project
from analysis.fit import fit_rows
from analysis.frontier import Kappa
from analysis.law import Law
from analysis.losses import Loss, huber
from analysis.result import FitResult, robust_scale
from analysis.rows import FitError, Rows, check, read_rows
from analysis.tables.read import frame, missing_column

# n rows, G groups, P parameters.


@dataclass(frozen=True, kw_only=True)
class Equality:
    """Do the groups have the same shared parameters? A small p says that they do not.

    Least squares: the F test of nested models. A robust loss: the likelihood-ratio test of Heritier
    and Ronchetti 1994, 2 (F_pooled - F_alone) E psi' / E psi^2, which is chi-square in large samples;
    through its degrees of freedom it is compared with F, because the scale is estimated too.
    """

    statistic: float
    freedom: int  # (G - 1) times the shared parameters
    residual_freedom: int  # rows less the parameters of all the fits alone
    p: float  # of a statistic as large by chance, for independent runs: branches of one trunk make it too small

    def describe(self) -> str:
        verdict = "they differ" if self.p < 0.05 else "no difference shows"
        freedom = f"{self.freedom} and {self.residual_freedom} degrees of freedom"
        return f"test of equality: p = {self.p:.3g} ({freedom}): {verdict}"


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The fit with shared parameters, each group's fit alone, and the test of equality."""

    law: Law  # of one group
    by: str
    groups: tuple[str, ...]
    shared: tuple[str, ...]
    fit: FitResult  # parameters of a group are named such as A[web]
    alone: Mapping[str, FitResult]
    equality: Equality

    def params(self, group: str) -> dict[str, float]:
        """The pooled fit's parameters of one group, under the law's own names."""
        return {name: self.fit.params[own] for name, own in zip(self.law.names, self._names(group), strict=True)}

    def theta(self, group: str, theta_RQ: np.ndarray) -> np.ndarray:
        """(R, P) vectors of the group's law out of vectors of the pooled law (R, Q), such as a bootstrap's."""
        return np.atleast_2d(theta_RQ)[:, [self.fit.law.names.index(own) for own in self._names(group)]]

    def arm(self, group: str, kappa: Kappa, boot: Bootstrap | None = None) -> Arm:
        """One group, for analysis.decisions; boot: a bootstrap of `fit`, for intervals."""
        theta = self.fit.theta[None] if boot is None else np.vstack([self.fit.theta, boot.theta])
        return Arm(law=self.law, theta=self.theta(group, theta), kappa=kappa)

    def multiplier(
        self, first: str, second: str, *, flops: float, kappa: Kappa, boot: Bootstrap | None = None
    ) -> Multiplier:
        """Compute of the group `second` over `flops` for the loss that `first` reaches with `flops`."""
        return multiplier(self.arm(first, kappa, boot), self.arm(second, kappa, boot), flops)

    def _names(self, group: str) -> list[str]:
        if group not in self.groups:
            raise ValueError(f"no group {group!r} in column {self.by}; there are {', '.join(self.groups)}")
        return [own_name(name, group, self.shared) for name in self.law.names]


def pool(
    law: Law,
    data: Any,
    by: str = "arm",
    shared: tuple[str, ...] = ("alpha", "beta"),
    loss: Loss | None = None,
    columns: Mapping[str, str] | None = None,
) -> Pooled:
    """Fit `law` to all rows, with the parameters `shared` common to the groups named in the column `by`.

    data, loss and columns are as in `analysis.fit`. Raises FitError where a group cannot be fitted
    alone, ValueError where there is only one group.
    """
    _check(law, by, shared)
    loss, table = loss or huber(), frame(data, columns)
    names, rows = _labels(table, by), read_rows(law, table)
    groups = tuple(np.unique(names).tolist())
    if len(groups) < 2:
        raise ValueError(f"pool: column {by} has one group only, {groups[0]!r}; a pooled fit needs two, or use fit")
    alone = {group: _alone(law, group, _part(rows, names == group), loss) for group in groups}
    coded = replace(rows, columns={**rows.columns, by: np.searchsorted(groups, names).astype(float)})
    both = pooled_law(law, by, groups, shared)
    pooled = fit_rows(both, coded, loss, starts=_starts(both, alone, shared), project=False)
    return Pooled(
        law=law, by=by, groups=groups, shared=shared, fit=pooled, alone=MappingProxyType(alone),
        equality=equality(pooled, tuple(alone.values()), shared),
    )  # fmt: skip


def pooled_law(law: Law, by: str, groups: tuple[str, ...], shared: tuple[str, ...]) -> Law:
    """`law` with parameters of their own for each group but for the shared ones. Column `by` holds 0, 1, ... by group.

    No parameter is marked linear: a search for the best signs of so many would try every combination.
    """
    own = {name: [own_name(name, group, shared) for group in groups] for name in law.names}
    fixed = {each: law.fixed[name] for name, each_of in own.items() for each in each_of if name in law.fixed}
    said = ", ".join(name for name in law.names if name in shared)
    return replace(
        law,
        name=f"{law.name} by {by}",
        doc=f"{law.formula}, with one {said} for all groups and the others by {by}\n\nOf one group:\n{law.doc}",
        function=_function(law.function, law.names, by, groups, shared),
        columns=(*law.columns, by),
        parameters=MappingProxyType({each: law.parameters[name] for name in law.names for each in own[name]}),
        linear=(),
        may_be_zero=(*law.may_be_zero, by),
        fixed=MappingProxyType(fixed),
    )


def own_name(name: str, group: str, shared: tuple[str, ...]) -> str:
    """A, or A[web] where it belongs to a group."""
    return name if name in shared else f"{name}[{group}]"


def equality(pooled: FitResult, alone: tuple[FitResult, ...], shared: tuple[str, ...]) -> Equality:
    """The test of equal shared parameters, from the fit with them and the fits of each group alone."""
    law = alone[0].law
    freedom = (len(alone) - 1) * sum(name not in law.fixed for name in shared)
    residuals = np.concatenate([each.residuals * each.weights for each in alone])
    rise = pooled.objective - sum(each.objective for each in alone)
    return compare(pooled.loss, residuals, rise, freedom, sum(int(each.law.free.sum()) for each in alone))


def compare(loss: Loss, residuals: np.ndarray, rise: float, freedom: int, parameters: int) -> Equality:
    """The test from what it is made of.

    residuals: (n,) of the fits alone. rise: of the summed loss, from those to the pooled fit.
    freedom: how many parameters the pooled fit has less. parameters: of the fits alone together.
    """
    rest = len(residuals) - parameters
    robust = np.isfinite(loss.delta)
    scale = robust_scale(residuals, parameters) if robust else float(np.sqrt((residuals**2).sum() / rest))
    square, slope = loss.moments(scale)
    statistic = 2 * max(rise, 0.0) * slope / max(square, 1e-300)
    return Equality(
        statistic=statistic,
        freedom=freedom,
        residual_freedom=rest,
        p=float(fdtrc(freedom, rest, statistic / freedom)),
    )


@lru_cache  # the same function is the same compiled program
def _function(
    base: Callable[[Any, Any], Any], names: tuple[str, ...], by: str, groups: tuple[str, ...], shared: tuple[str, ...]
) -> Callable[[Any, Any], Any]:
    def by_group(p: SimpleNamespace, x: SimpleNamespace) -> Any:
        at = getattr(x, by).astype(int)
        own = {
            name: getattr(p, name)
            if name in shared
            else jnp.stack([getattr(p, own_name(name, group, shared)) for group in groups])[at]
            for name in names
        }
        return base(SimpleNamespace(**own), x)

    return by_group


def _check(law: Law, by: str, shared: tuple[str, ...]) -> None:
    unknown = [name for name in shared if name not in law.parameters]
    if unknown:
        raise ValueError(
            f"pool(shared={shared}): {law.name} has no parameter {unknown[0]!r}; it has {', '.join(law.names)}"
        )
    if all(name in law.fixed for name in shared):
        raise ValueError(f"pool(shared={shared}): no free parameter is shared, so there is nothing to compare")
    if by in law.columns:
        raise ValueError(f"pool(by={by!r}): {law.name} is a law of that column; name the column of the groups")


def _labels(table: Any, by: str) -> np.ndarray:
    if by not in table.column_names:
        raise ValueError(missing_column(by, table.column_names))
    labels = table[by].to_pylist()
    if None in labels:
        raise ValueError(f"column {by} of row {labels.index(None) + 1} is empty; name the group of each run")
    if not labels:
        raise ValueError("the table has no rows; a pooled fit needs runs of two groups")
    return np.array([str(label) for label in labels])


def _part(rows: Rows, chosen: np.ndarray) -> Rows:
    at = np.flatnonzero(chosen)
    return Rows(
        columns={name: values[at] for name, values in rows.columns.items()},
        target=rows.target[at],
        clusters=tuple(rows.clusters[i] for i in at),
        ids=tuple(rows.ids[i] for i in at),
    )


def _alone(law: Law, group: str, rows: Rows, loss: Loss) -> FitResult:
    try:
        check(law, rows)
    except FitError as error:
        raise FitError(error.name, f"group {group}: {error} (each group must allow a fit alone)") from None
    return fit_rows(law, rows, loss)


def _starts(both: Law, alone: Mapping[str, FitResult], shared: tuple[str, ...]) -> np.ndarray:
    """(G + 1, P) natural values: the mean of the shared parameters over the groups, and those of each group.

    The linear parameters are solved for anew: a coefficient means nothing without its exponent.
    """
    law = next(iter(alone.values())).law
    common = np.isin(law.names, shared)
    own = np.stack([found.theta for found in alone.values()])
    starts = []
    for chosen in (own.mean(0), *own):
        parts = []
        for found in alone.values():
            natural = law.values(np.where(common, chosen, found.theta))[None]
            parts.append(project(law, natural, found.rows.columns, found.rows.target, found.weights).theta_RP[0])
        parts = law.values(np.stack(parts))
        values = {
            own_name(name, group, shared): parts[:, i].mean() if common[i] else parts[g, i]
            for i, name in enumerate(law.names)
            for g, group in enumerate(alone)
        }
        starts.append([values[name] for name in both.names])
    return np.array(starts)
