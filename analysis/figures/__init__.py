"""Figures for papers: each is one function from a fit or an analysis to a matplotlib figure.
from analysis import figures
figures.residuals(fit).savefig("residuals.pdf")
"""

from analysis.figures.arms import arm_isoflops, arm_losses, arm_optima, learning_rates, loss_by_position
from analysis.figures.compare import backtest, methods
from analysis.figures.compute import isoflop_curves, loss_compute, optimal_size, tokens_per_parameter
from analysis.figures.fits import curve, intervals, predicted, residuals
from analysis.figures.mixing import mixing_predicted, mixing_sizes, mixing_triangle
from analysis.figures.oracle import oracle_exponents, oracle_losses
from analysis.figures.plane import loss_surface, next_runs
from analysis.figures.repeats import repeated_tokens
from analysis.figures.save import save

__all__ = [
    "arm_isoflops",
    "arm_losses",
    "arm_optima",
    "backtest",
    "curve",
    "intervals",
    "isoflop_curves",
    "learning_rates",
    "loss_by_position",
    "loss_compute",
    "loss_surface",
    "methods",
    "mixing_predicted",
    "mixing_sizes",
    "mixing_triangle",
    "next_runs",
    "optimal_size",
    "oracle_exponents",
    "oracle_losses",
    "predicted",
    "repeated_tokens",
    "residuals",
    "save",
    "tokens_per_parameter",
]
