"""Fit scaling laws to anybody's runs: `from analysis import fit, laws`."""

from analysis import laws
from analysis.fit import fit

__all__ = ["fit", "laws"]
