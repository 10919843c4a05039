"""One comparison of a published number with ours, and its verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

MET = "met"
MISSED = "missed"
DOCUMENTED = "not reproducible as documented"
ROUNDING = 1e-9  # relative: differences of decimal fractions are not exact


@dataclass(frozen=True, kw_only=True)
class Check:
    """A published target beside what our software gives by the published procedure."""

    dataset: str
    fit: str  # which procedure on which rows
    quantity: str
    target: float
    ours: float
    tolerance: float  # largest difference that counts as met, in units of the target
    at_most: bool = False  # the target is a bound: only a larger value is a difference
    error: float | None = None  # published standard error of the target
    documented: bool = False  # it is known, and written beside the data, that the target does not follow from them
    reason: str = ""  # why it does not come out, where that is known

    @property
    def what(self) -> str:
        return f"{self.quantity}, {self.fit}"

    @property
    def difference(self) -> float:
        """Ours less the target."""
        return self.ours - self.target

    @property
    def in_errors(self) -> float | None:
        """The difference in published standard errors, where one was published."""
        return None if self.error is None else self.difference / self.error

    @property
    def met(self) -> bool:
        excess = self.difference if self.at_most else abs(self.difference)
        return math.isfinite(excess) and excess <= self.tolerance + ROUNDING * abs(self.target)

    @property
    def verdict(self) -> str:
        """A documented non-reproduction that does come out is met: nothing is forced either way."""
        return MET if self.met else DOCUMENTED if self.documented else MISSED


def compare(
    dataset: str,
    fit: str,
    targets: Mapping[str, float],
    ours: Mapping[str, float],
    *,
    absolute: Mapping[str, float] | None = None,
    relative: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
    documented: bool = False,
    reason: str = "",
) -> tuple[Check, ...]:
    """A check for each target. Its tolerance stands in `absolute`, or in `relative` as a share of the target."""
    absolute, relative, errors = absolute or {}, relative or {}, errors or {}
    return tuple(
        Check(
            dataset=dataset,
            fit=fit,
            quantity=name,
            target=target,
            ours=float(ours[name]),
            tolerance=absolute[name] if name in absolute else relative[name] * abs(target),
            error=errors.get(name),
            documented=documented,
            reason=reason,
        )
        for name, target in targets.items()
    )


def at_most(dataset: str, fit: str, quantity: str, target: float, ours: float, slack: float = 0.0) -> Check:
    """Ours may not exceed the target by more than the share `slack` of it."""
    return Check(
        dataset=dataset, fit=fit, quantity=quantity, target=target, ours=float(ours),
        tolerance=slack * abs(target), at_most=True,
    )  # fmt: skip
