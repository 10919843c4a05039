"""Designs of made-up runs, and many recoveries at once."""

import numpy as np
from recovery import recover_all


def factorial(**axes):
    """Every combination of the values of each column."""
    crossed = np.meshgrid(*(np.asarray(values, float) for values in axes.values()), indexing="ij")
    return {name: values.ravel() for name, values in zip(axes, crossed, strict=True)}


def recoveries(cases):
    """Coverage of each case (law, truth, columns, noise), its own starts tried as well."""
    return recover_all(cases, own_starts=cases)
