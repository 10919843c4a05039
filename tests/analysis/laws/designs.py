"""Designs of made-up runs, and many recoveries at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from recovery import coverage


def factorial(**axes):
    """Every combination of the values of each column."""
    crossed = np.meshgrid(*(np.asarray(values, float) for values in axes.values()), indexing="ij")
    return {name: values.ravel() for name, values in zip(axes, crossed, strict=True)}


def recoveries(cases):
    """Coverage of each case (law, truth, columns, noise). Two at a time: most of the time XLA compiles."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(cases, pool.map(lambda case: coverage(*case), cases.values()), strict=True))
