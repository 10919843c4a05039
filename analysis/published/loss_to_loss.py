"""Two forms on six corpora: the set on which coefficients must agree to four digits.

Brandfonbrener, Anand, Vyas, Malach, Kakade 2024, arXiv:2411.12925.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from analysis import laws
from analysis.fit import fit
from analysis.law import Law
from analysis.published.check import Check, compare
from analysis.published.sources import against_point, keep, load
from analysis.result import FitResult

NAME = "loss_to_loss"
OWN = {  # the loss of each training corpus on itself
    "smollm-corpus": "smollm_val",
    "fineweb-edu-100b": "fineweb_edu_100b_val",
    "slimpajama-chunk1": "slimpajama_val",
    "fineweb-100b": "fineweb_100b_val",
    "proof-pile-2": "proof_pile_2_val",
    "starcoder": "starcoder_val",
}
FORMS = {"Chinchilla form": (0, laws.chinchilla), "Kaplan form": (1, laws.kaplan_offset)}
THEIRS = dict(A="N_c", B="D_c", E="E", alpha="alpha_N", beta="alpha_D")  # of Kaplan's form: the paper's names, ours
TOLERANCES = dict(
    absolute=dict(E=5e-4, alpha=5e-4, beta=5e-4, extrap_pred=5e-4), relative=dict(A=0.005, B=0.005, mean_huber=1e-4)
)


def checks(folder: Path) -> tuple[Check, ...]:
    """Every target of the data set."""
    runs, fits = load(folder, NAME), load(folder, f"{NAME}_fits")
    found, objectives, misses = [], {}, {}
    for data, column in OWN.items():
        for form, (kaplan, law) in FORMS.items():
            published = keep(fits, data=data, loss_name=column, kaplan=kaplan).to_pylist()[0]
            targets = {name: published[name] for name in (*THEIRS, "mean_huber", "extrap_pred")}
            rows = keep(runs, data=data)
            result = fit(law, keep(rows, split="fit"), columns={"loss": "val_loss"})
            ours = _theirs(result, keep(rows, split="extrapolation"))
            found += compare(NAME, f"{data}, {form}", targets, ours, **TOLERANCES)
            found.append(against_point(NAME, f"{data}, {form}", result, _ours(law, targets)))
            objectives[data, form] = ours["mean_huber"]
            misses[data, form] = abs(ours["extrap_pred"] - published["extrap_loss"])
    return (*found, *_choice(objectives, misses))


def _theirs(result: FitResult, largest: pa.Table) -> dict[str, float]:
    """The fit in the paper's names, the mean of its objective, and its forecast for the largest run."""
    params = result.params
    values = params if "A" in params else {theirs: params[ours] for theirs, ours in THEIRS.items()}
    said = float(result.predict(largest).value[0])
    return values | dict(mean_huber=result.objective / len(result.residuals), extrap_pred=said)


def _ours(law: Law, published: Mapping[str, float]) -> Mapping[str, float]:
    """The published point, fitted in single precision, in our names."""
    return published if "A" in law.names else {ours: published[theirs] for theirs, ours in THEIRS.items()}


def _choice(objectives: dict, misses: dict) -> tuple[Check, ...]:
    """Which form fits better inside, and which outside."""
    chinchilla, kaplan = FORMS
    ratios = np.array([objectives[data, kaplan] / objectives[data, chinchilla] for data in OWN])
    nearer = sum(misses[data, kaplan] < misses[data, chinchilla] for data in OWN)
    return (
        *compare(
            NAME, "Kaplan's objective over Chinchilla's", {"least ratio": 3.8, "largest ratio": 5.1},
            {"least ratio": ratios.min(), "largest ratio": ratios.max()},
            absolute={"least ratio": 0.05, "largest ratio": 0.05},
        ),
        *compare(
            NAME, "forecasts to 1e21 FLOPs", {"corpora where Kaplan's form is nearer": 5},
            {"corpora where Kaplan's form is nearer": nearer}, absolute={"corpora where Kaplan's form is nearer": 0},
        ),
    )  # fmt: skip
