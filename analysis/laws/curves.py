"""Loss, or any other measure, against one column: power laws, saturating laws, broken laws.

The column and the target have any names: each function here makes a law for
them, and gives the same law when it is asked again.

    >>> import numpy as np
    >>> from analysis import fit
    >>> examples = np.geomspace(1e5, 1e9, 12)
    >>> found = fit(m2("examples"), {"examples": examples, "loss": 0.3 + 40 * examples**-0.4})
    >>> round(found.params["E"], 4), round(found.params["c"], 4)
    (0.3, 0.4)
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from analysis.law import TARGET, Law, amount, exponent, floor, law, power, real

DESCENTS = 12  # Newton steps to the value of `m4`; from their start 8 reach the last digit for alpha in (0.001, 5)
EMPTY = -700.0  # a logarithm for what has vanished: ln 0 would give no number


@lru_cache
def power_law(target: str, column: str) -> Law:
    """y = a x^b: an optimum against compute, or anything else that is a straight line in logs."""

    @law(columns=(column,), target=target, parameters=dict(a=amount(), b=real(0.0, low=-10, high=10)), linear=("a",))
    def power_law(p, x):
        """y = a x^b

        A straight line in logarithms. b has either sign.
        """
        return p.a * power(getattr(x, column), p.b)

    return replace(power_law, doc=f"{target} = a {column}^b\n\nA straight line in logarithms. b has either sign.\n")


@lru_cache
def power_law_offset(target: str, column: str) -> Law:
    """y = E + a x^b, falling (b < 0) towards E or rising (b > 0) from it."""
    slopes = (-1.2, -0.8, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 0.8, 1.2)

    @law(
        columns=(column,), target=target, linear=("E", "a"),
        parameters=dict(E=floor(), a=amount(), b=real(*slopes, low=-10, high=10)),
    )  # fmt: skip
    def power_law_offset(p, x):
        """y = E + a x^b

        Henighan et al. 2020, arXiv:2010.14701, with b < 0. E is positive.
        """
        return p.E + p.a * power(getattr(x, column), p.b)

    return replace(power_law_offset, doc=f"{target} = E + a {column}^b\n\nE is positive, b has either sign.\n")


@lru_cache
def m1(column: str = "tokens", target: str = "loss") -> Law:
    """M1: a power law without a floor."""

    @law(columns=(column,), target=target, parameters=dict(b=amount(), c=exponent()), linear=("b",))
    def m1(p, x):
        """y = b x^-c

        M1 of Alabdulmohsin et al. 2022, arXiv:2209.06640. x is examples or tokens seen.
        """
        return p.b * power(getattr(x, column), -p.c)

    return m1


@lru_cache
def m2(column: str = "tokens", target: str = "loss") -> Law:
    """M2: a power law down to a floor."""

    @law(columns=(column,), target=target, parameters=dict(E=floor(), b=amount(), c=exponent()), linear=("E", "b"))
    def m2(p, x):
        """y = E + b x^-c

        M2 of Alabdulmohsin et al. 2022, arXiv:2209.06640. x is examples or tokens seen.
        """
        return p.E + p.b * power(getattr(x, column), -p.c)

    return m2


@lru_cache
def m3(column: str = "tokens", target: str = "loss") -> Law:
    """M3: a power law that levels off where x passes x_0."""

    @law(
        columns=(column,), target=target, linear=("b",),
        parameters=dict(b=amount(), x_0=amount(1, 10, 100, of=column), c=exponent()),
    )  # fmt: skip
    def m3(p, x):
        """y = b (1 / x + 1 / x_0)^c

        M3 of Alabdulmohsin et al. 2022, arXiv:2209.06640, who write gamma for 1 / x_0.
        For large x_0 it is M1; the floor is b x_0^-c. x is examples or tokens seen.
        """
        return p.b * power(1 / getattr(x, column) + 1 / p.x_0, p.c)

    return m3


@lru_cache
def m4(column: str = "tokens", target: str = "loss") -> Law:
    """M4: from the level of guessing, L_0, down to the floor E."""

    @law(
        columns=(column,), target=target, linear=("E", "b"),
        parameters=dict(
            E=floor(), L_0=amount(1.5, 3, 10, low=0.5, of=TARGET), b=amount(),
            c=exponent(0.1, 0.25, 0.5, 0.8), alpha=exponent(0.3, 1.0, high=5.0),
        ),
    )  # fmt: skip
    def m4(p, x):
        """(y - E) / (L_0 - y)^alpha = b x^-c

        M4 of Alabdulmohsin et al. 2022, arXiv:2209.06640. L_0 is the loss of a model
        that guesses: hold it where it is known, as in `m4().fix(L_0=math.log(50257))`.
        For alpha = 0 it is M2. It has no closed form: y is found by Newton's method.
        x is examples or tokens seen.
        """
        log_right = jnp.log(p.b) - p.c * jnp.log(getattr(x, column))
        span = p.L_0 - p.E
        return p.E + span * _share(jnp.maximum(log_right + (p.alpha - 1) * jnp.log(span), EMPTY), p.alpha)

    return m4


def _share(goal: Any, alpha: Any) -> Any:
    """The s in (0, 1) with ln s - alpha ln(1 - s) = goal.

    In z = ln s - ln(1 - s) the left side rises with a slope between 1 and alpha and
    bends one way only, so Newton's steps cannot miss. The last two are seen by
    differentiation: one makes first derivatives exact, two make second ones exact.
    """

    def step(z: Any, goal: Any, alpha: Any) -> Any:
        value = alpha * jax.nn.softplus(z) - jax.nn.softplus(-z)
        slope = jax.nn.sigmoid(-z) + alpha * jax.nn.sigmoid(z)
        return z - (value - goal) / slope

    still, known = jax.lax.stop_gradient(goal), jax.lax.stop_gradient(alpha)
    begin = jnp.where(still < 0, still, still / known)
    z = jax.lax.stop_gradient(jax.lax.fori_loop(0, DESCENTS, lambda _, z: step(z, still, known), begin))
    return jax.nn.sigmoid(step(step(z, goal, alpha), goal, alpha))


@lru_cache
def bnsl(breaks: int, column: str = "tokens", target: str = "loss") -> Law:
    """A power law whose exponent changes smoothly at so many places.

    breaks: 0 is `m2`. Each break adds three parameters: where it is (d), by how
    much the exponent changes (c), and how slowly (f; a sharp bend for small f).
    The breaks are not ordered: with two or more, equal fits differ in their numbering.
    """
    if breaks < 0:
        raise ValueError(f"bnsl(breaks={breaks}): must be 0 or more")
    numbers = range(1, breaks + 1)
    # Fewer starts a break when there are more breaks: 15 to 60 in all.
    bends = (-0.3, 0.3) if breaks <= 3 else (0.1,)
    places = {1: ((0.1, 1, 10),), 2: ((0.03, 0.3), (3, 30))}.get(breaks) or tuple(
        (10 ** (3 * (i - 0.5) / breaks - 1.5),) for i in numbers
    )
    parameters = dict(a=floor(), b=amount(), c0=real(0.05, 0.2, 0.5, low=-3, high=3))
    for i in numbers:
        parameters[f"c{i}"] = real(*bends, low=-6, high=6)
        parameters[f"d{i}"] = amount(*places[i - 1], of=column)
        parameters[f"f{i}"] = amount(0.3, low=0.01, high=10)

    @law(columns=(column,), target=target, parameters=parameters, linear=("a", "b"))
    def bnsl(p, x):
        """y = a + b x^-c0 prod_i (1 + (x / d_i)^(1 / f_i))^(-c_i f_i)

        Broken neural scaling law, Caballero et al. 2022, arXiv:2210.14891, eq. 1. After
        the break at d_i the exponent is c0 + c1 + ... + c_i. a is taken as positive;
        c_i may have either sign. x is whatever is scaled: tokens, params, flops, steps.
        """
        size = jnp.log(getattr(x, column))
        bent = -p.c0 * size
        for i in numbers:
            c, d, f = (getattr(p, f"{letter}{i}") for letter in "cdf")
            bent -= c * f * jax.nn.softplus((size - jnp.log(d)) / f)
        return p.a + p.b * jnp.exp(bent)

    return replace(bnsl, name=f"bnsl with {breaks} breaks")
