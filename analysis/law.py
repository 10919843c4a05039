"""What a law is: a function of columns, and the parameters that a fit may choose.

A law of one's own:

    >>> from analysis.law import amount, exponent, floor, law, power
    >>> @law(columns=("params",), parameters=dict(E=floor(), A=amount(), alpha=exponent()), linear=("E", "A"))
    ... def mine(p, x):
    ...     '''L = E + A / N^alpha'''
    ...     return p.E + p.A * power(x.params, -p.alpha)
    >>> mine.formula, tuple(mine.parameters)
    ('L = E + A / N^alpha', ('E', 'A', 'alpha'))

`p` holds a number for each parameter, `x` an array for each column, one value a
row. The function is traced by JAX: use jax.numpy and operators, no branches on
values. Derivatives are exact and need not be written.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

TARGET = "the target"  # what a parameter's `of` says when it is measured in units of the law's left-hand side


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Where a parameter may lie, and where the search begins.

    `starts`, `low` and `high` are in units of the geometric mean of the column
    `of` (of the law's target for TARGET); in plain numbers when `of` is empty.
    """

    log: bool  # fitted through its logarithm: a positive amount whose size is not known beforehand
    low: float
    high: float
    starts: tuple[float, ...]
    of: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.high or not self.starts or (self.log and self.low < 0):
            raise ValueError(f"{self}: needs low <= high, at least one start, and low >= 0 where log")


def amount(*starts: float, low: float = 0.0, high: float = math.inf, of: str = "") -> Parameter:
    """A positive coefficient or scale. Without starts: 1, to be replaced by a linear solve (`Law.linear`)."""
    return Parameter(log=True, low=low, high=high, starts=starts or (1.0,), of=of)


def exponent(*starts: float, low: float = 1e-3, high: float = 3.0) -> Parameter:
    """A power, fitted as it is."""
    return Parameter(log=False, low=low, high=high, starts=starts or (0.2, 0.4, 0.7, 1.1))


def floor() -> Parameter:
    """What remains at infinite scale, from a thousandth of the typical target to twice it."""
    return Parameter(log=True, low=1e-3, high=2.0, starts=(0.5,), of=TARGET)


def real(*starts: float, low: float = -math.inf, high: float = math.inf) -> Parameter:
    """Any number, of either sign."""
    return Parameter(log=False, low=low, high=high, starts=starts)


@dataclass(frozen=True)
class Form:
    """The part of a law that is compiled. Laws that differ in bounds or starts share one."""

    function: Callable[[SimpleNamespace, SimpleNamespace], Any]
    names: tuple[str, ...]
    log: tuple[bool, ...]
    in_log: bool  # residuals are those of the logarithm


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """What is fitted, and settings that are known before the data."""

    name: str
    doc: str  # equation, source, units, which N and which D
    function: Callable[[SimpleNamespace, SimpleNamespace], Any]
    columns: tuple[str, ...]  # positive, unless they stand in may_be_zero
    parameters: Mapping[str, Parameter]
    target: str = "loss"
    linear: tuple[str, ...] = ()  # parameters that enter linearly when the others are held
    may_be_zero: tuple[str, ...] = ()  # columns that may hold zeros or negative numbers
    in_log: bool = True  # residuals are ln target - ln law; otherwise target - law
    fixed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # held, in natural units

    def __post_init__(self) -> None:
        unknown = [name for name in (*self.linear, *self.fixed) if name not in self.parameters]
        if unknown:
            raise ValueError(f"law {self.name}: no parameter {unknown[0]!r}; it has {', '.join(self.parameters)}")

    @property
    def formula(self) -> str:
        """The first line of its documentation."""
        return self.doc.strip().splitlines()[0].rstrip(".")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.parameters)

    @property
    def log(self) -> np.ndarray:
        """(P,) True where theta holds the logarithm of the parameter."""
        return np.array([parameter.log for parameter in self.parameters.values()])

    @property
    def free(self) -> np.ndarray:
        """(P,) False where a parameter is held."""
        return np.array([name not in self.fixed for name in self.parameters])

    @property
    def form(self) -> Form:
        return Form(self.function, self.names, tuple(self.log.tolist()), self.in_log)

    def fix(self, **values: float) -> "Law":
        """The same law with these parameters held at these values."""
        return replace(self, fixed=MappingProxyType({**self.fixed, **values}))

    def tie(self, **same: str) -> "Law":
        """The same law with parameters that equal others: chinchilla.tie(beta="alpha") has four."""
        unknown = [name for name in (*same, *same.values()) if name not in self.parameters]
        if unknown:
            raise ValueError(f"law {self.name}: no parameter {unknown[0]!r}; it has {', '.join(self.parameters)}")
        loose = [name for name in same.values() if name in same]
        if loose:
            raise ValueError(f"law {self.name}: {loose[0]} is tied itself; tie all to one that stays")

        def function(p: SimpleNamespace, x: SimpleNamespace) -> Any:
            tied = {name: getattr(p, other) for name, other in same.items()}
            return self.function(SimpleNamespace(**vars(p), **tied), x)

        said = ", ".join(f"{name} = {other}" for name, other in same.items())
        first, *rest = self.doc.splitlines()
        return replace(
            self, name=f"{self.name} with {said}", doc="\n".join([f"{first.rstrip('.')}, {said}", *rest]),
            function=function, parameters=MappingProxyType({n: p for n, p in self.parameters.items() if n not in same}),
            linear=tuple(n for n in self.linear if n not in same and n not in same.values()),
            fixed=MappingProxyType({n: v for n, v in self.fixed.items() if n not in same}),
        )  # fmt: skip

    def bound(self, **bounds: tuple[float, float]) -> "Law":
        """The same law with other (low, high), in natural units."""
        unknown = [name for name in bounds if name not in self.parameters]
        if unknown:
            raise ValueError(f"law {self.name}: no parameter {unknown[0]!r}; it has {', '.join(self.parameters)}")
        changed = dict(self.parameters)
        for name, (low, high) in bounds.items():
            old = changed[name]
            inside = math.sqrt(low * high) if old.log and low > 0 and math.isfinite(high) else (low + high) / 2
            kept = tuple(s for s in old.starts if low <= s <= high) if not old.of else ()
            changed[name] = replace(old, low=low, high=high, of="", starts=kept or (inside,))
        return replace(self, parameters=MappingProxyType(changed))

    def theta(self, values: Mapping[str, float]) -> np.ndarray:
        """(P,) what the solver works on: logarithms of amounts, other parameters as they are."""
        missing = [name for name in self.parameters if name not in values]
        if missing:
            raise ValueError(f"law {self.name}: no value for {', '.join(missing)}; it has {', '.join(self.parameters)}")
        return np.array([math.log(values[n]) if p.log else values[n] for n, p in self.parameters.items()], float)

    def values(self, theta: np.ndarray) -> np.ndarray:
        """(..., P) natural values; an amount beyond the range of floats becomes the largest float."""
        return np.where(self.log, np.exp(np.minimum(theta, 709.0)), theta)


def law(
    *,
    columns: tuple[str, ...],
    parameters: Mapping[str, Parameter],
    target: str = "loss",
    linear: tuple[str, ...] = (),
    may_be_zero: tuple[str, ...] = (),
    in_log: bool = True,
) -> Callable[[Callable[[SimpleNamespace, SimpleNamespace], Any]], Law]:
    """Turn a function (p, x) -> value into a Law; its docstring begins with the equation."""

    def wrap(function: Callable[[SimpleNamespace, SimpleNamespace], Any]) -> Law:
        name = function.__name__.replace("_", " ")
        if not function.__doc__:
            raise ValueError(f"law {name}: its function has no docstring; begin one with the equation")
        return Law(
            name=name, doc=function.__doc__, function=function, columns=columns,
            parameters=MappingProxyType(dict(parameters)), target=target, linear=linear,
            may_be_zero=may_be_zero, in_log=in_log,
        )  # fmt: skip

    return wrap


def power(x: Any, exponent: Any) -> Any:
    """x ** exponent for positive x. The logarithm of a column is taken once and not once a parameter: faster."""
    return jnp.exp(exponent * jnp.log(x))
