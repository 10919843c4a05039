"""Loss against the shares of the domains that the training data is mixed from.

>>> import numpy as np
>>> from analysis import fit
>>> web = np.linspace(0, 1, 8)
>>> loss = 1.5 + 2 * np.exp(-1.2 * web)
>>> found = fit(mixture(("web", "code")), {"web": web, "code": 1 - web, "loss": loss})
>>> {name: round(value, 3) for name, value in found.params.items()}
{'c': 1.5, 'k': 2.0, 't_web': -1.2}
"""

from dataclasses import replace
from functools import lru_cache

import jax.numpy as jnp

from analysis.law import Law, Parameter, amount, floor, law, real

__all__ = ["mixture"]


def mixture(domains: tuple[str, ...], target: str = "loss") -> Law:
    """The loss on one validation set against the shares of the training domains.

    L = c + k exp(sum_j t_j r_j)

    Ye et al. 2024, arXiv:2403.16952, for one model size and one number of steps.
    domains: the columns of the shares, in any unit (shares, per cent, tokens): r_j is a
    column over the sum of all of them. target: the loss on the validation set i, one
    law for each. As the shares sum to one, a number added to every t_j and taken out
    of k changes nothing. So the t of the LAST domain is held at 0: c + k is the loss
    of a run on that domain alone, and t_j says what moving the mixture from that
    domain to domain j does: t_j < 0 lowers the loss. Published t_ij compare with
    t_j - t_last, published k_i with k exp(-t_last).
    """
    domains = tuple(domains)
    if len(domains) < 2 or len(set(domains)) < len(domains):
        raise ValueError(f"mixture(domains={domains}): name at least two different columns")
    return _mixture(domains, target)


@lru_cache
def _mixture(domains: tuple[str, ...], target: str) -> Law:
    others = domains[:-1]

    @law(
        columns=domains,
        parameters=dict(c=floor(), k=amount()) | {f"t_{name}": _slope(len(others)) for name in others},
        target=target,
        linear=("c", "k"),
        may_be_zero=domains,
    )
    def mixture(p, x):
        """L = c + k exp(sum_j t_j r_j)

        Ye et al. 2024, arXiv:2403.16952. r_j is the share of domain j.
        """
        total = sum(getattr(x, name) for name in domains)
        return p.c + p.k * jnp.exp(sum(getattr(p, f"t_{name}") * getattr(x, name) for name in others) / total)

    said = " + ".join(f"t_{name} {name}" for name in others)
    return replace(
        mixture,
        doc=f"{target} = c + k exp({said})\n\nYe et al. 2024, arXiv:2403.16952. The columns are shares of "
        f"{', '.join(domains)}; t of {domains[-1]} is 0.\n",
    )


def _slope(count: int) -> Parameter:
    """Starts of each of so many slopes: at most about 50 combinations. At t = 0 for all, c and k are one."""
    starts = {1: (-8.0, -3.0, -1.0, 1.0, 3.0), 2: (-4.0, -1.0, 1.0)}.get(count, (-1.5, 0.7) if count <= 5 else (-1.0,))
    return real(*starts, low=-50, high=50)
