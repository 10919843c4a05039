"""Designs of made-up runs."""

import numpy as np


def factorial(**axes):
    """Every combination of the values of each column."""
    crossed = np.meshgrid(*(np.asarray(values, float) for values in axes.values()), indexing="ij")
    return {name: values.ravel() for name, values in zip(axes, crossed, strict=True)}
