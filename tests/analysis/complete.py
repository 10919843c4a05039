"""An analysis with all its parts: methods, back-test and next runs as well."""

from dataclasses import replace

from analysis import laws
from analysis.backtest import backtest
from analysis.design import recommend
from analysis.methods import compare

_KNOWN = {}


def complete(analysed):
    """`analysed` and what a thorough analysis adds; computed once in a session."""
    if "found" not in _KNOWN:
        surface, runs = analysed.surface, analysed.table
        at = analysed.forecast.params
        _KNOWN["found"] = replace(
            analysed,
            methods=compare(runs, approach3=(surface.exponent, at, at), target_flops=analysed.target, draws=50),
            backtest=backtest(runs, (laws.chinchilla,), drop=(1, 2)),
            recommended=recommend(
                surface.fit, runs, surface.kappa, 3e11, target_flops=analysed.target, most_runs=2, draws=0
            ),
        )
    return _KNOWN["found"]
